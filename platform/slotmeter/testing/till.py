"""A till on a bad line: it sells through the HTTP API, loses answers, asks again, asks twice.

The till makes each ``sale_id`` before it sends, keeps it, and repeats the same request until it has
an answer; that is all a client has to do to sell exactly once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from slotmeter.testing.town import SaleFate

__all__ = ["SaleRecord", "Till", "TillFailed"]

TRIES_MAX: Final = 200
PAUSE_S_FIRST: Final = 0.05
PAUSE_S_MAX: Final = 1.0
ANSWER_TIMEOUT_S: Final = 15.0
BREAK_AFTER_S: Final = 0.02
TRY_AGAIN: Final = frozenset({429, 502, 503, 504})


class TillFailed(Exception):
    """A sale was refused, or no answer came however often it was asked for."""


@dataclass(slots=True)
class SaleRecord:
    """What the till knows of one sale.

    Args:
        sale_id: made by the till.
        meter: its number.
        tendered: in major units.
        fate: what the network did to it.
        answers: status and sale of each answer that came.
        tries: requests sent.
        began_s: ``time.monotonic()`` when the customer paid.
        answered_s: the same when the till knew.
        online: whether the meter could be reached when it was sold.
        typed: whether somebody typed the digits on the keypad.
    """

    sale_id: str
    meter: str
    tendered: str
    fate: SaleFate
    answers: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    tries: int = 0
    began_s: float = 0.0
    answered_s: float = 0.0
    online: bool = True
    typed: bool = False

    def __repr__(self) -> str:
        """Show no token."""
        return f"SaleRecord({self.sale_id}, meter={self.meter}, {self.fate.value})"

    @property
    def sale(self) -> Mapping[str, Any]:
        """The sale as the first answer told it."""
        return self.answers[0][1]

    @property
    def token(self) -> str | None:
        """The 20 digits, or None for credit that the platform holds."""
        token: str | None = self.sale["token"]
        return token


class Till:
    """Sells with one API key.

    Args:
        api: address of the server, as ``http://127.0.0.1:8480``.
        key: the API key.
        name: begins every sale id; another in each run.
        fate: what happens to the sale with a number.
    """

    def __init__(
        self,
        api: str,
        key: str,
        *,
        name: str,
        fate: Callable[[int], SaleFate] = lambda _: SaleFate.PLAIN,
    ) -> None:
        self._url = f"{api}/api/v1/sales"
        self._key = key
        self._name = name
        self._fate = fate
        self._count = 0
        self._session: aiohttp.ClientSession | None = None
        self.records: list[SaleRecord] = []

    async def __aenter__(self) -> Till:
        """Open connections."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {self._key}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        if self._session is not None:
            await self._session.close()

    async def sell(self, meter: str, tendered: str) -> SaleRecord:
        """Sell once, whatever the line does.

        Raises:
            TillFailed: the server refused, or never answered.
        """
        number = self._count
        self._count += 1
        record = SaleRecord(f"{self._name}-{number}", meter, tendered, self._fate(number))
        self.records.append(record)
        record.began_s = time.monotonic()
        if record.fate is SaleFate.LOST:
            await self._send_and_break(record)
        if record.fate is SaleFate.DOUBLED:
            await asyncio.gather(self._until_answered(record), self._until_answered(record))
        else:
            await self._until_answered(record)
        record.answered_s = time.monotonic()
        return record

    def _body(self, record: SaleRecord) -> dict[str, str]:
        return {
            "sale_id": record.sale_id,
            "meter": record.meter,
            "tendered": record.tendered,
            "channel": "till",
        }

    async def _until_answered(self, record: SaleRecord) -> None:
        assert self._session is not None, "the till is open"
        pause_s = PAUSE_S_FIRST
        for _ in range(TRIES_MAX):
            record.tries += 1
            try:
                async with self._session.post(self._url, json=self._body(record)) as answer:
                    status, document = answer.status, await answer.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                status, document = 503, {}
            if status in (200, 201):
                record.answers.append((status, document))
                return
            if status not in TRY_AGAIN:
                raise TillFailed(
                    f"sale {record.sale_id} for meter {record.meter}: HTTP {status} "
                    f"{document.get('code')}: {document.get('detail')}"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX)
        raise TillFailed(f"sale {record.sale_id}: no answer in {TRIES_MAX} tries")

    async def _send_and_break(self, record: SaleRecord) -> None:
        """Send the request and break the connection before the answer can be read."""
        url = urlsplit(self._url)
        body = json.dumps(self._body(record)).encode()
        head = (
            f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        record.tries += 1
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(head.encode() + body)
            await writer.drain()
            await asyncio.sleep(BREAK_AFTER_S)
            writer.transport.abort()

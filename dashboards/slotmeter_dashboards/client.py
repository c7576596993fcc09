"""The HTTP API as this console sees it: read only, one connection pool, answers kept for a moment.

aiohttp is used because the platform brings it anyway and the pages are drawn by asynchronous
callbacks: many viewers wait on one event loop, and viewers who ask the same within
``FRESH_S`` share one request. Nothing else in this package opens a connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp

from slotmeter.errors import (
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refused,
    SlotmeterError,
    Unavailable,
)
from slotmeter_dashboards.answers import Row
from slotmeter_dashboards.device_model import (
    Claim,
    Device,
    Stranger,
    parse_claim,
    parse_device,
    parse_health_counts,
    parse_stranger,
)
from slotmeter_dashboards.model import (
    Alarm,
    Bucket,
    Command,
    Event,
    Meter,
    Overview,
    Page,
    Sale,
    Token,
    parse_alarm,
    parse_command,
    parse_event,
    parse_meter,
    parse_overview,
    parse_page,
    parse_readings,
    parse_sale,
    parse_token,
)

__all__ = ["ApiClient"]

FRESH_S = 0.9
TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024
CONNECTIONS_MAX = 8
CACHE_ENTRIES_MAX = 256
ROWS_PER_PAGE_MAX = 500
EXPORT_ROWS_MAX = 100_000

T = TypeVar("T")
Params = Mapping[str, str]


@dataclass(slots=True)
class _Entry:
    """The newest answer to one question, good or bad, and when it came."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    fetched_s: float | None = None
    answer: Row = field(default_factory=dict)
    error: SlotmeterError | None = None


class ApiClient:
    """Asks the platform; see the module.

    Args:
        base_url: where the platform listens, as ``http://127.0.0.1:8480``.
        key: the API key of a principal with the role viewer.
        monotonic: seconds that only grow.

    Every method raises ``Unavailable`` when the platform does not answer or answers what it should
    not, ``NotSignedIn`` or ``NotAllowed`` when it does not take the key, ``NotFound`` for what is
    not there and ``Refused`` for a filter that it does not take.
    """

    def __init__(
        self, base_url: str, key: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Open nothing yet: the pool belongs to the event loop of the first question."""
        self.base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._monotonic = monotonic
        self._session: aiohttp.ClientSession | None = None
        self._entries: dict[str, _Entry] = {}

    async def close(self) -> None:
        """Give the connections back."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- one question --------------------------------------------------------------------------

    async def ask(self, path: str, params: Params | None = None) -> Row:
        """Get one JSON object, at most ``FRESH_S`` old."""
        params = dict(sorted((params or {}).items()))
        entry = self._entry(json.dumps([path, params]))
        async with entry.lock:
            now_s = self._monotonic()
            if entry.fetched_s is None or now_s - entry.fetched_s > FRESH_S:
                try:
                    entry.answer, entry.error = await self._fetch(path, params), None
                except SlotmeterError as error:
                    entry.error = error
                entry.fetched_s = self._monotonic()
        if entry.error is not None:
            raise entry.error
        return entry.answer

    def _entry(self, key: str) -> _Entry:
        if key not in self._entries and len(self._entries) >= CACHE_ENTRIES_MAX:
            idle = [name for name, entry in self._entries.items() if not entry.lock.locked()]
            for name in idle:
                del self._entries[name]
        return self._entries.setdefault(key, _Entry())

    async def _fetch(self, path: str, params: Params) -> Row:
        content, status = await self._get(path, params)
        answer = _decoded(content, status)
        if status != 200:
            raise _problem(status, answer)
        return answer

    async def _get(self, path: str, params: Params) -> tuple[bytes, int]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            )
        url = f"{self.base_url}/api/v1{path}"
        try:
            async with self._session.get(url, params=params, allow_redirects=False) as response:
                return await _read_bounded(response), response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                "api_unreachable", f"the platform does not answer at {self.base_url}"
            ) from error

    # --- the subjects --------------------------------------------------------------------------

    async def overview(self) -> Overview:
        """The state of the whole utility."""
        return parse_overview(await self.ask("/overview"))

    async def meters(self, params: Params) -> Page[Meter]:
        """A page of meters; filters commodity, supply, q, cursor after."""
        return parse_page(await self.ask("/meters", params), parse_meter)

    async def meter(self, number: str) -> Meter:
        """One meter by its number."""
        return parse_meter(await self.ask(f"/meters/{quote(number, safe='')}"))

    async def readings(
        self, number: str, register: str, span: tuple[datetime, datetime], bucket: timedelta
    ) -> tuple[Bucket, ...]:
        """A register of one meter in buckets, over a span of the meter's own time."""
        params = {
            "register": register,
            "from": _api_time(span[0]),
            "to": _api_time(span[1]),
            "bucket": str(int(bucket.total_seconds())),
        }
        return parse_readings(await self.ask(f"/meters/{quote(number, safe='')}/readings", params))

    async def tokens(self, number: str) -> tuple[Token, ...]:
        """The newest tokens of one meter, masked."""
        answer = await self.ask(f"/meters/{quote(number, safe='')}/tokens")
        return parse_page(answer, parse_token).items

    async def meter_commands(self, number: str) -> tuple[Command, ...]:
        """The newest commands to one meter."""
        answer = await self.ask(f"/meters/{quote(number, safe='')}/commands")
        return parse_page(answer, parse_command).items

    async def sales(self, params: Params) -> Page[Sale]:
        """A page of sales, newest first; filters meter, commodity, from, to; cursor before."""
        return parse_page(await self.ask("/sales", params), parse_sale)

    async def commands(self, params: Params) -> Page[Command]:
        """A page of commands, newest first; filter state, cursor before."""
        return parse_page(await self.ask("/commands", params), parse_command)

    async def alarms(self, params: Params) -> Page[Alarm]:
        """A page of alarms, newest first; filter open, cursor before."""
        return parse_page(await self.ask("/alarms", params), parse_alarm)

    async def devices(self, params: Params) -> Page[Device]:
        """A page of devices; filters state, q, cursor after."""
        return parse_page(await self.ask("/device-health", params), parse_device)

    async def health_counts(self) -> Mapping[str, int]:
        """How many devices are in each state."""
        return parse_health_counts(await self.ask("/device-health/counts"))

    async def device_of(self, number: str) -> Device | None:
        """How the device of a meter is; None for a meter that has none."""
        try:
            answer = await self.ask(f"/meters/{quote(number, safe='')}/health")
        except NotFound:
            return None
        return parse_device(answer)

    async def claims(self, params: Params) -> Page[Claim]:
        """A page of meters that were scanned, newest first; filter state, cursor before."""
        return parse_page(await self.ask("/commissioning/claims", params), parse_claim)

    async def strangers(self) -> Page[Stranger]:
        """Devices that were heard and that nobody has registered, newest first."""
        return parse_page(await self.ask("/commissioning/strangers"), parse_stranger)

    async def newest_events(self, limit: int, meter: str | None = None) -> tuple[Event, ...]:
        """The newest events, of all or of one meter, the newest first."""
        params = {"limit": str(limit)} | ({"meter": meter} if meter else {})
        page = parse_page(await self.ask("/events", params), parse_event)
        return tuple(sorted(page.items, key=lambda event: event.id, reverse=True))

    async def receipt_html(self, number: str) -> str:
        """Return a receipt as the platform prints it, an HTML document."""
        path = f"/receipts/{quote(number, safe='')}"
        content, status = await self._get(path, {"format": "html"})
        if status != 200:
            raise _problem(status, _decoded(content, status))
        return content.decode(errors="replace")

    async def every(
        self, path: str, params: Params, cursor: str, parse: Callable[[Row], T]
    ) -> AsyncIterator[T]:
        """All rows of a list, page by page, at most ``EXPORT_ROWS_MAX``."""
        asked = {**params, "limit": str(ROWS_PER_PAGE_MAX)}
        given = 0
        while given < EXPORT_ROWS_MAX:
            page = parse_page(await self._fetch(path, asked), parse)
            for row in page.items:
                yield row
            given += len(page.items)
            if page.next is None or not page.items:
                return
            asked[cursor] = page.next


def _api_time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(65_536):
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise Unavailable(
                "api_answer_too_large",
                f"expected at most {ANSWER_BYTES_MAX} bytes from the platform, got more",
            )
        parts.append(part)
    return b"".join(parts)


def _decoded(content: bytes, status: int) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise Unavailable(
            "api_not_understood", f"expected JSON from the platform, got status {status} without"
        ) from error
    if not isinstance(answer, dict):
        raise Unavailable(
            "api_not_understood",
            f"expected a JSON object from the platform, got {type(answer).__name__}",
        )
    return answer


def _problem(status: int, answer: Row) -> SlotmeterError:
    """Turn a problem document into the error that its reader can act on."""
    code = str(answer.get("code", f"http_{status}"))
    detail = str(answer.get("detail") or answer.get("title") or f"status {status}")
    match status:
        case 401:
            return NotSignedIn(code, detail)
        case 403:
            return NotAllowed(code, detail)
        case 404:
            return NotFound(code, detail)
        case 400 | 409 | 422:
            return Refused(code, detail)
        case _:
            return Unavailable(code, detail)

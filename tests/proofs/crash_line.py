"""A bad line to the server: requests that never arrive, answers that are never read, both asked
again until an answer comes.

HTTP/1.1 by hand, since no client library breaks off in the middle of a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import Any

__all__ = ["Fate", "Line", "LineFailed"]

TRIES_MAX = 2_000
PAUSE_S_FIRST = 0.02
PAUSE_S_MAX = 0.5
ANSWER_TIMEOUT_S = 15.0
BREAK_AFTER_S_MAX = 0.03
TRY_AGAIN = frozenset({429, 502, 503, 504})
BUSY = frozenset({"changed_meanwhile", "sale_pending"})


class LineFailed(Exception):
    """A request was refused that must not be, or no answer came however often it was asked for."""


class Fate(StrEnum):
    """What the network does to a request before it lets it through."""

    PLAIN = "plain"
    LOST_REQUEST = "lost request"  # the connection breaks before all of it was sent
    LOST_ANSWER = "lost answer"  # all of it was sent; the connection breaks before the answer
    DOUBLED = "doubled"  # the same request is sent twice at once


class Line:
    """One connection, opened again whenever it is gone.

    Args:
        port: of the server on 127.0.0.1.
        keys: API keys by the name of who asks.
        counts: what was done, counted for all lines together.
        random: where requests break and how long is waited; how often that is drawn depends on what
            the server does, so nothing else is drawn from it.
    """

    def __init__(
        self, port: int, keys: Mapping[str, str], counts: Counter[str], random: Random
    ) -> None:
        self._port = port
        self._keys = keys
        self._counts = counts
        self._random = random
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, path: str, who: str, body: Mapping[str, Any], fate: Fate
    ) -> tuple[int, Any]:
        """Ask until an answer comes; return its status and document.

        Raises:
            LineFailed: none came, or the server said that it has a fault.
        """
        request, random = self._request(path, who, body), self._random
        if fate is Fate.LOST_REQUEST:
            await self._break(request[: random.randrange(1, len(request))], 0.0)
        elif fate is Fate.LOST_ANSWER:
            await self._break(request, random.uniform(0, BREAK_AFTER_S_MAX))
        pause_s = PAUSE_S_FIRST
        for _ in range(TRIES_MAX):
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    status, document = await self._once(request)
            except (OSError, EOFError, TimeoutError, ValueError):
                self.close()
                status, document = 503, {}
            code = document.get("code")
            if status not in TRY_AGAIN and not (status == 409 and code in BUSY):
                if status >= 500 or status == 401:
                    raise LineFailed(f"{path}: HTTP {status} {code}: {document.get('detail')}")
                return status, document
            self._counts["asked again"] += 1
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(pause_s * 2, PAUSE_S_MAX)
        raise LineFailed(f"{path}: no answer in {TRIES_MAX} tries")

    def _request(self, path: str, who: str, body: Mapping[str, Any]) -> bytes:
        content = json.dumps(body).encode()
        head = (
            f"POST /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Authorization: Bearer {self._keys[who]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    async def _once(self, request: bytes) -> tuple[int, Any]:
        reader, writer = await self._open()
        self._counts["requests"] += 1
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        content = await reader.readexactly(length)
        if b"connection: close" in head.lower():
            self.close()
        return int(head[9:12]), json.loads(content)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._stream is None:
            self._stream = await asyncio.open_connection("127.0.0.1", self._port)
        return self._stream

    async def _break(self, part: bytes, after_s: float) -> None:
        """Send a part of a request, or all of it, and break the connection."""
        self._counts["requests"] += 1
        with contextlib.suppress(OSError):
            _, writer = await self._open()
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(after_s)
        self.close()

    def close(self) -> None:
        """Break the connection."""
        if self._stream is not None:
            self._stream[1].transport.abort()
            self._stream = None

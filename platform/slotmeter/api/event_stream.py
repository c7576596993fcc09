"""Events as server-sent events: resumed by ``Last-Event-ID``, kept alive, bounded, ended cleanly.

A stream reads the durable table of events from its own cursor; what wakes it carries no truth and
may be lost. A slow reader falls behind in the table, never in our memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web

from slotmeter.api.auth import REQUEST_ID_HEADER, check_rights, sign_in
from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.device_models import Event, EventsPage
from slotmeter.api.query_models import EventsQuery
from slotmeter.errors import NotAllowed, NotSignedIn, Refused, Unavailable
from slotmeter.ports import Right, Row
from slotmeter.units import iso_utc

__all__ = ["EVENT_RIGHTS", "EventFeed", "event_of", "events"]

EVENT_RIGHTS: Final = frozenset({Right.EVENTS, Right.SALES_OWN})
STREAM_TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
POLL_S: Final = 1.0
RIGHTS_AGE_S_MAX: Final = 1.0
"""A stream looks at its key again after so long, however busy it is."""

PAUSE_S: Final = 0.1
BATCH_ROWS: Final = 200
WRITE_TIMEOUT_S: Final = 30.0
RETRY_MS: Final = 2_000


class EventFeed:
    """Wakes streams when there may be new events, and counts them."""

    def __init__(self, streams_max: int, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        """Start open, with no stream."""
        self.heartbeat_s = heartbeat_s
        self.closed = False
        self.version = 0
        self.streams = 0
        self._streams_max = streams_max
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Say that there may be new events."""
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """End all streams; a client comes back with its last id."""
        self.closed = True
        self.wake()

    async def wait(self, seen: int, timeout_s: float) -> None:
        """Return when ``version`` is another than the one seen, or after a time without news."""
        if self.closed or self.version != seen:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Count one open stream.

        Raises:
            Unavailable: ``too_many_streams`` or ``shutting_down``.
        """
        if self.closed:
            raise Unavailable("shutting_down", "the server is stopping; connect again later")
        if self.streams >= self._streams_max:
            raise Unavailable("too_many_streams", f"{self.streams} event streams are open already")
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1


def event_of(row: Row) -> Event:
    """Return an event as the API shows it."""
    return Event(
        id=row["id"],
        at=iso_utc(row["at_us"]),
        kind=row["kind"],
        severity=row["severity"],
        meter=row["meter"],
        text=row["text"],
        data=json.loads(row["data"]),
    )


async def events(call: Call[Nothing, EventsQuery]) -> Answer | web.StreamResponse:
    """Answer a page of events, or a stream to those who accept ``text/event-stream``."""
    if STREAM_TYPE in call.request.headers.get("Accept", ""):
        return await _stream(call)
    query = call.query
    principal = call.caller.principal
    rows = await call.services.queries.events(
        principal, after=query.after, limit=query.limit, meter=query.meter
    )
    following = rows[-1]["id"] if rows else query.after or 0
    return json_answer(EventsPage(items=[event_of(row) for row in rows], next=following))


async def _stream(call: Call[Nothing, EventsQuery]) -> web.StreamResponse:
    services = call.services
    if call.query.meter is not None:  # unknown ones are refused before the stream begins
        await services.queries.meter_key(call.caller.principal, call.query.meter)
    cursor = await _start(call)
    with services.feed.stream():
        response = web.StreamResponse(
            headers={
                "Content-Type": STREAM_TYPE,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                REQUEST_ID_HEADER: call.caller.request_id,
            }
        )
        await response.prepare(call.request)
        try:
            await _write(response, f"retry: {RETRY_MS}\n\n".encode())
            await _follow(call, response, cursor)
            await response.write_eof()
        except (ConnectionError, TimeoutError, Unavailable):
            response.force_close()  # the client comes back with the last id it saw
        return response


async def _start(call: Call[Nothing, EventsQuery]) -> int:
    """Return the id after which the stream begins: the one given, else the newest there is."""
    last = call.request.headers.get("Last-Event-ID")
    if last is not None:
        if not (last.isascii() and last.isdigit() and len(last) <= 18):
            raise Refused(
                "bad_last_event_id", "expected the id of an event: digits", field="Last-Event-ID"
            )
        return int(last)
    if call.query.after is not None:
        return call.query.after
    return await call.services.queries.last_event_id(call.caller.principal.utility_id)


async def _follow(
    call: Call[Nothing, EventsQuery], response: web.StreamResponse, cursor: int
) -> None:
    services, caller = call.services, call.caller
    loop = asyncio.get_running_loop()
    heartbeat_s = services.feed.heartbeat_s
    spoke_at_s = checked_at_s = loop.time()
    while not services.feed.closed:
        if loop.time() - checked_at_s >= min(heartbeat_s, RIGHTS_AGE_S_MAX):
            try:
                caller = await sign_in(call.request, services.access, caller.request_id)
                check_rights(caller, EVENT_RIGHTS)
            except (NotSignedIn, NotAllowed):
                return
            checked_at_s = loop.time()
        seen = services.feed.version
        # Read before the rows are: whatever is older was seen, even if not for this caller's eyes.
        newest = await services.queries.last_event_id(caller.principal.utility_id)
        rows: Sequence[Row] = ()
        if newest > cursor:
            rows = await services.queries.events(
                caller.principal, after=cursor, limit=BATCH_ROWS, meter=call.query.meter
            )
            full = len(rows) == BATCH_ROWS
            cursor = rows[-1]["id"] if full else max(newest, *(row["id"] for row in rows), cursor)
        if rows:
            await _write(response, b"".join(_lines(row) for row in rows))
            spoke_at_s = loop.time()
            await asyncio.sleep(PAUSE_S)  # what comes meanwhile is sent together
            continue
        if loop.time() - spoke_at_s >= heartbeat_s:
            await _write(response, b": still here\n\n")
            spoke_at_s = loop.time()
        await services.feed.wait(seen, min(POLL_S, heartbeat_s))


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(chunk)


def _lines(row: Row) -> bytes:
    data: Any = event_of(row).model_dump_json()
    return f"id: {row['id']}\nevent: {row['kind']}\ndata: {data}\n\n".encode()

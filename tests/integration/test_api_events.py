"""Events as a page and as a stream: resumed after a lost connection, kept alive, ended cleanly."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from slotmeter.services.access import Origin
from slotmeter.testing.api_town import ApiTown

EVENTS = "/api/v1/events"
SALES = "/api/v1/sales"
PATIENCE_S = 10


class Stream:
    """A client's end of a stream."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def block(self) -> dict[str, str]:
        """The next block: its fields, or ``{"": text}`` for a comment; {} at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_S):
            while line := await self._reader.readline():
                if line == b"\n":
                    return fields
                name, _, value = line.decode().rstrip("\n").partition(": ")
                fields[name] = value
        return {}

    async def event(self) -> dict[str, Any]:
        """The next event's data."""
        while True:
            block = await self.block()
            if "data" in block:
                data: dict[str, Any] = json.loads(block["data"])
                assert (int(block["id"]), block["event"]) == (data["id"], data["kind"])
                return data
            if not block:
                raise EOFError("the stream ended")


@asynccontextmanager
async def open_stream(
    api: ApiTown, who: str, query: str = "", **headers: str
) -> AsyncIterator[Any]:
    sent = {"Authorization": f"Bearer {api.keys[who]}", "Accept": "text/event-stream", **headers}
    async with api.session.get(f"{api.url}{EVENTS}{query}", headers=sent) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Stream(response.content)  # type: ignore[arg-type]  # aiohttp's reader reads lines, too


@pytest.fixture
async def sell(api: ApiTown) -> Callable[[str, str], Any]:
    """Call it with a vendor and a sale_id for a sale; ann and ben are vendors, eye may look."""
    meters = {}
    for name in ("ann", "ben"):
        await api.join(name, "vendor")
        meters[name] = (await api.utility.add_meter("electricity")).number
    await api.join("eye", "viewer")

    async def make(vendor: str, sale_id: str) -> None:
        body = {"sale_id": sale_id, "meter": meters[vendor], "tendered": "116.00"}
        assert (await api.post(SALES, vendor, json=body)).status == 201

    return make


async def test_a_stream_shows_what_happens_after_it_was_opened(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    await sell("ann", "before")
    async with open_stream(api, "eye") as stream:
        await stream.block()  # the pause before a client comes back
        await sell("ann", "s1")

        event = await stream.event()

    assert event["kind"] == "sale"
    assert event["data"]["receipt_number"] == "R00000002"


async def test_a_stream_goes_on_after_the_last_event_its_client_saw(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    await sell("ann", "s1")
    async with open_stream(api, "eye", "?after=0") as stream:
        first = await stream.event()
    await sell("ann", "s2")
    await sell("ben", "s3")

    async with open_stream(api, "eye", **{"Last-Event-ID": str(first["id"])}) as stream:
        following = [await stream.event() for _ in range(2)]

    assert [event["data"]["receipt_number"] for event in following] == ["R00000002", "R00000003"]


async def test_a_vendors_stream_holds_its_own_sales_only(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    async with open_stream(api, "ben", "?after=0") as stream:
        for number in range(3):
            await sell("ann", f"a{number}")
        await sell("ben", "b1")

        event = await stream.event()

    assert event["data"]["receipt_number"] == "R00000004"


async def test_a_silent_stream_is_kept_alive(api: ApiTown, sell: Callable[[str, str], Any]) -> None:
    async with open_stream(api, "eye") as stream:
        blocks = [await stream.block() for _ in range(3)]

    assert blocks == [{"retry": "2000"}, {"": "still here"}, {"": "still here"}]


async def test_a_stream_ends_when_its_key_is_withdrawn(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    async with open_stream(api, "eye") as stream:
        await stream.block()
        await api.principals.set_disabled(
            Origin("local:test", "test"),
            api.utility.utility_id,
            name="eye",
            disabled=True,
            reason="test",
        )
        api.clock.advance(seconds=2)

        while block := await stream.block():
            assert "data" not in block


async def test_a_stream_that_is_never_silent_ends_when_its_key_is_withdrawn(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    stopped = asyncio.Event()

    async def keep_busy() -> None:
        for number in itertools.count():
            await sell("ann", f"s{number}")
            if stopped.is_set():
                return

    async with open_stream(api, "eye") as stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_busy())
        try:
            await stream.event()
            await api.principals.set_disabled(
                Origin("local:test", "test"),
                api.utility.utility_id,
                name="eye",
                disabled=True,
                reason="test",
            )
            api.clock.advance(seconds=2)

            async with asyncio.timeout(PATIENCE_S):
                while await stream.block():
                    pass
        finally:
            stopped.set()


async def test_a_stream_ends_when_the_server_stops(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    async with open_stream(api, "eye") as stream:
        await stream.block()
        await api.runner.shutdown()

        while await stream.block():
            pass

    assert api.services.feed.streams == 0


async def test_a_stream_that_its_client_left_is_forgotten(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    async with open_stream(api, "eye") as stream:
        await stream.block()
        assert api.services.feed.streams == 1

    async with asyncio.timeout(PATIENCE_S):
        for number in itertools.count():
            if not api.services.feed.streams:
                break
            await sell("ann", f"s{number}")


@pytest.mark.parametrize("last", ["abc", "-1", "9" * 19, "1.5"])
async def test_a_last_event_id_that_is_none_is_refused(
    api: ApiTown, sell: Callable[[str, str], Any], last: str
) -> None:
    reply = await api.get(
        EVENTS, "eye", headers={"Accept": "text/event-stream", "Last-Event-ID": last}
    )

    assert (reply.status, reply.code) == (422, "bad_last_event_id")
    assert reply.json["field"] == "Last-Event-ID"


async def test_a_stream_for_a_meter_that_is_not_there_is_404(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    reply = await api.get(
        f"{EVENTS}?meter=1&after=0", "eye", headers={"Accept": "text/event-stream"}
    )

    assert (reply.status, reply.code) == (404, "meter_unknown")


async def test_events_are_read_page_by_page_in_their_order(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    for number in range(5):
        await sell("ann", f"s{number}")

    first = (await api.get(f"{EVENTS}?after=0&limit=3", "eye")).json
    second = (await api.get(f"{EVENTS}?after={first['next']}&limit=3", "eye")).json
    third = (await api.get(f"{EVENTS}?after={second['next']}", "eye")).json

    ids = [event["id"] for event in first["items"] + second["items"]]
    assert ids == sorted(ids)
    assert len(ids) == 5
    assert third == {"items": [], "next": second["next"]}


async def test_without_a_start_the_newest_events_come_in_their_order(
    api: ApiTown, sell: Callable[[str, str], Any]
) -> None:
    for number in range(4):
        await sell("ann", f"s{number}")

    newest = (await api.get(f"{EVENTS}?limit=2", "eye")).json["items"]

    assert [event["data"]["receipt_number"] for event in newest] == ["R00000003", "R00000004"]

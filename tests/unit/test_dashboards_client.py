"""The dashboards' client against a real socket of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from slotmeter.errors import (
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refused,
    SlotmeterError,
    Unavailable,
)
from slotmeter_dashboards.client import ANSWER_BYTES_MAX, FRESH_S, ApiClient
from slotmeter_dashboards.model import parse_event

KEY = "smk_of_a_viewer"


@dataclass
class Platform:
    """Answers every path with what the test laid down, and keeps what it was asked."""

    port: int
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)
    pages: list[bytes] = field(default_factory=list)
    open_gate: asyncio.Event = field(default_factory=asyncio.Event)
    now_s: float = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        await self.open_gate.wait()
        body = self.pages.pop(0) if self.pages else self.body
        return web.Response(status=self.status, body=body, headers=self.headers)


@pytest.fixture
async def platform(free_port: int) -> AsyncIterator[Platform]:
    stand_in = Platform(free_port)
    stand_in.open_gate.set()
    app = web.Application()
    app.router.add_get("/{tail:.*}", stand_in.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", free_port).start()
    yield stand_in
    await runner.cleanup()


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[ApiClient]:
    made = ApiClient(f"http://127.0.0.1:{platform.port}/", KEY, monotonic=lambda: platform.now_s)
    yield made
    await made.close()


async def test_the_key_goes_along_as_a_bearer(platform: Platform, client: ApiClient) -> None:
    await client.ask("/overview")

    assert platform.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert platform.asked[0].path == "/api/v1/overview"


async def test_viewers_who_ask_the_same_at_once_share_one_request(
    platform: Platform, client: ApiClient
) -> None:
    platform.open_gate.clear()
    viewers = [asyncio.create_task(client.ask("/overview")) for _ in range(20)]
    await asyncio.sleep(0)
    platform.open_gate.set()

    await asyncio.gather(*viewers)

    assert len(platform.asked) == 1


async def test_other_filters_are_another_question(platform: Platform, client: ApiClient) -> None:
    await client.ask("/meters", {"supply": "on"})
    await client.ask("/meters", {"supply": "off"})

    assert [request.query["supply"] for request in platform.asked] == ["on", "off"]


async def test_an_answer_is_asked_for_again_when_it_is_no_longer_fresh(
    platform: Platform, client: ApiClient
) -> None:
    await client.ask("/overview")
    platform.now_s = FRESH_S * 2
    await client.ask("/overview")

    assert len(platform.asked) == 2


async def test_a_platform_that_comes_back_is_seen_again(
    platform: Platform, client: ApiClient
) -> None:
    platform.status = 503
    with pytest.raises(Unavailable):
        await client.ask("/overview")
    platform.status, platform.body, platform.now_s = 200, b'{"fine": true}', FRESH_S * 2

    assert await client.ask("/overview") == {"fine": True}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, NotSignedIn),
        (403, NotAllowed),
        (404, NotFound),
        (422, Refused),
        (500, Unavailable),
        (302, Unavailable),
    ],
)
async def test_a_status_becomes_the_error_that_its_reader_can_act_on(
    platform: Platform, client: ApiClient, status: int, kind: type[SlotmeterError]
) -> None:
    platform.status = status
    platform.body = b'{"code": "some_code", "detail": "what was expected"}'

    with pytest.raises(kind) as caught:
        await client.ask("/overview")

    assert (type(caught.value), caught.value.code) == (kind, "some_code")


async def test_a_redirect_does_not_carry_the_key_elsewhere(
    platform: Platform, client: ApiClient
) -> None:
    platform.status, platform.headers = 302, {"Location": "/elsewhere"}

    with pytest.raises(Unavailable):
        await client.ask("/overview")

    assert len(platform.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff", b"", b"null"])
async def test_an_answer_that_is_no_json_object_is_said_to_be_so(
    platform: Platform, client: ApiClient, body: bytes
) -> None:
    platform.body = body

    with pytest.raises(Unavailable) as caught:
        await client.ask("/overview")

    assert caught.value.code == "api_not_understood"


async def test_an_endless_answer_is_cut_off(platform: Platform, client: ApiClient) -> None:
    platform.body = b" " * (ANSWER_BYTES_MAX + 1)

    with pytest.raises(Unavailable) as caught:
        await client.ask("/overview")

    assert caught.value.code == "api_answer_too_large"


async def test_nobody_listening_is_unreachable_and_no_error_names_the_key(
    free_ports: Callable[[], int],
) -> None:
    alone = ApiClient(f"http://127.0.0.1:{free_ports()}", KEY)

    with pytest.raises(Unavailable) as caught:
        await alone.ask("/overview")
    await alone.close()

    assert caught.value.code == "api_unreachable"
    assert KEY not in str(caught.value)


def event_page(first: int, following: int | None) -> bytes:
    text = '{"id": %d, "at": "2026-11-21T08:00:00Z", "kind": "sale", "text": ""}'
    items = ", ".join(text % number for number in range(first, first + 2))
    cursor = "null" if following is None else following
    return f'{{"items": [{items}], "next": {cursor}}}'.encode()


async def test_a_whole_list_is_read_page_by_page_until_its_end(
    platform: Platform, client: ApiClient
) -> None:
    platform.pages = [event_page(1, 2), event_page(3, 4), event_page(5, None)]

    rows = [row.id async for row in client.every("/events", {"after": "0"}, "after", parse_event)]

    assert rows == [1, 2, 3, 4, 5, 6]
    assert [request.query["after"] for request in platform.asked] == ["0", "2", "4"]


async def test_a_list_whose_cursor_never_ends_is_over_at_an_empty_page(
    platform: Platform, client: ApiClient
) -> None:
    platform.pages = [event_page(1, 2), b'{"items": [], "next": 2}']

    rows = [row.id async for row in client.every("/events", {}, "after", parse_event)]

    assert rows == [1, 2]


async def test_the_newest_events_come_first(platform: Platform, client: ApiClient) -> None:
    platform.body = event_page(8, 9)

    assert [event.id for event in await client.newest_events(2)] == [9, 8]


@pytest.mark.parametrize("number", ["../../sales", "a/b", "1?x=2"])
async def test_a_meter_number_cannot_lead_to_another_path(
    platform: Platform, client: ApiClient, number: str
) -> None:
    platform.status = 404

    with pytest.raises(NotFound):
        await client.meter(number)

    assert platform.asked[0].raw_path.removeprefix("/api/v1/meters/").count("/") == 0
    assert not platform.asked[0].query

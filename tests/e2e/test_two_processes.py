"""``serve --role api`` beside a full server on one PostgreSQL database, as users run them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slotmeter.cli import main
from slotmeter.testing.postgres_server import PostgresServer, find_programs
from slotmeter.testing.server import Server
from slotmeter.testing.site import KRN, SGC, Site, free_ports, make_site
from slotmeter.testing.small_utility import meter_number

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(170)]

PATIENCE_S = 30.0
TILLS = 6
SALES_PER_TILL = 8
KILLED_AFTER = 12
METERS = tuple(meter_number(serial) for serial in range(1, 5))
TARIFF = {
    "tariff": "domestic",
    "title": "Domestic",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"price": "20.00"},
}


def _meter_file() -> str:
    head = (
        "meter,commodity,credit_mode,sgc,krn,ti,tariff,account,customer_number,customer_name,"
        "address,installed_on\n"
    )
    return head + "".join(
        f"{number},electricity,meter,{SGC},{KRN},1,domestic,A{at},C{at},Customer {at},"
        f"Street {at},2026-01-05\n"
        for at, number in enumerate(METERS, 1)
    )


@dataclass
class Pair:
    """Two server processes on one database.

    Args:
        site: their data folder.
        full: does everything.
        api: serves HTTP alone.
        api_url: where that one listens.
    """

    site: Site
    full: Server
    api: Server
    api_url: str

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a session of the till."""
        headers = {"Authorization": f"Bearer {self.site.key_of('till')}"}
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            yield session


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed, and CI must run this test")
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    with PostgresServer(programs, durable=True) as server:
        yield make_site(
            tmp_path_factory.mktemp("two") / "data",
            meter_file=_meter_file(),
            tariffs=(TARIFF,),
            principals={"till": ("service", "vendor")},
            ports=(0, -1, 0),
            database_url=server.url(server.make_database()),
        )


@pytest.fixture
async def pair(site: Site, tmp_path: Path) -> AsyncIterator[Pair]:
    [port] = free_ports(1)
    full = Server(site.config, port=site.http_port, log=tmp_path / "full.log")
    options = ("--role", "api", "--http-port", str(port))
    api = Server(site.config, port=port, log=tmp_path / "api.log", options=options)
    try:
        await asyncio.gather(full.start(), api.start())
        yield Pair(site, full, api, f"http://127.0.0.1:{port}")
    finally:
        await asyncio.to_thread(api.kill)
        await asyncio.to_thread(full.kill)


async def _sell(session: aiohttp.ClientSession, url: str, sale_id: str, meter: str) -> Any:
    body = {"sale_id": sale_id, "meter": meter, "tendered": "116.00", "channel": "till"}
    async with session.post(f"{url}/api/v1/sales", json=body) as answer:
        assert answer.status in {200, 201}, await answer.text()
        return await answer.json()


async def _get(session: aiohttp.ClientSession, url: str, path: str) -> Any:
    async with session.get(f"{url}/api/v1{path}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_what_one_process_sells_the_other_shows_at_once_and_sells_no_second_time(
    pair: Pair,
) -> None:
    async with pair.session() as session:
        sold = await _sell(session, pair.api_url, "one", METERS[0])
        receipt = await _get(session, pair.site.api, f"/receipts/{sold['receipt_number']}")
        again = await _sell(session, pair.site.api, "one", METERS[0])
        listed = await _get(session, pair.site.api, f"/sales?meter={METERS[0]}")

    assert sold["token"] in json.dumps(receipt).replace(" ", "").replace("-", "")
    assert again == sold
    assert [each["sale_id"] for each in listed["items"]] == ["one"]


async def test_tills_at_both_processes_on_one_meter_get_tokens_of_their_own(pair: Pair) -> None:
    urls = (pair.site.api, pair.api_url)
    async with pair.session() as session:
        sold = await asyncio.gather(
            *(_sell(session, urls[at % 2], f"both{at}", METERS[1]) for at in range(10))
        )

    assert len({each["token"] for each in sold}) == 10
    assert len({each["receipt_number"] for each in sold}) == 10


async def test_who_follows_events_at_one_process_is_woken_by_a_sale_at_the_other(
    pair: Pair,
) -> None:
    async with (
        pair.session() as session,
        session.get(
            f"{pair.site.api}/api/v1/events", headers={"Accept": "text/event-stream"}
        ) as stream,
    ):
        seen = asyncio.create_task(_event_of(stream, METERS[2]))
        await _sell(session, pair.api_url, "followed", METERS[2])

        async with asyncio.timeout(10):  # a stream that nobody wakes looks after a minute
            event = await seen

    assert event["meter"] == METERS[2]


async def _event_of(stream: aiohttp.ClientResponse, meter: str) -> Any:
    """Return the first event of a meter."""
    async for line in stream.content:
        if line.startswith(b"data:"):
            event = json.loads(line[5:])
            if event.get("meter") == meter:
                return event
    raise AssertionError("the stream ended")


async def test_an_api_process_that_is_killed_leaves_nothing_half_done(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    answered: dict[str, Any] = {}
    lost: list[tuple[str, str]] = []
    enough = asyncio.Event()

    async def till(name: str) -> None:
        for number in range(SALES_PER_TILL):
            sale_id, meter = f"{name}n{number}", METERS[number % len(METERS)]
            try:
                answered[sale_id] = await _sell(session, pair.api_url, sale_id, meter)
            except aiohttp.ClientError:
                lost.append((sale_id, meter))
            if len(answered) >= KILLED_AFTER:
                enough.set()

    async with pair.session() as session:
        async with asyncio.TaskGroup() as group:
            for at in range(TILLS):
                group.create_task(till(f"k{at}"))
            await enough.wait()
            pair.api.kill()
        known = dict(answered)
        for sale_id, meter in lost:
            answered[sale_id] = await _sell(session, pair.site.api, sale_id, meter)
        again = {
            sale_id: await _get(session, pair.site.api, f"/sales/{sale_id}") for sale_id in known
        }

    assert lost
    assert again == known
    assert len({each["token"] for each in answered.values()}) == TILLS * SALES_PER_TILL
    for command in (("ledger", "verify"), ("audit", "verify"), ("doctor",)):
        assert _exit_code(command, pair.site) == 0, capsys.readouterr().out


def _exit_code(command: Sequence[str], site: Site) -> int:
    """Run a command, which makes an event loop of its own, and return its exit code."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(main, [*command, "--data", str(site.folder)]).result()

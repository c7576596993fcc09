"""Servers on PostgreSQL as users run them: two processes on one database, a standby for reports,
and a standby that takes over."""

from __future__ import annotations

import asyncio
import json
import os
import re
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
from slotmeter.testing.till import Till

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
def programs() -> Path:
    found = find_programs()
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail("PostgreSQL is not installed, and CI must run this test")
    pytest.skip("PostgreSQL is not installed (apt install postgresql)")


@pytest.fixture(scope="module")
def server(programs: Path) -> Iterator[PostgresServer]:
    with PostgresServer(programs, durable=True) as started:
        yield started


def _site(folder: Path, url: str) -> Site:
    return make_site(
        folder,
        meter_file=_meter_file(),
        tariffs=(TARIFF,),
        principals={"till": ("service", "vendor")},
        ports=(0, -1, 0),
        database_url=url,
    )


@pytest.fixture(scope="module")
def site(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return _site(tmp_path_factory.mktemp("two") / "data", server.url(server.make_database()))


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


async def test_a_process_with_a_standby_lists_from_it_and_answers_for_one_sale_from_the_primary(
    pair: Pair, server: PostgresServer, programs: Path, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    with PostgresServer(programs, follows=server) as standby:
        text = pair.site.config.read_text(encoding="utf-8")
        [url] = re.findall(r'url = "(postgresql://.*)"', text)
        replica = url.replace(f":{server.port}/", f":{standby.port}/")
        config = pair.site.folder / "with-standby.toml"
        config.write_text(text.replace(url, f'{url}"\nreplica_url = "{replica}'), encoding="utf-8")
        options = ("--role", "api", "--http-port", str(port))
        reporting = Server(config, port=port, log=tmp_path / "reporting.log", options=options)
        try:
            await reporting.start()
            async with pair.session() as session:
                here = f"http://127.0.0.1:{port}"
                await asyncio.to_thread(standby.execute, "SELECT pg_wal_replay_pause()")
                sold = await _sell(session, here, "reported", METERS[3])
                one = await _get(session, here, "/sales/reported")
                await asyncio.to_thread(standby.execute, "SELECT pg_wal_replay_resume()")
                await _until_listed(session, here, "reported")
                async with session.get(f"{here}/metrics") as answer:
                    metrics = await answer.text()
        finally:
            await asyncio.to_thread(reporting.kill)

    [reads] = re.findall(r"^slotmeter_replica_reads_total (\S+)$", metrics, re.MULTILINE)
    assert one == sold
    assert float(reads) > 0


async def _until_listed(session: aiohttp.ClientSession, url: str, sale_id: str) -> None:
    for _ in range(300):
        found = await _get(session, url, f"/sales?meter={METERS[3]}")
        if sale_id in [each["sale_id"] for each in found["items"]]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{sale_id} is not in the list")


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


# --- a standby that takes over --------------------------------------------------------------------


@pytest.fixture
def servers(programs: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary whose commits wait for its standby."""
    with (
        PostgresServer(programs, durable=True) as primary,
        PostgresServer(programs, durable=True, follows=primary) as standby,
    ):
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.execute("SELECT pg_reload_conf()")
        yield primary, standby


@pytest.fixture
def site_of_both(servers: tuple[PostgresServer, PostgresServer], tmp_path: Path) -> Site:
    primary, standby = servers
    ports = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    name = primary.make_database()
    return _site(tmp_path / "data", f"postgresql://slotmeter@{ports}/{name}")


async def test_a_server_sells_on_at_the_standby_and_has_every_sale_that_it_answered(
    servers: tuple[PostgresServer, PostgresServer],
    site_of_both: Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    primary, standby = servers
    site, enough = site_of_both, asyncio.Event()
    process = Server(site.config, port=site.http_port, log=tmp_path / "server.log")

    async def sell(till: Till, first: int) -> None:
        for number in range(SALES_PER_TILL):
            await till.sell(METERS[(first + number) % len(METERS)], "116.00")
            if sum(1 for each in till.records if each.answers) >= KILLED_AFTER:
                enough.set()

    headers = {"Authorization": f"Bearer {site.key_of('till')}"}
    try:
        await process.start()
        async with (
            Till(site.api, site.key_of("till"), name="t") as till,
            asyncio.timeout(90),
            asyncio.TaskGroup() as group,
        ):
            for first in range(TILLS):
                group.create_task(sell(till, first))
            await enough.wait()
            await asyncio.to_thread(primary.crash)
            await asyncio.to_thread(standby.promote)
        async with aiohttp.ClientSession(headers=headers) as session:
            stored = {
                each.sale_id: await _get(session, site.api, f"/sales/{each.sale_id}")
                for each in till.records
            }
        has_run_on = process.ended is None
    finally:
        await asyncio.to_thread(process.kill)

    assert has_run_on
    assert max(each.tries for each in till.records) > 1
    assert stored == {each.sale_id: each.sale for each in till.records}
    assert len({each["token"] for each in stored.values()}) == TILLS * SALES_PER_TILL
    for command in (("ledger", "verify"), ("audit", "verify"), ("doctor",)):
        assert _exit_code(command, site) == 0, capsys.readouterr().out

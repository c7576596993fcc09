"""The primary dies while sales run and its standby takes over: nothing that was answered is lost,
nothing is sold twice, and the process finds the new primary by itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from slotmeter.config import DatabaseConfig
from slotmeter.errors import Unavailable
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SaleView
from slotmeter.storage import postgres_hosts
from slotmeter.storage.postgres_database import PostgresDatabase
from slotmeter.storage.postgres_hosts import hosts_of
from slotmeter.storage.postgres_session import connect
from slotmeter.testing.databases import name_postgres, settings_of
from slotmeter.testing.postgres_server import PostgresServer, find_programs
from slotmeter.testing.shop import Shop, open_shop

pytestmark = pytest.mark.timeout(170)

TILLS = 8
SALES_PER_TILL = 12
KILLED_AFTER = 25
PATIENCE_S = 60.0


class Cluster:
    """A primary whose commits wait for its standby."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary = primary
        self.standby = standby

    def url(self, name: str) -> str:
        """Return the address of both."""
        ports = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://slotmeter@{ports}/{name}"

    def fail_over(self) -> None:
        """Kill the primary with all its processes, and let the standby take over."""
        self.primary.crash()
        self.standby.promote()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed, and CI must run this test")
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    with (
        PostgresServer(programs, settings={"synchronous_commit": "on"}) as primary,
        PostgresServer(programs, settings={"synchronous_commit": "on"}, follows=primary) as standby,
    ):
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.execute("SELECT pg_reload_conf()")
        yield Cluster(primary, standby)


@pytest.fixture
async def shop(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Shop]:
    name_postgres(tmp_path, cluster.url(cluster.primary.make_database()))
    async with open_shop(tmp_path) as opened:
        yield opened


class Tills:
    """Tills that ask again with the same id until they are answered."""

    def __init__(self, shop: Shop, meters: list[str]) -> None:
        self.shop = shop
        self.meters = meters
        self.answers: dict[str, SaleView] = {}
        self.refused: set[str] = set()
        self.killed_after = asyncio.Event()

    async def sell(self, till: int) -> None:
        for number in range(SALES_PER_TILL):
            sale_id = f"t{till}n{number}"
            meter = self.meters[(till + number) % len(self.meters)]
            self.answers[sale_id] = await self.answered(meter, sale_id)
            if len(self.answers) >= KILLED_AFTER:
                self.killed_after.set()

    async def answered(self, meter: str, sale_id: str) -> SaleView:
        while True:
            try:
                return await self.shop.sell(meter, sale_id=sale_id)
            except Unavailable as error:
                self.refused.add(error.code)
                await asyncio.sleep(0.1)


async def test_no_answered_sale_is_lost_when_the_standby_takes_over(
    cluster: Cluster, shop: Shop
) -> None:
    meters = [(await shop.utility.add_meter("electricity")).number for _ in range(4)]
    tills = Tills(shop, meters)

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        for till in range(TILLS):
            group.create_task(tills.sell(till))
        await tills.killed_after.wait()
        before = dict(tills.answers)
        await asyncio.to_thread(cluster.fail_over)

    again = {sale_id: await tills.answered(sale.meter, sale_id) for sale_id, sale in before.items()}
    assert again == before
    assert "database_unavailable" in tills.refused
    assert tills.refused <= {"database_unavailable", "database_read_only"}
    assert shop.column("SELECT inet_server_port()") == [cluster.standby.port]
    assert shop.column("SELECT count(*) FROM sale") == [TILLS * SALES_PER_TILL]
    assert shop.column("SELECT count(*) FROM token") == [TILLS * SALES_PER_TILL]
    assert {sale.token for sale in tills.answers.values()} >= {
        sale.token for sale in again.values()
    }
    assert len({sale.token for sale in tills.answers.values()}) == TILLS * SALES_PER_TILL
    await _assert_books_hold(shop)


async def _assert_books_hold(shop: Shop) -> None:
    [utility] = await Registry(shop.database, shop.clock).utilities()
    ledger = await verify_ledger(shop.database, shop.clock, utility)
    assert [each.sentence for each in ledger.sentences if not each.holds] == []
    reader = reader_of(settings_of(shop.path.parent))
    audit = await asyncio.to_thread(verify_audit, reader, processes=1)
    assert audit.breaks == []


async def test_reads_that_decide_do_not_go_to_a_standby_that_is_named_first(
    cluster: Cluster,
) -> None:
    name = cluster.primary.make_database()
    ports = f"127.0.0.1:{cluster.standby.port},127.0.0.1:{cluster.primary.port}"
    config = DatabaseConfig(url=f"postgresql://slotmeter@{ports}/{name}", require_durable=False)
    found = []
    for writes in (True, False):
        connection = await connect(config, writes=writes)
        found.append(await connection.fetchval("SELECT inet_server_port()"))
        await connection.close()

    assert found == [cluster.primary.port] * 2


async def test_where_only_a_standby_is_left_it_is_said_that_nothing_can_be_written(
    cluster: Cluster, shop: Shop
) -> None:
    meter = await shop.utility.add_meter("electricity")
    await asyncio.to_thread(cluster.primary.crash)
    codes = []
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await shop.sell(meter.number)
        codes.append(caught.value.code)

    assert codes[-1] == "database_read_only"
    await asyncio.to_thread(cluster.standby.promote)
    assert (await shop.sell(meter.number)).state == "issued"


class _FailsOverAtCommit:
    """A session whose server dies before it hears of the commit, and whose standby takes over and
    gives the number of the transaction to another one."""

    def __init__(self, connection: Any, cluster: Cluster) -> None:
        self._connection = connection
        self._cluster = cluster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, text: str, *arguments: Any, **more: Any) -> Any:
        if not text.endswith("COMMIT"):
            return await self._connection.execute(text, *arguments, **more)
        await asyncio.to_thread(self._cluster.fail_over)
        for number in range(50):
            await asyncio.to_thread(self._cluster.standby.execute, f"CREATE TABLE other{number}()")
        self._connection.terminate()
        raise ConnectionResetError("the line was cut")


async def test_a_commit_that_died_with_the_primary_is_not_taken_for_another_of_the_same_number(
    cluster: Cluster, shop: Shop
) -> None:
    meter = await shop.utility.add_meter("electricity")
    database = shop.database
    assert isinstance(database, PostgresDatabase)
    assert database._writer is not None
    connection: Any = _FailsOverAtCommit(database._writer.connection, cluster)
    database._writer.connection = connection

    with pytest.raises(Unavailable):
        await shop.sell(meter.number)

    assert shop.column("SELECT count(*) FROM sale") == [0]
    assert (await shop.sell(meter.number)).state == "issued"


# --- several servers in one address ---------------------------------------------------------------


def test_each_server_of_an_address_keeps_user_database_and_options() -> None:
    found = hosts_of("postgresql://till@one:5432,[::1]:6000/town?sslmode=require")

    assert found == (
        "postgresql://till@one:5432/town?sslmode=require",
        "postgresql://till@[::1]:6000/town?sslmode=require",
    )
    assert hosts_of("postgresql:///town?host=/run/postgresql") == (
        "postgresql:///town?host=/run/postgresql",
    )


async def test_a_server_that_does_not_answer_delays_the_next_no_longer_than_its_head_start(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_hosts, "HEAD_START_S", 0.1)
    silent = await asyncio.start_server(_silent, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    config = DatabaseConfig(
        url=f"postgresql://slotmeter@127.0.0.1:{port},127.0.0.1:{postgres.port}/postgres",
        connect_timeout_s=60.0,
    )
    async with asyncio.timeout(20):
        connection = await connect(config, writes=True)

    assert await connection.fetchval("SELECT inet_server_port()") == postgres.port
    await connection.close()
    silent.close()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take what is sent and say nothing, as a server whose machine stands still."""
    while await reader.read(1_024):
        pass
    writer.close()

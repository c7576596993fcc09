"""Reports are read from a streaming standby while it keeps up, and from the primary when it does
not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DatabaseConfig
from slotmeter.ports import Changes, Insert, NewId, Read, Rows
from slotmeter.ports.looking import Looks
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.storage.opening import long_looks
from slotmeter.storage.postgres_database import PostgresDatabase
from slotmeter.storage.postgres_replica import Replica
from slotmeter.testing.databases import name_postgres
from slotmeter.testing.postgres_server import PostgresServer, find_programs
from slotmeter.testing.shop import open_shop

PATIENCE_S = 20.0


class _Pair:
    """A primary, a standby of it, and a database of ours on both."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer, name: str) -> None:
        self.primary = primary
        self.standby = standby
        self.name = name

    def config(self, **settings: Any) -> DatabaseConfig:
        given = {
            "url": self.primary.url(self.name),
            "replica_url": self.standby.url(self.name),
            "require_durable": False,
            "pool_max": 3,
            "connect_timeout_s": 2.0,
        }
        return DatabaseConfig(**{**given, **settings})

    @contextmanager
    def lagging(self) -> Iterator[None]:
        """Let the standby receive and not apply."""
        self.standby.execute("SELECT pg_wal_replay_pause()")
        yield
        self.standby.execute("SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed, and CI must run this test")
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    # What is committed is in the log at once, as with any server that is not only for tests.
    with (
        PostgresServer(programs, settings={"synchronous_commit": "on"}) as primary,
        PostgresServer(programs, follows=primary) as standby,
    ):
        yield primary, standby


@pytest.fixture
def pair(servers: tuple[PostgresServer, PostgresServer]) -> Iterator[_Pair]:
    primary, standby = servers
    name = primary.make_database()
    yield _Pair(primary, standby, name)
    primary.drop_database(name)


@asynccontextmanager
async def _opened(config: DatabaseConfig) -> AsyncIterator[tuple[PostgresDatabase, Replica]]:
    database = await PostgresDatabase.open(config)
    replica = Replica(config, database)
    try:
        yield database, replica
    finally:
        await replica.close()
        await database.close()


def _adding(code: str) -> Callable[[Rows, NewId], Changes[None]]:
    def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
        texts = dict.fromkeys(("name", "address", "tax_number", "policy"), "")
        row: dict[str, Any] = {**texts, "id": new_id(), "created_us": 0, "code": code}
        row |= {"currency": "KES", "time_zone": "UTC"}
        return Changes(None, [Insert("utility", row)])

    return decide


async def _codes(looks: Looks) -> list[str]:
    rows = await looks.read([Read("registry_utilities")])
    return sorted(row["code"] for row in rows["registry_utilities"])


async def _caught_up(replica: Replica, codes: list[str]) -> None:
    """Wait until the standby answers, and with all that was written."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            before = replica.state.read
            if await _codes(replica) == codes and replica.state.read > before:
                return
            await asyncio.sleep(0.05)


async def test_a_standby_that_keeps_up_answers_looks(pair: _Pair) -> None:
    async with _opened(pair.config()) as (database, replica):
        await database.run([], _adding("one"))
        await _caught_up(replica, ["one"])
        fallen_back = dict(replica.state.fallen_back)

        assert await _codes(replica) == ["one"]

    assert dict(replica.state.fallen_back) == fallen_back
    assert replica.state.lag_s is not None
    assert replica.state.lag_s < 10


async def test_units_of_work_never_see_what_a_standby_has(pair: _Pair) -> None:
    async with _opened(pair.config(replica_lag_max_s=1_000)) as (database, replica):
        await database.run([], _adding("one"))
        await _caught_up(replica, ["one"])
        with pair.lagging():
            await database.run([], _adding("two"))

            seen = await database.run(
                [Read("registry_utilities")],
                lambda rows, _new_id: Changes(len(rows["registry_utilities"])),
            )
            looked = await _codes(replica)

    assert seen == 2
    assert looked == ["one"]


async def test_a_standby_too_far_behind_is_left_until_it_has_caught_up(
    pair: _Pair, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.storage.postgres_replica.CHECK_EVERY_S", 0.0)
    caplog.set_level("INFO", "slotmeter.storage")
    async with _opened(pair.config(replica_lag_max_s=0.2)) as (database, replica):
        await database.run([], _adding("one"))
        await _caught_up(replica, ["one"])
        with pair.lagging():
            await database.run([], _adding("two"))
            behind = [await _codes(replica) for _ in range(3)]
            causes = dict(replica.state.fallen_back)
        await _caught_up(replica, ["one", "two"])

    assert behind == [["one", "two"]] * 3
    assert causes.pop("behind") == 3
    said = [record.message for record in caplog.records if "reports are read" in record.message]
    assert sum("s behind, more than database.replica_lag_max_s" in line for line in said) == 1
    assert "reports are read from the standby" in said[-1]


async def test_a_standby_that_is_down_is_done_without_and_taken_again_when_it_is_back(
    pair: _Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.storage.postgres_replica.CHECK_EVERY_S", 0.0)
    async with _opened(pair.config()) as (database, replica):
        await database.run([], _adding("one"))
        await _caught_up(replica, ["one"])
        await asyncio.to_thread(pair.standby.crash)
        down = await _codes(replica)
        causes = dict(replica.state.fallen_back)
        await asyncio.to_thread(pair.standby.start)
        await _caught_up(replica, ["one"])

    assert down == ["one"]
    assert causes.get("down") == 1


async def test_only_one_look_waits_for_a_standby_that_does_not_answer(
    pair: _Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.storage.postgres_replica.CHECK_EVERY_S", 0.0)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent_url = f"postgresql://slotmeter@127.0.0.1:{port}/{pair.name}"
    async with _opened(pair.config(replica_url=silent_url)) as (database, replica):
        await database.run([], _adding("one"))
        await _codes(replica)
        first = asyncio.create_task(_codes(replica))
        await asyncio.sleep(0)

        seen = await _codes(replica)

        assert not first.done()
        assert seen == await first == ["one"]
    server.close()


async def test_a_session_with_the_standby_that_ends_costs_no_look(pair: _Pair) -> None:
    async with _opened(pair.config()) as (database, replica):
        await database.run([], _adding("one"))
        await _caught_up(replica, ["one"])
        pair.standby.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "  # noqa: S608  ours
            f"'{pair.name}' AND pid <> pg_backend_pid()"
        )

        assert await _codes(replica) == ["one"]


async def test_another_database_is_not_taken_for_a_standby(pair: _Pair) -> None:
    config = pair.config(replica_url=pair.standby.url("postgres"))
    async with _opened(config) as (database, replica):
        await database.run([], _adding("one"))

        assert await _codes(replica) == ["one"]

    assert replica.state.fallen_back == {"other": 1}
    assert "no standby of the server and database" in replica.state.why_not


async def test_the_audit_is_verified_on_the_standby_while_the_primary_is_locked(
    pair: _Pair, tmp_path: Path
) -> None:
    config = Config.default(tmp_path).model_copy(update={"database": pair.config()})
    async with _opened(config.database) as (database, replica):
        await database.run([], _adding("one"))
        await _caught_up(replica, ["one"])

    chosen = await asyncio.to_thread(long_looks, config)
    verdict = await asyncio.to_thread(verify_audit, reader_of(chosen), processes=1)

    assert chosen.database.url == pair.standby.url(pair.name)
    assert verdict.breaks == []


COMMANDS = {
    "posting": (["ledger", "verify"], ["ledger", "balance"]),
    "audit_group": (["audit", "verify", "--processes", "1"], ["audit", "export"]),
    "sale": (["tariff", "reprice", "--verify", "--processes", "1"],),
}
"""Commands that only look, by a table that they read."""


@pytest.mark.parametrize(
    ("table", "command"),
    [(table, command) for table, commands in COMMANDS.items() for command in commands],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
async def test_a_command_that_only_looks_reads_the_standby(
    pair: _Pair, tmp_path: Path, table: str, command: list[str]
) -> None:
    name_postgres(tmp_path, pair.primary.url(pair.name))
    async with open_shop(tmp_path) as shop:
        meter = await shop.utility.add_meter("electricity")
        await shop.sell(meter.number)
    with (tmp_path / "slotmeter.toml").open("a", encoding="utf-8") as file:
        file.write(f'replica_url = "{pair.standby.url(pair.name)}"\n')
    before = await _scans(pair, table)

    code = await asyncio.to_thread(main, [*command, "--data", str(tmp_path)])

    assert code == 0
    assert await _more_scans(pair, table, before)


async def _more_scans(pair: _Pair, table: str, before: int) -> bool:
    """Tell whether a table was looked into since; a session is counted when it has ended."""
    for _ in range(100):
        if await _scans(pair, table) > before:
            return True
        await asyncio.sleep(0.1)
    return False


async def _scans(pair: _Pair, table: str) -> int:
    """Return how often a table was looked into on the standby."""
    connection = await asyncpg.connect(pair.standby.url(pair.name))
    try:
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        found = await connection.fetchval(
            "SELECT sum(seq_scan + coalesce(idx_scan, 0)) FROM pg_stat_user_tables "
            "WHERE relname = $1",
            table,
        )
        return int(found or 0)
    finally:
        await connection.close()

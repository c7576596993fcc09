"""The embedded database: units of work, group commit, guards, and what it refuses to open."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from slotmeter.errors import ConfigError, Conflict, Refused, Unavailable
from slotmeter.ports import Changes, From, Insert, NewId, Read, Rows, Update
from slotmeter.storage.database import Database
from slotmeter.storage.migrate import HEAD, migrations
from slotmeter.storage.schema import APPEND_ONLY, METADATA


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "slotmeter.db")
    yield opened
    await opened.close()


def _utility(new_id: NewId, code: str) -> Insert:
    row: dict[str, Any] = dict.fromkeys(("name", "address", "tax_number"), "")
    return Insert(
        "utility",
        {
            **row,
            "id": new_id(),
            "code": code,
            "currency": "KES",
            "time_zone": "UTC",
            "policy": "{}",
            "created_us": 0,
        },
    )


async def _codes(database: Database) -> list[str]:
    rows = await database.read([Read("registry_utilities")])
    return sorted(row["code"] for row in rows["registry_utilities"])


async def test_a_unit_that_fails_undoes_itself_and_not_its_neighbours(database: Database) -> None:
    def good(_rows: Rows, new_id: NewId) -> Changes[None]:
        return Changes(None, [_utility(new_id, "good")])

    def bad(_rows: Rows, new_id: NewId) -> Changes[None]:
        guard = {"ledger_account_id": 1, "amount": 1}
        return Changes(None, [_utility(new_id, "bad"), Update("ledger_add", guard)])

    results = await asyncio.gather(
        database.run([], good), database.run([], bad), return_exceptions=True
    )

    assert results[0] is None
    assert isinstance(results[1], Conflict)
    assert await _codes(database) == ["good"]


async def test_what_decide_raises_reaches_the_caller_and_nothing_is_written(
    database: Database,
) -> None:
    def refuse(_rows: Rows, _new_id: NewId) -> Changes[None]:
        raise Refused("no", "not today")

    with pytest.raises(Refused, match="not today"):
        await database.run([], refuse)

    assert await _codes(database) == []


async def test_a_doubled_unique_key_is_a_conflict(database: Database) -> None:
    def add(_rows: Rows, new_id: NewId) -> Changes[None]:
        return Changes(None, [_utility(new_id, "one")])

    await database.run([], add)

    with pytest.raises(Conflict) as caught:
        await database.run([], add)
    assert caught.value.code == "changed_meanwhile"


async def test_ids_are_never_given_twice_even_after_a_restart(tmp_path: Path) -> None:
    given: list[int] = []

    def take(_rows: Rows, new_id: NewId) -> Changes[None]:
        given.extend(new_id() for _ in range(3))
        return Changes(None)

    for _ in range(3):
        database = await Database.open(tmp_path / "slotmeter.db")
        await asyncio.gather(*(database.run([], take) for _ in range(20)))
        await database.close()

    assert len(given) == len(set(given)) == 180
    assert given == sorted(given)


async def test_many_units_share_few_commits(database: Database) -> None:
    def nothing(_rows: Rows, _new_id: NewId) -> Changes[None]:
        return Changes(None)

    await asyncio.gather(*(database.run([], nothing) for _ in range(500)))

    assert database.stats.units == 500
    assert database.stats.commits < 100
    assert database.stats.synchronous == "FULL"


async def test_a_read_that_refers_to_a_missing_row_gives_no_rows(database: Database) -> None:
    rows = await database.read(
        [
            Read("registry_utility_by_code", {"code": "none"}, "utility"),
            Read("access_branch", {"utility_id": From("utility", "id"), "code": "x"}, "b"),
        ]
    )

    assert list(rows["b"]) == []


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "slotmeter.db")
    await database.close()
    await database.close()

    with pytest.raises(Unavailable):
        await database.read([])
    with pytest.raises(Unavailable):
        await database.run([], lambda _rows, _new_id: Changes(None))


async def test_a_commit_that_fails_tells_every_caller_and_writes_nothing(
    database: Database,
) -> None:
    def add(_rows: Rows, new_id: NewId) -> Changes[None]:
        return Changes(None, [_utility(new_id, "lost")])

    def break_it(_rows: Rows, _new_id: NewId) -> Changes[None]:
        # Stands for a full disk: the driver itself fails in the middle of a batch.
        raise sqlite3.OperationalError("database or disk is full")

    results = await asyncio.gather(
        database.run([], add), database.run([], break_it), return_exceptions=True
    )

    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert await _codes(database) == []


async def test_a_writer_that_dies_refuses_what_waits_and_what_comes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_batch: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(database, "_write_batch", broken)

    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await database.run([], lambda _rows, _new_id: Changes(None))
        assert caught.value.code == "database_unavailable"
    assert database.stats.broken
    assert database.stats.waiting == 0


async def test_a_caller_that_gives_up_still_counts_until_its_unit_is_done(
    database: Database,
) -> None:
    release = threading.Event()

    def slow(_rows: Rows, _new_id: NewId) -> Changes[None]:
        release.wait(10)
        return Changes(None)

    task = asyncio.create_task(database.run([], slow))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    waiting = database.stats.waiting
    release.set()
    await database.run([], lambda _rows, _new_id: Changes(None))

    assert waiting == 1
    assert database.stats.waiting == 0


async def test_reads_beyond_the_bound_are_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.storage.database.QUEUE_READS_MAX", 3)

    results = await asyncio.gather(
        *(database.read([Read("registry_utilities")]) for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(result, Unavailable) for result in results) == 2


async def test_a_file_that_cannot_be_read_now_is_unavailable_and_not_a_bug(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("slotmeter.storage.database.make_reads", fail)

    with pytest.raises(Unavailable) as caught:
        await database.read([Read("registry_utilities")])
    assert caught.value.code == "database_unavailable"


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_append_only_tables_refuse_change_and_removal(table: str, tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"

    async def make() -> None:
        await (await Database.open(path)).close()

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        columns = METADATA.tables[table].columns.keys()
        marks = ",".join("?" for _ in columns)
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", [9] * len(columns))  # noqa: S608  the table is one of ours

        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(f"UPDATE {table} SET {columns[0]} = 2")  # noqa: S608  the table is one of ours
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  the table is one of ours


def test_the_migrations_make_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"

    async def make() -> None:
        await (await Database.open(path)).close()

    asyncio.run(make())
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)
    engine.dispose()

    assert differences == []


def test_head_is_the_newest_migration() -> None:
    for dialect in ("sqlite", "postgresql"):
        assert ScriptDirectory.from_config(migrations(dialect)).get_current_head() == HEAD


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"
    await (await Database.open(path)).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(ConfigError) as caught:
        await Database.open(path)
    assert caught.value.code == "database_newer"
    assert "9999" in caught.value.message


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"
    path.write_bytes(b"this is not a database" * 100)

    with pytest.raises(ConfigError) as caught:
        await Database.open(path)
    assert caught.value.code == "database_unusable"


async def test_a_missing_data_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        await Database.open(tmp_path / "nowhere" / "slotmeter.db")
    assert caught.value.code == "data_folder_missing"

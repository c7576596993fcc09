"""The database, embedded and on PostgreSQL: units of work, group commit, guards, refusals."""

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
from slotmeter.services.booking import Entry, accounts_read, open_account
from slotmeter.storage.database import Database
from slotmeter.storage.dialects.postgresql import kind_of
from slotmeter.storage.migrate import HEAD, migrations
from slotmeter.storage.opening import AnyDatabase, open_database
from slotmeter.storage.schema import APPEND_ONLY, METADATA
from slotmeter.testing.databases import Behind, RowRefused, opened_in, settings_of
from slotmeter.vending.ledger import Posting, till_account

both = pytest.mark.both_databases


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[AnyDatabase]:
    async with opened_in(tmp_path) as opened:
        yield opened


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Database]:
    """The embedded one, for what only it does."""
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


async def _codes(database: AnyDatabase) -> list[str]:
    rows = await database.read([Read("registry_utilities")])
    return sorted(row["code"] for row in rows["registry_utilities"])


@both
async def test_a_unit_that_looks_for_a_row_that_is_not_there_is_answered_and_stops_nobody(
    database: AnyDatabase,
) -> None:
    def looks_in_vain(_rows: Rows, _new_id: NewId) -> Changes[None]:
        return Changes(next(iter(())))

    async with asyncio.timeout(20):
        with pytest.raises(RuntimeError, match="row that is not there"):
            await database.run([], looks_in_vain)
        done = await database.run([], lambda _rows, _new_id: Changes("next"))

    assert done == "next"


@both
async def test_a_unit_that_fails_undoes_itself_and_not_its_neighbours(
    database: AnyDatabase,
) -> None:
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


class _LosesCommits:
    """A connection whose commits fail, and were not made."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, text: str, *values: Any, **more: Any) -> Any:
        if not text.endswith("COMMIT"):
            return self._connection.execute(text, *values, **more)
        if isinstance(self._connection, sqlite3.Connection):
            raise sqlite3.OperationalError("disk I/O error")
        self._connection.terminate()
        raise ConnectionResetError("the line was cut")


def _lose_commits(database: Any) -> None:
    if isinstance(database, Database):
        held: Any = _LosesCommits(database._writer)
        database._writer = held
    else:
        database._writer.connection = _LosesCommits(database._writer.connection)


@both
async def test_a_refusal_for_what_was_not_written_after_all_is_not_told(
    database: AnyDatabase,
) -> None:
    def add(_rows: Rows, new_id: NewId) -> Changes[None]:
        return Changes(None, [_utility(new_id, "one")])

    def refuse_another(rows: Rows, _new_id: NewId) -> Changes[None]:
        if rows["registry_utilities"]:
            raise Refused("there", "there is one already")
        return Changes(None)

    _lose_commits(database)

    results = await asyncio.gather(
        database.run([], add),
        database.run([Read("registry_utilities")], refuse_another),
        return_exceptions=True,
    )

    assert [type(each) for each in results] == [Unavailable, Unavailable]
    assert await _codes(database) == []


@both
async def test_a_long_unit_that_cannot_be_written_to_its_end_leaves_nothing(
    database: AnyDatabase,
) -> None:
    def long(_rows: Rows, new_id: NewId) -> Changes[None]:
        steps = []
        for at in range(60):  # more than a back end writes in one call
            steps.append(_utility(new_id, f"long{at}"))
            steps.append(Insert("cursor", {"name": f"c{at}", "position": 0, "at_us": 0}))
        return Changes(None, [*steps, Insert("utility", {"id": new_id(), "no_such_column": 1})])

    with pytest.raises(KeyError, match="no_such_column"):
        await database.run([], long)
    await database.run([], lambda _rows, new_id: Changes(None, [_utility(new_id, "next")]))

    assert await _codes(database) == ["next"]


@both
async def test_of_like_updates_in_a_row_none_is_made_when_one_meets_no_row(
    database: AnyDatabase,
) -> None:
    def settle(_rows: Rows, new_id: NewId) -> Changes[tuple[int, int]]:
        utility = _utility(new_id, "one")
        utility_id: Any = utility.row["id"]
        entry = Entry(utility_id, "opening", 0, "KES", (), "")
        account_id = new_id()
        opened = open_account(entry, Posting(till_account("t"), 500), account_id)
        return Changes((utility_id, account_id), [utility, opened])

    utility_id, account_id = await database.run([], settle)

    def move(_rows: Rows, _new_id: NewId) -> Changes[None]:
        moved = ({"ledger_account_id": each, "amount": 7} for each in (account_id, 10**15))
        return Changes(None, [Update("ledger_add", each) for each in moved])

    with pytest.raises(Conflict):
        await database.run([], move)

    rows = await database.read([accounts_read(utility_id, [till_account("t")], "accounts")])
    assert [row["balance_minor"] for row in rows["accounts"]] == [500]


@both
async def test_what_decide_raises_reaches_the_caller_and_nothing_is_written(
    database: AnyDatabase,
) -> None:
    def refuse(_rows: Rows, _new_id: NewId) -> Changes[None]:
        raise Refused("no", "not today")

    with pytest.raises(Refused, match="not today"):
        await database.run([], refuse)

    assert await _codes(database) == []


@both
async def test_a_doubled_unique_key_is_a_conflict(database: AnyDatabase) -> None:
    def add(_rows: Rows, new_id: NewId) -> Changes[None]:
        return Changes(None, [_utility(new_id, "one")])

    await database.run([], add)

    with pytest.raises(Conflict) as caught:
        await database.run([], add)
    assert caught.value.code == "changed_meanwhile"


@both
async def test_ids_are_never_given_twice_even_after_a_restart(tmp_path: Path) -> None:
    given: list[int] = []

    def take(_rows: Rows, new_id: NewId) -> Changes[None]:
        given.extend(new_id() for _ in range(3))
        return Changes(None)

    for _ in range(3):
        async with opened_in(tmp_path) as database:
            await asyncio.gather(*(database.run([], take) for _ in range(20)))

    assert len(given) == len(set(given)) == 180
    assert given == sorted(given)


@both
async def test_many_units_share_few_commits(database: AnyDatabase) -> None:
    def nothing(_rows: Rows, _new_id: NewId) -> Changes[None]:
        return Changes(None)

    await asyncio.gather(*(database.run([], nothing) for _ in range(500)))

    assert database.stats.units == 500
    assert database.stats.commits < 100
    assert database.stats.synchronous in ("FULL", "OFF")


@both
async def test_a_read_that_refers_to_a_missing_row_gives_no_rows(database: AnyDatabase) -> None:
    rows = await database.read(
        [
            Read("registry_utility_by_code", {"code": "none"}, "utility"),
            Read("access_branch", {"utility_id": From("utility", "id"), "code": "x"}, "b"),
        ]
    )

    assert list(rows["b"]) == []


@both
async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = await open_database(settings_of(tmp_path))
    await database.close()
    await database.close()

    with pytest.raises(Unavailable):
        await database.read([])
    with pytest.raises(Unavailable):
        await database.run([], lambda _rows, _new_id: Changes(None))


async def test_a_commit_that_fails_tells_every_caller_and_writes_nothing(
    file: Database,
) -> None:
    def add(_rows: Rows, new_id: NewId) -> Changes[None]:
        return Changes(None, [_utility(new_id, "lost")])

    def break_it(_rows: Rows, _new_id: NewId) -> Changes[None]:
        # Stands for a full disk: the driver itself fails in the middle of a batch.
        raise sqlite3.OperationalError("database or disk is full")

    results = await asyncio.gather(
        file.run([], add), file.run([], break_it), return_exceptions=True
    )

    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert await _codes(file) == []


@both
async def test_a_writer_that_dies_refuses_what_waits_and_what_comes(
    database: AnyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_batch: object) -> None:  # what raises at once need not be awaited
        raise MemoryError("no more")

    monkeypatch.setattr(database, "_write_batch", broken)

    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await database.run([], lambda _rows, _new_id: Changes(None))
        assert caught.value.code == "database_unavailable"
    assert database.stats.broken
    assert database.stats.waiting == 0


async def test_a_caller_that_gives_up_still_counts_until_its_unit_is_done(
    file: Database,
) -> None:
    release = threading.Event()

    def slow(_rows: Rows, _new_id: NewId) -> Changes[None]:
        release.wait(10)
        return Changes(None)

    task = asyncio.create_task(file.run([], slow))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    waiting = file.stats.waiting
    release.set()
    await file.run([], lambda _rows, _new_id: Changes(None))

    assert waiting == 1
    assert file.stats.waiting == 0


async def test_reads_beyond_the_bound_are_refused(
    file: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.storage.database.QUEUE_READS_MAX", 3)

    results = await asyncio.gather(
        *(file.read([Read("registry_utilities")]) for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(result, Unavailable) for result in results) == 2


async def test_a_file_that_cannot_be_read_now_is_unavailable_and_not_a_bug(
    file: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("slotmeter.storage.database.make_reads", fail)

    with pytest.raises(Unavailable) as caught:
        await file.read([Read("registry_utilities")])
    assert caught.value.code == "database_unavailable"


@both
async def test_append_only_tables_refuse_change_and_removal(
    database: AnyDatabase, tmp_path: Path
) -> None:
    behind = Behind(tmp_path)
    for table in APPEND_ONLY:
        columns = METADATA.tables[table].columns
        samples = {"i": 77, "t": "text", "b": b"bytes"}
        whole = [samples[kind_of(column.type)] for column in columns]
        key = next(iter(METADATA.tables[table].primary_key)).name
        behind.insert_alone(table, dict(zip(columns.keys(), whole, strict=True)))

        with pytest.raises(RowRefused, match="append-only"):
            behind.rows(f"UPDATE {table} SET {key} = {key}")  # noqa: S608  the table is one of ours
        with pytest.raises(RowRefused, match="append-only"):
            behind.rows(f"DELETE FROM {table}")  # noqa: S608  the table is one of ours
    assert database.stats.units == 0


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

"""What only PostgreSQL can do to us: sessions that end, commits without an answer, other servers'
settings, and several processes on one database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

from slotmeter.config import DatabaseConfig
from slotmeter.errors import ConfigError, Refused, Unavailable
from slotmeter.ports import Changes, Insert, NewId, Read, Rows, SqlValue, Update
from slotmeter.storage.migrate import HEAD, script
from slotmeter.storage.postgres_database import WRITER_LOCK, PostgresDatabase
from slotmeter.storage.postgres_session import durability
from slotmeter.storage.schema import APPEND_ONLY, METADATA
from slotmeter.testing.postgres_server import PostgresServer, waited_for

Config = Callable[..., DatabaseConfig]

WITHOUT_UTILITY = {
    *("act", "charge", "command", "command_log", "debt_taken", "event", "free_claim", "journal"),
    *("ledger_account", "notice", "posting", "receipt_print", "sequence", "token"),
}
"""Tables whose rows have no reference to their utility on PostgreSQL; ADR 016 says why."""


@pytest.fixture
def name(postgres: PostgresServer, empty_tables: str) -> Iterator[str]:
    made = postgres.make_database(template=empty_tables)
    yield made
    postgres.drop_database(made)


@pytest.fixture
def config(postgres: PostgresServer, name: str) -> Config:
    def make(**settings: Any) -> DatabaseConfig:
        given = {"url": postgres.url(name), "require_durable": False, "pool_max": 3}
        return DatabaseConfig(**{**given, **settings})

    return make


@pytest.fixture
async def database(config: Config) -> AsyncIterator[PostgresDatabase]:
    opened = await PostgresDatabase.open(config())
    yield opened
    await opened.close()


def _utility(new_id: NewId, code: str) -> Insert:
    texts = dict.fromkeys(("name", "address", "tax_number", "policy"), "")
    numbers = {"id": new_id(), "created_us": 0}
    row: dict[str, Any] = {**texts, **numbers, "code": code, "currency": "KES", "time_zone": "UTC"}
    return Insert("utility", row)


def _adding(code: str) -> Callable[[Rows, NewId], Changes[str]]:
    return lambda _rows, new_id: Changes(code, [_utility(new_id, code)])


async def _codes(database: PostgresDatabase) -> list[str]:
    rows = await database.read([Read("registry_utilities")])
    return sorted(row["code"] for row in rows["registry_utilities"])


def _end_sessions(postgres: PostgresServer, name: str) -> None:
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "  # noqa: S608  ours
        f"'{name}' AND pid <> pg_backend_pid()"
    )


# --- sessions that end ----------------------------------------------------------------------------


async def test_a_session_that_ends_in_the_middle_of_a_unit_leaves_nothing_and_the_next_works(
    database: PostgresDatabase, postgres: PostgresServer, name: str
) -> None:
    def cut_off(_rows: Rows, new_id: NewId) -> Changes[None]:
        _end_sessions(postgres, name)
        return Changes(None, [_utility(new_id, "lost")])

    with pytest.raises(Unavailable) as caught:
        await database.run([], cut_off)
    await database.run([], _adding("next"))

    assert caught.value.code == "database_unavailable"
    assert await _codes(database) == ["next"]


async def test_reads_go_on_by_themselves_when_their_sessions_were_ended(
    database: PostgresDatabase, postgres: PostgresServer, name: str
) -> None:
    await database.run([], _adding("one"))
    await _codes(database)
    _end_sessions(postgres, name)

    assert await _codes(database) == ["one"]


async def test_units_go_on_after_the_server_crashed_and_came_back(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    await database.run([], _adding("before"))
    await asyncio.to_thread(postgres.crash)
    with pytest.raises(Unavailable):
        await database.run([], _adding("meanwhile"))
    await asyncio.to_thread(postgres.start)

    await database.run([], _adding("after"))

    assert {"after"} <= set(await _codes(database)) <= {"before", "after"}


class _CutAtCommit:
    """A session whose answer to the commit never comes; the server may have heard it or not."""

    def __init__(self, connection: Any, *, heard: bool) -> None:
        self._connection = connection
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, text: str, *arguments: Any, **more: Any) -> Any:
        if not text.endswith("COMMIT"):
            return await self._connection.execute(text, *arguments, **more)
        if self._heard:
            await self._connection.execute(text, *arguments, **more)
        self._connection.terminate()
        raise ConnectionResetError("the line was cut")


@pytest.mark.parametrize("heard", [True, False])
async def test_a_commit_without_an_answer_is_told_as_it_happened(
    database: PostgresDatabase, *, heard: bool
) -> None:
    await database.run([], _adding("first"))
    assert database._writer is not None
    database._writer.connection = _CutAtCommit(database._writer.connection, heard=heard)

    (result,) = await asyncio.gather(database.run([], _adding("cut")), return_exceptions=True)

    told = "not done" if isinstance(result, Unavailable) else result
    assert told == ("cut" if heard else "not done")
    assert await _codes(database) == (["cut", "first"] if heard else ["first"])


# --- what takes too long, or cannot be ------------------------------------------------------------


async def test_a_unit_that_waits_too_long_for_the_lock_is_told_to_try_again(
    config: Config, postgres: PostgresServer, name: str
) -> None:
    database = await PostgresDatabase.open(config(statement_timeout_s=0.2))
    other = await asyncpg.connect(postgres.url(name))
    await other.execute(f"BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK})")

    with pytest.raises(Unavailable) as caught:
        await database.run([], _adding("late"))
    await other.close()
    await database.run([], _adding("in time"))

    assert caught.value.code == "database_unavailable"
    assert await _codes(database) == ["in time"]
    await database.close()


async def test_a_read_that_takes_too_long_says_which_setting_ended_it(
    config: Config, postgres: PostgresServer, name: str
) -> None:
    database = await PostgresDatabase.open(config(statement_timeout_s=0.2))
    other = await asyncpg.connect(postgres.url(name))
    await other.execute("BEGIN; LOCK TABLE utility IN ACCESS EXCLUSIVE MODE")

    with pytest.raises(Unavailable) as caught:
        await _codes(database)
    await other.close()

    assert caught.value.code == "database_slow"
    assert "database.statement_timeout_s" in caught.value.message
    assert await _codes(database) == []
    await database.close()


async def test_a_nul_in_a_text_is_refused_and_takes_nothing_else_along(
    database: PostgresDatabase,
) -> None:
    results = await asyncio.gather(
        database.run([], _adding("good")),
        database.run([], _adding("n\0l")),
        return_exceptions=True,
    )

    assert results[0] == "good"
    assert isinstance(results[1], Refused)
    assert results[1].code == "text_unusable"
    assert await _codes(database) == ["good"]


async def test_tables_of_another_version_are_not_written_to(
    database: PostgresDatabase, postgres: PostgresServer, name: str
) -> None:
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=name)
    _end_sessions(postgres, name)
    with pytest.raises(Unavailable):  # the session that ended
        await database.run([], _adding("first"))

    with pytest.raises(Unavailable) as caught:
        await database.run([], _adding("second"))

    assert caught.value.code == "database_revision"
    assert "9999" in caught.value.message


# --- what is refused at the start -----------------------------------------------------------------


async def _refusal(config: DatabaseConfig) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        await PostgresDatabase.open(config)
    return caught.value


async def test_a_newer_database_is_refused(
    config: Config, postgres: PostgresServer, name: str
) -> None:
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=name)

    assert (await _refusal(config())).code == "database_newer"


async def test_a_server_that_may_lose_commits_is_refused(config: Config) -> None:
    refused = await _refusal(config(require_durable=True))

    assert refused.code == "database_not_durable"
    assert "fsync" in refused.message


async def test_synchronous_commit_is_turned_on_for_our_own_sessions(
    config: Config, postgres: PostgresServer, name: str
) -> None:
    connection = await asyncpg.connect(postgres.url(name))
    before = await connection.fetchval("SHOW synchronous_commit")
    with pytest.raises(ConfigError):  # fsync is off in tests
        await durability(connection, config(require_durable=True))

    assert (before, await connection.fetchval("SHOW synchronous_commit")) == ("off", "on")
    await connection.close()


async def test_a_database_that_orders_text_by_a_language_is_refused(
    config: Config, postgres: PostgresServer
) -> None:
    postgres.execute(
        "CREATE DATABASE by_language TEMPLATE template0 LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
    )

    refused = await _refusal(config(url=postgres.url("by_language")))

    assert refused.code == "database_unusable"
    assert "LC_COLLATE 'C'" in refused.message
    postgres.drop_database("by_language")


async def test_a_server_that_is_not_there_is_named_without_its_user(config: Config) -> None:
    refused = await _refusal(config(url="postgresql://till@127.0.0.1:1/town"))

    assert refused.code == "database_unusable"
    assert "127.0.0.1:1/town" in refused.message
    assert "till@" not in refused.message


async def test_a_password_that_others_can_read_is_refused(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret", encoding="utf-8")
    file.chmod(0o644)

    refused = await _refusal(config(password_file=str(file)))

    assert refused.code == "file_exposed"
    assert "secret" not in refused.message


# --- several processes ----------------------------------------------------------------------------


async def test_two_processes_take_turns_and_no_change_of_either_is_lost(
    database: PostgresDatabase, config: Config
) -> None:
    other = await PostgresDatabase.open(config())
    utility = await database.run([], lambda _, new_id: _with_id(new_id))
    sequence: dict[str, SqlValue] = {"utility_id": utility, "name": "receipt", "next_value": 1}
    await database.run([], lambda _rows, _new_id: Changes(None, [Insert("sequence", sequence)]))

    def take(rows: Rows, _new_id: NewId) -> Changes[int]:
        number = rows["sequence"][0]["next_value"]
        params = {"of_utility_id": utility, "of_name": "receipt", "expected": number}
        return Changes(number, [Update("sequence_next", params)])

    read = [Read("sequence", {"utility_id": utility, "name": "receipt"})]
    taken = await asyncio.gather(
        *(each.run(read, take) for _ in range(100) for each in (database, other))
    )

    assert sorted(taken) == list(range(1, 201))
    await other.close()


def _with_id(new_id: NewId) -> Changes[int]:
    step = _utility(new_id, "shared")
    return Changes(int(str(step.row["id"])), [step])


async def test_a_process_is_woken_by_what_another_writes_and_not_by_its_own(
    database: PostgresDatabase, config: Config
) -> None:
    other = await PostgresDatabase.open(config())
    woken = asyncio.Event()
    own: list[None] = []
    database.when_others_wrote(woken.set)
    other.when_others_wrote(lambda: own.append(None))
    for at in range(100):
        await other.run([], _adding(f"u{at}"))
        if woken.is_set():
            break
        await asyncio.sleep(0.05)

    assert woken.is_set()
    assert own == []
    await other.close()


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_append_only_tables_refuse_to_be_emptied(
    postgres: PostgresServer, empty_tables: str, table: str
) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        postgres.execute(f"TRUNCATE {table} CASCADE", database=empty_tables)


async def _shape(url: str) -> set[tuple[Any, ...]]:
    """Columns, constraints and indexes of a database, without the order of the columns."""
    connection = await asyncpg.connect(url)
    columns = await connection.fetch(
        # A counter of the server's own, which nobody asks: ids come with every row.
        "SELECT table_name, column_name, data_type, is_nullable, "
        "CASE WHEN column_default NOT LIKE 'nextval%' THEN column_default END "
        "FROM information_schema.columns WHERE table_schema = 'public'"
    )
    constraints = await connection.fetch(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND contype <> 't'"
    )
    indexes = await connection.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")
    await connection.close()
    return {
        tuple(row)
        for row in (*columns, *constraints, *indexes)
        if "alembic_version" not in str(row[0])
    }


def _made_of(table: Table) -> Iterator[DDLElement]:
    yield CreateTable(table)
    for index in table.indexes:
        yield CreateIndex(index)


async def test_the_migrations_make_the_tables_of_the_schema(
    postgres: PostgresServer, empty_tables: str
) -> None:
    name = postgres.make_database()
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    statements = [
        str(made.compile(dialect=dialect))
        for table in METADATA.sorted_tables
        for made in _made_of(table)
    ]
    postgres.execute(";".join(statements), database=name)

    made, wanted = await _shape(postgres.url(empty_tables)), await _shape(postgres.url(name))

    missing = {str(each[0]) for each in wanted - made if f"fk_{each[0]}_utility_id" in each}
    assert missing == WITHOUT_UTILITY
    # See the baseline: an index of pending sales is another one there.
    other = {each for each in made ^ wanted if not re.search(r"fk_.*_utility_id", str(each))}
    assert all("ix_sale_state" in str(each) for each in other)
    postgres.drop_database(name)


def test_the_migrations_go_down_and_up_again(postgres: PostgresServer, name: str) -> None:
    before = waited_for(_shape(postgres.url(name)))
    postgres.execute(script(HEAD, "base"), database=name)
    between = waited_for(_shape(postgres.url(name)))
    postgres.execute(script(None), database=name)

    assert between == set()
    assert waited_for(_shape(postgres.url(name))) == before

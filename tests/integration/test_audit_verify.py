"""Whatever is changed behind the platform's back is named: entry, table and row."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, Text

from slotmeter.errors import ConfigError
from slotmeter.ports import Changes, Insert, NewId, Rows
from slotmeter.runtime.audit_verify import AuditVerdict, verify_audit
from slotmeter.security.signing import VaultSigner
from slotmeter.services.access import Origin
from slotmeter.services.audit_checkpoints import make_checkpoint
from slotmeter.storage.audit_sqlite import SqliteAuditReader
from slotmeter.storage.database import Database
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.faces import UNSEALED, UNSEALED_COLUMNS
from slotmeter.storage.seal.layout import layout_of, next_layout
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.old_database import copy_old_database
from slotmeter.testing.shop import open_shop

LAYOUT = layout_of(*next_layout(None, METADATA), METADATA)
SEALED = sorted(LAYOUT.tables)
FIXTURES = Path(__file__).parents[1] / "fixtures"
CHAIN = ("audit_entry", "audit_group", "audit_layout")
SOLD = (
    *("sale", "token", "journal", "posting", "act", "event", "tariff", "tariff_version"),
    *("meter", "account", "principal"),
)


def verify(path: Path, **options: Any) -> AuditVerdict:
    return verify_audit(partial(SqliteAuditReader, path), **options)


def disarm(path: Path) -> sqlite3.Connection:
    """Open a database as somebody does who has all rights on its file: without its triggers."""
    connection = sqlite3.connect(path, isolation_level=None)
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in names:
        connection.execute(f'DROP TRIGGER "{name}"')
    return connection


def changed(value: Any) -> Any:
    """Return a stored value with one byte changed."""
    match value:
        case None:
            return 0
        case int():
            return value ^ 1
        case str():
            raw = value.encode() or b"y"
            return (raw[:-1] + bytes([raw[-1] ^ 1])).decode()
    return bytes(value[:-1]) + bytes([value[-1] ^ 1])


# --- a row in every table -------------------------------------------------------------------------


def _value(column: Any, made: dict[str, int], row_id: int) -> Any:
    if column.name == "id":
        return row_id
    for key in column.foreign_keys:
        target = key.column
        if target.table.name in made:
            return made[target.table.name]
        return None
    if isinstance(column.type, LargeBinary):
        return b"bytes"
    if isinstance(column.type, Text):
        return f"{column.name} {row_id}"
    return row_id


async def _fill(path: Path) -> None:
    """Insert one row of invented values into every table."""
    database = await Database.open(path)
    made: dict[str, int] = {}
    for table in METADATA.sorted_tables:
        if table.name in {*CHAIN, "audit_checkpoint"}:
            made[table.name] = 1
            continue

        def decide(_rows: Rows, new_id: NewId, table: Any = table) -> Changes[int]:
            row_id = new_id()
            row = {column.name: _value(column, made, row_id) for column in table.columns}
            return Changes(row_id, [Insert(table.name, row)])

        if table.name != "id_block":
            made[table.name] = await database.run([], decide)
    origin = Origin("127.0.0.1", "test")
    signer = VaultSigner(bytes(32))
    await make_checkpoint(database, signer, FakeClock(), origin, made["utility"])
    await database.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "slotmeter.db"
    asyncio.run(_fill(path))
    return path


@pytest.fixture
def copied(filled: Path, tmp_path: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    path = tmp_path / "slotmeter.db"
    shutil.copy(filled, path)
    with closing(disarm(path)) as connection:
        yield path, connection


def test_a_database_that_nobody_touched_holds(filled: Path) -> None:
    verdict = verify(filled)

    assert verdict.holds
    assert verdict.entries >= len(SEALED)


def test_every_table_is_sealed_or_said_not_to_be() -> None:
    assert set(SEALED) | UNSEALED == set(METADATA.tables)


def test_every_column_of_a_sealed_table_is_in_a_face_or_said_not_to_be() -> None:
    left = {
        f"{name}.{column}"
        for name, table in LAYOUT.tables.items()
        for column in METADATA.tables[name].columns.keys()  # noqa: SIM118  names only
        if column not in {"id", *(each for face in table.faces for each in face.columns)}
    }

    assert left == {
        f"{table}.{column}" for table, columns in UNSEALED_COLUMNS.items() for column in columns
    }


@pytest.mark.parametrize("table", SEALED)
def test_a_byte_changed_in_any_column_names_the_row(
    table: str, copied: tuple[Path, sqlite3.Connection]
) -> None:
    path, connection = copied
    columns = {each for face in LAYOUT.tables[table].faces for each in face.columns}
    wrong = []
    for column in sorted(columns):
        row_id, value = connection.execute(f'SELECT id, "{column}" FROM "{table}"').fetchone()  # noqa: S608  ours
        change = f'UPDATE "{table}" SET "{column}" = ? WHERE id = ?'  # noqa: S608  ours
        connection.execute(change, (changed(value), row_id))
        first = verify(path).breaks
        connection.execute(change, (value, row_id))
        if not first or (first[0].table, first[0].row_id) != (table, row_id):
            wrong.append((column, first))

    assert wrong == []


@pytest.mark.parametrize("table", SEALED)
def test_a_row_removed_is_named(table: str, copied: tuple[Path, sqlite3.Connection]) -> None:
    path, connection = copied
    row_id = connection.execute(f'SELECT max(id) FROM "{table}"').fetchone()[0]  # noqa: S608  ours

    connection.execute(f'DELETE FROM "{table}" WHERE id = ?', (row_id,))  # noqa: S608  ours

    first = verify(path).breaks[0]
    assert (first.table, first.row_id) == (table, row_id)
    assert first.entry_id is not None


@pytest.mark.parametrize("table", SEALED)
def test_a_row_added_is_named(table: str, copied: tuple[Path, sqlite3.Connection]) -> None:
    path, connection = copied
    unique = {
        column.name: _value(column, {}, 9_999)
        for column in METADATA.tables[table].columns
        if not column.nullable or column.name == "id"
    }
    names = ", ".join(f'"{name}"' for name in unique)
    values = [9_999 if value is None else value for value in unique.values()]
    connection.execute(
        f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(unique))})',  # noqa: S608  ours
        values,
    )

    first = verify(path).breaks[0]

    assert (first.table, first.row_id, first.entry_id) == (table, 9_999, None)


@pytest.mark.parametrize("table", CHAIN)
def test_a_byte_changed_in_the_chain_names_the_entry_or_its_group(
    table: str, copied: tuple[Path, sqlite3.Connection]
) -> None:
    path, connection = copied
    key = {"audit_entry": "id", "audit_group": "seq", "audit_layout": "number"}[table]
    rows = connection.execute(f"SELECT {key} FROM {table} ORDER BY 1").fetchall()  # noqa: S608  ours
    row_id = rows[len(rows) // 2][0]
    wrong = []
    for column in METADATA.tables[table].columns.keys():  # noqa: SIM118  names only
        if column in {key, "at_us"} and table == "audit_layout":
            continue  # its number is its key, its time is not sealed
        value = connection.execute(
            f"SELECT {column} FROM {table} WHERE {key} = ?",  # noqa: S608  ours
            (row_id,),
        ).fetchone()[0]
        new = 777_777 if column == key else changed(value)
        change = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"  # noqa: S608  ours
        connection.execute(change, (new, row_id))
        first = verify(path).breaks
        connection.execute(change, (value, new if column == key else row_id))
        if not first or first[0].table not in {table, "audit_group"}:
            wrong.append((column, first))

    assert wrong == []
    assert verify(path).holds


@pytest.mark.parametrize(("table", "key"), [("audit_entry", "id"), ("audit_group", "seq")])
@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_a_part_of_the_chain_removed_is_missed(
    table: str, key: str, which: str, copied: tuple[Path, sqlite3.Connection]
) -> None:
    path, connection = copied
    rows = [row[0] for row in connection.execute(f"SELECT {key} FROM {table} ORDER BY 1")]  # noqa: S608  ours
    row_id = {"first": rows[0], "middle": rows[len(rows) // 2], "last": rows[-1]}[which]

    connection.execute(f"DELETE FROM {table} WHERE {key} = ?", (row_id,))  # noqa: S608  ours

    first = verify(path).breaks[0]
    assert first.table in {"audit_entry", "audit_group"}


# --- real sales -----------------------------------------------------------------------------------


async def _sell(folder: Path) -> None:
    async with open_shop(folder) as shop:
        meter = await shop.utility.add_meter("electricity")
        for at in range(3):
            await shop.sell(meter.number, sale_id=f"s{at}")


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sold")
    asyncio.run(_sell(folder))
    return folder / "slotmeter.db"


def test_real_sales_hold(sold: Path) -> None:
    assert verify(sold).holds


@pytest.mark.parametrize("table", SOLD)
def test_a_byte_changed_in_any_row_that_a_sale_uses_is_named(
    table: str, sold: Path, tmp_path: Path
) -> None:
    path = tmp_path / "slotmeter.db"
    shutil.copy(sold, path)
    wrong = []
    with closing(disarm(path)) as connection:
        rows = [row[0] for row in connection.execute(f'SELECT id FROM "{table}"')]  # noqa: S608  ours
        for row_id in rows:
            for face in LAYOUT.tables[table].faces:
                column = face.columns[-1]
                query = f'SELECT "{column}" FROM "{table}" WHERE id = ?'  # noqa: S608  ours
                value = connection.execute(query, (row_id,)).fetchone()[0]
                change = f'UPDATE "{table}" SET "{column}" = ? WHERE id = ?'  # noqa: S608  ours
                connection.execute(change, (changed(value), row_id))
                breaks = verify(path).breaks
                connection.execute(change, (value, row_id))
                if [(each.table, each.row_id) for each in breaks] != [(table, row_id)]:
                    wrong.append((row_id, column, breaks))

    assert rows
    assert wrong == []


def test_text_that_is_no_text_any_more_is_named(sold: Path, tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"
    shutil.copy(sold, path)
    with closing(disarm(path)) as connection:
        connection.execute("UPDATE act SET reason = CAST(x'fffe' AS TEXT) WHERE what = 'sale'")

    first = verify(path).breaks[0]

    assert first.table == "act"
    assert first.name == "sale Till 1"


@pytest.mark.parametrize("own_process", [False, True])
def test_text_that_is_no_text_any_more_is_read_by_either_driver(
    own_process: bool, sold: Path, tmp_path: Path
) -> None:
    path = tmp_path / "slotmeter.db"
    shutil.copy(sold, path)
    with closing(disarm(path)) as connection:
        connection.execute("UPDATE act SET reason = CAST(x'fffe' AS TEXT) WHERE what = 'sale'")

    with closing(SqliteAuditReader(path, own_process=own_process)) as reader:
        rows = reader.rows_between("act", ("what", "reason", "address"), 0, 2**62)

    assert {reason for what, reason, _ in rows if what == "sale"} == {"\\xff\\xfe"}
    assert {type(address) for _, _, address in rows} == {str}


def test_a_sale_is_named_by_its_receipt(sold: Path, tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"
    shutil.copy(sold, path)
    with closing(disarm(path)) as connection:
        connection.execute("UPDATE sale SET tender_minor = 1 WHERE receipt_number = 'R00000002'")

    assert verify(path).breaks[0].name.startswith("R00000002 ")


def test_two_processes_find_what_one_finds(
    sold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slotmeter.db"
    shutil.copy(sold, path)
    with closing(disarm(path)) as connection:
        connection.execute("UPDATE meter SET state = 'blocked'")
        connection.execute("DELETE FROM posting WHERE id = (SELECT max(id) FROM posting)")
        connection.execute("UPDATE sale SET delivery = 'sent' WHERE receipt_number = 'R00000001'")
    alone = verify(path, processes=1)

    monkeypatch.setattr("slotmeter.runtime.audit_verify.ALONE_ENTRIES_MAX", 0)
    together = verify(path, processes=2)

    assert together == alone
    assert [each.table for each in alone.breaks] == ["meter", "sale", "posting"]


def test_one_process_checks_what_two_never_saw_alike(
    sold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slotmeter.db"
    shutil.copy(sold, path)
    with closing(disarm(path)) as connection:
        connection.execute("UPDATE meter SET state = 'blocked'")
    alone = verify(path, processes=1)

    monkeypatch.setattr("slotmeter.runtime.audit_verify.ALONE_ENTRIES_MAX", 0)
    monkeypatch.setattr("slotmeter.runtime.audit_verify.SAME_STATE_TRIES", 0)

    assert verify(path, processes=2) == alone


def test_the_chain_alone_says_nothing_of_rows(sold: Path, tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"
    shutil.copy(sold, path)
    with closing(disarm(path)) as connection:
        connection.execute("UPDATE meter SET state = 'blocked'")

    assert verify(path, rows=False).holds
    assert not verify(path).holds


@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_sqlite_cannot_read_any_more_is_said_to_be_damaged(
    processes: int, sold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.runtime.audit_verify.ALONE_ENTRIES_MAX", 0)
    path = tmp_path / "slotmeter.db"
    shutil.copy(sold, path)
    with closing(sqlite3.connect(path)) as connection:
        text = "SELECT rootpage FROM sqlite_master WHERE name = 'audit_entry'"
        root = connection.execute(text).fetchone()[0]
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)

    with pytest.raises(ConfigError) as caught:
        verify(path, processes=processes)
    assert caught.value.code == "database_damaged"


def test_a_database_of_a_release_without_an_audit_says_so(tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")

    with pytest.raises(ConfigError) as caught:
        verify(path)
    assert caught.value.code == "audit_missing"


def test_rows_of_an_older_release_are_sealed_as_they_are_when_it_is_opened(tmp_path: Path) -> None:
    old = copy_old_database(FIXTURES / "revision_0002", tmp_path)

    async def open_it() -> None:
        await (await Database.open(old)).close()

    asyncio.run(open_it())
    whole = verify(old)
    with closing(disarm(old)) as connection:
        connection.execute("UPDATE posting SET amount_minor = amount_minor + 1 WHERE id % 7 = 0")
    damaged = verify(old)

    assert whole.holds
    assert whole.rows > 100
    assert {each.table for each in damaged.breaks} == {"posting"}

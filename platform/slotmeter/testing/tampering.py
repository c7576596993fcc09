"""Edits rows as somebody does who has all rights on the database and none of our programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, LargeBinary, Text

from slotmeter.ports import Changes, Insert, NewId, Rows, UnitOfWork
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.layout import layout_of
from slotmeter.storage.seal.unit_seal import GENESIS, entry_hash, group_hash
from slotmeter.testing.databases import Behind

__all__ = ["Tampering", "changed", "fill_empty_tables", "invented"]


def changed(value: Any, column: Column[Any]) -> Any:
    """Return a stored value with one byte changed; something where nothing was."""
    match value:
        case None if isinstance(column.type, LargeBinary):
            return b"\0"
        case None:
            return "" if isinstance(column.type, Text) else 0
        case int():
            return value ^ 1
        case str():
            raw = value.encode() or b"y"
            return (raw[:-1] + bytes([raw[-1] ^ 1])).decode()
    return bytes(value[:-1]) + bytes([value[-1] ^ 1])


def invented(column: Column[Any], made: Mapping[str, int], row_id: int) -> Any:
    """Return a value for a column of a new row.

    Args:
        column: of the table.
        made: a row of each table that is there.
        row_id: of the new row.
    """
    if column.name == "id":
        return row_id
    for key in column.foreign_keys:
        return made.get(key.column.table.name)
    if isinstance(column.type, LargeBinary):
        return b"bytes"
    if isinstance(column.type, Text):
        return f"{column.name} {row_id}"
    return row_id


async def fill_empty_tables(
    database: UnitOfWork, made: dict[str, int], leave: frozenset[str]
) -> None:
    """Insert one row of invented values into every table of which no row is known.

    Args:
        database: to write to.
        made: a row of each table that is there; those that are inserted join them.
        leave: tables that stay as they are.
    """
    for table in METADATA.sorted_tables:
        if table.name in made or table.name in leave:
            continue

        def decide(_rows: Rows, new_id: NewId, table: Any = table) -> Changes[int]:
            row_id = new_id()
            row = {column.name: invented(column, made, row_id) for column in table.columns}
            return Changes(row_id, [Insert(table.name, row)])

        made[table.name] = await database.run([], decide)


class Tampering:
    """Changes rows of a database, of either kind, without its triggers and references."""

    def __init__(self, behind: Behind) -> None:
        """Hold the database."""
        self._behind = behind

    def rows(self, text: str) -> list[dict[str, Any]]:
        """Return what a query finds."""
        return self._behind.rows(text)

    def set(self, table: str, key: tuple[str, int], values: Mapping[str, Any]) -> None:
        """Change a row that a column names."""
        to = ", ".join(f'"{name}" = {self._literal(value)}' for name, value in values.items())
        self._behind.damage(f'UPDATE "{table}" SET {to} WHERE "{key[0]}" = {key[1]}')  # noqa: S608  ours

    def remove(self, table: str, row_id: int) -> None:
        """Remove a row."""
        self._behind.damage(f'DELETE FROM "{table}" WHERE id = {row_id}')  # noqa: S608  ours

    def put_back(self, table: str, row: Mapping[str, Any]) -> None:
        """Insert a row."""
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(self._literal(value) for value in row.values())
        self._behind.damage(f'INSERT INTO "{table}" ({names}) VALUES ({values})')  # noqa: S608  ours

    def write_chain_anew(self, from_seq: int) -> None:
        """Make all hashes fit again, from a group on, after an entry was changed."""
        layouts = {
            row["number"]: layout_of(row["number"], row["body"], METADATA)
            for row in self.rows("SELECT number, body FROM audit_layout")
        }
        groups = self.rows(
            "SELECT seq, at_us, first_entry_id, last_entry_id, hash FROM audit_group ORDER BY seq"
        )
        hashed = GENESIS
        for group in groups:
            if group["seq"] < from_seq:
                hashed = group["hash"]
                continue
            hashes = []
            for entry in self.rows(
                "SELECT id, at_us, group_seq, items, layout FROM audit_entry "  # noqa: S608  numbers
                f"WHERE group_seq = {group['seq']} ORDER BY id"
            ):
                number, at_us, seq, items, layout = entry.values()
                hashes.append(entry_hash(layouts[layout].digest, number, at_us, seq, items))
                self.set("audit_entry", ("id", number), {"hash": hashes[-1]})
            ids = (group["first_entry_id"], group["last_entry_id"])
            before = hashed
            hashed = group_hash(group["seq"], group["at_us"], ids, before, hashes)
            values = {"prev_hash": before, "hash": hashed}
            self.set("audit_group", ("seq", group["seq"]), values)

    def _literal(self, value: Any) -> str:
        match value:
            case None:
                return "NULL"
            case bytes():
                return f"'\\x{value.hex()}'" if self._behind.is_postgres else f"x'{value.hex()}'"
            case str():
                return "'" + value.replace("'", "''") + "'"
        return str(value)

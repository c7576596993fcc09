"""The audit and the ids on PostgreSQL: the layout at open, and each commit's group.

See ``seal`` for what is sealed and how.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from slotmeter.ports import Insert, SqlValue, Step
from slotmeter.storage.postgres_writes import Touched
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.adoption import adopt
from slotmeter.storage.seal.layout import layout_insert, layout_of, next_layout, unsealed_faces
from slotmeter.storage.seal.unit_seal import GroupSeal, Head, Layout, Seals, UnitSeal

__all__ = ["Chain", "open_layout"]

HEAD: Final = """
SELECT next_id, pg_current_xact_id()::TEXT,
       (SELECT ARRAY(SELECT ROW(seq, hash) FROM audit_group ORDER BY seq DESC LIMIT 1))
FROM id_block WHERE name = 'id'
"""


def _now_us() -> int:
    return time.time_ns() // 1_000


class Chain:
    """The ids and the group of one transaction of the writer."""

    def __init__(self, layout: Layout) -> None:
        """Prepare; nothing is read before a transaction begins."""
        self._seals = Seals(layout)
        self._group = GroupSeal(Head())
        self._next = 0
        self._stored = 0
        self._at_us = 0
        self._entries: list[Insert] = []
        self.transaction = ""
        self.made: tuple[SqlValue, SqlValue] | None = None

    async def begin(self, connection: asyncpg.Connection[Any]) -> None:
        """Read where ids and chain are; the writer's lock is held."""
        row = await connection.fetchrow(HEAD)
        if row is None:
            raise LookupError("the table id_block has no row 'id'")
        self._next, self.transaction, heads = row
        self._stored = self._next
        self._group = GroupSeal(Head(*heads[0]) if heads else Head())
        self._at_us = _now_us()
        self._entries = []
        self.made = None

    def take(self) -> int:
        """Return the next id."""
        self._next += 1
        return self._next - 1

    def seal(self, steps: Sequence[Step], touched: Sequence[Touched], entry_id: int) -> None:
        """Make the entry of one unit from what it wrote.

        Args:
            steps: of the unit.
            touched: what they changed of sealed rows.
            entry_id: taken when it was decided, before another unit took any.
        """
        unit = UnitSeal(self._seals)
        for step in steps:
            if isinstance(step, Insert):
                unit.inserted(step.table, step.row)
        for touch, rows in touched:
            unit.touched(touch, rows)
        entry = unit.entry(lambda: entry_id, self._at_us, self._group.seq)
        if entry is not None:
            self._group.add(entry)
            self._entries.append(entry.step)

    def closing(self) -> list[Insert]:
        """Return what the transaction must still insert."""
        group = self._group.group(self._at_us)
        if group is None:
            return []
        self.made = (group.row["seq"], group.row["hash"])
        return [*self._entries, group]

    @property
    def counter(self) -> str:
        """The statement that stores the counter of ids; empty when none was taken."""
        if self._next == self._stored:
            return ""
        return f"UPDATE id_block SET next_id = {self._next} WHERE name = 'id';"  # noqa: S608  a number


async def open_layout(connection: asyncpg.Connection[Any]) -> Layout:
    """Return the layout in force; if tables are newer, store the next and seal their rows by it.

    Runs inside the transaction that brings the tables up to date.
    """
    row = await connection.fetchrow(
        "SELECT number, body FROM audit_layout ORDER BY number DESC LIMIT 1"
    )
    newest = None if row is None else (row["number"], row["body"])
    wanted = next_layout(newest, METADATA)
    layout = layout_of(*wanted, METADATA)
    if wanted == newest:
        return layout
    before = None if newest is None else layout_of(*newest, METADATA)
    at_us = _now_us()
    await _insert(connection, [layout_insert(wanted, layout.digest, at_us)])
    rows: dict[str, Sequence[tuple[Any, ...]]] = {}
    for table, face in unsealed_faces(before, layout):
        names = ", ".join(f'"{name}"' for name in ("id", *table.faces[face].columns))
        found = await connection.fetch(f'SELECT {names} FROM "{table.name}" ORDER BY id')  # noqa: S608  our own names
        rows[names + table.name] = [tuple(each) for each in found]
    chain = Chain(layout)
    await chain.begin(connection)

    def rows_of(table: str, columns: Sequence[str]) -> Sequence[tuple[Any, ...]]:
        return rows[", ".join(f'"{name}"' for name in columns) + table]

    head = chain._group.head
    await _insert(connection, list(adopt(before, layout, rows_of, head, chain.take, at_us)))
    if chain.counter:
        await connection.execute(chain.counter)
    return layout


async def _insert(connection: asyncpg.Connection[Any], steps: Sequence[Insert]) -> None:
    for step in steps:
        names = ", ".join(step.row)
        marks = ", ".join(f"${at + 1}" for at in range(len(step.row)))
        text = f"INSERT INTO {step.table} ({names}) VALUES ({marks})"  # noqa: S608  our own names
        await connection.execute(text, *step.row.values())

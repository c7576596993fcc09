"""The audit on SQLite: the layout at open, the rows of older versions, and the chain's next group.

See ``seal`` for what is sealed and how.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from slotmeter.ports import Insert
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.adoption import adopt
from slotmeter.storage.seal.layout import layout_insert, layout_of, next_layout
from slotmeter.storage.seal.unit_seal import (
    GroupSeal,
    Head,
    Layout,
    SealedEntry,
    Seals,
    UnitSeal,
)
from slotmeter.storage.sqlite_ids import Ids

__all__ = ["Chain", "chain_head", "open_layout"]

_LOG = logging.getLogger("slotmeter.audit")
FETCH_ROWS: Final = 1_000


def _now_us() -> int:
    return time.time_ns() // 1_000


def chain_head(connection: sqlite3.Connection) -> Head:
    """Return the newest group of the chain."""
    row = connection.execute(
        "SELECT seq, hash FROM audit_group ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return Head() if row is None else Head(*row)


def _insert(connection: sqlite3.Connection, step: Insert) -> None:
    names, marks = ", ".join(step.row), ", ".join("?" for _ in step.row)
    connection.execute(
        f"INSERT INTO {step.table} ({names}) VALUES ({marks})",  # noqa: S608  names are ours
        tuple(step.row.values()),
    )


def _rows_of(
    connection: sqlite3.Connection, table: str, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    names = ", ".join(f'"{name}"' for name in columns)
    yield from connection.execute(f'SELECT {names} FROM "{table}" ORDER BY id')  # noqa: S608  ours


def open_layout(connection: sqlite3.Connection) -> Layout:
    """Return the layout in force; if tables are newer, store the next and seal their rows by it.

    All or nothing: whoever is stopped in the middle starts again.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        newest: tuple[int, str] | None = connection.execute(
            "SELECT number, body FROM audit_layout ORDER BY number DESC LIMIT 1"
        ).fetchone()
        wanted = next_layout(newest, METADATA)
        layout = layout_of(*wanted, METADATA)
        if wanted != newest:
            before = None if newest is None else layout_of(*newest, METADATA)
            _adopt(connection, before, wanted, layout)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return layout


def _adopt(
    connection: sqlite3.Connection, before: Layout | None, wanted: tuple[int, str], after: Layout
) -> None:
    at_us, began_s = _now_us(), time.monotonic()
    _insert(connection, layout_insert(wanted, after.digest, at_us))
    ids = Ids(connection)
    ids.begin()
    head = chain_head(connection)
    entries = 0
    for step in adopt(
        before,
        after,
        lambda table, columns: _rows_of(connection, table, columns),
        head,
        ids.take,
        at_us,
    ):
        _insert(connection, step)
        entries += 1
    ids.store()
    if entries:
        _LOG.info(
            "sealed the rows of an older version: %d entries in %.1f s",
            entries,
            time.monotonic() - began_s,
        )


class Chain:
    """The audit's side of the writer: one group for each of its commits."""

    def __init__(self, connection: sqlite3.Connection, layout: Layout) -> None:
        """Prepare; nothing is read before a commit begins."""
        self._connection = connection
        self._seals = Seals(layout)
        self._group = GroupSeal(Head())
        self.at_us = 0

    def begin(self) -> None:
        """Read where the chain is: another process may have written since."""
        self._group = GroupSeal(chain_head(self._connection))
        self.at_us = _now_us()

    @property
    def layout(self) -> Layout:
        """What is sealed."""
        return self._seals.layout

    def unit(self) -> UnitSeal:
        """Return what collects the seals of one unit."""
        return UnitSeal(self._seals)

    @property
    def seq(self) -> int:
        """The number of the group that this commit makes."""
        return self._group.seq

    def add(self, entry: SealedEntry) -> None:
        """Take the entry of a unit that is written."""
        self._group.add(entry)

    def store(self) -> None:
        """Write the group that closes this commit."""
        step = self._group.group(self.at_us)
        if step is not None:
            _insert(self._connection, step)

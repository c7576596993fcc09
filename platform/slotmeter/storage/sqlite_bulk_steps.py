"""Steps of a unit that are many rows of one kind: one call of SQLite for hundreds of them.

For each statement that it steps through, the driver gives the interpreter away and takes it back,
and a thread that is busy meanwhile gives it back only after milliseconds. So rows are inserted
hundreds at a time by one statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Final

from slotmeter.errors import Conflict
from slotmeter.ports import BulkStep, InsertMany, SqlValue, UpdateMany
from slotmeter.storage.dialect import Pick, Statements
from slotmeter.storage.seal.unit_seal import Layout

__all__ = ["write_bulk"]

VALUES_MAX: Final = 4_000
"""Values that one statement is given; SQLite takes 32,766."""


def write_bulk(
    connection: sqlite3.Connection,
    statements: Statements,
    layout: Layout,
    steps: Sequence[BulkStep],
) -> None:
    """Write steps in order.

    Raises:
        Conflict: ``changed_meanwhile``: an update met other rows than one for each of its own.
        ValueError: rows that are sealed are written one by one.
    """
    for step in steps:
        if not step.rows:
            continue
        if isinstance(step, InsertMany):
            _insert(connection, statements, layout, step)
        else:
            _update(connection, statements, step)


def _order(pick: Pick, columns: Sequence[str]) -> list[int]:
    """Return where a statement's values stand among the columns of a bulk step."""
    return [int(at or 0) for at in pick({name: at for at, name in enumerate(columns)})]


@cache
def _together(text: str, rows: int) -> str:
    """Return an insert of so many rows."""
    head, found, values = text.partition(" VALUES ")
    if not found:
        raise ValueError(f"not an insert of one row: {text}")
    return f"{head} VALUES {', '.join([values] * rows)}"


def _insert(
    connection: sqlite3.Connection, statements: Statements, layout: Layout, step: InsertMany
) -> None:
    if step.table in layout.tables:
        raise ValueError(f"rows of {step.table} are sealed, and written one by one")
    columns = step.columns
    text, pick = statements.insert(step.table, dict.fromkeys(columns))
    order, rows = _order(pick, columns), step.rows
    if order != list(range(len(columns))):
        take = itemgetter(*order)
        rows = [take(row) for row in rows]
    size = max(1, VALUES_MAX // len(columns))
    whole = len(rows) - len(rows) % size
    for at in range(0, whole, size):
        values: list[SqlValue] = list(chain.from_iterable(rows[at : at + size]))
        connection.execute(_together(text, size), values)
    connection.executemany(text, rows[whole:])


def _update(connection: sqlite3.Connection, statements: Statements, step: UpdateMany) -> None:
    compiled = statements.updates[step.statement]
    if compiled.touch is not None:
        raise ValueError(f"{step.statement} changes what is sealed, and goes one by one")
    take = itemgetter(*_order(compiled.values, step.columns))
    changed = connection.executemany(compiled.text, map(take, step.rows)).rowcount
    if changed != len(step.rows):
        raise Conflict(
            "changed_meanwhile",
            f"{step.statement} met {changed} rows instead of {len(step.rows)}; try again",
        )

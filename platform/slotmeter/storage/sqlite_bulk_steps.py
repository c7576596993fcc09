"""Steps of a unit that are many rows of one kind: one call of SQLite for hundreds of them.

For each statement that it steps through, the driver gives the interpreter away and takes it back,
and a thread that is busy meanwhile gives it back only after milliseconds. So rows are inserted
and changed hundreds at a time by one statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
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

SHARE: Final = 4
"""What is left over goes by statements of so many times fewer rows, and so on: few statements, and
few kinds of them to keep."""


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


def _runs(
    rows: Sequence[tuple[SqlValue, ...]], columns: int
) -> Iterator[Sequence[tuple[SqlValue, ...]]]:
    """Yield rows by as many as one statement is given, of which there are few kinds."""
    at, size = 0, max(1, VALUES_MAX // columns)
    while at < len(rows):
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size
        size = max(1, size // SHARE)


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
    for some in _runs(rows, len(columns)):
        values: list[SqlValue] = list(chain.from_iterable(some))
        connection.execute(_together(text, len(some)), values)


def _update(connection: sqlite3.Connection, statements: Statements, step: UpdateMany) -> None:
    compiled = statements.updates[step.statement]
    if compiled.touch is not None:
        raise ValueError(f"{step.statement} changes what is sealed, and goes one by one")
    changed = 0
    for some in _runs(step.rows, len(step.columns)):
        text = statements.update_together(step.statement, step.columns, len(some))
        values: list[SqlValue] = list(chain.from_iterable(some))
        changed += connection.execute(text, values).rowcount
    if changed != len(step.rows):
        raise Conflict(
            "changed_meanwhile",
            f"{step.statement} met {changed} rows instead of {len(step.rows)}; try again",
        )

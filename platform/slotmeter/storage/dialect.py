"""Statements as text: SQLAlchemy Core compiled once, with the names of what comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Final

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.ports import SqlValue
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.returning import sealed_update
from slotmeter.storage.seal.unit_seal import Layout, Touch
from slotmeter.storage.statements import catalogue

__all__ = ["Compiled", "Statements"]


_BY_PLACE: Final[Dialect] = sqlite.dialect(paramstyle="qmark")
_NAMED: Final = sqlite.dialect(paramstyle="named")
_PARAMETER: Final = re.compile(r"(?<!:):([a-z_0-9]+)")

Values = tuple[SqlValue, ...]
Pick = Callable[[Mapping[str, SqlValue]], Values]


def _picker(names: Sequence[str]) -> Pick:
    """Return what takes the values of these names, in order, out of a mapping."""
    if len(names) > 1:
        return itemgetter(*names)
    if names:
        [name] = names
        return lambda given: (given[name],)
    return lambda _given: ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """One statement ready for the driver.

    Parameters go by position: for each named one the driver asks SQLite for its name, and gives
    the interpreter away and takes it back to do so.

    Args:
        text: SQL with ``?`` parameters; values that the statement brings itself stand in it.
        values: takes the parameters, in the order of the text, out of those that have names.
        columns: names of the result's columns; empty for updates.
        touch: what an update returns for the seals of its rows; None if it touches none.
    """

    text: str
    values: Pick
    columns: tuple[str, ...]
    touch: Touch | None = None


def _literal(value: SqlValue) -> str:
    """Write a value as SQLite reads it."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return str(int(value or 0))


def _written_out(
    text: str, names: Sequence[str], constants: Mapping[str, SqlValue]
) -> tuple[str, list[str]]:
    """Put a statement's own values into its text; return it with the names that are left.

    They need not be handed over each time, and SQLite sees by them that an index of a part of a
    table will do.
    """
    parts = text.split("?")
    if len(parts) != len(names) + 1:
        raise ValueError(f"a question mark that is no parameter: {text}")
    left = [name for name in names if name not in constants]
    marks = [_literal(constants[name]) if name in constants else "?" for name in names]
    return "".join([part + mark for part, mark in zip(parts, [*marks, ""], strict=True)]), left


def _compile(
    statement: Select[tuple[object, ...]] | UpdateBase,
    columns: tuple[str, ...],
    touch: Touch | None = None,
) -> Compiled:
    compiled = statement.compile(dialect=_BY_PLACE)
    text = str(compiled)
    if "POSTCOMPILE" in text:
        raise ValueError(f"an expanding parameter cannot be compiled once: {text}")
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    text, names = _written_out(text, compiled.positiontup or (), constants)
    return Compiled(text, _picker(names), columns, touch)


@cache
def _reads() -> Mapping[str, Compiled]:
    return {
        name: _compile(statement, tuple(statement.selected_columns.keys()))
        for name, statement in catalogue().reads.items()
    }


@cache
def _updates(layout: Layout | None) -> Mapping[str, Compiled]:
    found = catalogue().updates
    if layout is None:
        return {name: _compile(statement, ()) for name, statement in found.items()}
    sealed = {name: sealed_update(statement, layout) for name, statement in found.items()}
    return {name: _compile(update, (), touch) for name, (update, touch) in sealed.items()}


class Statements:
    """The catalogue, compiled for SQLite; inserts are compiled at first use."""

    def __init__(self, layout: Layout | None = None) -> None:
        """Compile every read and update of the catalogue, once in a process for each layout.

        Args:
            layout: what is sealed; updates then return what their seals are made of.
        """
        self.reads = _reads()
        self.updates = _updates(layout)
        self._inserts: dict[tuple[str, ...], tuple[str, Pick]] = {}
        self._updates_together: dict[tuple[str, tuple[str, ...], int], str] = {}

    def update_together(self, statement: str, columns: tuple[str, ...], rows: int) -> str:
        """Return one statement that makes an update so many times over.

        Args:
            statement: the name of an update without subqueries in what it sets.
            columns: the parameters that each row has values of, in their order.
            rows: how many.
        """
        key = (statement, columns, rows)
        found = self._updates_together.get(key)
        if found is None:
            compiled = catalogue().updates[statement].compile(dialect=_NAMED)
            values: dict[str, str] = {
                name: _literal(value)
                for name, value in compiled.params.items()
                if value is not None
            }
            values |= {name: f"given.column{at}" for at, name in enumerate(columns, start=1)}
            text = _PARAMETER.sub(lambda name: values[name[1]], str(compiled))
            sets, _, where = text.partition(" WHERE ")
            row = f"({', '.join('?' * len(columns))})"
            rows_given = ", ".join([row] * rows)
            found = f"{sets} FROM (VALUES {rows_given}) AS given WHERE {where}"
            self._updates_together[key] = found
        return found

    def insert(self, table: str, row: Mapping[str, SqlValue]) -> tuple[str, Pick]:
        """Return the insert for a table and just these columns, and what takes its values."""
        key = (table, *row)
        found = self._inserts.get(key)
        if found is None:
            target: Table = METADATA.tables[table]
            unknown = [name for name in row if name not in target.c]
            if unknown:
                raise KeyError(f"table {table} has no columns {unknown}")
            compiled = target.insert().compile(dialect=_BY_PLACE, column_keys=list(row))
            found = self._inserts[key] = (str(compiled), _picker(compiled.positiontup or ()))
        return found

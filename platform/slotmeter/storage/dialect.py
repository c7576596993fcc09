"""Statements as text: SQLAlchemy Core compiled once, with the names of what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.ports import SqlValue
from slotmeter.storage.schema import METADATA
from slotmeter.storage.statements import catalogue

__all__ = ["Compiled", "Statements"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One statement ready for the driver.

    Args:
        text: SQL with ``:name`` parameters.
        constants: parameters that the statement brings itself.
        columns: names of the result's columns; empty for updates.
    """

    text: str
    constants: Mapping[str, SqlValue]
    columns: tuple[str, ...]

    def params(self, given: Mapping[str, SqlValue]) -> Mapping[str, SqlValue]:
        """Join the caller's parameters with the statement's own."""
        return {**self.constants, **given} if self.constants else given


def _compile(
    statement: Select[tuple[object, ...]] | UpdateBase, dialect: Dialect, columns: tuple[str, ...]
) -> Compiled:
    compiled = statement.compile(dialect=dialect)
    text = str(compiled)
    if "POSTCOMPILE" in text:
        raise ValueError(f"an expanding parameter cannot be compiled once: {text}")
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Compiled(text, constants, columns)


class Statements:
    """The catalogue, compiled for SQLite; inserts are compiled at first use."""

    def __init__(self) -> None:
        """Compile every read and update of the catalogue."""
        self._dialect: Dialect = sqlite.dialect(paramstyle="named")
        found = catalogue()
        self.reads = {
            name: _compile(statement, self._dialect, tuple(statement.selected_columns.keys()))
            for name, statement in found.reads.items()
        }
        self.updates = {
            name: _compile(statement, self._dialect, ())
            for name, statement in found.updates.items()
        }
        self._inserts: dict[tuple[str, ...], str] = {}

    def insert(self, table: str, row: Mapping[str, SqlValue]) -> str:
        """Return the insert for a table and just these columns."""
        key = (table, *row)
        text = self._inserts.get(key)
        if text is None:
            target: Table = METADATA.tables[table]
            unknown = [name for name in row if name not in target.c]
            if unknown:
                raise KeyError(f"table {table} has no columns {unknown}")
            statement = target.insert().compile(dialect=self._dialect, column_keys=list(row))
            text = self._inserts[key] = str(statement)
        return text

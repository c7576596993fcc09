"""Statements as a dialect needs them, where the one that all others take will not do."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Select

__all__ = ["read_for"]


def read_for(statement: Select[Any], dialect: Dialect) -> Select[Any]:
    """Return a read for a dialect.

    SQL Server numbers rows to limit them, and the numbering cannot speak of a label: there the
    order names the labelled expression itself.
    """
    if dialect.name != "mssql":
        return statement
    columns = statement.selected_columns
    ordered: list[ColumnElement[Any]] = []
    for clause in statement._order_by_clauses:  # SQLAlchemy offers no public way to read them
        label = getattr(clause, "element", None)
        ordered.append(columns[label] if isinstance(label, str) else clause)
    return statement.order_by(None).order_by(*ordered) if ordered else statement

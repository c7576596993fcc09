"""What people call a row: for the lines that name a row at fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, select

from slotmeter.storage.schema import METADATA

__all__ = ["name_from", "name_query"]

_t = METADATA.tables

_OWN: Final = ("receipt_number", "number", "code", "name", "what", "kind", "title")
"""Columns that say what a row is called, the best first."""

_OF: Final = (
    ("sale_row_id", "sale", "receipt_number"),
    ("debt_id", "debt", "number"),
    ("journal_id", "journal", "reason"),
    ("meter_id", "meter", "number"),
    ("account_id", "account", "number"),
    ("supply_point_id", "supply_point", "number"),
    ("tariff_id", "tariff", "code"),
    ("principal_id", "principal", "name"),
)
"""Columns that lead to a row with a name of its own."""


def name_query(table: str) -> Select[Any] | None:
    """Return a query for the words that name a row of a table by its ``id``; None without any."""
    target = _t[table]
    words: list[Any] = [target.c[name] for name in _OWN if name in target.c][:1]
    source: Any = target
    if "version" in target.c:
        words.append(target.c.version)
    for column, other, name in _OF:
        if column in target.c:
            found = _t[other].alias()
            source = source.outerjoin(found, found.c.id == target.c[column])
            words.append(found.c[name])
            break
    return select(*words).select_from(source) if words else None


def name_from(row: Sequence[Any]) -> str:
    """Return the words of such a query as one name."""
    return " ".join(str(word) for word in row if word is not None)

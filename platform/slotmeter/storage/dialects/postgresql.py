"""Statements for PostgreSQL: text in pieces, so that parameters may come from anywhere.

A parameter of a read is a number of the statement, or a column of an earlier read; one of an update
is an element of an array. So each statement is kept as text with gaps, and every gap says the
parameter's name and kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Integer, LargeBinary
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select
from sqlalchemy.sql.sqltypes import NullType

from slotmeter.ports import SqlValue
from slotmeter.storage.seal.unit_seal import Touch

__all__ = ["Gap", "InPieces", "Kind", "kind_of", "read_in_pieces", "update_in_pieces"]

Kind = Literal["i", "t", "b"]
"""Whole numbers, text, bytes."""

TYPES: Final[Mapping[Kind, str]] = {"i": "BIGINT", "t": "TEXT", "b": "BYTEA"}

_GAP: Final = re.compile(r"\$(\d+)(::[A-Z]+(?:\(\d+\))?)?")
_DIALECT: Final[Dialect] = asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own


@dataclass(frozen=True, slots=True)
class Gap:
    """Where a parameter goes."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class InPieces:
    """One statement as text with gaps.

    Args:
        pieces: text and gaps in turn.
        columns: names of the result's columns; of an update, those that its seals need.
        kinds: of the columns.
        touch: what an update returns for the seals of its rows; None if it touches none.
    """

    pieces: tuple[str | Gap, ...]
    columns: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    touch: Touch | None = None

    def text(self, fill: Callable[[Gap], str]) -> str:
        """Return the statement with its gaps filled."""
        return "".join(piece if isinstance(piece, str) else fill(piece) for piece in self.pieces)


def kind_of(type_: object) -> Kind:
    """Return the kind of a column's type; what SQLAlchemy knows no type of is a number."""
    if isinstance(type_, BigInteger | Integer | NullType):
        return "i"
    return "b" if isinstance(type_, LargeBinary) else "t"


def _literal(value: SqlValue) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise ValueError(f"a constant of a statement is text or a number, got {type(value).__name__}")


def _pieces(statement: Select[Any] | UpdateBase) -> tuple[str | Gap, ...]:
    compiled = statement.compile(dialect=_DIALECT)
    text = str(compiled)
    if "POSTCOMPILE" in text:
        raise ValueError(f"an expanding parameter cannot be compiled once: {text}")
    names = compiled.positiontup or ()
    binds: Mapping[str, BindParameter[Any]] = compiled.binds
    pieces: list[str | Gap] = []
    end = 0
    for found in _GAP.finditer(text):
        pieces.append(text[end : found.start()])
        end = found.end()
        name = names[int(found[1]) - 1]
        constant = compiled.params[name]
        if constant is None:
            kind = kind_of(binds[name].type)
            pieces += (Gap(name, kind), found[2] or f"::{TYPES[kind]}")
        else:
            pieces.append(f"{_literal(constant)}{found[2] or ''}")
    pieces.append(text[end:])
    return tuple(pieces)


def read_in_pieces(statement: Select[Any]) -> InPieces:
    """Compile a read."""
    columns = statement.selected_columns
    kinds = tuple(kind_of(column.type) for column in columns)
    return InPieces(_pieces(statement), tuple(columns.keys()), kinds)


def update_in_pieces(statement: UpdateBase, touch: Touch | None) -> InPieces:
    """Compile an update or a delete that returns what ``touch`` asks for."""
    if touch is None:
        return InPieces(_pieces(statement))
    kinds = tuple(kind_of(statement.table.c[name].type) for name in touch.columns)
    return InPieces(_pieces(statement), touch.columns, kinds, touch)

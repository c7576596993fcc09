"""The kinds of columns that the tables are made of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Text, text

__all__ = ["id_column", "int_column", "part_index", "ref_column", "text_column"]


def id_column() -> Column[int]:
    """Return the primary key: an id from the one source that grows with time."""
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def ref_column(name: str, target: str, *, nullable: bool = False) -> Column[int]:
    """Return the id of a row of another table."""
    return Column(name, BigInteger, ForeignKey(f"{target}.id"), nullable=nullable)


def int_column(name: str, *, nullable: bool = False, default: str | None = None) -> Column[int]:
    """Return a whole number: a count, an amount, or microseconds."""
    return Column(name, BigInteger, nullable=nullable, server_default=default)


def text_column(name: str, *, nullable: bool = False, default: str | None = None) -> Column[str]:
    """Return text, or a document as JSON text."""
    return Column(name, Text, nullable=nullable, server_default=default)


def part_index(name: str, column: str, *, where: str) -> Index:
    """Return an index of the rows that a condition picks, where a database can have one."""
    condition = text(where)
    return Index(name, column, sqlite_where=condition, postgresql_where=condition)

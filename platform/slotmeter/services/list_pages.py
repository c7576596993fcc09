"""Pages of lists in the order of one key: how long, where one begins, and where the next does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

__all__ = ["ID_MAX", "LIST_ROWS", "cut"]

T = TypeVar("T")
K = TypeVar("K")

LIST_ROWS: Final = 500
"""Rows of a short list, unless a caller asks for fewer; the rest is on pages that follow."""

ID_MAX: Final = 2**63 - 1
"""Above every id: what a list of the newest rows begins below."""


def cut(rows: Sequence[T], limit: int, key: Callable[[T], K]) -> tuple[Sequence[T], K | None]:
    """Return a page, and where the next one starts, of rows that were read to one above a limit."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], key(rows[limit - 1])

"""What checking the audit reads, whatever the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

__all__ = ["AuditReader", "Break", "Checkpoint", "Entry", "Group"]


Entry = tuple[int, int, int, int, bytes, bytes]
"""A row of ``audit_entry``: id, at_us, layout, group_seq, items, hash."""


class Group(NamedTuple):
    """A row of ``audit_group``."""

    seq: int
    at_us: int
    first_entry_id: int
    last_entry_id: int
    entries: int
    prev_hash: bytes
    hash: bytes


class Checkpoint(NamedTuple):
    """A row of ``audit_checkpoint``; with the id 0, one that was brought in a file."""

    id: int
    at_us: int
    seq: int
    hash: bytes
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """One place where the database is not what the audit says.

    Args:
        entry_id: the entry that says otherwise; None for rows that no entry knows.
        table: of the row at fault.
        row_id: its id, or its number for groups and layouts.
        problem: what is wrong, as a clause.
    """

    entry_id: int | None
    table: str
    row_id: int
    problem: str


class AuditReader(Protocol):
    """Reads one committed state of a database, from when it is opened until it is closed."""

    def layouts(self) -> Sequence[tuple[int, str, bytes]]:
        """Return number, body and digest of every layout, in order."""
        ...

    def groups(self, from_seq: int, to_seq: int) -> Iterator[Sequence[Group]]:
        """Yield groups in order, both ends included, some at a time."""
        ...

    def newest_group(self) -> Group | None:
        """Return the newest group."""
        ...

    def group(self, seq: int) -> Group | None:
        """Return one group."""
        ...

    def entries_up(self, first_id: int, last_id: int) -> Iterator[Entry]:
        """Yield the entries of a span of ids in order, both ends included."""
        ...

    def entries_down(self, first_id: int, last_id: int) -> Iterator[Sequence[Entry]]:
        """Yield the entries of a span of ids, newest first, some at a time."""
        ...

    def entries_after(self, last_id: int) -> Sequence[int]:
        """Return the ids of some entries that are newer than an id."""
        ...

    def rows_between(
        self, table: str, columns: Sequence[str], first_id: int, last_id: int
    ) -> Sequence[tuple[Any, ...]]:
        """Return the columns of rows of a span of ids, in order of the ids."""
        ...

    def rows_of(
        self, table: str, columns: Sequence[str], ids: Sequence[int]
    ) -> Iterable[tuple[Any, ...]]:
        """Return the columns of these rows, in any order; those that are not there are left out."""
        ...

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        ...

    def ids(self, table: str) -> Iterable[int]:
        """Return the ids of all rows of a table, in order."""
        ...

    def checkpoints(self) -> Sequence[Checkpoint]:
        """Return the checkpoints that the database holds, in order."""
        ...

    def name_of(self, table: str, row_id: int) -> str:
        """Return what people call a row; "" if nothing is known."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...

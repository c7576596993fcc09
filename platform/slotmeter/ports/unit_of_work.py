"""The unit of work: data in, data out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

__all__ = [
    "Apart",
    "BulkStep",
    "Changes",
    "From",
    "Insert",
    "InsertMany",
    "NewId",
    "Read",
    "Reads",
    "Row",
    "Rows",
    "SqlValue",
    "Step",
    "Then",
    "UnitOfWork",
    "Update",
    "UpdateMany",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SqlValue = str | int | bytes | None
Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]
NewId = Callable[[], int]


class From(msgspec.Struct, frozen=True):
    """A parameter taken from the first row of an earlier read; without a row the read is empty."""

    read: str
    column: str


class Read(msgspec.Struct, frozen=True):
    """One named statement of ``storage.statements`` with its parameters.

    Args:
        statement: the name in the catalogue.
        params: values, or references to earlier reads of the same unit.
        key: the name of its rows in ``Rows``; the statement's name if not given.
    """

    statement: str
    params: Mapping[str, SqlValue | From] = msgspec.field(default_factory=dict)
    key: str = ""


class Then(msgspec.Struct, frozen=True):
    """Further reads, which a pure function chooses by the rows that are there already."""

    of: Callable[[Rows], Sequence[Read]]


Reads = Sequence[Read | Then]


class Insert(msgspec.Struct, frozen=True):
    """A row to add to a table of ``storage.schema``."""

    table: str
    row: Mapping[str, SqlValue]


class Update(msgspec.Struct, frozen=True):
    """A named, guarded update; the unit fails when it does not change ``rows`` rows.

    ``rows`` is None for any number. ``statement`` is the name in the catalogue.
    """

    statement: str
    params: Mapping[str, SqlValue]
    rows: int | None = 1


Step = Insert | Update


class InsertMany(msgspec.Struct, frozen=True):
    """Many rows for one table that is not sealed; each row has the values of the columns."""

    table: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[SqlValue, ...]]


class UpdateMany(msgspec.Struct, frozen=True):
    """One named, guarded update many times over; each must change exactly one row.

    ``columns`` names the parameters whose values each row has.
    """

    statement: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[SqlValue, ...]]


BulkStep = InsertMany | UpdateMany

Apart = Callable[[Rows], Iterable[Hashable]]
"""What a unit of work touches that others may touch as well, by its rows: a sale's meter, account
and supply point.

A unit that has this may be read together with others that have it, before any of them writes, and
is decided only if nothing it touches was touched by one that was decided since. It promises that
what it reads hangs on nothing else that such units change, but the counters that a back end
follows by itself: the next value of a sequence, and what the reads ``ledger_accounts`` and
``till_of_branch`` show of balances and reservations.
"""


@dataclass(frozen=True, slots=True)
class Changes(Generic[T_co]):
    """What a unit of work writes, in order, and what it answers.

    Args:
        result: the answer.
        steps: what it writes.
        bulk: many rows of what is not sealed, before all steps.
    """

    result: T_co
    steps: Sequence[Step] = ()
    bulk: Sequence[BulkStep] = ()


class UnitOfWork(Protocol):
    """The transaction boundary.

    ``run`` makes the reads, calls ``decide`` with the rows and a source of new ids, and writes the
    changes: all or nothing, durable before it returns. ``decide`` is pure and synchronous; an error
    it raises is handed to the caller and nothing is written. Ids grow with time.
    """

    async def run(
        self,
        reads: Reads,
        decide: Callable[[Rows, NewId], Changes[T]],
        *,
        apart: Apart | None = None,
    ) -> T:
        """Read, decide, write, commit.

        Args:
            reads: what to read.
            decide: decides by the rows; may be called again when the unit must be run again.
            apart: what lets the unit go together with others; a back end need not use it.

        Raises:
            Conflict: ``changed_meanwhile`` when a guarded update met other rows than it expected.
            Unavailable: ``database_unavailable`` when the commit failed; nothing was written.
        """
        ...

    async def read(self, reads: Reads) -> Rows:
        """Make reads that see one committed state, without writing."""
        ...

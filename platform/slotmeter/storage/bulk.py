"""Rows written many at a time into a database that nobody uses yet.

What units of work decide is kept as rows: their inserts as they are, the updates that finish a row
folded into it, and the entries that seal both. A :class:`BulkTarget` takes such rows, without what
a database does for each row on its own: its indexes are made at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol, Self

import msgspec
from sqlalchemy import Update as UpdateStatement

from slotmeter.ports import Insert, NewId, SqlValue, Step, Update
from slotmeter.storage.bulk_moulds import RecordedUnit
from slotmeter.storage.seal.unit_seal import (
    GroupSeal,
    Head,
    Layout,
    SealedEntry,
    Seals,
    Touch,
    UnitSeal,
)
from slotmeter.storage.statements import catalogue

__all__ = ["BulkChain", "BulkRows", "BulkTarget", "TableRows", "Values"]

FOLDED: Final[Mapping[str, tuple[str, str]]] = {
    "sale_issue": ("sale", "sale_row_id"),
    "token_issue": ("token", "token_id"),
}
"""Updates that finish a row of an earlier unit: its table, and their parameter with its id."""

FOLDED_TABLES: Final = frozenset(table for table, _ in FOLDED.values())

BALANCE: Final = "ledger_add"
RESERVED: Final = "ledger_reserve"
REPAID: Final = "debt_take"

Values = tuple[SqlValue, ...]


@dataclass(slots=True)
class TableRows:
    """Rows of one table that name the same columns, each with its values in their order."""

    table: str
    columns: tuple[str, ...]
    values: list[Values]


@dataclass(frozen=True, slots=True)
class _Fold:
    """How an update finishes a row.

    Args:
        table: of the row.
        key: the update's parameter with its id.
        sets: the columns that it sets: name, parameter, and the value that is not given.
        touch: what the seal of the row needs of it then.
        defaults: of columns that the row does not name.
    """

    table: str
    key: str
    sets: tuple[tuple[str, str, Any], ...]
    touch: Touch | None
    defaults: Mapping[str, SqlValue]

    @classmethod
    def of(cls, statement: str, layout: Layout) -> Self:
        """Read it from the catalogue."""
        found = catalogue().updates[statement]
        if not isinstance(found, UpdateStatement):
            raise AssertionError(f"{statement} is no update")
        table, key = FOLDED[statement]
        sets = tuple(
            (str(getattr(column, "name", column)), value.key, value.value)
            for column, value in (found._values or {}).items()
        )
        touch = layout.updated(table, [name for name, _, _ in sets])
        return cls(table, key, sets, touch, layout.tables[table].defaults)

    def apply(self, row: dict[str, SqlValue], params: Mapping[str, SqlValue]) -> None:
        """Finish a row."""
        for column, name, constant in self.sets:
            row[column] = params.get(name, constant)

    def returned(self, row: Mapping[str, SqlValue]) -> tuple[SqlValue, ...]:
        """Return what the database would of the finished row."""
        names = () if self.touch is None else self.touch.columns
        return tuple(row[name] if name in row else self.defaults[name] for name in names)


_NO_DEBTS: Final[Mapping[int, str]] = MappingProxyType({})


class _OpenSeal(UnitSeal):
    """Tells what it has noted."""

    __slots__ = ()

    def noted(self) -> dict[int, list[list[SqlValue]]]:
        """Return the values of the rows by the code of their face and kind."""
        return {
            code: [msgspec.msgpack.decode(row) for row in rows.values()]
            for code, rows in self._groups.items()
        }


class BulkRows:
    """Collects what units of work write, with the seals of it.

    Args:
        layout: what is sealed.
        keep_seals: whether :meth:`recorded` shall tell what each unit sealed.
    """

    def __init__(self, layout: Layout, *, keep_seals: bool = False) -> None:
        """Start with nothing."""
        self._recorded: list[RecordedUnit] | None = [] if keep_seals else None
        self.moved: Counter[int] = Counter()
        """What each ledger account, by id, was debited with in all; minor units."""
        self._seals = Seals(layout)
        self._debt_state = layout.updated("debt", ["state"])
        self._folds = {name: _Fold.of(name, layout) for name in FOLDED}
        self._rows: dict[str, list[dict[str, SqlValue]]] = {}
        self._open: dict[tuple[str, SqlValue], dict[str, SqlValue]] = {}
        self._reserved_minor = 0

    def take(
        self,
        steps: Iterable[Step],
        new_id: NewId,
        at_us: int,
        group_seq: int,
        *,
        debt_states: Mapping[int, str] = _NO_DEBTS,
    ) -> list[Update]:
        """Keep what a unit writes; return its updates that only the caller can follow.

        Args:
            steps: in their order.
            new_id: gives the id of its entry in the audit.
            at_us: when the unit is written.
            group_seq: number of the group that it is sealed in.
            debt_states: what becomes of the debts that it repays, by their ids.
        """
        others: list[Update] = []
        seal = _OpenSeal(self._seals)
        for step in steps:
            if isinstance(step, Insert):
                self._insert(step.table, dict(step.row))
                seal.inserted(step.table, step.row)
            elif step.statement in FOLDED:
                self._fold(step, seal)
            elif step.statement == BALANCE:
                account: Any = step.params["ledger_account_id"]
                self.moved[account] += step.params["amount"]  # type: ignore[operator]  # minor
            elif step.statement == REPAID and self._debt_state is not None:
                debt_id: Any = step.params["debt_id"]
                seal.touched(self._debt_state, [(debt_id, debt_states[debt_id])])
            elif step.statement == RESERVED:
                self._reserved_minor += step.params["amount"]  # type: ignore[operator]  # minor
            else:
                others.append(step)
        entry = seal.entry(new_id, at_us, group_seq)
        if entry is not None:
            self._insert(entry.step.table, dict(entry.step.row))
            if self._recorded is not None:
                self._recorded.append(RecordedUnit(seal.noted(), entry.id, at_us))
        return others

    def recorded(self) -> Sequence[RecordedUnit]:
        """Return what each unit sealed; nothing if that is not kept."""
        return self._recorded or ()

    def _insert(self, table: str, row: dict[str, SqlValue]) -> None:
        self._rows.setdefault(table, []).append(row)
        if table in FOLDED_TABLES:
            self._open[table, row["id"]] = row

    def _fold(self, step: Update, seal: UnitSeal) -> None:
        fold = self._folds[step.statement]
        row = self._open.pop((fold.table, step.params[fold.key]))
        fold.apply(row, step.params)
        if fold.touch is not None:
            seal.touched(fold.touch, [fold.returned(row)])

    def hand_over(self) -> list[TableRows]:
        """Return the rows so far and forget them.

        Raises:
            AssertionError: a row was begun and not finished, or money is still reserved.
        """
        if self._open or self._reserved_minor:
            raise AssertionError(f"{len(self._open)} rows were begun and not finished")
        made: list[TableRows] = []
        for table, rows in self._rows.items():
            by_columns: dict[tuple[str, ...], list[Values]] = {}
            for row in rows:
                by_columns.setdefault(tuple(row), []).append(tuple(row.values()))
            made += [TableRows(table, columns, values) for columns, values in by_columns.items()]
        self._rows = {}
        return made


class BulkTarget(Protocol):
    """A database while it is filled: nobody else may use it, and it is whole only in the end."""

    @property
    def layout(self) -> Layout:
        """What is sealed in it."""
        ...

    @property
    def next_group(self) -> int:
        """The number of the next group of the audit."""
        ...

    def __enter__(self) -> Self:
        """Return itself."""
        ...

    def __exit__(self, *error: object) -> None:
        """Let go of it."""
        ...

    def write(self, table: str, columns: Sequence[str], values: Iterable[Values]) -> None:
        """Add rows of one table, each with its values in the order of the columns."""
        ...

    def seal_group(self, entries: Sequence[SealedEntry], at_us: int) -> None:
        """Close a group of the audit over entries that are written, in the order of their ids."""
        ...

    def add_to_balances(self, moved: Mapping[int, int]) -> None:
        """Add to the balances of ledger accounts, by id; minor units, debit positive."""
        ...

    def close_debts(self, debt_ids: Sequence[int]) -> None:
        """Close debts that were repaid."""
        ...

    def count_on(self, utility_id: int, next_id: int, sequences: Mapping[str, int]) -> None:
        """Let ids and numbers go on behind those that were given.

        Args:
            utility_id: whose.
            next_id: the first id that is free.
            sequences: the next number of each, by name.
        """
        ...

    def make_indexes(self) -> Iterator[tuple[int, int]]:
        """Make what was left out; yield how much of it is made, and of how much, as it goes."""
        ...

    def finish(self) -> None:
        """Make it a database that a server opens as its own."""
        ...


class BulkChain:
    """The groups of the audit of a database that is filled.

    Args:
        head: its newest group.
    """

    def __init__(self, head: Head) -> None:
        """Hold the head."""
        self._head = head

    @property
    def next_group(self) -> int:
        """The number of the next group."""
        return self._head.seq + 1

    def group(self, entries: Sequence[SealedEntry], at_us: int) -> Insert | None:
        """Close a group over entries; return its row, None without entries."""
        group = GroupSeal(self._head)
        for entry in entries:
            group.add(entry)
        step = group.group(at_us)
        self._head = group.closed_head
        return step

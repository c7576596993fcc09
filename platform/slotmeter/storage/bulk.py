"""Rows written many at a time into a database that nobody uses yet.

What units of work decide is kept as rows: their inserts as they are, the updates that finish a row
folded into it, and the entries that seal both. :class:`BulkFile` writes such rows in one large
transaction, without a log and without a sync: a file whose writing was cut short is worth nothing.
Write to a name of its own, and give it the database's name at the end.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from sqlalchemy import Update as UpdateStatement

from slotmeter.ports import Insert, NewId, SqlValue, Step, Update
from slotmeter.storage.bulk_moulds import RecordedUnit
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.unit_seal import (
    GroupSeal,
    Layout,
    SealedEntry,
    Seals,
    Touch,
    UnitSeal,
)
from slotmeter.storage.sqlite_seal import chain_head, open_layout
from slotmeter.storage.statements import catalogue

__all__ = ["BulkFile", "BulkRows", "TableRows"]

PAGE_CACHE_KIB: Final = 2 * 1024 * 1024
"""Pages of the keys that are filled in no order stay in memory, and runs of sorting are long."""

SORTING_THREADS: Final = 2

INDEXES: Final = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
"""Those of keys have no SQL; they stay."""

FOLDED: Final[Mapping[str, tuple[str, str]]] = {
    "sale_issue": ("sale", "sale_row_id"),
    "token_issue": ("token", "token_id"),
}
"""Updates that finish a row of an earlier unit: its table, and their parameter with its id."""

FOLDED_TABLES: Final = frozenset(table for table, _ in FOLDED.values())

BALANCE: Final = "ledger_add"
RESERVED: Final = "ledger_reserve"

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
        self._folds = {name: _Fold.of(name, layout) for name in FOLDED}
        self._rows: dict[str, list[dict[str, SqlValue]]] = {}
        self._open: dict[tuple[str, SqlValue], dict[str, SqlValue]] = {}
        self._reserved_minor = 0

    def take(
        self, steps: Iterable[Step], new_id: NewId, at_us: int, group_seq: int
    ) -> list[Update]:
        """Keep what a unit writes; return its updates that only the caller can follow.

        Args:
            steps: in their order.
            new_id: gives the id of its entry in the audit.
            at_us: when the unit is written.
            group_seq: number of the group that it is sealed in.
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


class BulkFile:
    """A database file while it is filled."""

    def __init__(self, path: Path) -> None:
        """Open a file that has its tables already."""
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in (
            "journal_mode=OFF",
            "synchronous=OFF",
            "foreign_keys=OFF",
            "locking_mode=EXCLUSIVE",
            f"threads={SORTING_THREADS}",
            f"cache_size=-{PAGE_CACHE_KIB}",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self.layout = open_layout(self._connection)
        """What is sealed in this file."""
        self._head = chain_head(self._connection)
        self._indexes = dict(self._connection.execute(INDEXES).fetchall())
        self._connection.execute("BEGIN")
        # Sorting all rows at the end takes a quarter of the time of finding a place for each.
        for name in self._indexes:
            self._connection.execute(f'DROP INDEX "{name}"')

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of the file; it is whole only after :meth:`finish`."""
        self._connection.close()

    def next_id(self) -> int:
        """Return the first id that is free."""
        row = self._connection.execute("SELECT next_id FROM id_block WHERE name = 'id'").fetchone()
        return int(row[0])

    def write(self, table: str, columns: Sequence[str], values: Iterable[Values]) -> None:
        """Add rows of one table, each with its values in the order of the columns."""
        target = METADATA.tables[table]
        names = ", ".join(target.c[name].name for name in columns)
        marks = ", ".join("?" * len(columns))
        self._connection.executemany(
            f"INSERT INTO {target.name} ({names}) VALUES ({marks})",  # noqa: S608  our own names
            values,
        )

    def seal_group(self, entries: Sequence[SealedEntry], at_us: int) -> None:
        """Close a group of the audit over entries that are written, in the order of their ids."""
        group = GroupSeal(self._head)
        for entry in entries:
            group.add(entry)
        step = group.group(at_us)
        if step is not None:
            self.write(step.table, tuple(step.row), [tuple(step.row.values())])
            self._head = group.closed_head

    @property
    def next_group(self) -> int:
        """The number of the next group."""
        return self._head.seq + 1

    def add_to_balances(self, moved: Mapping[int, int]) -> None:
        """Add to the balances of ledger accounts, by id; minor units, debit positive."""
        self._connection.executemany(
            "UPDATE ledger_account SET balance_minor = balance_minor + ? WHERE id = ?",
            [(minor, account_id) for account_id, minor in moved.items()],
        )

    def count_on(self, utility_id: int, *, next_id: int, next_receipt: int) -> None:
        """Let ids and receipt numbers go on behind those that were given."""
        execute = self._connection.execute
        execute("UPDATE id_block SET next_id = ? WHERE name = 'id'", (next_id,))
        execute("DELETE FROM sequence WHERE utility_id = ? AND name = 'receipt'", (utility_id,))
        execute("INSERT INTO sequence VALUES (?, 'receipt', ?)", (utility_id, next_receipt))

    def make_indexes(self) -> Iterator[tuple[int, int]]:
        """Make the indexes again; yield how many are made, and how many there are, as it goes."""
        for made, statement in enumerate(self._indexes.values()):
            yield made, len(self._indexes)
            self._connection.execute(statement)
        yield len(self._indexes), len(self._indexes)

    def finish(self) -> None:
        """Write everything to the disk, and make the file one that a server opens as its own."""
        self._connection.execute("COMMIT")
        self._connection.execute("PRAGMA locking_mode=NORMAL")
        self._connection.close()
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""A file filled in bulk: one large transaction, without a log and without a sync.

A file whose writing was cut short is worth nothing: write to a name of its own, and give it the
database's name at the end.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from slotmeter.storage.bulk import BulkChain, Values
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.unit_seal import SealedEntry
from slotmeter.storage.sqlite_seal import chain_head, open_layout

__all__ = ["BulkFile"]

PAGE_CACHE_KIB: Final = 2 * 1024 * 1024
"""Pages of the keys that are filled in no order stay in memory, and runs of sorting are long."""

SORTING_THREADS: Final = 2

INDEXES: Final = (
    "SELECT name, sql FROM sqlite_schema "
    "WHERE type = 'index' AND sql IS NOT NULL AND tbl_name <> 'sale'"
)
"""Those that are made at the end. Those of keys have no SQL; they stay.

Those of sales stay as well: three in four bytes of the file are documents of sales, and each of
these indexes, made at the end, reads the table from the disk once more when it is larger than the
memory. Two of the four grow at their end anyway, with time.
"""


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
        self._chain = BulkChain(chain_head(self._connection))
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
        step = self._chain.group(entries, at_us)
        if step is not None:
            self.write(step.table, tuple(step.row), [tuple(step.row.values())])

    @property
    def next_group(self) -> int:
        """The number of the next group of the audit."""
        return self._chain.next_group

    def add_to_balances(self, moved: Mapping[int, int]) -> None:
        """Add to the balances of ledger accounts, by id; minor units, debit positive."""
        self._connection.executemany(
            "UPDATE ledger_account SET balance_minor = balance_minor + ? WHERE id = ?",
            [(minor, account_id) for account_id, minor in moved.items()],
        )

    def close_debts(self, debt_ids: Sequence[int]) -> None:
        """Close debts that were repaid."""
        self._connection.executemany(
            "UPDATE debt SET state = 'closed' WHERE id = ?", [(debt_id,) for debt_id in debt_ids]
        )

    def count_on(self, utility_id: int, next_id: int, sequences: Mapping[str, int]) -> None:
        """Let ids and numbers go on behind those that were given."""
        execute = self._connection.execute
        execute("UPDATE id_block SET next_id = ? WHERE name = 'id'", (next_id,))
        for name, value in sequences.items():
            execute("DELETE FROM sequence WHERE utility_id = ? AND name = ?", (utility_id, name))
            execute("INSERT INTO sequence VALUES (?, ?, ?)", (utility_id, name, value))

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

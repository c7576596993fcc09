"""One unit of work on one SQLite connection: make the reads, ask ``decide``, write the changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from slotmeter.errors import ConfigError, Conflict, Unavailable
from slotmeter.ports import (
    BulkStep,
    Changes,
    From,
    Insert,
    NewId,
    Read,
    Reads,
    Row,
    Rows,
    SqlValue,
    Step,
    Then,
    Update,
)
from slotmeter.storage.dialect import Statements
from slotmeter.storage.seal.unit_seal import UnitSeal
from slotmeter.storage.sqlite_bulk_steps import write_bulk
from slotmeter.storage.sqlite_seal import Chain

__all__ = ["connect", "make_reads", "meaning_of", "run_unit", "write_unit"]

T = TypeVar("T")

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for another process that writes."""

PAGE_CACHE_KIB = 64 * 1024

CHECKPOINT_PAGES = 8_192
"""The log is copied into the database each time it has grown by this many pages (32 MiB): the more
sales share a copy, the more of their writes fall on the same pages."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection with the settings that durability rests on.

    Raises:
        ConfigError: ``database_unusable`` when the file cannot be opened or written.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{PAGE_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        raise ConfigError(
            "database_unusable",
            f"the database {path.name} cannot be opened for writing ({error}); "
            "check that the data folder exists, is writable and has space",
        ) from error
    return connection


def _params(read: Read, rows: Rows) -> dict[str, SqlValue] | None:
    params: dict[str, SqlValue] = {}
    for name, value in read.params.items():
        if isinstance(value, From):
            found = rows[value.read]
            if not found or found[0][value.column] is None:
                return None
            params[name] = found[0][value.column]
        else:
            params[name] = value
    return params


def make_reads(connection: sqlite3.Connection, statements: Statements, reads: Reads) -> Rows:
    """Run named reads in order; a read whose reference found no row gives no rows."""
    rows: dict[str, Sequence[Row]] = {}
    _make_reads(connection, statements, reads, rows)
    return rows


def _make_reads(
    connection: sqlite3.Connection,
    statements: Statements,
    reads: Reads,
    rows: dict[str, Sequence[Row]],
) -> None:
    for read in reads:
        if isinstance(read, Then):
            _make_reads(connection, statements, read.of(rows), rows)
            continue
        key = read.key or read.statement
        params = _params(read, rows)
        if params is None:
            rows[key] = ()
            continue
        compiled = statements.reads[read.statement]
        columns = compiled.columns
        result = connection.execute(compiled.text, compiled.values(params))
        rows[key] = [dict(zip(columns, row, strict=True)) for row in result]


def _run_of(steps: Sequence[Step], at: int) -> int:
    """Return where the run of like steps ends that begins at one: one statement for all of them."""
    first = steps[at]
    end = at + 1
    if isinstance(first, Insert):
        table, columns = first.table, first.row.keys()
        while end < len(steps):
            step = steps[end]
            if not isinstance(step, Insert) or step.table != table or step.row.keys() != columns:
                break
            end += 1
        return end
    while end < len(steps):
        step = steps[end]
        if isinstance(step, Insert) or step.statement != first.statement or step.rows != first.rows:
            break
        end += 1
    return end


def _insert(
    connection: sqlite3.Connection,
    statements: Statements,
    steps: Sequence[Insert],
    seal: UnitSeal,
) -> None:
    """Add rows of one table that have the same columns."""
    table = steps[0].table
    rows = [step.row for step in steps]
    text, pick = statements.insert(table, rows[0])
    if len(rows) == 1:
        connection.execute(text, pick(rows[0]))
    else:
        connection.executemany(text, [pick(row) for row in rows])
    seal.inserted_together(table, rows)


def _update(
    connection: sqlite3.Connection,
    statements: Statements,
    steps: Sequence[Update],
    seal: UnitSeal,
) -> None:
    """Make updates that differ in their parameters only.

    Raises:
        Conflict: ``changed_meanwhile``.
    """
    first = steps[0]
    compiled = statements.updates[first.statement]
    if compiled.touch is None and len(steps) > 1:
        values = [compiled.values(step.params) for step in steps]
        changed = connection.executemany(compiled.text, values).rowcount
        _check_rows(first, changed, len(steps))
        return
    for step in steps:
        result = connection.execute(compiled.text, compiled.values(step.params))
        if compiled.touch is None:
            changed = result.rowcount
        else:
            returned = result.fetchall()
            changed = len(returned)
            seal.touched(compiled.touch, returned)
        _check_rows(step, changed, 1)


def _check_rows(step: Update, changed: int, times: int) -> None:
    if step.rows is not None and changed != step.rows * times:
        raise Conflict(
            "changed_meanwhile",
            f"{step.statement} met {changed} rows instead of {step.rows * times}; try again",
        )


def _write(
    connection: sqlite3.Connection, statements: Statements, steps: Sequence[Step], seal: UnitSeal
) -> None:
    at = 0
    while at < len(steps):
        end = _run_of(steps, at)
        run: Any = steps[at:end]
        make: Any = _insert if isinstance(steps[at], Insert) else _update
        make(connection, statements, run, seal)
        at = end


def write_unit(
    connection: sqlite3.Connection,
    statements: Statements,
    steps: Sequence[Step],
    new_id: NewId,
    chain: Chain,
    bulk: Sequence[BulkStep] = (),
) -> None:
    """Write what a unit decided, and its entry of the audit.

    When this raises, a part may be written: whoever calls it takes that back.

    Raises:
        Conflict: ``changed_meanwhile`` from a guard or a unique key.
    """
    try:
        seal = chain.unit()
        if bulk:
            write_bulk(connection, statements, chain.layout, bulk)
        _write(connection, statements, steps, seal)
        entry = seal.entry(new_id, chain.at_us, chain.seq)
        if entry is not None:
            text, pick = statements.insert(entry.step.table, entry.step.row)
            connection.execute(text, pick(entry.step.row))
    except sqlite3.IntegrityError as error:
        raise Conflict("changed_meanwhile", f"a row is there already: {error}") from error
    if entry is not None:
        chain.add(entry)


def run_unit(
    connection: sqlite3.Connection,
    statements: Statements,
    reads: Reads,
    decide: Callable[[Rows, NewId], Changes[T]],
    new_id: NewId,
    chain: Chain,
) -> T:
    """Run one unit under its own savepoint inside the connection's open transaction.

    Its last statement adds its entry to the audit. Whatever ``decide`` or the writes raise undoes
    this unit alone.

    Raises:
        Conflict: ``changed_meanwhile`` from a guard or a unique key.
    """
    changes = decide(make_reads(connection, statements, reads), new_id)
    if not changes.steps and not changes.bulk:
        return changes.result
    connection.execute("SAVEPOINT unit")
    try:
        write_unit(connection, statements, changes.steps, new_id, chain, changes.bulk)
    except BaseException:
        _undo(connection)
        raise
    connection.execute("RELEASE unit")
    return changes.result


def _undo(connection: sqlite3.Connection) -> None:
    """Take back what a unit wrote; on a full disk SQLite has taken all of the transaction back."""
    if connection.in_transaction:
        connection.execute("ROLLBACK TO unit")
        connection.execute("RELEASE unit")


def meaning_of(error: sqlite3.Error) -> Unavailable:
    """Say what it means for a caller that SQLite could not write."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            "database_full",
            "nothing was written: the disk or the database is full; make room and try again",
        )
    if code == sqlite3.SQLITE_READONLY:
        return Unavailable(
            "database_read_only",
            "nothing was written: the database cannot be written; check the file system and the "
            "rights of its file, and try again",
        )
    return Unavailable("database_unavailable", f"nothing was written: {error}; try again")

"""The embedded database: one writer thread with group commit, readers beside it.

Units of work queue for the writer. It takes all that wait, runs one after the other, commits once
(``synchronous=FULL``) and only then releases the answers, so that one sync carries many sales and
no answer leaves before its sync. When a unit cannot write what it decided, which is rare, the whole
batch is taken back and run again, each unit under a savepoint: it then undoes itself alone.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import Apart, Changes, NewId, Reads, Rows
from slotmeter.storage.dialect import Statements
from slotmeter.storage.migrate import migrate
from slotmeter.storage.sqlite_ids import Ids
from slotmeter.storage.sqlite_seal import Chain, open_layout
from slotmeter.storage.sqlite_unit import (
    connect,
    make_reads,
    meaning_of,
    run_unit,
    write_unit,
)
from slotmeter.storage.unit_job import UnitJob

__all__ = ["BATCH_UNITS_MAX", "QUEUE_READS_MAX", "QUEUE_UNITS_MAX", "Database", "DatabaseStats"]

T = TypeVar("T")

BATCH_UNITS_MAX = 256
"""At most this many units share one commit."""

QUEUE_UNITS_MAX = 10_000
"""At most this many units wait; one more is refused with ``database_busy``."""

QUEUE_READS_MAX = 2_000
"""At most this many reads wait or run; one more is refused with ``database_busy``."""

READER_THREADS = 2
BREAK_WAIT_S = 1
"""How long a broken writer waits for units that were queued as it broke."""


@dataclass(frozen=True, slots=True)
class DatabaseStats:
    """What the writer has done since it was opened."""

    units: int
    commits: int
    waiting: int
    synchronous: str
    broken: bool


@dataclass(slots=True, eq=False)
class _Job(UnitJob):
    """A unit of work, and the loop that waits for it: the writer is a thread of its own.

    Args:
        loop: of the future.
    """

    loop: asyncio.AbstractEventLoop = field(kw_only=True)


class Database:
    """The platform's own database on SQLite; implements ``ports.UnitOfWork``."""

    def __init__(self, path: Path) -> None:
        """Prepare; use :meth:`open`."""
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = connect(path)
        # Pages that a savepoint may have to bring back: in a file, which SQLite takes above 64 KiB,
        # they are written five times as often as the log itself.
        self._writer.execute("PRAGMA temp_store=MEMORY")
        layout = open_layout(self._writer)
        self._statements = Statements(layout)
        self._ids = Ids(self._writer)
        self._chain = Chain(self._writer, layout)
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="slotmeter-read")
        self._thread = threading.Thread(
            target=self._write_loop,
            name="slotmeter-write",
            daemon=True,  # a program that forgot to close must still end; a crash is safe anyway
        )
        self._waiting = 0
        self._reading = 0
        self._broken: BaseException | None = None
        self._units = 0
        self._commits = 0
        self._closed = False
        self._synchronous = _synchronous(self._writer)

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the database file, bring its tables up to date and start the writer.

        Raises:
            ConfigError: ``database_newer``, ``database_unusable`` or ``data_folder_not_writable``.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, cls._open, path)

    @classmethod
    def _open(cls, path: Path) -> Self:
        if not path.parent.is_dir():
            raise ConfigError(
                "data_folder_missing", f"the data folder {path.parent} does not exist; create it"
            )
        migrate(path)
        database = cls(path)
        database._thread.start()
        return database

    @property
    def stats(self) -> DatabaseStats:
        """Say what the writer has done."""
        return DatabaseStats(
            units=self._units,
            commits=self._commits,
            waiting=self._waiting,
            synchronous=self._synchronous,
            broken=self._broken is not None,
        )

    async def run(
        self,
        reads: Reads,
        decide: Callable[[Rows, NewId], Changes[T]],
        *,
        apart: Apart | None = None,
    ) -> T:
        """Read, decide, write, commit; see ``ports.UnitOfWork``."""
        if self._closed:
            raise Unavailable("database_closed", "the server is shutting down")
        if self._broken is not None:
            raise Unavailable("database_unavailable", f"the writer stopped: {self._broken}")
        if self._waiting >= QUEUE_UNITS_MAX:
            raise Unavailable("database_busy", f"{self._waiting} changes wait already; try again")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        # Counted until the writer is done with it: a caller that gave up leaves its unit behind.
        self._waiting += 1
        self._jobs.put(_Job(reads, decide, apart, future, loop=loop))
        return await future

    async def read(self, reads: Reads) -> Rows:
        """Make reads that see one committed state; see ``ports.UnitOfWork``."""
        if self._closed:
            raise Unavailable("database_closed", "the server is shutting down")
        if self._reading >= QUEUE_READS_MAX:
            raise Unavailable("database_busy", f"{self._reading} reads wait already; try again")
        loop = asyncio.get_running_loop()
        self._reading += 1
        reading = loop.run_in_executor(self._readers, self._read, reads)
        reading.add_done_callback(self._has_read)
        return await reading

    def _has_read(self, _reading: asyncio.Future[Rows]) -> None:
        self._reading -= 1

    def when_others_wrote(self, wake: Callable[[], None]) -> None:
        """Do nothing: no other process that serves shares a file."""

    async def close(self) -> None:
        """Finish what waits, commit it and let go of the file."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._thread.join)
        await loop.run_in_executor(None, self._readers.shutdown)
        for connection in self._reader_connections:
            connection.close()
        self._writer.close()

    def _read(self, reads: Reads) -> Rows:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._path, read_only=True)
            self._reader_connections.append(connection)
        try:
            connection.execute("BEGIN")
            try:
                return make_reads(connection, self._statements, reads)
            finally:
                connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise Unavailable(
                "database_unavailable", f"nothing could be read: {error}; try again"
            ) from error

    def _write_loop(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            batch, ended = self._gather(job)
            try:
                self._write_batch(batch)
            except BaseException as error:  # noqa: BLE001  a writer that dies must say so
                self._break(batch, error)
                return
            self._answer(batch)
            if ended:
                return

    def _break(self, batch: list[_Job], error: BaseException) -> None:
        """Fail everything that waits, and everything that is still to come."""
        self._broken = error
        while True:
            for job in batch:
                job.error = Unavailable("database_unavailable", f"the writer stopped: {error}")
            self._answer(batch)
            try:
                job_or_end = self._jobs.get(timeout=BREAK_WAIT_S)
            except queue.Empty:
                return
            batch = [] if job_or_end is None else [job_or_end]

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        batch = [first]
        while len(batch) < BATCH_UNITS_MAX:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _write_batch(self, batch: list[_Job]) -> None:
        try:
            if not self._write_together(batch):
                self._begin()
                for job in batch:
                    self._run_apart(job)
                self._commit()
        except sqlite3.Error as error:
            self._give_up(batch, error)
            return
        self._units += len(batch)
        self._commits += 1

    def _begin(self) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        self._ids.begin()
        self._chain.begin()

    def _commit(self) -> None:
        self._chain.store()
        self._ids.store()
        self._writer.execute("COMMIT")

    def _write_together(self, batch: list[_Job]) -> bool:
        """Run a batch without savepoints; say whether all could write what they decided.

        If one could not, nothing was written.
        """
        self._begin()
        for job in batch:
            changes = self._decided(job)
            if changes is None or not (changes.steps or changes.bulk):
                continue
            try:
                write_unit(
                    self._writer,
                    self._statements,
                    changes.steps,
                    self._ids.take,
                    self._chain,
                    changes.bulk,
                )
            except sqlite3.Error:
                raise
            except Exception:  # noqa: BLE001  it comes again when the unit runs apart
                self._writer.execute("ROLLBACK")
                return False
        self._commit()
        return True

    def _decided(self, job: _Job) -> Changes[Any] | None:
        """Ask a unit what it changes; None when it refuses, and has written nothing."""
        try:
            rows = make_reads(self._writer, self._statements, job.reads)
            changes = job.decide(rows, self._ids.take)
        except sqlite3.Error:
            raise
        except BaseException as error:  # noqa: BLE001  handed to the caller, which owns the unit
            job.error = error
            return None
        job.result = changes.result
        return changes

    def _run_apart(self, job: _Job) -> None:
        job.result = job.error = None
        try:
            job.result = run_unit(
                self._writer,
                self._statements,
                job.reads,
                job.decide,
                self._ids.take,
                self._chain,
            )
        except sqlite3.Error:
            raise
        except BaseException as error:  # noqa: BLE001  handed to the caller, which owns the unit
            job.error = error

    def _give_up(self, batch: list[_Job], error: sqlite3.Error) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        for job in batch:  # also what was refused, perhaps for what is not written now
            job.error = meaning_of(error)

    def _answer(self, batch: list[_Job]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job in batch:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, jobs in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._settle, jobs)

    def _settle(self, jobs: Sequence[_Job]) -> None:
        self._waiting -= len(jobs)
        for job in jobs:
            job.settle()


def _synchronous(connection: sqlite3.Connection) -> str:
    level = connection.execute("PRAGMA synchronous").fetchone()[0]
    return {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}[level]

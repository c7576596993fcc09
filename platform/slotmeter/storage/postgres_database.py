"""The platform's database on PostgreSQL: one writing transaction at a time, readers beside it.

Units of work queue for the writer of this process. It takes all that wait, and an advisory lock
that only one process of this database can hold, runs the units one after another in one
transaction, commits once, and only then releases the answers. What the units see is therefore some
serial order, whichever process they come from. Units that say what they touch (``Apart``), and
touch nothing in common, are read at once and written at once: that is the same as one after
another. A unit that the server refuses takes the whole transaction with it; then all are run again,
each in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import SlotmeterError, Unavailable
from slotmeter.ports import Apart, Changes, NewId, Reads, Rows
from slotmeter.storage.database import (
    BATCH_UNITS_MAX,
    QUEUE_READS_MAX,
    QUEUE_UNITS_MAX,
    DatabaseStats,
)
from slotmeter.storage.postgres_batch import Batch
from slotmeter.storage.postgres_chain import Chain, open_layout
from slotmeter.storage.postgres_counters import Counters
from slotmeter.storage.postgres_migrate import bring_up_to_date, check_revision
from slotmeter.storage.postgres_pool import ReadPool
from slotmeter.storage.postgres_reads import ReadRuns
from slotmeter.storage.postgres_session import (
    FAILURES,
    Durability,
    check_encoding,
    connect,
    connect_at_start,
    durability,
    is_lost,
    meaning_of,
    unusable,
)
from slotmeter.storage.postgres_wakes import Wakes
from slotmeter.storage.postgres_writes import PostgresWrites, UnitWrites
from slotmeter.storage.seal.unit_seal import Layout
from slotmeter.storage.unit_job import UnitJob

__all__ = ["PostgresDatabase"]

T = TypeVar("T")

LOG = logging.getLogger("slotmeter.storage")

WRITER_LOCK: Final = 0x736C6F74
"""The advisory lock of whoever writes."""

BEGIN: Final = f"BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK})"

PLAN_AGAIN_UNITS: Final = 64
"""Statements are planned once and for good, which for the tables of a new database is when they are
empty and any index will do. After so many units they are planned again, and after four times as
many again."""

RECONNECT_S: Final = 20.0
"""How long the writer tries to learn whether a commit that was cut off has happened."""

PAUSE_S: Final = 0.25


class _NotTogetherError(Exception):
    """Units that went together failed in a way that does not say which of them did."""


@dataclass(slots=True)
class _Writer:
    """The writer's session.

    Args:
        connection: open.
        writes: its functions.
        committing: whether the commit is on its way, so that its fate is open.
        units: how many it has run.
        plan_again_at: after so many its statements are planned anew.
    """

    connection: asyncpg.Connection[Any]
    writes: UnitWrites
    committing: bool = False
    units: int = 0
    plan_again_at: int = PLAN_AGAIN_UNITS


class PostgresDatabase:
    """The platform's own database on PostgreSQL; implements ``ports.UnitOfWork``.

    It belongs to the event loop that opened it.
    """

    def __init__(self, config: DatabaseConfig, layout: Layout, durable: Durability) -> None:
        """Prepare; use :meth:`open`."""
        self._config = config
        self._durable = durable
        self._writes = PostgresWrites(layout)
        self._runs = ReadRuns()
        self._chain = Chain(layout)
        self._jobs: deque[UnitJob] = deque()
        self._wake = asyncio.Event()
        self._writer: _Writer | None = None
        self._pool = ReadPool(config, self._runs)
        self._wakes = Wakes(config)
        self._waiting = 0
        self._reading = 0
        self._units = 0
        self._commits = 0
        self._closed = False
        self._broken: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, config: DatabaseConfig) -> Self:
        """Reach the server, bring the tables up to date and start the writer.

        Raises:
            ConfigError: ``database_newer``, ``database_unusable``, ``database_not_durable``, or why
                the password cannot be read.
        """
        try:
            connection = await connect_at_start(config)
        except FAILURES as error:
            raise unusable(config, error) from error
        try:
            await check_encoding(connection)
            durable = await durability(connection, config)
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")
                await bring_up_to_date(connection, config)
                layout = await open_layout(connection)
        except BaseException as error:
            connection.terminate()
            if isinstance(error, FAILURES):
                raise unusable(config, error) from error
            raise
        database = cls(config, layout, durable)
        database._writer = _Writer(connection, UnitWrites(connection, database._writes))
        database._task = asyncio.create_task(database._write_loop(), name="write to PostgreSQL")
        return database

    @property
    def stats(self) -> DatabaseStats:
        """Say what the writer has done."""
        return DatabaseStats(
            units=self._units,
            commits=self._commits,
            waiting=self._waiting,
            synchronous=self._durable.label,
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
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        # Counted until the writer is done with it: a caller that gave up leaves its unit behind.
        self._waiting += 1
        self._jobs.append(UnitJob(reads, decide, apart, future))
        self._wake.set()
        return await future

    async def read(self, reads: Reads) -> Rows:
        """Make reads that see one committed state; see ``ports.UnitOfWork``."""
        if self._closed:
            raise Unavailable("database_closed", "the server is shutting down")
        if self._reading >= QUEUE_READS_MAX:
            raise Unavailable("database_busy", f"{self._reading} reads wait already; try again")
        self._reading += 1
        try:
            return await self._pool.read(reads)
        finally:
            self._reading -= 1

    def when_others_wrote(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` soon after another process has committed; now and then it is not called."""
        self._wakes.listen(wake)

    async def close(self) -> None:
        """Finish what waits, commit it and let go of the server."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        self._drop_writer()
        await self._wakes.close()
        await self._pool.close()

    # --- the writer -----------------------------------------------------------------------------

    async def _write_loop(self) -> None:
        while self._jobs or not self._closed:
            if not self._jobs:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch: list[UnitJob] = []
            self._join(batch)
            try:
                await self._write_batch(batch, may_join=True)
            except BaseException as error:  # noqa: BLE001  a writer that dies must say so
                self._break(batch, error)
                return
            self._settle(batch)

    def _join(self, batch: list[UnitJob]) -> None:
        """Let units that wait join a batch."""
        while self._jobs and len(batch) < BATCH_UNITS_MAX:
            batch.append(self._jobs.popleft())

    def _break(self, batch: list[UnitJob], error: BaseException) -> None:
        """Fail everything that waits; nothing is taken any more."""
        self._broken = error
        for job in (*batch, *self._jobs):
            job.error = Unavailable("database_unavailable", f"the writer stopped: {error}")
        self._settle([*batch, *self._jobs])
        self._jobs.clear()

    def _settle(self, jobs: Sequence[UnitJob]) -> None:
        self._waiting -= len(jobs)
        for job in jobs:
            job.settle()

    async def _write_batch(self, batch: list[UnitJob], *, may_join: bool = False) -> None:
        try:
            writer = await self._open_writer()
        except SlotmeterError as error:
            _give_up(batch, error)
            return
        except FAILURES as error:
            _give_up(batch, meaning_of(error))
            return
        try:
            await self._transact(writer, batch, may_join=may_join)
        except (*FAILURES, _NotTogetherError) as error:
            await self._after(writer, batch, error)
        else:
            self._units += len(batch)
            self._commits += 1
            writer.units += len(batch)

    async def _open_writer(self) -> _Writer:
        if self._writer is not None and (
            self._writer.connection.is_closed() or self._writer.writes.is_full
        ):
            self._drop_writer()
        if self._writer is None:
            connection = await connect(self._config, writes=True)
            try:
                await durability(connection, self._config)
                await check_revision(connection, self._config)
            except BaseException:
                connection.terminate()
                raise
            self._writer = _Writer(connection, UnitWrites(connection, self._writes))
        return self._writer

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.connection.terminate()

    async def _transact(self, writer: _Writer, batch: list[UnitJob], *, may_join: bool) -> None:
        writer.committing = False
        if writer.units >= writer.plan_again_at:
            writer.plan_again_at *= 4
            await writer.connection.execute("DISCARD PLANS")
        await writer.connection.execute(BEGIN)
        await self._chain.begin(writer.connection)
        if may_join:  # while another process was writing, more have come
            self._join(batch)
        counters = Counters()
        try:
            await Batch(writer.connection, self._runs, writer.writes, self._chain).run(
                batch, counters
            )
        except (*FAILURES, asyncio.CancelledError):
            raise
        except Exception as error:  # the writer goes on, with one unit after another
            raise _NotTogetherError(str(error)) from error
        closing = [*counters.steps(), *self._chain.closing()]
        wake = ""
        if closing:
            await writer.writes.write(closing)
            wake = self._wakes.statement
        writer.committing = True
        await writer.connection.execute(f"{self._chain.counter} {wake} COMMIT")
        writer.writes.committed()

    # --- what can go wrong ----------------------------------------------------------------------

    async def _after(self, writer: _Writer, batch: list[UnitJob], error: BaseException) -> None:
        if is_lost(writer.connection, error):
            self._drop_writer()
            LOG.warning("the way to PostgreSQL was lost: %s", error)
            if writer.committing:
                await self._learn(batch, error)
            else:
                _give_up(batch, meaning_of(error))
            return
        await self._roll_back(writer)
        ours = error.__cause__ if isinstance(error, _NotTogetherError) else None
        if len(batch) == 1:
            batch[0].error = ours or meaning_of(error)
            return
        if ours is not None:
            LOG.warning("units that went together are run one by one: %r", ours)
        for job in batch:
            await self._write_batch([job])

    async def _roll_back(self, writer: _Writer) -> None:
        try:
            await writer.connection.execute("ROLLBACK")
        except FAILURES:
            self._drop_writer()
        else:
            writer.writes.rolled_back()

    async def _learn(self, batch: list[UnitJob], error: BaseException) -> None:
        """Ask a new session what became of a commit whose answer never came."""
        until_s = asyncio.get_running_loop().time() + RECONNECT_S
        while asyncio.get_running_loop().time() < until_s:
            try:
                writer = await self._open_writer()
                # Whoever was still committing holds the lock until it is done.
                await writer.connection.execute(BEGIN)
                happened = await self._happened(writer.connection)
                await writer.connection.execute("ROLLBACK")
            except (*FAILURES, SlotmeterError):
                self._drop_writer()
                await asyncio.sleep(PAUSE_S)
                continue
            if happened:
                self._units += len(batch)
                self._commits += 1
            else:
                _give_up(batch, meaning_of(error))
            return
        unknown = Unavailable(
            "database_unavailable",
            "the server was lost in the middle of a commit, so that this may have been done or "
            "not; ask again with the same id",
        )
        _give_up(batch, unknown)

    async def _happened(self, connection: asyncpg.Connection[Any]) -> bool:
        if self._chain.made is not None:
            # By what it wrote: another server that took over may have given its number anew.
            found = await connection.fetchval(
                "SELECT TRUE FROM audit_group WHERE seq = $1 AND hash = $2", *self._chain.made
            )
            return bool(found)
        try:
            status = await connection.fetchval(
                "SELECT pg_xact_status(CAST($1::TEXT AS xid8))", self._chain.transaction
            )
        except asyncpg.InvalidParameterValueError:  # a server that never got as far
            return False
        return bool(status == "committed")


def _give_up(batch: Sequence[UnitJob], error: SlotmeterError) -> None:
    """Answer all alike: what a unit was refused for may have been written in vain with the rest."""
    for job in batch:
        job.error = error

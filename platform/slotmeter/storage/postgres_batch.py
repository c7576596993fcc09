"""The units of one transaction on PostgreSQL: one after another, or together.

Units that say what they touch (``Apart``), and touch nothing in common, are read at once, decided
one by one and written at once; that is the same as one after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, takewhile
from typing import Any, Final

import asyncpg

from slotmeter.ports import BulkStep, Insert, InsertMany, Read, Rows, Step, Update
from slotmeter.storage.postgres_chain import Chain
from slotmeter.storage.postgres_counters import Counters
from slotmeter.storage.postgres_reads import ReadRuns, make_reads, make_reads_together
from slotmeter.storage.postgres_session import FAILURES
from slotmeter.storage.postgres_writes import UnitWrites
from slotmeter.storage.unit_job import UnitJob

__all__ = ["Batch"]

HALVED_UNITS_MIN: Final = 4
"""Fewer units that go together are not split."""


_Decided = tuple[Sequence[Step], Sequence[Step], int]
"""The steps of a unit, those of them that are written with it, and the id of its entry: the first
after those of its rows, by which it is found."""


class Batch:
    """Runs units in a transaction that has begun.

    Args:
        connection: of the writer.
        runs: compiled reads.
        writes: the writer's functions.
        chain: gives ids, and seals what is written.
    """

    def __init__(
        self, connection: asyncpg.Connection[Any], runs: ReadRuns, writes: UnitWrites, chain: Chain
    ) -> None:
        """Hold them."""
        self._connection = connection
        self._runs = runs
        self._writes = writes
        self._chain = chain

    async def run(self, batch: Sequence[UnitJob], counters: Counters) -> None:
        """Run units: those that came first and go together, then all that do not, then the rest."""
        first = list(takewhile(_goes_together, batch)) if len(batch) > 1 else []
        later = batch[len(first) :]
        alone = [job for job in later if len(batch) == 1 or not _goes_together(job)]
        rest = [job for job in later if len(batch) > 1 and _goes_together(job)]
        await self._run_rounds(first, counters)
        if alone:
            await self._store(counters)
        for job in alone:
            await self._run(job)
        await self._run_rounds(rest, counters)

    async def _run(self, job: UnitJob) -> None:
        try:
            rows = await make_reads(self._connection, self._runs, job.reads)
        except (*FAILURES, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001  handed to the caller, which owns the unit
            job.error = error
            return
        steps = self._decide(job, rows)
        if steps:  # what fails from here on may have written a part, and ends the transaction
            entry_id = self._chain.take()
            self._chain.seal(steps, await self._writes.write(steps), entry_id)

    async def _run_rounds(self, jobs: Sequence[UnitJob], counters: Counters) -> None:
        """Run units that go together, round after round.

        Units of one account meet in different rounds: the later one must find what the earlier one
        moved in all that it reads, as in the money that the account has kept.
        """
        while jobs:
            await self._store(counters)
            jobs = await self._run_together(jobs, counters)

    async def _store(self, counters: Counters) -> None:
        """Write what units moved so far, for those that read it from the database."""
        if counters:
            await self._writes.write(counters.steps())
            counters.clear()

    async def _run_together(self, jobs: Sequence[UnitJob], counters: Counters) -> list[UnitJob]:
        """Run units that touch nothing in common; return those that must wait for the next round.

        All are read before any is written. While the server is busy with one half of them, the
        other half is decided.
        """
        halves = _halves(jobs)
        touched: set[Hashable] = set()
        left: list[UnitJob] = []
        decided: list[_Decided] = []
        busy = asyncio.create_task(self._read_half(halves[0]))
        try:
            for at, half in enumerate(halves):
                found = await busy
                if at + 1 < len(halves):
                    busy = asyncio.create_task(self._read_half(halves[at + 1]))
                elif decided:
                    busy = asyncio.create_task(self._write_half(decided))
                    decided = []
                await asyncio.sleep(0)  # so that the server has it before more is decided
                for job, rows in zip(half, found, strict=True):
                    touches = set(job.apart(rows) if job.apart else ())
                    if touches & touched:
                        left.append(job)
                        continue
                    touched |= touches
                    counters.correct(job.reads, rows)
                    steps = self._decide(job, rows)
                    if steps:
                        decided.append((steps, counters.take(steps), self._chain.take()))
        finally:
            await asyncio.wait([busy])
        await busy
        await self._write_half(decided)
        counters.round_written()
        return left

    async def _read_half(self, half: Sequence[UnitJob]) -> list[Rows]:
        return await make_reads_together(self._connection, self._runs, [job.reads for job in half])

    async def _write_half(self, decided: Sequence[_Decided]) -> list[Rows]:
        written = await self._writes.write_together([writing for _, writing, _ in decided])
        for (steps, _, entry_id), changed in zip(decided, written, strict=True):
            self._chain.seal(steps, changed, entry_id)
        return []

    def _decide(self, job: UnitJob, rows: Rows) -> Sequence[Step]:
        """Let a unit decide; return what it writes, which is nothing if it failed."""
        job.result = job.error = None
        try:
            changes = job.decide(rows, self._chain.take)
        except BaseException as error:  # noqa: BLE001  handed to the caller, which owns the unit
            job.error = error
            return ()
        job.result = changes.result
        return [*_one_by_one(changes.bulk), *changes.steps] if changes.bulk else changes.steps


def _one_by_one(bulk: Sequence[BulkStep]) -> Iterator[Step]:
    """Return bulk steps as those of single rows, of which a run is one statement here."""
    for step in bulk:
        for row in step.rows:
            given = dict(zip(step.columns, row, strict=True))
            if isinstance(step, InsertMany):
                yield Insert(step.table, given)
            else:
                yield Update(step.statement, given)


def _goes_together(job: UnitJob) -> bool:
    return job.apart is not None


def _halves(jobs: Sequence[UnitJob]) -> list[list[UnitJob]]:
    """Split units into two halves, those of one kind side by side; a few are left together."""
    kinds: dict[tuple[str, ...], list[UnitJob]] = {}
    for job in jobs:
        kind = tuple(read.statement for read in job.reads if isinstance(read, Read))
        kinds.setdefault(kind, []).append(job)
    sorted_out = list(chain.from_iterable(kinds.values()))
    if len(sorted_out) < HALVED_UNITS_MIN:
        return [sorted_out]
    middle = (len(sorted_out) + 1) // 2
    return [sorted_out[:middle], sorted_out[middle:]]

"""Imports that go on where they stopped: how far each file is, kept with what it has written.

A job belongs to a file by its content. While it runs, the same file again is the same job: rows
that it has done are neither checked nor written again. How far it is changes in the units of work
that write its rows, so that a crash leaves both or neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from slotmeter.errors import NotFound
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin
from slotmeter.services.csv_table import RowProblem
from slotmeter.services.list_pages import ID_MAX
from slotmeter.units import epoch_us

__all__ = ["FileJob", "FileToImport", "ImportJob", "ImportJobs"]

PROBLEMS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class FileToImport:
    """A file and what it is; ``rows`` counts all, also bad ones.

    ``kind`` is ``meters``, ``debts``, ``free_units`` or ``classes``.
    """

    kind: str
    name: str
    content: bytes
    rows: int

    @property
    def sha256(self) -> str:
        """What tells it from any other."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class ImportJob:
    """An import under way.

    Args:
        row_done: everything up to this row of the file is done; 0 for none.
        is_continued: it was begun before, and stopped.
    """

    id: int
    row_done: int
    is_continued: bool

    def advance(self, row_now: int, added: int, already_there: int, at_us: int) -> Update:
        """Return the step that notes a batch as done, within the unit that writes it."""
        params: dict[str, SqlValue] = {
            "of_job": self.id,
            "row_before": self.row_done,
            "row_now": row_now,
            "more_added": added,
            "more_there": already_there,
            "at_us": at_us,
        }
        return Update("import_job_advance", params)

    def at(self, row_now: int) -> ImportJob:
        """Return the job after a batch."""
        return replace(self, row_done=row_now)


class ImportJobs:
    """Begins, continues, ends and shows imports of one utility."""

    def __init__(self, uow: UnitOfWork, clock: Clock, utility_id: int) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock
        self._utility_id = utility_id

    async def unfinished(self, file: FileToImport) -> ImportJob | None:
        """Return the job of a file that was begun and not ended."""
        rows = await self._uow.read([self._read_of(file)])
        found = rows["import_job_of_file"]
        return None if not found else ImportJob(found[0]["id"], found[0]["row_done"], True)

    async def begin(self, origin: Origin, file: FileToImport, *, reason: str) -> ImportJob:
        """Begin the import of a file, or go on with it."""
        at_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[ImportJob]:
            found = rows["import_job_of_file"]
            if found:
                return Changes(ImportJob(found[0]["id"], found[0]["row_done"], True))
            row: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": self._utility_id,
                "kind": file.kind,
                "sha256": file.sha256,
                "file_name": file.name,
                "rows": file.rows,
                "row_done": 0,
                "added": 0,
                "already_there": 0,
                "bad_rows": 0,
                "state": "running",
                "principal_id": origin.principal_id,
                "address": origin.address,
                "reason": reason,
                "created_us": at_us,
                "updated_us": at_us,
            }
            job_id = row["id"]
            if not isinstance(job_id, int):
                raise TypeError("ids are whole numbers")
            return Changes(ImportJob(job_id, 0, False), [Insert("import_job", row)])

        return await self._uow.run([self._read_of(file)], decide)

    async def advance(self, job: ImportJob, row: int, added: int, there: int) -> ImportJob:
        """Note rows as done after they were written; return the job from there on.

        For rows that know themselves whether they are there already: what was written and not noted
        when a process ended is found so by the next.

        Raises:
            Conflict: ``changed_meanwhile``: somebody else imports the same file.
        """
        step = job.advance(row, added, there, epoch_us(self._clock.now()))

        def decide(_rows: Rows, _new_id: NewId) -> Changes[None]:
            return Changes(None, [step])

        await self._uow.run([], decide)
        return job.at(row)

    async def end(self, job: ImportJob, problems: Sequence[RowProblem]) -> None:
        """Note that nothing of a file is left, and everything that was wrong with it."""
        at_us = epoch_us(self._clock.now())
        bad_rows = len({problem.row for problem in problems})
        parts = [
            problems[start : start + PROBLEMS_AT_ONCE]
            for start in range(0, len(problems), PROBLEMS_AT_ONCE)
        ] or [()]
        for part in parts:
            is_last = part is parts[-1]

            def decide(
                _rows: Rows,
                new_id: NewId,
                part: Sequence[RowProblem] = part,
                is_last: bool = is_last,
            ) -> Changes[None]:
                steps: list[Step] = [self._problem(job, each, new_id()) for each in part]
                if is_last:
                    ended = {"of_job": job.id, "bad": bad_rows, "at_us": at_us}
                    steps.append(Update("import_job_end", ended))
                return Changes(None, steps)

            await self._uow.run([], decide)

    async def jobs(self, *, before: int | None = None, limit: int = 50) -> Sequence[Row]:
        """Return imports, the newest first."""
        params: dict[str, SqlValue] = {
            "utility_id": self._utility_id,
            "before": ID_MAX if before is None else before,
            "limit": limit,
        }
        return (await self._uow.read([Read("import_jobs", params)]))["import_jobs"]

    async def problems(self, job_id: int) -> AsyncIterator[Row]:
        """Yield everything that was wrong with the rows of a file.

        Raises:
            NotFound: ``import_unknown``.
        """
        of: dict[str, SqlValue] = {"utility_id": self._utility_id, "id": job_id}
        if not (await self._uow.read([Read("import_job", of)]))["import_job"]:
            raise NotFound("import_unknown", f"there is no import {job_id}", field="import")
        after = 0
        while True:
            params: dict[str, SqlValue] = {
                "import_job_id": job_id,
                "after": after,
                "limit": PROBLEMS_AT_ONCE,
            }
            rows = (await self._uow.read([Read("import_problems", params)]))["import_problems"]
            for row in rows:
                yield row
            if len(rows) < PROBLEMS_AT_ONCE:
                return
            after = rows[-1]["id"]

    def _read_of(self, file: FileToImport) -> Read:
        of: dict[str, SqlValue] = {"utility_id": self._utility_id, "kind": file.kind}
        return Read("import_job_of_file", {**of, "sha256": file.sha256})

    def _problem(self, job: ImportJob, problem: RowProblem, problem_id: int) -> Insert:
        return Insert(
            "import_problem",
            {
                "id": problem_id,
                "utility_id": self._utility_id,
                "import_job_id": job.id,
                "row": problem.row,
                "field": problem.field,
                "code": problem.code,
                "reason": problem.reason,
            },
        )


class FileJob:
    """The job of one file while it is brought in.

    Args:
        jobs: of the utility.
        origin: who imports.
        kind: as in :class:`FileToImport`.
        name: of the file.
        reason: for the job.
        on_resumed: called with the last row that was done, if the file was begun before.
    """

    def __init__(
        self,
        jobs: ImportJobs,
        origin: Origin,
        kind: str,
        name: str,
        *,
        reason: str,
        on_resumed: Callable[[int], None] = lambda _row: None,
    ) -> None:
        """Hold what the job is of."""
        self._jobs = jobs
        self._origin = origin
        self._of = (kind, name)
        self._reason = reason
        self._on_resumed = on_resumed

    async def row_done(self, content: bytes, rows: int) -> int:
        """Return up to which row a file is done already; 0 for one that nobody has begun."""
        begun = await self._jobs.unfinished(FileToImport(*self._of, content, rows))
        if begun is None:
            return 0
        self._on_resumed(begun.row_done)
        return begun.row_done

    async def begin(self, content: bytes, rows: int) -> ImportJob:
        """Begin, or go on."""
        file = FileToImport(*self._of, content, rows)
        return await self._jobs.begin(self._origin, file, reason=self._reason)

    async def end(self, job: ImportJob, problems: Sequence[RowProblem]) -> None:
        """Note that nothing is left; see :meth:`ImportJobs.end`."""
        await self._jobs.end(job, problems)

    async def advance(self, job: ImportJob, row: int, added: int, there: int) -> ImportJob:
        """Note rows as done that were written by units of work of their own."""
        return await self._jobs.advance(job, row, added, there)

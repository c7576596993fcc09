"""Many meters to commission, from a file: all rows checked, then claimed, then looked for.

An import that was stopped goes on by giving the file again; a meter that was scanned before is
counted and left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import SlotmeterError, Unavailable
from slotmeter.ports import Caller
from slotmeter.services.account_file import FileDone
from slotmeter.services.commissioning import Commissioning, Wish
from slotmeter.services.commissioning_match import StrangerIndex
from slotmeter.services.csv_table import Column, RowProblem, csv_template, table_rows
from slotmeter.services.import_jobs import FileJob

__all__ = ["BATCH_ROWS", "COLUMNS", "CommissioningFile", "commissioning_template"]

FILE_ROWS_MAX: Final = 500_000
BATCH_ROWS: Final = 100
TEMPLATE_HINT: Final = "slotmeter commission import --template"

COLUMNS: Final = (
    Column("scan", "What the label says, or a serial number.", "07100000003", True),
    Column("meter", "Meter number; empty: it is in `scan`.", ""),
    Column("medium", "How it is reached, as `nbiot`; empty: any.", ""),
    Column("address", "The medium's name for the device; empty: found by its label.", ""),
    Column("driver", "Which driver reads its frames; empty: found by its frames.", ""),
)
"""The columns, in the order of the template. Their order in a file is free."""


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    wish: Wish


def commissioning_template() -> str:
    """Return a file with the headings and one worked row."""
    return csv_template(COLUMNS)


class CommissioningFile:
    """Claims the meters of a file for somebody."""

    def __init__(self, commissioning: Commissioning, caller: Caller, *, reason: str) -> None:
        """Hold who does it and why."""
        self._commissioning = commissioning
        self._caller = caller
        self._reason = reason

    async def run(
        self,
        content: bytes,
        *,
        accept_good: bool = False,
        check_only: bool = False,
        progress: Callable[[int], None] = lambda _done: None,
        job: FileJob | None = None,
    ) -> FileDone:
        """Check every row, then claim those that may be claimed.

        Args:
            content: the file.
            accept_good: claim the good rows although others are bad.
            check_only: write nothing.
            progress: called with the number of rows checked, then claimed.
            job: keeps how far the file is; rows that it has done are neither checked nor claimed.

        Raises:
            Conflict: ``changed_meanwhile``: somebody else imports the same file.
            Refused: the file as a whole cannot be read (``file_*``).
            Unavailable: the database cannot take more now; the same call goes on later.
        """
        rows, problems, read = _rows(content)
        row_done = 0 if job is None else await job.row_done(content, read)
        rows, bad = await self._checked([row for row in rows if row.number > row_done], progress)
        problems += bad
        written = there = 0
        if not check_only and (accept_good or not problems):
            begun = None if job is None else await job.begin(content, read)
            heard = await self._commissioning.index()
            for batch in _batches(rows):
                done = [await self._claimed(row, heard) for row in batch]
                added, known = done.count(True), done.count(False)
                written, there = written + added, there + known
                problems += [each for each in done if isinstance(each, RowProblem)]
                if job is not None and begun is not None:
                    begun = await job.advance(begun, batch[-1].number, added, known)
                progress(written + there)
            if job is not None and begun is not None:
                await job.end(begun, problems)
        problems.sort(key=lambda each: each.row)
        return FileDone(read, written, there, tuple(problems))

    async def _checked(
        self, rows: Sequence[_Row], progress: Callable[[int], None]
    ) -> tuple[list[_Row], list[RowProblem]]:
        good: list[_Row] = []
        problems: list[RowProblem] = []
        for batch in _batches(rows):
            found = await asyncio.gather(*(self._problem(row) for row in batch))
            problems += [each for each in found if each is not None]
            good += [row for row, each in zip(batch, found, strict=True) if each is None]
            progress(len(good) + len(problems))
        return good, problems

    async def _problem(self, row: _Row) -> RowProblem | None:
        try:
            await self._commissioning.check(self._caller.principal, row.wish)
        except Unavailable:
            raise
        except SlotmeterError as error:
            return _as_problem(row, error)
        return None

    async def _claimed(self, row: _Row, heard: StrangerIndex) -> bool | RowProblem:
        """Claim a meter; say whether nobody had before, or what is wrong."""
        try:
            _, is_new = await self._commissioning.claim(
                self._caller, row.wish, reason=self._reason, heard=heard
            )
        except Unavailable:
            raise
        except SlotmeterError as error:
            return _as_problem(row, error)
        return is_new


def _rows(content: bytes) -> tuple[list[_Row], list[RowProblem], int]:
    rows: list[_Row] = []
    problems: list[RowProblem] = []
    seen: dict[str, int] = {}
    read = 0
    for number, values in table_rows(
        content, COLUMNS, rows_max=FILE_ROWS_MAX, template_hint=TEMPLATE_HINT
    ):
        read += 1
        if isinstance(values, RowProblem):
            problems.append(values)
            continue
        before = seen.setdefault(values["scan"], number)
        if not values["scan"]:
            problems.append(RowProblem(number, "scan", "missing", "scan must not be empty"))
        elif before != number:
            reason = f"{values['scan']} is in row {before} already"
            problems.append(RowProblem(number, "scan", "duplicate_scan", reason))
        else:
            rows.append(_Row(number, _wish(values)))
    return rows, problems, read


def _wish(values: Mapping[str, str]) -> Wish:
    given = {name: values[name] or None for name in ("meter", "medium", "address", "driver")}
    return Wish(values["scan"], **given)


def _as_problem(row: _Row, error: SlotmeterError) -> RowProblem:
    return RowProblem(row.number, error.field or "scan", error.code, error.message)


def _batches(rows: Sequence[_Row]) -> list[Sequence[_Row]]:
    return [rows[start : start + BATCH_ROWS] for start in range(0, len(rows), BATCH_ROWS)]

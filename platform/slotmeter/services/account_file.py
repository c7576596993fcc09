"""Files that say something of accounts, as classes and registrations: all rows checked, then done.

Nothing is written unless all rows are good, or the good ones are asked for. An import that was
stopped goes on by giving the file again; what is there already is counted and left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from slotmeter.errors import Conflict, SlotmeterError, Unavailable
from slotmeter.ports import Caller, Read, UnitOfWork
from slotmeter.services.account_lookup import account_read, start_of_day_us
from slotmeter.services.classes import Classes
from slotmeter.services.csv_table import Column, RowProblem, table_rows
from slotmeter.services.free_units import FreeUnitsOffice, NewRegistration, check_registration
from slotmeter.services.import_jobs import FileJob
from slotmeter.units import instant

__all__ = [
    "BATCH_ROWS",
    "CLASS_COLUMNS",
    "FILE_ROWS_MAX",
    "FREE_COLUMNS",
    "AccountFile",
    "FileDone",
    "class_file",
    "free_file",
]

FILE_ROWS_MAX: Final = 500_000
CHECK_ROWS: Final = 200
BATCH_ROWS: Final = 100
"""Rows that are written at once, each in its own unit of work, before they are noted as done."""

CLASS_COLUMNS: Final = (
    Column("account", "Account number.", "C-1001", True),
    Column("class", "Code of a class; empty takes the class away.", "lifeline"),
    Column("from", "First local day, `YYYY-MM-DD`, today or later; empty: now.", "2027-01-01"),
)
FREE_COLUMNS: Final = (
    Column("account", "Account number.", "C-1001", True),
    Column("code", "Code of the free units in the tariff.", "fbe", True),
    Column("from", "First local day, `YYYY-MM-DD`.", "2026-11-01", True),
    Column("until", "First local day without them, `YYYY-MM-DD`; empty: no end.", "2027-11-01"),
    Column("evidence", "Why the household is entitled.", "indigent list 2026/114", True),
)

Progress = Callable[[int], None]
Doing = Callable[["FileRow"], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row with its cells by column; ``days`` are those columns that are local days."""

    row: int
    values: Mapping[str, str]
    days: Mapping[str, date | None]


@dataclass(frozen=True, slots=True)
class FileDone:
    """What became of a file."""

    rows: int
    written: int
    already_there: int
    problems: tuple[RowProblem, ...]

    @property
    def bad_rows(self) -> int:
        """How many rows have a problem."""
        return len({each.row for each in self.problems})


class AccountFile:
    """Checks and writes one kind of file.

    Args:
        uow: the database.
        utility_id: whose accounts.
        columns: of the file.
        day_columns: those that are local days.
        check: refuses a row that is wrong in itself.
        write: writes one row; False when it is there already.
        template_hint: the command that prints a template.
    """

    def __init__(
        self,
        uow: UnitOfWork,
        utility_id: int,
        columns: Sequence[Column],
        *,
        day_columns: Sequence[str],
        check: Callable[[FileRow], Sequence[Read]],
        write: Doing,
        template_hint: str,
    ) -> None:
        self._uow = uow
        self._utility_id = utility_id
        self._columns = columns
        self._day_columns = day_columns
        self._check = check
        self._write = write
        self._hint = template_hint

    async def run(
        self,
        content: bytes,
        *,
        accept_good: bool = False,
        check_only: bool = False,
        progress: Progress = lambda _done: None,
        job: FileJob | None = None,
    ) -> FileDone:
        """Check every row, then write those that may be written.

        Args:
            content: the file.
            accept_good: write the good rows although others are bad.
            check_only: write nothing.
            progress: called with the number of rows checked, then written.
            job: keeps how far the file is; rows that it has done are neither checked nor written.

        Raises:
            Conflict: ``changed_meanwhile``: somebody else imports the same file.
            Refused: the file as a whole cannot be read (``file_*``).
            Unavailable: the database cannot take more now; the same call goes on later.
        """
        good: list[FileRow] = []
        problems: list[RowProblem] = []
        read = 0
        for number, values in table_rows(
            content, self._columns, rows_max=FILE_ROWS_MAX, template_hint=self._hint
        ):
            read += 1
            found = self._parsed(number, values)
            if isinstance(found, FileRow):
                good.append(found)
            else:
                problems += found
        row_done = 0 if job is None else await job.row_done(content, read)
        good, unknown = await self._known([row for row in good if row.row > row_done], progress)
        problems += unknown
        written = there = 0
        if not check_only and (accept_good or not problems):
            begun = None if job is None else await job.begin(content, read)
            for batch in _batches(good):
                done = await self._all_written(batch)
                added, known = done.count(True), done.count(False)
                written, there = written + added, there + known
                problems += [each for each in done if isinstance(each, RowProblem)]
                if job is not None and begun is not None:
                    begun = await job.advance(begun, batch[-1].row, added, known)
                progress(written + there)
            if job is not None and begun is not None:
                await job.end(begun, problems)
        problems.sort(key=lambda each: each.row)
        return FileDone(read, written, there, tuple(problems))

    async def _all_written(self, batch: Sequence[FileRow]) -> list[bool | RowProblem]:
        """Write rows at once; one that cannot be written now stops the import, to be gone on with.

        Raises:
            Unavailable: why it cannot be written now.
        """
        done = await asyncio.gather(*(self._written(row) for row in batch), return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException):
                raise each
        return [each for each in done if not isinstance(each, BaseException)]

    async def _written(self, row: FileRow) -> bool | RowProblem:
        """Write a row; say whether it was new, or what is wrong with it."""
        try:
            return await self._write(row)
        except Unavailable:
            raise
        except SlotmeterError as error:
            return _problem(row.row, error)

    def _parsed(
        self, number: int, values: Mapping[str, str] | RowProblem
    ) -> FileRow | list[RowProblem]:
        if isinstance(values, RowProblem):
            return [values]
        problems = [
            RowProblem(number, column.name, "missing", f"{column.name} must not be empty")
            for column in self._columns
            if column.needed and not values[column.name]
        ]
        days: dict[str, date | None] = {}
        for name in self._day_columns:
            try:
                days[name] = date.fromisoformat(values[name]) if values[name] else None
            except ValueError:
                reason = f"expected YYYY-MM-DD, got {values[name][:40]!r}"
                problems.append(RowProblem(number, name, "bad_date", reason))
        return problems or FileRow(number, values, days)

    async def _known(
        self, rows: Sequence[FileRow], progress: Progress
    ) -> tuple[list[FileRow], list[RowProblem]]:
        """Tell the rows whose account and codes exist from those whose do not."""
        good: list[FileRow] = []
        problems: list[RowProblem] = []
        for start in range(0, len(rows), CHECK_ROWS):
            batch = rows[start : start + CHECK_ROWS]
            reads = [
                account_read(self._utility_id, row.values["account"], f"account{row.row}")
                for row in batch
            ]
            found = await self._uow.read(reads)
            for row in batch:
                bad = await self._wrong(row, is_known=bool(found[f"account{row.row}"]))
                problems += bad
                if not bad:
                    good.append(row)
            progress(start + len(batch))
        return good, problems

    async def _wrong(self, row: FileRow, *, is_known: bool) -> list[RowProblem]:
        number = row.values["account"]
        if not is_known:
            reason = f"there is no account {number}"
            return [RowProblem(row.row, "account", "account_unknown", reason)]
        try:
            reads = self._check(row)
        except SlotmeterError as error:
            return [_problem(row.row, error)]
        rows = await self._uow.read(reads) if reads else {}
        return [
            RowProblem(row.row, key, f"{key}_unknown", f"there is no {key} {row.values[key]}")
            for key in rows
            if not rows[key]
        ]


def class_file(
    uow: UnitOfWork, classes: Classes, caller: Caller, *, today: date, reason: str
) -> AccountFile:
    """Return what reads a file of classes."""
    utility_id, zone = caller.principal.utility_id, caller.principal.time_zone

    def check(row: FileRow) -> Sequence[Read]:
        first = row.days["from"]
        if first is not None and first < today:
            raise Conflict(
                "from_in_the_past", f"expected {today} or later, got {first}", field="from"
            )
        code = row.values["class"]
        return [Read("class_by_code", {"utility_id": utility_id, "code": code}, "class")][
            : 1 if code else 0
        ]

    async def write(row: FileRow) -> bool:
        first = row.days["from"]
        # Today's row counts from now: the day has begun.
        from_at = None
        if first is not None and first > today:
            from_at = instant(start_of_day_us(first, zone))
        done = await classes.assign(
            caller,
            row.values["account"],
            row.values["class"] or None,
            from_at=from_at,
            reason=reason,
        )
        return done.is_new

    return AccountFile(
        uow,
        utility_id,
        CLASS_COLUMNS,
        day_columns=("from",),
        check=check,
        write=write,
        template_hint="slotmeter class template",
    )


def free_file(
    uow: UnitOfWork, office: FreeUnitsOffice, caller: Caller, *, reason: str
) -> AccountFile:
    """Return what reads a file of registrations for free units."""
    zone = caller.principal.time_zone

    def new_of(row: FileRow) -> NewRegistration:
        first, end = row.days["from"], row.days["until"]
        if first is None:
            raise AssertionError("a needed column is never empty here")
        return NewRegistration(
            account=row.values["account"],
            code=row.values["code"],
            evidence=row.values["evidence"],
            from_us=start_of_day_us(first, zone),
            until_us=None if end is None else start_of_day_us(end, zone),
        )

    def check(row: FileRow) -> Sequence[Read]:
        check_registration(new_of(row))
        return []

    async def write(row: FileRow) -> bool:
        new = new_of(row)
        known = await office.registrations(
            caller.principal.utility_id, code=new.code, account=new.account
        )
        if any(
            each["ended_us"] is None
            and each["from_us"] == new.from_us
            and each["until_us"] == new.until_us
            for each in known
        ):
            return False
        await office.register(caller, new, reason=reason)
        return True

    return AccountFile(
        uow,
        caller.principal.utility_id,
        FREE_COLUMNS,
        day_columns=("from", "until"),
        check=check,
        write=write,
        template_hint="slotmeter free-units template",
    )


def _batches(rows: Sequence[FileRow]) -> Iterator[Sequence[FileRow]]:
    """Yield rows that may be written at once: no account is twice in a batch."""
    batch: dict[str, FileRow] = {}
    for row in rows:
        account = row.values["account"]
        if account in batch or len(batch) == BATCH_ROWS:
            yield [*batch.values()]
            batch = {}
        batch[account] = row
    if batch:
        yield [*batch.values()]


def _problem(row: int, error: SlotmeterError) -> RowProblem:
    return RowProblem(row, error.field or "row", error.code, error.message)

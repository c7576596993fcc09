"""Debts of a file: every row checked, then written in batches; what is there is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from slotmeter.errors import Refused, SlotmeterError
from slotmeter.ports import Changes, Clock, Insert, NewId, Read, Row, Rows, Step, UnitOfWork
from slotmeter.services.access import Origin
from slotmeter.services.account_file import FileDone
from slotmeter.services.csv_table import Column, RowProblem, csv_template, table_rows
from slotmeter.services.debt_making import add_debt_reads, add_debt_steps
from slotmeter.services.debt_terms import (
    Books,
    DebtTerms,
    InterestWish,
    NewDebt,
    PlanWish,
    check_new_debt,
)
from slotmeter.services.import_jobs import FileJob, ImportJob
from slotmeter.units import epoch_us
from slotmeter.vending.debts import EMERGENCY_CREDIT

__all__ = ["BATCH_ROWS", "COLUMNS", "DebtImport", "debt_template"]

FILE_ROWS_MAX: Final = 500_000
BATCH_ROWS: Final = 100
"""Rows in one unit of work: short enough that a server on the same database does not wait."""

COLUMNS: Final = (
    Column("number", "The debt's own number, which tells it from all others.", "LOAN-17", True),
    Column("account", "Number of the account that owes.", "C-1001", True),
    Column(
        "kind",
        "`arrears`, `loan`, `fine`, `emergency_credit`, or the utility's word.",
        "loan",
        True,
    ),
    Column("amount", "What is owed, in major units with a point.", "240.00", True),
    Column("currency", "Refused if it is not the utility's.", "KES"),
    Column("label", "For receipts; empty: made from the kind.", "Cooker"),
    Column("priority", "0 to 99, smaller is taken first; empty: by kind.", "2"),
    Column("plan", "`once`, `percent` or `instalments`.", "instalments", default="once"),
    Column("percent", "Of each purchase; plan `percent` only.", ""),
    Column("instalment", "One instalment, in major units; plan `instalments` only.", "20.00"),
    Column("every", "`purchase`, `day`, `week` or `month`.", "month", default="purchase"),
    Column("missed", "`accumulate`, `one_at_a_time` or `skip`; instalments by date.", "accumulate"),
    Column("first", "Local day of the first instalment by date, `YYYY-MM-DD`.", "2026-12-31"),
    Column("tax_percent", "Tax within the amount.", ""),
    Column("tax", "Code of that tax; empty: `vat`.", ""),
    Column("interest_percent", "Simple interest; empty: none.", "1.5"),
    Column("interest_per", "`month` or `year`.", "month"),
    Column("interest_from", "First local day that bears, `YYYY-MM-DD`.", ""),
    Column("source", "`billed`, `taken_over` or `credit`; empty: by kind.", "billed"),
    Column("starts", "Nothing is taken before this local day, `YYYY-MM-DD`.", ""),
)
"""The columns, in the order of the template. Their order in a file is free."""

_DAYS: Final = ("first", "interest_from", "starts")
_BY_FIELD: Final[Mapping[str, str]] = {
    "plan.shape": "plan",
    "plan.percent": "percent",
    "plan.amount": "instalment",
    "plan.every": "every",
    "plan.missed": "missed",
    "plan.first": "first",
    "interest.percent": "interest_percent",
    "interest.per": "interest_per",
    "interest.from": "interest_from",
}

Progress = Callable[[int], None]


def debt_template() -> str:
    """Return a file with the headings and one worked row."""
    return csv_template(COLUMNS)


@dataclass(frozen=True, slots=True)
class _DebtRow:
    row: int
    terms: DebtTerms

    @property
    def key(self) -> str:
        """Tells the reads of this row from those of the others of a unit."""
        return f"/{self.row}"


@dataclass(slots=True)
class _Batch:
    """What a batch of rows comes to."""

    steps: list[Step] = field(default_factory=list)
    written: int = 0
    already_there: int = 0
    problems: list[RowProblem] = field(default_factory=list)


class DebtImport:
    """Checks and writes the debts of a file."""

    def __init__(self, uow: UnitOfWork, clock: Clock, origin: Origin, books: Books) -> None:
        """Hold the database, the clock, and who imports for whom."""
        self._uow = uow
        self._now_us = epoch_us(clock.now())
        self._origin = origin
        self._books = books

    async def run(
        self,
        content: bytes,
        *,
        reason: str,
        accept_good: bool = False,
        check_only: bool = False,
        progress: Progress = lambda _done: None,
        job: FileJob | None = None,
    ) -> FileDone:
        """Check every row; write all if all are good, or the good ones if they are asked for.

        Args:
            content: the file.
            reason: for the acts.
            accept_good: write the good rows although others are bad.
            check_only: write nothing.
            progress: called with the number of rows checked, then written.
            job: keeps how far the file is; rows that it has done are neither checked nor written.

        Raises:
            Conflict: ``changed_meanwhile``: somebody else imports the same file.
            Refused: the file as a whole cannot be read (``file_*``).
        """
        rows: list[_DebtRow] = []
        problems: list[RowProblem] = []
        read = 0
        seen = _Seen()
        for number, values in table_rows(
            content, COLUMNS, rows_max=FILE_ROWS_MAX, template_hint="slotmeter import debts"
        ):
            read += 1
            found = self._parsed(number, values, seen)
            if isinstance(found, _DebtRow):
                rows.append(found)
            else:
                problems += found
        row_done = 0 if job is None else await job.row_done(content, read)
        rows = [row for row in rows if row.row > row_done]
        checked = await self._in_batches(rows, reason, progress)
        problems += checked.problems
        done = _Batch(already_there=checked.already_there)
        if not check_only and (accept_good or not problems):
            bad = {each.row for each in problems}
            good = [row for row in rows if row.row not in bad]
            begun = None if job is None else await job.begin(content, read)
            done = await self._in_batches(good, reason, progress, write=True, job=begun)
            problems += done.problems
            if job is not None and begun is not None:
                await job.end(begun, problems)
        problems.sort(key=lambda each: each.row)
        return FileDone(read, done.written, done.already_there, tuple(problems))

    async def _in_batches(
        self,
        rows: Sequence[_DebtRow],
        reason: str,
        progress: Progress,
        *,
        write: bool = False,
        job: ImportJob | None = None,
    ) -> _Batch:
        total = _Batch()
        for start in range(0, len(rows), BATCH_ROWS):
            batch = rows[start : start + BATCH_ROWS]
            reads: list[Read] = []
            for row in batch:
                reads += add_debt_reads(row.terms, self._books, row.key)
            if write:
                done = await self._write(batch, reads, reason, job)
                job = None if job is None else job.at(batch[-1].row)
            else:
                done = self._decided(batch, await self._uow.read(reads), _no_id, reason)
            total.written += done.written
            total.already_there += done.already_there
            total.problems += done.problems
            progress(start + len(batch))
        return total

    async def _write(
        self, batch: Sequence[_DebtRow], reads: Sequence[Read], reason: str, job: ImportJob | None
    ) -> _Batch:
        def decide(rows: Rows, new_id: NewId) -> Changes[_Batch]:
            done = self._decided(batch, rows, new_id, reason)
            if job is not None:
                row, there = batch[-1].row, done.already_there
                done.steps.append(job.advance(row, done.written, there, self._now_us))
            return Changes(done, done.steps)

        return await self._uow.run(reads, decide)

    def _decided(self, batch: Sequence[_DebtRow], rows: Rows, new_id: NewId, reason: str) -> _Batch:
        done = _Batch()
        opened: dict[str, Row] = {}
        for row in batch:
            accounts = [*rows[f"contra{row.key}"], *opened.values()]
            try:
                _, steps = add_debt_steps(
                    row.terms,
                    {**rows, f"contra{row.key}": accounts},
                    new_id,
                    origin=self._origin,
                    books=self._books,
                    now_us=self._now_us,
                    reason=reason,
                    key=row.key,
                )
            except SlotmeterError as error:
                done.problems.append(_problem(row.row, error))
                continue
            done.written += bool(steps)
            done.already_there += not steps
            done.steps += steps
            opened |= _opened(steps)
        return done

    def _parsed(
        self, number: int, values: Mapping[str, str] | RowProblem, seen: _Seen
    ) -> _DebtRow | list[RowProblem]:
        if isinstance(values, RowProblem):
            return [values]
        problems = [
            RowProblem(number, column.name, "missing", f"{column.name} must not be empty")
            for column in COLUMNS
            if column.needed and not values[column.name]
        ]
        problems += _bad_days(number, values)
        if problems:
            return problems
        try:
            terms = check_new_debt(_new_debt(values), self._books, self._now_us)
        except Refused as error:
            return [_problem(number, error)]
        return list(seen.clashes(number, terms)) or _DebtRow(number, terms)


@dataclass(slots=True)
class _Seen:
    """What may occur once only in a file."""

    numbers: dict[str, int] = field(default_factory=dict)
    emergency: dict[str, int] = field(default_factory=dict)

    def clashes(self, row: int, terms: DebtTerms) -> Iterator[RowProblem]:
        """Yield what an earlier row has taken."""
        number = terms.number or ""
        before = self.numbers.setdefault(number, row)
        if before != row:
            reason = f"{number} is in row {before} already"
            yield RowProblem(row, "number", "duplicate_number", reason)
        elif terms.kind == EMERGENCY_CREDIT:
            before = self.emergency.setdefault(terms.account, row)
            if before != row:
                reason = f"account {terms.account} has emergency credit in row {before} already"
                yield RowProblem(row, "kind", "emergency_credit_open", reason)


def _bad_days(number: int, values: Mapping[str, str]) -> Iterator[RowProblem]:
    for name in _DAYS:
        try:
            _day(values[name])
        except ValueError:
            reason = f"expected YYYY-MM-DD, got {values[name][:40]!r}"
            yield RowProblem(number, name, "bad_date", reason)


def _day(text: str) -> date | None:
    if not text:
        return None
    if len(text) != len("2026-12-31"):
        raise ValueError(text)
    return date.fromisoformat(text)


def _new_debt(values: Mapping[str, str]) -> NewDebt:
    """Return what a row asks for.

    Raises:
        Refused: ``bad_priority`` or ``bad_interest``; the rest is checked by ``check_new_debt``.
    """
    priority = values["priority"]
    if priority and not (priority.isascii() and priority.isdigit() and len(priority) <= 3):
        raise Refused("bad_priority", f"expected 0 to 99, got {priority[:20]!r}", field="priority")
    interest = None
    if values["interest_percent"]:
        interest = InterestWish(
            values["interest_percent"], values["interest_per"], _day(values["interest_from"])
        )
    elif values["interest_per"] or values["interest_from"]:
        raise Refused("bad_interest", "interest needs a percentage", field="interest_percent")
    return NewDebt(
        account=values["account"],
        kind=values["kind"],
        amount=values["amount"],
        plan=PlanWish(
            shape=values["plan"] or "once",
            percent=values["percent"] or None,
            amount=values["instalment"] or None,
            every=values["every"] or None,
            missed=values["missed"] or None,
            first=_day(values["first"]),
        ),
        label=values["label"],
        priority=int(priority) if priority else None,
        tax_percent=values["tax_percent"] or None,
        tax=values["tax"] or None,
        interest=interest,
        source=values["source"] or None,
        number=values["number"],
        starts=_day(values["starts"]),
        currency=values["currency"] or None,
    )


def _opened(steps: Sequence[Step]) -> dict[str, Row]:
    """Return the ledger accounts that steps open, for debts that follow in the same unit."""
    return {
        str(step.row["code"]): step.row
        for step in steps
        if isinstance(step, Insert) and step.table == "ledger_account"
    }


def _problem(row: int, error: SlotmeterError) -> RowProblem:
    named = error.field or "row"
    return RowProblem(row, _BY_FIELD.get(named, named), error.code, error.message)


def _no_id() -> int:
    """Stand in for ids where nothing is written."""
    return 0

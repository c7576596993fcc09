"""Meters that arrive: received by a file, known from then on, and installed later.

A received meter has its coding and its place in a store, and no customer. It is installed at a
supply point that is free, in the place of another meter, or with its customer by the meter file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Rows,
    SecurityModule,
    SqlValue,
    Step,
    UnitOfWork,
)
from slotmeter.services.access import caller_act
from slotmeter.services.account_file import FileDone
from slotmeter.services.csv_table import Column, RowProblem, csv_template, table_rows
from slotmeter.services.events import compact_json
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.import_jobs import FileJob, ImportJob
from slotmeter.services.lifecycle import PLACE_CHARACTERS_MAX, life_row
from slotmeter.services.meter_import import MeterImport
from slotmeter.services.meter_row import COLUMNS as METER_COLUMNS
from slotmeter.services.meter_row import MeterRow, read_row
from slotmeter.services.registry import UtilityInfo, vending_key_id
from slotmeter.units import epoch_us

__all__ = ["BATCH_ROWS", "COLUMNS", "MeterArrival", "arrival_template"]

FILE_ROWS_MAX: Final = 500_000
BATCH_ROWS: Final = 200
"""Rows in one unit of work: short enough that a server on the same database does not wait."""

_OWN: Final = ("place", "received_on")
_SHARED: Final = (
    *("meter", "commodity", "credit_mode", "sgc", "krn", "ti", "kt", "ken", "base_date", "ea"),
    *("dkga", "table_set", "medium", "address_on_medium", "driver"),
)
_OF_METERS: Final = {column.name: column for column in METER_COLUMNS}

COLUMNS: Final = (
    *(_OF_METERS[name] for name in _SHARED[:2]),
    Column("place", "The store that it is in.", "Depot Industrial Area", True),
    Column("received_on", "Local day, `YYYY-MM-DD`; empty: today.", "2026-11-20"),
    *(_OF_METERS[name] for name in _SHARED[2:]),
)
"""The columns, in the order of the template. Their order in a file is free."""

_NOBODY: Final[Mapping[str, str]] = {
    **dict.fromkeys((column.name for column in METER_COLUMNS), ""),
    "customer_number": "none",
    "customer_name": "none",
    "address": "none",
    "tariff": "none",
}
"""What a meter file says of a customer; a meter that arrives has none."""

Progress = Callable[[int], None]


def arrival_template() -> str:
    """Return a file with the headings and one worked row."""
    return csv_template(COLUMNS)


@dataclass(frozen=True, slots=True)
class _Arriving:
    meter: MeterRow
    place: str
    at_us: int

    @property
    def row(self) -> int:
        """Its number in the file."""
        return self.meter.row


@dataclass(slots=True)
class _Batch:
    """What a batch of rows comes to."""

    steps: list[Step] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    already_there: int = 0
    problems: list[RowProblem] = field(default_factory=list)


class MeterArrival:
    """Checks and writes meters that a utility received."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        utility: UtilityInfo,
        caller: Caller,
        *,
        keys: SecurityModule,
        drivers: Mapping[str, Driver],
    ) -> None:
        """Hold what rows are checked against, and who receives."""
        self._uow = uow
        self._now = clock.now()
        self._utility = utility
        self._caller = caller
        self._checks = MeterImport(uow, clock, utility, keys=keys, drivers=drivers)

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

        The same file again changes nothing: a meter that is there, so coded, is left alone.

        Args:
            content: the file.
            reason: for the acts.
            accept_good: write the good rows although others are bad.
            check_only: write nothing.
            progress: called with the number of rows checked, then written.
            job: keeps how far the file is; rows that it has done are neither checked nor written.

        Raises:
            Conflict: ``changed_meanwhile``: somebody else imports the same file.
            Refused: the file as a whole cannot be read (``file_*``), ``reason_missing`` or
                ``reason_too_long``.
        """
        why = check_reason(reason)
        rows, problems, read = self._parsed(content)
        row_done = 0 if job is None else await job.row_done(content, read)
        rows = [row for row in rows if row.row > row_done]
        problems += await self._checks.outside([row.meter for row in rows])
        bad = {problem.row for problem in problems}
        good = [row for row in rows if row.row not in bad]
        for done, batch in _batches(good):
            checked = self._decide(batch, await self._uow.read(self._reads(batch)), _no_id, why)
            problems += checked.problems
            progress(done)
        written = there = 0
        if not check_only and (accept_good or not problems):
            bad = {problem.row for problem in problems}
            good = [row for row in good if row.row not in bad]
            begun = None if job is None else await job.begin(content, read)
            for done, batch in _batches(good):
                made = await self._write(batch, begun, why)
                begun = None if begun is None else begun.at(batch[-1].row)
                written, there = written + len(made.added), there + made.already_there
                problems += made.problems
                progress(done)
            if job is not None and begun is not None:
                await job.end(begun, problems)
        problems.sort(key=lambda each: each.row)
        return FileDone(read, written, there, tuple(problems))

    def _parsed(self, content: bytes) -> tuple[list[_Arriving], list[RowProblem], int]:
        rows: list[_Arriving] = []
        problems: list[RowProblem] = []
        read, seen = 0, dict[str, int]()
        for number, values in table_rows(
            content, COLUMNS, rows_max=FILE_ROWS_MAX, template_hint="slotmeter asset template"
        ):
            read += 1
            if isinstance(values, RowProblem):
                problems.append(values)
                continue
            row, wrong = self._row(number, values)
            problems += wrong
            if row is None:
                continue
            clash = _clash(row.meter, seen)
            if clash is not None:
                problems.append(clash)
                continue
            rows.append(row)
        return rows, problems, read

    def _row(
        self, number: int, values: Mapping[str, str]
    ) -> tuple[_Arriving | None, list[RowProblem]]:
        today = self._now.astimezone(self._utility.zone()).date()
        cells = {name: value for name, value in values.items() if name not in _OWN}
        installed_on = values["received_on"] or f"{today}"
        meter, found = read_row(
            number,
            {**_NOBODY, **cells, "installed_on": installed_on},
            currency=self._utility.currency,
            today=today,
        )
        problems = [
            RowProblem(each.row, "received_on", each.code, each.reason)
            if each.field == "installed_on"
            else each
            for each in found
        ]
        place = values["place"]
        if not 1 <= len(place) <= PLACE_CHARACTERS_MAX or not place.isprintable():
            reason = f"say where it is in 1 to {PLACE_CHARACTERS_MAX} characters"
            problems.append(RowProblem(number, "place", "place_malformed", reason))
        if meter is None or problems:
            return None, problems
        midnight = datetime.combine(meter.installed_on, time(), self._utility.zone())
        at_us = min(epoch_us(midnight.astimezone(UTC)), epoch_us(self._now))
        return _Arriving(meter, place, at_us), []

    async def _write(
        self, batch: Sequence[_Arriving], job: ImportJob | None, reason: str
    ) -> _Batch:
        now_us = epoch_us(self._now)

        def decide(rows: Rows, new_id: NewId) -> Changes[_Batch]:
            made = self._decide(batch, rows, new_id, reason)
            if job is not None:
                there = made.already_there
                made.steps.append(job.advance(batch[-1].row, len(made.added), there, now_us))
            if made.added:
                made.steps.append(
                    caller_act(
                        self._caller,
                        new_id,
                        now_us,
                        what="meter.receive",
                        subject=f"{len(made.added)} meters",
                        reason=reason,
                        data={"before": None, "after": {"meters": made.added}},
                    )
                )
            return Changes(made, made.steps)

        return await self._uow.run(self._reads(batch), decide)

    def _reads(self, batch: Sequence[_Arriving]) -> list[Read]:
        reads = []
        for row in batch:
            meter = row.meter
            of: dict[str, SqlValue] = {"utility_id": self._utility.id, "number": meter.meter}
            at: dict[str, SqlValue] = {"medium": meter.medium, "address": meter.address_on_medium}
            reads.append(Read("registry_meter", of, f"meter/{meter.meter}"))
            reads.append(Read("registry_device", at, f"device/{meter.meter}"))
        return reads

    def _decide(self, batch: Sequence[_Arriving], rows: Rows, new_id: NewId, reason: str) -> _Batch:
        made = _Batch()
        for row in batch:
            number = row.meter.meter
            there, taken = rows[f"meter/{number}"], rows[f"device/{number}"]
            if there:
                if self._is_so(row.meter, there[0]):
                    made.already_there += 1
                    continue
                text = f"meter {number} is here already, otherwise coded"
                made.problems.append(RowProblem(row.row, "meter", "meter_differs", text))
            elif row.meter.driver and taken:
                text = f"{row.meter.address_on_medium} is the device of {taken[0]['meter']}"
                problem = RowProblem(row.row, "address_on_medium", "device_taken", text)
                made.problems.append(problem)
            else:
                made.added.append(number)
                made.steps += self._rows_of(row, new_id, reason)
        return made

    def _is_so(self, row: MeterRow, there: Mapping[str, object]) -> bool:
        parameters = None if row.parameters is None else compact_json(row.parameters.to_dict())
        here = (row.commodity.value, row.credit_mode, parameters)
        return here == (there["commodity"], there["credit_mode"], there["parameters"])

    def _rows_of(self, row: _Arriving, new_id: NewId, reason: str) -> Iterator[Step]:
        meter, parameters = row.meter, row.meter.parameters
        created: dict[str, SqlValue] = {
            "utility_id": self._utility.id,
            "created_us": epoch_us(self._now),
        }
        key_id = None
        if parameters is not None:
            training = self._utility.training
            key_id = vending_key_id(parameters.sgc, parameters.krn, training=training)
        meter_id = new_id()
        yield Insert(
            "meter",
            {
                **created,
                "id": meter_id,
                "number": meter.meter,
                "commodity": meter.commodity.value,
                "credit_mode": meter.credit_mode,
                "purchase_max_minor": None,
                "parameters": None if parameters is None else compact_json(parameters.to_dict()),
                "key_id": key_id,
                "state": "active",
            },
        )
        if meter.driver:
            yield Insert(
                "device",
                {
                    **created,
                    "id": new_id(),
                    "meter_id": meter_id,
                    "medium": meter.medium,
                    "address": meter.address_on_medium,
                    "driver": meter.driver,
                    "supply": "unknown",
                    "tamper": 0,
                },
            )
        yield life_row(new_id, self._caller, meter_id, "received", row.at_us, row.place, reason)


def _clash(meter: MeterRow, seen: dict[str, int]) -> RowProblem | None:
    """Return what an earlier row has taken, the meter or its device; note what this one takes."""
    first = seen.setdefault(meter.meter, meter.row)
    if first != meter.row:
        reason = f"meter {meter.meter} is in row {first} already"
        return RowProblem(meter.row, "meter", "meter_twice", reason)
    if not meter.driver:
        return None
    address = meter.address_on_medium
    first = seen.setdefault(f"{meter.medium} {address}", meter.row)
    if first == meter.row:
        return None
    reason = f"{address} is in row {first} already"
    return RowProblem(meter.row, "address_on_medium", "device_twice", reason)


def _no_id() -> int:
    """Stand in for ids where nothing is written."""
    return 0


def _batches(rows: Sequence[_Arriving]) -> Iterator[tuple[int, Sequence[_Arriving]]]:
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        yield start + len(batch), batch

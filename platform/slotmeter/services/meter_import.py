"""Meters of a meter file into the database: checked against what is there, written in batches.

Importing the same file again changes nothing: a row that is there already, exactly so, is counted
and left alone. A row that meets something else under the same number is a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time

from slotmeter.devices.drivers import Driver
from slotmeter.errors import NotFound, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SecurityModule,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.events import compact_json
from slotmeter.services.import_jobs import ImportJob
from slotmeter.services.meter_row import COLUMNS, MeterRow, RowProblem
from slotmeter.services.registry import UtilityInfo, vending_key_id
from slotmeter.units import epoch_us
from slotmeter.vending.accounts import words_of
from slotmeter.vending.sales import credit_subclass
from slotmeter.vending.sts import (
    KeyParameters,
    TokenRequest,
    VendingKeyInfo,
    minute_1993_of_us,
    tid_of_minute,
)

__all__ = ["BATCH_ROWS", "Imported", "MeterImport"]

BASE_DATE_OVER = "after_last_tid"
BATCH_ROWS = 200
"""Rows in one unit of work: short enough that a server on the same database does not wait."""


_COLUMN_NAMES = frozenset(column.name for column in COLUMNS)
_OF_A_METER = ("commodity", "credit_mode", "sgc")
_OF_A_DEVICE = ("medium", "address_on_medium", "driver")


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the rows of a file."""

    added: int
    already_there: int
    problems: tuple[RowProblem, ...]


@dataclass(slots=True)
class _Batch:
    """What a batch of rows would write."""

    steps: list[Step] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    already_there: int = 0
    problems: list[RowProblem] = field(default_factory=list)
    customers: dict[str, int] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)


class MeterImport:
    """Checks and writes meters for one utility."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        utility: UtilityInfo,
        *,
        keys: SecurityModule,
        drivers: Mapping[str, Driver],
    ) -> None:
        """Hold what rows are checked against."""
        self._uow = uow
        self._clock = clock
        self._utility = utility
        self._keys = keys
        self._drivers = drivers

    async def check(
        self, rows: Sequence[MeterRow], progress: Callable[[int], None] | None = None
    ) -> Imported:
        """Say what :meth:`add` would do, and write nothing."""
        outcome = Imported(0, 0, tuple(await self.outside(rows)))
        wrong = {problem.row for problem in outcome.problems}
        good = [row for row in rows if row.row not in wrong]
        for done, batch in _batches(good):
            found = await self._uow.read(self._reads(batch))
            outcome = _joined(outcome, self._decide(batch, found, _no_id))
            if progress is not None:
                progress(done)
        return outcome

    async def add(
        self,
        origin: Origin,
        rows: Sequence[MeterRow],
        *,
        reason: str,
        job: ImportJob | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Imported:
        """Write rows, ``BATCH_ROWS`` in one unit; a row that cannot be taken is left out.

        Args:
            origin: who imports.
            rows: right in themselves, best checked by :meth:`check` before.
            reason: for the acts.
            job: notes with each batch how far the file is; rows that it has done are not among
                these.
            progress: called with the number of rows done.
        """
        outcome = Imported(0, 0, tuple(await self.outside(rows)))
        wrong = {problem.row for problem in outcome.problems}
        good = [row for row in rows if row.row not in wrong]
        for done, batch in _batches(good):
            written = await self._write(origin, batch, reason, job)
            job = None if job is None else job.at(batch[-1].row)
            outcome = _joined(outcome, written)
            if progress is not None:
                progress(done)
        return outcome

    async def _write(
        self, origin: Origin, batch: Sequence[MeterRow], reason: str, job: ImportJob | None
    ) -> _Batch:
        at_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[_Batch]:
            result = self._decide(batch, rows, new_id)
            if job is not None:
                there = result.already_there
                result.steps.append(job.advance(batch[-1].row, len(result.added), there, at_us))
            if result.added:
                act = act_row(
                    new_id,
                    origin,
                    self._utility.id,
                    at_us,
                    what="meter.import",
                    subject=f"{len(result.added)} meters",
                    reason=reason,
                    data={"meters": result.added},
                )
                return Changes(result, [*result.steps, act])
            return Changes(result, result.steps)

        return await self._uow.run(self._reads(batch), decide)

    async def outside(self, rows: Sequence[MeterRow]) -> list[RowProblem]:
        """Check what is not in the database: drivers and vending keys."""
        problems = [problem for row in rows for problem in self._driver_problems(row)]
        infos: dict[str, VendingKeyInfo | None] = {}
        for row in rows:
            if row.parameters is None:
                continue
            key_id = self._key_id(row.parameters)
            if key_id not in infos:
                infos[key_id] = await self._describe(key_id)
            found = [*_key_problems(row, infos[key_id])]
            problems += found or [*await self._trial(row, key_id, row.parameters)]
        return problems

    async def _trial(
        self, row: MeterRow, key_id: str, parameters: KeyParameters
    ) -> Iterable[RowProblem]:
        """Make a token for the meter and throw it away: what fails here would fail every sale."""
        minute = minute_1993_of_us(epoch_us(self._clock.now()))
        try:
            tid = tid_of_minute(minute, parameters.base_date, parameters.ken)
            request = TokenRequest.credit(
                credit_subclass(row.commodity.value), units=1, tid=tid, rnd=0
            )
            await self._keys.issue(key_id, parameters, request)
        except Refused as error:
            if error.code == BASE_DATE_OVER:
                return []  # it can be brought in, to have its key changed
            named = error.field or ""
            column = named if named in _COLUMN_NAMES else "sgc"
            return [RowProblem(row.row, column, error.code, error.message)]
        return []

    def _key_id(self, parameters: KeyParameters) -> str:
        training = self._utility.training
        return vending_key_id(parameters.sgc, parameters.krn, training=training)

    async def _describe(self, key_id: str) -> VendingKeyInfo | None:
        try:
            return await self._keys.describe(key_id)
        except NotFound:
            return None

    def _driver_problems(self, row: MeterRow) -> Iterable[RowProblem]:
        if not row.driver:
            return
        driver = self._drivers.get(row.driver)
        if driver is None:
            known = ", ".join(sorted(self._drivers)) or "none"
            reason = f"no driver {row.driver} is installed; there are {known}"
            yield RowProblem(row.row, "driver", "unknown_driver", reason)
            return
        if not driver.carried_by(row.medium):
            spoken = ", ".join((driver.medium, *driver.media))
            reason = f"driver {driver.key} speaks over {spoken}, not {row.medium}"
            yield RowProblem(row.row, "medium", "wrong_medium", reason)
        if row.commodity not in driver.commodities:
            reason = f"driver {driver.key} does not meter {row.commodity.value}"
            yield RowProblem(row.row, "driver", "wrong_driver", reason)

    def _reads(self, batch: Sequence[MeterRow]) -> list[Read]:
        utility_id = self._utility.id
        reads = [Read("registry_tariffs", {"utility_id": utility_id})]
        for row in batch:
            named = (
                ("registry_meter", row.meter),
                ("registry_customer", row.customer_number),
                ("registry_account", row.account),
                ("registry_supply_point", row.supply_point),
            )
            for statement, number in named:
                params: dict[str, SqlValue] = {"utility_id": utility_id, "number": number}
                reads.append(Read(statement, params, key=f"{statement}/{number}"))
            params = {"medium": row.medium, "address": row.address_on_medium}
            reads.append(Read("registry_device", params, key=_device_key(row)))
        return reads

    def _decide(self, batch: Sequence[MeterRow], rows: Rows, new_id: NewId) -> _Batch:
        result = _Batch()
        tariffs = {row["code"]: row for row in rows["registry_tariffs"]}
        for row in batch:
            there = rows[f"registry_meter/{row.meter}"]
            waiting = there[0] if there and _waits(there[0]) else None
            if there and waiting is None:
                differing = _difference(row, there[0], self._from_us(row))
                if differing is None:
                    result.already_there += 1
                else:
                    result.problems.append(differing)
                continue
            problems = list(_problems(row, rows, tariffs))
            unlike = None if waiting is None else _difference(row, waiting, None)
            if unlike is not None:
                problems.append(unlike)
            if problems:
                result.problems += problems
                continue
            result.added.append(row.meter)
            result.steps += self._rows_of(row, rows, tariffs[row.tariff]["id"], new_id, result)
        return result

    def _from_us(self, row: MeterRow) -> int:
        midnight = datetime.combine(row.installed_on, time(), self._utility.zone())
        return epoch_us(midnight.astimezone(UTC))

    def _rows_of(
        self, row: MeterRow, rows: Rows, tariff_id: int, new_id: NewId, result: _Batch
    ) -> list[Step]:
        """Return the rows of a meter, with its customer and account where they are new."""
        now_us = epoch_us(self._clock.now())
        utility_id = self._utility.id
        account_id, steps = self._account(row, rows, new_id, result, now_us)
        waiting = next(iter(rows[f"registry_meter/{row.meter}"]), None)
        meter_id = new_id() if waiting is None else waiting["id"]
        supply_point_id = new_id()
        scope: dict[str, SqlValue] = {"utility_id": utility_id}
        created: dict[str, SqlValue] = {**scope, "created_us": now_us}
        parameters = row.parameters
        supply_point = {
            **created,
            "id": supply_point_id,
            "account_id": account_id,
            "tariff_id": tariff_id,
            "number": row.supply_point,
            "commodity": row.commodity.value,
            "area": row.area,
            "address": row.address,
        }
        meter = {
            **created,
            "id": meter_id,
            "number": row.meter,
            "commodity": row.commodity.value,
            "credit_mode": row.credit_mode,
            "purchase_max_minor": row.purchase_max_minor,
            "parameters": None if parameters is None else compact_json(parameters.to_dict()),
            "key_id": None if parameters is None else self._key_id(parameters),
            "state": "active",
        }
        installation = {
            **scope,
            "id": new_id(),
            "supply_point_id": supply_point_id,
            "meter_id": meter_id,
            "from_us": self._from_us(row),
        }
        steps += [
            Insert("supply_point", supply_point),
            Insert("meter", meter) if waiting is None else _limit_step(row, waiting),
            Insert("installation", installation),
            *_word_steps(row, rows, {**scope, "supply_point_id": supply_point_id}),
        ]
        if row.driver and (waiting is None or waiting["driver"] is None):
            device = {
                **created,
                "id": new_id(),
                "meter_id": meter_id,
                "medium": row.medium,
                "address": row.address_on_medium,
                "driver": row.driver,
                "supply": "unknown",
                "tamper": 0,
            }
            steps.append(Insert("device", device))
        return steps

    def _account(
        self, row: MeterRow, rows: Rows, new_id: NewId, result: _Batch, now_us: int
    ) -> tuple[int, list[Step]]:
        """Return the account's id, and the rows of account and customer where they are new."""
        known = rows[f"registry_account/{row.account}"]
        if known:
            return known[0]["id"], []
        if row.account in result.accounts:
            return result.accounts[row.account], []
        steps: list[Step] = []
        customers = rows[f"registry_customer/{row.customer_number}"]
        customer_id = customers[0]["id"] if customers else result.customers.get(row.customer_number)
        created: dict[str, SqlValue] = {"utility_id": self._utility.id, "created_us": now_us}
        if customer_id is None:
            customer_id = result.customers[row.customer_number] = new_id()
            customer = {
                **created,
                "id": customer_id,
                "number": row.customer_number,
                "name": row.customer_name,
                "phone": row.phone,
                "address": row.customer_address,
            }
            steps.append(Insert("customer", customer))
        account_id = result.accounts[row.account] = new_id()
        account = {
            **created,
            "id": account_id,
            "customer_id": customer_id,
            "number": row.account,
            "currency": self._utility.currency,
        }
        return account_id, [*steps, Insert("account", account)]


def _limit_step(row: MeterRow, waiting: Row) -> Update:
    """Return what changes of a meter that was received before it is installed."""
    limit = {"of_meter": waiting["id"], "to_purchase_max": row.purchase_max_minor}
    return Update("registry_limit_meter", limit)


def _word_steps(row: MeterRow, rows: Rows, of: Mapping[str, SqlValue]) -> list[Insert]:
    """Return what a supply point is found by: words of its place and of its customer."""
    known = rows[f"registry_customer/{row.customer_number}"]
    phone = row.phone if not known else ""
    words = words_of(row.customer_name, phone, row.customer_address, row.area, row.address)
    return [Insert("search_word", {**of, "word": word}) for word in words]


def _no_id() -> int:
    """Stand in for ids where nothing is written."""
    return 0


def _device_key(row: MeterRow) -> str:
    return f"registry_device/{row.medium}/{row.address_on_medium}"


def _batches(rows: Sequence[MeterRow]) -> Iterable[tuple[int, Sequence[MeterRow]]]:
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        yield start + len(batch), batch


def _joined(outcome: Imported, batch: _Batch) -> Imported:
    return Imported(
        outcome.added + len(batch.added),
        outcome.already_there + batch.already_there,
        (*outcome.problems, *batch.problems),
    )


def _key_problems(row: MeterRow, info: VendingKeyInfo | None) -> Iterable[RowProblem]:
    """Check a meter's key parameters against the vending key that must make its tokens."""
    parameters = row.parameters
    if parameters is None:
        return
    if info is None:
        reason = (
            f"the vault holds no vending key for sgc {parameters.sgc} krn {parameters.krn}; "
            "bring it in with `slotmeter vending-key add`"
        )
        yield RowProblem(row.row, "sgc", "vending_key_unknown", reason)
        return
    pairs = (
        ("kt", int(parameters.kt), int(info.kt)),
        ("dkga", parameters.dkga, info.dkga),
        ("base_date", parameters.base_date, info.base_date),
    )
    for name, here, there in pairs:
        if here != there:
            reason = f"the vending key of sgc {parameters.sgc} krn {parameters.krn} has {there}"
            yield RowProblem(row.row, name, "vending_key_differs", f"{reason}, the row {here}")


def _problems(row: MeterRow, rows: Rows, tariffs: Mapping[str, Row]) -> Iterable[RowProblem]:
    """Yield what keeps a new meter from coming in."""
    tariff = tariffs.get(row.tariff)
    if tariff is None:
        known = ", ".join(sorted(tariffs)) or "none; bring one in with `slotmeter tariff add`"
        reason = f"there is no tariff {row.tariff}; there are {known}"
        yield RowProblem(row.row, "tariff", "unknown_tariff", reason)
    elif tariff["commodity"] != row.commodity.value:
        reason = f"tariff {row.tariff} is for {tariff['commodity']}, not {row.commodity.value}"
        yield RowProblem(row.row, "tariff", "wrong_tariff", reason)
    for customer in rows[f"registry_customer/{row.customer_number}"]:
        if customer["name"] != row.customer_name:
            reason = (
                f"customer {row.customer_number} is here under the name {customer['name']!r}, "
                f"not {row.customer_name!r}"
            )
            yield RowProblem(row.row, "customer_name", "customer_differs", reason)
    for account in rows[f"registry_account/{row.account}"]:
        if account["customer_number"] != row.customer_number:
            reason = f"account {row.account} belongs to customer {account['customer_number']}"
            yield RowProblem(row.row, "account", "account_differs", reason)
    for supply_point in rows[f"registry_supply_point/{row.supply_point}"]:
        by = supply_point["meter"] or "another record"
        reason = f"supply point {row.supply_point} is taken by {by}"
        yield RowProblem(row.row, "supply_point", "supply_point_taken", reason)
    for device in rows[_device_key(row)] if row.driver else ():
        if device["meter"] == row.meter:
            continue
        reason = f"{row.address_on_medium} is the device of meter {device['meter']}"
        yield RowProblem(row.row, "address_on_medium", "device_taken", reason)


def _waits(there: Row) -> bool:
    """Say whether a meter was received and hangs nowhere yet: a row may install it."""
    return there["supply_point"] is None and there["meter_state"] == "active"


def _difference(row: MeterRow, there: Row, from_us: int | None) -> RowProblem | None:
    """Return how a row differs from the meter of the same number, or None if it does not.

    Args:
        row: what the file says.
        there: what the database says.
        from_us: when the row says that it was installed; None for a meter that waits for it, of
            which only its coding and its device are there to compare.
    """
    parameters = None if row.parameters is None else compact_json(row.parameters.to_dict())
    pairs = (
        ("commodity", row.commodity.value, there["commodity"]),
        ("credit_mode", row.credit_mode, there["credit_mode"]),
        ("customer_number", row.customer_number, there["customer_number"]),
        ("customer_name", row.customer_name, there["customer_name"]),
        ("account", row.account, there["account"]),
        ("supply_point", row.supply_point, there["supply_point"]),
        ("area", row.area, there["area"]),
        ("address", row.address, there["address"]),
        ("tariff", row.tariff, there["tariff"]),
        ("installed_on", from_us, there["from_us"]),
        ("sgc", parameters, there["parameters"]),
        ("medium", row.medium, there["medium"] or ""),
        ("address_on_medium", row.address_on_medium, there["address_on_medium"] or ""),
        ("driver", row.driver, there["driver"] or ""),
        ("purchase_max", row.purchase_max_minor, there["purchase_max_minor"]),
    )
    known_yet = {name for name, _, _ in pairs}
    if from_us is None:
        known_yet = {*_OF_A_METER, *(_OF_A_DEVICE if there["driver"] is not None else ())}
    for name, here, known in pairs:
        if name in known_yet and here != known:
            shown = "" if name in ("sgc", "installed_on") else f" ({known!r} there, {here!r} here)"
            reason = f"meter {row.meter} is here already with another {name}{shown}"
            return RowProblem(row.row, name, "meter_differs", reason)
    return None

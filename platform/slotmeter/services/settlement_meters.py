"""One meter of a settlement: charged up to the register, its credit valued, its use priced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from slotmeter.errors import Refused
from slotmeter.ports import Caller, Changes, NewId, Read, Row, Rows, SqlValue, UnitOfWork
from slotmeter.services.charging import Metered, charge_steps, charging_reads
from slotmeter.services.repricing import StoredSale, situation_of
from slotmeter.services.settlement import Bought, value_of_credit
from slotmeter.services.settlement_document import MeterSettled
from slotmeter.units import Commodity, commodity_quantity, parse_money, whole_or_none
from slotmeter.vending.accounts import CreditMode, Terms
from slotmeter.vending.pricing.engine import use_by_account
from slotmeter.vending.pricing.situation import Situation, Transfer
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = [
    "MeterReading",
    "WrittenReading",
    "charge_up_to",
    "checked_readings",
    "read_readings",
    "settle_meter",
]

NO_FRAME: Final = 0
READING_CHARACTERS_MAX: Final = 30


@dataclass(frozen=True, slots=True)
class MeterReading:
    """What a meter showed at the instant of a settlement.

    Args:
        meter: its number.
        register: cumulative Wh or mL; None takes what the platform charged up to.
        credit_left: left on a meter that holds its own credit: Wh or mL, or minor units of money
            for a meter that counts money.
    """

    meter: str
    register: int | None = None
    credit_left: int | None = None


@dataclass(frozen=True, slots=True)
class WrittenReading:
    """A reading as people write it: kWh or m³, money in major units."""

    meter: str
    register: str | None = None
    credit_left: str | None = None


def read_readings(
    meters: Sequence[Row], written: Sequence[WrittenReading], currency: str
) -> list[MeterReading]:
    """Return readings in base units.

    Raises:
        Refused: ``meter_not_of_account``, ``bad_reading``, or why an amount of money cannot be.
    """
    known = {row["number"]: row for row in meters}
    found = []
    for each in written:
        meter = known.get(each.meter)
        if meter is None:
            raise _strange(each.meter, known)
        quantity = commodity_quantity(Commodity(meter["commodity"]))
        left = None
        if each.credit_left is not None and meter["transfer"] == Transfer.CURRENCY:
            left = parse_money(each.credit_left, currency, "credit_left").minor
        elif each.credit_left is not None:
            left = _amount(each.credit_left, quantity.per_sold_unit, "credit_left")
        register = None
        if each.register is not None:
            register = _amount(each.register, quantity.per_sold_unit, "register")
        found.append(MeterReading(each.meter, register, left))
    return found


def _amount(text: str, per_sold_unit: int, field: str) -> int:
    try:
        value = Decimal(text) * per_sold_unit
    except InvalidOperation:
        value = Decimal(-1)
    whole = whole_or_none(value) if value.is_finite() else None
    if whole is None or whole < 0 or len(text) > READING_CHARACTERS_MAX:
        raise Refused(
            "bad_reading",
            f"expected an amount such as 1234.5, got {text[:READING_CHARACTERS_MAX]!r}",
            field=field,
        )
    return whole


def _strange(number: str, known: Iterable[str]) -> Refused:
    meters = ", ".join(sorted(known)) or "none"
    return Refused(
        "meter_not_of_account",
        f"meter {number[:40]} is not of this account; expected one of: {meters}",
        field="readings",
    )


def checked_readings(
    meters: Sequence[Row], readings: Sequence[MeterReading], to: Terms
) -> list[tuple[Row, MeterReading]]:
    """Return each meter of an account with its reading.

    Raises:
        Refused: ``no_meter``, ``reading_doubled``, ``meter_not_of_account``, ``reading_missing``,
            ``register_missing``, ``credit_left_missing`` or ``negative_reading``.
    """
    if not meters:
        raise Refused("no_meter", "this account has no meter to settle", field="readings")
    given = {reading.meter: reading for reading in readings}
    if len(given) != len(readings):
        raise Refused("reading_doubled", "expected one reading for a meter", field="readings")
    known = {row["number"] for row in meters}
    strange = sorted(given.keys() - known)
    if strange:
        raise _strange(strange[0], known)
    return [(row, _checked(row, given.get(row["number"]), to)) for row in meters]


def _checked(meter: Row, reading: MeterReading | None, to: Terms) -> MeterReading:
    number = meter["number"]
    held_by_platform = meter["credit_mode"] == CreditMode.PLATFORM
    if reading is None:
        if held_by_platform and meter["charged_register"] is not None:
            return MeterReading(number, meter["charged_register"])
        raise Refused("reading_missing", f"expected a reading of meter {number}", field="readings")
    register, left = reading.register, reading.credit_left
    if register is None and held_by_platform:
        register = meter["charged_register"]
    if register is None:
        raise Refused(
            "register_missing", f"expected the register of meter {number}", field="register"
        )
    if not held_by_platform and to is Terms.POSTPAID and left is None:
        raise Refused(
            "credit_left_missing",
            f"meter {number} holds its own credit: expected how much is left on it, 0 for none",
            field="credit_left",
        )
    if register < 0 or (left is not None and left < 0):
        raise Refused("negative_reading", "a reading is not negative", field="readings")
    return MeterReading(number, register, left)


async def charge_up_to(
    uow: UnitOfWork, caller: Caller, meter: Row, reading: MeterReading, now_us: int
) -> None:
    """Charge what a meter used up to its reading, where the platform holds the credit.

    A unit of its own: what is charged is owed whatever becomes of the settlement.

    Raises:
        Refused: ``register_passed``, ``register_implausible`` or ``use_unpriced``.
    """
    utility_id = caller.principal.utility_id
    register = reading.register or 0
    metered = Metered(
        utility_id=utility_id,
        meter_id=meter["meter_id"],
        meter_number=meter["number"],
        register=register,
        frame_id=NO_FRAME,
        now_us=now_us,
        commodity=Commodity(meter["commodity"]),
        measured_us=now_us,
    )

    def decide(rows: Rows, new_id: NewId) -> Changes[None]:
        charged = charge_steps(metered, rows, new_id)
        if charged.went_backwards:
            raise Refused(
                "register_passed",
                f"meter {meter['number']} was charged up to {rows['segment'][0]['register']} "
                f"already, got {register}",
                field="register",
                details={"charged_register": rows["segment"][0]["register"]},
            )
        if charged.is_implausible:
            raise Refused(
                "register_implausible",
                f"no use explains register {register} of meter {meter['number']}",
                field="register",
            )
        if charged.unpriced is not None:
            raise Refused("use_unpriced", charged.unpriced, field="register")
        return Changes(None, charged.steps)

    reads = charging_reads(utility_id, meter["meter_id"], meter["commodity"], now_us)
    await uow.run(reads, decide)


async def settle_meter(
    uow: UnitOfWork,
    caller: Caller,
    meter: Row,
    reading: MeterReading,
    *,
    to: Terms,
    at_us: int,
    since: tuple[int, int | None],
) -> MeterSettled:
    """Return what a meter adds to a settlement.

    Args:
        uow: the database.
        caller: who settles.
        meter: of the read ``terms_meters``.
        reading: checked.
        to: the new terms.
        at_us: the instant of the reading.
        since: when the terms changed last, and the register then.

    Raises:
        Refused: ``credit_exceeds_purchases``, ``register_passed``, ``no_price_in_force`` or why
            use has no price.
    """
    if meter["credit_mode"] == CreditMode.PLATFORM:
        return MeterSettled.of(meter, reading.register or 0, is_charged=True)
    if to is Terms.POSTPAID:
        return await _valued(uow, caller, meter, reading, since[0])
    return await _used(uow, caller, meter, reading, at_us, since[1])


async def _valued(
    uow: UnitOfWork, caller: Caller, meter: Row, reading: MeterReading, since_us: int
) -> MeterSettled:
    params: dict[str, SqlValue] = {
        "utility_id": caller.principal.utility_id,
        "meter_id": meter["meter_id"],
        "since_us": since_us,
    }
    rows = await uow.read([Read("terms_purchases", params, "purchases")])
    left = reading.credit_left or 0
    parts = value_of_credit(left, [_bought(row) for row in rows["purchases"]])
    return MeterSettled.of(meter, reading.register or 0, credit_left=left, parts=parts)


def _bought(row: Row) -> Bought:
    sale = StoredSale(**{name: row[name] for name in StoredSale.__slots__})
    tariff = stored_tariff(row["body"])
    situation = situation_of(sale, tariff)
    cost = use_by_account(tariff, situation, sale.units) if sale.units else {}
    is_money = situation.transfer is Transfer.CURRENCY
    carried = (sale.transfer_minor or 0) if is_money else sale.units
    return Bought(sale.receipt_number, carried, 0 if is_money else row["free"], cost)


async def _used(
    uow: UnitOfWork,
    caller: Caller,
    meter: Row,
    reading: MeterReading,
    at_us: int,
    from_register: int | None,
) -> MeterSettled:
    register = reading.register or 0
    start = register if from_register is None else from_register
    if register < start:
        raise Refused(
            "register_passed",
            f"meter {meter['number']} showed {start} when the terms changed last, got {register}",
            field="register",
        )
    params: dict[str, SqlValue] = {
        "utility_id": caller.principal.utility_id,
        "tariff_id": meter["tariff_id"],
        "now_us": at_us,
    }
    rows = await uow.read([Read("charging_tariff", params, "tariff")])
    if not rows["tariff"]:
        raise Refused("no_price_in_force", "no price is in force for this meter", field="meter")
    tariff = stored_tariff(rows["tariff"][0]["body"])
    situation = Situation(
        at_us=at_us,
        time_zone=tariff.time_zone or caller.principal.time_zone,
        customer_class=meter["class_code"],
        connection=meter["connection"],
        load_w=meter["load_w"],
        is_meter_credit=False,
    )
    cost = use_by_account(tariff, situation, register - start)
    return MeterSettled.of(meter, register, used=register - start, used_cost=cost)

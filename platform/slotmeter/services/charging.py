"""Charging what a register counted, where the platform holds the credit.

A *segment* is the time in which one meter is charged to one account by one list of prices. What is
owed is always computed from the segment's start: the price of all that was used since, each line
rounded once, less what was charged already. So the charges of a segment add up to the price of its
use, however often the meter reports.

A segment ends with the value that comes first after its prices ended: another account, tariff
version or customer class, a date of the tariff, a new window of its blocks. What was used until
that value goes by the old prices; blocks count on within a window, whatever ended the segment. A
window of the last so many days begins with a segment and lasts that long. Fixed charges and
percentages of a tender are not for use: they are taken with payments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from slotmeter.devices.entities import Entity
from slotmeter.errors import Refused
from slotmeter.ports import (
    From,
    Insert,
    NewId,
    Read,
    Reads,
    Row,
    Rows,
    SqlValue,
    Step,
    Then,
    Update,
)
from slotmeter.services.booking import Entry, posting_steps
from slotmeter.services.charged_buyer import (
    begins_us,
    buyer_now,
    buyer_of,
    is_expired,
    is_over,
    with_more_used,
)
from slotmeter.services.events import compact_json
from slotmeter.units import HOUR_US, Commodity, commodity_quantity, iso_utc
from slotmeter.vending.ledger import Posting, income_account, merge
from slotmeter.vending.pricing.engine import use_by_account
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = [
    "PLAUSIBLE_OVER_US_MIN",
    "RATE_PER_HOUR_MAX",
    "REGISTER_HOURS_MAX",
    "Charged",
    "Due",
    "charge_steps",
    "charging_reads",
    "due_for",
]

RATE_PER_HOUR_MAX: Final[Mapping[Commodity, int]] = {
    Commodity.ELECTRICITY: 200_000,  # Wh: 200 kW, three phases of 290 A at 230 V
    Commodity.WATER: 40_000_000,  # mL: 40 m³/h, above the overload flow of DN 50
    Commodity.GAS: 160_000_000,  # mL: 160 m³/h, the largest flow of a G100
}
"""What no meter that sells in advance delivers in an hour, in Wh or mL. Generous on purpose: it is
to stop a broken register from emptying an account, not to watch how people live."""

PLAUSIBLE_OVER_US_MIN: Final = HOUR_US
"""However shortly after the last charge a value comes, it may have risen by this long at the most
rate: clocks differ, and meters round."""

ANYBODY: Final = Situation(at_us=0, time_zone="UTC", is_meter_credit=False)
"""For a tariff that is the same for everybody at any time."""

REGISTER_HOURS_MAX: Final = 40 * 366 * 24
"""A first value is believed up to this many hours at the most rate: forty years."""

_TAX: Final = "tax:"


@dataclass(frozen=True, slots=True)
class Due:
    """What a use costs, minor units by the ledger account that earns it."""

    earned: Mapping[str, int]

    @property
    def tax_minor(self) -> int:
        """The tax."""
        return sum(minor for code, minor in self.earned.items() if code.startswith(_TAX))

    @property
    def net_minor(self) -> int:
        """What is left without tax: income, and levies."""
        return self.gross_minor - self.tax_minor

    @property
    def gross_minor(self) -> int:
        """What the customer owes."""
        return sum(self.earned.values())


def due_for(tariff: Tariff, used: int, buyer: Situation | None = None) -> Due:
    """Return the price of all that was used since a segment began; pure.

    Args:
        tariff: the version that the segment is charged by.
        used: Wh or mL, not negative.
        buyer: as of the start of the segment; anybody if not given.

    Raises:
        Refused: ``no_price_in_force``, ``no_price_in_advance`` or ``no_price_for_units``.
    """
    return Due(use_by_account(tariff, buyer or ANYBODY, used))


def _used_before(utility_id: int, meter_id: int, rows: Rows, now_us: int) -> list[Read]:
    """Return the read of what blocks have counted, for a tariff that has blocks."""
    from_us = begins_us(rows, now_us)
    if from_us is None:
        return []
    params: dict[str, SqlValue] = {
        "utility_id": utility_id,
        "meter_id": meter_id,
        "account_id": rows["supply"][0]["account_id"],
        "from_us": from_us,
    }
    return [Read("charging_used_before", params, "used_before")]


def charging_reads(utility_id: int, meter_id: int, commodity: str, now_us: int) -> Reads:
    """Return the reads that :func:`charge_steps` needs."""
    of_meter = {"utility_id": utility_id, "meter_id": meter_id}
    return [
        Read("charging_supply", {**of_meter, "now_us": now_us}, "supply"),
        Read(
            "charging_tariff",
            {
                "utility_id": utility_id,
                "tariff_id": From("supply", "tariff_id"),
                "now_us": now_us,
            },
            "tariff",
        ),
        Read("charging_segment", of_meter, "segment"),
        Then(lambda rows: _used_before(utility_id, meter_id, rows, now_us)),
        Read(
            "charging_accounts",
            {
                "utility_id": utility_id,
                "customer_code": From("segment", "customer_code"),
                "income_code": income_account(commodity),
            },
            "accounts",
        ),
    ]


@dataclass(slots=True)
class Charged:
    """What a new register value did.

    Args:
        steps: what writes it.
        minor: charged just now, with tax.
        went_backwards: the register is below what was charged already; nothing was charged.
        is_implausible: no use explains the value; nothing was charged.
        unpriced: why there is no price for it; nothing was charged.
    """

    steps: list[Step] = field(default_factory=list)
    minor: int = 0
    went_backwards: bool = False
    is_implausible: bool = False
    unpriced: str | None = None


@dataclass(frozen=True, slots=True)
class Metered:
    """A new register value of one meter.

    Args:
        utility_id: whose meter.
        meter_id: the meter.
        meter_number: for people.
        register: Wh or mL.
        frame_id: where the value came from.
        now_us: our clock.
        commodity: what the meter delivers.
        measured_us: the meter's clock.
        is_clock_ahead: the meter's clock is so far ahead that it is not believed.
        entity: how the model has the register; None where nobody knows whether it rolls over.
    """

    utility_id: int
    meter_id: int
    meter_number: str
    register: int
    frame_id: int
    now_us: int
    commodity: Commodity
    measured_us: int
    is_clock_ahead: bool = False
    entity: Entity | None = None


def _is_plausible(metered: Metered, segment: Row | None) -> bool:
    """Say whether use explains a register value.

    The time for it is the longer of ours and the meter's since the last charge. The meter's counts
    from our time where its clock was behind, and not at all where its clock is not believed; so a
    wrong clock never makes room for a wrong register. A value that was doubted once does not become
    plausible by waiting: only values below it do.
    """
    rate = RATE_PER_HOUR_MAX[metered.commodity]
    if segment is None:
        return metered.register <= rate * REGISTER_HOURS_MAX
    doubted: int | None = segment["doubted_register"]
    if doubted is not None and metered.register >= doubted:
        return False
    over_us: int = max(PLAUSIBLE_OVER_US_MIN, metered.now_us - segment["charged_us"])
    if not metered.is_clock_ahead:
        since_us = max(segment["measured_us"], segment["charged_us"])
        over_us = max(over_us, metered.measured_us - since_us)
    rise: int = metered.register - segment["register"]
    return rise * HOUR_US <= rate * over_us


def _counted_on(metered: Metered, segment: Row | None) -> Metered | None:
    """Return a value as its segment counts: on and on, also where the register rolls over.

    None for a value below what was charged already that no roll-over explains.
    """
    if segment is None or metered.register >= segment["register"]:
        return metered
    charged: int = segment["register"]
    if metered.entity is None or metered.entity.wrap is None:
        return None
    growth = metered.entity.growth(charged % metered.entity.wrap, metered.register)
    if growth is None:
        return None
    counted = replace(metered, register=charged + growth)
    return counted if _is_plausible(counted, segment) else None


def _doubt(metered: Metered, segment: Row | None) -> list[Step]:
    """Remember the lowest doubted value; what was charged stays as it is."""
    if segment is None:
        return []
    doubted: int | None = segment["doubted_register"]
    if doubted is not None and doubted <= metered.register:
        return []
    params: dict[str, SqlValue] = {
        "of_utility": metered.utility_id,
        "of_charge": segment["id"],
        "of_register": segment["register"],
        "to_doubted_register": metered.register,
    }
    return [Update("charging_doubt", params)]


def charge_steps(metered: Metered, rows: Rows, new_id: NewId) -> Charged:
    """Decide what a new register value of a meter costs whom.

    A value that no use explains does nothing, nor does one without a price in force: the register
    is charged up to where it was, and the prices that come next go on from there. The first value
    begins a segment and costs nothing.

    Args:
        metered: the value.
        rows: of :func:`charging_reads`.
        new_id: the unit's source of ids.
    """
    segment = rows["segment"][0] if rows["segment"] else None
    charged = Charged()
    counted = _counted_on(metered, segment)
    if counted is None:
        charged.went_backwards = True
        return charged
    metered = counted
    if not _is_plausible(metered, segment):
        charged.is_implausible = True
        charged.steps += _doubt(metered, segment)
        return charged
    try:
        _charge_or_begin(charged, metered, rows, new_id)
    except Refused as error:
        return Charged(unpriced=error.message)
    return charged


def _charge_or_begin(charged: Charged, metered: Metered, rows: Rows, new_id: NewId) -> None:
    """Charge the open segment, and begin the next one where it is over.

    Raises:
        Refused: there is no price for what was used.
    """
    buyer = buyer_now(rows, metered.now_us)
    start = metered.register
    if rows["segment"]:
        segment = rows["segment"][0]
        over = is_over(segment, rows, buyer)
        if over and is_expired(segment, metered.now_us):
            # It has no price for what was used since it ended: the prices of now take over.
            start = segment["register"]
        if start > segment["register"] or over:
            _charge(charged, metered, start, rows, over=over, new_id=new_id)
        if not over:
            return
        if buyer is not None:
            buyer = with_more_used(buyer, segment, rows, start - segment["register"])
    if buyer is not None:
        charged.steps.append(_segment(metered, rows, buyer, start, new_id))


def _charge(
    charged: Charged, metered: Metered, register: int, rows: Rows, *, over: bool, new_id: NewId
) -> None:
    """Charge a segment up to a register value."""
    segment = rows["segment"][0]
    tariff = stored_tariff(segment["body"])
    buyer = buyer_of(segment)
    start: int = segment["start_register"]
    due = due_for(tariff, register - start, buyer)
    before = due_for(tariff, segment["register"] - start, buyer)
    charged.minor = due.gross_minor - segment["charged_minor"]
    charged.steps.append(
        Update(
            "charging_move",
            {
                "of_utility": metered.utility_id,
                "of_charge": segment["id"],
                "of_register": segment["register"],
                "to_register": register,
                "to_charged_minor": due.gross_minor,
                "to_taxed_minor": due.tax_minor,
                "to_charged_us": metered.now_us,
                "to_measured_us": metered.measured_us,
                "to_to_us": metered.now_us if over else None,
            },
        )
    )
    earned = dict(due.earned)
    for account, minor in before.earned.items():
        earned[account] -= minor
    income = income_account(tariff.commodity.value)
    # Whatever an earlier program charged otherwise until now is income.
    rest = charged.minor - sum(earned.values())
    earned[income] = earned.get(income, 0) + rest
    credits = (Posting(account, -minor) for account, minor in earned.items())
    postings = merge((Posting(segment["customer_code"], charged.minor), *credits))
    if postings:
        used = commodity_quantity(Commodity(tariff.commodity))(register - segment["register"])
        entry = Entry(
            utility_id=metered.utility_id,
            kind="consumption",
            at_us=metered.now_us,
            currency=segment["currency"],
            postings=postings,
            reason=f"{used} at meter {metered.meter_number}{_late(metered, rows['accounts'])}",
            frame_id=metered.frame_id,
        )
        charged.steps += posting_steps(entry, rows["accounts"], new_id)


def _late(metered: Metered, accounts: Sequence[Row]) -> str:
    """Return what the auditor is told of use that belongs to books which are closed.

    It is booked by our clock, as everything is: in the period that is open.
    """
    closed_until_us = max((row.get("closed_until_us") or 0 for row in accounts), default=0)
    if metered.measured_us >= closed_until_us or metered.now_us < closed_until_us:
        return ""
    return f" (late: measured at {iso_utc(metered.measured_us)}, whose books were closed)"


def _segment(
    metered: Metered, rows: Rows, buyer: Situation, register: int, new_id: NewId
) -> Insert:
    return Insert(
        "meter_charge",
        {
            "id": new_id(),
            "utility_id": metered.utility_id,
            "meter_id": metered.meter_id,
            "account_id": rows["supply"][0]["account_id"],
            "tariff_version_id": rows["tariff"][0]["tariff_version_id"],
            "start_register": register,
            "register": register,
            "charged_minor": 0,
            "taxed_minor": 0,
            "charged_us": metered.now_us,
            "measured_us": metered.measured_us,
            "from_us": metered.now_us,
            "to_us": None,
            "situation": compact_json(buyer.to_dict()),
        },
    )

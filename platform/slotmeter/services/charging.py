"""Charging what a register counted, where the platform holds the credit.

A *segment* is the time in which one meter is charged to one account by one tariff version. What is
owed is always computed from the segment's start: the price of all that was used since, rounded
once, less what was charged already. So the charges of a segment add up to the price of its use,
however often the meter reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from slotmeter.ports import From, Insert, NewId, Read, Row, Rows, SqlValue, Step, Update
from slotmeter.services.booking import Entry, posting_steps
from slotmeter.units import HOUR_US, Commodity, Rounding, commodity_quantity, round_to_int
from slotmeter.vending.ledger import Posting, income_account, merge, tax_account
from slotmeter.vending.tariffs import Tariff, stored_tariff

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

REGISTER_HOURS_MAX: Final = 40 * 366 * 24
"""A first value is believed up to this many hours at the most rate: forty years."""

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Due:
    """What a use costs in minor units: without tax, and the tax."""

    net_minor: int
    tax_minor: int

    @property
    def gross_minor(self) -> int:
        """What the customer owes."""
        return self.net_minor + self.tax_minor


def due_for(tariff: Tariff, used: int) -> Due:
    """Return the price of all that was used since a segment began; pure.

    Args:
        tariff: the version that the segment is charged by.
        used: Wh or mL, not negative.

    Both parts are rounded half up once and never fall when the use grows.
    """
    exact = tariff.price.minor_for(commodity_quantity(tariff.commodity)(used))
    percent = tariff.tax.percent if tariff.tax is not None else Decimal(0)
    return Due(
        net_minor=round_to_int(exact, Rounding.HALF_UP),
        tax_minor=round_to_int(exact * percent / _HUNDRED, Rounding.HALF_UP),
    )


def charging_reads(utility_id: int, meter_id: int, commodity: str, now_us: int) -> list[Read]:
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
    """

    steps: list[Step] = field(default_factory=list)
    minor: int = 0
    went_backwards: bool = False
    is_implausible: bool = False


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

    A value that no use explains does nothing. The first value begins a segment and costs nothing.
    A new tariff version, or another account, begins a segment at this value; what was used until
    here goes by the old one.

    Args:
        metered: the value.
        rows: of :func:`charging_reads`.
        new_id: the unit's source of ids.
    """
    segment = rows["segment"][0] if rows["segment"] else None
    supply = rows["supply"][0] if rows["supply"] else None
    tariff = rows["tariff"][0] if rows["tariff"] else None
    charged = Charged()
    if segment is not None and metered.register < segment["register"]:
        charged.went_backwards = True
        return charged
    if not _is_plausible(metered, segment):
        charged.is_implausible = True
        charged.steps += _doubt(metered, segment)
        return charged
    if segment is not None:
        over = (
            supply is None
            or tariff is None
            or supply["account_id"] != segment["account_id"]
            or tariff["tariff_version_id"] != segment["tariff_version_id"]
        )
        if metered.register > segment["register"] or over:
            _charge(charged, metered, segment, rows["accounts"], over=over, new_id=new_id)
        if not over:
            return charged
    if supply is not None and tariff is not None:
        charged.steps.append(_segment(metered, supply, tariff, new_id))
    return charged


def _charge(
    charged: Charged,
    metered: Metered,
    segment: Row,
    accounts: Sequence[Row],
    *,
    over: bool,
    new_id: NewId,
) -> None:
    tariff = stored_tariff(segment["body"])
    due = due_for(tariff, metered.register - segment["start_register"])
    tax_minor = due.tax_minor - segment["taxed_minor"]
    charged.minor = due.gross_minor - segment["charged_minor"]
    charged.steps.append(
        Update(
            "charging_move",
            {
                "of_utility": metered.utility_id,
                "of_charge": segment["id"],
                "of_register": segment["register"],
                "to_register": metered.register,
                "to_charged_minor": due.gross_minor,
                "to_taxed_minor": due.tax_minor,
                "to_charged_us": metered.now_us,
                "to_measured_us": metered.measured_us,
                "to_to_us": metered.now_us if over else None,
            },
        )
    )
    tax_code = tax_account(tariff.tax.name if tariff.tax is not None else "none")
    postings = merge(
        (
            Posting(segment["customer_code"], charged.minor),
            Posting(income_account(tariff.commodity.value), tax_minor - charged.minor),
            Posting(tax_code, -tax_minor),
        )
    )
    if postings:
        used = commodity_quantity(Commodity(tariff.commodity))(
            metered.register - segment["register"]
        )
        entry = Entry(
            utility_id=metered.utility_id,
            kind="consumption",
            at_us=metered.now_us,
            currency=segment["currency"],
            postings=postings,
            reason=f"{used} at meter {metered.meter_number}",
            frame_id=metered.frame_id,
        )
        charged.steps += posting_steps(entry, accounts, new_id)


def _segment(metered: Metered, supply: Row, tariff: Row, new_id: NewId) -> Insert:
    return Insert(
        "meter_charge",
        {
            "id": new_id(),
            "utility_id": metered.utility_id,
            "meter_id": metered.meter_id,
            "account_id": supply["account_id"],
            "tariff_version_id": tariff["tariff_version_id"],
            "start_register": metered.register,
            "register": metered.register,
            "charged_minor": 0,
            "taxed_minor": 0,
            "charged_us": metered.now_us,
            "measured_us": metered.measured_us,
            "from_us": metered.now_us,
            "to_us": None,
        },
    )

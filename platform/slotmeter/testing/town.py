"""A small town as data: who lives there, with which meter, and what they will do; pure and seeded.

The same seed and size give the same town. What happens in it also depends on real time, so two
runs are alike and not equal.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from random import Random
from typing import Any, Final

from slotmeter.testing.consumption import SLOT_US, Household
from slotmeter.testing.site import KRN, SGC
from slotmeter.units import HOUR_US, Commodity
from slotmeter.vending.sts import KeyParameters, luhn_digit, pan_of_drn

__all__ = [
    "CURRENCY",
    "DEBT_PERCENT",
    "DEVICE_DRIVER",
    "FREE_UNITS",
    "HOMES_MAX",
    "POLICY",
    "TARIFFS",
    "TILL",
    "TIME_ZONE",
    "Habit",
    "Home",
    "SaleFate",
    "Town",
    "plan_town",
]

CURRENCY: Final = "KES"
DEVICE_DRIVER: Final = "slotmeter_virtual"
DEVICE_MEDIUM: Final = "nbiot"
HOMES_MAX: Final = 5_000
TILL: Final = "town-till"
"""The principal that the households buy from."""
TIME_ZONE: Final = "Africa/Nairobi"
UTC_OFFSET_MINUTES: Final = 180
FREE_CODE: Final = "basic"
FREE_UNITS: Final = 5
"""kWh a month for a household that is registered."""
DEBT_PERCENT: Final = 30
"""What each purchase repays of a household's old bill, in percent."""
FATES_PER_BLOCK: Final = 20

TARIFFS: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "tariff": "DOM-E",
        "title": "Domestic electricity",
        "commodity": "electricity",
        "currency": CURRENCY,
        "time_zone": TIME_ZONE,
        "energy": {
            "label": "Energy",
            "blocks": [
                {"to": "50", "price": "2.50"},
                {"to": "1500", "price": "13.68"},
                {"price": "20.57"},
            ],
        },
        "levies": {
            "fuel": {"label": "Fuel cost", "per_unit": "5.71"},
            "forex": {"label": "Forex adjustment", "per_unit": "0.17"},
            "warma": {"label": "WARMA levy", "per_unit": "0.05"},
            "inflation": {"label": "Inflation adjustment", "per_unit": "0.18"},
            "erc": {"label": "ERC levy", "per_unit": "0.03"},
        },
        "percentages": {
            "rep": {"label": "Rural electrification levy", "percent": "5", "on": ["energy"]}
        },
        "taxes": {
            "vat": {"label": "VAT", "percent": "16", "on": ["fixed", "energy", "fuel", "forex"]}
        },
        "fixed": {"service": {"label": "Service charge", "amount": "10.00"}},
        "free_units": {FREE_CODE: {"label": "Free basic electricity", "units": str(FREE_UNITS)}},
        "purchase": {"minimum": "20", "maximum": "50000"},
        "rounding": {"units": "half_up", "percent_of": "exact"},
    },
    {
        "tariff": "DOM-W",
        "title": "Domestic water",
        "commodity": "water",
        "currency": CURRENCY,
        "time_zone": TIME_ZONE,
        "energy": {
            "label": "Water",
            "blocks": [
                {"to": "0.2", "price": "0"},
                {"to": "6", "price": "130.00"},
                {"price": "180.00"},
            ],
        },
        "purchase": {"minimum": "20", "maximum": "50000"},
    },
    {
        "tariff": "DOM-G",
        "title": "Domestic gas",
        "commodity": "gas",
        "currency": CURRENCY,
        "time_zone": TIME_ZONE,
        "energy": {"label": "Gas", "price": "95.00"},
        "taxes": {"vat": {"label": "VAT", "percent": "16", "on": ["energy"]}},
        "purchase": {"minimum": "20", "maximum": "50000"},
    },
)
"""Electricity by Kenya's blocks and levies of 2017, water with a free first step, gas by one price.

What is small is so on purpose: a demo's month has minutes, so that the monthly charge is 10.00 in
place of 150.00, and the free step of water 0.2 m³ in place of 6.
"""
_TARIFF_OF: Final = {
    Commodity.ELECTRICITY: "DOM-E",
    Commodity.WATER: "DOM-W",
    Commodity.GAS: "DOM-G",
}

POLICY: Final[Mapping[str, Any]] = {
    "cuts_per_hour": 1_000,
    "low_credit_minor": 1_000,
    "clock_ahead_hours_max": 1_000_000,
}
"""A lively town: its hours are minutes, so many cuts an hour and clocks far ahead are in order."""

_AREAS: Final = ("Kilimani", "Westlands", "Lavington", "Parklands")
_FIRST: Final = (
    *("Amina", "Brian", "Chiku", "Daudi", "Esther", "Faraji", "Grace", "Hamisi", "Imani", "Juma"),
    *("Khadija", "Lulu", "Mosi", "Neema", "Otieno", "Pendo", "Rehema", "Salim", "Tatu", "Wanjiru"),
)
_LAST: Final = (
    *("Abdalla", "Barasa", "Chebet", "Kamau", "Kiprono", "Mutua", "Mwangi", "Njoroge", "Ochieng"),
    *("Odhiambo", "Omondi", "Otieno", "Wafula", "Waweru"),
)


class Habit(StrEnum):
    """When a household buys."""

    EARLY = "early"  # when the display warns
    LATE = "late"  # when it is dark, or the tap is dry


@dataclass(frozen=True, slots=True)
class Home:
    """One household with its meter.

    Args:
        index: counts from 0.
        number: of the meter.
        commodity: what it meters.
        credit_mode: ``meter`` or ``platform``.
        customer: the name on receipts.
        household: who uses what it meters.
        habit: when it buys.
        opening_s: seconds of the demo after which the opening credit is used up.
        purchase_s: seconds of the demo that a purchase is meant to last.
        patience_s: seconds from noticing to buying.
        offline_from_s: second of each cycle at which the meter loses the network; None for never.
        offline_for_s: how long it stays away.
        tamper_at_s: when somebody opens the cover; None for never.
        debt: an old bill in whole shillings that purchases repay by ``DEBT_PERCENT``; 0 for none.
        has_free_units: whether it is registered for the free units of the month.
    """

    index: int
    number: str
    commodity: Commodity
    credit_mode: str
    customer: str
    household: Household
    habit: Habit
    opening_s: float
    purchase_s: float
    patience_s: float
    offline_from_s: float | None
    offline_for_s: float
    tamper_at_s: float | None
    debt: int = 0
    has_free_units: bool = False

    @property
    def account(self) -> str:
        """The number of its account."""
        return f"C-{self.index + 1:05d}"

    @property
    def address_on_medium(self) -> str:
        """The endpoint name of its device."""
        return f"ep-{self.number}"

    @property
    def parameters(self) -> KeyParameters | None:
        """What the meter is coded with; None when the platform holds the credit."""
        if self.credit_mode == "platform":
            return None
        return KeyParameters(pan=pan_of_drn(self.number), sgc=SGC, krn=KRN, kt=2, ti=1)

    def use_of(self, seconds: float, speed: int, from_us: int) -> int:
        """Return the use, in Wh or mL, of real seconds at a speed; at least 1.

        Args:
            seconds: real ones.
            speed: meter seconds per real second.
            from_us: the meter's time at the start, UTC epoch microseconds.
        """
        span_us = int(seconds * speed * 1_000_000)
        end_us, at_us, used = from_us + span_us, from_us, 0
        while at_us < end_us:
            slot_end_us = min(end_us, (at_us // SLOT_US + 1) * SLOT_US)
            rate = self.household.rate_per_hour(self.commodity, at_us)
            used += rate * (slot_end_us - at_us)
            at_us = slot_end_us
        return max(1, used // HOUR_US)


class SaleFate(StrEnum):
    """What the network does to one sale."""

    PLAIN = "plain"
    DOUBLED = "doubled"  # the till sends the same request twice at once
    LOST = "lost"  # the connection breaks before the answer; the till asks again


@dataclass(frozen=True, slots=True)
class Town:
    """Everybody, and the file that makes the utility know them."""

    seed: int
    homes: tuple[Home, ...]

    def meter_file(self, installed_on: date) -> str:
        """Return the meter file of the town."""
        return _table(_HEADINGS, [_row(home, installed_on) for home in self.homes])

    def debt_file(self) -> str:
        """Return the file of the old bills, as ``slotmeter import debts`` takes it."""
        rows = [
            (f"OLD-{home.index + 1}", home.account, "arrears", home.debt, "Old bill")
            for home in self.homes
            if home.debt
        ]
        plan = ("percent", DEBT_PERCENT)
        headings = ("number", "account", "kind", "amount", "label", "plan", "percent")
        return _table(headings, [(*row, *plan) for row in rows])

    def free_file(self, first_day: date) -> str:
        """Return the file of who gets free units, as ``slotmeter free-units import`` takes it."""
        return _table(
            ("account", "code", "from", "evidence"),
            [
                (home.account, FREE_CODE, first_day.isoformat(), "list of the council")
                for home in self.homes
                if home.has_free_units
            ],
        )

    def fate(self, sale: int) -> SaleFate:
        """Return what happens to the sale with this number: in each twenty one of both kinds."""
        block, place = divmod(sale, FATES_PER_BLOCK)
        doubled, lost = Random(f"{self.seed}/{block}").sample(range(FATES_PER_BLOCK), 2)  # noqa: S311  a seeded plan
        return {doubled: SaleFate.DOUBLED, lost: SaleFate.LOST}.get(place, SaleFate.PLAIN)


_HEADINGS: Final[Sequence[str]] = (
    *("meter", "commodity", "credit_mode", "customer_number", "customer_name", "phone"),
    *("area", "address", "tariff", "installed_on", "sgc", "krn"),
    *("medium", "address_on_medium", "driver"),
)


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(rows)
    return text.getvalue()


def _row(home: Home, installed_on: date) -> list[str]:
    by_token = home.credit_mode == "meter"
    area = _AREAS[home.index % len(_AREAS)]
    return [
        home.number,
        home.commodity.value,
        home.credit_mode,
        home.account,
        home.customer,
        f"+2547000{home.index:05d}",
        f"Nairobi/{area}",
        f"{area} Road {home.index + 1}",
        _TARIFF_OF[home.commodity],
        installed_on.isoformat(),
        SGC if by_token else "",
        str(KRN) if by_token else "",
        DEVICE_MEDIUM,
        home.address_on_medium,
        DEVICE_DRIVER,
    ]


def plan_town(homes: int, seed: int) -> Town:
    """Plan a town: half electricity, the rest water and gas; every other water meter platform-held.

    Args:
        homes: how many, 1 to ``HOMES_MAX``.
        seed: decides everything.
    """
    if not 1 <= homes <= HOMES_MAX:
        raise ValueError(f"a town has 1 to {HOMES_MAX} homes, got {homes}")
    random = Random(seed)  # noqa: S311  a seeded plan
    water = 0
    planned: list[Home] = []
    for index in range(homes):
        commodity = (
            *(Commodity.ELECTRICITY, Commodity.WATER, Commodity.ELECTRICITY),
            *(Commodity.WATER, Commodity.GAS, Commodity.ELECTRICITY),
        )[index % 6]
        by_platform = commodity is Commodity.WATER and water % 2 == 1
        water += commodity is Commodity.WATER
        planned.append(_home(index, commodity, "platform" if by_platform else "meter", random))
    return Town(seed, tuple(planned))


def _home(index: int, commodity: Commodity, credit_mode: str, random: Random) -> Home:
    digits = f"07{10_000_000 + index * 7_919 % 89_999_999:08d}"
    by_token = credit_mode == "meter"
    # The first of each kind are sure to show what the demo promises; the others draw lots.
    offline = by_token and (index in (2, 4) or random.random() < 0.15)
    tamper = index == 5 or random.random() < 0.05
    late = index in (0, 3) or random.random() < 0.5
    return Home(
        index=index,
        number=digits + luhn_digit(digits),
        commodity=commodity,
        credit_mode=credit_mode,
        customer=f"{random.choice(_FIRST)} {random.choice(_LAST)}",
        household=Household(
            seed=random.randrange(2**32),
            people=random.randint(1, 6),
            utc_offset_minutes=UTC_OFFSET_MINUTES,
        ),
        habit=Habit.LATE if late else Habit.EARLY,
        opening_s=random.uniform(3, 25),
        purchase_s=random.uniform(15, 45),
        patience_s=random.uniform(0.5, 4),
        offline_from_s=random.uniform(2, 8) if offline else None,
        offline_for_s=random.uniform(10, 20),
        tamper_at_s=random.uniform(8, 25) if tamper else None,
        debt=random.randrange(20, 200)
        if by_token and (index in (0, 1, 4) or index % 5 == 2)
        else 0,
        has_free_units=commodity is Commodity.ELECTRICITY and index % 4 in (0, 1),
    )

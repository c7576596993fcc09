"""A small town as data: who lives there, with which meter, and what they will do; pure and seeded.

The same seed and size give the same town. What happens in it also depends on real time, so two
runs are alike and not equal.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
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
    "DEVICE_DRIVER",
    "HOMES_MAX",
    "POLICY",
    "TARIFFS",
    "TILL",
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
UTC_OFFSET_MINUTES: Final = 180
FATES_PER_BLOCK: Final = 20

TARIFFS: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "tariff": "DOM-E",
        "title": "Domestic electricity",
        "commodity": "electricity",
        "currency": CURRENCY,
        "price": "21.50",
        "tax": {"name": "VAT", "percent": "16"},
        "fixed_charge": {"code": "service", "label": "Service", "amount": "10.00", "taxed": True},
        "purchase": {"minimum": "20.00", "maximum": "50000.00"},
    },
    {
        "tariff": "DOM-W",
        "title": "Domestic water",
        "commodity": "water",
        "currency": CURRENCY,
        "price": "130.00",
        "purchase": {"minimum": "20.00", "maximum": "50000.00"},
    },
    {
        "tariff": "DOM-G",
        "title": "Domestic gas",
        "commodity": "gas",
        "currency": CURRENCY,
        "price": "95.00",
        "tax": {"name": "VAT", "percent": "16"},
        "purchase": {"minimum": "20.00", "maximum": "50000.00"},
    },
)
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
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADINGS)
        for home in self.homes:
            writer.writerow(_row(home, installed_on))
        return text.getvalue()

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


def _row(home: Home, installed_on: date) -> list[str]:
    by_token = home.credit_mode == "meter"
    area = _AREAS[home.index % len(_AREAS)]
    return [
        home.number,
        home.commodity.value,
        home.credit_mode,
        f"C-{home.index + 1:05d}",
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
    )

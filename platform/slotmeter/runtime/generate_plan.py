"""What a generated utility is made of: who buys when for how much, all from one seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slotmeter.units import DAY_US, HOUR_US
from slotmeter.vending.sts import VendingKey

__all__ = ["Plan", "Schedule", "Seller", "schedule", "vending_key"]

SGC: Final = "600727"
KRN: Final = 1
KEY_BYTES: Final = 20
TENDERS: Final = (25_000, 30_000, 50_000, 50_000, 75_000, 100_000, 100_000, 150_000, 200_000)
"""Minor units; each pays a month's charge and leaves something for energy."""

ROUND_DAYS: Final = 30
"""Everybody buys once in so many days."""

OPEN_HOURS: Final = (6, 22)
IDS_PER_SALE: Final = 64
"""Ids that are set aside for the rows of one sale."""

ONLINE_EVERY: Final = 50
"""One meter in so many got a radio when the past was over: its next token is sent to it."""

INDEBTED_EVERY: Final = 20
"""One household in so many has debts."""

DEBTS_EACH: Final = 2
IDS_PER_DEBT: Final = 16
DEBTS_PER_GROUP: Final = 1_000
"""So many debts share a group of the audit."""

ENTRY_ROWS: Final = 1_000
GROUP_ENTRIES: Final = 100
"""How rows of households are sealed: so many in an entry, so many of these in a group."""


@dataclass(frozen=True, slots=True)
class Seller:
    """A till of a branch."""

    principal_id: int
    branch_id: int
    name: str
    branch_code: str
    branch_name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the rows follow from.

    Args:
        end_us: the last sale is before this, UTC epoch microseconds; the start of a local day.
        utility_id, currency, time_zone, utility_name, utility_address, tax_number: of the utility.
        tariff_id, tariff_version_id, tariff_body, tariff_since_us: what everything is sold by.
        key_id: of the vending key, see :func:`vending_key`.
        accounts: id of each ledger account that a sale may move, by code.
        first_id: of the rows of the first household.
    """

    seed: int
    meters: int
    sales: int
    utility_id: int
    currency: str
    time_zone: str
    utility_name: str
    utility_address: str
    tax_number: str
    tariff_id: int
    tariff_version_id: int
    tariff_body: str
    tariff_since_us: int
    end_us: int
    key_id: str
    sellers: tuple[Seller, ...]
    accounts: dict[str, int]
    first_id: int

    @property
    def rounds(self) -> int:
        """How often everybody buys; the last time perhaps not everybody."""
        return max(1, -(-self.sales // self.meters))

    @property
    def start_us(self) -> int:
        """Return the start of the first day with a sale."""
        return self.end_us - self.rounds * ROUND_DAYS * DAY_US

    def household_id(self, index: int, part: int) -> int:
        """Return the id of a row of a household.

        Args:
            index: of the household.
            part: 0 customer, 1 account, 2 supply point, 3 meter, 4 installation.
        """
        return self.first_id + index * len(HOUSEHOLD) + part

    @property
    def first_entry_id(self) -> int:
        """The first id of the audit's entries of households."""
        return self.first_id + self.meters * len(HOUSEHOLD)

    @property
    def entries_per_table(self) -> int:
        """How many entries of the audit seal one table of the households."""
        return -(-self.meters // ENTRY_ROWS)

    @property
    def household_groups(self) -> int:
        """How many groups of the audit hold these entries and those of debts."""
        tables = len(HOUSEHOLD) * -(-self.entries_per_table // GROUP_ENTRIES)
        return tables + -(-self.debts // DEBTS_PER_GROUP)

    @property
    def debts(self) -> int:
        """How many debts there are."""
        return -(-self.meters // INDEBTED_EVERY) * DEBTS_EACH

    @property
    def first_debt_id(self) -> int:
        """The first id of the first debt."""
        return self.first_entry_id + len(HOUSEHOLD) * self.entries_per_table

    @property
    def first_device_id(self) -> int:
        """The first id of a device."""
        return self.first_debt_id + self.debts * IDS_PER_DEBT

    @property
    def first_sale_id(self) -> int:
        """The first id of the first sale."""
        return self.first_device_id + -(-self.meters // ONLINE_EVERY)

    @property
    def next_id(self) -> int:
        """The first id that is not given."""
        return self.first_sale_id + self.sales * IDS_PER_SALE


HOUSEHOLD: Final = ("customer", "account", "supply_point", "meter", "installation")


def vending_key(seed: int) -> VendingKey:
    """Return the key of a generated utility: it follows from the seed, so that anybody knows it."""
    material = hashlib.sha256(f"slotmeter generated utility {seed}".encode()).digest()
    return VendingKey(key=material[:KEY_BYTES], sgc=SGC, krn=KRN, kt=2, dkga="04", base_date=2014)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every sale in the order of time, a column each."""

    at_us: NDArray[np.int64]
    household: NDArray[np.int32]
    seller: NDArray[np.int16]
    tender_minor: NDArray[np.int32]
    rnd: NDArray[np.int8]


def schedule(plan: Plan) -> Schedule:
    """Draw who buys when, where and for how much."""
    draw = np.random.Generator(np.random.PCG64(plan.seed))
    times, households = [], []
    left = plan.sales
    first, last = OPEN_HOURS
    for number in range(plan.rounds):
        count = min(left, plan.meters)
        who = draw.permutation(plan.meters)[:count].astype(np.int32)
        days = draw.integers(0, ROUND_DAYS, count)
        of_day = draw.triangular(first, (first + last) // 2, last, count) * HOUR_US
        start_us = plan.start_us + number * ROUND_DAYS * DAY_US
        times.append(start_us + days * DAY_US + of_day.astype(np.int64))
        households.append(who)
        left -= count
    at_us, who = np.concatenate(times), np.concatenate(households)
    order = np.argsort(at_us, kind="stable")
    return Schedule(
        at_us=at_us[order],
        household=who[order],
        seller=draw.integers(0, len(plan.sellers), plan.sales).astype(np.int16),
        tender_minor=draw.choice(np.array(TENDERS, dtype=np.int32), plan.sales),
        rnd=draw.integers(0, 16, plan.sales).astype(np.int8),
    )

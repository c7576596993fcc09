"""What a seller earns by selling: a plan as data, and what sales earn by it.

A plan has up to three parts that add up: a percentage of what was tendered (on a sliding scale, if
there are bands), an amount for each unit sold, an amount for each sale. Amounts are exact until the
end and rounded once, half away from zero, to the smallest coin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, Self

from slotmeter.units import Commodity, commodity_quantity

__all__ = ["Band", "CommissionPlan", "Sold", "When", "earned"]

PERCENT: Final = 100


class When(StrEnum):
    """When a commission is booked."""

    SALE = "sale"  # with each sale, from its own tender
    SETTLEMENT = "settlement"  # for a time, from all sales of it


@dataclass(frozen=True, slots=True)
class Band:
    """Of a tender, the part from here on earns this percentage, until the next band begins.

    ``percent`` is text, as it was written.
    """

    from_minor: int
    percent: str


@dataclass(frozen=True, slots=True)
class CommissionPlan:
    """How a seller is paid.

    Args:
        when: with each sale, or settled for a time.
        bands: percentages of the tender, the first from 0; empty for none.
        per_unit: major units for each kWh or m³ by commodity, as text.
        per_sale_minor: for each sale.
    """

    when: When
    bands: tuple[Band, ...] = ()
    per_unit: Mapping[str, str] = field(default_factory=dict)
    per_sale_minor: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; :meth:`from_dict` reads it."""
        return {
            "when": self.when.value,
            "bands": [[band.from_minor, band.percent] for band in self.bands],
            "per_unit": dict(self.per_unit),
            "per_sale_minor": self.per_sale_minor,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`."""
        bands = tuple(Band(*band) for band in data["bands"])
        return cls(When(data["when"]), bands, dict(data["per_unit"]), data["per_sale_minor"])


@dataclass(frozen=True, slots=True)
class Sold:
    """Sales of one commodity: how many, for how much, how much of it (Wh or mL).

    Sales that were taken back count against these, so that all three may be negative.
    """

    commodity: Commodity
    sales: int
    tender_minor: int
    units: int


def _of_tender(bands: Sequence[Band], tender_minor: int) -> Fraction:
    if tender_minor < 0:
        return -_of_tender(bands, -tender_minor)
    total = Fraction(0)
    for at, band in enumerate(bands):
        end = bands[at + 1].from_minor if at + 1 < len(bands) else tender_minor
        part = min(tender_minor, end) - band.from_minor
        if part > 0:
            total += part * Fraction(Decimal(band.percent)) / PERCENT
    return total


def earned(plan: CommissionPlan, sold: Sequence[Sold], minor_per_major: int) -> int:
    """Return what sales earn, in minor units.

    Args:
        plan: how the seller is paid.
        sold: one sale, or all sales of a time by commodity.
        minor_per_major: how many of the smallest coin make one of the currency.
    """
    total = _of_tender(plan.bands, sum(each.tender_minor for each in sold))
    for each in sold:
        total += plan.per_sale_minor * each.sales
        price = Fraction(Decimal(plan.per_unit.get(each.commodity.value, "0")))
        per_sold_unit = commodity_quantity(each.commodity).per_sold_unit
        total += price * minor_per_major * Fraction(each.units, per_sold_unit)
    half = Fraction(1, 2)
    return -int(-total + half) if total < 0 else int(total + half)

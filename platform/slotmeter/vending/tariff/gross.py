"""Percentages of an amount that has them in it: a tax within its own base.

A tax of 18 % of the gross takes 18 of each 100 that are paid, so that 82 without it are 100 with
it. Percentages of the gross that are taken of the same bases share one gross: what is paid is the
amount without them, divided by one less all their percentages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from slotmeter.vending.tariff.model import PercentItem

__all__ = ["ALL", "gross_factors", "together"]

ALL: Final = Decimal(100)


def together(items: Iterable[PercentItem]) -> Mapping[object, Decimal]:
    """Return the sum of percentages that share a gross, by what they share."""
    sums: dict[object, Decimal] = {}
    for item in items:
        if item.of_gross:
            sums[item.shares] = sums.get(item.shares, Decimal(0)) + item.percent
    return sums


def gross_factors(items: Sequence[PercentItem]) -> list[Fraction]:
    """Return what the gross is of one unit of money of each percentage's bases; 1 without gross.

    Args:
        items: that apply together.
    """
    sums = together(items)
    factors = []
    for item in items:
        inside = Fraction(sums[item.shares] / ALL) if item.of_gross else Fraction(0)
        # Where nothing would be left, the tariff is refused elsewhere.
        factors.append(1 / (1 - inside) if inside < 1 else Fraction(1))
    return factors

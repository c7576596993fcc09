"""Division of integers by the rounding rules of a tariff; fractions never leave the numerator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from slotmeter.units import Rounding

__all__ = ["DIVIDE", "Division"]

Division = Callable[[int, int], int]
"""Divides its first argument by its second, which is above zero, and rounds."""


def _half_up(numerator: int, denominator: int) -> int:
    if numerator < 0:
        return -((denominator - 2 * numerator) // (2 * denominator))
    return (2 * numerator + denominator) // (2 * denominator)


def _half_even(numerator: int, denominator: int) -> int:
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + (twice > denominator or (twice == denominator and whole % 2))


def _down(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator) if numerator < 0 else numerator // denominator


def _ceiling(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _floor(numerator: int, denominator: int) -> int:
    return numerator // denominator


DIVIDE: Final[Mapping[Rounding, Division]] = {
    Rounding.HALF_UP: _half_up,
    Rounding.HALF_EVEN: _half_even,
    Rounding.DOWN: _down,
    Rounding.CEILING: _ceiling,
    Rounding.FLOOR: _floor,
}
"""The division for each rule; the same rules as :func:`slotmeter.units.round_to_int`."""

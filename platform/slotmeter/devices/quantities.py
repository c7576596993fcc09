"""Quantities that only devices report, and units as makers of meters write them.

A protocol sheet says "volume, in 10 L" or "0.01 kWh"; :func:`measure` turns such words into an
exact factor to the base unit, so that nobody multiplies by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import ClassVar, Final

from slotmeter.units import QUANTITIES, Quantity

__all__ = [
    "CODE",
    "FLAG",
    "MINOR",
    "ApparentPower",
    "Frequency",
    "Measure",
    "Opening",
    "PowerFactor",
    "ReactivePower",
    "SignalRatio",
    "measure",
]

FLAG: Final = "flag"
"""Unit of a register that says no (0) or yes (1)."""

CODE: Final = "code"
"""Unit of a register whose integers are names of something, not amounts."""

MINOR: Final = "minor"
"""Unit of credit in money: the smallest unit of the utility's currency."""


@dataclass(frozen=True, slots=True)
class ReactivePower(Quantity):
    """Reactive power in var."""

    symbol: ClassVar[str] = "var"
    sold_symbol: ClassVar[str] = "kvar"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class ApparentPower(Quantity):
    """Apparent power in VA."""

    symbol: ClassVar[str] = "VA"
    sold_symbol: ClassVar[str] = "kVA"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Frequency(Quantity):
    """Frequency of the grid in mHz."""

    symbol: ClassVar[str] = "mHz"
    sold_symbol: ClassVar[str] = "Hz"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class PowerFactor(Quantity):
    """Active by apparent power in thousandths; negative while energy is fed in."""

    symbol: ClassVar[str] = "‰"
    sold_symbol: ClassVar[str] = "1"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Opening(Quantity):
    """How far a valve is open, in percent."""

    symbol: ClassVar[str] = "%"
    sold_symbol: ClassVar[str] = "%"


@dataclass(frozen=True, slots=True)
class SignalRatio(Quantity):
    """Signal to noise, in hundredths of a decibel (millibel)."""

    symbol: ClassVar[str] = "mB"
    sold_symbol: ClassVar[str] = "dB"
    per_sold_unit: ClassVar[int] = 100


@dataclass(frozen=True, slots=True)
class Measure:
    """What one count of a meter stands for.

    Args:
        base: symbol of the base unit that results, as "Wh".
        factor: base units in one count.
        zero: base units that a count of 0 stands for; not 0 for degrees Celsius only.
    """

    base: str
    factor: Fraction
    zero: int = 0

    def amount(self, count: int | Fraction) -> int:
        """Return a number of counts in base units; a fraction is cut off towards zero."""
        return int(count * self.factor + self.zero)

    @property
    def resolution(self) -> int:
        """How many base units one count is, at least 1."""
        return max(1, int(self.factor))


_KELVIN_OF_0_C: Final = 273_150  # mK, by the definition of the degree Celsius

_MAKERS: Final[Mapping[str, tuple[str, int | Fraction, int]]] = {
    # as makers write it: base unit, base units in one, base units at zero
    "MWh": ("Wh", 1_000_000, 0),
    "J": ("Wh", Fraction(1, 3_600), 0),
    "MJ": ("Wh", Fraction(1_000_000, 3_600), 0),
    "Mvarh": ("varh", 1_000_000, 0),
    "MW": ("W", 1_000_000, 0),
    "m3": ("mL", 1_000_000, 0),
    "dm³": ("mL", 1_000, 0),
    "dm3": ("mL", 1_000, 0),
    "L": ("mL", 1_000, 0),
    "l": ("mL", 1_000, 0),
    "hL": ("mL", 100_000, 0),
    "ft³": ("mL", Fraction("28316.846592"), 0),  # the international foot, 0.3048 m
    "ft3": ("mL", Fraction("28316.846592"), 0),
    "gal": ("mL", Fraction("3785.411784"), 0),  # of the United States, 231 cubic inches
    "l/h": ("mL/h", 1_000, 0),
    "L/min": ("mL/h", 60_000, 0),
    "L/s": ("mL/h", 3_600_000, 0),
    "m³/h": ("mL/h", 1_000_000, 0),
    "m3/h": ("mL/h", 1_000_000, 0),
    "hPa": ("Pa", 100, 0),
    "mbar": ("Pa", 100, 0),
    "bar": ("Pa", 100_000, 0),
    "°C": ("mK", 1_000, _KELVIN_OF_0_C),
    FLAG: (FLAG, 1, 0),
    CODE: (CODE, 1, 0),
    MINOR: (MINOR, 1, 0),
}

_OWN: Final = (ReactivePower, ApparentPower, Frequency, PowerFactor, Opening, SignalRatio)

_SYMBOLS: Final[Mapping[str, tuple[str, int | Fraction, int]]] = MappingProxyType(
    {
        **{kind.sold_symbol: (kind.symbol, kind.per_sold_unit, 0) for kind in QUANTITIES.values()},
        **{kind.symbol: (kind.symbol, 1, 0) for kind in QUANTITIES.values()},
        **{kind.sold_symbol: (kind.symbol, kind.per_sold_unit, 0) for kind in _OWN},
        **{kind.symbol: (kind.symbol, 1, 0) for kind in _OWN},
        **_MAKERS,
    }
)


@cache
def measure(text: str) -> Measure:
    """Return what a maker's unit stands for.

    Args:
        text: a unit, with what one count is of it in front if that is not 1: ``"Wh"``,
            ``"0.01 kWh"``, ``"10 L"``, ``"1/1600 kWh"``, ``"0.5 °C"``.

    Raises:
        ValueError: the unit is not known, or what stands in front is not a positive number.
    """
    number, _, symbol = text.rpartition(" ")
    known = _SYMBOLS.get(symbol)
    if known is None:
        raise ValueError(
            f"{text!r} is not a unit that is known here; expected one such as 'Wh', '0.01 kWh' or "
            f"'10 L', with a unit of {', '.join(sorted(_SYMBOLS))}"
        )
    try:
        count = Fraction(number) if number else Fraction(1)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{text!r}: expected a number before the unit, got {number!r}") from error
    if count <= 0:
        raise ValueError(f"{text!r}: expected a number above 0 before the unit")
    base, factor, zero = known
    return Measure(base, count * factor, zero)

"""Exact values: money in minor units, energy in Wh, volume in mL, and all else that meters report.

Every unit is a type of its own, so that adding energy to volume fails in the type checker and at
run time. All amounts are integers: sums stay exact in SQL, in Python and in every store. Prices are
``Decimal``. Binary floating point does not occur here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
)
from enum import StrEnum
from typing import ClassVar, Final, Self

from slotmeter.errors import Refused

__all__ = [
    "CURRENCY_EXPONENTS",
    "DAY_US",
    "HOUR_US",
    "MINUTE_US",
    "QUANTITIES",
    "SECOND_US",
    "Apparent",
    "BatteryLevel",
    "Commodity",
    "Current",
    "Energy",
    "Flow",
    "Money",
    "Power",
    "Pressure",
    "Price",
    "Quantity",
    "Reactive",
    "Rounding",
    "SignalStrength",
    "Temperature",
    "Voltage",
    "Volume",
    "commodity_quantity",
    "epoch_us",
    "instant",
    "iso_utc",
    "parse_money",
    "round_to_int",
    "whole_or_none",
]

SECOND_US: Final = 1_000_000
"""Lengths of time in microseconds, the unit in which the database keeps times."""

MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US

_EXACT = Context(prec=60, traps=[InvalidOperation])


class Commodity(StrEnum):
    """What is sold."""

    ELECTRICITY = "electricity"
    WATER = "water"
    GAS = "gas"


class Rounding(StrEnum):
    """Where a fraction goes; the name is data in a tariff."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    DOWN = "down"
    CEILING = "ceiling"
    FLOOR = "floor"


_DECIMAL_ROUNDING = {
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
    Rounding.DOWN: ROUND_DOWN,
    Rounding.CEILING: ROUND_CEILING,
    Rounding.FLOOR: ROUND_FLOOR,
}


def round_to_int(value: Decimal, rounding: Rounding) -> int:
    """Round an exact decimal to an integer by a named rule."""
    return int(value.to_integral_value(rounding=_DECIMAL_ROUNDING[rounding]))


_NO_DECIMALS = (
    *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW"),
    *("PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"),
)
_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")

CURRENCY_EXPONENTS: dict[str, int] = {
    **dict.fromkeys(_NO_DECIMALS, 0),
    **dict.fromkeys(_THREE_DECIMALS, 3),
}
"""Decimals of ISO 4217 currencies that differ from the usual two."""


def _exponent(currency: str) -> int:
    return CURRENCY_EXPONENTS.get(currency, 2)


def _with_point(number: int, decimals: int) -> str:
    # Digits, not a Decimal: amounts are written many times for each sale.
    digits = str(number).zfill(decimals + 1 + (number < 0))
    return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An exact amount of one currency.

    Args:
        minor: integer count of the currency's smallest unit (cents; for JPY the yen itself).
        currency: ISO 4217 code in capitals.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        """Refuse anything but an integer and a three-letter code."""
        if type(self.minor) is not int:
            raise TypeError(f"Money counts integer minor units, got {type(self.minor).__name__}")
        if len(self.currency) != 3 or not self.currency.isascii() or not self.currency.isupper():
            raise ValueError(f"expected an ISO 4217 code in capitals, got {self.currency!r}")

    @property
    def exponent(self) -> int:
        """How many decimals the currency has."""
        return _exponent(self.currency)

    def _same(self, other: Money) -> int:
        if not isinstance(other, Money):
            raise TypeError(f"Money and {type(other).__name__} do not mix")
        if other.currency != self.currency:
            raise TypeError(f"{self.currency} and {other.currency} do not mix")
        return other.minor

    def __add__(self, other: Money) -> Money:
        """Add an amount of the same currency."""
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        """Subtract an amount of the same currency."""
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        """Return the amount owed the other way."""
        return Money(-self.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        """Compare amounts of the same currency."""
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        """Compare amounts of the same currency."""
        return self.minor <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        """Compare amounts of the same currency."""
        return self.minor > self._same(other)

    def __ge__(self, other: Money) -> bool:
        """Compare amounts of the same currency."""
        return self.minor >= self._same(other)

    def __bool__(self) -> bool:
        """Say whether there is any money."""
        return self.minor != 0

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, exact."""
        return Decimal(self.minor).scaleb(-self.exponent)

    def __str__(self) -> str:
        """Write the amount in major units with all its decimals, as ``12.50``."""
        return _with_point(self.minor, _exponent(self.currency))


def parse_money(text: str, currency: str, field: str = "tendered") -> Money:
    """Read an amount in major units written by a person or a program.

    Args:
        text: digits with an optional point, at most the currency's decimals, as ``"100.50"``.
        currency: ISO 4217 code.
        field: the name of the input, for the error.

    Raises:
        Refused: ``amount_malformed``, ``amount_too_precise`` or ``amount_too_large``.
    """
    digits = text.removeprefix("-")
    whole, point, fraction = digits.partition(".")
    plain = digits.isascii() and whole.isdigit() and (fraction.isdigit() if point else True)
    if not plain:
        raise Refused(
            "amount_malformed",
            "expected an amount such as 100 or 100.50: digits and at most one point",
            field=field,
        )
    exponent = _exponent(currency)
    if len(fraction.rstrip("0")) > exponent:
        raise Refused(
            "amount_too_precise",
            f"{currency} has {exponent} decimals, got {len(fraction)}",
            field=field,
        )
    if len(whole) > 12:
        raise Refused(
            "amount_too_large", "expected at most 12 digits before the point", field=field
        )
    minor = int(whole + fraction.rstrip("0").ljust(exponent, "0"))
    return Money(-minor if text.startswith("-") else minor, currency)


@dataclass(frozen=True, slots=True)
class Price:
    """A price per kWh or per cubic metre.

    Args:
        per_unit: exact major units of the currency per kWh (electricity) or m³ (water, gas).
        currency: ISO 4217 code.
    """

    per_unit: Decimal
    currency: str

    def __post_init__(self) -> None:
        """Refuse binary floats and negative prices."""
        if not isinstance(self.per_unit, Decimal):
            raise TypeError(f"a price is a Decimal, got {type(self.per_unit).__name__}")
        if not self.per_unit.is_finite() or self.per_unit < 0:
            raise ValueError("a price is finite and not negative")

    def minor_for(self, quantity: Quantity) -> Decimal:
        """Return the exact, unrounded cost of a quantity in minor units."""
        scale = Decimal(10) ** _exponent(self.currency)
        return _EXACT.divide(
            _EXACT.multiply(_EXACT.multiply(self.per_unit, Decimal(quantity.amount)), scale),
            Decimal(quantity.per_sold_unit),
        )

    def amount_for(self, minor: int, quantity: type[Quantity]) -> Decimal:
        """Return the exact, unrounded amount of base units that ``minor`` minor units buy."""
        if not self.per_unit:
            raise ZeroDivisionError("a price of zero buys no finite quantity")
        scale = Decimal(10) ** _exponent(self.currency)
        return _EXACT.divide(
            Decimal(minor) * quantity.per_sold_unit, _EXACT.multiply(self.per_unit, scale)
        )


@dataclass(frozen=True, slots=True)
class Quantity:
    """An integer amount of one base unit; see the subclasses.

    ``per_sold_unit``, a power of ten, is how many make the unit that people read (1,000 for kWh).
    """

    amount: int

    symbol: ClassVar[str] = ""
    sold_symbol: ClassVar[str] = ""
    per_sold_unit: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse anything but an integer."""
        if type(self.amount) is not int:
            name = type(self).__name__
            raise TypeError(
                f"{name} counts integer {self.symbol}, got {type(self.amount).__name__}"
            )

    def _same(self, other: Quantity) -> int:
        if type(other) is not type(self):
            raise TypeError(f"{type(self).__name__} and {type(other).__name__} do not mix")
        return other.amount

    def __add__(self, other: Self) -> Self:
        """Add an amount of the same unit."""
        return type(self)(self.amount + self._same(other))

    def __sub__(self, other: Self) -> Self:
        """Subtract an amount of the same unit."""
        return type(self)(self.amount - self._same(other))

    def __lt__(self, other: Self) -> bool:
        """Compare amounts of the same unit."""
        return self.amount < self._same(other)

    def __le__(self, other: Self) -> bool:
        """Compare amounts of the same unit."""
        return self.amount <= self._same(other)

    def __gt__(self, other: Self) -> bool:
        """Compare amounts of the same unit."""
        return self.amount > self._same(other)

    def __ge__(self, other: Self) -> bool:
        """Compare amounts of the same unit."""
        return self.amount >= self._same(other)

    @property
    def sold(self) -> Decimal:
        """The amount in the unit that people read (kWh, m³), exact."""
        return Decimal(self.amount) / Decimal(self.per_sold_unit)

    @property
    def sold_text(self) -> str:
        """The amount in the unit that people read, exact, with at least one decimal: ``5.0``."""
        text = _with_point(self.amount, len(str(self.per_sold_unit)) - 1)
        whole, point, fraction = text.partition(".")
        return f"{whole}.{fraction.rstrip('0') or '0'}" if point else whole

    def __str__(self) -> str:
        """Write the amount in the unit that people read."""
        return f"{self.sold_text} {self.sold_symbol}"

    @classmethod
    def from_sold(cls, value: Decimal) -> Self:
        """Make a quantity from the unit that people read, cut towards zero at the base unit."""
        return cls(int(value * cls.per_sold_unit))


@dataclass(frozen=True, slots=True)
class Energy(Quantity):
    """Active energy in Wh; also the energy content of gas."""

    symbol: ClassVar[str] = "Wh"
    sold_symbol: ClassVar[str] = "kWh"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Volume(Quantity):
    """Volume of water or gas in mL."""

    symbol: ClassVar[str] = "mL"
    sold_symbol: ClassVar[str] = "m³"
    per_sold_unit: ClassVar[int] = 1_000_000


@dataclass(frozen=True, slots=True)
class Reactive(Quantity):
    """Reactive energy in varh."""

    symbol: ClassVar[str] = "varh"
    sold_symbol: ClassVar[str] = "kvarh"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Apparent(Quantity):
    """Apparent energy in VAh."""

    symbol: ClassVar[str] = "VAh"
    sold_symbol: ClassVar[str] = "kVAh"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Power(Quantity):
    """Active power in W."""

    symbol: ClassVar[str] = "W"
    sold_symbol: ClassVar[str] = "kW"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Flow(Quantity):
    """Flow in mL/h."""

    symbol: ClassVar[str] = "mL/h"
    sold_symbol: ClassVar[str] = "L/h"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Voltage(Quantity):
    """Voltage in mV."""

    symbol: ClassVar[str] = "mV"
    sold_symbol: ClassVar[str] = "V"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Current(Quantity):
    """Current in mA."""

    symbol: ClassVar[str] = "mA"
    sold_symbol: ClassVar[str] = "A"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Pressure(Quantity):
    """Pressure in Pa."""

    symbol: ClassVar[str] = "Pa"
    sold_symbol: ClassVar[str] = "kPa"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class Temperature(Quantity):
    """Absolute temperature in mK."""

    symbol: ClassVar[str] = "mK"
    sold_symbol: ClassVar[str] = "K"
    per_sold_unit: ClassVar[int] = 1_000


@dataclass(frozen=True, slots=True)
class BatteryLevel(Quantity):
    """Battery level in percent."""

    symbol: ClassVar[str] = "%"
    sold_symbol: ClassVar[str] = "%"


@dataclass(frozen=True, slots=True)
class SignalStrength(Quantity):
    """Received signal strength in dBm."""

    symbol: ClassVar[str] = "dBm"
    sold_symbol: ClassVar[str] = "dBm"


QUANTITIES: dict[str, type[Quantity]] = {
    kind.symbol: kind
    for kind in (
        Energy,
        Volume,
        Reactive,
        Apparent,
        Power,
        Flow,
        Voltage,
        Current,
        Pressure,
        Temperature,
        BatteryLevel,
        SignalStrength,
    )
}
"""Every base unit by its symbol."""


def commodity_quantity(commodity: Commodity) -> type[Quantity]:
    """Return what a commodity is measured and sold in: energy for electricity, else volume."""
    return Energy if commodity is Commodity.ELECTRICITY else Volume


def whole_or_none(value: Decimal) -> int | None:
    """Return the integer a decimal stands for, or None when it has a fraction."""
    try:
        return int(value.to_integral_exact(context=Context(traps=[Inexact])))
    except Inexact:
        return None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_PLAIN = _EPOCH.replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)


def epoch_us(at: datetime) -> int:
    """Return an aware time as UTC epoch microseconds, exact."""
    return (at - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """Return UTC epoch microseconds as an aware time, exact."""
    return _EPOCH + us * _MICROSECOND


def iso_utc(us: int) -> str:
    """Write UTC epoch microseconds as ISO 8601 with ``Z`` and six decimals."""
    text = (_EPOCH_PLAIN + us * _MICROSECOND).isoformat()
    return f"{text}Z" if len(text) > 19 else f"{text}.000000Z"  # four times as fast as a timespec

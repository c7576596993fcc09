"""Amount coding: how credit and limits are squeezed into 16 or 20 bits, rounded for the customer.

::

    16 bits = exponent(2) mantissa(14)          credit subclass 0-3, power limits
    20 bits = sign(1) exponent(5) mantissa(14)  currency credit, unit 0.00001 of the currency
    value   = 10^e * m + 16384 * (10^e - 1) / 9

Each exponent covers a band of values that begins where the one before ends.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Final

from slotmeter.errors import Refused

__all__ = [
    "CURRENCY_E5_MAX",
    "UNITS_MAX",
    "currency_e5_of",
    "decode_currency",
    "decode_units",
    "encode_currency",
    "encode_units",
    "units_of",
]

_MANTISSA_BITS: Final = 14
_MANTISSA_MAX: Final = (1 << _MANTISSA_BITS) - 1
_UNIT_EXPONENTS: Final = 4
_CURRENCY_EXPONENTS: Final = 32
_SIGN_BIT: Final = 1 << 19
_CURRENCY_UNITS: Final = 100_000

_STEPS: Final[tuple[int, ...]] = tuple(10**e for e in range(_CURRENCY_EXPONENTS))
_OFFSETS: Final[tuple[int, ...]] = tuple((1 << _MANTISSA_BITS) * (step - 1) // 9 for step in _STEPS)


def _largest(exponents: int) -> int:
    return _OFFSETS[exponents - 1] + _STEPS[exponents - 1] * _MANTISSA_MAX


UNITS_MAX: Final = _largest(_UNIT_EXPONENTS)
"""Largest value of the 16-bit field: 18 201 624 token units."""
CURRENCY_E5_MAX: Final = _largest(_CURRENCY_EXPONENTS)
"""Largest magnitude of the 20-bit field, in 0.00001 of the currency."""


def encode_units(units: int) -> int:
    """Return the 16-bit field of the smallest codable value that is at least ``units``.

    Raises:
        Refused: ``amount_negative`` or ``amount_too_large``.
    """
    if 0 <= units <= _MANTISSA_MAX:
        return units
    if units < 0:
        raise Refused("amount_negative", f"an amount must not be negative, got {units}")
    for e in range(1, _UNIT_EXPONENTS):
        # Ceiling division; 0 when the value lies in the gap just below this band.
        mantissa = max(0, -((_OFFSETS[e] - units) // _STEPS[e]))
        if mantissa <= _MANTISSA_MAX:
            return e << _MANTISSA_BITS | mantissa
    raise Refused("amount_too_large", f"one token carries at most {UNITS_MAX} units, got {units}")


def decode_units(field: int) -> int:
    """Return the value of a 16-bit field in token units."""
    e = field >> _MANTISSA_BITS
    return _OFFSETS[e] + _STEPS[e] * (field & _MANTISSA_MAX)


def units_of(quantity: Decimal) -> int:
    """Return the tenths in a quantity of kWh, m3 or minutes, rounded up.

    Raises:
        Refused: ``amount_negative`` or ``amount_not_finite``.
    """
    if not quantity.is_finite():
        raise Refused("amount_not_finite", "an amount must be a finite number")
    if quantity < 0:
        raise Refused("amount_negative", f"an amount must not be negative, got {quantity}")
    numerator, denominator = quantity.as_integer_ratio()
    return -(-numerator * 10 // denominator)


def encode_currency(amount_e5: int | Fraction) -> int:
    """Return the 20-bit field of an amount, rounded for the customer.

    Credit is rounded up; a debit (negative amount) is rounded towards zero.

    Args:
        amount_e5: in 0.00001 of the currency, exact.

    Raises:
        Refused: ``amount_too_large``.
    """
    numerator, denominator = amount_e5.numerator, amount_e5.denominator
    negative = numerator < 0
    magnitude = abs(numerator)
    for e, (offset, step) in enumerate(zip(_OFFSETS, _STEPS, strict=True)):
        excess, unit = magnitude - offset * denominator, step * denominator
        mantissa = max(0, excess // unit if negative else -(-excess // unit))
        if mantissa <= _MANTISSA_MAX:
            field = e << _MANTISSA_BITS | mantissa
            return field | _SIGN_BIT if negative and field else field
    raise Refused(
        "amount_too_large",
        f"one token carries at most {CURRENCY_E5_MAX} hundred-thousandths of the currency",
    )


def decode_currency(field: int) -> int:
    """Return the value of a 20-bit field in 0.00001 of the currency."""
    e = field >> _MANTISSA_BITS & (_CURRENCY_EXPONENTS - 1)
    value = _OFFSETS[e] + _STEPS[e] * (field & _MANTISSA_MAX)
    return -value if field & _SIGN_BIT else value


def currency_e5_of(amount: Decimal) -> Fraction:
    """Return an amount of currency as an exact number of 0.00001.

    Raises:
        Refused: ``amount_not_finite``.
    """
    if not amount.is_finite():
        raise Refused("amount_not_finite", "an amount must be a finite number")
    return Fraction(amount) * _CURRENCY_UNITS

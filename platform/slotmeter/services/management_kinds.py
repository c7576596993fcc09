"""The tokens that manage a meter (IEC 62055-41, classes 1 and 2), by the names people use; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from slotmeter.errors import Refused
from slotmeter.vending.sts import TokenRequest, drn_of_pan

__all__ = ["ALL_REGISTERS", "KINDS", "Kind", "management_request"]

ALL_REGISTERS: Final = 0xFFFF
WATTS_MAX: Final = 18_201_624
RAW_MAX: Final = 0xFFFF
TESTS_MAX: Final = 18
_FLAGS_MAX: Final = 511
_ANY: Final = frozenset({"electricity", "water", "gas"})
_POWER: Final = frozenset({"electricity"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of token.

    Args:
        subclass: of class 2; None for a test or display token of class 1.
        what: what its value means; empty when it has none.
        low: smallest value.
        high: largest value.
        default: value if none is given; None needs one.
        commodities: meters that it is for.
    """

    subclass: int | None
    what: str = ""
    low: int = 0
    high: int = 0
    default: int | None = 0
    commodities: frozenset[str] = _ANY


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "clear_credit": Kind(
            1, "register: 0 to 7, 65535 all of them", high=RAW_MAX, default=ALL_REGISTERS
        ),
        "clear_tamper": Kind(5),
        "power_limit": Kind(0, "W", high=WATTS_MAX, default=None, commodities=_POWER),
        "tariff_rate": Kind(2, "16 bits, as the meter's maker says", high=RAW_MAX, default=None),
        "phase_unbalance": Kind(6, "W", high=WATTS_MAX, default=None, commodities=_POWER),
        "water_factor": Kind(
            7,
            "16 bits, as the meter's maker says",
            high=RAW_MAX,
            default=None,
            commodities=frozenset({"water"}),
        ),
        "flag": Kind(10, "2 x index + 0 or 1", high=2 * _FLAGS_MAX + 1, default=None),
        "test_display": Kind(None, "test: 1 to 18, 0 all of them", high=TESTS_MAX),
    }
)
"""Every kind that can be asked for."""


def management_request(
    kind: str, value: int | None, *, commodity: str, pan: str, rnd: int
) -> TokenRequest:
    """Return what to make; its identifier is given later.

    Args:
        kind: one of :data:`KINDS`.
        value: see ``Kind.what``.
        commodity: of the meter.
        pan: of the meter: a test token has room for its maker's code of two or four digits.
        rnd: 4 random bits.

    Raises:
        Refused: ``token_kind_unknown``, ``token_kind_does_not_fit``, ``token_value_missing``,
            ``token_value_out_of_range``.
    """
    known = KINDS.get(kind)
    if known is None:
        raise Refused("token_kind_unknown", f"expected one of {', '.join(KINDS)}", field="kind")
    if commodity not in known.commodities:
        raise Refused("token_kind_does_not_fit", f"a {commodity} meter has no {kind}", field="kind")
    number = _value(kind, known, value)
    if known.subclass is None:
        four_digits = len(drn_of_pan(pan)) == 13
        bits = 28 if four_digits else 36
        control = 1 << (number - 1) if number else (1 << bits) - 1
        return TokenRequest.meter_test(control=control, four_digit_code=four_digits)
    if kind == "flag":
        return TokenRequest.set_flag(flag_index=number >> 1, flag_value=number & 1, tid=0, rnd=rnd)
    return TokenRequest.management(known.subclass, value=number, tid=0, rnd=rnd)


def _value(kind: str, known: Kind, value: int | None) -> int:
    number = known.default if value is None else value
    if number is None:
        raise Refused("token_value_missing", f"{kind} needs a value: {known.what}", field="value")
    fits = known.low <= number <= known.high
    if kind == "clear_credit":
        fits = number in range(8) or number == ALL_REGISTERS
    if not fits:
        expected = known.what or "none"
        raise Refused(
            "token_value_out_of_range",
            f"expected a value of {kind} from {known.low} to {known.high} ({expected}), "
            f"got {number}",
            field="value",
        )
    return number

"""Packing fields into the 48-bit body of a token."""

from __future__ import annotations

from typing import Final

from slotmeter.errors import Refused

__all__ = ["PAYLOAD_BITS", "pack", "require_bits", "require_within"]

PAYLOAD_BITS: Final = 44
"""Bits of a body below the subclass."""


def require_bits(name: str, value: int, bits: int) -> None:
    """Refuse a number that does not fit."""
    if not 0 <= value < 1 << bits:
        raise Refused(
            f"bad_{name}", f"{name} must be from 0 to {(1 << bits) - 1}, got {value}", field=name
        )


def require_within(name: str, value: int, low: int, high: int) -> None:
    """Refuse a number outside a range, both ends included."""
    if not low <= value <= high:
        raise Refused(
            f"bad_{name}", f"{name} must be from {low} to {high}, got {value}", field=name
        )


def pack(subclass: int, rnd: int, tid: int, value: int) -> int:
    """Return subclass(4) RND(4) TID(24) value(16).

    Raises:
        Refused: a field does not fit.
    """
    if not (0 <= rnd < 16 and 0 <= tid < 1 << 24 and 0 <= value < 1 << 16):
        require_bits("rnd", rnd, 4)
        require_bits("tid", tid, 24)
        require_bits("value", value, 16)
    return subclass << 44 | rnd << 40 | tid << 16 | value

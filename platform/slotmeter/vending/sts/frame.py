"""66 bits and 20 digits: how an encrypted block and its class become what a customer types.

::

    block   64 bits = subclass(4) fields(44) CRC(16); encrypted for classes 0 and 2
    token   66 bits: the class takes bits 28 and 27, the two bits displaced become bits 65 and 64
"""

from __future__ import annotations

from typing import Final

from slotmeter.errors import Refused

__all__ = ["DIGITS", "TOKEN_MAX", "digits_of", "join_class", "parse_digits", "split_class"]

DIGITS: Final = 20
TOKEN_MAX: Final = (1 << 66) - 1

_CLASS_SHIFT: Final = 27
_CLASS_BITS: Final = 3 << _CLASS_SHIFT
_BLOCK_WITHOUT_CLASS: Final = ((1 << 64) - 1) ^ _CLASS_BITS


def join_class(block: int, token_class: int) -> int:
    """Return the 66-bit token of a 64-bit block and a class."""
    return (
        (block >> _CLASS_SHIFT & 3) << 64
        | block & _BLOCK_WITHOUT_CLASS
        | token_class << _CLASS_SHIFT
    )


def split_class(token: int) -> tuple[int, int]:
    """Return (class, 64-bit block) of a 66-bit token."""
    return (
        token >> _CLASS_SHIFT & 3,
        token & _BLOCK_WITHOUT_CLASS | token >> 64 << _CLASS_SHIFT,
    )


def digits_of(token: int) -> str:
    """Return the 20 digits of a 66-bit token."""
    return f"{token:020d}"


def parse_digits(digits: str) -> int:
    """Return the 66-bit token of exactly 20 digits.

    Raises:
        Refused: ``bad_token_digits``: not 20 digits, or above the largest 66-bit number.
    """
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        raise Refused(
            "bad_token_digits",
            f"a token has {DIGITS} digits, got {len(digits)} characters",
            field="digits",
        )
    token = int(digits)
    if token > TOKEN_MAX:
        raise Refused(
            "bad_token_digits",
            f"no token is above {TOKEN_MAX}; check for a typing error",
            field="digits",
        )
    return token

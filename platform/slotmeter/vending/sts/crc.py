"""The CRC-16 of a token: over class and body, low byte first.

Polynomial x^16 + x^15 + x^2 + 1 in its reflected form A001h, initial value FFFFh, no final XOR. The
input is the 50 bits class(2) body(48), with six zero bits in front, most significant byte first.
Currency tokens (class 0, subclass 4 to 7) append one byte 01h, so that a meter which does not know
them finds a wrong CRC.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import getitem
from typing import Final

__all__ = ["crc_bytes", "crc_field"]

_POLYNOMIAL: Final = 0xA001
_INITIAL: Final = 0xFFFF
_CURRENCY_SUFFIX: Final = 0x01
_BODY_BYTES: Final = 6


def _byte_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        register = value
        for _ in range(8):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
        table.append(register)
    return tuple(table)


_TABLE: Final = _byte_table()


def _register(data: Iterable[int], register: int = _INITIAL) -> int:
    for byte in data:
        register = register >> 8 ^ _TABLE[(register ^ byte) & 0xFF]
    return register


def _swap(register: int) -> int:
    return (register & 0xFF) << 8 | register >> 8


def crc_bytes(data: bytes) -> int:
    """Return the CRC of any bytes, as transmitted (low byte first)."""
    return _swap(_register(data))


def _position_tables(suffix: bytes) -> tuple[tuple[int, ...], ...]:
    """Contribution of each body byte by position: the CRC is linear, so they are XORed."""
    return tuple(
        tuple(
            _swap(_register(bytes([value, *bytes(_BODY_BYTES - 1 - position), *suffix]), 0))
            for value in range(256)
        )
        for position in range(_BODY_BYTES)
    )


def _class_contributions(suffix: bytes) -> tuple[int, ...]:
    zeros = bytes(_BODY_BYTES)
    return tuple(_swap(_register(bytes([value]) + zeros + suffix)) for value in range(4))


def _prepare(suffix: bytes) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    linear = _position_tables(bytes(len(suffix)))
    return _class_contributions(suffix), linear


_CLASS, _BODY = _prepare(b"")
_CLASS_C, _BODY_C = _prepare(bytes([_CURRENCY_SUFFIX]))


def crc_field(token_class: int, body: int) -> int:
    """Return the 16-bit CRC field of a token, as transmitted.

    Args:
        token_class: 0 to 3.
        body: the 48 bits above the CRC.
    """
    if token_class == 0 and body >> 46 == 1:
        constants, tables = _CLASS_C, _BODY_C
    else:
        constants, tables = _CLASS, _BODY
    a, b, c, d, e, f = map(getitem, tables, body.to_bytes(_BODY_BYTES, "big"))
    return constants[token_class] ^ a ^ b ^ c ^ d ^ e ^ f

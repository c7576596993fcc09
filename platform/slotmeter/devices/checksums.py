"""Checks that meters put at the end of a frame.

Names and parameters of the 16-bit ones are those of the catalogue of parametrised CRC algorithms
(Cook, reveng); each test vector is the check value of ``123456789`` given there.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import reduce
from operator import xor
from types import MappingProxyType
from typing import Final

__all__ = ["Checksum", "checksum", "checksum_octets"]


class Checksum(StrEnum):
    """How the check is made."""

    SUM8 = "sum8"  # all octets added, the lowest octet of it
    XOR8 = "xor8"
    CRC16_MODBUS = "crc16_modbus"  # reflected 0x8005, from 0xFFFF
    CRC16_CCITT_FALSE = "crc16_ccitt_false"  # 0x1021, from 0xFFFF
    CRC16_XMODEM = "crc16_xmodem"  # 0x1021, from 0
    CRC16_X25 = "crc16_x25"  # reflected 0x1021, from 0xFFFF, inverted: HDLC
    CRC16_EN13757 = "crc16_en13757"  # 0x3D65, from 0, inverted: M-Bus, DNP
    CRC32 = "crc32"  # of zip, Ethernet


def _table(polynomial: int, *, reflected: bool) -> tuple[int, ...]:
    return tuple(_step(octet, polynomial, reflected=reflected) for octet in range(256))


def _step(octet: int, polynomial: int, *, reflected: bool) -> int:
    if reflected:
        value = octet
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        return value
    value = octet << 8
    for _ in range(8):
        value = (value << 1 ^ (polynomial if value & 0x8000 else 0)) & 0xFFFF
    return value


def _crc16(polynomial: int, start: int, *, last_xor: int = 0) -> Callable[[bytes], int]:
    table = _table(polynomial, reflected=False)

    def compute(octets: bytes) -> int:
        value = start
        for octet in octets:
            value = (value << 8 & 0xFFFF) ^ table[value >> 8 ^ octet]
        return value ^ last_xor

    return compute


def _crc16_reflected(polynomial: int, start: int, *, last_xor: int = 0) -> Callable[[bytes], int]:
    table = _table(polynomial, reflected=True)

    def compute(octets: bytes) -> int:
        value = start
        for octet in octets:
            value = value >> 8 ^ table[(value ^ octet) & 0xFF]
        return value ^ last_xor

    return compute


_WAYS: Final[Mapping[Checksum, tuple[int, Callable[[bytes], int]]]] = MappingProxyType(
    {
        Checksum.SUM8: (1, lambda octets: sum(octets) & 0xFF),
        Checksum.XOR8: (1, lambda octets: reduce(xor, octets, 0)),
        Checksum.CRC16_MODBUS: (2, _crc16_reflected(0xA001, 0xFFFF)),
        Checksum.CRC16_CCITT_FALSE: (2, _crc16(0x1021, 0xFFFF)),
        Checksum.CRC16_XMODEM: (2, _crc16(0x1021, 0)),
        Checksum.CRC16_X25: (2, _crc16_reflected(0x8408, 0xFFFF, last_xor=0xFFFF)),
        Checksum.CRC16_EN13757: (2, _crc16(0x3D65, 0, last_xor=0xFFFF)),
        Checksum.CRC32: (4, zlib.crc32),
    }
)


def checksum_octets(kind: Checksum) -> int:
    """Return how many octets a check takes."""
    return _WAYS[kind][0]


def checksum(kind: Checksum, octets: bytes) -> int:
    """Return the check of some octets."""
    return _WAYS[kind][1](octets)

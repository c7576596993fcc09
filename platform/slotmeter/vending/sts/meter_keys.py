"""Key change in the meter: which key types may follow which, and joining the sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from slotmeter.vending.sts.keys import DecoderKey, KeyType
from slotmeter.vending.sts.management import (
    KeySection1,
    KeySection2,
    KeySection3,
    KeySection4,
    parse_management,
)
from slotmeter.vending.sts.results import ResultCode

__all__ = ["SECTION_CODES", "AssembledKey", "assemble", "check_section", "kt_allowed"]

SECTION_CODES: Final[Mapping[int, ResultCode]] = {
    3: ResultCode.KCT_1,
    4: ResultCode.KCT_2,
    8: ResultCode.KCT_3,
    9: ResultCode.KCT_4,
}
"""Result of a section that leaves the set incomplete, by subclass."""

_CHILDREN: Final[Mapping[int, frozenset[KeyType]]] = {
    KeyType.INITIALISATION: frozenset(KeyType),
    KeyType.DEFAULT: frozenset({KeyType.DEFAULT, KeyType.UNIQUE, KeyType.COMMON}),
    KeyType.UNIQUE: frozenset({KeyType.UNIQUE, KeyType.DEFAULT}),
    KeyType.COMMON: frozenset({KeyType.COMMON, KeyType.DEFAULT}),
}

_SGC_MAX: Final = 999_999


@dataclass(frozen=True, slots=True)
class AssembledKey:
    """A complete key change. ``sgc`` is None when the number received is not one."""

    key: DecoderKey
    sgc: str | None
    krn: int
    kt: int
    ti: int
    ken: int
    rolls_over: bool


def kt_allowed(current: int, new: int, magnetic_carrier: bool) -> bool:
    """Say whether a key of type ``new`` may replace one of type ``current``.

    Common keys (KT 3) are for meters with erasable magnetic cards only.
    """
    if new == KeyType.COMMON and not magnetic_carrier:
        return False
    return new in _CHILDREN[current]


def check_section(
    section: KeySection1 | KeySection2 | KeySection3 | KeySection4, ea: int
) -> ResultCode | None:
    """Return why one section cannot be part of a key change, or None."""
    if isinstance(section, KeySection1) and not 1 <= section.krn <= 9:
        return ResultCode.RANGE_ERROR
    if isinstance(section, KeySection2) and section.ti > 99:
        return ResultCode.RANGE_ERROR
    if isinstance(section, KeySection3) and ea == 7:
        if section.padding:
            return ResultCode.FORMAT_ERROR
        if section.sgc > _SGC_MAX:
            return ResultCode.RANGE_ERROR
    return None


def _sgc_digits(sgc: int) -> str | None:
    return f"{sgc:06d}" if sgc <= _SGC_MAX else None


def assemble(sections: Mapping[int, int], ea: int) -> AssembledKey | None:
    """Join the sections received so far.

    Args:
        sections: 44-bit payloads by subclass; a repeated section has replaced the earlier one.
        ea: the meter's encryption algorithm.

    Returns:
        The new key with all that belongs to it, or None while a section is missing.
    """
    parsed = {sub: parse_management(sub, payload) for sub, payload in sections.items()}
    first, second = parsed.get(3), parsed.get(4)
    third, fourth = parsed.get(8), parsed.get(9)
    if not isinstance(first, KeySection1) or not isinstance(second, KeySection2):
        return None
    words = [first.key_word, second.key_word]
    sgc: str | None = "000000"
    if ea == 11:
        if not isinstance(third, KeySection3) or not isinstance(fourth, KeySection4):
            return None
        words[1:1] = [third.key_word, fourth.key_word]
        sgc = _sgc_digits(fourth.sgc_high << 12 | third.sgc_low)
    elif first.three_tokens:
        if not isinstance(third, KeySection3):
            return None
        sgc = _sgc_digits(third.sgc)
    return AssembledKey(
        key=DecoderKey(b"".join(word.to_bytes(4, "big") for word in words), ea),
        sgc=sgc,
        krn=first.krn,
        kt=first.kt,
        ti=second.ti,
        ken=first.ken_high << 4 | second.ken_low,
        rolls_over=first.rollover,
    )

"""Tokens of every class as typed values, and their 48-bit bodies.

::

    class 0, 0-3    subclass(4) RND(4) TID(24) amount(16)
    class 0, 4-7    subclass(4) A[19:16](4) TID(24) A[15:0](16)
    class 1, 0      subclass(4) control(36) manufacturer(8)
    class 1, 1      subclass(4) control(28) manufacturer(16)
    class 1, 2      subclass(4) index(6) value(30) manufacturer(8)
    class 1, 6-10   as 1; 11-15 as 0; makers' own
    class 2         subclass(4) RND(4) TID(24) value(16)
    class 2, 3      subclass(4) KENHO(4) KRN(4) RO(1) 3KCT(1) KT(2) NKHO(32)
    class 2, 4      subclass(4) KENLO(4) TI(8) NKLO(32)
    class 2, 8      subclass(4) SGC[11:0](12) NKMO2(32), or SGC(24) zeros(20) under EA07
    class 2, 9      subclass(4) SGC[23:12](12) NKMO1(32)

A value field is kept as encoded; properties decode it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from slotmeter.vending.sts.amounts import decode_currency, decode_units
from slotmeter.vending.sts.bits import PAYLOAD_BITS, pack, require_bits, require_within
from slotmeter.vending.sts.management import Management, parse_management

__all__ = [
    "CurrencyCredit",
    "MeterTest",
    "ProprietaryDisplay",
    "ReadExtended",
    "Token",
    "TransferCredit",
    "display_type",
    "parse_body",
]

MANUFACTURER_CODE_MAX: Final = {8: 99, 16: 9999}


@dataclass(frozen=True, slots=True)
class TransferCredit:
    """Class 0, subclass 0 to 3: credit in tenths of a kWh, m3 (water, gas) or minute."""

    token_class: ClassVar[int] = 0
    subclass: int
    rnd: int
    tid: int
    value_field: int

    @property
    def value(self) -> int:
        """Credit in token units."""
        return decode_units(self.value_field)

    def body(self) -> int:
        """Return the 48 bits."""
        return pack(self.subclass, self.rnd, self.tid, self.value_field)


@dataclass(frozen=True, slots=True)
class CurrencyCredit:
    """Class 0, subclass 4 to 7: credit in 0.00001 of the currency; 20 bits, no RND."""

    token_class: ClassVar[int] = 0
    rnd: ClassVar[None] = None
    subclass: int
    tid: int
    value_field: int

    @property
    def value(self) -> int:
        """Credit in 0.00001 of the currency; negative for a debit."""
        return decode_currency(self.value_field)

    def body(self) -> int:
        """Return the 48 bits."""
        require_bits("value_field", self.value_field, 20)
        return pack(self.subclass, self.value_field >> 16, self.tid, self.value_field & 0xFFFF)


@dataclass(frozen=True, slots=True)
class _Display:
    """Class 1: control bits and a manufacturer code, in clear, the same for every meter."""

    token_class: ClassVar[int] = 1
    rnd: ClassVar[None] = None
    tid: ClassVar[None] = None
    subclass: int
    value_field: int
    manufacturer_code: int

    @property
    def manufacturer_bits(self) -> int:
        """Width of the manufacturer code: 16 for subclasses 1 and 6 to 10, else 8."""
        return 16 if self.subclass == 1 or 6 <= self.subclass <= 10 else 8

    @property
    def control_bits(self) -> int:
        """Width of the control field."""
        return PAYLOAD_BITS - self.manufacturer_bits

    @property
    def value(self) -> int:
        """The control field."""
        return self.value_field

    def body(self) -> int:
        """Return the 48 bits."""
        width = self.manufacturer_bits
        require_bits("control", self.value_field, self.control_bits)
        require_within("manufacturer_code", self.manufacturer_code, 0, MANUFACTURER_CODE_MAX[width])
        return self.subclass << 44 | self.value_field << width | self.manufacturer_code


@dataclass(frozen=True, slots=True)
class MeterTest(_Display):
    """Class 1, subclass 0 or 1: test number n is bit n - 1; all ones is every test."""

    @property
    def tests(self) -> tuple[int, ...]:
        """Numbers of the tests asked for; (0,) for all ones, "every test"."""
        if self.value_field == (1 << self.control_bits) - 1:
            return (0,)
        return tuple(n + 1 for n in range(self.control_bits) if self.value_field >> n & 1)


@dataclass(frozen=True, slots=True)
class ReadExtended(_Display):
    """Class 1, subclass 2: read what an extended token sets (STS 202-5)."""

    @property
    def token_index(self) -> int:
        """63 is a flag, 0 the control value."""
        return self.value_field >> 30

    @property
    def parameter(self) -> int:
        """The lower 30 bits."""
        return self.value_field & (1 << 30) - 1


@dataclass(frozen=True, slots=True)
class ProprietaryDisplay(_Display):
    """Class 1, subclass 6 to 15: a maker's own."""


Token = TransferCredit | CurrencyCredit | MeterTest | ReadExtended | ProprietaryDisplay | Management


def parse_body(token_class: int, body: int) -> Token | None:
    """Return the token in a 48-bit body, or None where class and subclass are reserved."""
    subclass, payload = body >> 44, body & (1 << PAYLOAD_BITS) - 1
    if token_class == 0:
        return _parse_credit(subclass, payload)
    if token_class == 1:
        return _parse_display(subclass, payload)
    if token_class == 2:
        return parse_management(subclass, payload)
    return None


def _parse_credit(subclass: int, payload: int) -> Token | None:
    rnd, tid, value = payload >> 40, payload >> 16 & 0xFFFFFF, payload & 0xFFFF
    if subclass < 4:
        return TransferCredit(subclass, rnd, tid, value)
    if subclass < 8:
        return CurrencyCredit(subclass, tid, rnd << 16 | value)
    return None


def display_type(subclass: int) -> type[MeterTest | ReadExtended | ProprietaryDisplay] | None:
    """Return the type of a class 1 token, or None for a reserved subclass."""
    if subclass < 2:
        return MeterTest
    if subclass == 2:
        return ReadExtended
    return ProprietaryDisplay if subclass >= 6 else None


def _parse_display(subclass: int, payload: int) -> Token | None:
    kind = display_type(subclass)
    if kind is None:
        return None
    width = 16 if subclass == 1 or 6 <= subclass <= 10 else 8
    return kind(subclass, payload >> width, payload & (1 << width) - 1)

"""Class 2 tokens: limits, clearing, rates, extended tokens, and the sections of a key change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

from slotmeter.vending.sts.amounts import decode_units
from slotmeter.vending.sts.bits import PAYLOAD_BITS, pack, require_bits

__all__ = [
    "MANAGEMENT_TYPES",
    "ClearCredit",
    "ClearTamperCondition",
    "ExtendedToken",
    "KeySection1",
    "KeySection2",
    "KeySection3",
    "KeySection4",
    "Management",
    "ProprietaryManagement",
    "SetMaximumPhasePowerUnbalanceLimit",
    "SetMaximumPowerLimit",
    "SetTariffRate",
    "SetWaterMeterFactor",
    "parse_management",
]

FLAG_TOKEN_INDEX: Final = 63
CONTROL_TOKEN_INDEX: Final = 0


@dataclass(frozen=True, slots=True)
class _Management:
    """Class 2 with RND, TID and a 16-bit field."""

    token_class: ClassVar[int] = 2
    subclass: ClassVar[int]
    rnd: int
    tid: int
    value_field: int

    @property
    def value(self) -> int:
        """The field as it is."""
        return self.value_field

    def body(self) -> int:
        """Return the 48 bits."""
        return pack(self.subclass, self.rnd, self.tid, self.value_field)


@dataclass(frozen=True, slots=True)
class _Limit(_Management):
    @property
    def value(self) -> int:
        """The limit in W."""
        return decode_units(self.value_field)


@dataclass(frozen=True, slots=True)
class SetMaximumPowerLimit(_Limit):
    """Class 2, subclass 0: maximum power in W."""

    subclass: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class ClearCredit(_Management):
    """Class 2, subclass 1: register 0 to 7 to zero, FFFFh all of them."""

    subclass: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class SetTariffRate(_Management):
    """Class 2, subclass 2: 16 bits whose meaning the standard reserves."""

    subclass: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class ClearTamperCondition(_Management):
    """Class 2, subclass 5: the field is padding."""

    subclass: ClassVar[int] = 5


@dataclass(frozen=True, slots=True)
class SetMaximumPhasePowerUnbalanceLimit(_Limit):
    """Class 2, subclass 6: largest difference of power between phases in W."""

    subclass: ClassVar[int] = 6


@dataclass(frozen=True, slots=True)
class SetWaterMeterFactor(_Management):
    """Class 2, subclass 7: 16 bits whose meaning the standard reserves."""

    subclass: ClassVar[int] = 7


@dataclass(frozen=True, slots=True)
class ExtendedToken(_Management):
    """Class 2, subclass 10 (STS 202-5): a 6-bit index and a 10-bit value."""

    subclass: ClassVar[int] = 10

    @property
    def token_index(self) -> int:
        """63 sets a flag, 0 the control value."""
        return self.value_field >> 10

    @property
    def parameter(self) -> int:
        """The 10-bit value."""
        return self.value_field & 0x3FF

    @property
    def flag_index(self) -> int:
        """Which flag, when the index is 63."""
        return self.parameter >> 1

    @property
    def flag_value(self) -> int:
        """What the flag becomes, when the index is 63."""
        return self.parameter & 1


@dataclass(frozen=True, slots=True)
class ProprietaryManagement:
    """Class 2, subclass 11 to 15: 44 bits of the maker; by default RND, TID and 16 bits."""

    token_class: ClassVar[int] = 2
    subclass: int
    payload: int

    @property
    def rnd(self) -> int:
        """The random bits, in the default layout."""
        return self.payload >> 40

    @property
    def tid(self) -> int:
        """The token identifier, in the default layout."""
        return self.payload >> 16 & 0xFFFFFF

    @property
    def value_field(self) -> int:
        """The low 16 bits."""
        return self.payload & 0xFFFF

    @property
    def value(self) -> int:
        """The low 16 bits."""
        return self.value_field

    def body(self) -> int:
        """Return the 48 bits."""
        require_bits("payload", self.payload, PAYLOAD_BITS)
        return self.subclass << 44 | self.payload


@dataclass(frozen=True, slots=True)
class _KeySection:
    """One section of a key change: key material, no RND, no TID, nothing to tell as a value."""

    token_class: ClassVar[int] = 2
    subclass: ClassVar[int]
    rnd: ClassVar[None] = None
    tid: ClassVar[None] = None
    value_field: ClassVar[None] = None
    value: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class KeySection1(_KeySection):
    """Class 2, subclass 3: high word of the new key and what goes with it."""

    subclass: ClassVar[int] = 3
    ken_high: int
    krn: int
    rollover: bool
    three_tokens: bool
    kt: int
    key_word: int = field(repr=False)

    def body(self) -> int:
        """Return the 48 bits."""
        return (
            self.subclass << 44
            | self.ken_high << 40
            | self.krn << 36
            | int(self.rollover) << 35
            | int(self.three_tokens) << 34
            | self.kt << 32
            | self.key_word
        )


@dataclass(frozen=True, slots=True)
class KeySection2(_KeySection):
    """Class 2, subclass 4: low word of the new key, tariff index in binary."""

    subclass: ClassVar[int] = 4
    ken_low: int
    ti: int
    key_word: int = field(repr=False)

    def body(self) -> int:
        """Return the 48 bits."""
        return self.subclass << 44 | self.ken_low << 40 | self.ti << 32 | self.key_word


@dataclass(frozen=True, slots=True)
class KeySection3(_KeySection):
    """Class 2, subclass 8. EA11: low 12 bits of the SGC and a key word; EA07: the whole SGC."""

    subclass: ClassVar[int] = 8
    payload: int = field(repr=False)

    @property
    def sgc_low(self) -> int:
        """EA11: the low 12 bits of the supply group code."""
        return self.payload >> 32

    @property
    def key_word(self) -> int:
        """EA11: the third word of the key."""
        return self.payload & 0xFFFFFFFF

    @property
    def sgc(self) -> int:
        """EA07: the supply group code."""
        return self.payload >> 20

    @property
    def padding(self) -> int:
        """EA07: 20 bits that ought to be zero."""
        return self.payload & 0xFFFFF

    def body(self) -> int:
        """Return the 48 bits."""
        return self.subclass << 44 | self.payload


@dataclass(frozen=True, slots=True)
class KeySection4(_KeySection):
    """Class 2, subclass 9 (EA11 only): high 12 bits of the SGC and a key word."""

    subclass: ClassVar[int] = 9
    sgc_high: int
    key_word: int = field(repr=False)

    def body(self) -> int:
        """Return the 48 bits."""
        return self.subclass << 44 | self.sgc_high << 32 | self.key_word


Management = (
    SetMaximumPowerLimit
    | ClearCredit
    | SetTariffRate
    | ClearTamperCondition
    | SetMaximumPhasePowerUnbalanceLimit
    | SetWaterMeterFactor
    | ExtendedToken
    | ProprietaryManagement
    | KeySection1
    | KeySection2
    | KeySection3
    | KeySection4
)

MANAGEMENT_TYPES: Final[dict[int, Callable[[int, int, int], Management]]] = {
    0: SetMaximumPowerLimit,
    1: ClearCredit,
    2: SetTariffRate,
    5: ClearTamperCondition,
    6: SetMaximumPhasePowerUnbalanceLimit,
    7: SetWaterMeterFactor,
    10: ExtendedToken,
}
"""Class 2 tokens with RND, TID and a 16-bit field, by subclass."""


def parse_management(subclass: int, payload: int) -> Management:
    """Return the token in the 44 bits below a class 2 subclass."""
    plain = MANAGEMENT_TYPES.get(subclass)
    if plain is not None:
        return plain(payload >> 40, payload >> 16 & 0xFFFFFF, payload & 0xFFFF)
    high, word = payload >> 32, payload & 0xFFFFFFFF
    if subclass == 3:
        flags = high & 15
        return KeySection1(
            high >> 8, high >> 4 & 15, bool(flags & 8), bool(flags & 4), flags & 3, word
        )
    if subclass == 4:
        return KeySection2(high >> 8, high & 0xFF, word)
    if subclass == 8:
        return KeySection3(payload)
    if subclass == 9:
        return KeySection4(high, word)
    return ProprietaryManagement(subclass, payload)

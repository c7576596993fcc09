"""What a meter answers to 20 digits: a result code, what it read, and what changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from slotmeter.vending.sts.request import token_name

__all__ = [
    "CreditChanged",
    "DisplayRequested",
    "Effect",
    "EntryResult",
    "ExtendedRead",
    "FlagSet",
    "KeyChanged",
    "ProprietaryReceived",
    "Register",
    "ResultCode",
    "SettingChanged",
    "TamperCleared",
]


class Register(IntEnum):
    """Credit registers, numbered as class 0 subclasses and as the argument of ClearCredit.

    0 to 3 count 0.1 kWh, 0.1 m3, 0.1 m3, 0.1 min; 4 to 7 count 0.00001 of the currency.
    """

    ELECTRICITY = 0
    WATER = 1
    GAS = 2
    TIME = 3
    ELECTRICITY_CURRENCY = 4
    WATER_CURRENCY = 5
    GAS_CURRENCY = 6
    TIME_CURRENCY = 7


class ResultCode(Enum):
    """Result of entering a token (IEC 62055-41, token validation and key change)."""

    ACCEPT = "accept"
    KCT_1 = "1st_kct"
    KCT_2 = "2nd_kct"
    KCT_3 = "3rd_kct"
    KCT_4 = "4th_kct"
    OLD_ERROR = "old_error"
    USED_ERROR = "used_error"
    KEY_EXPIRED_ERROR = "key_expired_error"
    DDTK_ERROR = "ddtk_error"
    KEY_TYPE_ERROR = "key_type_error"
    CRC_ERROR = "crc_error"
    MFR_CODE_ERROR = "mfr_code_error"
    FORMAT_ERROR = "format_error"
    RANGE_ERROR = "range_error"
    FUNCTION_ERROR = "function_error"
    OVERFLOW_ERROR = "overflow_error"

    @property
    def accepted(self) -> bool:
        """Whether the token did what it is for."""
        return self is ResultCode.ACCEPT

    @property
    def partly_accepted(self) -> bool:
        """Whether it is one section of a key change whose other sections are awaited."""
        return self in _PARTLY


_PARTLY = frozenset({ResultCode.KCT_1, ResultCode.KCT_2, ResultCode.KCT_3, ResultCode.KCT_4})


@dataclass(frozen=True, slots=True)
class CreditChanged:
    """A credit register moved; units as :class:`Register`."""

    register: Register
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class SettingChanged:
    """A setting took a new value; the name is the token's without "set_"; limits are in W."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class FlagSet:
    """A flag (STS 202-5) took a new value."""

    flag_index: int
    value: int


@dataclass(frozen=True, slots=True)
class TamperCleared:
    """The tamper condition is to be cleared."""


@dataclass(frozen=True, slots=True)
class DisplayRequested:
    """Tests or displays are to be run; numbers as in IEC 62055-41, ascending."""

    tests: tuple[int, ...]
    control: int


@dataclass(frozen=True, slots=True)
class ExtendedRead:
    """What an extended token sets (STS 202-5) is to be shown; index 63 is a flag, 0 the control."""

    token_index: int
    parameter: int


@dataclass(frozen=True, slots=True)
class ProprietaryReceived:
    """A maker's own token came in; the payload is the maker's business."""

    token_class: int
    subclass: int
    payload: int


@dataclass(frozen=True, slots=True)
class KeyChanged:
    """The meter has a new decoder key. The key itself is not told."""

    sgc: str
    krn: int
    kt: int
    ti: int
    ken: int
    rolled_over: bool


Effect = (
    CreditChanged
    | SettingChanged
    | FlagSet
    | TamperCleared
    | DisplayRequested
    | ExtendedRead
    | ProprietaryReceived
    | KeyChanged
)


@dataclass(frozen=True, slots=True)
class EntryResult:
    """Answer to one entry.

    ``token_class``, ``subclass``, ``tid`` and ``value`` are None as far as the token could not be
    read; ``value`` is the decoded amount, limit or field in the units of ``TokenRequest.value``.
    ``effects`` is empty unless ``code`` is ACCEPT.
    """

    code: ResultCode
    token_class: int | None = None
    subclass: int | None = None
    tid: int | None = None
    value: int | None = None
    effects: tuple[Effect, ...] = ()

    @property
    def name(self) -> str | None:
        """The token's name, None while class and subclass are unknown."""
        if self.token_class is None or self.subclass is None:
            return None
        return token_name(self.token_class, self.subclass)

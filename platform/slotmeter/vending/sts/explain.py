"""A token field by field, as a person or a script would want it told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from slotmeter.vending.sts.frame import parse_digits
from slotmeter.vending.sts.issue import BlockCipher, decode_digits
from slotmeter.vending.sts.management import (
    CONTROL_TOKEN_INDEX,
    FLAG_TOKEN_INDEX,
    ClearCredit,
    ExtendedToken,
    KeySection1,
    KeySection2,
    KeySection3,
    KeySection4,
    ProprietaryManagement,
    SetMaximumPhasePowerUnbalanceLimit,
    SetMaximumPowerLimit,
)
from slotmeter.vending.sts.request import token_name
from slotmeter.vending.sts.results import Register
from slotmeter.vending.sts.tid import BASE_DATES, instant_of_tid
from slotmeter.vending.sts.tokens import (
    CurrencyCredit,
    MeterTest,
    ProprietaryDisplay,
    ReadExtended,
    Token,
    TransferCredit,
)

__all__ = ["FLAG_NAMES", "TEST_NAMES", "ExplainedField", "Explanation", "explain"]

CLASS_NAMES: Final = ("credit", "test and display", "management", "reserved")

TEST_NAMES: Final[Mapping[int, str]] = {
    0: "every test that the meter has",
    1: "load switch or valve",
    2: "display and other indicators",
    3: "total of the consumption register",
    4: "key revision number",
    5: "tariff index",
    6: "token reader or keypad",
    7: "maximum power limit",
    8: "tamper status",
    9: "present rate of consumption",
    10: "software version",
    11: "phase power unbalance limit",
    12: "water meter factor",
    13: "tariff rate",
    14: "encryption algorithm",
    15: "number of key change tokens supported",
    16: "supply group code",
    17: "key expiry number",
    18: "meter number (DRN)",
}
"""Tests and displays of class 1, by number."""

FLAG_NAMES: Final[Mapping[int, str]] = {
    0: "test flag",
    1: "detect tamper",
    2: "disconnect service",
    3: "disconnect on tamper",
    4: "disconnect on power limit",
    5: "disconnect on under-frequency",
    6: "electricity is prepaid",
    7: "water is prepaid",
    8: "gas is prepaid",
    9: "time is prepaid",
    10: "commissioning mode",
    11: "power limit of the fallback tariff index",
}
"""Flags of STS 202-5, by index."""

_UNITS: Final = ("kWh", "m3", "m3", "min")
_KEY_MATERIAL: Final = "part of a new key, not shown"


@dataclass(frozen=True, slots=True)
class ExplainedField:
    """One field: its width, its bits as a number (None where secret), and what they say."""

    name: str
    bits: int
    raw: int | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Twenty digits explained.

    Attributes:
        digits: as read.
        token_class: 0 to 3.
        name: of the token; None while it is encrypted.
        fields: from the most significant bit; those of an encrypted token end with the block.
        crc_right: None while it is encrypted.
        remarks: what else there is to say, in sentences.
    """

    digits: str
    token_class: int
    name: str | None
    fields: tuple[ExplainedField, ...]
    crc_right: bool | None
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return {
            "digits": self.digits,
            "token_66bit_hex": f"{int(self.digits):017X}",
            "token_class": self.token_class,
            "class_name": CLASS_NAMES[self.token_class],
            "name": self.name,
            "crc_right": self.crc_right,
            "fields": [
                {"name": f.name, "bits": f.bits, "raw": f.raw, "meaning": f.meaning}
                for f in self.fields
            ],
            "remarks": list(self.remarks),
        }


def _tenths(value: int) -> str:
    return f"{value // 10}.{value % 10}"


def _currency(value: int) -> str:
    sign = "-" if value < 0 else ""
    return f"{sign}{abs(value) // 100_000}.{abs(value) % 100_000:05d}"


def _rnd(raw: int) -> ExplainedField:
    return ExplainedField("RND", 4, raw, "random bits, ignored by the meter")


def _tid(tid: int, base_date: int | None) -> ExplainedField:
    bases = BASE_DATES if base_date is None else (base_date,)
    instants = (
        f"{instant_of_tid(tid, base):%Y-%m-%d %H:%M} UTC"
        + (f" if the base date is {base}" if base_date is None else "")
        for base in bases
    )
    return ExplainedField("TID", 24, tid, ", ".join(instants))


def _credit(token: TransferCredit, base_date: int | None) -> list[ExplainedField]:
    amount = f"{_tenths(token.value)} {_UNITS[token.subclass]}"
    return [
        _rnd(token.rnd),
        _tid(token.tid, base_date),
        ExplainedField("Amount", 16, token.value_field, amount),
    ]


def _currency_credit(token: CurrencyCredit, base_date: int | None) -> list[ExplainedField]:
    field, amount = token.value_field, f"{_currency(token.value)} of the currency"
    return [
        ExplainedField("Amount, high", 4, field >> 16, "bits 19 to 16 of the amount"),
        _tid(token.tid, base_date),
        ExplainedField("Amount, low", 16, field & 0xFFFF, amount),
    ]


def _control_meaning(token: MeterTest) -> str:
    known = [
        f"test {n}: {TEST_NAMES[n]}" if n in TEST_NAMES else f"test {n}: reserved"
        for n in token.tests
    ]
    return "; ".join(known) or "no test"


def _display(token: MeterTest | ReadExtended | ProprietaryDisplay) -> list[ExplainedField]:
    width = token.manufacturer_bits
    code = token.manufacturer_code
    manufacturer = ExplainedField(
        "MfrCode", width, code, f"manufacturer {code}" if code else "any manufacturer"
    )
    if isinstance(token, ReadExtended):
        index, value = token.token_index, token.parameter
        what = {CONTROL_TOKEN_INDEX: "read a control value", FLAG_TOKEN_INDEX: "read a flag"}
        return [
            ExplainedField("TokenIndex", 6, index, what.get(index, "not assigned")),
            ExplainedField("Value", 30, value, f"number {value}"),
            manufacturer,
        ]
    meaning = "the manufacturer's own"
    if isinstance(token, MeterTest):
        meaning = _control_meaning(token)
    control = ExplainedField("Control", token.control_bits, token.value_field, meaning)
    return [control, manufacturer]


def _register(value: int) -> str:
    if value == 0xFFFF:
        return "every register"
    if value > max(Register):
        return "no such register"
    return Register(value).name.lower().replace("_", ", in ")


def _extended(token: ExtendedToken, base_date: int | None) -> list[ExplainedField]:
    fields = [_rnd(token.rnd), _tid(token.tid, base_date)]
    index = token.token_index
    if index == FLAG_TOKEN_INDEX:
        flag, state = token.flag_index, "on" if token.flag_value else "off"
        return [
            *fields,
            ExplainedField("TokenIndex", 6, index, "set a flag"),
            ExplainedField("FlagIndex", 9, flag, FLAG_NAMES.get(flag, "not assigned")),
            ExplainedField("FlagValue", 1, token.flag_value, state),
        ]
    meaning = "set the control value" if index == CONTROL_TOKEN_INDEX else "not assigned"
    return [
        *fields,
        ExplainedField("TokenIndex", 6, index, meaning),
        ExplainedField("Value", 10, token.parameter, str(token.parameter)),
    ]


def _section(
    token: KeySection1 | KeySection2 | KeySection3 | KeySection4, ea: int
) -> list[ExplainedField]:
    word = ExplainedField("Key word", 32, None, _KEY_MATERIAL)
    if isinstance(token, KeySection1):
        high = token.ken_high
        forgets = "the meter forgets its identifiers" if token.rollover else "no"
        return [
            ExplainedField("KENHO", 4, high, "high digit of the key expiry number"),
            ExplainedField("KRN", 4, token.krn, f"key revision {token.krn}"),
            ExplainedField("RO", 1, int(token.rollover), forgets),
            ExplainedField("3KCT", 1, int(token.three_tokens), "third token follows, or not"),
            ExplainedField("KT", 2, token.kt, f"key type {token.kt}"),
            word,
        ]
    if isinstance(token, KeySection2):
        return [
            ExplainedField("KENLO", 4, token.ken_low, "low digit of the key expiry number"),
            ExplainedField("TI", 8, token.ti, f"tariff index {token.ti}"),
            word,
        ]
    if isinstance(token, KeySection3) and ea == 7:
        return [
            ExplainedField("SGC", 24, token.sgc, f"supply group {token.sgc:06d}"),
            ExplainedField("Pad", 20, token.padding, "padding"),
        ]
    half, raw = (
        ("low", token.sgc_low) if isinstance(token, KeySection3) else ("high", token.sgc_high)
    )
    return [ExplainedField(f"SGC, {half}", 12, raw, f"{half} bits of the supply group"), word]


def _management(token: Token, base_date: int | None, ea: int) -> list[ExplainedField]:
    if isinstance(token, KeySection1 | KeySection2 | KeySection3 | KeySection4):
        return _section(token, ea)
    if isinstance(token, ExtendedToken):
        return _extended(token, base_date)
    field, value = token.value_field or 0, token.value or 0
    name, meaning = "Value", str(value)
    if isinstance(token, SetMaximumPowerLimit | SetMaximumPhasePowerUnbalanceLimit):
        name, meaning = "Limit", f"{value} W"
    elif isinstance(token, ClearCredit):
        name, meaning = "Register", _register(value)
    elif isinstance(token, ProprietaryManagement):
        meaning = "the manufacturer's own"
    return [
        _rnd(token.rnd or 0),
        _tid(token.tid or 0, base_date),
        ExplainedField(name, 16, field, meaning),
    ]


def _token_fields(token: Token, base_date: int | None, ea: int) -> list[ExplainedField]:
    if isinstance(token, TransferCredit):
        return _credit(token, base_date)
    if isinstance(token, CurrencyCredit):
        return _currency_credit(token, base_date)
    if isinstance(token, MeterTest | ReadExtended | ProprietaryDisplay):
        return _display(token)
    return _management(token, base_date, ea)


def explain(
    digits: str,
    cipher: BlockCipher | None = None,
    *,
    base_date: int | None = None,
    ea: int = 7,
) -> Explanation:
    """Explain 20 digits as far as they can be read.

    Args:
        digits: without blanks.
        cipher: of the meter's key, to read classes 0 and 2.
        base_date: of the meter's key; without it a token identifier may mean three times.
        ea: the meter's encryption algorithm, which decides the layout of one key change token.

    Raises:
        Refused: ``bad_token_digits``, or an unknown base date.
    """
    parse_digits(digits)
    decoded = decode_digits(digits, cipher)
    token_class = decoded.token_class
    kind = ExplainedField("Class", 2, token_class, CLASS_NAMES[token_class])
    if decoded.body is None:
        block = ExplainedField("Block", 64, decoded.block, "encrypted")
        remark = (
            "Class 3 is reserved: no meter takes this token."
            if token_class == 3
            else "Subclass, identifier, amount and CRC are encrypted with the meter's key: without"
            " it nothing more can be known, not even whether the token is genuine."
        )
        return Explanation(digits, token_class, None, (kind, block), None, (remark,))
    subclass, payload = decoded.body >> 44, decoded.body & (1 << 44) - 1
    name = token_name(token_class, subclass)
    right = bool(decoded.crc_right)
    crc = ExplainedField("CRC", 16, decoded.block & 0xFFFF, "right" if right else "wrong")
    if not right:
        content = ExplainedField("Content", 48, decoded.body, "not to be trusted, the CRC is wrong")
        why = (
            "A digit is wrong: class 1 tokens are not encrypted, so nothing else can be."
            if token_class == 1
            else "A digit is wrong, or the token is for another meter or another key."
        )
        return Explanation(digits, token_class, None, (kind, content, crc), False, (why,))
    if decoded.token is None:
        fields = [ExplainedField("Content", 44, payload, "reserved")]
        remarks: tuple[str, ...] = ("This subclass is reserved: no meter takes the token.",)
    else:
        fields, remarks = _token_fields(decoded.token, base_date, ea), ()
    head = ExplainedField("SubClass", 4, subclass, name.replace("_", " "))
    return Explanation(digits, token_class, name, (kind, head, *fields, crc), True, remarks)

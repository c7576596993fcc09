"""Published vectors against our functions: one checker per kind of vector.

A vector is a mapping with ``id``, ``kind``, ``inputs`` and ``expected``. Every field in
``expected`` is compared; a kind, or an expected field, that is not known here is an error and never
skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from slotmeter.errors import Refused
from slotmeter.vending.sts.amounts import (
    currency_e5_of,
    encode_currency,
)
from slotmeter.vending.sts.crc import crc_bytes, crc_field
from slotmeter.vending.sts.dkga import DerivationOptions, derive_decoder_key
from slotmeter.vending.sts.frame import digits_of, join_class
from slotmeter.vending.sts.issue import cipher_for, decode_digits, encode_token, token_of
from slotmeter.vending.sts.keychange import key_change_tokens, rollover
from slotmeter.vending.sts.keys import DecoderKey, KeyParameters
from slotmeter.vending.sts.misty1 import Misty1
from slotmeter.vending.sts.pan import drn_of_pan, drn_valid, pan_of_drn, pan_valid
from slotmeter.vending.sts.request import TOKEN_NAMES, TokenRequest
from slotmeter.vending.sts.sta import Sta
from slotmeter.vending.sts.tables import PRODUCTION, TABLE_SETS, TableSet
from slotmeter.vending.sts.tid import (
    minute_1993_of,
    next_tid_minute,
    tid_expired,
    tid_of_minute,
)
from slotmeter.vending.sts.tokens import CurrencyCredit, Token
from slotmeter.vending.sts.vector_inputs import Inputs, VectorError

__all__ = ["KINDS", "Checked", "Difference", "VectorError", "check_vector"]

# A vector says which algorithm made its key; the choice is the vector's, not a site's.
_OPTIONS: Final = DerivationOptions(allow_dkga01=True)

Got = dict[str, object]


@dataclass(frozen=True, slots=True)
class Difference:
    """One expected field that did not come out."""

    name: str
    expected: object
    got: object


@dataclass(frozen=True, slots=True)
class Checked:
    """A vector that was run.

    Attributes:
        differences: empty when the vector passed.
        unused: names of inputs that played no part, apart from notes.
    """

    differences: tuple[Difference, ...]
    unused: tuple[str, ...]


def _tables(inputs: Inputs) -> TableSet:
    if not inputs.has("tables"):
        return PRODUCTION
    name = inputs.text("tables")
    if name not in TABLE_SETS:
        raise inputs.wrong("tables", " or ".join(TABLE_SETS))
    return TABLE_SETS[name]


def _parameters(inputs: Inputs) -> KeyParameters:
    try:
        return KeyParameters(
            pan=inputs.text("pan"),
            sgc=inputs.text("sgc"),
            krn=inputs.integer("krn"),
            kt=inputs.integer("key_type"),
            ti=inputs.number("ti"),
            ken=inputs.integer("ken") if inputs.has("ken") else 255,
            base_date=inputs.integer("base_date"),
            ea=inputs.integer("ea"),
            dkga=inputs.text("dkga"),
        )
    except VectorError:
        raise
    except Refused as error:
        name = "key_type" if error.field == "kt" else error.field or "inputs"
        raise VectorError(error.code, error.message, field=inputs.path(name)) from error


def _decoder_key(inputs: Inputs, parameters: KeyParameters) -> DecoderKey:
    length = 20 if parameters.dkga == "04" else 8
    return derive_decoder_key(inputs.octets("vending_key", length), parameters, _OPTIONS)


def _token_got(token: Token, key: DecoderKey, tables: TableSet) -> Got:
    """Return every field that a vector may expect of a token, and read the token back."""
    cipher = cipher_for(key, tables)
    digits = encode_token(token, cipher)
    body = token.body()
    block = body << 16 | crc_field(token.token_class, body)
    back = decode_digits(digits, cipher)
    width = 5 if isinstance(token, CurrencyCredit) else 4
    value_field = f"{token.value_field:0{width}x}"
    got: Got = {
        "token": digits if back.token == token else f"{digits}, which does not decode again",
        "body": f"{body:012x}",
        "data_block": f"{block:016x}",
        "crc": f"{block & 0xFFFF:04x}",
        "encrypted_66bit_hex": f"{int(digits):017x}",
        "decoder_key": key.key.hex(),
        "value_field": value_field,
    }
    if token.token_class == 0:
        got["currency_field" if width == 5 else "amount_field"] = value_field
        got["amount_e5" if width == 5 else "amount_units"] = token.value
    if token.tid is not None:
        got["tid"] = token.tid
    return got


def _tid(inputs: Inputs, base_date: int) -> int:
    """Return the TID given, or that of an ordinary token: not the reserved minute."""
    if inputs.has("tid") and not inputs.has("issued_at"):
        return inputs.integer("tid")
    return tid_of_minute(
        next_tid_minute(minute_1993_of(inputs.instant("issued_at")), ()), base_date
    )


def _class_and_subclass(inputs: Inputs, kind: str) -> tuple[int, int]:
    token_class, subclass = inputs.integer("token_class"), inputs.integer("subclass")
    name = TOKEN_NAMES.get((token_class, subclass))
    if name != kind:
        raise inputs.wrong("subclass", f"a subclass that is {kind}")
    return token_class, subclass


def _issued_token(inputs: Inputs, kind: str, value: Callable[[], int | Fraction]) -> Got:
    token_class, subclass = _class_and_subclass(inputs, kind)
    parameters = _parameters(inputs)
    key = _decoder_key(inputs, parameters)
    tid = _tid(inputs, parameters.base_date)
    amount = value()
    if token_class == 0 and subclass >= 4:
        token: Token = CurrencyCredit(subclass, tid, encode_currency(amount))
    else:
        rnd = inputs.integer("rnd")
        request = TokenRequest(token_class, subclass, tid, rnd, int(amount))
        token = token_of(request)
    return _token_got(token, key, _tables(inputs))


def _credit(inputs: Inputs, kind: str) -> Got:
    return _issued_token(inputs, kind, lambda: inputs.integer("amount_units"))


def _currency(inputs: Inputs, kind: str) -> Got:
    return _issued_token(inputs, kind, lambda: currency_e5_of(inputs.decimal("amount_currency")))


def _management(inputs: Inputs, kind: str) -> Got:
    return _issued_token(inputs, kind, lambda: inputs.integer("value"))


def _extended_value(inputs: Inputs) -> int:
    index = inputs.integer("token_index")
    if not 0 <= index < 64:
        raise inputs.wrong("token_index", "an index from 0 to 63")
    if index == 63 and inputs.has("flag_index"):
        flag_index = inputs.integer("flag_index")
        if not 0 <= flag_index < 512:
            raise inputs.wrong("flag_index", "an index from 0 to 511")
        return index << 10 | flag_index << 1 | inputs.bit("flag_value")
    name = "control_value" if inputs.has("control_value") else "value"
    value = inputs.number(name)
    if not 0 <= value < 1024:
        raise inputs.wrong(name, "a value from 0 to 1023")
    return index << 10 | value


def _extended(inputs: Inputs, kind: str) -> Got:
    return _issued_token(inputs, "extended", lambda: _extended_value(inputs))


def _meter_test(inputs: Inputs, kind: str) -> Got:
    token_class, subclass = inputs.integer("token_class"), inputs.integer("subclass")
    if token_class != 1 or (1, subclass) not in TOKEN_NAMES:
        raise inputs.wrong("subclass", "a class 1 subclass that is not reserved")
    control, code = inputs.hex_number("control"), inputs.integer("manufacturer_code")
    token = token_of(TokenRequest(1, subclass, None, None, control, code))
    width = 28 if subclass == 1 or 6 <= subclass <= 10 else 36
    if inputs.has("control_bits") and inputs.integer("control_bits") != width:
        raise inputs.wrong("control_bits", f"{width} for subclass {subclass}")
    digits = encode_token(token)
    body = token.body()
    block = body << 16 | crc_field(1, body)
    back = decode_digits(digits)
    return {
        "token": digits if back.token == token else f"{digits}, which does not decode again",
        "body": f"{body:012x}",
        "data_block": f"{block:016x}",
        "crc": f"{block & 0xFFFF:04x}",
        "encrypted_66bit_hex": f"{int(digits):017x}",
    }


def _from_decoder_key(inputs: Inputs, kind: str) -> Got:
    ea = inputs.integer("ea")
    if ea not in (7, 11):
        raise inputs.wrong("ea", "7 or 11")
    key = DecoderKey(inputs.octets("decoder_key", 8 if ea == 7 else 16), ea)
    token_class, subclass = inputs.integer("token_class"), inputs.integer("subclass")
    if token_class != 0 or not 0 <= subclass < 8:
        raise inputs.wrong("subclass", "a credit token, class 0 and subclass 0 to 7")
    tid = inputs.integer("tid")
    if subclass >= 4:
        field_20 = encode_currency(currency_e5_of(inputs.decimal("amount_currency")))
        token: Token = CurrencyCredit(subclass, tid, field_20)
    else:
        units, rnd = inputs.integer("amount_units"), inputs.integer("rnd")
        token = token_of(TokenRequest.credit(subclass, units=units, tid=tid, rnd=rnd))
    return _token_got(token, key, _tables(inputs))


def _key_change(inputs: Inputs, kind: str) -> Got:
    current_inputs = inputs.part("current")
    carried = {n: v for n, v in current_inputs.data.items() if n in ("pan", "dkga", "ea")}
    new_inputs = inputs.part("new", carried)
    current, new = _parameters(current_inputs), _parameters(new_inputs)
    key, new_key = _decoder_key(current_inputs, current), _decoder_key(new_inputs, new)
    rolls_over = new_inputs.bit("rollover") if new_inputs.has("rollover") else None
    tokens = key_change_tokens(
        cipher_for(key, _tables(inputs)),
        current,
        new_key,
        new,
        three_tokens=inputs.bit("three_kct") if inputs.has("three_kct") else False,
        rolls_over=rolls_over,
    )
    if kind != f"key_change_{len(tokens)}_tokens":
        raise VectorError(
            "vector_field_wrong", f"the inputs make {len(tokens)} tokens, not {kind}", field="kind"
        )
    for part in (current_inputs, new_inputs):
        inputs.unused_below += part.unused()
    return {
        "tokens": [token.digits for token in tokens],
        "decoder_key": key.key.hex(),
        "new_decoder_key": new_key.key.hex(),
        "rollover": int(rollover(current, new) if rolls_over is None else rolls_over),
    }


def _key_expiry(inputs: Inputs, kind: str) -> Got:
    got = _tid_only(inputs, kind)
    ken, tid = inputs.integer("ken"), got["tid"]
    if not 0 <= ken <= 255:
        raise inputs.wrong("ken", "a number from 0 to 255")
    return {**got, "accepted": isinstance(tid, int) and not tid_expired(tid, ken)}


def _tid_only(inputs: Inputs, kind: str) -> Got:
    minute = minute_1993_of(inputs.instant("issued_at"))
    return {"tid": tid_of_minute(minute, inputs.integer("base_date"))}


def _crc16(inputs: Inputs, kind: str) -> Got:
    data = inputs.octets("bytes")
    if all(map(inputs.has, ("token_class", "subclass", "rnd", "tid", "amount_field"))):
        token_class, subclass = inputs.integer("token_class"), inputs.integer("subclass")
        body = subclass << 44 | inputs.integer("rnd") << 40 | inputs.integer("tid") << 16
        body |= inputs.hex_number("amount_field")
        fields = (token_class << 48 | body).to_bytes(16, "big").lstrip(b"\0")
        if fields != data.lstrip(b"\0"):
            raise inputs.wrong("bytes", "the bytes that the fields make")
    if inputs.has("issued_at") and inputs.has("base_date") and inputs.has("tid"):
        tid = _tid_only(inputs, kind)["tid"]
        if tid != inputs.integer("tid"):
            raise inputs.wrong("tid", f"{tid}, the minute of issued_at")
    return {"crc_as_transmitted": f"{crc_bytes(data):04x}"}


def _pan_luhn(inputs: Inputs, kind: str) -> Got:
    pan = inputs.text("pan")
    valid = pan_valid(pan)
    return {"valid": valid, "drn": drn_of_pan(pan) if valid else None}


def _drn_luhn(inputs: Inputs, kind: str) -> Got:
    drn = inputs.text("drn")
    valid = drn_valid(drn)
    return {"valid": valid, "pan": pan_of_drn(drn) if valid else None}


def _misty1_block(inputs: Inputs, kind: str) -> Got:
    cipher = Misty1(inputs.octets("key", 16))
    block = int.from_bytes(inputs.octets("plaintext", 8), "big")
    encrypted = cipher.encrypt(block)
    if cipher.decrypt(encrypted) != block:
        return {"ciphertext": f"{encrypted:016x}, which does not decrypt again"}
    return {"ciphertext": f"{encrypted:016x}"}


def _ea07_block(inputs: Inputs, kind: str) -> Got:
    token_class = inputs.integer("token_class")
    if not 0 <= token_class <= 3:
        raise inputs.wrong("token_class", "a class from 0 to 3")
    cipher = Sta(inputs.octets("decoder_key", 8), _tables(inputs))
    block = int.from_bytes(inputs.octets("data_block", 8), "big")
    encrypted = cipher.encrypt(block)
    token = join_class(encrypted, token_class)
    digits = digits_of(token)
    return {
        "encrypted_66bit_hex": f"{token:017x}",
        "encrypted_block": f"{encrypted:016x}",
        "token": digits
        if cipher.decrypt(encrypted) == block
        else f"{digits}, which does not decrypt again",
    }


KINDS: Final[Mapping[str, Callable[[Inputs, str], Got]]] = {
    **{name: _credit for (c, s), name in TOKEN_NAMES.items() if c == 0 and s < 4},
    **{name: _currency for (c, s), name in TOKEN_NAMES.items() if c == 0 and s >= 4},
    **dict.fromkeys(
        (
            "set_maximum_power_limit",
            "clear_credit",
            "set_tariff_rate",
            "clear_tamper_condition",
            "set_maximum_phase_power_unbalance_limit",
            "set_water_meter_factor",
            "proprietary_management",
        ),
        _management,
    ),
    "extended_class2_sub10": _extended,
    "meter_test_display": _meter_test,
    "credit_token_from_decoder_key": _from_decoder_key,
    "key_change_2_tokens": _key_change,
    "key_change_3_tokens": _key_change,
    "key_change_4_tokens": _key_change,
    "key_expiry": _key_expiry,
    "tid": _tid_only,
    "crc16": _crc16,
    "pan_luhn": _pan_luhn,
    "drn_luhn": _drn_luhn,
    "misty1_block": _misty1_block,
    "ea07_block_sample_tables": _ea07_block,
}
"""Checker of each kind of vector."""


def check_vector(vector: Mapping[str, object]) -> Checked:
    """Run one vector.

    Raises:
        VectorError: the kind is unknown, a field is missing or cannot be read, or an expected field
            is one that the kind does not make.
    """
    vector_inputs = Inputs(vector, "")
    kind = vector_inputs.text("kind")
    if kind not in KINDS:
        raise VectorError("unknown_kind", f"the kind {kind!r} is not known", field="kind")
    inputs, expected = vector_inputs.part("inputs"), vector_inputs.part("expected").data
    if not expected:
        raise VectorError("vector_field_missing", "nothing is expected", field="expected")
    try:
        got = KINDS[kind](inputs, kind)
    except VectorError:
        raise
    except Refused as error:
        refusal = f"refused: {error.message}"
        return Checked(tuple(Difference(n, v, refusal) for n, v in expected.items()), ())
    differences = []
    for name, value in expected.items():
        if name not in got:
            raise VectorError(
                "unknown_expected_field",
                f"{kind} has no result of that name",
                field=f"expected.{name}",
            )
        if _comparable(name, value, got[name]) != _comparable(name, got[name], got[name]):
            differences.append(Difference(name, value, got[name]))
    return Checked(tuple(differences), inputs.unused())


def _comparable(name: str, value: object, like: object) -> object:
    """Return a value for comparison: letters of hex do not count, types do."""
    if type(value) is not type(like) and like is not None:
        raise VectorError(
            "vector_field_wrong",
            f"expected {type(like).__name__}, got {value!r}"[:120],
            field=f"expected.{name}",
        )
    return value.lower() if isinstance(value, str) else value

"""Making and reading tokens: request to 20 digits, and 20 digits to fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from slotmeter.errors import Refused
from slotmeter.vending.sts.amounts import encode_currency, encode_units
from slotmeter.vending.sts.bits import PAYLOAD_BITS, require_within
from slotmeter.vending.sts.crc import crc_field
from slotmeter.vending.sts.frame import digits_of, join_class, parse_digits, split_class
from slotmeter.vending.sts.keys import DecoderKey, KeyParameters, KeyType
from slotmeter.vending.sts.management import MANAGEMENT_TYPES, ProprietaryManagement
from slotmeter.vending.sts.misty1 import Misty1
from slotmeter.vending.sts.request import IssuedToken, TokenRequest
from slotmeter.vending.sts.sta import Sta
from slotmeter.vending.sts.tables import PRODUCTION, TableSet
from slotmeter.vending.sts.tid import check_tid, tid_expired
from slotmeter.vending.sts.tokens import (
    CurrencyCredit,
    Token,
    TransferCredit,
    display_type,
    parse_body,
)

__all__ = [
    "BlockCipher",
    "DecodedToken",
    "check_issuable",
    "cipher_for",
    "decode_digits",
    "encode_token",
    "issue_token",
    "issued",
    "token_of",
]

_POWER_LIMITS = frozenset({0, 6})


class BlockCipher(Protocol):
    """A 64-bit block cipher under one decoder key."""

    def encrypt(self, block: int) -> int:
        """Encrypt a 64-bit block."""
        ...

    def decrypt(self, block: int) -> int:
        """Decrypt a 64-bit block."""
        ...


def cipher_for(key: DecoderKey, tables: TableSet = PRODUCTION) -> BlockCipher:
    """Return the cipher of a decoder key. Worth keeping while more tokens use the key."""
    return Sta(key.key, tables) if key.ea == 7 else Misty1(key.key)


def _required(name: str, value: int | None) -> int:
    if value is None:
        raise Refused("missing_field", f"this token needs {name}", field=name)
    return value


def token_of(request: TokenRequest) -> Token:
    """Return the typed token of a request, its amount rounded and encoded.

    Raises:
        Refused: a field is missing or does not fit.
    """
    token_class, subclass, value = request.token_class, request.subclass, request.value
    if token_class == 0:
        tid = check_tid(_required("tid", request.tid))
        if subclass < 4:
            rnd = _required("rnd", request.rnd)
            return TransferCredit(subclass, rnd, tid, encode_units(value))
        return CurrencyCredit(subclass, tid, encode_currency(value))
    if token_class == 1:
        display = display_type(subclass)
        if display is None:
            raise TypeError("a TokenRequest is never of a reserved subclass")
        return display(subclass, value, request.manufacturer_code)
    return _management(request)


def _management(request: TokenRequest) -> Token:
    subclass, value = request.subclass, request.value
    plain = MANAGEMENT_TYPES.get(subclass)
    if plain is None and request.tid is None:
        require_within("value", value, 0, (1 << PAYLOAD_BITS) - 1)
        return ProprietaryManagement(subclass, value)
    tid = check_tid(_required("tid", request.tid))
    rnd = _required("rnd", request.rnd)
    field = encode_units(value) if subclass in _POWER_LIMITS else value
    if plain is not None:
        return plain(rnd, tid, field)
    require_within("rnd", rnd, 0, 15)
    require_within("value", field, 0, 0xFFFF)
    return ProprietaryManagement(subclass, rnd << 40 | tid << 16 | field)


def encode_token(token: Token, cipher: BlockCipher | None = None) -> str:
    """Return the 20 digits of a token; class 1 needs no cipher.

    Raises:
        Refused: a field does not fit.
    """
    token_class = token.token_class
    body = token.body()
    block = body << 16 | crc_field(token_class, body)
    if token_class != 1:
        if cipher is None:
            raise TypeError("only class 1 goes unencrypted")
        block = cipher.encrypt(block)
    return digits_of(join_class(block, token_class))


def issued(token: Token, digits: str) -> IssuedToken:
    """Return what a vendor may know of a token made."""
    return IssuedToken(
        digits,
        token.token_class,
        token.subclass,
        token.tid,
        token.rnd,
        token.value_field,
        token.value,
    )


def check_issuable(parameters: KeyParameters, request: TokenRequest) -> None:
    """Refuse a token that the meter would refuse because of its key.

    Raises:
        Refused: ``key_expired`` or ``credit_under_default_key``.
    """
    tid = request.tid
    if tid is not None and tid_expired(tid, parameters.ken):
        raise Refused(
            "key_expired",
            f"the vending key expired (KEN {parameters.ken}); change the meter to a newer key",
            field="tid",
        )
    if request.token_class == 0 and parameters.kt == KeyType.DEFAULT:
        raise Refused(
            "credit_under_default_key",
            "a meter with a default key (KT 1) takes no credit; change its key first",
            field="kt",
        )


def issue_token(
    cipher: BlockCipher, parameters: KeyParameters, request: TokenRequest
) -> IssuedToken:
    """Make one token, other than key change, for a meter.

    Args:
        cipher: of the decoder key that belongs to ``parameters``, see :func:`cipher_for`.
        parameters: what the meter is coded with.
        request: what to make.

    Raises:
        Refused: the meter would refuse it (:func:`check_issuable`), or a field does not fit.
    """
    check_issuable(parameters, request)
    token = token_of(request)
    return issued(token, encode_token(token, cipher))


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """Twenty digits as far as they can be read.

    Attributes:
        token_class: 0 to 3.
        block: the 64-bit block, still encrypted where no cipher was given.
        body: the 48 bits above the CRC, None while encrypted.
        crc_right: whether the CRC fits, None while encrypted.
        token: the typed token; None while encrypted, with a wrong CRC, or when reserved.
    """

    token_class: int
    block: int
    body: int | None = None
    crc_right: bool | None = None
    token: Token | None = None


def decode_digits(digits: str, cipher: BlockCipher | None = None) -> DecodedToken:
    """Read 20 digits; classes 0 and 2 need the cipher of the meter's key.

    Raises:
        Refused: ``bad_token_digits``.
    """
    token_class, block = split_class(parse_digits(digits))
    if token_class != 1:
        if cipher is None or token_class == 3:
            return DecodedToken(token_class, block)
        block = cipher.decrypt(block)
    body = block >> 16
    crc_right = crc_field(token_class, body) == block & 0xFFFF
    token = parse_body(token_class, body) if crc_right else None
    return DecodedToken(token_class, block, body, crc_right, token)

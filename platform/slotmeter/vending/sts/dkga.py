"""Decoder key generation: from a vending key and a meter's parameters to the key that both share.

::

    PANBlock      16 decimal digits: PAN without its first and last digit
    ControlBlock  KT(1) SGC(6) TI(2) KRN(1) as hex digits, then FFFFFF
    DataBlock     PANBlock XOR ControlBlock
    DKGA02        DES(key VK, DataBlock) XOR DataBlock XOR VK
    DKGA04        HMAC-SHA-256(key VK, label 00 context length), first 64 or 128 bits
    DKGA01        DES(key DataBlock, VK) XOR VK; for a few old meters, off unless asked for

DKGA03 is not carried: it was withdrawn, and nothing is published to prove an implementation with.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from slotmeter.errors import Refused
from slotmeter.vending.sts.keys import (
    DKGA_KEY_BYTES,
    EA_KEY_BYTES,
    DecoderKey,
    KeyParameters,
    KeyType,
)
from slotmeter.vending.sts.pan import IIN_11, drn_of_pan

__all__ = [
    "DerivationOptions",
    "check_vending_key_bytes",
    "data_block",
    "derive_decoder_key",
    "dkga01_applies",
    "has_odd_parity",
    "vending_key_check_value",
    "with_odd_parity",
]

_COMMON_KEY_PAN: Final = IIN_11 + "0" * 12
_COMMON_KEY_PAN_BLOCK: Final = 0x0072700000000000

_PARITY: Final = bytes(value & 0xFE | (value >> 1).bit_count() % 2 ^ 1 for value in range(256))

# First ten digits of the 11-digit meter numbers that may carry a DKGA01 key (both ends included).
_DKGA01_DRN_RANGES: Final = (
    (109000000, 109000499),
    (100000000, 100499999),
    (300000000, 311400000),
    (400000000, 405999999),
    (601000000, 603999999),
    (640000000, 641999999),
    (666000000, 669999999),
    (699000001, 699000999),
    (700000000, 702099999),
)
_DKGA01_COMMON_SGCS: Final = frozenset(
    {"100702", "990400", "990401", "990402", "990403", "990404", "990405"}
)


@dataclass(frozen=True, slots=True)
class DerivationOptions:
    """Choices where sources disagree or where a site has to decide.

    Attributes:
        allow_dkga01: carry the oldest algorithm too, for the meters that need it.
        common_key_with_own_pan: put the meter's own PAN into a common key (KT 3) under DKGA04 in
            place of 600727 and zeros, as some vendors do.
        refuse_even_parity: refuse a DES vending key whose bytes lack odd parity, which often is a
            typing error, in place of setting the parity bits.
    """

    allow_dkga01: bool = False
    common_key_with_own_pan: bool = False
    refuse_even_parity: bool = False


_DEFAULT_OPTIONS: Final = DerivationOptions()


def with_odd_parity(key: bytes) -> bytes:
    """Return a DES key with the lowest bit of each byte set so that the byte has odd parity."""
    return key.translate(_PARITY)


def has_odd_parity(key: bytes) -> bool:
    """Say whether every byte of a DES key has odd parity."""
    return key == with_odd_parity(key)


def _des(key: bytes, block: bytes) -> bytes:
    # Single DES is triple DES with three times one key.
    cipher = Cipher(TripleDES(key * 3), modes.ECB())  # noqa: S305  # one block
    return cipher.encryptor().update(block)


def _xor(*blocks: bytes) -> bytes:
    result = 0
    for block in blocks:
        result ^= int.from_bytes(block, "big")
    return result.to_bytes(8, "big")


def data_block(parameters: KeyParameters) -> bytes:
    """Return the 8-byte DataBlock of DKGA01 and DKGA02."""
    if parameters.kt == KeyType.COMMON:
        # The IIN with a meter number of zeros; the IIN of 13-digit numbers is zeros itself.
        pan_block = _COMMON_KEY_PAN_BLOCK if parameters.pan.startswith(IIN_11) else 0
    else:
        pan_block = int(parameters.pan[1:17], 16)
    control = f"{parameters.kt:d}{parameters.sgc}{parameters.ti:02d}{parameters.krn:d}FFFFFF"
    return (pan_block ^ int(control, 16)).to_bytes(8, "big")


def _dkga02(key: bytes, parameters: KeyParameters) -> bytes:
    block = data_block(parameters)
    return _xor(_des(key, block), block, with_odd_parity(key))


def dkga01_applies(parameters: KeyParameters) -> bool:
    """Say whether a meter is one of the old ones that DKGA01 is for."""
    if not parameters.pan.startswith(IIN_11) or parameters.krn != 1 or parameters.ea != 7:
        return False
    if parameters.kt == KeyType.COMMON:
        return parameters.sgc in _DKGA01_COMMON_SGCS
    number = int(drn_of_pan(parameters.pan)[:-1])
    return parameters.kt in (KeyType.DEFAULT, KeyType.UNIQUE) and any(
        first <= number <= last for first, last in _DKGA01_DRN_RANGES
    )


def _dkga01(key: bytes, parameters: KeyParameters, options: DerivationOptions) -> bytes:
    if not options.allow_dkga01:
        raise Refused(
            "dkga01_disabled",
            "DKGA01 is for a few old meters and is off; enable it in the configuration to use it",
            field="dkga",
        )
    if not dkga01_applies(parameters):
        raise Refused(
            "dkga01_not_for_this_meter",
            "the meter is not one of those that DKGA01 is for; expected DKGA02 or DKGA04",
            field="dkga",
        )
    odd = with_odd_parity(key)
    return _xor(_des(data_block(parameters), odd), odd)


def _dkga04(key: bytes, parameters: KeyParameters, options: DerivationOptions) -> bytes:
    pan = parameters.pan
    if parameters.kt == KeyType.COMMON and not options.common_key_with_own_pan:
        pan = _COMMON_KEY_PAN
    length = EA_KEY_BYTES[parameters.ea]
    message = (
        f"\4\x0204\2{parameters.base_date % 100:02d}\2{parameters.ea:02d}\2{parameters.ti:02d}"
        f"\0\4\6{parameters.sgc}\1{parameters.kt:d}\1{parameters.krn:d}\x12{pan}"
    )
    text = message.encode("ascii") + (length * 8).to_bytes(4, "big")
    return hmac.digest(key, text, "sha256")[:length]


def check_vending_key_bytes(
    key: bytes, dkga: str, options: DerivationOptions = _DEFAULT_OPTIONS
) -> None:
    """Refuse a vending key whose length or parity does not fit its algorithm.

    Raises:
        Refused: ``bad_vending_key`` or ``vending_key_parity``.
    """
    if len(key) != DKGA_KEY_BYTES[dkga]:
        raise Refused(
            "bad_vending_key",
            f"a DKGA{dkga} vending key has {DKGA_KEY_BYTES[dkga]} bytes, got {len(key)}",
            field="vending_key",
        )
    if options.refuse_even_parity and dkga != "04" and not has_odd_parity(key):
        raise Refused(
            "vending_key_parity",
            "a DES vending key has odd parity in each byte; compare the key with its paper",
            field="vending_key",
        )


def derive_decoder_key(
    vending_key: bytes,
    parameters: KeyParameters,
    options: DerivationOptions = _DEFAULT_OPTIONS,
) -> DecoderKey:
    """Return the key that a meter with these parameters shares with its vendor.

    Args:
        vending_key: 8 bytes for DKGA01 and DKGA02, 20 bytes for DKGA04.
        parameters: what the meter is (to be) coded with.
        options: see :class:`DerivationOptions`.

    Raises:
        Refused: ``bad_vending_key``, ``vending_key_parity``, ``dkga01_disabled`` or
            ``dkga01_not_for_this_meter``.
    """
    dkga = parameters.dkga
    check_vending_key_bytes(vending_key, dkga, options)
    if dkga == "04":
        key = _dkga04(vending_key, parameters, options)
    elif dkga == "02":
        key = _dkga02(vending_key, parameters)
    else:
        key = _dkga01(vending_key, parameters, options)
    return DecoderKey(key, parameters.ea)


def vending_key_check_value(vending_key: bytes, dkga: str) -> str:
    """Return six hex digits that identify a vending key without telling it.

    DKGA01 and DKGA02: the first 3 bytes of eight zero bytes encrypted with it; DKGA04: of
    SHA-256(01h, key).

    Raises:
        Refused: ``bad_vending_key``.
    """
    check_vending_key_bytes(vending_key, dkga)
    if dkga == "04":
        return hashlib.sha256(b"\x01" + vending_key).hexdigest()[:6].upper()
    return _des(vending_key, bytes(8))[:3].hex().upper()

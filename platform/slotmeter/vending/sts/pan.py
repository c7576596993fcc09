"""Meter numbers: DRN, PAN and their Luhn check digits (IEC 62055-41, meter PAN).

::

    DRN  11 digits = manufacturer(2) serial(8) check(1)      with IIN 600727
    DRN  13 digits = manufacturer(4) serial(8) check(1)      with IIN 0000
    PAN  18 digits = IIN DRN check(1)
"""

from __future__ import annotations

from typing import Final

from slotmeter.errors import Refused

__all__ = [
    "check_drn",
    "check_pan",
    "drn_of_pan",
    "drn_valid",
    "luhn_digit",
    "manufacturer_of_pan",
    "pan_of_drn",
    "pan_valid",
]

IIN_11: Final = "600727"
IIN_13: Final = "0000"
PAN_DIGITS: Final = 18

_PLAIN: Final = bytes(48) + bytes(range(10)) + bytes(198)
_DOUBLED: Final = bytes(48) + bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)) + bytes(198)


def luhn_digit(digits: str) -> str:
    """Return the Luhn check digit that belongs after ``digits`` (which lack it)."""
    text = digits.encode("ascii")
    total = sum(text[-1::-2].translate(_DOUBLED)) + sum(text[-2::-2].translate(_PLAIN))
    return str(-total % 10)


def _all_digits(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit()


def _luhn_valid(digits: str) -> bool:
    return luhn_digit(digits[:-1]) == digits[-1]


def drn_valid(drn: str) -> bool:
    """Say whether ``drn`` has 11 or 13 digits and a right check digit."""
    return _all_digits(drn) and len(drn) in (11, 13) and _luhn_valid(drn)


def pan_valid(pan: str) -> bool:
    """Say whether ``pan`` has 18 digits, a known IIN and right check digits of PAN and DRN."""
    if not (_all_digits(pan) and len(pan) == PAN_DIGITS and _luhn_valid(pan)):
        return False
    return pan.startswith((IIN_11, IIN_13)) and drn_valid(_drn(pan))


def _drn(pan: str) -> str:
    return pan[len(IIN_11) : -1] if pan.startswith(IIN_11) else pan[len(IIN_13) : -1]


def check_drn(drn: str) -> str:
    """Return ``drn`` if it is right.

    Raises:
        Refused: ``bad_drn`` (not 11 or 13 digits) or ``wrong_check_digit``.
    """
    if not _all_digits(drn) or len(drn) not in (11, 13):
        raise Refused("bad_drn", "a meter number (DRN) has 11 or 13 digits", field="drn")
    if not _luhn_valid(drn):
        raise Refused(
            "wrong_check_digit",
            "the last digit of the meter number does not fit the others; check for a typing error",
            field="drn",
        )
    return drn


def check_pan(pan: str) -> str:
    """Return ``pan`` if it is right.

    Raises:
        Refused: ``bad_pan`` (not 18 digits, unknown IIN) or ``wrong_check_digit``.
    """
    if not _all_digits(pan) or len(pan) != PAN_DIGITS:
        raise Refused("bad_pan", "a meter PAN has 18 digits", field="pan")
    if not pan.startswith((IIN_11, IIN_13)):
        raise Refused("bad_pan", f"a meter PAN begins with {IIN_11} or {IIN_13}", field="pan")
    if not pan_valid(pan):
        raise Refused(
            "wrong_check_digit",
            "a check digit of the meter PAN does not fit the others; check for a typing error",
            field="pan",
        )
    return pan


def pan_of_drn(drn: str) -> str:
    """Return the 18-digit PAN of a meter number.

    Raises:
        Refused: as :func:`check_drn`.
    """
    check_drn(drn)
    body = (IIN_11 if len(drn) == 11 else IIN_13) + drn
    return body + luhn_digit(body)


def drn_of_pan(pan: str) -> str:
    """Return the 11- or 13-digit meter number within a PAN.

    Raises:
        Refused: as :func:`check_pan`.
    """
    return _drn(check_pan(pan))


def manufacturer_of_pan(pan: str) -> int:
    """Return the manufacturer code (first 2 or 4 digits of the DRN) as a number.

    Raises:
        Refused: as :func:`check_pan`.
    """
    drn = drn_of_pan(pan)
    return int(drn[:-9])

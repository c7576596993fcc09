"""Key change: the set of tokens that moves a meter from one decoder key to another.

::

    EA07, 64-bit key     subclass 3 (high word), 4 (low word); with three tokens also 8 (SGC)
    EA11, 128-bit key    subclass 3 (word 0), 4 (word 3), 8 (word 1), 9 (word 2)
"""

from __future__ import annotations

from slotmeter.errors import Refused
from slotmeter.vending.sts.issue import BlockCipher, encode_token, issued
from slotmeter.vending.sts.keys import DecoderKey, KeyParameters
from slotmeter.vending.sts.management import (
    KeySection1,
    KeySection2,
    KeySection3,
    KeySection4,
)
from slotmeter.vending.sts.request import IssuedToken
from slotmeter.vending.sts.tid import tid_of_minute

__all__ = [
    "change_due",
    "check_change",
    "key_change_tokens",
    "key_sections",
    "rollover",
    "set_subclasses",
]

_KEY_FIELDS = ("sgc", "krn", "kt", "ti", "ken", "base_date")


def rollover(current: KeyParameters, new: KeyParameters) -> bool:
    """Say whether the meter has to forget its token identifiers: the base date moves on."""
    return new.base_date > current.base_date


def change_due(current: KeyParameters, wanted: KeyParameters) -> bool:
    """Say whether a meter has to be changed before it can take tokens under ``wanted``."""
    return any(getattr(current, name) != getattr(wanted, name) for name in _KEY_FIELDS)


def check_change(
    current: KeyParameters, new: KeyParameters, now_minute_1993: int | None = None
) -> None:
    """Refuse a change that cannot work. A change away from an expired key is fine.

    Args:
        current: what the meter is coded with.
        new: what it shall be coded with.
        now_minute_1993: the vendor's clock; when given, the new key must not have expired.

    Raises:
        Refused: ``key_change_other_meter``, ``key_change_other_algorithm``, or as
            :func:`tid_of_minute`, among them ``key_expired``.
    """
    if current.pan != new.pan:
        raise Refused(
            "key_change_other_meter", "both keys must belong to one meter PAN", field="pan"
        )
    if current.ea != new.ea:
        raise Refused(
            "key_change_other_algorithm",
            f"a meter keeps its encryption algorithm, got EA{current.ea:02d} and EA{new.ea:02d}",
            field="ea",
        )
    if now_minute_1993 is not None:
        tid_of_minute(now_minute_1993, new.base_date, new.ken)


def set_subclasses(ea: int, *, three_tokens: bool = False) -> tuple[int, ...]:
    """Return the subclasses of the tokens of a key change, in the order of entry.

    Raises:
        Refused: ``three_tokens_are_for_ea07``.
    """
    if ea == 7:
        return (3, 4, 8) if three_tokens else (3, 4)
    if three_tokens:
        raise Refused(
            "three_tokens_are_for_ea07", "an EA11 key change always has four tokens", field="ea"
        )
    return (3, 4, 8, 9)


def key_sections(
    new_key: DecoderKey, new: KeyParameters, *, rolls_over: bool, three_tokens: bool = False
) -> tuple[KeySection1 | KeySection2 | KeySection3 | KeySection4, ...]:
    """Return the typed sections of a key change in the order of entry.

    Raises:
        Refused: ``three_tokens_are_for_ea07``.
    """
    set_subclasses(new.ea, three_tokens=three_tokens)
    key = new_key.key
    words = [int.from_bytes(key[i : i + 4], "big") for i in range(0, len(key), 4)]
    sgc = int(new.sgc)
    first = KeySection1(new.ken >> 4, new.krn, rolls_over, three_tokens, new.kt, words[0])
    second = KeySection2(new.ken & 15, new.ti, words[-1])
    if new.ea == 7:
        return (first, second, KeySection3(sgc << 20)) if three_tokens else (first, second)
    third = KeySection3((sgc & 0xFFF) << 32 | words[1])
    return first, second, third, KeySection4(sgc >> 12, words[2])


def key_change_tokens(
    current_cipher: BlockCipher,
    current: KeyParameters,
    new_key: DecoderKey,
    new: KeyParameters,
    *,
    three_tokens: bool = False,
    rolls_over: bool | None = None,
) -> tuple[IssuedToken, ...]:
    """Make the tokens of a key change, in the order of entry.

    Args:
        current_cipher: of the key that the meter has now.
        current, new: what the meter is coded with now and afterwards.
        new_key: the decoder key that belongs to ``new``.
        three_tokens: EA07 only: add the token that carries the supply group code.
        rolls_over: whether the meter forgets its token identifiers; by default :func:`rollover`.

    Raises:
        Refused: as :func:`check_change` and :func:`key_sections`.
    """
    check_change(current, new)
    rolls = rollover(current, new) if rolls_over is None else rolls_over
    sections = key_sections(new_key, new, rolls_over=rolls, three_tokens=three_tokens)
    return tuple(issued(section, encode_token(section, current_cipher)) for section in sections)

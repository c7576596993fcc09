"""Until when tokens can be made under a vending key."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from slotmeter.units import DAY_US, epoch_us
from slotmeter.vending.sts import KEN_NEVER, TID_MAX, instant_of_tid

__all__ = ["WARN_DAYS", "days_left", "key_expires_us"]

WARN_DAYS: Final = 30
"""So long before a key ends somebody is told."""

_TID_BITS_OF_KEN: Final = 16


def key_expires_us(base_date: int, ken: int) -> int:
    """Return the instant from which on no token can be made under a key, UTC epoch microseconds.

    A key ends with the last token identifier that its expiry number allows (STS 402-1, KEN times
    65,536 minutes), and in any case with the last one of its base date, 31.9 years after it.
    """
    last_tid = TID_MAX
    if ken != KEN_NEVER:
        last_tid = min(TID_MAX, (ken + 1 << _TID_BITS_OF_KEN) - 1)
    return epoch_us(instant_of_tid(last_tid, base_date) + timedelta(minutes=1))


def days_left(expires_us: int, now_us: int) -> int:
    """Return the whole days until a key ends; below 0 when it has ended."""
    return (expires_us - now_us) // DAY_US

"""Token identifiers for a vendor's tokens: one allocator, with lanes for vendors that sell apart.

Several allocators that cannot ask each other (a branch that sells alone) share one meter by lanes:
each gives only the minutes that fall into its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from slotmeter.errors import Refused
from slotmeter.vending.sts import (
    KEPT_TIDS,
    KeyParameters,
    minute_1993_of_us,
    next_tid_minute,
    tid_of_minute,
)

__all__ = ["AHEAD_MINUTES_MAX", "KEY_CHANGE_NEEDED", "Tid", "TidAllocator", "stored_parameters"]

AHEAD_MINUTES_MAX: Final = 1_440
"""No identifier is more than this many minutes after the present; see :mod:`restored`."""

KEY_CHANGE_NEEDED: Final = "key_change_needed"
"""Code of the refusal of a token under a base date whose identifiers have run out."""

_BASE_DATE_OVER: Final = "after_last_tid"


@lru_cache(maxsize=4_096)
def stored_parameters(text: str) -> KeyParameters:
    """Read key parameters as the database keeps them: JSON text that was checked before."""
    return KeyParameters.from_dict(json.loads(text))


@dataclass(frozen=True, slots=True)
class Tid:
    """An identifier: what the token carries, and the minute since 1993 that it stands for."""

    tid: int
    minute: int


@dataclass(frozen=True, slots=True)
class TidAllocator:
    """Chooses identifiers; pure, so a unit of work asks it with what it has just read.

    Args:
        lane: this allocator's lane, from 0.
        lanes: how many there are.
        floor: only later minutes are given; that of a restored database, else 0.
    """

    lane: int = 0
    lanes: int = 1
    floor: int = 0

    def next(self, now_us: int, kept: Sequence[int], parameters: KeyParameters) -> Tid:
        """Return the identifier of a meter's next ordinary token.

        Args:
            now_us: our clock, UTC epoch microseconds.
            kept: the meter's largest minutes so far, at most ``KEPT_TIDS``, in any order; those
                before this minute may be left out, as they cannot be given again.
            parameters: what the meter is coded with.

        Raises:
            Refused: ``key_change_needed``: the identifiers of the key's base date have run out;
                or the key's base date or expiry does not allow a token now.
        """
        now = minute_1993_of_us(now_us)
        present = max(now, self.floor + 1)
        # A memory that is not full reaches back to before the present.
        memory = kept if len(kept) >= KEPT_TIDS else (*kept, present - 1)
        minute = next_tid_minute(present, memory, self.lane, self.lanes)
        if minute - present > AHEAD_MINUTES_MAX:
            raise Refused(
                "too_many_tokens",
                f"the meter was given all token identifiers of the next {AHEAD_MINUTES_MAX} "
                "minutes; sell to it again later",
                field="meter",
            )
        try:
            tid = tid_of_minute(minute, parameters.base_date, parameters.ken)
        except Refused as error:
            if error.code != _BASE_DATE_OVER:
                raise
            raise Refused(
                KEY_CHANGE_NEEDED,
                f"key change needed: the meter counts from {parameters.base_date} and its token "
                "identifiers have run out; issue key change tokens to a key with a later base date",
                field="meter",
                details={"base_date": parameters.base_date},
            ) from error
        return Tid(tid, minute)

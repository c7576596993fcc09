"""Token identifiers: minutes, base dates, the reserved minute, key expiry, and no repeats per
meter.

A TID is a 24-bit count of whole minutes since 1 January 00:00 UTC of its base date (1993, 2014 or
2035). What a vendor remembers about a meter is kept in minutes since 1993, so that the memory
survives a change of base date. In both counts a day has 1440 minutes and starts at 0, since every
base date is a midnight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from slotmeter.errors import Refused

__all__ = [
    "BASE_DATES",
    "KEN_NEVER",
    "KEPT_TIDS",
    "TID_MAX",
    "check_tid",
    "instant_of_tid",
    "is_reserved",
    "keep_tid_minute",
    "minute_1993_of",
    "minute_1993_of_tid",
    "minute_1993_of_us",
    "next_tid_minute",
    "tid_expired",
    "tid_of_minute",
]

BASE_DATES: Final = (1993, 2014, 2035)
TID_MAX: Final = (1 << 24) - 1
MINUTES_PER_DAY: Final = 1440
RESERVED_MINUTE_OF_DAY: Final = 1
KEN_NEVER: Final = 255
"""Key expiry number that means: does not expire."""
KEPT_TIDS: Final = 50
"""How many identifiers of a meter a vendor keeps; the largest ones."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US_PER_MINUTE: Final = 60_000_000


def _minutes_since_1970(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).days * MINUTES_PER_DAY


_MINUTE_1970_OF_1993: Final = _minutes_since_1970(1993)
_BASE_MINUTE_1993: Final = {
    year: _minutes_since_1970(year) - _MINUTE_1970_OF_1993 for year in BASE_DATES
}


def minute_1993_of_us(epoch_us: int) -> int:
    """Return the whole minutes from 1993 to an instant in microseconds since 1970, UTC."""
    return epoch_us // _US_PER_MINUTE - _MINUTE_1970_OF_1993


def minute_1993_of(instant: datetime) -> int:
    """Return the whole minutes between 1993 and an aware instant. Seconds are dropped.

    Raises:
        Refused: the instant has no time zone.
    """
    if instant.tzinfo is None:
        raise Refused("naive_time", "expected an instant with a time zone, got one without")
    elapsed = instant.astimezone(UTC) - _EPOCH
    return elapsed.days * MINUTES_PER_DAY + elapsed.seconds // 60 - _MINUTE_1970_OF_1993


def _base_minute(base_date: int) -> int:
    try:
        return _BASE_MINUTE_1993[base_date]
    except KeyError:
        raise Refused(
            "bad_base_date",
            f"base_date must be one of 1993, 2014, 2035, got {base_date!r}",
            field="base_date",
        ) from None


def minute_1993_of_tid(tid: int, base_date: int) -> int:
    """Return the minutes since 1993 of a TID under ``base_date``.

    Raises:
        Refused: the TID is not a 24-bit number, or the base date is unknown.
    """
    return check_tid(tid) + _base_minute(base_date)


def instant_of_tid(tid: int, base_date: int) -> datetime:
    """Return the UTC minute that a TID stands for.

    Raises:
        Refused: as :func:`minute_1993_of_tid`.
    """
    minute_1970 = minute_1993_of_tid(tid, base_date) + _MINUTE_1970_OF_1993
    return datetime.fromtimestamp(minute_1970 * 60, tz=UTC)


def check_tid(tid: int) -> int:
    """Return ``tid`` if it is a 24-bit number.

    Raises:
        Refused: ``tid_out_of_range``.
    """
    if isinstance(tid, bool) or not isinstance(tid, int) or not 0 <= tid <= TID_MAX:
        raise Refused(
            "tid_out_of_range",
            f"a token identifier is an integer from 0 to {TID_MAX}, got {tid!r}",
            field="tid",
        )
    return tid


def tid_expired(tid: int, ken: int) -> bool:
    """Say whether a key with expiry number ``ken`` is too old for a token with ``tid``."""
    return ken != KEN_NEVER and tid >> 16 > ken


def tid_of_minute(minute_1993: int, base_date: int, ken: int = KEN_NEVER) -> int:
    """Return the TID of a minute (counted from 1993) under a base date.

    Raises:
        Refused: ``before_base_date``, ``after_last_tid`` (the base date's 31.9 years are over: a
            key change to a later base date is due) or ``key_expired``.
    """
    tid = minute_1993 - _base_minute(base_date)
    if tid < 0:
        raise Refused(
            "before_base_date", f"the time is before the key's base date {base_date}", field="tid"
        )
    if tid > TID_MAX:
        raise Refused(
            "after_last_tid",
            f"the time is after the last token identifier of base date {base_date};"
            " change the meter to a key with a later base date",
            field="tid",
        )
    if tid_expired(tid, ken):
        raise Refused(
            "key_expired",
            f"the vending key expired (KEN {ken}); change the meter to a newer key",
            field="tid",
        )
    return tid


def is_reserved(minute_or_tid: int) -> bool:
    """Say whether it is 00:01 of a day, which only special-purpose tokens may carry."""
    return minute_or_tid % MINUTES_PER_DAY == RESERVED_MINUTE_OF_DAY


def _check_lane(lane: int, lanes: int) -> None:
    if lanes < 1 or not 0 <= lane < lanes:
        raise Refused(
            "bad_lane",
            f"lane must be from 0 to lanes - 1, got lane {lane} of {lanes}",
            field="lane",
        )


def next_tid_minute(
    now_minute_1993: int,
    kept: Sequence[int],
    lane: int = 0,
    lanes: int = 1,
    special: bool = False,
) -> int:
    """Choose the minute (since 1993) of a meter's next token.

    Ordinary tokens take the first minute, from now on, that is neither in ``kept`` nor reserved. A
    clock
    that jumped back does no harm: nothing at or below the oldest kept minute is given, since the
    meter may have forgotten below it.

    Args:
        now_minute_1993: the vendor's clock.
        kept: what :func:`keep_tid_minute` returned for this meter; any order.
        lane: with ``lanes``, allocate only minutes with ``minute % lanes == lane``, so that several
            allocators can serve one meter without asking each other.
        lanes: number of such allocators.
        special: give the reserved minute instead: today's, or the first later one that is free.

    Raises:
        Refused: ``bad_lane``, or ``special_minute_not_in_lane`` when no reserved minute is in the
        lane.
    """
    _check_lane(lane, lanes)
    used = frozenset(kept)
    earliest = min(used) + 1 if used else 0
    if special:
        return _next_reserved_minute(now_minute_1993, used, earliest, lane, lanes)
    minute = max(now_minute_1993, earliest)
    minute += (lane - minute) % lanes
    while minute in used or is_reserved(minute):
        minute += lanes
    return minute


def _next_reserved_minute(
    now_minute_1993: int, used: frozenset[int], earliest: int, lane: int, lanes: int
) -> int:
    today = now_minute_1993 - now_minute_1993 % MINUTES_PER_DAY + RESERVED_MINUTE_OF_DAY
    days_late = max(0, -(-(earliest - today) // MINUTES_PER_DAY))
    minute = today + days_late * MINUTES_PER_DAY
    # Remainders modulo ``lanes`` repeat after at most ``lanes`` days; each kept minute costs one
    # more.
    for _ in range(lanes * (len(used) + 1)):
        if minute not in used and minute % lanes == lane:
            return minute
        minute += MINUTES_PER_DAY
    raise Refused(
        "special_minute_not_in_lane",
        f"no reserved minute falls into lane {lane} of {lanes}; ask the allocator of another lane",
        field="lane",
    )


def keep_tid_minute(
    kept: Iterable[int], minute_1993: int, size: int = KEPT_TIDS
) -> tuple[int, ...]:
    """Return the vendor's memory of a meter with one minute more: the largest, ascending."""
    return tuple(sorted({*kept, minute_1993})[-size:])

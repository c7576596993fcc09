"""Accounts as administrators name them: by number, and from which instant something holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import Read, Row
from slotmeter.units import epoch_us, iso_utc

__all__ = [
    "account_read",
    "check_reach",
    "found_account",
    "from_instant",
    "local_month",
    "start_of_day_us",
]


EARLIEST_US: Final = epoch_us(datetime(2000, 1, 1, tzinfo=UTC))
LATEST_US: Final = epoch_us(datetime(2200, 1, 1, tzinfo=UTC))
"""What begins outside is a slip of the keys; some of it cannot even be written as a date."""


def account_read(utility_id: int, number: str, key: str = "account") -> Read:
    """Return the read of an account by its number."""
    return Read("account_by_number", {"utility_id": utility_id, "number": number}, key)


def found_account(rows: Sequence[Row], number: str) -> Row:
    """Return the account that was read.

    Raises:
        NotFound: ``account_unknown``.
    """
    if not rows:
        raise NotFound("account_unknown", f"there is no account {number}", field="account")
    return rows[0]


def check_reach(at_us: int, field: str) -> int:
    """Return an instant that somebody named if it can be meant.

    Raises:
        Refused: ``out_of_range``.
    """
    if not EARLIEST_US <= at_us < LATEST_US:
        raise Refused("out_of_range", "expected a time between 2000 and 2200", field=field)
    return at_us


def from_instant(wanted: datetime | None, now_us: int, field: str = "from") -> int:
    """Return from when something holds; None is now.

    Raises:
        Refused: ``from_in_the_past``: what was sold is never priced again; ``out_of_range``.
    """
    if wanted is None:
        return now_us
    from_us = check_reach(epoch_us(wanted), field)
    if from_us < now_us:
        raise Refused(
            "from_in_the_past",
            f"expected now or later, got {iso_utc(from_us)}: the past keeps its prices",
            field=field,
        )
    return from_us


def start_of_day_us(day: date, time_zone: str) -> int:
    """Return when a local day begins, UTC epoch microseconds."""
    return epoch_us(datetime.combine(day, time.min, ZoneInfo(time_zone)))


def local_month(at: datetime, time_zone: str) -> str:
    """Return the local month of an instant, as ``2026-11``."""
    local = at.astimezone(ZoneInfo(time_zone))
    return f"{local.year:04d}-{local.month:02d}"

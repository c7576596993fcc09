"""Where the window of the block counter begins, and which months and days charges are for."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from slotmeter.units import DAY_US, epoch_us
from slotmeter.vending.pricing.chosen import local_day
from slotmeter.vending.tariff.model import BlockWindow, Counter

__all__ = ["month_of", "months_between", "window_start_day", "window_start_us", "windows_missed"]

MONTHS_PER_YEAR = 12
DAY = timedelta(days=1)


def window_start_us(counter: Counter, at_us: int, time_zone: str) -> int:
    """Return when the block window of an instant began, UTC epoch microseconds.

    Units sold at this instant or later, up to the purchase, count.

    Args:
        counter: of the tariff.
        at_us: the instant of the purchase.
        time_zone: IANA name that local dates follow.
    """
    if counter.window is BlockWindow.ROLLING:
        return at_us - counter.days * DAY_US
    return _midnight_us(window_start_day(counter, local_day(at_us, time_zone)), time_zone)


def window_start_day(counter: Counter, day: date) -> date:
    """Return the first local day of the calendar or billing window that a day is in."""
    start_day = counter.start_day if counter.window is BlockWindow.BILLING_PERIOD else 1
    month = _months(day) - (day.day < start_day)
    month -= month % counter.months
    return date(month // MONTHS_PER_YEAR, month % MONTHS_PER_YEAR + 1, start_day)


def windows_missed(counter: Counter, last_us: int | None, at_us: int, time_zone: str) -> int:
    """Return how many whole windows passed without a purchase before the one of an instant.

    Args:
        counter: of the tariff.
        last_us: the purchase before, or when the supply began; None counts none.
        at_us: the instant.
        time_zone: IANA name that local dates follow.
    """
    if last_us is None or counter.window is BlockWindow.ROLLING:
        return 0
    last = window_start_day(counter, local_day(last_us, time_zone))
    now = window_start_day(counter, local_day(at_us, time_zone))
    return max(0, (_months(now) - _months(last)) // counter.months - 1)


def month_of(day: date) -> str:
    """Return the calendar month of a day, as ``2026-11``."""
    return f"{day.year:04d}-{day.month:02d}"


def months_between(first: date, last: date) -> list[date]:
    """Return the first days of all calendar months from one day to another."""
    return [
        date(month // MONTHS_PER_YEAR, month % MONTHS_PER_YEAR + 1, 1)
        for month in range(_months(first), _months(last) + 1)
    ]


def _months(day: date) -> int:
    return day.year * MONTHS_PER_YEAR + day.month - 1


def _midnight_us(day: date, time_zone: str) -> int:
    return epoch_us(datetime.combine(day, time(), ZoneInfo(time_zone)).astimezone(UTC))

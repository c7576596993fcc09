"""Which period of a time-of-use tariff an instant belongs to.

Periods follow the wall clock of the tariff's time zone. When clocks are set back, the hour that
comes twice has the same period both times; an hour that is left out has no time and no price. So a
day has the length that it really has, 23 and 25 hours included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from slotmeter.errors import Refused
from slotmeter.units import HOUR_US, epoch_us, instant
from slotmeter.vending.tariff.model import Calendar, DayPlan, Holidays, Season, Tariff

__all__ = [
    "PeriodSpan",
    "day_spans",
    "day_start_us",
    "days_without_plan",
    "holidays_known",
    "is_holiday",
    "local_date",
    "period_at",
    "require_coming_year",
    "spans_between",
]

_DAY: Final = timedelta(days=1)
_NO_PRICE: Final = "no_price_in_force"
_CALENDAR_ENDS: Final = "holiday_calendar_ends"


@dataclass(frozen=True, slots=True)
class PeriodSpan:
    """A length of time within one local day that has one period; UTC epoch µs, end excluded."""

    start_us: int
    end_us: int
    day: date
    period: str


# --- local days -----------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Refused(
            "time_zone_unknown",
            f"expected an IANA time zone such as Africa/Nairobi, got {name!r}",
            field="time_zone",
        ) from error


def local_date(at_us: int, time_zone: str) -> date:
    """Return the local date of an instant."""
    return instant(at_us).astimezone(_zone(time_zone)).date()


@lru_cache(maxsize=4096)
def day_start_us(day: date, time_zone: str) -> int:
    """Return the first instant of a local day, UTC epoch µs, also where midnight does not exist."""
    zone = _zone(time_zone)
    start = datetime.combine(day, time(), zone).astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) == datetime.combine(day, time()):
        return epoch_us(start)
    # Clocks were set forward over midnight: the day begins where they jumped.
    low, high = epoch_us(start - 2 * _DAY), epoch_us(start + 2 * _DAY)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if local_date(middle, time_zone) >= day else (middle, high)
    return high


def _transitions(start_us: int, end_us: int, zone: tzinfo) -> Iterator[int]:
    """Yield the instants between at which the offset from UTC changes."""

    def offset(at_us: int) -> timedelta | None:
        return instant(at_us).astimezone(zone).utcoffset()

    at = start_us
    while at < end_us:
        then = min(at + HOUR_US, end_us)
        if offset(at) != offset(then):
            low, high = at, then
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(at) else (low, middle)
            yield high
        at = then


# --- holidays -------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _country_days(country: str, subdivision: str | None, year: int) -> frozenset[date] | None:
    """Return a country's holidays in a year; None for a year the package does not know."""
    import holidays  # a third of a second, only for those who have a calendar

    # The package's own look-up of what it supports loads every country.
    known = getattr(holidays, country, None) if country.isupper() else None
    regions = getattr(known, "subdivisions", None)
    if regions is None or (subdivision is not None and subdivision not in regions):
        where = country if subdivision is None else f"{country} {subdivision}"
        raise Refused(
            "holidays_unknown",
            f"the package holidays does not know {where}: expected an ISO 3166 code such as ZA",
            field="calendar.holidays",
        )
    days = holidays.country_holidays(country, subdiv=subdivision, years=year)
    if not days.start_year <= year <= days.end_year:
        return None
    return frozenset(days)


def holidays_known(holidays: Holidays) -> None:
    """Check that the country and its subdivision are known.

    Raises:
        Refused: ``holidays_unknown``.
    """
    if holidays.country is not None:
        _country_days(holidays.country, holidays.subdivision, 2025)


def _covers(holidays: Holidays, year: int) -> bool:
    own_through = holidays.through
    if own_through is None and holidays.dates:
        own_through = max(holidays.dates).year
    if own_through is not None and year > own_through:
        return False
    if holidays.country is None:
        return True
    return _country_days(holidays.country, holidays.subdivision, year) is not None


def is_holiday(holidays: Holidays | None, day: date) -> bool:
    """Say whether a local day is a holiday.

    Raises:
        Refused: ``holiday_calendar_ends`` for a year that the calendar does not cover,
            ``holidays_unknown``.
    """
    if holidays is None:
        return False
    if not _covers(holidays, day.year):
        raise Refused(
            _CALENDAR_ENDS,
            f"the holiday calendar does not cover {day.year}, so {day} has no price",
            field="calendar.holidays",
            details={"year": day.year},
        )
    if day in holidays.dates:
        return True
    if holidays.country is None:
        return False
    return day in (_country_days(holidays.country, holidays.subdivision, day.year) or ())


def require_coming_year(tariff: Tariff, today: date) -> None:
    """Check that the holidays of this year and the coming one are known, while the tariff lasts.

    Args:
        tariff: about to be approved, or in force.
        today: local.

    Raises:
        Refused: ``holiday_calendar_ends``; ``details`` has the first year that is missing.
    """
    calendar = tariff.calendar
    if calendar is None or calendar.holidays is None:
        return
    for year in (today.year, today.year + 1):
        ended = tariff.valid_until is not None and tariff.valid_until <= date(year, 1, 1)
        if not ended and not _covers(calendar.holidays, year):
            raise Refused(
                _CALENDAR_ENDS,
                f"holiday calendar without the coming year: {year} is missing; add its days and "
                f"set through to {year}",
                field="calendar.holidays.through",
                details={"year": year},
            )


# --- plans ----------------------------------------------------------------------------------------


def _in_season(season: Season, day: date) -> bool:
    at = (day.month, day.day)
    if season.first <= season.last:
        return season.first <= at <= season.last
    return at >= season.first or at <= season.last


def _plan_of(calendar: Calendar, day: date) -> DayPlan | None:
    """Return the first plan that fits a day; plans for holidays come first on holidays."""
    seasons = {season.code for season in calendar.seasons if _in_season(season, day)}
    fitting = [plan for plan in calendar.days if not plan.seasons or plan.seasons & seasons]
    if is_holiday(calendar.holidays, day):
        for plan in fitting:
            if plan.holidays:
                return plan
    return next((plan for plan in fitting if day.weekday() in plan.weekdays), None)


def days_without_plan(calendar: Calendar) -> tuple[str, ...]:
    """Return the days of a leap year that no plan covers, as ``07-14 Sunday``, at most ten.

    Every weekday of every day of the year is tried, for each can meet each in some year.
    """
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    missing: list[str] = []
    day = date(2024, 1, 1)
    while day.year == 2024 and len(missing) < 10:
        seasons = {season.code for season in calendar.seasons if _in_season(season, day)}
        covered = frozenset[int]().union(
            *(plan.weekdays for plan in calendar.days if not plan.seasons or plan.seasons & seasons)
        )
        missing += [
            f"{day:%m-%d} {name}" for number, name in enumerate(names) if number not in covered
        ]
        day += _DAY
    return tuple(missing[:10])


def _period_of(plan: DayPlan, wall: time) -> str:
    period = plan.spans[0][1]
    for start, name in plan.spans:
        if start > wall:
            break
        period = name
    return period


@lru_cache(maxsize=4096)
def day_spans(calendar: Calendar, day: date, time_zone: str) -> tuple[PeriodSpan, ...]:
    """Return the periods of a local day in order of time; together they are the whole day.

    Raises:
        Refused: ``no_price_in_force`` when no plan covers the day, ``holiday_calendar_ends``.
    """
    plan = _plan_of(calendar, day)
    if plan is None:
        raise Refused(
            _NO_PRICE,
            f"the calendar has no plan for {day}, so there is no price",
            field="calendar.days",
        )
    zone = _zone(time_zone)
    start_us, end_us = day_start_us(day, time_zone), day_start_us(day + _DAY, time_zone)
    edges = {start_us, *_transitions(start_us, end_us, zone)}
    for wall, _ in plan.spans:
        for fold in (0, 1):
            at = datetime.combine(day, wall, zone).replace(fold=fold)
            edges.add(epoch_us(at.astimezone(UTC)))
    inside = [*sorted(edge for edge in edges if start_us <= edge < end_us), end_us]
    spans: list[PeriodSpan] = []
    for edge, until in pairwise(inside):
        wall = instant(edge).astimezone(zone).time()
        period = _period_of(plan, wall)
        if spans and spans[-1].period == period:
            edge = spans.pop().start_us
        spans.append(PeriodSpan(edge, until, day, period))
    return tuple(spans)


def period_at(calendar: Calendar, at_us: int, time_zone: str) -> str:
    """Return the period of an instant, UTC epoch µs.

    Raises:
        Refused: ``no_price_in_force``, ``holiday_calendar_ends``, ``time_zone_unknown``.
    """
    for span in day_spans(calendar, local_date(at_us, time_zone), time_zone):
        if span.start_us <= at_us < span.end_us:
            return span.period
    raise AssertionError("the spans of a day are the whole day")


def spans_between(
    calendar: Calendar, start_us: int, end_us: int, time_zone: str
) -> Iterator[PeriodSpan]:
    """Yield the periods from one instant to another in order, cut at both ends and at midnight."""
    day = local_date(start_us, time_zone)
    while day_start_us(day, time_zone) < end_us:
        for span in day_spans(calendar, day, time_zone):
            first, last = max(span.start_us, start_us), min(span.end_us, end_us)
            if first < last:
                yield PeriodSpan(first, last, span.day, span.period)
        day += _DAY

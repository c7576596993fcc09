"""The part ``calendar`` of a document: seasons, the periods of each day, holidays."""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from typing import Final

from slotmeter.errors import Refused
from slotmeter.vending.tariff.calendar import days_without_plan, holidays_known
from slotmeter.vending.tariff.fields import Section, known_word
from slotmeter.vending.tariff.model import Calendar, DayPlan, Holidays, Season
from slotmeter.vending.tariff.problems import excerpt

__all__ = ["period_names", "read_calendar"]

_WEEKDAYS: Final = (
    *("monday", "tuesday", "wednesday", "thursday", "friday"),
    *("saturday", "sunday"),
)
_DAY_OF_YEAR: Final = re.compile(r"[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}")
_LEAP_YEAR: Final = 2024
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_SUBDIVISION: Final = re.compile(r"[A-Za-z0-9-]{1,10}")


def period_names(calendar: Calendar | None) -> tuple[str, ...]:
    """Return the periods that a calendar knows, in the order of the document."""
    plans = calendar.days if calendar is not None else ()
    return tuple(dict.fromkeys(name for plan in plans for _, name in plan.spans))


def read_calendar(document: Section) -> Calendar | None:
    """Read ``calendar``."""
    part = document.part("calendar", "calendar")
    if part is None:
        return None
    problems_before = len(document.problems.found)
    seasons = _seasons(part)
    part.require("days", "it says which period each hour of each day belongs to")
    codes = list(dict.fromkeys(season.code for season in seasons))
    days = tuple(_day_plan(day, codes) for day in part.parts("days", "day plan"))
    calendar = Calendar(seasons, days, _holidays(part))
    if days and len(document.problems.found) == problems_before:
        _check_days(calendar, part)
    return calendar


# --- seasons ------------------------------------------------------------------------------------


def _seasons(part: Section) -> tuple[Season, ...]:
    group = part.part("seasons", None)
    if group is None:
        return ()
    seasons: list[Season] = []
    for code in group:
        if not group.check_code(code, code):
            continue
        for span in group.parts(code, "season"):
            span.require("from")
            span.require("to")
            first, last = _day_of_year(span, "from"), _day_of_year(span, "to")
            if first is not None and last is not None:
                seasons.append(Season(code, first, last))
    return tuple(seasons)


def _day_of_year(span: Section, key: str) -> tuple[int, int] | None:
    text = span.text(key)
    if text is None:
        return None
    if _DAY_OF_YEAR.fullmatch(text):
        month, day = int(text[:2]), int(text[3:])
        try:
            date(_LEAP_YEAR, month, day)
        except ValueError:
            pass
        else:
            return month, day
    span.add(key, f"expected a month and a day such as 06-01, got {excerpt(text)}")
    return None


# --- days ---------------------------------------------------------------------------------------


def _day_plan(part: Section, seasons: list[str]) -> DayPlan:
    part.require("hours")
    named = part.words("seasons")
    for word, path in named:
        if word not in seasons:
            part.problems.add(path, known_word(word, seasons))
    holidays = part.flag("holidays", False)
    if not part.has("weekdays") and not holidays:
        part.add("", "expected weekdays, as [monday-friday], or holidays: true")
    return DayPlan(
        seasons=frozenset(word for word, _ in named),
        weekdays=_weekdays(part),
        holidays=holidays,
        spans=_spans(part),
    )


def _weekdays(part: Section) -> frozenset[int]:
    days: set[int] = set()
    for word, path in part.words("weekdays"):
        first, dash, last = word.partition("-")
        if first not in _WEEKDAYS or (dash and last not in _WEEKDAYS):
            text = "expected monday to sunday or a range such as monday-friday"
            part.problems.add(path, f"{text}, got {excerpt(word)}")
            continue
        start = _WEEKDAYS.index(first)
        length = (_WEEKDAYS.index(last) - start) % 7 if dash else 0
        days.update((start + shift) % 7 for shift in range(length + 1))
    return frozenset(days)


def _spans(part: Section) -> tuple[tuple[time, str], ...]:
    hours = part.part("hours", None)
    spans: list[tuple[time, str]] = []
    for key in hours or ():
        if hours is None:
            break
        name = hours.code(key)
        if not _TIME.fullmatch(key) or int(key[:2]) > 23 or int(key[3:]) > 59:
            hours.add(key, f"expected a time from 00:00 to 23:59, got {excerpt(key)}")
            continue
        start = time(int(key[:2]), int(key[3:]))
        if spans and start <= spans[-1][0]:
            hours.add(key, "times come in order, each after the one before")
        if name is not None:
            spans.append((start, name))
    if hours is not None and (not spans or spans[0][0] != time()):
        hours.add("", "the first time is 00:00, so that no hour is without a period")
    return tuple(spans) or ((time(), "none"),)


def _check_days(calendar: Calendar, part: Section) -> None:
    """Check that each day of the year has one season, and each weekday in it one plan."""
    if calendar.seasons:
        _check_seasons(calendar.seasons, part)
    missing = days_without_plan(calendar)
    if missing:
        shown = ", ".join(missing[:3])
        part.add("days", f"a gap: no plan for {shown} and maybe more (month-day, day of the week)")
    for number, plan in enumerate(calendar.days):
        for before in calendar.days[:number]:
            if plan.seasons and before.seasons and plan.seasons.isdisjoint(before.seasons):
                continue
            both = plan.weekdays & before.weekdays
            shown = ", ".join(_WEEKDAYS[day] for day in sorted(both))
            if plan.holidays and before.holidays:
                shown = f"{shown}, holidays" if shown else "holidays"
            if shown:
                part.add(
                    f"days[{number + 1}]", f"another plan has {shown} of the same season already"
                )
                break
    has_plan = any(plan.holidays for plan in calendar.days)
    if calendar.holidays is not None and not has_plan:
        part.add("holidays", "no plan under days has holidays: true, so that they change nothing")
    if has_plan and calendar.holidays is None:
        part.add("", "a plan is for holidays, but holidays does not say which days these are")


def _check_seasons(seasons: tuple[Season, ...], part: Section) -> None:
    day = date(_LEAP_YEAR, 1, 1)
    while day.year == _LEAP_YEAR:
        at = (day.month, day.day)
        found = [season.code for season in seasons if _holds(season, at)]
        if len(found) != 1:
            said = f"two seasons, {' and '.join(found)}" if found else "no season"
            part.add("seasons", f"{day:%m-%d} is in {said}; each day of the year has one")
            return
        day += timedelta(days=1)


def _holds(season: Season, at: tuple[int, int]) -> bool:
    if season.first <= season.last:
        return season.first <= at <= season.last
    return at >= season.first or at <= season.last


# --- holidays -----------------------------------------------------------------------------------


def _holidays(part: Section) -> Holidays | None:
    section = part.part("holidays", "holidays")
    if section is None:
        return None
    country, subdivision = section.text("country"), section.text("subdivision")
    dates, through = section.days("dates"), section.integer("through", 1970, 2200)
    if country is None and not section.has("dates"):
        section.add("", "expected country, dates or both")
    if subdivision is not None and country is None:
        section.add("subdivision", "it is a part of a country, which is missing")
    if section.has("dates"):
        section.require("through", "the last year whose days are all listed under dates")
    elif section.has("through"):
        section.add("through", "it belongs to dates, which are missing")
    late = [day for day in dates if through is not None and day.year > through]
    if late:
        section.add("through", f"{late[0]} is listed, which is after {through}")
    holidays = Holidays(country, subdivision, frozenset(dates), through)
    if country is not None:
        _check_country(section, holidays)
    return holidays


def _check_country(section: Section, holidays: Holidays) -> None:
    if not _COUNTRY.fullmatch(holidays.country or ""):
        section.add("country", "expected an ISO 3166 code of two capitals, such as ZA")
        return
    if not _SUBDIVISION.fullmatch(holidays.subdivision or "-"):
        section.add("subdivision", "expected the code of a part of the country, such as WC")
        return
    try:
        holidays_known(holidays)
    except Refused as error:
        section.add("subdivision" if holidays.subdivision else "country", error.message)

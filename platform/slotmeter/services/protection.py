"""A utility's policy: when supply may not be cut, how often, on what evidence; and its language.

The policy is a document of the utility (``utility.policy``)::

    {"protected_hours": [{"days": ["mon", "tue", "wed"], "from": "18:00", "to": "08:00"},
                         {"days": ["sun"], "from": "00:00", "to": "00:00"}],
     "holidays": ["2026-12-25"],
     "cuts_per_hour": 20,
     "low_credit_minor": 500,
     "reading_age_hours_max": 24,
     "clock_ahead_hours_max": 1,
     "credit_proof_hours": 24,
     "language": "pt"}

Times are local to the utility. A window whose end is not after its start runs into the next day;
``days`` names the day on which it starts. All keys are optional; the empty document protects no
hours. Where a clock change makes a bound happen twice or not at all, the longer window holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.errors import Refused
from slotmeter.i18n import DEFAULT, LANGUAGES
from slotmeter.units import epoch_us, instant

__all__ = [
    "CLOCK_AHEAD_HOURS_MAX",
    "CREDIT_PROOF_HOURS",
    "CUTS_PER_HOUR",
    "LOW_CREDIT_MINOR",
    "PROTECTED_DAYS_MAX",
    "READING_AGE_HOURS_MAX",
    "Policy",
    "ProtectedHours",
    "parse_policy",
    "policy_of",
    "protected_until",
    "readable_policy",
]

CUTS_PER_HOUR: Final = 20
"""Cuts an hour in one utility without a second person, unless its policy says otherwise."""

READING_AGE_HOURS_MAX: Final = 24
"""Nothing is cut on an older reading; a policy may ask for a fresher one, never for less."""

LOW_CREDIT_MINOR: Final = 500
"""At or below this balance a customer is warned, unless the policy says otherwise."""

CLOCK_AHEAD_HOURS_MAX: Final = 1
"""A meter's clock that is further ahead of ours is not believed, unless the policy says otherwise.

A trial with simulated meters that live faster needs more.
"""

CREDIT_PROOF_HOURS: Final = 24
"""A sale whose credit is not shown by its meter after so long is an exception; a policy may ask for
less time, never for more."""

PROTECTED_DAYS_MAX: Final = 14
"""How far ahead the end of adjoining protected hours is looked for."""

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_KEYS: Final = frozenset(
    {"protected_hours", "holidays", "cuts_per_hour", "low_credit_minor", "reading_age_hours_max"}
    | {"clock_ahead_hours_max", "credit_proof_hours", "language"}
)
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_WINDOWS_MAX: Final = 50
_HOLIDAYS_MAX: Final = 1_000
_LARGEST: Final = 10**12


@dataclass(frozen=True, slots=True)
class ProtectedHours:
    """A weekly window, local time; ``days`` counts from Monday 0 and names where it starts."""

    days: frozenset[int]
    start: time
    end: time


@dataclass(frozen=True, slots=True)
class Policy:
    """What a utility decided; see the text of the module."""

    protected_hours: tuple[ProtectedHours, ...] = ()
    holidays: frozenset[date] = frozenset()
    cuts_per_hour: int = CUTS_PER_HOUR
    low_credit_minor: int = LOW_CREDIT_MINOR
    reading_age_hours_max: int = READING_AGE_HOURS_MAX
    clock_ahead_hours_max: int = CLOCK_AHEAD_HOURS_MAX
    credit_proof_hours: int = CREDIT_PROOF_HOURS
    language: str = DEFAULT


def _refused(path: str, expected: str) -> Refused:
    return Refused("policy_invalid", f"{path} needs {expected}", field=path)


def _whole(document: Mapping[str, object], key: str, default: int, low: int, high: int) -> int:
    value = document.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise _refused(key, f"a whole number from {low} to {high}")
    return value


def _language(document: Mapping[str, object]) -> str:
    value = document.get("language", DEFAULT)
    if not isinstance(value, str) or value not in LANGUAGES:
        raise _refused("language", f"one of {', '.join(LANGUAGES)}")
    return value


def _items(document: Mapping[str, object], key: str, count_max: int) -> Sequence[object]:
    value = document.get(key, [])
    if not isinstance(value, list) or len(value) > count_max:
        raise _refused(key, f"a list of at most {count_max}")
    return value


def _time(value: object, path: str) -> time:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _refused(path, 'a local time such as "18:00"')
    return time(int(found[1]), int(found[2]))


def _hours(item: object, path: str) -> ProtectedHours:
    if not isinstance(item, Mapping) or set(item) != {"days", "from", "to"}:
        raise _refused(path, "exactly days, from and to")
    days = item["days"]
    if not isinstance(days, list) or not days or any(day not in _DAYS for day in days):
        raise _refused(f"{path}.days", f"a list of {', '.join(_DAYS)}")
    return ProtectedHours(
        days=frozenset(_DAYS.index(day) for day in days),
        start=_time(item["from"], f"{path}.from"),
        end=_time(item["to"], f"{path}.to"),
    )


def _holiday(item: object, path: str) -> date:
    try:
        return date.fromisoformat(item) if isinstance(item, str) else date.min
    except ValueError:
        raise _refused(path, 'a day such as "2026-12-25"') from None


def parse_policy(document: object) -> Policy:
    """Read a policy document.

    Raises:
        Refused: ``policy_invalid`` with the path of the value at fault.
    """
    if not isinstance(document, Mapping):
        raise _refused("policy", "named values")
    for key in document:
        if key not in _KEYS:
            raise _refused(str(key), f"to be one of {', '.join(sorted(_KEYS))}")
    hours = _items(document, "protected_hours", _WINDOWS_MAX)
    holidays = _items(document, "holidays", _HOLIDAYS_MAX)
    days = frozenset(_holiday(item, f"holidays.{at}") for at, item in enumerate(holidays))
    if date.min in days:
        raise _refused("holidays", 'days such as "2026-12-25"')
    return Policy(
        protected_hours=tuple(
            _hours(item, f"protected_hours.{at}") for at, item in enumerate(hours)
        ),
        holidays=days,
        cuts_per_hour=_whole(document, "cuts_per_hour", CUTS_PER_HOUR, 0, _LARGEST),
        low_credit_minor=_whole(document, "low_credit_minor", LOW_CREDIT_MINOR, 0, _LARGEST),
        reading_age_hours_max=_whole(
            document, "reading_age_hours_max", READING_AGE_HOURS_MAX, 1, READING_AGE_HOURS_MAX
        ),
        clock_ahead_hours_max=_whole(
            document, "clock_ahead_hours_max", CLOCK_AHEAD_HOURS_MAX, 0, _LARGEST
        ),
        credit_proof_hours=_whole(
            document, "credit_proof_hours", CREDIT_PROOF_HOURS, 1, CREDIT_PROOF_HOURS
        ),
        language=_language(document),
    )


def policy_of(text: str) -> Policy:
    """Read a policy as the database stores it.

    Raises:
        Refused: ``policy_invalid``.
    """
    try:
        document = json.loads(text or "{}")
    except ValueError:
        raise _refused("policy", "a JSON document") from None
    return parse_policy(document)


def readable_policy(text: str) -> Policy | None:
    """Read a stored policy; None when it cannot be understood, so that nobody is cut by a guess."""
    try:
        return policy_of(text)
    except Refused:
        return None


def _bounds_us(day: date, at: time, zone: ZoneInfo) -> tuple[int, int]:
    """Return the earliest and the latest instant that a local time of a day can stand for."""
    local = datetime.combine(day, at, zone)
    both = [epoch_us(local.replace(fold=fold).astimezone(UTC)) for fold in (0, 1)]
    return min(both), max(both)


def _windows_of(day: date, policy: Policy, zone: ZoneInfo) -> list[tuple[int, int]]:
    """Return the protected windows that start on a local day, in epoch microseconds."""
    windows = []
    next_day = day + timedelta(days=1)
    for hours in policy.protected_hours:
        if day.weekday() in hours.days:
            last_day = day if hours.end > hours.start else next_day
            start_us, _ = _bounds_us(day, hours.start, zone)
            _, end_us = _bounds_us(last_day, hours.end, zone)
            windows.append((start_us, end_us))
    if day in policy.holidays:
        start_us, _ = _bounds_us(day, time(), zone)
        _, end_us = _bounds_us(next_day, time(), zone)
        windows.append((start_us, end_us))
    return windows


def protected_until(at_us: int, policy: Policy, time_zone: str) -> int | None:
    """Return when the protection in force at an instant ends, or None when there is none.

    Windows that adjoin or overlap count as one, up to ``PROTECTED_DAYS_MAX`` days ahead.
    """
    if not policy.protected_hours and not policy.holidays:
        return None
    zone = ZoneInfo(time_zone)
    today = instant(at_us).astimezone(zone).date()
    days = (today + timedelta(days=offset) for offset in range(-2, PROTECTED_DAYS_MAX + 1))
    windows = sorted(window for day in days for window in _windows_of(day, policy, zone))
    until_us = at_us
    for start_us, end_us in windows:
        if start_us <= until_us < end_us:
            until_us = end_us
    return until_us if until_us > at_us else None

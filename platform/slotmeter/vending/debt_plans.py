"""How a debt is to be repaid: plans with their instalment dates, arrangements, suspensions.

A plan is a list of phases; each holds from an instant until the next one begins, and an arrangement
is one more phase. Instalments fall due at the start of a local day. Those of a month keep the day
of the first one, or the last day of a shorter month.
"""

from __future__ import annotations

import calendar
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from slotmeter.units import epoch_us, instant

__all__ = [
    "DebtPlan",
    "Every",
    "Missed",
    "Phase",
    "Shape",
    "Suspension",
    "current_instalment_us",
    "day_start_us",
    "instalment_date",
    "instalments_due",
    "local_day",
    "stored_plan",
]

DAYS_PER_WEEK: Final = 7
MONTHS_PER_YEAR: Final = 12


class Shape(StrEnum):
    """How a plan takes money from purchases."""

    ONCE = "once"  # all that is owed
    PERCENT = "percent"  # a share of each purchase
    INSTALMENTS = "instalments"  # fixed amounts


class Every(StrEnum):
    """How often an instalment falls due."""

    PURCHASE = "purchase"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Missed(StrEnum):
    """What becomes of instalments that were not paid when they fell due."""

    ACCUMULATE = "accumulate"  # the next purchase pays all of them
    ONE_AT_A_TIME = "one_at_a_time"  # each purchase pays one until they are caught up with
    SKIP = "skip"  # they move to the end: one for each day, week or month, never more


@dataclass(frozen=True, slots=True)
class Phase:
    """What is to be paid from an instant on.

    Args:
        from_us: start, UTC epoch microseconds; nothing is taken before the first phase.
        shape: how.
        percent: share of the tender, as text; ``percent`` only.
        amount_minor: one instalment; ``instalments`` only.
        every: how often; ``instalments`` only.
        missed: of instalments by date.
        first: local date of the first instalment by date.
    """

    from_us: int
    shape: Shape
    percent: str | None = None
    amount_minor: int | None = None
    every: Every = Every.PURCHASE
    missed: Missed = Missed.ACCUMULATE
    first: date | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy of what this shape uses."""
        body: dict[str, Any] = {"from_us": self.from_us, "shape": self.shape.value}
        if self.shape is Shape.PERCENT:
            body["percent"] = self.percent
        if self.shape is Shape.INSTALMENTS:
            body |= {"amount_minor": self.amount_minor, "every": self.every.value}
            if self.first is not None:
                body |= {"missed": self.missed.value, "first": self.first.isoformat()}
        return body

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Phase:
        """Build from :meth:`to_dict`."""
        first = data.get("first")
        return cls(
            from_us=data["from_us"],
            shape=Shape(data["shape"]),
            percent=data.get("percent"),
            amount_minor=data.get("amount_minor"),
            every=Every(data.get("every", Every.PURCHASE)),
            missed=Missed(data.get("missed", Missed.ACCUMULATE)),
            first=None if first is None else date.fromisoformat(first),
        )


@dataclass(frozen=True, slots=True)
class Suspension:
    """A time in which nothing is taken; instalments that would fall due in it move to the end.

    Args:
        from_us: start.
        until_us: end, excluded; None until it is resumed.
        interest: interest runs on meanwhile.
    """

    from_us: int
    until_us: int | None = None
    interest: bool = True

    def covers(self, at_us: int) -> bool:
        """Say whether an instant lies in it."""
        return self.from_us <= at_us and (self.until_us is None or at_us < self.until_us)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return {"from_us": self.from_us, "until_us": self.until_us, "interest": self.interest}


@dataclass(frozen=True, slots=True)
class DebtPlan:
    """Phases by their start, and suspensions by theirs, which do not overlap."""

    phases: tuple[Phase, ...]
    suspensions: tuple[Suspension, ...] = ()

    def phase_at(self, at_us: int) -> Phase | None:
        """Return the phase that holds at an instant; None before the first one."""
        begun = [phase for phase in self.phases if phase.from_us <= at_us]
        return begun[-1] if begun else None

    def suspension_at(self, at_us: int) -> Suspension | None:
        """Return the suspension that holds at an instant."""
        return next((each for each in self.suspensions if each.covers(at_us)), None)

    def arranged(self, phase: Phase) -> DebtPlan:
        """Return the plan with one more phase; it replaces phases that would begin with or after
        it."""
        kept = tuple(each for each in self.phases if each.from_us < phase.from_us)
        return replace(self, phases=(*kept, phase))

    def suspended(self, new: Suspension) -> DebtPlan:
        """Return the plan with one more suspension."""
        ordered = sorted((*self.suspensions, new), key=lambda each: each.from_us)
        return replace(self, suspensions=tuple(ordered))

    def resumed(self, at_us: int) -> DebtPlan:
        """Return the plan with the suspension that holds at an instant ended there, and without
        those that would begin later."""
        ended = tuple(
            replace(each, until_us=at_us) if each.covers(at_us) else each
            for each in self.suspensions
            if each.from_us < at_us
        )
        return replace(self, suspensions=ended)

    def since(self, at_us: int) -> DebtPlan:
        """Return the plan without phases that ended before an instant."""
        current = self.phase_at(at_us)
        if current is None:
            return self
        kept = tuple(each for each in self.phases if each.from_us >= current.from_us)
        return replace(self, phases=kept)

    def counts_from_us(self, at_us: int) -> int:
        """Return the instant since which repayments may pay instalments, now or later."""
        current = self.phase_at(at_us)
        return self.phases[0].from_us if current is None else current.from_us

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return {
            "phases": [phase.to_dict() for phase in self.phases],
            "suspensions": [each.to_dict() for each in self.suspensions],
        }


@lru_cache(maxsize=4096)
def stored_plan(text: str) -> DebtPlan:
    """Read the JSON text of ``debt.plan``."""
    data = json.loads(text)
    return DebtPlan(
        tuple(Phase.from_dict(phase) for phase in data["phases"]),
        tuple(Suspension(**each) for each in data.get("suspensions", ())),
    )


# --- local days ---------------------------------------------------------------------------------


def local_day(at_us: int, zone: ZoneInfo) -> date:
    """Return the local date of an instant."""
    return instant(at_us).astimezone(zone).date()


def day_start_us(day: date, zone: ZoneInfo) -> int:
    """Return the first instant of a local day, also where clocks skip midnight."""
    return epoch_us(datetime.combine(day, time(), zone).astimezone(UTC))


def instalment_date(phase: Phase, index: int) -> date:
    """Return the local date of an instalment by date; 0 is the first one.

    Raises:
        ValueError: the phase has no instalments by date.
    """
    if phase.first is None:
        raise ValueError("the plan has no instalments by date")
    if phase.every is Every.MONTH:
        months = phase.first.month - 1 + index
        year, month = phase.first.year + months // MONTHS_PER_YEAR, months % MONTHS_PER_YEAR + 1
        day = min(phase.first.day, calendar.monthrange(year, month)[1])
        return date(year, month, day)
    days = DAYS_PER_WEEK if phase.every is Every.WEEK else 1
    return phase.first + timedelta(days=days * index)


def _reached(phase: Phase, at_us: int, zone: ZoneInfo) -> int:
    """Return how many instalments have fallen due at an instant, suspensions aside."""
    start = instalment_date(phase, 0)
    today = local_day(at_us, zone)
    if phase.every is Every.MONTH:
        guess = MONTHS_PER_YEAR * (today.year - start.year) + today.month - start.month
    else:
        guess = (today - start).days // (DAYS_PER_WEEK if phase.every is Every.WEEK else 1)
    # Short months move an instalment forward, and a clock that goes back repeats an evening.
    guess = max(-1, guess + 1)
    while guess >= 0 and day_start_us(instalment_date(phase, guess), zone) > at_us:
        guess -= 1
    return guess + 1


def instalments_due(plan: DebtPlan, phase: Phase, at_us: int, zone: ZoneInfo) -> int:
    """Return how many instalments of a phase fell due by an instant, outside suspensions."""
    due = _reached(phase, at_us, zone)
    for each in plan.suspensions:
        if each.from_us > at_us:
            continue
        until_us = at_us + 1 if each.until_us is None else min(each.until_us, at_us + 1)
        due -= _reached(phase, until_us - 1, zone) - _reached(phase, each.from_us - 1, zone)
    return due


def current_instalment_us(plan: DebtPlan, phase: Phase, at_us: int, zone: ZoneInfo) -> int | None:
    """Return when the newest instalment fell due; None before the first, or if it was suspended."""
    index = _reached(phase, at_us, zone) - 1
    if index < 0:
        return None
    due_us = day_start_us(instalment_date(phase, index), zone)
    return None if plan.suspension_at(due_us) is not None else due_us

"""What a purchase shall repay of a debt, and what interest a debt has borne; exact and pure."""

from __future__ import annotations

import calendar
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from slotmeter.vending.debt_plans import (
    DebtPlan,
    Every,
    Missed,
    Phase,
    Shape,
    current_instalment_us,
    day_start_us,
    instalments_due,
    local_day,
    stored_plan,
)
from slotmeter.vending.pricing.situation import DebtState

__all__ = [
    "EMERGENCY_CREDIT",
    "InterestPer",
    "InterestTerms",
    "Repayment",
    "due_at",
    "due_minor",
    "interest_due",
    "stored_interest",
]

EMERGENCY_CREDIT: Final = "emergency_credit"
"""The kind of debt that is repaid before anything else, cap or not."""

MONTHS_PER_YEAR: Final = 12
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Repayment:
    """So much was taken for a debt at an instant."""

    at_us: int
    minor: int


# --- what a purchase shall repay ----------------------------------------------------------------


def due_at(
    debt: Mapping[str, Any], at_us: int, time_zone: str, repaid: Sequence[Repayment] = ()
) -> DebtState:
    """Return a debt as pricing sees it at an instant.

    Args:
        debt: a row of the statement ``debts_for_sale``.
        at_us: the instant.
        time_zone: IANA name that local dates follow.
        repaid: all that was taken for it since its plan began; needed for instalments by date.
    """
    plan = stored_plan(debt["plan"])
    phase = plan.phase_at(at_us)
    balance_minor = debt["balance_minor"]
    due: int | None = 0
    percent = None
    if phase is not None and plan.suspension_at(at_us) is None:
        percent = phase.percent
        due = due_minor(plan, phase, at_us, ZoneInfo(time_zone), repaid)
    return DebtState(
        debt_id=debt["id"],
        kind=debt["kind"],
        label=debt["label"],
        priority=debt["priority"],
        balance_minor=balance_minor,
        due_minor=None if due is None else min(due, balance_minor),
        percent=percent,
        tax_percent=debt["tax_percent"],
        bypasses_cap=debt["kind"] == EMERGENCY_CREDIT,
        number=debt["number"],
    )


def due_minor(
    plan: DebtPlan, phase: Phase, at_us: int, zone: ZoneInfo, repaid: Sequence[Repayment]
) -> int | None:
    """Return what a purchase shall take at most under a phase; None for all that is owed.

    What was repaid before the phase began does not count towards its instalments.
    """
    if phase.shape is not Shape.INSTALMENTS or phase.amount_minor is None:
        return None
    if phase.every is Every.PURCHASE:
        return phase.amount_minor
    if phase.missed is Missed.SKIP:
        since_us = current_instalment_us(plan, phase, at_us, zone)
        if since_us is None:
            return 0
        since_us = max(since_us, phase.from_us)
        return max(0, phase.amount_minor - _sum_since(repaid, since_us))
    count = instalments_due(plan, phase, at_us, zone)
    open_minor = max(0, count * phase.amount_minor - _sum_since(repaid, phase.from_us))
    if phase.missed is Missed.ONE_AT_A_TIME:
        return min(open_minor, phase.amount_minor)
    return open_minor


def _sum_since(repaid: Iterable[Repayment], since_us: int) -> int:
    return sum(each.minor for each in repaid if each.at_us >= since_us)


# --- interest -----------------------------------------------------------------------------------


class InterestPer(StrEnum):
    """What the percentage is for."""

    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class InterestTerms:
    """Simple interest on what is left of the original amount at the end of each local day.

    A day of a calendar month bears one 28th to one 31st of the month's percentage, a day of a
    calendar year one 365th or 366th of the year's. Repayments reduce the original amount first, so
    that interest never bears interest. Amounts are rounded once, from the first day on, so that
    posting by day or by month comes to the same.

    Args:
        percent: as text, not negative.
        per: month or year.
        from_day: the first local day that bears interest.
        through: the last day that was posted; None for none.
        posted_minor: posted so far.
    """

    percent: str
    per: InterestPer
    from_day: date
    through: date | None = None
    posted_minor: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return {
            "percent": self.percent,
            "per": self.per.value,
            "from": self.from_day.isoformat(),
            "through": None if self.through is None else self.through.isoformat(),
            "posted_minor": self.posted_minor,
        }


@lru_cache(maxsize=4096)
def stored_interest(text: str) -> InterestTerms:
    """Read the JSON text of ``debt.interest``."""
    data = json.loads(text)
    through = data["through"]
    return InterestTerms(
        percent=data["percent"],
        per=InterestPer(data["per"]),
        from_day=date.fromisoformat(data["from"]),
        through=None if through is None else date.fromisoformat(through),
        posted_minor=data["posted_minor"],
    )


def interest_due(
    terms: InterestTerms,
    amount_minor: int,
    repaid: Sequence[Repayment],
    through: date,
    *,
    time_zone: str,
    plan: DebtPlan | None = None,
) -> int:
    """Return what is to be posted so that interest is posted through a local day, rounded half up.

    Args:
        terms: with what was posted so far.
        amount_minor: the debt's original amount.
        repaid: all that was taken for it since it was made.
        through: the last day, included; a day before what was posted gives 0.
        time_zone: IANA name that days follow.
        plan: whose suspensions may stop interest.
    """
    if terms.through is not None and through <= terms.through:
        return 0
    zone = ZoneInfo(time_zone)
    reductions: dict[date, int] = {}
    for each in repaid:
        day = local_day(each.at_us, zone)
        reductions[day] = reductions.get(day, 0) + each.minor
    total = Fraction(0)
    for first, last, days_in_period in _periods(terms, through):
        day_sum = 0
        for start, end, left_minor in _runs(first, last, amount_minor, reductions):
            bearing = (end - start).days + 1 - _days_without(plan, start, end, zone)
            day_sum += bearing * left_minor
        total += Fraction(day_sum, days_in_period)
    accrued = total * Fraction(terms.percent) / 100
    return max(0, _half_up(accrued) - terms.posted_minor)


def _periods(terms: InterestTerms, through: date) -> Iterable[tuple[date, date, int]]:
    """Yield first day, last day and length of the whole month or year, from the start on."""
    start = terms.from_day
    while start <= through:
        if terms.per is InterestPer.MONTH:
            length = calendar.monthrange(start.year, start.month)[1]
            end = date(start.year, start.month, length)
        else:
            length = 366 if calendar.isleap(start.year) else 365
            end = date(start.year, MONTHS_PER_YEAR, 31)
        yield start, min(end, through), length
        start = end + DAY


def _runs(
    first: date, last: date, amount_minor: int, reductions: Mapping[date, int]
) -> Iterable[tuple[date, date, int]]:
    """Yield spans of days with what was left of the amount at the end of each of their days."""
    left = amount_minor - sum(minor for day, minor in reductions.items() if day <= first)
    start = first
    for day in sorted(day for day in reductions if first < day <= last):
        yield start, day - DAY, max(0, left)
        left -= reductions[day]
        start = day
    yield start, last, max(0, left)


def _days_without(plan: DebtPlan | None, start: date, end: date, zone: ZoneInfo) -> int:
    """Return how many days of a span begin in a suspension that stops interest."""
    if plan is None:
        return 0
    count = 0
    for each in plan.suspensions:
        if each.interest:
            continue
        first = max(start, _first_day_from(each.from_us, zone))
        last = end
        if each.until_us is not None:
            last = min(end, _first_day_from(each.until_us, zone) - DAY)
        count += max(0, (last - first).days + 1)
    return count


def _first_day_from(at_us: int, zone: ZoneInfo) -> date:
    """Return the first local day that begins at an instant or later."""
    day = local_day(at_us, zone)
    return day if day_start_us(day, zone) >= at_us else day + DAY


def _half_up(value: Fraction) -> int:
    """Round a fraction that is not negative."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)

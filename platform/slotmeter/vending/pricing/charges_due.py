"""Which fixed charges and free units are open for a buyer at an instant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from slotmeter.vending.pricing.chosen import holds, local_day
from slotmeter.vending.pricing.situation import ChargeState, FreeState, Situation
from slotmeter.vending.pricing.windows import month_of, months_between, window_start_day
from slotmeter.vending.tariff.model import (
    BlockWindow,
    Collection,
    Counter,
    FixedItem,
    FreeUnits,
    Measure,
    Missed,
    Tariff,
)

__all__ = ["TakenCharge", "charge_period", "open_charges", "open_free"]

DAY = timedelta(days=1)
DAYS_PER_MONTH_MAX = 31
DAY_CHARACTERS = 10


@dataclass(frozen=True, slots=True)
class TakenCharge:
    """So much of a charge of a period was taken before, minor units without tax.

    Args:
        code: of the item.
        period: ``2026-11`` or ``2026-11-21``.
        taken_minor: in all purchases so far.
        due_minor: what it came to when it was first taken; the period is settled at this.
    """

    code: str
    period: str
    taken_minor: int
    due_minor: int


def open_charges(
    tariff: Tariff,
    situation: Situation,
    taken: Iterable[TakenCharge] = (),
    *,
    started_us: int | None = None,
    last_purchase_us: int | None = None,
    tendered_minor: int = 0,
    begun_us: Mapping[str, int] | None = None,
) -> tuple[ChargeState, ...]:
    """Return the fixed charges that a purchase at an instant must pay, the oldest period first.

    A charge by month is for calendar months; with a billing window for the months that begin on its
    day, named by the month they begin in. A charge by day is for each day after the purchase
    before, today included, and for days before of which something is open still, as when they were
    paid in part or the sale that paid them was voided. Charges of every purchase need no state and
    are not among these.

    Args:
        tariff: in force.
        situation: the buyer and the instant; its own ``charges`` are not looked at.
        taken: charges taken so far.
        started_us: when the supply began under this kind of charge; no period before it is due.
            None: the period of the purchase is the first.
        last_purchase_us: the purchase before; None for none yet.
        tendered_minor: tendered in the current month before this purchase.
        begun_us: since when the buyer is under an item that adds up, by its code; no period of it
            before is due. An item that is not named began with the supply.
    """
    day = local_day(situation.at_us, situation.time_zone)
    first = day if started_us is None else min(day, local_day(started_us, situation.time_zone))
    last = None
    if last_purchase_us is not None:
        last = local_day(last_purchase_us, situation.time_zone)
    before = {(each.code, each.period): each for each in taken}
    states: list[tuple[str, ChargeState]] = []
    begun = {code: local_day(us, situation.time_zone) for code, us in (begun_us or {}).items()}
    for item in tariff.fixed_items:
        span = _Span(first, last, begun.get(item.code, date.min), day)
        periods = _periods(item, tariff.energy.counter, span)
        if item.collect is Collection.DAY and item.missed is Missed.ACCUMULATE and periods:
            periods = [*_open_days(item, before, span, until=periods[0][0]), *periods]
        for of_day, period in periods:
            if not _applies(item, situation, of_day):
                continue
            record = before.get((item.code, period))
            is_current = of_day == day
            may_rise = item.is_by_use and is_current
            if record is not None and record.taken_minor >= record.due_minor and not may_rise:
                continue
            paid = 0 if record is None else record.taken_minor
            was_due = record.due_minor if record is not None and item.is_by_use else 0
            state = ChargeState(
                item.code,
                period,
                paid,
                tendered_minor if is_current else 0,
                0 if is_current else was_due,
            )
            states.append((period, state))
    states.sort(key=lambda each: each[0][:7])
    return tuple(state for _, state in states)


def _applies(item: FixedItem, situation: Situation, day: date) -> bool:
    if item.measure is Measure.DEMAND_KW and situation.demand_w is None:
        return False  # nothing was measured, so nothing is due
    return holds(item.when, situation, day)


@dataclass(frozen=True, slots=True)
class _Span:
    """Local days: the first of the supply, the last purchase, the first of an item, and today."""

    first: date
    last: date | None
    begun: date
    day: date


def _periods(item: FixedItem, counter: Counter, span: _Span) -> list[tuple[date, str]]:
    """Return the periods that may be due, each with a day that conditions are looked up on."""
    if item.collect is Collection.PURCHASE:
        return []
    day = span.day
    keeps = item.missed is Missed.ACCUMULATE
    if item.collect is Collection.DAY:
        start = max(span.begun, span.first if span.last is None else span.last + DAY)
        if not keeps:
            start = max(start, day)
        start = max(start, _oldest_day(item, day))
        days = [start + timedelta(days=number) for number in range((day - start).days + 1)]
        return [(each, f"{each}") for each in days]
    this_month = _month(counter, day)
    if not keeps:
        return [(day, month_of(this_month))]
    first = min(day, max(span.first, span.begun))
    months = months_between(_month(counter, first), this_month)[-1 - item.months_max :]
    return [*((each, month_of(each)) for each in months[:-1]), (day, month_of(months[-1]))]


def _open_days(
    item: FixedItem, before: Mapping[tuple[str, str], TakenCharge], span: _Span, *, until: date
) -> list[tuple[date, str]]:
    """Return the days before the last purchase that were not paid in full."""
    first = max(span.begun, span.first, _oldest_day(item, span.day))
    days = sorted(
        date.fromisoformat(period)
        for (code, period), record in before.items()
        if code == item.code and len(period) == DAY_CHARACTERS
        if record.taken_minor < record.due_minor
    )
    return [(each, f"{each}") for each in days if first <= each < until]


def _oldest_day(item: FixedItem, day: date) -> date:
    return day - timedelta(days=DAYS_PER_MONTH_MAX * item.months_max)


def _month(counter: Counter, day: date) -> date:
    """Return the first of the month that the charge month of a day begins in."""
    if counter.window is not BlockWindow.BILLING_PERIOD:
        return day.replace(day=1)
    by_month = Counter(counter.window, counter.start_day)
    return window_start_day(by_month, day).replace(day=1)


def charge_period(counter: Counter, day: date) -> str:
    """Return the period of charges by month that a day is in."""
    return month_of(_month(counter, day))


def open_free(
    tariff: Tariff,
    situation: Situation,
    *,
    registered_us: Mapping[str, int],
    claimed: Mapping[str, Iterable[str]],
) -> tuple[FreeState, ...]:
    """Return the free units that may be claimed at an instant.

    Args:
        tariff: in force.
        situation: the buyer and the instant.
        registered_us: when the account was registered, by code of the item; for items that need no
            registration when the supply began. No month before it is given.
        claimed: months claimed already, by code.
    """
    day = local_day(situation.at_us, situation.time_zone)
    states = []
    for item in tariff.free_units:
        if item.needs_registration and item.code not in registered_us:
            continue
        if not holds(item.when, situation, day):
            continue
        since = day
        if item.code in registered_us:
            since = min(day, local_day(registered_us[item.code], situation.time_zone))
        done = set(claimed.get(item.code, ()))
        open_months = [month for month in _free_months(item, since, day) if month not in done]
        if open_months:
            states.append(FreeState(item.code, tuple(open_months)))
    return tuple(states)


def _free_months(item: FreeUnits, since: date, day: date) -> list[str]:
    months = [month_of(each) for each in months_between(since, day)]
    return months[-1 - item.months_max :] if item.accumulates else months[-1:]

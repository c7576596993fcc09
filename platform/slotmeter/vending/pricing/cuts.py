"""Intervals of consumption, cut where a price may change.

Meters and tariffs need not agree on where an hour begins. An interval that lies on both sides of
midnight or of a change of period is cut there, and its units are shared in proportion to time by
whole base units: the part up to a cut has the units that the time up to the cut earns, rounded
down. So parts always add up to the interval, and cutting again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from slotmeter.errors import Refused
from slotmeter.units import iso_utc
from slotmeter.vending.tariff.calendar import PeriodSpan, day_spans, day_start_us, local_date
from slotmeter.vending.tariff.model import Calendar

__all__ = ["Interval", "Piece", "cut", "share_until"]

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Interval:
    """What was used from one instant to another; UTC epoch µs, end excluded; Wh or mL."""

    start_us: int
    end_us: int
    units: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an interval that lies in one local day and one period ("" without a calendar)."""

    start_us: int
    end_us: int
    units: int
    day: date
    period: str


def share_until(interval: Interval, at_us: int) -> int:
    """Return the units of an interval up to an instant in it, rounded down."""
    used_us = at_us - interval.start_us
    return interval.units * used_us // (interval.end_us - interval.start_us)


def cut(
    intervals: Iterable[Interval], calendar: Calendar | None, time_zone: str
) -> Iterator[Piece]:
    """Yield the parts of intervals, in order of time.

    Args:
        intervals: in any order; gaps between them are allowed.
        calendar: for periods; None for days only.
        time_zone: IANA name.

    Raises:
        Refused: ``interval_invalid``, ``intervals_overlap``; what the calendar refuses.
    """
    spans: Sequence[PeriodSpan] = ()
    for interval in in_order(intervals):
        before, at_us = 0, interval.start_us
        while at_us < interval.end_us:
            if not spans or not spans[0].start_us <= at_us < spans[-1].end_us:
                spans = _spans_of(calendar, local_date(at_us, time_zone), time_zone)
            for span in spans:
                end_us = min(span.end_us, interval.end_us)
                if span.start_us <= at_us < end_us:
                    until = share_until(interval, end_us)
                    yield Piece(at_us, end_us, until - before, span.day, span.period)
                    before, at_us = until, end_us


def in_order(intervals: Iterable[Interval]) -> Sequence[Interval]:
    """Return intervals in order of time.

    Raises:
        Refused: ``interval_invalid``: one ends before it begins, or has less than nothing;
            ``intervals_overlap``.
    """
    ordered = sorted(intervals, key=lambda each: each.start_us)
    for each in ordered:
        if each.end_us <= each.start_us or each.units < 0:
            raise Refused(
                "interval_invalid",
                f"expected an interval that ends after it begins and has no negative units, got "
                f"{iso_utc(each.start_us)} to {iso_utc(each.end_us)} with {each.units}",
                field="intervals",
            )
    for one, other in pairwise(ordered):
        if other.start_us < one.end_us:
            raise Refused(
                "intervals_overlap",
                f"an interval begins at {iso_utc(other.start_us)}, before the one before it ends "
                f"at {iso_utc(one.end_us)}: the same use would be paid twice",
                field="intervals",
            )
    return ordered


def _spans_of(calendar: Calendar | None, day: date, time_zone: str) -> Sequence[PeriodSpan]:
    """Return the spans of a local day."""
    if calendar is not None:
        return day_spans(calendar, day, time_zone)
    start_us, end_us = day_start_us(day, time_zone), day_start_us(day + _DAY, time_zone)
    return (PeriodSpan(start_us, end_us, day, ""),)

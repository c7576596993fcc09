"""Measured intervals by tariff: time of use, blocks in order of time, demand, and nothing lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.units import HOUR_US, epoch_us
from slotmeter.vending.pricing.cuts import cut
from slotmeter.vending.pricing.engine import price_units
from slotmeter.vending.pricing.intervals import (
    Bill,
    Interval,
    PartTotal,
    price_intervals,
)
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.calendar import day_spans, day_start_us
from slotmeter.vending.tariff.model import Calendar, Tariff
from slotmeter.vending.tariff.reader import read_tariff

NEW_YORK = "America/New_York"
QUARTER_US = HOUR_US // 4

TIME_OF_USE = """\
tariff: tou
title: Time of use
commodity: electricity
currency: USD
time_zone: America/New_York
energy:
  label: Energy
  periods: {peak: 0.30, standard: 0.20, off-peak: 0.10}
calendar:
  seasons:
    summer: {from: 06-01, to: 09-30}
    winter: {from: 10-01, to: 05-31}
  days:
    - seasons: [summer]
      weekdays: [monday-friday]
      hours: {"00:00": off-peak, "07:00": standard, "14:00": peak, "19:00": standard}
    - seasons: [winter]
      weekdays: [monday-friday]
      hours: {"00:00": off-peak, "01:30": peak, "02:30": off-peak, "07:00": standard}
    - {weekdays: [saturday, sunday], hours: {"00:00": off-peak, "01:00": peak, "03:00": off-peak}}
    - {holidays: true, hours: {"00:00": off-peak}}
  holidays: {country: US}
levies: {fund: {label: Fund, per_unit: 0.01}}
taxes: {vat: {label: VAT, percent: 10, on: [energy, fund]}}
"""


def read(text: str) -> Tariff:
    return read_tariff(text)[1]


TOU = read(TIME_OF_USE)
BUYER = Situation(at_us=0, time_zone=NEW_YORK)


def at(*wall: int, zone: str = NEW_YORK, fold: int = 0) -> int:
    year, month, day, hour, minute = (*wall, 0, 0)[:5]
    local = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold)
    return epoch_us(local.astimezone(UTC))


def hours(start_us: int, *units: int) -> list[Interval]:
    """Return intervals of one hour after each other."""
    return [
        Interval(start_us + at * HOUR_US, start_us + (at + 1) * HOUR_US, each)
        for at, each in enumerate(units)
    ]


def parts(bill: Bill) -> dict[str, tuple[int, int]]:
    return {code: (part.units, part.net_minor) for code, part in bill.parts.items()}


# --- time of use ----------------------------------------------------------------------------------


def test_four_hours_across_the_end_of_daylight_saving_have_two_at_peak() -> None:
    # 1 November 2026, a Sunday: 01:00 to 02:00 comes twice, and is at peak both times.
    use = hours(at(2026, 11, 1, 0), 1_000, 2_000, 4_000, 8_000, 16_000)

    bill = price_intervals(TOU, use, BUYER)

    assert parts(bill) == {
        "peak": (2_000 + 4_000 + 8_000, 14 * 30),  # 01:00, 01:00 again, 02:00
        "off-peak": (1_000 + 16_000, 17 * 10),
    }
    assert bill.sum_of("levy") == 31
    assert bill.sum_of("tax") == 62  # 10 % of 4.20 + 1.70 + 0.31 = 6.21
    assert bill.total_minor == 420 + 170 + 31 + 62


def test_two_hours_at_peak_and_two_beside_it_across_the_start_of_daylight_saving() -> None:
    # 8 March 2026, a Sunday: 02:00 to 03:00 is left out, so that peak lasts one hour only.
    use = hours(at(2026, 3, 8, 0), 1_000, 2_000, 4_000, 8_000)

    bill = price_intervals(TOU, use, BUYER)

    assert parts(bill) == {"peak": (2_000, 60), "off-peak": (1_000 + 4_000 + 8_000, 130)}


def test_a_holiday_has_the_prices_of_its_own_plan() -> None:
    # 3 July 2026 is the Friday on which the 4th, a Saturday, is kept.
    friday, thursday = at(2026, 7, 3, 13), at(2026, 7, 2, 13)

    on_holiday = price_intervals(TOU, hours(friday, 1_000, 1_000), BUYER)
    on_working_day = price_intervals(TOU, hours(thursday, 1_000, 1_000), BUYER)

    assert parts(on_holiday) == {"off-peak": (2_000, 20)}
    assert parts(on_working_day) == {"standard": (1_000, 20), "peak": (1_000, 30)}


def test_two_hours_at_peak_and_two_off_peak_are_shown_as_two_totals() -> None:
    use = hours(at(2026, 7, 6, 17), 1_500, 2_500) + hours(at(2026, 7, 6, 5), 3_000, 4_000)

    bill = price_intervals(TOU, use, BUYER)

    assert bill.parts["peak"] == PartTotal("peak", 4_000, 120)
    assert bill.parts["off-peak"] == PartTotal("off-peak", 7_000, 70)
    assert [line.code for line in bill.lines] == ["peak", "off-peak", "fund", "vat"]


def test_beyond_the_holidays_that_are_known_there_is_no_price() -> None:
    text = TIME_OF_USE.replace("{country: US}", "{dates: [2026-12-25], through: 2026}")

    with pytest.raises(Refused) as refused:
        price_intervals(read(text), hours(at(2027, 1, 4, 9), 1_000), BUYER)

    assert refused.value.code == "holiday_calendar_ends"


def test_units_in_advance_have_no_price_by_period() -> None:
    with pytest.raises(Refused) as refused:
        price_units(TOU, replace(BUYER, at_us=at(2026, 7, 6)), 1_000)

    assert refused.value.code == "no_price_in_advance"


def test_a_period_may_be_free() -> None:
    free_nights = read(TIME_OF_USE.replace("off-peak: 0.10", "off-peak: 0"))

    bill = price_intervals(free_nights, hours(at(2026, 7, 6, 5), 3_000), BUYER)

    assert parts(bill) == {"off-peak": (3_000, 0)}
    assert bill.total_minor == 3  # the levy; its tax is less than half a cent


# --- cuts -----------------------------------------------------------------------------------------


def test_an_interval_over_a_change_of_period_is_shared_by_time() -> None:
    use = [Interval(at(2026, 7, 6, 13, 30), at(2026, 7, 6, 15, 0), 1_000)]

    bill = price_intervals(TOU, use, BUYER)

    assert bill.parts["standard"].units == 333
    assert bill.parts["peak"].units == 667


def test_an_interval_over_midnight_is_shared_by_time() -> None:
    sunday_to_monday = [Interval(at(2026, 7, 5, 23), at(2026, 7, 6, 8), 900)]

    days = [
        (piece.day, piece.period, piece.units)
        for piece in cut(sunday_to_monday, TOU.calendar, NEW_YORK)
    ]

    assert days == [
        (date(2026, 7, 5), "off-peak", 100),
        (date(2026, 7, 6), "off-peak", 700),
        (date(2026, 7, 6), "standard", 100),
    ]


def test_an_interval_that_ends_with_a_period_has_no_part_in_the_next() -> None:
    use = [Interval(at(2026, 7, 6, 13), at(2026, 7, 6, 14), 100)]

    assert [piece.period for piece in cut(use, TOU.calendar, NEW_YORK)] == ["standard"]


MOMENTS = st.integers(min_value=at(2026, 1, 1) // 1_000_000, max_value=at(2026, 12, 1) // 1_000_000)


@st.composite
def profiles(draw: st.DrawFn) -> list[Interval]:
    """Intervals of any length after each other, with gaps."""
    start = draw(MOMENTS) * 1_000_000
    found = []
    for length_s, gap_s, units in draw(
        st.lists(
            st.tuples(
                st.integers(1, 200_000), st.sampled_from([0, 0, 1, 90_000]), st.integers(0, 10**7)
            ),
            min_size=1,
            max_size=12,
        )
    ):
        found.append(Interval(start, start + length_s * 1_000_000, units))
        start += (length_s + gap_s) * 1_000_000
    return found


@given(profiles(), st.sampled_from([TOU.calendar, None]))
def test_the_parts_of_intervals_add_up_to_them(
    use: list[Interval], calendar: Calendar | None
) -> None:
    pieces = list(cut(use, calendar, NEW_YORK))

    for interval in use:
        inside = [p for p in pieces if interval.start_us <= p.start_us < interval.end_us]
        assert sum(piece.units for piece in inside) == interval.units
        assert min(piece.units for piece in inside) >= 0
        assert (inside[0].start_us, inside[-1].end_us) == (interval.start_us, interval.end_us)
        assert all(one.end_us == other.start_us for one, other in pairwise(inside))


@given(profiles())
def test_parts_that_are_cut_again_stay_as_they_are(use: list[Interval]) -> None:
    pieces = list(cut(use, TOU.calendar, NEW_YORK))
    again = [Interval(piece.start_us, piece.end_us, piece.units) for piece in pieces]

    assert list(cut(again, TOU.calendar, NEW_YORK)) == pieces


@given(profiles())
@settings(deadline=None)
def test_a_bill_by_periods_bills_all_units_once_and_its_lines_are_its_total(
    use: list[Interval],
) -> None:
    bill = price_intervals(TOU, use, BUYER)

    assert bill.units == sum(each.units for each in use)
    assert sum(part.units for part in bill.parts.values()) == bill.units
    kinds = ("energy", "levy", "tax", "rounding")
    assert sum(map(bill.sum_of, kinds)) == bill.total_minor


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1), date(2026, 7, 6)])
def test_the_hours_of_a_day_are_the_day(day: date) -> None:
    start, end = day_start_us(day, NEW_YORK), day_start_us(day + timedelta(days=1), NEW_YORK)
    count = (end - start) // HOUR_US
    whole = [Interval(start, end, 1_000 * count)]

    by_hour = price_intervals(TOU, hours(start, *[1_000] * count), BUYER)
    by_day = price_intervals(TOU, whole, BUYER)

    assert TOU.calendar is not None
    assert sum(s.end_us - s.start_us for s in day_spans(TOU.calendar, day, NEW_YORK)) == end - start
    assert parts(by_hour) == parts(by_day)


@pytest.mark.parametrize(
    ("use", "code"),
    [
        ([], "no_intervals"),
        ([Interval(5, 5, 1)], "interval_invalid"),
        ([Interval(5, 4, 1)], "interval_invalid"),
        ([Interval(5, 6, -1)], "interval_invalid"),
        ([Interval(0, 10, 1), Interval(9, 12, 1)], "intervals_overlap"),
        ([Interval(9, 12, 1), Interval(0, 10, 1)], "intervals_overlap"),
    ],
)
def test_intervals_that_cannot_be_are_refused(use: list[Interval], code: str) -> None:
    with pytest.raises(Refused) as refused:
        price_intervals(TOU, use, BUYER)

    assert refused.value.code == code

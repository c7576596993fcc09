"""Periods of time-of-use tariffs: wall clocks, seasons, weekdays, holidays and daylight saving."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.units import HOUR_US, Commodity, epoch_us
from slotmeter.vending.tariff.calendar import (
    day_spans,
    day_start_us,
    days_without_plan,
    holidays_known,
    is_holiday,
    local_date,
    period_at,
    require_coming_year,
    spans_between,
)
from slotmeter.vending.tariff.model import (
    Block,
    Calendar,
    Condition,
    Counter,
    DayPlan,
    Energy,
    Holidays,
    Season,
    Table,
    TableRule,
    Tariff,
)

EVERY_DAY = frozenset(range(7))
WORKING = frozenset(range(5))
WEEKEND = frozenset({5, 6})
ALL = frozenset[str]()


def plan(
    *spans: tuple[int, str],
    weekdays: frozenset[int] = EVERY_DAY,
    seasons: frozenset[str] = ALL,
    holidays: bool = False,
) -> DayPlan:
    return DayPlan(
        seasons=seasons,
        weekdays=weekdays,
        holidays=holidays,
        spans=tuple((time(hour), name) for hour, name in spans),
    )


PEAK_DAY = plan((0, "off-peak"), (7, "peak"), (10, "standard"), (18, "peak"), (20, "off-peak"))
DAILY = Calendar(seasons=(), days=(PEAK_DAY,), holidays=None)
ZONES = [
    "Africa/Nairobi",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Europe/Lisbon",
]


def at(zone: str, *wall: int, fold: int = 0) -> int:
    year, month, day, hour, minute = (*wall, *(0,) * 5)[:5]
    local = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold)
    return epoch_us(local.astimezone(UTC))


def tariff_with(calendar: Calendar | None, valid_until: date | None = None) -> Tariff:
    table = Table(code="standard", blocks=(Block(None, Decimal(1)),))
    return Tariff(
        code="t",
        title="t",
        commodity=Commodity.ELECTRICITY,
        currency="ZAR",
        energy=Energy(
            label="Energy",
            tables={"standard": table},
            rules=(TableRule(Condition(), "standard"),),
            counter=Counter(),
        ),
        calendar=calendar,
        valid_until=valid_until,
    )


# --- periods of a day -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hour", "minute", "period"),
    [
        (0, 0, "off-peak"),
        (6, 59, "off-peak"),
        (7, 0, "peak"),
        (9, 59, "peak"),
        (10, 0, "standard"),
        (18, 0, "peak"),
        (20, 0, "off-peak"),
        (23, 59, "off-peak"),
    ],
)
def test_a_period_begins_with_its_minute(hour: int, minute: int, period: str) -> None:
    assert period_at(DAILY, at("Africa/Nairobi", 2026, 11, 3, hour, minute), "Africa/Nairobi") == (
        period
    )


def test_the_same_instant_has_another_period_in_another_zone() -> None:
    morning = at("Africa/Nairobi", 2026, 11, 3, 8)

    assert period_at(DAILY, morning, "Africa/Nairobi") == "peak"
    assert period_at(DAILY, morning, "UTC") == "off-peak"


def test_a_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        period_at(DAILY, 0, "Africa/Atlantis")

    assert refused.value.code == "time_zone_unknown"


# --- weekdays and seasons -------------------------------------------------------------------------

WEEKLY = Calendar(
    seasons=(),
    days=(
        plan((0, "working"), weekdays=WORKING),
        plan((0, "weekend"), weekdays=WEEKEND),
    ),
    holidays=None,
)


@pytest.mark.parametrize(("day", "period"), [(6, "working"), (7, "weekend"), (9, "working")])
def test_weekdays_have_plans_of_their_own(day: int, period: str) -> None:
    assert period_at(WEEKLY, at("UTC", 2026, 11, day, 12), "UTC") == period


SEASONAL = Calendar(
    seasons=(Season("high", (6, 1), (8, 31)), Season("low", (9, 1), (5, 31))),
    days=(
        plan((0, "dear"), seasons=frozenset({"high"})),
        plan((0, "cheap"), seasons=frozenset({"low"})),
    ),
    holidays=None,
)


@pytest.mark.parametrize(
    ("month", "day", "period"),
    [
        (5, 31, "cheap"),
        (6, 1, "dear"),
        (8, 31, "dear"),
        (9, 1, "cheap"),
        (12, 31, "cheap"),
        (1, 1, "cheap"),
        (2, 29, "cheap"),
    ],
)
def test_a_season_holds_both_its_days_and_may_run_over_the_years_end(
    month: int, day: int, period: str
) -> None:
    assert period_at(SEASONAL, at("UTC", 2028, month, day, 12), "UTC") == period


def test_a_day_without_a_plan_has_no_price() -> None:
    only_high = Calendar(seasons=SEASONAL.seasons, days=SEASONAL.days[:1], holidays=None)

    with pytest.raises(Refused, match="2026-11-03") as refused:
        period_at(only_high, at("UTC", 2026, 11, 3), "UTC")

    assert refused.value.code == "no_price_in_force"


def test_days_that_no_plan_covers_are_named() -> None:
    gap = Calendar(
        seasons=(Season("a", (1, 1), (6, 30)), Season("b", (7, 2), (12, 31))),
        days=(
            plan((0, "x"), seasons=frozenset({"a"})),
            plan((0, "x"), seasons=frozenset({"b"}), weekdays=EVERY_DAY - {6}),
        ),
        holidays=None,
    )

    missing = days_without_plan(gap)

    assert missing[0] == "07-01 Monday"
    assert missing[7:] == ("07-02 Sunday", "07-03 Sunday", "07-04 Sunday")


@pytest.mark.parametrize("calendar", [DAILY, WEEKLY, SEASONAL], ids=["daily", "weekly", "seasons"])
def test_a_calendar_that_covers_the_year_misses_no_day(calendar: Calendar) -> None:
    assert days_without_plan(calendar) == ()


# --- holidays -------------------------------------------------------------------------------------

SOUTH_AFRICA = Holidays(country="ZA")
OWN = Holidays(dates=frozenset({date(2026, 12, 16)}), through=2027)
WITH_HOLIDAYS = Calendar(
    seasons=(),
    days=(
        plan((0, "working"), weekdays=WORKING),
        plan((0, "weekend"), weekdays=WEEKEND),
        plan((0, "holiday"), weekdays=frozenset(), holidays=True),
    ),
    holidays=SOUTH_AFRICA,
)


@pytest.mark.parametrize(
    ("month", "day", "period"),
    [
        (12, 16, "holiday"),  # Day of Reconciliation, a Wednesday
        (12, 17, "working"),
        (12, 25, "holiday"),
        (12, 26, "holiday"),  # Day of Goodwill, a Saturday: the holiday wins
        (12, 27, "weekend"),
    ],
)
def test_a_holiday_wins_over_its_weekday(month: int, day: int, period: str) -> None:
    assert (
        period_at(
            WITH_HOLIDAYS, at("Africa/Johannesburg", 2026, month, day, 9), "Africa/Johannesburg"
        )
        == period
    )


def test_a_monday_observed_for_a_sunday_is_a_holiday() -> None:
    assert date(2027, 3, 21).weekday() == 6
    assert is_holiday(SOUTH_AFRICA, date(2027, 3, 21))
    assert is_holiday(SOUTH_AFRICA, date(2027, 3, 22))


def test_a_holiday_begins_at_local_midnight() -> None:
    zone = "Africa/Johannesburg"
    before, after = at(zone, 2026, 12, 15, 23, 59), at(zone, 2026, 12, 16)

    assert period_at(WITH_HOLIDAYS, before, zone) == "working"
    assert period_at(WITH_HOLIDAYS, after, zone) == "holiday"


def test_a_holiday_without_a_plan_of_its_own_goes_by_its_weekday() -> None:
    calendar = Calendar(seasons=(), days=WEEKLY.days, holidays=SOUTH_AFRICA)

    assert period_at(calendar, at("UTC", 2026, 12, 16, 9), "UTC") == "working"


def test_own_days_and_those_of_a_country_add_up() -> None:
    both = Holidays(country="ZA", dates=frozenset({date(2026, 11, 4)}), through=2026)

    assert is_holiday(both, date(2026, 11, 4))
    assert is_holiday(both, date(2026, 12, 25))
    assert not is_holiday(both, date(2026, 11, 5))


def test_a_region_has_days_of_its_own() -> None:
    bavaria, berlin = Holidays(country="DE", subdivision="BY"), Holidays("DE", "BE")

    assert is_holiday(bavaria, date(2027, 1, 6))
    assert not is_holiday(berlin, date(2027, 1, 6))


@pytest.mark.parametrize(
    "holidays", [Holidays(country="ZZ"), Holidays(country="ZA", subdivision="Bavaria")]
)
def test_a_country_or_region_that_nobody_knows_is_refused(holidays: Holidays) -> None:
    with pytest.raises(Refused) as refused:
        holidays_known(holidays)

    assert refused.value.code == "holidays_unknown"


@pytest.mark.parametrize(
    ("holidays", "day"),
    [
        (OWN, date(2028, 1, 1)),
        (Holidays(dates=frozenset({date(2026, 12, 16)})), date(2027, 1, 1)),
        (Holidays(country="ZA", dates=OWN.dates, through=2027), date(2028, 7, 3)),
        (SOUTH_AFRICA, date(2150, 7, 3)),
    ],
)
def test_beyond_the_holiday_calendar_there_is_no_price(holidays: Holidays, day: date) -> None:
    with pytest.raises(Refused, match=f"does not cover {day.year}") as refused:
        is_holiday(holidays, day)

    assert refused.value.code == "holiday_calendar_ends"
    assert refused.value.details["year"] == day.year


def test_a_calendar_without_the_coming_year_is_refused_at_approval() -> None:
    tariff = tariff_with(Calendar((), WEEKLY.days, OWN))

    require_coming_year(tariff, date(2026, 12, 31))
    with pytest.raises(Refused, match="holiday calendar without the coming year: 2028") as refused:
        require_coming_year(tariff, date(2027, 1, 1))

    assert refused.value.code == "holiday_calendar_ends"
    assert refused.value.details["year"] == 2028


def test_a_tariff_that_ends_before_the_coming_year_needs_no_holidays_of_it() -> None:
    calendar = Calendar((), WEEKLY.days, OWN)

    require_coming_year(tariff_with(calendar, valid_until=date(2028, 1, 1)), date(2027, 6, 1))
    with pytest.raises(Refused):
        require_coming_year(tariff_with(calendar, valid_until=date(2028, 1, 2)), date(2027, 6, 1))


@pytest.mark.parametrize("calendar", [None, DAILY, WITH_HOLIDAYS], ids=["none", "daily", "country"])
def test_a_tariff_whose_calendar_never_ends_is_approved(calendar: Calendar | None) -> None:
    require_coming_year(tariff_with(calendar), date(2026, 11, 21))


# --- daylight saving ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Europe/Lisbon", date(2026, 3, 29), 23),
        ("Europe/Lisbon", date(2026, 10, 25), 25),
        ("Africa/Cairo", date(2026, 4, 24), 23),  # midnight does not exist
        ("America/Havana", date(2026, 11, 1), 25),  # midnight comes twice
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("America/Sao_Paulo", date(2018, 2, 17), 25),
        ("Africa/Nairobi", date(2026, 3, 29), 24),
    ],
)
def test_the_periods_of_a_day_are_as_long_as_the_day(zone: str, day: date, hours: int) -> None:
    spans = day_spans(DAILY, day, zone)

    assert sum(span.end_us - span.start_us for span in spans) == hours * HOUR_US
    assert spans[0].start_us == day_start_us(day, zone)
    assert spans[-1].end_us == day_start_us(day + timedelta(days=1), zone)


def test_a_change_of_half_an_hour_makes_days_of_half_hours() -> None:
    spans = day_spans(DAILY, date(2026, 4, 5), "Australia/Lord_Howe")

    assert sum(span.end_us - span.start_us for span in spans) == 49 * HOUR_US // 2


def test_an_hour_that_comes_twice_has_its_period_twice() -> None:
    early = Calendar((), (plan((0, "night"), (1, "deep"), (2, "night")),), None)
    zone, day = "America/New_York", date(2026, 11, 1)

    spans = [(s.period, (s.end_us - s.start_us) // HOUR_US) for s in day_spans(early, day, zone)]

    assert spans == [("night", 1), ("deep", 2), ("night", 22)]


def test_a_period_that_begins_within_the_hour_that_comes_twice_comes_twice() -> None:
    half_past = DayPlan(ALL, EVERY_DAY, False, ((time(0), "a"), (time(1, 30), "b"), (time(2), "a")))
    zone, day = "America/New_York", date(2026, 11, 1)

    spans = day_spans(Calendar((), (half_past,), None), day, zone)

    assert [span.period for span in spans] == ["a", "b", "a", "b", "a"]
    assert spans[1].start_us == at(zone, 2026, 11, 1, 1, 30)
    assert spans[3].start_us == at(zone, 2026, 11, 1, 1, 30, fold=1)


def test_a_period_that_begins_in_the_hour_left_out_begins_when_clocks_have_jumped() -> None:
    half_past = DayPlan(ALL, EVERY_DAY, False, ((time(0), "a"), (time(2, 30), "b")))
    zone, day = "America/New_York", date(2026, 3, 8)

    spans = day_spans(Calendar((), (half_past,), None), day, zone)

    assert [span.period for span in spans] == ["a", "b"]
    assert spans[1].start_us == at(zone, 2026, 3, 8, 3)


def test_a_day_that_was_left_out_has_no_periods() -> None:
    assert day_spans(DAILY, date(2011, 12, 30), "Pacific/Apia") == ()


@given(
    zone=st.sampled_from(ZONES),
    start_s=st.integers(min_value=1_420_070_400, max_value=1_861_920_000),  # 2015 to 2029
    length_s=st.integers(min_value=1, max_value=4 * 86_400),
)
def test_spans_follow_each_other_and_each_instant_has_the_period_of_its_span(
    zone: str, start_s: int, length_s: int
) -> None:
    start_us = start_s * 1_000_000
    end_us = start_us + length_s * 1_000_000

    spans = list(spans_between(DAILY, start_us, end_us, zone))

    assert (spans[0].start_us, spans[-1].end_us) == (start_us, end_us)
    for before, after in pairwise(spans):
        assert before.end_us == after.start_us
    for span in spans:
        for instant_us in (span.start_us, span.end_us - 1):
            assert local_date(instant_us, zone) == span.day
            assert period_at(DAILY, instant_us, zone) == span.period

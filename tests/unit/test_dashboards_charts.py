"""Charts of the dashboards, from data to figure, sentence and table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from slotmeter_dashboards.charts import Look, balance, consumption, sales_by_hour, used_per_bucket
from slotmeter_dashboards.model import Bucket, Overview, SoldHour
from slotmeter_dashboards.words import NO_BREAK

START = datetime(2026, 11, 21, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
LOOK = Look(UTC, "light", "in 24 hours", (START, START + 24 * HOUR))


def bucket(hour: int, first: str, last: str) -> Bucket:
    start = START + hour * HOUR
    return Bucket(start, start + HOUR, Decimal(first), Decimal(last))


def overview(*hours: SoldHour, currency: str = "ZAR") -> Overview:
    return Overview(
        as_of=START,
        utility="Town",
        time_zone="UTC",
        currency=currency,
        sale_count=sum(hour.count for hour in hours),
        tendered=sum((hour.tendered for hour in hours), Decimal(0)),
        units={},
        hours=hours,
        meter_count=0,
        by_supply={},
        by_commodity={},
        heard=0,
        alarm_count=0,
        alarms=(),
        commands_by_state={},
        commands=(),
        quarantined=0,
        ledger_balanced=True,
    )


def sold(at: datetime, count: int, tendered: str) -> SoldHour:
    return SoldHour(at, count, Decimal(tendered))


def test_use_of_an_hour_is_the_growth_since_the_end_of_the_hour_before() -> None:
    used = used_per_bucket([bucket(0, "100", "101"), bucket(1, "101.2", "103")])

    assert [each.amount for each in used] == [Decimal(1), Decimal(2)]


def test_growth_over_a_silence_is_shared_evenly_and_marked() -> None:
    used = used_per_bucket([bucket(0, "100", "101"), bucket(3, "104", "107")])

    assert [(each.start.hour, each.amount, each.shared) for each in used] == [
        (10, Decimal(1), False),
        (11, Decimal(2), True),
        (12, Decimal(2), True),
        (13, Decimal(2), True),
    ]


def test_a_register_that_went_back_gives_nothing_for_that_hour_and_starts_anew() -> None:
    used = used_per_bucket([bucket(0, "100", "101"), bucket(1, "0", "2"), bucket(2, "2", "5")])

    assert [(each.start.hour, each.amount) for each in used] == [(10, Decimal(1)), (12, Decimal(3))]


def test_all_use_that_the_register_counted_is_in_the_bars() -> None:
    buckets = [bucket(0, "7", "8.5"), bucket(4, "9", "9.25"), bucket(5, "9.25", "13")]

    total = sum(each.amount for each in used_per_bucket(buckets))

    assert total == buckets[-1].last - buckets[0].first


def test_bars_stand_in_the_middle_of_their_hour_by_the_wall_clock() -> None:
    look = Look(ZoneInfo("Africa/Johannesburg"), "light", "in 24 hours", None)

    chart = consumption([bucket(0, "1", "2")], "kWh", look)

    assert chart.figure is not None
    assert chart.figure["data"][0]["x"] == ["2026-11-21T12:30:00"]


def test_shared_hours_are_hatched_and_the_sentence_says_so() -> None:
    chart = consumption([bucket(0, "1", "2"), bucket(2, "3", "4")], "kWh", LOOK)

    assert chart.figure is not None
    assert chart.figure["data"][0]["marker"]["pattern"]["shape"] == ["", "/", "/"]
    assert "2 hours without reports" in chart.summary


def test_the_sentence_of_use_gives_total_and_highest_hour() -> None:
    chart = consumption([bucket(0, "1", "2"), bucket(1, "2", "4.5")], "kWh", LOOK)

    assert chart.summary.replace(NO_BREAK, " ").startswith(
        "3.5 kWh used in 24 hours; the most in one hour was 2.5 kWh, from 21 Nov 11:00."
    )


def test_the_table_of_use_holds_one_row_per_bar() -> None:
    chart = consumption([bucket(0, "1", "2"), bucket(2, "3", "4")], "kWh", LOOK)

    assert chart.figure is not None
    assert len(chart.rows) == len(chart.figure["data"][0]["x"])


def test_a_top_up_counts_and_the_lowest_credit_is_named() -> None:
    chart = balance([bucket(0, "5", "0.5"), bucket(1, "0.5", "20"), bucket(2, "20", "18")],
                    "kWh", LOOK)  # fmt: skip

    said = chart.summary.replace(NO_BREAK, " ")
    assert said.startswith("18.0 kWh left; 1 top-up in 24 hours, lowest 0.5 kWh")


def test_the_line_of_credit_breaks_where_nothing_was_heard() -> None:
    chart = balance([bucket(0, "5", "4"), bucket(1, "4", "3"), bucket(5, "2", "1")], "kWh", LOOK)

    assert chart.figure is not None
    assert [len(line["x"]) for line in chart.figure["data"]] == [3, 2]


def test_both_charts_of_a_meter_span_the_same_time() -> None:
    buckets = [bucket(0, "1", "2")]

    used, left = consumption(buckets, "kWh", LOOK), balance(buckets, "kWh", LOOK)

    assert used.figure is not None
    assert left.figure is not None
    assert used.figure["layout"]["xaxis"]["range"] == left.figure["layout"]["xaxis"]["range"]


@pytest.mark.parametrize("draw", [consumption, balance])
def test_without_readings_there_is_no_figure_but_a_sentence(draw: object) -> None:
    chart = draw([], "kWh", LOOK) if callable(draw) else None

    assert chart is not None
    assert chart.figure is None
    assert chart.summary.endswith("yet.")


def test_sales_stand_at_their_hour_of_the_utilitys_wall_clock() -> None:
    zone = ZoneInfo("Africa/Johannesburg")

    chart = sales_by_hour(overview(sold(START, 3, "60")), zone, "light")

    assert chart.figure is not None
    assert chart.figure["data"][0]["x"] == [12]
    assert chart.rows == (("12:00", "3", f"ZAR{NO_BREAK}60.00"),)


def test_the_hour_that_a_clock_change_repeats_is_one_bar() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 0, tzinfo=UTC)

    chart = sales_by_hour(
        overview(sold(first, 1, "10"), sold(first + HOUR, 2, "30")), zone, "light"
    )

    assert chart.rows == (("02:00", "3", f"ZAR{NO_BREAK}40.00"),)


def test_hours_without_sales_have_no_row() -> None:
    hours = [sold(START, 0, "0"), sold(START + HOUR, 1, "10")]

    assert len(sales_by_hour(overview(*hours), UTC, "light").rows) == 1


def test_a_day_without_sales_says_so() -> None:
    chart = sales_by_hour(overview(sold(START, 0, "0")), UTC, "light")

    assert (chart.figure, chart.summary) == (None, "No sales yet today.")


def test_dark_and_light_figures_differ_in_colours_only() -> None:
    day = overview(sold(START, 1, "10"))

    light, dark = sales_by_hour(day, UTC, "light"), sales_by_hour(day, UTC, "dark")

    assert light.figure is not None
    assert dark.figure is not None
    assert light.figure["data"][0]["marker"] != dark.figure["data"][0]["marker"]
    assert light.figure["data"][0]["y"] == dark.figure["data"][0]["y"]
    assert (light.summary, light.rows) == (dark.summary, dark.rows)

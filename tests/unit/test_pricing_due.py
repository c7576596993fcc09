"""Block windows, fixed charges that are open, and free units that may be claimed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from slotmeter.units import Commodity, epoch_us
from slotmeter.vending.pricing.charges_due import TakenCharge, open_charges, open_free
from slotmeter.vending.pricing.situation import FreeState, Situation
from slotmeter.vending.pricing.windows import window_start_us, windows_missed
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    BlockWindow,
    Collection,
    Condition,
    Counter,
    Energy,
    FixedItem,
    FreeUnits,
    Measure,
    Missed,
    Table,
    TableRule,
    Tariff,
)

JOBURG = "Africa/Johannesburg"


def at(text: str, zone: str = JOBURG) -> int:
    return epoch_us(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))


def tariff(*fixed: FixedItem, counter: Counter | None = None, free: Any = ()) -> Tariff:
    return Tariff(
        code="t",
        title="T",
        commodity=Commodity.ELECTRICITY,
        currency="ZAR",
        energy=Energy(
            "Energy",
            {"standard": Table("standard", (Block(None, Decimal(2)),))},
            (TableRule(ALWAYS, "standard"),),
            counter or Counter(),
        ),
        fixed_items=fixed,
        free_units=free,
    )


def monthly(**more: Any) -> FixedItem:
    return FixedItem("fee", "Fee", Decimal(10), **more)


def buyer(text: str) -> Situation:
    return Situation(at(text), JOBURG)


def periods(states: Any) -> list[str]:
    return [state.period for state in states]


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "instant", "start"),
    [
        (Counter(), "2026-05-28T10:00", "2026-05-01T00:00"),
        (Counter(), "2026-06-01T00:00", "2026-06-01T00:00"),
        (Counter(months=2), "2026-04-30T23:59", "2026-03-01T00:00"),
        (
            Counter(BlockWindow.BILLING_PERIOD, start_day=15),
            "2026-05-14T23:59",
            "2026-04-15T00:00",
        ),
        (
            Counter(BlockWindow.BILLING_PERIOD, start_day=15),
            "2026-01-02T00:00",
            "2025-12-15T00:00",
        ),
        (Counter(BlockWindow.ROLLING, days=30), "2026-05-28T10:00", "2026-04-28T10:00"),
    ],
)
def test_a_window_begins_where_its_counter_says(counter: Counter, instant: str, start: str) -> None:
    assert window_start_us(counter, at(instant), JOBURG) == at(start)


def test_a_month_begins_at_midnight_of_the_place_across_a_change_of_the_clock() -> None:
    berlin = "Europe/Berlin"

    start = window_start_us(Counter(), at("2026-03-30T12:00", berlin), berlin)

    assert start == epoch_us(datetime(2026, 2, 28, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("last", "missed"),
    [
        ("2026-05-01T00:00", 0),
        ("2026-04-30T23:59", 0),
        ("2026-03-31T23:59", 1),
        ("2025-05-01T00:00", 11),
    ],
)
def test_windows_without_a_purchase_are_counted_between_purchases(last: str, missed: int) -> None:
    assert windows_missed(Counter(), at(last), at("2026-05-28T10:00"), JOBURG) == missed


# --- charges --------------------------------------------------------------------------------------


def test_a_monthly_charge_is_due_once_a_month() -> None:
    sold = tariff(monthly())
    settled = TakenCharge("fee", "2026-05", 10_00, 10_00)

    assert periods(open_charges(sold, buyer("2026-05-28T10:00"))) == ["2026-05"]
    assert open_charges(sold, buyer("2026-05-28T10:00"), [settled]) == ()
    assert periods(open_charges(sold, buyer("2026-06-01T00:00"), [settled])) == ["2026-06"]


def test_a_part_that_was_taken_is_said() -> None:
    record = TakenCharge("fee", "2026-05", 4_00, 10_00)

    (state,) = open_charges(
        tariff(monthly()), buyer("2026-05-28T10:00"), [record], tendered_minor=70_00
    )

    assert (state.taken_minor, state.tendered_minor) == (4_00, 70_00)


@pytest.mark.parametrize(
    ("missed", "months_max", "expected"),
    [
        (Missed.LAPSE, 120, ["2026-05"]),
        (Missed.ACCUMULATE, 120, ["2026-02", "2026-04", "2026-05"]),
        (Missed.ACCUMULATE, 1, ["2026-04", "2026-05"]),
    ],
)
def test_months_without_a_purchase_add_up_or_lapse(
    missed: Missed, months_max: int, expected: list[str]
) -> None:
    sold = tariff(monthly(missed=missed, months_max=months_max))
    march = TakenCharge("fee", "2026-03", 10_00, 10_00)

    states = open_charges(
        sold, buyer("2026-05-28T10:00"), [march], started_us=at("2026-02-17T00:00")
    )

    assert periods(states) == expected


def test_with_a_billing_window_months_begin_on_its_day() -> None:
    sold = tariff(monthly(), counter=Counter(BlockWindow.BILLING_PERIOD, start_day=15))

    assert periods(open_charges(sold, buyer("2026-05-14T10:00"))) == ["2026-04"]
    assert periods(open_charges(sold, buyer("2026-05-15T10:00"))) == ["2026-05"]


def test_each_day_since_the_purchase_before_is_due_today_included() -> None:
    daily = FixedItem(
        "day", "Day", Decimal("6.58"), collect=Collection.DAY, missed=Missed.ACCUMULATE
    )

    states = open_charges(
        tariff(daily), buyer("2026-05-03T00:30"), last_purchase_us=at("2026-04-30T23:30")
    )

    assert periods(states) == ["2026-05-01", "2026-05-02", "2026-05-03"]


def test_a_second_purchase_on_a_day_pays_no_day() -> None:
    daily = FixedItem("day", "Day", Decimal(1), collect=Collection.DAY, missed=Missed.ACCUMULATE)

    assert (
        open_charges(
            tariff(daily), buyer("2026-05-03T20:00"), last_purchase_us=at("2026-05-03T08:00")
        )
        == ()
    )


def test_a_condition_with_dates_is_looked_up_for_each_period() -> None:
    april = Condition(from_date=date(2026, 4, 1))
    sold = tariff(monthly(missed=Missed.ACCUMULATE, when=april))

    states = open_charges(sold, buyer("2026-05-28T10:00"), started_us=at("2026-01-01T00:00"))

    assert periods(states) == ["2026-04", "2026-05"]


def test_a_charge_by_demand_is_not_due_while_nothing_was_measured() -> None:
    sold = tariff(monthly(measure=Measure.DEMAND_KW))

    assert open_charges(sold, buyer("2026-05-28T10:00")) == ()


# --- free units -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accumulates", "expected"), [(False, ("2026-05",)), (True, ("2026-03", "2026-05"))]
)
def test_months_not_claimed_are_lost_or_kept(accumulates: bool, expected: tuple[str, ...]) -> None:
    free = FreeUnits("fbe", "Free", 50_000, accumulates=accumulates)

    states = open_free(
        tariff(free=(free,)),
        buyer("2026-05-28T10:00"),
        registered_us={"fbe": at("2026-03-10T00:00")},
        claimed={"fbe": ["2026-04"]},
    )

    assert states == (FreeState("fbe", expected),)


def test_only_registered_accounts_get_units_that_need_it() -> None:
    free = FreeUnits("fbe", "Free", 50_000)
    situation = buyer("2026-05-28T10:00")

    assert open_free(tariff(free=(free,)), situation, registered_us={}, claimed={}) == ()

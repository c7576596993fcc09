"""What is due of a debt at a purchase: shapes, dates in every zone, arrangements, suspensions."""

from __future__ import annotations

import calendar
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.units import DAY_US, HOUR_US, epoch_us
from slotmeter.vending.debt_plans import (
    DebtPlan,
    Every,
    Missed,
    Phase,
    Shape,
    Suspension,
    day_start_us,
    instalment_date,
    instalments_due,
    local_day,
    stored_plan,
)
from slotmeter.vending.debts import Repayment, due_at

NAIROBI = "Africa/Nairobi"
ZONES = (
    NAIROBI,
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # clocks go forward at midnight
    "Asia/Beirut",  # at midnight, too
    "Africa/Cairo",
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Apia",  # no 30 December 2011
    "Asia/Kathmandu",
)


def us(text: str, zone: str = NAIROBI) -> int:
    return epoch_us(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))


def by_date(
    first: str, every: Every = Every.MONTH, amount: int = 2000, missed: Missed = Missed.ACCUMULATE
) -> Phase:
    day = date.fromisoformat(first)
    start = day_start_us(day, ZoneInfo(NAIROBI))
    return Phase(start, Shape.INSTALMENTS, None, amount, every, missed, day)


def row(plan: DebtPlan, **changes: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "number": "D00000007",
        "kind": "arrears",
        "label": "Old bills",
        "priority": 1,
        "balance_minor": 24000,
        "tax_percent": None,
        "plan": json.dumps(plan.to_dict()),
        **changes,
    }


def due(phase: Phase, at: str, *repaid: tuple[str, int], **changes: Any) -> int | None:
    plan = DebtPlan((phase,))
    taken = [Repayment(us(day), minor) for day, minor in repaid]
    return due_at(row(plan, **changes), us(at), NAIROBI, taken).due_minor


# --- shapes ---------------------------------------------------------------------------------------


def test_a_one_off_debt_sets_no_limit_but_the_balance() -> None:
    state = due_at(row(DebtPlan((Phase(0, Shape.ONCE),))), us("2026-11-21"), NAIROBI)

    assert (state.due_minor, state.percent, state.balance_minor) == (None, None, 24000)


def test_a_share_of_each_purchase_is_handed_on_as_text() -> None:
    plan = DebtPlan((Phase(0, Shape.PERCENT, percent="30"),))

    state = due_at(row(plan), us("2026-11-21"), NAIROBI)

    assert (state.due_minor, state.percent) == (None, "30")


def test_an_instalment_of_each_purchase_is_due_at_every_purchase() -> None:
    phase = Phase(0, Shape.INSTALMENTS, amount_minor=500)

    assert due(phase, "2026-11-21", ("2026-11-21", 500)) == 500


def test_a_debt_names_its_ledger_account_by_its_number() -> None:
    state = due_at(row(DebtPlan((Phase(0, Shape.ONCE),))), 1, NAIROBI)

    assert (state.debt_id, state.number) == (7, "D00000007")


def test_only_emergency_credit_goes_before_the_cap() -> None:
    plan = DebtPlan((Phase(0, Shape.ONCE),))

    states = [due_at(row(plan, kind=kind), 1, NAIROBI) for kind in ("emergency_credit", "fine")]

    assert [state.bypasses_cap for state in states] == [True, False]


def test_nothing_is_due_before_a_plan_begins() -> None:
    assert due(by_date("2026-12-01"), "2026-11-30T23:59") == 0


# --- DB-03: instalments by date -------------------------------------------------------------------


def test_after_two_skipped_months_three_instalments_are_due() -> None:
    assert due(by_date("2026-01-01"), "2026-04-10", ("2026-01-05", 2000)) == 6000


def test_a_plan_that_does_not_accumulate_is_due_once_after_two_skipped_months() -> None:
    phase = by_date("2026-01-01", missed=Missed.SKIP)

    assert due(phase, "2026-04-10", ("2026-01-05", 2000)) == 2000


def test_a_plan_that_does_not_accumulate_takes_nothing_twice_in_a_month() -> None:
    phase = by_date("2026-01-01", missed=Missed.SKIP)

    assert due(phase, "2026-04-20", ("2026-01-05", 2000), ("2026-04-10", 2000)) == 0


def test_a_plan_that_catches_up_takes_one_instalment_at_each_purchase() -> None:
    phase = by_date("2026-01-01", missed=Missed.ONE_AT_A_TIME)

    assert due(phase, "2026-04-10", ("2026-01-05", 2000)) == 2000
    assert due(phase, "2026-04-10", ("2026-01-05", 2000), ("2026-04-10", 2000)) == 2000
    assert due(phase, "2026-04-11", ("2026-01-05", 8000)) == 0


def test_an_instalment_taken_in_part_leaves_the_rest_due() -> None:
    assert due(by_date("2026-01-01"), "2026-01-10", ("2026-01-05", 1250)) == 750


def test_no_more_is_due_than_is_owed() -> None:
    assert due(by_date("2026-01-01"), "2026-12-31", balance_minor=1500) == 1500


def test_an_instalment_falls_due_at_local_midnight() -> None:
    phase = by_date("2026-01-15")

    assert due(phase, "2026-02-14T23:59:59", ("2026-01-15", 2000)) == 0
    assert due(phase, "2026-02-15T00:00", ("2026-01-15", 2000)) == 2000


@pytest.mark.parametrize(("year", "last"), [(2026, 28), (2028, 29)])
def test_the_thirty_first_becomes_the_last_day_of_a_shorter_month(year: int, last: int) -> None:
    phase = by_date(f"{year}-01-31")

    days = [instalment_date(phase, index) for index in range(4)]

    assert days == [
        date(year, 1, 31),
        date(year, 2, last),
        date(year, 3, 31),
        date(year, 4, 30),
    ]


@given(
    first=st.dates(date(2010, 1, 1), date(2035, 12, 31)),
    index=st.integers(0, 400),
    every=st.sampled_from([Every.DAY, Every.WEEK, Every.MONTH]),
    zone=st.sampled_from(ZONES),
)
def test_one_more_instalment_is_due_from_the_first_instant_of_its_day(
    first: date, index: int, every: Every, zone: str
) -> None:
    tz = ZoneInfo(zone)
    phase = Phase(0, Shape.INSTALMENTS, None, 100, every, Missed.ACCUMULATE, first)
    plan = DebtPlan((phase,))
    day = instalment_date(phase, index)
    start_us = day_start_us(day, tz)
    before_us = start_us - 1

    at_start = instalments_due(plan, phase, start_us, tz)
    before = instalments_due(plan, phase, before_us, tz)

    # Where clocks jumped over a whole day, two instalments fall due at one instant.
    jumped = day_start_us(instalment_date(phase, index + 1), tz) == start_us
    assert at_start == index + 1 + jumped
    assert before <= index


@given(
    first=st.dates(date(2010, 1, 1), date(2035, 12, 31)),
    every=st.sampled_from([Every.DAY, Every.WEEK, Every.MONTH]),
    zone=st.sampled_from(ZONES),
    hours=st.lists(st.integers(0, 24 * 500), min_size=2, max_size=2),
)
def test_what_is_due_never_shrinks_with_time(
    first: date, every: Every, zone: str, hours: list[int]
) -> None:
    tz = ZoneInfo(zone)
    phase = Phase(0, Shape.INSTALMENTS, None, 100, every, Missed.ACCUMULATE, first)
    plan = DebtPlan((phase,))
    early, late = (day_start_us(first, tz) + hour * HOUR_US for hour in sorted(hours))

    assert instalments_due(plan, phase, early, tz) <= instalments_due(plan, phase, late, tz)


@given(first=st.dates(date(2010, 1, 1), date(2035, 12, 31)), index=st.integers(0, 400))
def test_each_month_has_one_instalment_on_the_first_ones_day_or_its_last(
    first: date, index: int
) -> None:
    phase = Phase(0, Shape.INSTALMENTS, None, 100, Every.MONTH, Missed.ACCUMULATE, first)

    day = instalment_date(phase, index)

    assert 12 * day.year + day.month == 12 * first.year + first.month + index
    assert day.day == min(first.day, calendar.monthrange(day.year, day.month)[1])


@given(
    day=st.dates(date(2005, 1, 1), date(2035, 12, 31)),
    zone=st.sampled_from(ZONES),
)
def test_a_day_starts_once_and_after_the_day_before(day: date, zone: str) -> None:
    tz = ZoneInfo(zone)
    start_us = day_start_us(day, tz)

    assert local_day(start_us - 1, tz) < day
    assert local_day(start_us, tz) >= day
    assert day_start_us(day - timedelta(days=1), tz) <= start_us


# --- arrangements and suspensions -----------------------------------------------------------------


def test_an_arrangement_replaces_the_plan_from_its_day_on() -> None:
    plan = DebtPlan((Phase(0, Shape.PERCENT, percent="90"),))
    arranged = plan.arranged(by_date("2026-12-01", amount=5000))

    before = due_at(row(arranged), us("2026-11-30T23:59"), NAIROBI)
    after = due_at(row(arranged), us("2026-12-01"), NAIROBI)

    assert (before.percent, before.due_minor) == ("90", None)
    assert (after.percent, after.due_minor) == (None, 5000)


def test_what_was_repaid_before_an_arrangement_pays_none_of_its_instalments() -> None:
    plan = DebtPlan((Phase(0, Shape.ONCE),)).arranged(by_date("2026-12-01", amount=5000))
    repaid = [Repayment(us("2026-11-30"), 9000), Repayment(us("2026-12-02"), 1000)]

    assert due_at(row(plan), us("2026-12-03"), NAIROBI, repaid).due_minor == 4000


def test_an_arrangement_that_begins_earlier_replaces_one_that_has_not_begun() -> None:
    plan = DebtPlan((Phase(0, Shape.ONCE),)).arranged(by_date("2026-12-15"))

    changed = plan.arranged(by_date("2026-12-01", amount=700))

    assert [phase.amount_minor for phase in changed.phases] == [None, 700]


def test_nothing_is_due_while_a_debt_is_suspended() -> None:
    plan = DebtPlan((Phase(0, Shape.PERCENT, percent="30"),)).suspended(
        Suspension(us("2026-11-01"), us("2026-12-01"))
    )

    states = [due_at(row(plan), us(at), NAIROBI) for at in ("2026-11-30T23:59", "2026-12-01")]

    assert [(state.due_minor, state.percent) for state in states] == [(0, None), (None, "30")]


def test_instalments_of_a_suspended_time_move_to_the_end() -> None:
    plan = DebtPlan((by_date("2026-01-01"),)).suspended(
        Suspension(us("2026-02-01"), us("2026-04-01"))
    )
    repaid = [Repayment(us("2026-01-05"), 2000)]

    assert due_at(row(plan), us("2026-04-10"), NAIROBI, repaid).due_minor == 2000


def test_resuming_ends_the_suspension_that_holds_now() -> None:
    plan = DebtPlan((Phase(0, Shape.ONCE),)).suspended(Suspension(us("2026-11-01")))

    resumed = plan.resumed(us("2026-11-10"))

    assert resumed.suspension_at(us("2026-11-09")) is not None
    assert resumed.suspension_at(us("2026-11-10")) is None


def test_a_suspension_resumed_at_its_first_instant_leaves_no_trace() -> None:
    plan = DebtPlan((Phase(0, Shape.ONCE),)).suspended(Suspension(5))

    assert plan.resumed(5).suspensions == ()


@given(
    first=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    every=st.sampled_from([Every.DAY, Every.WEEK, Every.MONTH]),
    starts=st.lists(st.integers(0, 900), min_size=2, max_size=6, unique=True),
    zone=st.sampled_from(ZONES),
)
def test_instalments_due_are_those_whose_day_is_not_in_a_suspension(
    first: date, every: Every, starts: list[int], zone: str
) -> None:
    tz = ZoneInfo(zone)
    origin = day_start_us(first, tz)
    edges = [origin + day * DAY_US + HOUR_US for day in sorted(starts)]
    spans = zip(edges[::2], edges[1::2], strict=False)
    phase = Phase(0, Shape.INSTALMENTS, None, 100, every, Missed.ACCUMULATE, first)
    plan = DebtPlan((phase,), tuple(Suspension(start, end) for start, end in spans))
    at_us = origin + 1_000 * DAY_US
    days = (day_start_us(instalment_date(phase, index), tz) for index in range(1_200))
    counted = sum(day <= at_us and plan.suspension_at(day) is None for day in days)

    assert instalments_due(plan, phase, at_us, tz) == counted


# --- what is stored -------------------------------------------------------------------------------


def test_a_plan_comes_back_from_its_stored_text_as_it_was() -> None:
    plan = (
        DebtPlan((Phase(0, Shape.PERCENT, percent="12.5"),))
        .arranged(Phase(5, Shape.INSTALMENTS, amount_minor=300))
        .arranged(by_date("2026-12-31", Every.WEEK, missed=Missed.SKIP))
        .suspended(Suspension(9, None, interest=False))
        .suspended(Suspension(3, 4))
    )

    assert stored_plan(json.dumps(plan.to_dict())) == plan

"""DB-01 to DB-04: what purchases repay of debts, through the engine that prices every sale."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from slotmeter.units import DAY_US
from slotmeter.vending.debt_plans import DebtPlan, Every, Missed, Phase, Shape, day_start_us
from slotmeter.vending.debts import Repayment, due_at
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import DebtState, Situation
from slotmeter.vending.tariff.reader import parse_tariff

NAIROBI = "Africa/Nairobi"
NEW_YEAR_US = day_start_us(date(2026, 1, 1), ZoneInfo(NAIROBI))
ONCE = Phase(0, Shape.ONCE)


def tariff(cap: int | None) -> Any:
    document: dict[str, Any] = {
        "tariff": "plain",
        "title": "Plain",
        "commodity": "electricity",
        "currency": "KES",
        "energy": {"label": "Energy", "price": "10.00"},
    }
    if cap is not None:
        document["debts"] = {"cap": str(cap)}
    return parse_tariff(document)


def state(
    balance_minor: int,
    phase: Phase = ONCE,
    *,
    debt_id: int = 1,
    priority: int = 1,
    kind: str = "arrears",
    at_us: int = NEW_YEAR_US,
    repaid: tuple[Repayment, ...] = (),
) -> DebtState:
    row = {
        "id": debt_id,
        "number": f"D{debt_id:08d}",
        "kind": kind,
        "label": kind.capitalize(),
        "priority": priority,
        "balance_minor": balance_minor,
        "tax_percent": None,
        "plan": json.dumps(DebtPlan((phase,)).to_dict()),
    }
    return due_at(row, at_us, NAIROBI, repaid)


def sell(*debts: DebtState, tender_minor: int, cap: int | None = None) -> Priced:
    situation = Situation(at_us=NEW_YEAR_US, time_zone=NAIROBI, debts=debts)
    return price_tender(tariff(cap), situation, tender_minor, with_outlook=False)


def taken(priced: Priced) -> dict[int, int]:
    return {each.debt_id: each.minor for each in priced.debts}


# --- DB-01: one-off -------------------------------------------------------------------------------


def test_a_one_off_debt_is_taken_whole_and_its_line_says_what_is_left() -> None:
    priced = sell(state(30_000), tender_minor=100_000)

    (line,) = [line for line in priced.lines if line.kind == "debt"]
    assert (line.amount_minor, line.left_minor, line.account) == (30_000, 0, "debt:D00000001")
    assert priced.units == 70_000


def test_a_one_off_debt_is_taken_in_parts_where_the_cap_says_so() -> None:
    left = 30_000
    for _ in range(4):
        left -= sum(taken(sell(state(left), tender_minor=10_000, cap=90)).values())

    assert left == 0


# --- DB-02: a share of each purchase --------------------------------------------------------------


def test_thirty_percent_of_a_hundred_is_thirty_until_it_is_paid() -> None:
    share = Phase(0, Shape.PERCENT, percent="30")
    balances = [7_000]
    while balances[-1]:
        priced = sell(state(balances[-1], share), tender_minor=10_000)
        balances.append(balances[-1] - taken(priced)[1])

    assert balances == [7_000, 4_000, 1_000, 0]


def test_with_a_cap_of_ninety_percent_the_customer_gets_some_energy() -> None:
    priced = sell(
        state(1_000_000, Phase(0, Shape.PERCENT, percent="95")), tender_minor=10_000, cap=90
    )

    assert (taken(priced), priced.units) == ({1: 9_000}, 1_000)


# --- DB-03: instalments by date -------------------------------------------------------------------


def yearly_plan(missed: Missed) -> Phase:
    first = date(2026, 1, 1)
    return Phase(NEW_YEAR_US, Shape.INSTALMENTS, None, 2_000, Every.MONTH, missed, first)


def test_two_skipped_months_make_three_instalments_due_or_one_as_configured() -> None:
    april_us = NEW_YEAR_US + 100 * DAY_US
    january = (Repayment(NEW_YEAR_US + DAY_US, 2_000),)

    amounts = {
        missed: taken(
            sell(
                state(22_000, yearly_plan(missed), at_us=april_us, repaid=january),
                tender_minor=50_000,
            )
        )[1]
        for missed in Missed
    }

    assert amounts == {
        Missed.ACCUMULATE: 6_000,
        Missed.ONE_AT_A_TIME: 2_000,
        Missed.SKIP: 2_000,
    }


@given(
    missed=st.sampled_from(Missed),
    every=st.sampled_from([Every.DAY, Every.WEEK, Every.MONTH]),
    days=st.lists(st.integers(0, 800), min_size=1, max_size=30),
    tenders=st.lists(st.integers(1_000, 20_000), min_size=30, max_size=30),
)
def test_whoever_buys_whenever_repays_what_fell_due_and_never_more_than_is_owed(
    missed: Missed, every: Every, days: list[int], tenders: list[int]
) -> None:
    phase = replace(yearly_plan(missed), every=every)
    left = 24_000
    repaid: list[Repayment] = []
    for day, tender in zip(sorted(days), tenders, strict=False):
        at_us = NEW_YEAR_US + day * DAY_US
        debt = state(left, phase, at_us=at_us, repaid=tuple(repaid))
        minor = sum(taken(sell(debt, tender_minor=tender, cap=60)).values())
        if minor:
            repaid.append(Repayment(at_us, minor))
        left -= minor
        due_days = {Every.DAY: day + 1, Every.WEEK: day // 7 + 1}.get(every, day // 28 + 1)
        assert left >= 0
        assert 24_000 - left <= due_days * 2_000


# --- DB-04: several debts, one order, one cap -----------------------------------------------------


def test_three_debts_are_taken_in_order_and_not_beyond_the_cap() -> None:
    debts = (
        state(3_000, debt_id=7, priority=3, kind="fine"),
        state(2_000, debt_id=8, priority=1, kind="arrears"),
        state(9_000, debt_id=9, priority=2, kind="loan"),
    )

    priced = sell(*debts, tender_minor=10_000, cap=50)

    assert [(each.debt_id, each.minor) for each in priced.debts] == [(8, 2_000), (9, 3_000)]


def test_emergency_credit_is_repaid_first_cap_or_not() -> None:
    debts = (
        state(9_000, debt_id=1, priority=1),
        state(1_000, debt_id=2, priority=0, kind="emergency_credit"),
    )

    priced = sell(*debts, tender_minor=1_500, cap=50)

    assert taken(priced) == {2: 1_000}


debts_owed = st.lists(
    st.builds(
        lambda balance, priority, percent, kind: (balance, priority, percent, kind),
        st.integers(1, 50_000),
        st.integers(0, 3),
        st.one_of(st.none(), st.integers(1, 100).map(str)),
        st.sampled_from(["arrears", "loan", "fine"]),
    ),
    max_size=6,
)


@given(owed=debts_owed, tender=st.integers(10_000, 100_000), cap=st.integers(0, 99))
def test_no_purchase_passes_the_cap_or_takes_more_than_is_owed(
    owed: list[tuple[int, int, str | None, str]], tender: int, cap: int
) -> None:
    debts = [
        state(
            balance,
            ONCE if percent is None else Phase(0, Shape.PERCENT, percent=percent),
            debt_id=at,
            priority=priority,
            kind=kind,
        )
        for at, (balance, priority, percent, kind) in enumerate(owed, start=1)
    ]
    priced = sell(*debts, tender_minor=tender, cap=cap)

    amounts = taken(priced)
    assert sum(amounts.values()) * 100 <= tender * cap
    assert all(
        0 < amounts[debt.debt_id] <= debt.balance_minor for debt in debts if debt.debt_id in amounts
    )
    assert sum(line.amount_minor for line in priced.lines) == tender


@given(owed=debts_owed, tender=st.integers(1_000, 100_000), cap=st.integers(1, 80))
def test_a_debt_waits_while_one_that_goes_before_it_still_asks(
    owed: list[tuple[int, int, str | None, str]], tender: int, cap: int
) -> None:
    debts = [
        state(balance, debt_id=at, priority=priority, kind=kind)
        for at, (balance, priority, _, kind) in enumerate(owed, start=1)
    ]

    amounts = taken(sell(*debts, tender_minor=tender, cap=cap))

    ordered = sorted(debts, key=lambda debt: (debt.priority, debt.debt_id))
    paid_whole = [amounts.get(debt.debt_id, 0) == debt.balance_minor for debt in ordered]
    touched = [debt.debt_id in amounts for debt in ordered]
    for at in range(1, len(ordered)):
        assert all(paid_whole[:at]) or not touched[at]

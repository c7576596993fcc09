"""Interest by date: simple, on what is left of the original amount, rounded once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.units import epoch_us
from slotmeter.vending.debt_plans import DebtPlan, Phase, Shape, Suspension, day_start_us
from slotmeter.vending.debts import (
    InterestPer,
    InterestTerms,
    Repayment,
    interest_due,
    stored_interest,
)

NAIROBI = "Africa/Nairobi"
MONTHLY = InterestTerms("1.5", InterestPer.MONTH, date(2026, 1, 1))
YEARLY = InterestTerms("12", InterestPer.YEAR, date(2026, 1, 1))
NEVER_STOPPED = DebtPlan((Phase(0, Shape.ONCE),))


def repaid(text: str, minor: int) -> Repayment:
    at = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NAIROBI))
    return Repayment(epoch_us(at.astimezone(UTC)), minor)


def interest(terms: InterestTerms, amount_minor: int, through: date, *repayments: Repayment) -> int:
    return interest_due(terms, amount_minor, repayments, through, time_zone=NAIROBI)


@pytest.mark.parametrize(
    ("through", "expected"),
    [(date(2026, 1, 31), 1500), (date(2026, 2, 28), 3000), (date(2026, 12, 31), 18000)],
)
def test_a_whole_month_bears_the_months_percentage(through: date, expected: int) -> None:
    assert interest(MONTHLY, 100_000, through) == expected


@pytest.mark.parametrize("year", [2026, 2028])
def test_a_whole_year_bears_the_years_percentage(year: int) -> None:
    terms = replace(YEARLY, from_day=date(year, 1, 1))

    assert interest(terms, 100_000, date(year, 12, 31)) == 12_000


def test_a_day_of_february_bears_one_28th_of_the_months_percentage() -> None:
    terms = replace(MONTHLY, percent="2.8", from_day=date(2026, 2, 10))

    assert interest(terms, 100_000, date(2026, 2, 10)) == 100


def test_a_repayment_lowers_what_bears_interest_from_its_own_day_on() -> None:
    terms = replace(MONTHLY, percent="3", from_day=date(2026, 11, 1))

    due = interest(terms, 100_000, date(2026, 11, 30), repaid("2026-11-16T23:59", 50_000))

    assert due == 15 * 100 + 15 * 50


def test_interest_never_bears_interest() -> None:
    terms = replace(MONTHLY, through=date(2026, 1, 31), posted_minor=1500)

    assert interest(terms, 100_000, date(2026, 2, 28)) == 1500


def test_a_debt_repaid_bears_no_more_interest() -> None:
    terms = replace(MONTHLY, through=date(2026, 1, 31), posted_minor=1500)

    assert interest(terms, 100_000, date(2026, 5, 31), repaid("2026-02-01", 101_500)) == 0


def test_the_same_day_posted_again_gives_nothing() -> None:
    terms = replace(MONTHLY, through=date(2026, 1, 31), posted_minor=1500)

    assert interest(terms, 100_000, date(2026, 1, 31)) == 0


def test_half_a_cent_is_rounded_up() -> None:
    terms = InterestTerms("0.5", InterestPer.MONTH, date(2026, 1, 1))

    assert interest(terms, 100, date(2026, 1, 31)) == 1
    assert interest(terms, 99, date(2026, 1, 31)) == 0


def test_days_in_a_suspension_that_stops_interest_bear_none() -> None:
    tz = ZoneInfo(NAIROBI)
    stop = Suspension(
        day_start_us(date(2026, 11, 11), tz), day_start_us(date(2026, 11, 21), tz), interest=False
    )
    terms = replace(MONTHLY, percent="3", from_day=date(2026, 11, 1))

    dues = [
        interest_due(
            terms,
            100_000,
            (),
            date(2026, 11, 30),
            time_zone=NAIROBI,
            plan=NEVER_STOPPED.suspended(s),
        )
        for s in (stop, replace(stop, interest=True))
    ]

    assert dues == [2000, 3000]


def test_terms_come_back_from_their_stored_text_as_they_were() -> None:
    terms = replace(MONTHLY, through=date(2026, 3, 31), posted_minor=77)

    assert stored_interest(json.dumps(terms.to_dict())) == terms
    assert stored_interest(json.dumps(YEARLY.to_dict())) == YEARLY


days = st.dates(date(2026, 1, 1), date(2028, 12, 31))
repayments = st.lists(st.tuples(days, st.integers(1, 40_000)), max_size=6)


@given(
    amount=st.integers(1, 10_000_000),
    percent=st.decimals(0, 60, places=2).map(str),
    per=st.sampled_from(InterestPer),
    through=days,
    cuts=st.lists(days, max_size=8),
    paid=repayments,
)
def test_posting_in_pieces_comes_to_the_same_as_posting_once(
    amount: int,
    percent: str,
    per: InterestPer,
    through: date,
    cuts: list[date],
    paid: list[tuple[date, int]],
) -> None:
    terms = InterestTerms(percent, per, date(2026, 1, 1))
    taken = [repaid(day.isoformat() + "T12:00", minor) for day, minor in paid]
    once = interest(terms, amount, through, *taken)

    for day in sorted({each for each in cuts if each < through} | {through}):
        due = interest(terms, amount, day, *taken)
        terms = replace(terms, through=day, posted_minor=terms.posted_minor + due)

    assert terms.posted_minor == once


@given(
    amount=st.integers(1, 1_000_000),
    percent=st.decimals(0, 60, places=2).map(str),
    length=st.integers(1, 500),
    paid=repayments,
)
def test_interest_is_what_adding_up_day_by_day_gives(
    amount: int, percent: str, length: int, paid: list[tuple[date, int]]
) -> None:
    first = date(2026, 1, 1)
    through = first + timedelta(days=length - 1)
    terms = InterestTerms(percent, InterestPer.YEAR, first)
    taken = [repaid(day.isoformat() + "T12:00", minor) for day, minor in paid]

    with localcontext(prec=80):
        total = Decimal(0)
        for index in range(length):
            day = first + timedelta(days=index)
            left = max(0, amount - sum(minor for at, minor in paid if at <= day))
            year_days = 366 if day.year == 2028 else 365
            total += Decimal(left) * Decimal(percent) / 100 / year_days
        # 1/365 has no end: what lies within 1e-40 of a half counts as the half.
        by_day = (total + Decimal("1e-40")).to_integral_value(ROUND_HALF_UP)

    assert interest(terms, amount, through, *taken) == by_day

"""What people write of a debt: what it comes to, and what of it cannot be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.services.debt_terms import (
    Books,
    InterestWish,
    NewDebt,
    PlanWish,
    check_new_debt,
    check_phase,
)
from slotmeter.units import epoch_us
from slotmeter.vending.debt_plans import Every, Missed, Phase, Shape, day_start_us

BOOKS = Books(1, "KES", "Africa/Nairobi")
NOW_US = epoch_us(datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
LOAN = NewDebt("A0001", "loan", "50.00")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"amount": "0.00"}, "amount_not_positive", "amount"),
        ({"amount": "-5"}, "amount_not_positive", "amount"),
        ({"amount": "5.001"}, "amount_too_precise", "amount"),
        ({"currency": "USD"}, "currency_mismatch", "currency"),
        ({"kind": "Fine!"}, "bad_kind", "kind"),
        ({"number": "D00000007"}, "bad_number", "number"),
        ({"number": "a b"}, "bad_number", "number"),
        ({"label": "two\nlines"}, "bad_label", "label"),
        ({"priority": 100}, "bad_priority", "priority"),
        ({"source": "air"}, "bad_source", "source"),
        ({"tax_percent": "16%"}, "bad_percent", "tax_percent"),
        ({"tax_percent": "16", "tax": "VAT!"}, "bad_tax", "tax"),
        ({"tax": "vat"}, "bad_tax", "tax"),
        ({"starts": date(2026, 11, 20)}, "bad_date", "starts"),
        ({"plan": PlanWish("weekly")}, "bad_plan", "plan.shape"),
        ({"plan": PlanWish("percent")}, "bad_percent", "plan.percent"),
        ({"plan": PlanWish("percent", percent="0")}, "bad_percent", "plan.percent"),
        ({"plan": PlanWish("percent", percent="100.1")}, "bad_percent", "plan.percent"),
        ({"plan": PlanWish("percent", percent="30", amount="5")}, "bad_plan", "plan.amount"),
        ({"plan": PlanWish("instalments")}, "amount_malformed", "plan.amount"),
        ({"plan": PlanWish("instalments", amount="5", every="year")}, "bad_plan", "plan.every"),
        (
            {"plan": PlanWish("instalments", amount="5", every="day", missed="lose")},
            "bad_plan",
            "plan.missed",
        ),
        (
            {"plan": PlanWish("instalments", amount="5", missed="skip")},
            "bad_plan",
            "plan.every",
        ),
        (
            {"plan": PlanWish("instalments", amount="5", every="month", first=date(1999, 12, 31))},
            "bad_date",
            "plan.first",
        ),
        ({"interest": InterestWish("1", "week")}, "bad_interest", "interest.per"),
        ({"interest": InterestWish("x", "month")}, "bad_percent", "interest.percent"),
        (
            {"interest": InterestWish("1", "month", date(2026, 11, 20))},
            "bad_date",
            "interest.from",
        ),
    ],
)
def test_a_debt_that_cannot_be_is_refused_by_its_field(
    changes: dict[str, Any], code: str, field: str
) -> None:
    new = replace(LOAN, **changes)

    with pytest.raises(Refused) as caught:
        check_new_debt(new, BOOKS, NOW_US)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    ("kind", "priority", "label", "source"),
    [
        ("emergency_credit", 0, "Emergency credit", "billed"),
        ("arrears", 1, "Arrears", "taken_over"),
        ("loan", 2, "Loan", "billed"),
        ("fine", 3, "Fine", "billed"),
        ("stolen_cable", 5, "Stolen cable", "billed"),
    ],
)
def test_a_kind_says_what_is_left_out(kind: str, priority: int, label: str, source: str) -> None:
    terms = check_new_debt(NewDebt("A0001", kind, "50.00"), BOOKS, NOW_US)

    assert (terms.priority, terms.label, terms.source) == (priority, label, source)


def test_amounts_have_the_decimals_of_their_currency() -> None:
    minors = [
        check_new_debt(replace(LOAN, amount="50"), replace(BOOKS, currency=code), 1).amount_minor
        for code in ("UGX", "KES", "KWD")
    ]

    assert minors == [50, 5_000, 50_000]


def test_a_plan_that_begins_later_begins_at_local_midnight() -> None:
    terms = check_new_debt(replace(LOAN, starts=date(2026, 12, 1)), BOOKS, NOW_US)

    assert terms.phase == Phase(day_start_us(date(2026, 12, 1), BOOKS.zone), Shape.ONCE)


def test_instalments_begin_with_their_plan_when_no_day_is_given() -> None:
    wish = PlanWish("instalments", amount="20", every="week", missed="skip")

    phase = check_phase(wish, BOOKS, NOW_US)

    assert phase == Phase(
        NOW_US, Shape.INSTALMENTS, None, 2000, Every.WEEK, Missed.SKIP, date(2026, 11, 21)
    )


def test_a_debt_taken_over_may_have_missed_instalments_already() -> None:
    wish = PlanWish("instalments", amount="20", every="month", first=date(2026, 1, 31))

    terms = check_new_debt(replace(LOAN, plan=wish), BOOKS, NOW_US)

    assert terms.phase.first == date(2026, 1, 31)


@pytest.mark.parametrize(
    ("written", "kept"), [("30", "30"), ("30.50", "30.5"), ("0.0001", "0.0001")]
)
def test_a_percentage_is_kept_one_way(written: str, kept: str) -> None:
    phase = check_phase(PlanWish("percent", percent=written), BOOKS, NOW_US)

    assert phase.percent == kept


@pytest.mark.parametrize("written", ["1e1", "٣٠", " 30", "+30", "0.00001", "NaN", "30,5"])
def test_a_percentage_is_digits_and_at_most_one_point(written: str) -> None:
    with pytest.raises(Refused) as caught:
        check_phase(PlanWish("percent", percent=written), BOOKS, NOW_US)
    assert caught.value.code == "bad_percent"


def test_two_requests_at_two_times_ask_for_the_same() -> None:
    requests = [check_new_debt(LOAN, BOOKS, at_us).request for at_us in (NOW_US, NOW_US + 10**12)]

    assert requests[0] == requests[1]

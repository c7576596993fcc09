"""Settlements: newest purchases first, moved once, always in balance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.services.settlement import (
    Balances,
    Bought,
    settle_to_postpaid,
    settle_to_prepaid,
    value_of_credit,
)

NEW = Bought("R2", 10_000, 0, {"income:electricity": 20_000, "tax:VAT": 3_200})
OLD = Bought("R1", 5_000, 2_000, {"income:electricity": 5_000, "tax:VAT": 800})
MINOR = st.integers(-(10**9), 10**9)
COST = st.dictionaries(st.sampled_from(["income:gas", "tax:VAT", "levy:x"]), MINOR, max_size=3)


def test_the_newest_purchase_is_taken_first() -> None:
    parts = value_of_credit(12_000, [NEW, OLD])

    assert [(part.receipt_number, part.left, part.minor) for part in parts] == [
        ("R2", 10_000, 23_200),
        ("R1", 2_000, 2_320),
    ]


def test_free_units_explain_credit_and_are_worth_nothing() -> None:
    parts = value_of_credit(16_500, [NEW, OLD])

    assert [(part.left, part.free) for part in parts] == [(10_000, 0), (5_000, 1_500)]
    assert sum(part.minor for part in parts) == 29_000


def test_nothing_left_needs_no_purchase() -> None:
    assert value_of_credit(0, []) == ()


def test_more_than_was_bought_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        value_of_credit(17_001, [NEW, OLD])

    assert refused.value.details == {"explained": 17_000, "left": 17_001}


@given(left=st.integers(0, 17_000))
def test_credit_is_never_worth_more_than_it_cost(left: int) -> None:
    worth = sum(part.minor for part in value_of_credit(left, [NEW, OLD]))

    assert 0 <= worth <= 29_000


@given(customer=MINOR, advance=MINOR, receivable=MINOR, costs=st.lists(COST, max_size=3))
def test_going_over_to_pay_afterwards_leaves_no_credit_and_balances(
    customer: int, advance: int, receivable: int, costs: list[dict[str, int]]
) -> None:
    settled = settle_to_postpaid("A1", Balances(customer, advance, receivable), costs)

    moved = {posting.account: posting.amount_minor for posting in settled.postings}
    assert sum(moved.values()) == 0
    assert customer + moved.get("customer:A1", 0) == 0
    assert advance + moved.get("advance:A1", 0) == 0
    assert receivable + moved.get("receivable:A1", 0) == settled.owed_minor


@given(customer=MINOR, receivable=MINOR, costs=st.lists(COST, max_size=3), to=st.booleans())
def test_coming_back_leaves_either_credit_or_a_debt_and_balances(
    *, customer: int, receivable: int, costs: list[dict[str, int]], to: bool
) -> None:
    settled = settle_to_prepaid("A1", Balances(customer, 0, receivable), costs, to_customer=to)

    moved = {posting.account: posting.amount_minor for posting in settled.postings}
    kept = "customer:A1" if to else "advance:A1"
    held = customer if to else 0
    assert sum(moved.values()) == 0
    assert min(settled.owed_minor, settled.credit_minor) == 0
    assert receivable + moved.get("receivable:A1", 0) == settled.owed_minor
    assert -(held + moved.get(kept, 0)) == settled.credit_minor

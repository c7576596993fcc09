"""Corrections after the table changed within the window: from what was paid, not from what is."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.testing.small_tariff import BUYER, line_of, small_tariff
from slotmeter.vending.pricing.earlier import EarlierSale, priced_before
from slotmeter.vending.pricing.engine import price_tender, price_units
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import PricedBefore, Situation
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Condition,
    Lifeline,
    PercentItem,
    RoundingRules,
    SplitBy,
    Table,
    TableRule,
    Tariff,
)

POOR = Table("poor", (Block(None, Decimal(6)),), lifeline=Lifeline(50_000, Decimal(1)))
OTHERS = Table("others", (Block(None, Decimal(10)),), lifeline=Lifeline(30_000, Decimal(4)))
RULES = (
    TableRule(Condition(classes=frozenset({"poor"})), "poor"),
    TableRule(ALWAYS, "others"),
)
BY_CLASS = small_tariff(table=OTHERS, tables={"poor": POOR}, rules=RULES)
AS_POOR = replace(BUYER, customer_class="poor")


def sold(situation: Situation, priced: Priced) -> EarlierSale:
    return EarlierSale(situation, priced.counted_units, priced.lifeline_units)


def buy(tariff: Tariff, buyer: Situation, units: int, before: list[EarlierSale]) -> Priced:
    """Buy units after earlier sales, as a till does; the sale is added to them."""
    counted = replace(
        buyer,
        prior_units=sum(each.counted_units for each in before),
        prior_lifeline_units=sum(each.lifeline_units for each in before),
    )
    paid = priced_before(tariff, counted, [each for each in before if each.lifeline_units])
    situation = replace(counted, priced_before=paid)
    priced = price_units(tariff, situation, units)
    assert recompute(tariff, priced) == []
    assert Situation.from_dict(situation.to_dict()) == situation
    before.append(sold(situation, priced))
    return priced


def test_units_of_another_class_are_corrected_from_the_price_that_was_paid() -> None:
    before: list[EarlierSale] = []
    cheap = buy(BY_CLASS, AS_POOR, 20_000, before)

    crossing = buy(BY_CLASS, BUYER, 20_000, before)

    # 20 at 1 were paid; at 10 they cost 180 more, not the 120 that lie between 4 and 10.
    assert cheap.tender_minor == 20_00
    assert line_of(crossing, "correction").amount_minor == 180_00
    assert cheap.tender_minor + crossing.tender_minor == 40 * 10_00


def test_units_of_two_classes_are_each_corrected_from_their_own_price() -> None:
    before: list[EarlierSale] = []
    buy(BY_CLASS, AS_POOR, 10_000, before)
    buy(BY_CLASS, BUYER, 15_000, before)

    crossing = buy(BY_CLASS, BUYER, 25_000, before)

    assert line_of(crossing, "correction").amount_minor == 10 * 9_00 + 15 * 6_00
    assert crossing.lifeline_units == -25_000


def test_a_class_of_the_same_prices_needs_nothing_to_be_remembered() -> None:
    priced = price_units(BY_CLASS, AS_POOR, 20_000)
    after = replace(AS_POOR, prior_units=20_000, prior_lifeline_units=20_000)

    assert priced_before(BY_CLASS, after, [sold(AS_POOR, priced)]) == ()


def test_what_was_corrected_once_is_not_corrected_under_the_next_class() -> None:
    before: list[EarlierSale] = []
    buy(BY_CLASS, AS_POOR, 20_000, before)
    buy(BY_CLASS, AS_POOR, 40_000, before)

    later = buy(BY_CLASS, BUYER, 10_000, before)

    assert [line.kind for line in later.lines] == ["energy"]


def test_a_class_that_comes_when_its_limit_has_passed_reprices_no_past_sale() -> None:
    before: list[EarlierSale] = []
    buy(BY_CLASS, AS_POOR, 40_000, before)

    later = buy(BY_CLASS, BUYER, 10_000, before)

    assert {line.kind: line.amount_minor for line in later.lines} == {"energy": 100_00}


def test_units_that_a_whole_window_price_has_corrected_are_at_that_price_from_then_on() -> None:
    blocks = tuple(
        Block(*each) for each in ((10_000, Decimal(1)), (30_000, Decimal(2)), (None, Decimal(5)))
    )
    whole = Table("others", blocks, whole=True)
    tariff = small_tariff(table=whole, tables={"poor": POOR}, rules=RULES)
    before: list[EarlierSale] = []
    buy(tariff, BUYER, 5_000, before)
    buy(tariff, BUYER, 15_000, before)
    buy(tariff, AS_POOR, 5_000, before)

    crossing = buy(tariff, BUYER, 10_000, before)

    assert before[-1].situation.priced_before == (
        PricedBefore("others", 20_000, 20_000),
        PricedBefore("poor", 25_000, 5_000),
    )
    assert line_of(crossing, "correction").amount_minor == 20 * 3_00 + 5 * 4_00


@pytest.mark.parametrize("split_by", list(SplitBy))
def test_tax_lies_on_the_difference_to_what_was_paid(split_by: SplitBy) -> None:
    vat = PercentItem("vat", "VAT", Decimal(15), ("energy",), is_tax=True)
    tariff = replace(BY_CLASS, percent_items=(vat,), rounding=RoundingRules(split_by=split_by))
    paid = (PricedBefore("poor", 20_000, 20_000),)
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000, priced_before=paid)

    priced = price_tender(tariff, after, 437_00)

    amounts = {line.kind: line.amount_minor for line in priced.lines}
    assert amounts == {"energy": 200_00, "correction": 180_00, "tax": 57_00}
    assert recompute(tariff, priced) == []


def test_a_tax_that_spares_both_lifelines_lies_on_what_was_paid_before() -> None:
    vat = PercentItem("vat", "VAT", Decimal(15), ("energy",), is_tax=True, lifeline=False)
    tariff = replace(BY_CLASS, percent_items=(vat,))
    before: list[EarlierSale] = []
    buy(tariff, AS_POOR, 10_000, before)
    buy(tariff, BUYER, 10_000, before)

    crossing = buy(tariff, BUYER, 20_000, before)

    assert line_of(crossing, "correction").base_minor == 10_00 + 40_00
    assert line_of(crossing, "tax").base_minor == 400_00


@given(
    st.lists(
        st.tuples(st.sampled_from([BUYER, AS_POOR]), st.integers(1, 200).map(lambda n: n * 100)),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_classes_come_all_units_of_a_crossing_window_cost_its_price(
    purchases: list[tuple[Situation, int]],
) -> None:
    before: list[EarlierSale] = []
    paid = 0
    is_open = True
    for buyer, units in purchases:
        total_before = sum(each.counted_units for each in before)
        limit, price = (50_000, 6) if buyer is AS_POOR else (30_000, 10)
        priced = buy(BY_CLASS, buyer, units, before)
        paid += priced.tender_minor
        if is_open and total_before <= limit < total_before + units:
            assert paid * 1_000 == (total_before + units) * price * 100
        is_open = is_open and total_before + units <= limit

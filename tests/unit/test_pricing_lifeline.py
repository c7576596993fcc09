"""Lifelines and prices for the whole window: corrections, jumps and what is kept."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, line_of, small_tariff
from slotmeter.vending.pricing.engine import price_tender, price_units
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.model import (
    Block,
    Lifeline,
    Table,
    Tariff,
    UnitItem,
)


def refusal(sold: Tariff, situation: Situation, tender: int) -> Refused:
    with pytest.raises(Refused) as refused:
        price_tender(sold, situation, tender)
    return refused.value


GHANA = small_tariff(
    table=Table(
        "standard",
        (Block(300_000, Decimal("1.00")), Block(None, Decimal("1.50"))),
        lifeline=Lifeline(30_000, Decimal("0.40")),
    )
)


def test_a_lifeline_holds_while_the_total_stays_below_its_limit() -> None:
    priced = price_tender(GHANA, BUYER, 8_00)

    assert priced.units == 20_000
    assert line_of(priced, "energy").code == "lifeline"
    assert priced.lifeline_units == 20_000
    assert priced.outlook.left_in_block == 10_000


def test_crossing_a_lifeline_reprices_what_was_bought_before() -> None:
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000)

    priced = price_tender(GHANA, after, 52_00)

    correction = line_of(priced, "correction")
    assert (correction.amount_minor, correction.quantity) == (12_00, 20_000)
    assert priced.units == 40_000
    assert priced.lifeline_units == -20_000
    assert recompute(GHANA, priced) == []


def test_money_in_the_jump_of_a_lifeline_is_kept_for_the_next_purchase() -> None:
    priced = price_tender(GHANA, BUYER, 20_00)

    kept = line_of(priced, "kept")
    assert priced.units == 30_000
    assert (kept.amount_minor, kept.account) == (8_00, "advance:A00000001")
    assert priced.kept_minor == 8_00


def test_kept_money_is_used_first() -> None:
    after = replace(BUYER, prior_units=30_000, prior_lifeline_units=30_000, advance_minor=8_00)

    priced = price_tender(GHANA, after, 60_00)

    assert line_of(priced, "kept", "used").amount_minor == -8_00
    assert line_of(priced, "correction").amount_minor == 18_00
    assert priced.units == 50_000
    assert priced.kept_minor == 0


def test_at_the_limit_too_little_for_the_correction_is_refused_with_what_is_needed() -> None:
    after = replace(BUYER, prior_units=30_000, prior_lifeline_units=30_000)

    refused = refusal(GHANA, after, 10_00)

    assert refused.details["needed"] == "18.10"


def test_one_purchase_and_two_across_a_lifeline_cost_the_same() -> None:
    once = price_tender(GHANA, BUYER, 60_00)
    first = price_tender(GHANA, BUYER, 8_00)
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=first.lifeline_units)
    second = price_tender(GHANA, after, 52_00)

    assert once.units == first.units + second.units


def test_a_price_for_the_whole_window_corrects_what_came_before() -> None:
    table = Table("standard", (Block(50_000, Decimal(4)), Block(None, Decimal(6))), whole=True)
    levy = UnitItem("high", "High use", Decimal(1), frozenset({2}))
    sold = small_tariff(table=table, unit_items=(levy,))
    after = replace(BUYER, prior_units=40_000, prior_lifeline_units=40_000)

    priced = price_units(sold, after, 20_000)

    corrections = {e.code: e.amount_minor for e in priced.lines if e.kind == "correction"}
    assert corrections == {"energy": 80_00, "high": 40_00}
    assert priced.tender_minor == 20 * 7_00 + 120_00


def test_a_falling_price_for_the_whole_window_gives_money_back() -> None:
    table = Table("standard", (Block(50_000, Decimal(4)), Block(None, Decimal(3))), whole=True)
    after = replace(BUYER, prior_units=40_000, prior_lifeline_units=40_000)

    priced = price_tender(small_tariff(table=table), after, 40_00)

    assert line_of(priced, "correction").amount_minor == -40_00
    assert priced.units == 26_600

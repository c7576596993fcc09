"""Blocks from which on all units of the window have another price, as in Egypt."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slotmeter.testing.small_tariff import BUYER, line_of, small_tariff
from slotmeter.vending.pricing.engine import block_rates, price_tender, price_units
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.tariff.model import Block, Table

KWH = 1_000
# 0 to 50 at 0.48 and to 100 at 0.58; above 100 the first 200 cost 0.77; above 650 all cost 1.28.
EGYPT = small_tariff(
    table=Table(
        "standard",
        (
            Block(50 * KWH, Decimal("0.48")),
            Block(100 * KWH, Decimal("0.58")),
            Block(200 * KWH, Decimal("0.77"), whole=True),
            Block(350 * KWH, Decimal("1.06")),
            Block(650 * KWH, Decimal("1.28")),
            Block(1_000 * KWH, Decimal("1.28"), whole=True),
            Block(None, Decimal("1.45"), whole=True),
        ),
    )
)


@pytest.mark.parametrize(
    ("units", "cost"),
    [
        (50, 24_00),
        (100, 24_00 + 29_00),
        (101, 77_77),
        (200, 154_00),
        (300, 154_00 + 106_00),
        (500, 154_00 + 159_00 + 192_00),
        (650, 154_00 + 159_00 + 384_00),
        (651, 833_28),
        (1_000, 1_280_00),
        (1_001, 1_451_45),
    ],
)
def test_units_cost_what_was_published(units: int, cost: int) -> None:
    assert price_units(EGYPT, BUYER, units * KWH).tender_minor == cost


def test_the_purchase_that_reaches_such_a_block_corrects_what_was_bought_before() -> None:
    prior = replace(BUYER, prior_units=100 * KWH, prior_lifeline_units=100 * KWH)

    priced = price_units(EGYPT, prior, 150 * KWH)

    assert line_of(priced, "correction").amount_minor == 77_00 - 53_00
    assert priced.tender_minor == 154_00 + 53_00 - 53_00
    assert recompute(EGYPT, priced) == []


def test_many_purchases_cost_what_one_does() -> None:
    situation, paid = BUYER, 0
    for _ in range(44):
        priced = price_units(EGYPT, situation, 25 * KWH)
        paid += priced.tender_minor
        situation = replace(
            situation,
            prior_units=situation.prior_units + priced.counted_units,
            prior_lifeline_units=situation.prior_lifeline_units + priced.lifeline_units,
        )

    assert paid == price_units(EGYPT, BUYER, 1_100 * KWH).tender_minor


@pytest.mark.parametrize("tender", [53_00, 77_69, 77_85, 150_00, 697_00, 833_00, 834_00, 1_452_00])
def test_money_buys_the_units_that_it_pays_for_and_not_two_tenths_more(tender: int) -> None:
    priced = price_tender(EGYPT, BUYER, tender)

    assert price_units(EGYPT, BUYER, priced.units).tender_minor <= tender
    assert price_units(EGYPT, BUYER, priced.units + 200).tender_minor > tender


def test_each_block_has_its_rate_once() -> None:
    assert [each.block for each in block_rates(EGYPT, BUYER)] == [1, 2, 3, 4, 5, 6, 7]

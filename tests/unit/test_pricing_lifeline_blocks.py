"""A lifeline with blocks: a table for small totals, and what passing its limit corrects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.vending.pricing.engine import block_rates, price_tender, price_units
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.problems import TariffProblems
from slotmeter.vending.tariff.reader import parse_tariff

AT_US = 1_772_000_000_000_000
BLOCKS = [{"to": "30", "price": "8"}, {"price": "10"}]


def tariff(lifeline: dict[str, Any], **more: Any) -> Tariff:
    return parse_tariff(
        {
            "tariff": "small",
            "title": "Small",
            "commodity": "electricity",
            "currency": "LKR",
            "energy": {
                "lifeline": lifeline,
                "blocks": [{"to": "40", "price": "25"}, {"to": "90", "price": "30"}, {"price": 50}],
            },
            **more,
        }
    )


def bought(prior: int = 0, correctable: int | None = None) -> Situation:
    paid = prior if correctable is None else correctable
    return Situation(AT_US, "Asia/Colombo", prior_units=prior, prior_lifeline_units=paid)


SMALL = tariff({"to": "60", "blocks": BLOCKS})
LEVIED = tariff(
    {"to": "60", "blocks": BLOCKS},
    levies={
        "second": {"per_unit": "1", "blocks": ["2"]},
        "spared": {"per_unit": "2", "lifeline": False},
    },
    taxes={"vat": {"percent": "10", "on": ["energy", "levies"], "lifeline": False}},
)


def test_units_are_at_the_blocks_of_the_lifeline_until_its_limit() -> None:
    lines = price_units(SMALL, bought(), 50_000).lines

    assert [(e.code, e.quantity, e.rate) for e in lines] == [
        ("lifeline", 30_000, "8"),
        ("lifeline", 20_000, "10"),
    ]


def test_passing_the_limit_corrects_from_what_the_blocks_had_cost() -> None:
    # 50 units had cost 30 x 8 + 20 x 10 = 440; they cost 40 x 25 + 10 x 30 = 1,300 now.
    priced = price_units(SMALL, bought(50_000), 11_000)

    correction = next(line for line in priced.lines if line.kind == "correction")
    assert (correction.amount_minor, correction.cost_minor) == (860_00, 440_00)
    assert priced.lifeline_units == -50_000


def test_levies_of_a_block_lie_on_the_units_that_fall_into_it_above_and_below() -> None:
    lines = {e.code: e.amount_minor for e in price_units(LEVIED, bought(), 50_000).lines}

    assert (lines["second"], lines.get("spared", 0), lines.get("vat", 0)) == (10_00, 0, 0)


@given(st.integers(1, 40), st.integers(1, 60))
def test_two_purchases_cost_what_one_does(first: int, second: int) -> None:
    one = price_units(LEVIED, bought(), (first + second) * 1_000)

    before = price_units(LEVIED, bought(), first * 1_000)
    after = price_units(
        LEVIED, bought(first * 1_000, max(0, before.lifeline_units)), second * 1_000
    )

    assert abs(before.tender_minor + after.tender_minor - one.tender_minor) <= 2


@given(st.integers(1, 400_000), st.integers(0, 90_000))
def test_the_lines_say_how_they_came_about(tender: int, prior: int) -> None:
    situation = bought(prior, prior if prior <= 60_000 else 0)
    for each in (SMALL, LEVIED):
        priced = price_tender(each, situation, max(tender, 1_000))

        assert recompute(each, priced) == []


def test_each_price_of_a_lifeline_is_a_rate() -> None:
    rates = [(each.block, each.up_to, each.price) for each in block_rates(SMALL, bought())]

    assert rates[:3] == [(0, 30_000, "8"), (0, 60_000, "10"), (1, 40_000, "25")]


@pytest.mark.parametrize(
    ("lifeline", "path", "message"),
    [
        ({"to": "60", "price": "8", "blocks": BLOCKS}, "blocks", "got price and blocks"),
        ({"to": "60"}, "", "missing"),
        (
            {"to": "60", "blocks": [{"to": "70", "price": "8"}]},
            "blocks",
            "to end with the lifeline",
        ),
        (
            {"to": "60", "blocks": [{"to": "50", "price": "8"}]},
            "blocks",
            "to end with the lifeline",
        ),
        (
            {"to": "60", "blocks": [{"to": "60", "price": "8"}, {"price": "9"}]},
            "blocks",
            "to end with the lifeline",
        ),
        (
            {"to": "60", "blocks": [{"to": "30", "price": "8"}, {"price": "9", "whole": True}]},
            "blocks",
            "have no whole",
        ),
    ],
)
def test_blocks_that_are_no_lifeline_are_refused(
    lifeline: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(TariffProblems) as refused:
        tariff(lifeline)

    found = [(each["path"], each["message"]) for each in refused.value.problems]
    assert [at for at, _ in found] == [f"energy.lifeline.{path}".rstrip(".")]
    assert message in str(found[0][1])

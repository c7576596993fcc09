"""Lifelines and prices for the whole window: corrections, jumps and what is kept."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, line_of, small_tariff
from slotmeter.vending.pricing.engine import price_tender, price_units, use_by_account
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.model import (
    Block,
    Lifeline,
    PercentItem,
    PercentOf,
    RoundingRules,
    SplitBy,
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
    assert correction.cost_minor == 8_00
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
    assert line_of(priced, "correction", "energy").cost_minor == 160_00
    assert line_of(priced, "correction", "high").cost_minor == 0
    assert priced.tender_minor == 20 * 7_00 + 120_00


def test_a_falling_price_for_the_whole_window_gives_money_back() -> None:
    table = Table("standard", (Block(50_000, Decimal(4)), Block(None, Decimal(3))), whole=True)
    after = replace(BUYER, prior_units=40_000, prior_lifeline_units=40_000)

    priced = price_tender(small_tariff(table=table), after, 40_00)

    assert line_of(priced, "correction").amount_minor == -40_00
    assert priced.units == 26_600


# --- what is not taken of a lifeline --------------------------------------------------------------

VAT = PercentItem("vat", "VAT", Decimal(15), ("energy",), is_tax=True, lifeline=False)
STREET = PercentItem("street", "Street light", Decimal(3), ("energy",), lifeline=False)
SPARED = small_tariff(
    table=Table(
        "standard",
        (Block(300_000, Decimal("1.00")), Block(None, Decimal("1.30"))),
        lifeline=Lifeline(30_000, Decimal("0.50")),
    ),
    percent_items=(STREET, VAT),
)


def amounts_of(priced: Priced) -> dict[str, int]:
    return {f"{line.kind} {line.code}": line.amount_minor for line in priced.lines}


def test_within_the_lifeline_no_tax_is_taken_that_spares_it() -> None:
    priced = price_tender(SPARED, BUYER, 10_00)

    assert amounts_of(priced) == {"energy lifeline": 10_00}
    assert priced.units == 20_000
    assert priced.outlook.next_price == "0.5"
    assert recompute(SPARED, priced) == []


def test_a_lifeline_bought_to_its_limit_stays_without_tax() -> None:
    priced = price_tender(SPARED, BUYER, 15_00)

    assert amounts_of(priced) == {"energy lifeline": 15_00}
    assert priced.units == 30_000


def test_a_purchase_that_crosses_the_limit_pays_the_tax_on_all_of_it() -> None:
    priced = price_tender(SPARED, BUYER, 47_20)

    assert amounts_of(priced) == {"energy block1": 40_00, "levy street": 1_20, "tax vat": 6_00}
    assert priced.units == 40_000
    assert recompute(SPARED, priced) == []


def test_a_later_purchase_that_crosses_pays_the_tax_on_earlier_units_too() -> None:
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000)

    priced = price_tender(SPARED, after, 37_20)

    assert amounts_of(priced) == {
        "energy block1": 20_00,
        "levy street": 1_20,
        "tax vat": 6_00,
        "correction energy": 10_00,
    }
    assert priced.units == 20_000
    # 20.00 for the new units, 10.00 of correction and the 10.00 that the earlier ones had cost.
    assert line_of(priced, "tax").base_minor == 40_00
    assert line_of(priced, "correction").base_minor == 10_00
    assert recompute(SPARED, priced) == []


def test_beyond_the_limit_earlier_units_have_been_taxed_already() -> None:
    after = replace(BUYER, prior_units=40_000, prior_lifeline_units=0)

    priced = price_tender(SPARED, after, 11_80)

    assert amounts_of(priced) == {"energy block1": 10_00, "levy street": 30, "tax vat": 1_50}


@pytest.mark.parametrize(
    ("tender", "units", "kept"),
    [(20_00, 30_000, 5_00), (35_40, 30_000, 20_40), (35_51, 30_000, 20_51), (35_52, 30_100, 0)],
)
def test_money_in_a_jump_that_holds_tax_is_kept(tender: int, units: int, kept: int) -> None:
    priced = price_tender(SPARED, BUYER, tender)

    assert (priced.units, priced.kept_minor) == (units, kept)
    assert recompute(SPARED, priced) == []


def test_kept_money_pays_the_correction_with_its_tax() -> None:
    after = replace(BUYER, prior_units=30_000, prior_lifeline_units=30_000, advance_minor=5_00)

    priced = price_tender(SPARED, after, 30_52)

    assert amounts_of(priced) == {
        "energy block1": 12_80,
        "levy street": 1_28,
        "tax vat": 6_42,
        "correction energy": 15_00,
        "rounding rounding": 2,
        "kept used": -5_00,
    }
    assert recompute(SPARED, priced) == []


def test_at_the_limit_what_is_needed_holds_the_tax_on_earlier_units() -> None:
    after = replace(BUYER, prior_units=30_000, prior_lifeline_units=30_000)

    refused = refusal(SPARED, after, 10_00)

    assert refused.details["needed"] == "20.52"


def test_a_levy_that_spares_the_lifeline_is_taken_of_earlier_units_by_the_correction() -> None:
    levy = UnitItem("road", "Road levy", Decimal("0.10"), lifeline=False)
    sold = replace(SPARED, unit_items=(levy,), percent_items=())
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000)

    within = price_units(sold, BUYER, 30_000)
    across = price_units(sold, after, 20_000)

    assert amounts_of(within) == {"energy lifeline": 15_00}
    assert amounts_of(across) == {
        "energy block1": 20_00,
        "levy road": 2_00,
        "correction energy": 10_00,
        "correction road": 2_00,
    }
    correction = line_of(across, "correction", "road")
    assert (correction.quantity, correction.rate) == (20_000, "0.10")
    assert recompute(sold, across) == []


@pytest.mark.parametrize("percent_of", list(PercentOf))
def test_a_tax_on_a_levy_of_all_units_spares_the_lifeline_of_both(percent_of: PercentOf) -> None:
    levy = UnitItem("road", "Road levy", Decimal("0.10"))
    vat = replace(VAT, on=("energy", "levies"))
    rounding = RoundingRules(percent_of=percent_of)
    sold = replace(SPARED, unit_items=(levy,), percent_items=(vat,), rounding=rounding)
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000)

    within = price_units(sold, BUYER, 20_000)
    across = price_units(sold, after, 20_000)

    assert amounts_of(within) == {"energy lifeline": 10_00, "levy road": 2_00}
    assert line_of(across, "tax").amount_minor == 6_60
    assert line_of(across, "tax").base_minor == 44_00
    assert line_of(across, "correction", "road").base_minor == 2_00
    assert (
        within.tender_minor + across.tender_minor == price_units(sold, BUYER, 40_000).tender_minor
    )
    assert recompute(sold, across) == []


def test_an_included_tax_that_spares_the_lifeline_leaves_its_published_price_whole() -> None:
    blocks = (Block(None, Decimal("1.15")),)
    table = Table("standard", blocks, lifeline=Lifeline(30_000, Decimal("0.50")))
    sold = small_tariff(table=table, percent_items=(replace(VAT, included=True),))
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000)

    within = price_units(sold, BUYER, 20_000)
    across = price_units(sold, after, 20_000)

    assert amounts_of(within) == {"energy lifeline": 10_00}
    assert amounts_of(across) == {
        "energy block1": 20_00,
        "tax vat": 6_00,
        "correction energy": 10_00,
    }
    assert recompute(sold, across) == []


def test_a_tax_narrowed_to_blocks_spares_the_lifeline_in_them() -> None:
    sold = replace(SPARED, percent_items=(replace(VAT, blocks=frozenset({1})),))
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000)

    assert amounts_of(price_units(sold, BUYER, 30_000)) == {"energy lifeline": 15_00}
    assert line_of(price_units(sold, after, 20_000), "tax").amount_minor == 6_00


@pytest.mark.parametrize("lifeline", [True, False])
def test_a_tax_that_is_divided_out_does_not_help_over_the_jump(lifeline: bool) -> None:
    vat = replace(VAT, lifeline=lifeline)
    sold = replace(SPARED, percent_items=(vat,), rounding=RoundingRules(split_by=SplitBy.TENDER))

    priced = price_tender(sold, BUYER, 34_40)

    assert priced.units == 30_000
    assert priced.kept_minor == (17_15 if lifeline else 19_40)
    assert recompute(sold, priced) == []


def test_a_divided_tax_lies_on_what_earlier_units_had_cost() -> None:
    rounding = RoundingRules(split_by=SplitBy.TENDER)
    sold = replace(SPARED, percent_items=(VAT,), rounding=rounding)
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000)

    priced = price_tender(sold, after, 36_00)

    assert amounts_of(priced) == {
        "energy block1": 20_00,
        "tax vat": 6_00,
        "correction energy": 10_00,
    }
    assert line_of(priced, "tax").base_minor == 40_00
    assert line_of(priced, "correction").base_minor == 10_00
    assert recompute(sold, priced) == []


def test_what_use_costs_by_account_holds_the_tax_on_earlier_units() -> None:
    after = replace(BUYER, prior_units=20_000, prior_lifeline_units=20_000)

    earned = use_by_account(SPARED, after, 20_000)

    assert earned == {"income:electricity": 30_00, "levy:street": 1_20, "tax:vat": 6_00}

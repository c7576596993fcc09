"""Blocks, percentages and rounding, each in the smallest tariff that has it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, VAT_15, line_of, small_tariff
from slotmeter.units import Commodity
from slotmeter.vending.pricing.engine import block_rates, price_tender, price_units
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.model import (
    Condition,
    Counter,
    Missed,
    PercentItem,
    RoundingRules,
    Tariff,
    UnitItem,
)


def refusal(sold: Tariff, situation: Situation, tender: int) -> Refused:
    with pytest.raises(Refused) as refused:
        price_tender(sold, situation, tender)
    return refused.value


# --- blocks -------------------------------------------------------------------------------------


def test_a_cheaper_block_in_the_middle_is_priced_as_published() -> None:
    uganda = small_tariff(
        (15_000, "250"), (80_000, "747.5"), (150_000, "412"), (None, "747.5"), currency="UGX"
    )

    priced = price_units(uganda, BUYER, 160_000)

    parts = [each.amount_minor for each in priced.lines if each.kind == "energy"]
    assert parts == [3_750, 48_588, 28_840, 7_475]
    assert price_tender(uganda, BUYER, priced.tender_minor).units == 160_000


def test_a_levy_on_some_blocks_lies_on_their_units_only() -> None:
    levy = UnitItem("surcharge", "Surcharge", Decimal("0.06"), frozenset({2, 3}))
    sold = small_tariff((500_000, "1.20"), (None, "1.40"), unit_items=(levy,))

    priced = price_units(sold, BUYER, 600_000)

    assert line_of(priced, "levy").quantity == 100_000
    assert line_of(priced, "levy").amount_minor == 6_00


def test_beyond_the_last_block_the_largest_tender_is_named() -> None:
    sold = small_tariff((100_000, "1.00"), (200_000, "2.00"))

    refused = refusal(sold, BUYER, 400_00)

    assert refused.code == "no_price_for_units"
    largest = int(Decimal(str(refused.details["largest"])) * 100)
    assert price_tender(sold, BUYER, largest).units == 200_000
    assert refusal(sold, BUYER, largest + 1).code == "no_price_for_units"


def test_where_the_last_block_is_used_up_nothing_can_be_tendered() -> None:
    sold = small_tariff((100_000, "1.00"))

    refused = refusal(sold, replace(BUYER, prior_units=100_000), 10_00)

    assert (refused.code, refused.details["largest"]) == ("no_price_for_units", "0.00")


def test_units_beyond_the_last_block_have_no_price() -> None:
    sold = small_tariff((100_000, "1.00"))

    with pytest.raises(Refused) as refused:
        price_units(sold, BUYER, 100_001)
    assert (refused.value.code, refused.value.field) == ("no_price_for_units", "units")


def test_first_blocks_of_missed_months_make_the_first_block_longer() -> None:
    counter = Counter(missed=Missed.ACCUMULATE, months_max=3)
    sold = small_tariff((15_000, "1.00"), (None, "3.00"), counter=counter)

    priced = price_tender(sold, replace(BUYER, missed_windows=2), 60_00)

    cheap = line_of(priced, "energy", "block1")
    assert cheap.quantity == 45_000
    assert priced.units == 50_000


def test_block_prices_with_tax_are_rounded_before_they_are_multiplied_where_said() -> None:
    vat = replace(VAT_15, percent=Decimal(14), on=("energy",))
    rules = RoundingRules(price_step=Decimal("0.01"))
    water = small_tariff(
        (6_000_000, "26.25"),
        (10_500_000, "46.00"),
        percent_items=(vat,),
        rounding=rules,
        commodity=Commodity.WATER,
    )

    priced = price_units(water, BUYER, 6_000_000)

    energy = line_of(priced, "energy")
    assert priced.tender_minor == 179_58
    assert (energy.gross_rate, energy.gross_minor) == ("29.93", 179_58)
    assert [each.all_in for each in block_rates(water, BUYER)] == [
        Decimal("29.93"),
        Decimal("52.44"),
    ]
    assert line_of(priced, "rounding").amount_minor == 179_58 - 157_50 - 22_05


# --- percentages --------------------------------------------------------------------------------


def test_a_percentage_of_the_tender_is_taken_before_units() -> None:
    ppj = PercentItem("ppj", "Street lighting", Decimal(3), ("tender",))
    rules = RoundingRules(unit_step=Decimal("0.01"))
    sold = small_tariff((None, "1444.70"), percent_items=(ppj,), currency="IDR", rounding=rules)

    priced = price_tender(sold, replace(BUYER, sts_grid=False), 50_000_00)

    assert line_of(priced, "levy").amount_minor == 1_500_00
    assert priced.units == 33_570


def test_tax_lies_on_excise() -> None:
    excise = PercentItem("excise", "Excise", Decimal(3), ("energy",))
    vat = PercentItem("vat", "VAT", Decimal(16), ("energy", "excise"), is_tax=True)
    sold = small_tariff((None, "1.00"), percent_items=(excise, vat), currency="ZMW")

    priced = price_units(sold, BUYER, 100_000)

    assert line_of(priced, "levy").amount_minor == 3_00
    assert (line_of(priced, "tax").amount_minor, line_of(priced, "tax").base_minor) == (
        16_48,
        103_00,
    )


def test_a_rebate_is_a_negative_line() -> None:
    rebate = PercentItem("rebate", "Rebate", Decimal("-0.5"), ("energy",))
    sold = small_tariff((None, "10.00"), percent_items=(rebate,), currency="BDT")

    priced = price_units(sold, BUYER, 100_000)

    assert line_of(priced, "levy").amount_minor == -5_00
    assert priced.tender_minor == 995_00


def test_a_tax_that_prices_include_is_the_remainder() -> None:
    vat = replace(VAT_15, included=True, on=("energy",))
    sold = small_tariff((None, "2.41"), percent_items=(vat,))

    priced = price_units(sold, BUYER, 10_000)

    energy = line_of(priced, "energy")
    assert priced.tender_minor == 24_10
    assert (energy.amount_minor, energy.gross_minor, energy.rate) == (20_96, 24_10, None)
    assert line_of(priced, "tax").amount_minor == 3_14


def test_a_levy_for_a_class_lies_on_that_class_only() -> None:
    levy = UnitItem("l", "L", Decimal(1), when=Condition(classes=frozenset({"shop"})))
    sold = small_tariff((None, "1.00"), unit_items=(levy,))

    assert price_tender(sold, BUYER, 100_00).units == 100_000
    assert price_tender(sold, replace(BUYER, customer_class="shop"), 100_00).units == 50_000

"""What depends on the size of the tender: duties, fees, limits and caps."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, line_of, small_tariff
from slotmeter.units import HOUR_US
from slotmeter.vending.pricing.engine import price_tender, price_units, use_cost
from slotmeter.vending.pricing.intervals import Interval, price_intervals
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import DebtState
from slotmeter.vending.tariff.model import (
    Collection,
    Condition,
    DebtCap,
    FixedItem,
    PercentItem,
    PurchaseRule,
    UnitItem,
)

KWH = 1_000
ABOVE_1000 = Condition(tender_above=1_000_00)
UP_TO_1000 = Condition(tender_up_to=1_000_00)
DUTY = FixedItem("duty", "Stamp duty", Decimal(10), collect=Collection.PURCHASE, when=ABOVE_1000)
WITH_DUTY = small_tariff((None, "1"), fixed_items=(DUTY,))


@pytest.mark.parametrize(("tender", "units"), [(1_000_00, 1_000_000), (1_000_01, 990_000)])
def test_a_duty_is_taken_above_its_limit_only(tender: int, units: int) -> None:
    assert price_tender(WITH_DUTY, BUYER, tender).units == units


@pytest.mark.parametrize(("units", "cost"), [(1_000, 1_000_00), (1_001, 1_011_00), (991, 991_00)])
def test_units_cost_the_smallest_tender_that_buys_them(units: int, cost: int) -> None:
    priced = price_units(WITH_DUTY, BUYER, units * KWH)

    assert priced.tender_minor == cost
    assert sum(line.amount_minor for line in priced.lines) == cost


def test_a_fee_of_small_purchases_ends_at_its_limit() -> None:
    fee = replace(DUTY, code="fee", amount=Decimal(50), when=UP_TO_1000)
    sold = small_tariff((None, "1"), fixed_items=(fee,))

    assert price_tender(sold, BUYER, 1_000_00).units == 950 * KWH
    assert price_tender(sold, BUYER, 1_000_01).units == 1_000 * KWH
    assert price_units(sold, BUYER, 950 * KWH).tender_minor == 1_000_00
    # What 960 cost with the fee is above its limit; a purchase above it pays no fee.
    assert price_units(sold, BUYER, 960 * KWH).tender_minor == 1_000_01


def test_percentages_and_levies_depend_on_the_tender_too() -> None:
    fee = PercentItem("fee", "Fee", Decimal(10), ("tender",), when=UP_TO_1000)
    tax = PercentItem("tax", "Tax", Decimal(25), ("energy",), is_tax=True, when=ABOVE_1000)
    levy = UnitItem("levy", "Levy", Decimal(1), when=ABOVE_1000)
    sold = small_tariff((None, "1"), percent_items=(fee, tax), unit_items=(levy,))

    small, large = (price_tender(sold, BUYER, tender) for tender in (1_000_00, 2_250_00))

    assert [line.code for line in small.lines] == ["block1", "fee"]
    assert small.units == 900 * KWH
    assert [line.code for line in large.lines] == ["block1", "levy", "tax"]
    assert large.units == 1_000 * KWH
    assert recompute(sold, small) == recompute(sold, large) == []
    assert price_units(sold, BUYER, 900 * KWH).tender_minor == 1_000_00
    assert price_units(sold, BUYER, 1_000 * KWH).tender_minor == 2_250_00


def test_a_limit_and_a_cap_on_debts_depend_on_the_tender() -> None:
    sold = small_tariff(
        (None, "1"),
        debt_caps=(DebtCap(Decimal(90), ABOVE_1000), DebtCap(Decimal(50))),
        purchase=(PurchaseRule(minimum=Decimal(2_000), when=ABOVE_1000),),
    )
    owes = replace(BUYER, debts=(DebtState(1, "arrears", "Debt", 1, 10_000_00),))

    with pytest.raises(Refused) as refused:
        price_tender(sold, owes, 1_500_00)

    assert refused.value.code == "below_minimum"
    assert line_of(price_tender(sold, owes, 1_000_00), "debt").amount_minor == 500_00
    assert line_of(price_tender(sold, owes, 2_000_00), "debt").amount_minor == 1_800_00


def test_where_nothing_is_tendered_no_condition_on_the_tender_holds() -> None:
    tax = PercentItem("tax", "Tax", Decimal(25), ("energy",), is_tax=True, when=UP_TO_1000)
    sold = small_tariff((None, "1"), percent_items=(tax,), fixed_items=(DUTY,))
    used = [Interval(BUYER.at_us, BUYER.at_us + HOUR_US, 100 * KWH)]

    assert price_intervals(sold, used, BUYER).total_minor == 100_00
    assert use_cost(sold, BUYER, 100 * KWH) == (100_00, 0)


def test_the_outlook_is_for_the_same_tender() -> None:
    priced = price_tender(WITH_DUTY, BUYER, 1_000_01)

    assert priced.outlook.first_of_month_units == priced.units

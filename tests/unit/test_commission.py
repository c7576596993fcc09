"""What sales earn their seller, exact to the coin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slotmeter.units import Commodity
from slotmeter.vending.commission import Band, CommissionPlan, Sold, When, earned

PERCENT = CommissionPlan(When.SETTLEMENT, (Band(0, "2.5"),))
SLIDING = CommissionPlan(When.SETTLEMENT, (Band(0, "3"), Band(100_00, "2"), Band(500_00, "1")))


def sold(tender_minor: int, *, sales: int = 1, units: int = 0) -> Sold:
    return Sold(Commodity.ELECTRICITY, sales, tender_minor, units)


def test_a_percentage_is_of_all_that_was_tendered() -> None:
    assert earned(PERCENT, [sold(1_000_00), sold(3_000_00)], 100) == 100_00


def test_each_part_of_a_tender_earns_by_its_own_band() -> None:
    # 3 % of 100, 2 % of 400, 1 % of 100
    assert earned(SLIDING, [sold(600_00)], 100) == 3_00 + 8_00 + 1_00


def test_a_tender_on_the_border_of_a_band_earns_by_the_band_below() -> None:
    assert earned(SLIDING, [sold(100_00)], 100) == 3_00


def test_units_earn_by_the_kilowatt_hour() -> None:
    plan = CommissionPlan(When.SETTLEMENT, per_unit={"electricity": "0.1135"})

    # 12.5 kWh at 0.1135 are 1.41875
    assert earned(plan, [sold(0, units=12_500)], 100) == 1_42


def test_water_earns_by_the_cubic_metre_and_only_by_its_own_price() -> None:
    plan = CommissionPlan(When.SETTLEMENT, per_unit={"water": "2"})
    water = Sold(Commodity.WATER, 1, 0, 1_500_000)

    assert earned(plan, [water, sold(0, units=5_000)], 100) == 3_00


def test_each_sale_earns_its_own_amount() -> None:
    plan = CommissionPlan(When.SETTLEMENT, per_sale_minor=25)

    assert earned(plan, [sold(0, sales=4)], 100) == 1_00


def test_half_a_coin_is_rounded_away_from_zero_both_ways() -> None:
    plan = CommissionPlan(When.SETTLEMENT, (Band(0, "50"),))

    assert earned(plan, [sold(1)], 100) == 1
    assert earned(plan, [sold(-1)], 100) == -1


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_what_is_taken_back_costs_what_it_earned(tender: int, units: int) -> None:
    plan = CommissionPlan(When.SETTLEMENT, SLIDING.bands, {"electricity": "0.07"}, per_sale_minor=3)

    there = earned(plan, [sold(tender, units=units)], 100)
    back = earned(plan, [sold(-tender, sales=-1, units=-units)], 100)

    assert back == -there


@given(st.integers(0, 10**7), st.integers(1, 10**6))
def test_more_tender_never_earns_less(tender: int, more: int) -> None:
    assert earned(SLIDING, [sold(tender + more)], 100) >= earned(SLIDING, [sold(tender)], 100)


def test_a_plan_survives_being_stored() -> None:
    plan = CommissionPlan(When.SALE, SLIDING.bands, {"gas": "0.5"}, 7)

    assert CommissionPlan.from_dict(plan.to_dict()) == plan

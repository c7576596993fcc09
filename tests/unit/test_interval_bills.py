"""Bills of measured intervals: blocks in order of time, charges, demand, gas, and purchases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.tariff_packs import pack_texts
from slotmeter.units import HOUR_US, Commodity, epoch_us
from slotmeter.vending.pricing.engine import price_units
from slotmeter.vending.pricing.intervals import (
    Bill,
    Interval,
    highest_demand_w,
    price_intervals,
)
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.calendar import day_start_us
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import read_tariff

QUARTER_US = HOUR_US // 4
BUYER = Situation(at_us=0, time_zone="UTC")


def read(text: str) -> Tariff:
    return read_tariff(text)[1]


def at(*wall: int, zone: str) -> int:
    year, month, day, hour = (*wall, 0)[:4]
    local = datetime(year, month, day, hour, tzinfo=ZoneInfo(zone))
    return epoch_us(local.astimezone(UTC))


def hours(start_us: int, *units: int) -> list[Interval]:
    """Return intervals of one hour after each other."""
    return [
        Interval(start_us + at * HOUR_US, start_us + (at + 1) * HOUR_US, each)
        for at, each in enumerate(units)
    ]


def parts(bill: Bill) -> dict[str, tuple[int, int]]:
    return {code: (part.units, part.net_minor) for code, part in bill.parts.items()}


# --- blocks ---------------------------------------------------------------------------------------

BLOCKS = """\
tariff: blocks
title: Blocks
commodity: electricity
currency: KES
energy:
  label: Energy
  blocks: [{to: 10, price: 1}, {to: 30, price: 2}, {price: 4}]
"""
NAIROBI = replace(BUYER, time_zone="Africa/Nairobi")


def daily(first: date, *units: int, zone: str = "Africa/Nairobi") -> list[Interval]:
    """Return intervals of one local day after each other."""
    days = [first + timedelta(days=number) for number in range(len(units) + 1)]
    return [
        Interval(day_start_us(day, zone), day_start_us(then, zone), each)
        for (day, then), each in zip(pairwise(days), units, strict=True)
    ]


def test_blocks_fill_in_order_of_time_and_begin_anew_each_month() -> None:
    use = daily(date(2026, 1, 30), 8_000, 8_000, 8_000, 8_000)

    bill = price_intervals(read(BLOCKS), use, NAIROBI)

    assert [(s.first_day, s.last_day, s.units) for s in bill.sections] == [
        (date(2026, 1, 30), date(2026, 1, 31), 16_000),
        (date(2026, 2, 1), date(2026, 2, 2), 16_000),
    ]
    assert parts(bill) == {"block1": (20_000, 2_000), "block2": (12_000, 2_400)}


def test_units_counted_before_belong_to_the_window_of_the_first_interval_only() -> None:
    use = daily(date(2026, 1, 31), 8_000, 8_000)

    bill = price_intervals(read(BLOCKS), use, replace(NAIROBI, prior_units=25_000))

    assert parts(bill) == {
        "block2": (5_000, 1_000),
        "block3": (3_000, 1_200),
        "block1": (8_000, 800),
    }


def test_a_billing_period_begins_on_its_day() -> None:
    text = BLOCKS + "  counter: {window: billing_period, start_day: 15}\n"

    bill = price_intervals(read(text), daily(date(2026, 1, 14), 10_000, 10_000), NAIROBI)

    assert parts(bill) == {"block1": (20_000, 2_000)}


def test_a_rolling_window_counts_the_days_before() -> None:
    text = BLOCKS + "  counter: {window: rolling, days: 3}\n"
    use = daily(date(2026, 1, 1), 10_000, 10_000, 10_000, 10_000)

    bill = price_intervals(read(text), use, replace(NAIROBI, prior_units=5_000))

    # The counter begins at 5, 15, 25 and, without the first day and what was before, at 20.
    assert [section.units for section in bill.sections] == [10_000] * 4
    assert [[(line.code, line.quantity) for line in s.lines] for s in bill.sections] == [
        [("block1", 5_000), ("block2", 5_000)],
        [("block2", 10_000)],
        [("block2", 5_000), ("block3", 5_000)],
        [("block2", 10_000)],
    ]


def test_a_price_that_changes_within_a_month_is_split_at_its_midnight() -> None:
    text = """\
tariff: change
title: Change
commodity: electricity
currency: KES
energy:
  label: Energy
  tables:
    old: {blocks: [{to: 10, price: 1}, {price: 2}]}
    new: {blocks: [{to: 10, price: 3}, {price: 5}]}
  use: [{until: 2026-01-16, table: old}, {table: new}]
"""
    noon = at(2026, 1, 15, 12, zone="Africa/Nairobi")
    use = [Interval(noon, noon + 24 * HOUR_US, 24_000)]

    bill = price_intervals(read(text), use, NAIROBI)

    assert [(section.table, section.units) for section in bill.sections] == [
        ("old", 12_000),
        ("new", 12_000),
    ]
    assert [(line.code, line.amount_minor) for line in bill.lines] == [
        ("block1", 1_000),  # 10 x 1
        ("block2", 400),  # 2 x 2
        ("block2", 6_000),  # the counter goes on: 12 x 5
    ]


def test_use_beyond_the_last_price_is_refused() -> None:
    text = BLOCKS.replace("{price: 4}", "{to: 40, price: 4}")

    with pytest.raises(Refused) as refused:
        price_intervals(read(text), daily(date(2026, 1, 1), 40_001), NAIROBI)

    assert refused.value.code == "no_price_for_units"


def test_after_the_last_day_of_a_tariff_there_is_no_price() -> None:
    text = BLOCKS + "valid_until: 2026-01-02\n"

    with pytest.raises(Refused) as refused:
        price_intervals(read(text), daily(date(2026, 1, 1), 1_000, 1_000), NAIROBI)

    assert refused.value.code == "no_price_in_force"


# --- prices for the whole window ------------------------------------------------------------------


def test_a_lifeline_that_is_crossed_reprices_the_month() -> None:
    text = BLOCKS + "  lifeline: {to: 20, price: 0.50}\n"
    use = daily(date(2026, 1, 30), 12_000, 12_000, 12_000)

    bill = price_intervals(read(text), use, NAIROBI)

    assert parts(bill) == {
        "block1": (10_000, 1_000),
        "block2": (14_000, 2_800),
        "lifeline": (12_000, 600),
    }


def test_what_was_bought_at_the_lifeline_price_before_is_corrected() -> None:
    text = BLOCKS + "  lifeline: {to: 20, price: 0.50}\n"
    before = replace(NAIROBI, prior_units=15_000, prior_lifeline_units=15_000)

    bill = price_intervals(read(text), daily(date(2026, 1, 20), 10_000), before)

    # 15 units were sold for 7.50 and cost 10 x 1 + 5 x 2 = 20.00
    assert bill.sum_of("correction") == 1_250
    assert parts(bill) == {"block2": (10_000, 2_000)}


def test_a_lifeline_in_a_rolling_window_cannot_be_billed() -> None:
    text = BLOCKS + "  lifeline: {to: 20, price: 0.50}\n  counter: {window: rolling, days: 3}\n"

    with pytest.raises(Refused) as refused:
        price_intervals(read(text), daily(date(2026, 1, 1), 1_000), NAIROBI)

    assert refused.value.code == "bill_not_possible"


# --- charges and demand ---------------------------------------------------------------------------

DEMAND = (
    BLOCKS
    + """\
taxes: {vat: {label: VAT, percent: 10, on: [energy, fixed]}}
fixed:
  demand: {label: Demand, amount: 5, per: demand_kw}
  service: {label: Service, amount: 3}
"""
)


def test_demand_is_the_highest_average_power_of_an_interval() -> None:
    start = at(2026, 1, 5, zone="Africa/Nairobi")
    quarters = [
        Interval(start + number * QUARTER_US, start + (number + 1) * QUARTER_US, units)
        for number, units in enumerate([500, 800, 300])
    ]

    assert highest_demand_w(quarters) == 3_200
    assert highest_demand_w([]) == 0


def test_demand_of_a_month_is_billed_with_the_charges_of_that_month() -> None:
    january = hours(at(2026, 1, 31, 10, zone="Africa/Nairobi"), 2_000, 4_000)
    february = hours(at(2026, 2, 1, 10, zone="Africa/Nairobi"), 1_000, 1_500)
    charges = tuple(
        ChargeState(code, month)
        for month in ("2026-01", "2026-02")
        for code in ("demand", "service")
    )

    bill = price_intervals(read(DEMAND), january + february, replace(NAIROBI, charges=charges))

    assert bill.demand_w == 4_000
    amounts = [
        (line.code, line.period, line.amount_minor) for line in bill.lines if line.kind == "charge"
    ]
    assert amounts == [
        ("demand", "2026-01", 2_000),
        ("service", "2026-01", 300),
        ("demand", "2026-02", 750),
        ("service", "2026-02", 300),
    ]
    assert bill.sum_of("tax") == (600 + 2_300) // 10 + (250 + 1_050) // 10
    assert bill.total_minor == 600 + 2_300 + 290 + 250 + 1_050 + 130


def test_a_charge_of_a_month_that_is_not_billed_comes_with_the_first_section() -> None:
    charges = (ChargeState("service", "2025-12", taken_minor=100),)
    use = daily(date(2026, 1, 31), 1_000, 1_000)

    bill = price_intervals(read(DEMAND), use, replace(NAIROBI, charges=charges))

    assert [line.amount_minor for line in bill.sections[0].lines if line.kind == "charge"] == [200]
    assert bill.sections[1].lines[0].kind == "energy"


def test_charges_that_purchases_share_are_billed_in_full() -> None:
    text = DEMAND.replace("amount: 3}", "amount: 3, split: {below: 1000}}")
    charges = (ChargeState("service", "2026-01"),)

    bill = price_intervals(
        read(text), daily(date(2026, 1, 31), 1_000), replace(NAIROBI, charges=charges)
    )

    assert bill.sum_of("charge") == 300


def test_a_percentage_of_what_is_paid_is_part_of_what_is_paid() -> None:
    text = BLOCKS + "percentages: {light: {label: Light, percent: 20, on: [tender]}}\n"

    bill = price_intervals(read(text), daily(date(2026, 1, 31), 8_000), NAIROBI)

    assert bill.sum_of("energy") == 800
    assert bill.sum_of("levy") == 200
    assert bill.total_minor == 1_000


# --- gas ------------------------------------------------------------------------------------------

GAS = """\
tariff: gas
title: Gas
commodity: gas
currency: GBP
energy: {label: Gas, price: 0.10}
energy_content: {correction: 1.02264, calorific_value: 39.3, volume_step: 0.01}
"""


def test_gas_is_billed_by_the_energy_of_its_volume() -> None:
    use = daily(date(2026, 1, 1), 20_000_000, 26_000_000, zone="Europe/London")
    buyer = replace(BUYER, time_zone="Europe/London")

    bill = price_intervals(read(GAS), use, buyer)

    # 46 m³ are 47.04 m³ corrected and 513.52 kWh (Bulb community forum, 2017)
    assert bill.units == 513_520
    assert bill.total_minor == 5_135
    assert bill.demand_w is None


def test_the_calorific_value_of_the_day_counts() -> None:
    use = daily(date(2026, 1, 1), 10_000_000, zone="Europe/London")
    buyer = replace(BUYER, time_zone="Europe/London", calorific_value="40")

    assert price_intervals(read(GAS), use, buyer).units == 113_667  # 10.23 x 40 / 3.6


# --- the same as a purchase -----------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(set(pack_texts()) - {"gb-gas-volume-to-kwh"}))
@given(units=st.integers(min_value=1, max_value=30_000), prior=st.integers(0, 20_000))
@settings(max_examples=8, deadline=None)
def test_one_interval_costs_what_its_units_cost_in_advance(
    code: str, units: int, prior: int
) -> None:
    tariff = read(pack_texts()[code])
    noon = at(2010, 7, 15, 12, zone=tariff.time_zone or "UTC")
    scale = 10 if tariff.commodity is Commodity.ELECTRICITY else 1_000  # below the last limit
    buyer = replace(
        BUYER,
        at_us=noon,
        time_zone=tariff.time_zone or "UTC",
        prior_units=prior * scale,
        connection="20 A",
        sts_grid=False,
    )

    bill = price_intervals(tariff, [Interval(noon, noon + HOUR_US, units * scale)], buyer)
    bought = price_units(tariff, buyer, units * scale)

    # A purchase of nothing but rounding is a whole coin at least; what is over is kept.
    assert bill.total_minor == bought.tender_minor - bought.kept_minor
    assert [line for line in bill.lines if line.kind != "rounding"] == [
        line for line in bought.lines if line.kind not in ("rounding", "kept")
    ]

"""Charges by day whose price is no whole number of coins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.reader import read_tariff

NOON_US = 1_784_116_800_000_000  # 2026-07-15, noon
GAS = """
tariff: gb-gas
title: Gas
commodity: gas
currency: GBP
time_zone: Europe/London
energy: {price: 0.0624}
energy_content: {correction: 1.02264, calorific_value: 39.5}
fixed: {standing: {amount: 0.2966, every: day}}
taxes: {vat: {percent: 5, on: [energy, fixed]}}
"""


def bought(text: str, tender_minor: int, days: int) -> Priced:
    _, tariff = read_tariff(text)
    charges = tuple(ChargeState("standing", f"2026-07-{15 - days + n:02}") for n in range(days))
    situation = Situation(at_us=NOON_US, time_zone="Europe/London", charges=charges)
    return price_tender(tariff, replace(situation, sts_grid=False), tender_minor)


@pytest.mark.parametrize(
    ("days", "net_minor"),
    [(1, 30), (2, 59), (7, 208), (14, 415)],
)
def test_days_of_a_charge_come_to_days_times_the_price(days: int, net_minor: int) -> None:
    # 29.66p a day: 29.66, 59.32, 207.62 and 415.24
    priced = bought(GAS, 2_000, days)

    assert sum(e.amount_minor for e in priced.lines if e.kind == "charge") == net_minor
    assert sum(each.net_minor for each in priced.charges) == net_minor


def test_the_line_of_several_days_names_the_price_of_a_day_with_its_decimals() -> None:
    priced = bought(GAS, 2_000, 7)

    line = next(each for each in priced.lines if each.kind == "charge")
    assert line.rate == "0.2966"


def test_days_with_tax_in_their_price_come_to_days_times_the_price() -> None:
    # 31.66p a day with 5 % in it; seven days are 221.62p, 211.07p of it without tax.
    text = GAS.replace("0.2966", "0.3166").replace("fixed]}", "fixed], included: true}")

    priced = bought(text, 1_000, 7)

    assert sum(e.amount_minor for e in priced.lines if e.kind == "charge") == 211
    # (10 - 2.2162) / 0.0624 / 11.2209 kWh/m³ = 11.117
    assert priced.units == 11_100_000


def test_days_whose_price_with_tax_is_rounded_first_are_rounded_each() -> None:
    # 6.58 with 14 % is 7.5012, rounded to 7.50 a day: three days are 22.50, 19.74 without tax.
    text = """
tariff: x
title: X
commodity: electricity
currency: ZAR
energy: {price: 0.7997}
fixed: {standing: {amount: 6.58, every: day}}
taxes: {vat: {percent: 14, on: [energy, fixed]}}
rounding: {fixed_step: 0.01}
"""

    priced = bought(text, 10_000, 3)

    assert sum(e.amount_minor for e in priced.lines if e.kind == "charge") == 1_974
    # (100 - 22.50) / 0.911658 = 85.01
    assert priced.units == 85_000

"""Inputs of cases that no published one needs: measured use, and charges that are begun."""

from __future__ import annotations

from collections.abc import Mapping

from slotmeter.vending.pricing.conformance import Published, check_case
from slotmeter.vending.tariff.reader import check_tariff

BY_TIME = """
tariff: by-time
title: By time
commodity: electricity
currency: GBP
time_zone: Europe/London
energy: {periods: {day: 0.28, night: 0.11}}
calendar:
  days: [{weekdays: [monday-sunday], hours: {00:00: night, 08:00: day, 22:00: night}}]
fixed: {standing: {label: Standing charge, amount: 3}}
taxes: {vat: {label: VAT, percent: 5, on: [energy, fixed]}}
"""
TWO_CHARGES = """
tariff: two-charges
title: Two charges
commodity: electricity
currency: ZAR
energy: {price: 2}
fixed:
  service: {label: Service charge, amount: 70, split: {below: 400}}
  capacity: {amount: 130, split: {below: 400}}
"""
GAS = """
tariff: gas
title: Gas
commodity: gas
currency: GBP
time_zone: Europe/London
energy: {price: 0.06}
energy_content: {correction: 1.02264, calorific_value: 39.3}
"""


def differences(tariff: str, case: Mapping[str, object]) -> dict[str, object]:
    checked = check_case(Published(check_tariff(tariff).tariff), case)
    assert checked.unused == ()
    return {each.name: each.got for each in checked.differences}


def test_measured_use_costs_by_period_and_the_day_that_is_longer_has_an_hour_more() -> None:
    # 25 October 2026: 9 + 2 hours of night, 14 of day.
    case = {
        "kind": "use_to_money",
        "use": {"2026-10-25T00:00/2026-10-26T00:00": "25"},
        "expect": {
            "night_units": "11",
            "day_units": "14",
            "night_energy": "1.21",
            "day_rate": "0.28",
            "energy": "5.13",
            "fixed": "3.00",
            "vat": "0.41",
            "total": "8.54",
        },
    }

    assert differences(BY_TIME, case) == {}


def test_an_offset_tells_apart_the_hour_that_comes_twice() -> None:
    case = {
        "kind": "use_to_money",
        "use": {"2026-10-25T01:00+01:00/2026-10-25T01:00+00:00": "1"},
        "fixed_due": False,
        "expect": {"night_units": "1", "total": "0.12"},
    }

    assert differences(BY_TIME, case) == {}


def test_measured_use_of_gas_is_in_cubic_metres() -> None:
    # 100 x 1.02264 x 39.3 / 3.6 = 1,116.382 kWh
    case = {
        "kind": "use_to_money",
        "use": {"2026-07-14T00:00/2026-07-15T00:00": "100"},
        "expect": {"total": "66.98"},
    }

    assert differences(GAS, case) == {}


def test_what_was_taken_of_several_charges_is_said_by_code_or_label() -> None:
    case = {
        "kind": "money_to_units",
        "tender": "500",
        "prior_units": "16",
        "taken": {"Service charge": "17.50", "capacity": "32.50"},
        "tendered_before": "100",
        "expect": {"service": "52.50", "capacity": "97.50", "units": "175"},
    }

    assert differences(TWO_CHARGES, case) == {}

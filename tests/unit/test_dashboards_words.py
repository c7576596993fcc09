"""Numbers, times and states as the dashboards write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from slotmeter.devices.commands import CommandState
from slotmeter.devices.entities import SupplyState
from slotmeter_dashboards import words


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234567.5", "ZAR", "ZAR 1,234,567.50"),
        ("0", "KES", "KES 0.00"),
        ("-20", "EUR", "EUR -20.00"),
        ("5000", "UGX", "UGX 5,000"),
        ("1.234", "KWD", "KWD 1.234"),
    ],
)
def test_money_has_its_currency_and_its_decimals(amount: str, currency: str, text: str) -> None:
    assert words.money(Decimal(amount), currency).replace(words.NO_BREAK, " ") == text


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [("1234.56", "kWh", "1,234.6 kWh"), ("0.0415", "m³", "0.042 m³"), ("0", "kWh", "0.0 kWh")],
)
def test_a_quantity_is_rounded_as_people_read_it(amount: str, unit: str, text: str) -> None:
    assert words.quantity(Decimal(amount), unit).replace(words.NO_BREAK, " ") == text


def test_what_is_not_known_is_a_dash_and_never_zero() -> None:
    assert words.money(None, "ZAR") == words.quantity(None, "kWh") == words.MISSING


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3_599, "59 min ago"),
        (3_600, "1 h ago"),
        (86_400, "1 d ago"),
    ],
)
def test_an_age_changes_its_unit_at_the_minute_hour_and_day(seconds: int, text: str) -> None:
    assert words.age(seconds).replace(words.NO_BREAK, " ") == text


def test_times_are_shown_in_the_zone_of_the_utility() -> None:
    at = datetime(2026, 11, 21, 22, 30, tzinfo=UTC)

    shown = words.day_and_clock(at, words.zone_of("Africa/Johannesburg"))

    assert shown.replace(words.NO_BREAK, " ") == "22 Nov 00:30"


def test_times_for_machines_carry_the_offset() -> None:
    at = datetime(2026, 11, 21, 22, 30, tzinfo=UTC)

    assert words.iso(at, timezone(timedelta(hours=2))) == "2026-11-22T00:30:00+02:00"


@pytest.mark.parametrize("name", ["Nowhere/Land", "", "../etc/passwd"])
def test_a_zone_that_is_not_known_is_utc(name: str) -> None:
    assert words.zone_of(name) is UTC


@pytest.mark.parametrize("name", list(CommandState))
def test_every_state_of_a_command_has_its_words(name: CommandState) -> None:
    assert name.value in words.STATES["command"]


@pytest.mark.parametrize("name", list(SupplyState))
def test_every_state_of_supply_has_its_words(name: SupplyState) -> None:
    assert name.value in words.STATES["supply"]


def test_states_of_one_subject_that_mean_different_things_read_differently() -> None:
    for states in words.STATES.values():
        labels = [shown.label for shown in states.values()]

        assert len(set(labels)) == len(labels)


def test_a_state_that_is_new_keeps_its_own_name() -> None:
    assert words.state("command", "waiting_for_meter").label == "Waiting for meter"

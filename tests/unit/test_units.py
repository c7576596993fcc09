"""Exact values refuse what would make them inexact."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import slotmeter
from slotmeter.errors import Refused
from slotmeter.units import (
    DAY_US,
    HOUR_US,
    QUANTITIES,
    BatteryLevel,
    Commodity,
    Energy,
    Money,
    Price,
    Quantity,
    Rounding,
    Volume,
    commodity_quantity,
    epoch_us,
    instant,
    iso_utc,
    parse_money,
    round_to_int,
    whole_or_none,
)

ARITHMETIC: list[Callable[[Any, Any], Any]] = [
    operator.add,
    operator.sub,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]


@given(st.integers(1 - 10**12, 10**12 - 1), st.sampled_from(["KES", "UGX", "KWD"]))
def test_money_written_and_read_again_is_the_same(minor: int, currency: str) -> None:
    money = Money(minor, currency)

    assert parse_money(str(money), currency) == money


def test_money_adds_compares_and_turns_round() -> None:
    five, three = Money(5, "KES"), Money(3, "KES")

    assert (five + three, five - three, -five) == (
        Money(8, "KES"),
        Money(2, "KES"),
        Money(-5, "KES"),
    )
    assert three < five
    assert three <= five
    assert five > three
    assert five >= three
    assert not Money(0, "KES")


@pytest.mark.parametrize("act", ARITHMETIC)
@pytest.mark.parametrize("other", [Money(1, "UGX"), Energy(1), 1])
def test_money_does_not_mix(act: Callable[[Any, Any], Any], other: object) -> None:
    with pytest.raises(TypeError):
        act(Money(1, "KES"), other)


@pytest.mark.parametrize("act", ARITHMETIC)
@pytest.mark.parametrize("other", [Volume(1), Money(1, "KES"), 1])
def test_quantities_do_not_mix(act: Callable[[Any, Any], Any], other: object) -> None:
    with pytest.raises(TypeError):
        act(Energy(1), other)


def test_quantities_add_and_compare() -> None:
    five, three = Energy(5), Energy(3)

    assert (five + three, five - three) == (Energy(8), Energy(2))
    assert three < five
    assert three <= five
    assert five > three
    assert five >= three


@pytest.mark.parametrize("amount", [1.0, True, Decimal(1), "1"])
def test_only_integers_count(amount: Any) -> None:
    with pytest.raises(TypeError):
        Money(amount, "KES")
    with pytest.raises(TypeError):
        Energy(amount)


@pytest.mark.parametrize("code", ["kes", "KE", "KESX", "ΚΕΣ"])
def test_a_currency_is_a_code_of_three_capitals(code: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Money(1, code)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("100", "KES", 10000),
        ("100.5", "KES", 10050),
        ("100.500", "KES", 10050),
        ("7", "UGX", 7),
        ("7.0", "UGX", 7),
        ("1.234", "KWD", 1234),
        ("-0.01", "KES", -1),
    ],
)
def test_amounts_are_read_exactly(text: str, currency: str, minor: int) -> None:
    assert parse_money(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "amount_malformed"),
        (".5", "amount_malformed"),
        ("5.", "amount_malformed"),
        ("1e3", "amount_malformed"),
        ("1,000", "amount_malformed"),
        (" 1", "amount_malformed"),
        ("--1", "amount_malformed"),
        ("٣", "amount_malformed"),
        ("1.001", "amount_too_precise"),
        ("1234567890123", "amount_too_large"),
    ],
)
def test_a_malformed_amount_is_refused_by_name(text: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_money(text, "KES", "tendered")

    assert (caught.value.code, caught.value.field) == (code, "tendered")


def test_a_price_refuses_floats_negatives_and_infinity() -> None:
    with pytest.raises(TypeError):
        Price(1.5, "KES")  # type: ignore[arg-type]  # that is the point
    for wrong in ("-1", "Infinity", "NaN"):
        with pytest.raises(ValueError, match="finite"):
            Price(Decimal(wrong), "KES")


def test_a_price_and_its_inverse_agree() -> None:
    price = Price(Decimal("1.155"), "KES")

    assert price.minor_for(Energy(50_000)) == Decimal(5775)
    assert price.amount_for(5775, Energy) == Decimal(50_000)
    with pytest.raises(ZeroDivisionError):
        Price(Decimal(0), "KES").amount_for(1, Energy)


@pytest.mark.parametrize(
    ("rounding", "wanted"),
    [
        (Rounding.HALF_UP, [3, -3, 2]),
        (Rounding.HALF_EVEN, [2, -2, 2]),
        (Rounding.DOWN, [2, -2, 2]),
        (Rounding.CEILING, [3, -2, 3]),
        (Rounding.FLOOR, [2, -3, 2]),
    ],
)
def test_each_rounding_does_what_its_name_says(rounding: Rounding, wanted: list[int]) -> None:
    values = [Decimal("2.5"), Decimal("-2.5"), Decimal("2.4")]

    assert [round_to_int(value, rounding) for value in values] == wanted


def test_every_base_unit_can_be_found_by_its_symbol() -> None:
    assert QUANTITIES["Wh"] is Energy
    assert all(kind.symbol == symbol for symbol, kind in QUANTITIES.items())


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Energy(5_000), "5.0 kWh"),
        (Energy(12_345), "12.345 kWh"),
        (Volume(100_000), "0.1 m³"),
        (BatteryLevel(90), "90 %"),
    ],
)
def test_quantities_are_written_in_the_unit_that_people_read(quantity: Quantity, text: str) -> None:
    assert str(quantity) == text


def test_a_quantity_is_cut_towards_zero_at_its_base_unit() -> None:
    assert Energy.from_sold(Decimal("1.9999")) == Energy(1999)
    assert Energy.from_sold(Decimal("-1.9999")) == Energy(-1999)


def test_electricity_is_sold_as_energy_and_water_and_gas_as_volume() -> None:
    kinds = [commodity_quantity(commodity) for commodity in Commodity]

    assert kinds == [Energy, Volume, Volume]


def test_whole_numbers_are_told_from_fractions() -> None:
    assert whole_or_none(Decimal("3.0")) == 3
    assert whole_or_none(Decimal("3.1")) is None


@given(st.integers(-(2**52), 2**52))
def test_microseconds_survive_the_way_to_a_time_and_back(us: int) -> None:
    assert epoch_us(instant(us)) == us


@given(st.integers(-(2**50), 2**50) | st.integers(-5, 5).map(lambda seconds: seconds * 1_000_000))
def test_a_time_is_written_with_six_decimals_always(us: int) -> None:
    text = iso_utc(us)

    assert len(text) == len("2026-01-01T00:00:00.000000Z")
    assert epoch_us(datetime.fromisoformat(text)) == us


@given(st.sampled_from(sorted(QUANTITIES)), st.integers(-(10**9), 10**9))
def test_a_quantity_is_written_exactly_with_no_zero_too_many(symbol: str, amount: int) -> None:
    quantity = QUANTITIES[symbol](amount)
    text = quantity.sold_text

    assert Decimal(text) == quantity.sold
    assert ("." in text) == (quantity.per_sold_unit > 1)
    assert not text.endswith("0") or text.endswith(".0") or quantity.per_sold_unit == 1


@given(st.sampled_from(["KES", "JPY", "KWD"]), st.integers(-(10**9), 10**9))
def test_money_is_written_with_all_the_decimals_of_its_currency(currency: str, minor: int) -> None:
    money = Money(minor, currency)

    assert str(money) == f"{money.decimal:.{money.exponent}f}"


def test_times_are_written_in_utc_whatever_their_zone() -> None:
    nairobi = datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))

    assert iso_utc(epoch_us(nairobi)) == "2026-01-01T00:00:00.000000Z"
    assert instant(0) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("length_us", [3_600_000_000, 86_400_000_000])
def test_an_hour_and_a_day_in_microseconds_are_written_down_once(length_us: int) -> None:
    platform = Path(slotmeter.__file__).parent

    found = [
        path.name
        for path in platform.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == length_us
    ]

    assert found == []
    assert length_us in (HOUR_US, DAY_US)

"""The vocabulary of registers, units as makers write them, and what a model adds to a register."""

from __future__ import annotations

import importlib.util
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices.entities import REGISTERS, Entity, RegisterKind, not_a_register
from slotmeter.devices.quantities import measure
from slotmeter.units import Commodity, commodity_quantity

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_registers_is_the_one_that_the_vocabulary_makes() -> None:
    spec = importlib.util.spec_from_file_location("docs_entities", DOCS / "entities.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)

    assert (DOCS / "reference" / "entities.md").read_text(encoding="utf-8") == program.page()


@pytest.mark.parametrize("name", sorted(REGISTERS))
def test_a_register_has_a_plain_name_a_title_a_unit_and_a_commodity(name: str) -> None:
    register = REGISTERS[name]

    assert re.fullmatch(r"[a-z][a-z0-9_]{2,40}", name)
    assert register.title
    assert register.commodities
    assert all(register.units)
    assert register.quantity is None or not register.unit


@pytest.mark.parametrize("name", sorted(REGISTERS))
def test_a_sum_never_falls_below_0(name: str) -> None:
    assert REGISTERS[name].kind is not RegisterKind.CUMULATIVE or REGISTERS[name].low == 0


def test_titles_are_told_apart() -> None:
    titles = [register.title for register in REGISTERS.values()]

    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("commodity", Commodity)
def test_credit_is_in_the_unit_of_what_is_sold(commodity: Commodity) -> None:
    assert REGISTERS["credit_balance"].unit_for(commodity) == commodity_quantity(commodity).symbol


def test_money_is_in_minor_units_whatever_is_sold() -> None:
    units = {REGISTERS["credit_balance_money"].unit_for(commodity) for commodity in Commodity}

    assert units == {"minor"}


# --- units as makers write them -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "base", "amount"),
    [
        ("Wh", "Wh", 7),
        ("0.01 kWh", "Wh", 70),
        ("MWh", "Wh", 7_000_000),
        ("1/1600 kWh", "Wh", 4),  # 4.375, cut off
        ("10 L", "mL", 70_000),
        ("m³", "mL", 7_000_000),
        ("m3", "mL", 7_000_000),
        ("ft³", "mL", 198_217),  # 198 217.926, cut off
        ("0.1 L/h", "mL/h", 700),
        ("0.1 bar", "Pa", 70_000),
        ("°C", "mK", 280_150),
        ("0.5 °C", "mK", 276_650),
        ("0.1 V", "mV", 700),
        ("0.01 Hz", "mHz", 70),
        ("0.001 1", "‰", 7),
        ("%", "%", 7),
        ("dB", "mB", 700),
        ("flag", "flag", 7),
    ],
)
def test_seven_counts_of_a_maker_s_unit(text: str, base: str, amount: int) -> None:
    found = measure(text)

    assert (found.base, found.amount(7)) == (base, amount)


@pytest.mark.parametrize("text", ["", "furlong", "0.01kWh", "kWh 0.01", "0 kWh", "-1 L", "1/0 L"])
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|number"):
        measure(text)


def test_a_unit_of_another_quantity_is_refused_by_the_register() -> None:
    with pytest.raises(ValueError, match="energy_import is counted in Wh, and '10 L' is mL"):
        REGISTERS["energy_import"].measure("10 L")


@pytest.mark.parametrize(
    ("register", "text", "amount"),
    [
        ("volume", "1234.56 m³", 1_234_560_000),
        ("temperature", "-3.5 °C", 269_650),
        ("power", "-1.2 kW", -1_200),
        ("leak", "1 flag", 1),
        ("credit_balance", "5 kWh", 5_000),
        ("credit_balance", "5 m³", 5_000_000),
        ("credit_mode", "prepaid", 0),
        ("credit_mode", "postpaid", 1),
        ("tariff", "2 code", 2),
    ],
)
def test_a_value_written_for_people_is_counted(register: str, text: str, amount: int) -> None:
    assert REGISTERS[register].amount(text) == amount


@pytest.mark.parametrize("text", ["kWh", "five kWh", "5", "5 m³"])
def test_what_is_no_value_of_a_register_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|number|counted"):
        REGISTERS["energy_import"].amount(text)


def test_what_is_no_word_of_a_register_is_refused() -> None:
    with pytest.raises(ValueError, match="credit_mode is one of prepaid, postpaid, got '1 code'"):
        REGISTERS["credit_mode"].amount("1 code")


# --- what a model adds --------------------------------------------------------------------------


def test_an_entity_knows_its_resolution() -> None:
    assert Entity("energy_import", "0.01 kWh").resolution == 10
    assert Entity("energy_import").resolution == 1
    assert Entity("energy_import", "1/1600 kWh").resolution == 1


@pytest.mark.parametrize(
    ("entity", "problem"),
    [
        (Entity("no_such"), "not in the vocabulary"),
        (Entity("energy_import", "10 L"), "is mL"),
        (Entity("power", wrap=1_000), "only sums roll over"),
        (Entity("volume", wrap=0), "above 0"),
    ],
)
def test_a_wrong_entity_says_why(entity: Entity, problem: str) -> None:
    (said,) = entity.problems()

    assert problem in said


WRAPPING = Entity("volume", "L", wrap=1_000_000)


@pytest.mark.parametrize(
    ("before", "after", "growth"),
    [
        (10, 25, 15),
        (10, 10, 0),
        (999_000, 1_000, 2_000),  # rolled over
        (500_001, 0, 499_999),
        (500_000, 0, None),  # half way down: who knows
        (2_000, 1_000, None),  # a register set back
        (1_000_500, 10, None),  # it cannot have been there
    ],
)
def test_growth_counts_over_the_wrap(before: int, after: int, growth: int | None) -> None:
    assert WRAPPING.growth(before, after) == growth


def test_without_a_wrap_nothing_rolls_over() -> None:
    assert Entity("volume").growth(999_999, 0) is None


@given(before=st.integers(0, 999_999), grown=st.integers(0, 499_999))
def test_any_growth_below_half_a_wrap_is_found_again(before: int, grown: int) -> None:
    assert WRAPPING.growth(before, (before + grown) % 1_000_000) == grown


@given(count=st.integers(-(10**12), 10**12))
def test_counting_is_exact_and_cut_towards_zero(count: int) -> None:
    exact = Fraction(count, 1_600) * 1_000

    amount = measure("1/1600 kWh").amount(count)

    assert abs(amount) <= abs(exact) < abs(amount) + 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [("volumes", "; perhaps volume"), ("voltag", "; perhaps voltage"), ("zebra", "entities.md)")],
)
def test_of_an_unknown_register_the_nearest_ones_are_told(name: str, meant: str) -> None:
    assert meant in not_a_register(name)

"""Volume of gas to energy and back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.vending.pricing.gas import (
    corrected_volume,
    energy_of_volume,
    imperial_volume_ml,
    volume_of_energy,
)
from slotmeter.vending.tariff.model import EnergyContent

GB = EnergyContent(correction=Decimal("1.02264"), calorific_value=Decimal("39.5"))
GB_ROUNDED = EnergyContent(
    correction=Decimal("1.02264"), calorific_value=Decimal("39.5"), volume_step=Decimal("0.01")
)


def kwh(energy_wh: Decimal) -> Decimal:
    return (energy_wh / 1000).quantize(Decimal("0.00001"))


def test_one_imperial_unit_is_the_published_energy() -> None:
    volume = imperial_volume_ml(GB, Decimal("1"))

    assert volume == 2_830_000
    # qwindow.com, "Formula used to convert gas meter readings to kWh": 31.73 kWh
    assert kwh(energy_of_volume(GB, volume, Decimal("39.47333"))) == Decimal("31.73295")


def test_a_corrected_volume_rounded_first_gives_the_published_energy() -> None:
    # Bulb community forum, 2017: 46 m³, corrected to 47.04, at 39.3 MJ/m³ are 513.52 kWh
    assert corrected_volume(GB_ROUNDED, 46_000_000) == 47_040_000
    assert energy_of_volume(GB_ROUNDED, 46_000_000, Decimal("39.3")) == 513_520


def test_without_rounding_the_corrected_volume_the_energy_differs() -> None:
    assert kwh(energy_of_volume(GB, 46_000_000, Decimal("39.3"))) == Decimal("513.53572")


def test_the_calorific_value_of_the_tariff_applies_when_the_day_has_none() -> None:
    assert energy_of_volume(GB, 1_000_000) == energy_of_volume(GB, 1_000_000, Decimal("39.5"))
    assert energy_of_volume(GB, 1_000_000) != energy_of_volume(GB, 1_000_000, Decimal("39.6"))


@pytest.mark.parametrize("value", ["0", "-39.5"])
def test_a_calorific_value_must_be_above_zero(value: str) -> None:
    with pytest.raises(Refused, match="above zero") as refused:
        energy_of_volume(GB, 1_000_000, Decimal(value))

    assert refused.value.code == "calorific_value_not_positive"
    assert refused.value.field == "calorific_value"


@given(
    volume_ml=st.integers(min_value=0, max_value=10**12),
    calorific_value=st.decimals(min_value="1", max_value="60", places=5),
)
def test_the_volume_of_the_energy_of_a_volume_is_that_volume(
    volume_ml: int, calorific_value: Decimal
) -> None:
    energy = energy_of_volume(GB, volume_ml, calorific_value)
    back = volume_of_energy(GB, energy, calorific_value)

    assert abs(back - volume_ml) < Decimal("1e-30")

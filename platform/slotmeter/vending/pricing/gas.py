"""Gas measured by volume and priced by energy: kWh = m³ x correction x calorific value / 3.6.

The formula is the one on Great Britain's bills; the correction (1.02264 there) brings the volume to
standard temperature and pressure, the calorific value (MJ/m³) changes by day and zone and is stored
with each calculation. Imperial meters count hundreds of cubic feet; see :func:`imperial_volume_ml`.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Final

from slotmeter.errors import Refused
from slotmeter.vending.tariff.model import EnergyContent

__all__ = ["corrected_volume", "energy_of_volume", "imperial_volume_ml", "volume_of_energy"]

ML_PER_M3: Final = 1_000_000
_MJ_PER_KWH: Final = Decimal("3.6")
_WH_PER_KWH: Final = 1_000
_EXACT: Final = Context(prec=60, traps=[InvalidOperation])


def corrected_volume(content: EnergyContent, volume_ml: int | Decimal) -> Decimal:
    """Return a measured volume at standard conditions, mL, rounded to ``content.volume_step``."""
    volume = _EXACT.multiply(Decimal(volume_ml), content.correction)
    if content.volume_step is None:
        return volume
    step_ml = content.volume_step * ML_PER_M3
    steps = _EXACT.divide(volume, step_ml).to_integral_value(rounding=ROUND_HALF_UP)
    return _EXACT.multiply(steps, step_ml)


def energy_of_volume(
    content: EnergyContent, volume_ml: int | Decimal, calorific_value: Decimal | None = None
) -> Decimal:
    """Return the energy of a measured volume, Wh, not rounded beyond 60 digits.

    Args:
        content: correction, and the calorific value that applies when none is given.
        volume_ml: as measured.
        calorific_value: MJ/m³ of the day and zone.

    Raises:
        Refused: ``calorific_value_not_positive``.
    """
    megajoules = _EXACT.multiply(
        corrected_volume(content, volume_ml), _calorific(content, calorific_value)
    )
    return _EXACT.divide(megajoules * _WH_PER_KWH, _MJ_PER_KWH * ML_PER_M3)


def volume_of_energy(
    content: EnergyContent, energy_wh: int | Decimal, calorific_value: Decimal | None = None
) -> Decimal:
    """Return the measured volume that holds so much energy, mL, not rounded beyond 60 digits.

    ``content.volume_step`` plays no part: it rounds what a bill prints, not what flows.

    Raises:
        Refused: ``calorific_value_not_positive``.
    """
    energy = _EXACT.multiply(Decimal(energy_wh), _MJ_PER_KWH * ML_PER_M3)
    per_ml = _EXACT.multiply(content.correction, _calorific(content, calorific_value))
    return _EXACT.divide(energy, per_ml * _WH_PER_KWH)


def imperial_volume_ml(content: EnergyContent, hundred_ft3: Decimal) -> Decimal:
    """Return units of an imperial meter (100 ft³ each) as mL."""
    return _EXACT.multiply(hundred_ft3, content.imperial_unit_m3 * ML_PER_M3)


def _calorific(content: EnergyContent, given: Decimal | None) -> Decimal:
    value = content.calorific_value if given is None else given
    if value <= 0:
        raise Refused(
            "calorific_value_not_positive",
            f"expected a calorific value above zero MJ/m³, got {value}",
            field="calorific_value",
        )
    return value

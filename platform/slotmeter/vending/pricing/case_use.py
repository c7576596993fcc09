"""Cases of use that was measured: stretches of time with the units used in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.units import epoch_us, instant
from slotmeter.vending.pricing.case_inputs import CaseInputs
from slotmeter.vending.pricing.case_results import ML_PER_M3
from slotmeter.vending.pricing.case_situation import USUAL_ZONE, sold_unit_of
from slotmeter.vending.pricing.cuts import Interval
from slotmeter.vending.sts.vector_inputs import VectorError
from slotmeter.vending.tariff.model import Tariff

__all__ = ["at_first_use", "intervals_of"]

USE: Final = "use"


def intervals_of(tariff: Tariff, inputs: CaseInputs) -> list[Interval]:
    """Return what was used: ``{"2026-07-14T08:00/2026-07-14T10:00": "4"}``.

    Times are local to the tariff, or have their own offset, as the hour that comes twice needs it.
    Units are kWh or m³; m³ for gas that is priced by energy.

    Raises:
        VectorError: there is none, or one cannot be read.
    """
    stretches = inputs.named(USE)
    if stretches is None or not stretches.data:
        raise VectorError("vector_field_missing", "expected units by stretch of time", field=USE)
    scale = sold_unit_of(tariff) if tariff.energy_content is None else ML_PER_M3
    zone = ZoneInfo(tariff.time_zone or USUAL_ZONE)
    found = []
    for stretch in stretches.data:
        units = stretches.whole(stretch, scale)
        start, _, end = stretch.partition("/")
        try:
            ends = [datetime.fromisoformat(text) for text in (start, end)]
        except ValueError as error:
            text = f"expected start/end, got {stretch[:64]!r}"
            raise VectorError("vector_field_wrong", text, field=USE) from error
        start_us, end_us = (
            epoch_us(each if each.tzinfo is not None else each.replace(tzinfo=zone))
            for each in ends
        )
        found.append(Interval(start_us, end_us, units or 0))
    return found


def at_first_use(tariff: Tariff, inputs: CaseInputs, intervals: Sequence[Interval]) -> CaseInputs:
    """Return inputs that are dated when use began, unless they say a date."""
    if inputs.has("date"):
        return inputs
    zone = ZoneInfo(tariff.time_zone or USUAL_ZONE)
    began = instant(min(each.start_us for each in intervals)).astimezone(zone)
    dated: Mapping[str, object] = {**inputs.data, "date": f"{began:%Y-%m-%d}"}
    return replace(inputs, data=dated)

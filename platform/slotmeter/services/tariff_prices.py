"""What a tariff makes of a purchase, an amount of units or a volume of gas; nothing is booked.

No meter is needed and no tariff in force: who writes a tariff tries it, and a published bill is
computed again. The case goes the same way as the published cases that tariffs are checked with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.errors import Refused
from slotmeter.ports import Caller, Clock
from slotmeter.services.tariff_admin import TariffAdmin
from slotmeter.services.tariff_draft import read_source
from slotmeter.units import Energy, Quantity, Rounding, commodity_quantity, round_to_int
from slotmeter.vending.pricing.by_use import level_at
from slotmeter.vending.pricing.case_inputs import CaseInputs
from slotmeter.vending.pricing.case_situation import situation_of, sold_unit_of
from slotmeter.vending.pricing.chosen import holds, in_force, local_day
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.engine import BlockRate, block_rates, price_tender, price_units
from slotmeter.vending.pricing.fixed import FixedAmount, fixed_amount
from slotmeter.vending.pricing.gas import corrected_volume, energy_of_volume, imperial_volume_ml
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.sts.vector_inputs import VectorError
from slotmeter.vending.tariff.model import FixedItem, Measure, Tariff
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["ASKED", "TariffPrice", "Volume", "price_by_tariff"]

ASKED: Final = ("tender", "units", "m3", "units_hundred_ft3")
"""What may be asked for; without any of them the answer is the prices alone."""

ML_PER_M3: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of gas.

    Args:
        ml: as measured.
        corrected_ml: at standard conditions.
        energy_wh: in it, exact.
    """

    ml: Decimal
    corrected_ml: Decimal
    energy_wh: Decimal


@dataclass(frozen=True, slots=True)
class TariffPrice:
    """What a tariff makes of a case.

    Args:
        tariff: that priced it.
        version: of it; None for one that was sent along.
        day: local date of the case.
        priced: lines and units; None when only prices or energy were asked for.
        blocks: the price of each block.
        charges: fixed charges that apply to the buyer, each for one period; one by the load is
            among them when that is known.
        volume: of gas, when that was given.
    """

    tariff: Tariff
    version: int | None
    day: date
    priced: Priced | None
    blocks: tuple[BlockRate, ...]
    charges: tuple[tuple[FixedItem, FixedAmount], ...]
    volume: Volume | None

    @property
    def delivered_kind(self) -> type[Quantity]:
        """The kind of quantity that a token carries."""
        return commodity_quantity(self.tariff.commodity)

    @property
    def priced_kind(self) -> type[Quantity]:
        """The kind of quantity that prices and blocks are for: energy for gas by energy."""
        return self.delivered_kind if self.tariff.energy_content is None else Energy


async def price_by_tariff(
    tariffs: TariffAdmin,
    clock: Clock,
    caller: Caller,
    case: Mapping[str, object],
    *,
    code: str | None,
    source: str | None,
) -> TariffPrice:
    """Price a case.

    Args:
        tariffs: where the versions are.
        clock: for the date of a case that has none.
        caller: whose utility the tariff belongs to.
        case: inputs by the names of published cases.
        code: of a tariff; its version in force at noon of the date counts, or now without one.
        source: YAML, instead of a code.

    Raises:
        NotFound: ``no_version_in_force``.
        Refused: ``tariff_or_source``, ``one_question``, ``case_wrong``, what :func:`read_source`
            and pricing refuse.
    """
    if (code is None) == (source is None):
        raise Refused("tariff_or_source", "expected either tariff or source", field="tariff")
    asked = [name for name in ASKED if name in case]
    if len(asked) > 1:
        raise Refused(
            "one_question", f"expected one of {', '.join(ASKED)}, got {' and '.join(asked)}"
        )
    usual_zone = caller.principal.time_zone
    version = None
    if source is not None:
        tariff = (await asyncio.to_thread(read_source, source)).tariff
        day = _day(case, tariff.time_zone or usual_zone, clock)
    else:
        day = _day(case, usual_zone, clock)
        at = clock.now()
        if "date" in case:
            at = datetime.combine(day, time(12), ZoneInfo(usual_zone)).astimezone(UTC)
        row = await tariffs.in_force(caller.principal.utility_id, code or "", at)
        tariff, version = stored_tariff(row["body"]), row["version"]
    if tariff.time_zone is None:
        tariff = replace(tariff, time_zone=usual_zone)
    try:
        return _answer(tariff, version, day, CaseInputs({**case, "date": f"{day}"}))
    except VectorError as error:
        raise Refused("case_wrong", error.message, field=error.field) from error


def _day(case: Mapping[str, object], time_zone: str, clock: Clock) -> date:
    given = case.get("date")
    if given is None:
        return clock.now().astimezone(ZoneInfo(time_zone)).date()
    try:
        return date.fromisoformat(str(given))
    except ValueError as error:
        raise Refused("case_wrong", f"expected a date, got {given!r}", field="date") from error


def _answer(tariff: Tariff, version: int | None, day: date, inputs: CaseInputs) -> TariffPrice:
    situation = situation_of(tariff, {}, inputs, 0)
    volume = _volume(tariff, inputs)
    in_force(tariff, day)
    plan = compiled(tariff).plan(situation, local_day(situation.at_us, situation.time_zone))
    priced = _priced(tariff, situation, inputs, volume) if plan.regimes else None
    bought = 0 if priced is None else priced.counted_units
    level = level_at(plan, situation.prior_units + bought, 0, None)
    charges = tuple(
        (item, fixed_amount(plan, item, situation, level=level))
        for item in tariff.fixed_items
        if holds(item.when, situation, day)
        and (item.measure is not Measure.LOAD_KW or situation.load_w is not None)
    )
    return TariffPrice(
        tariff=tariff,
        version=version,
        day=day,
        priced=priced,
        blocks=block_rates(tariff, situation),
        charges=charges,
        volume=volume,
    )


def _priced(
    tariff: Tariff, situation: Situation, inputs: CaseInputs, volume: Volume | None
) -> Priced | None:
    tender = inputs.money("tender", tariff.currency)
    if tender is not None:
        return price_tender(tariff, situation, tender)
    units = inputs.whole("units", sold_unit_of(tariff))
    if volume is not None:
        units = round_to_int(volume.energy_wh, Rounding.HALF_UP)
    return None if units is None else price_units(tariff, situation, units)


def _volume(tariff: Tariff, inputs: CaseInputs) -> Volume | None:
    metric, imperial = inputs.decimal("m3"), inputs.decimal("units_hundred_ft3")
    content = tariff.energy_content
    if metric is None and imperial is None:
        return None
    if content is None:
        raise Refused("no_energy_content", f"tariff {tariff.code} does not price gas by its energy")
    if imperial is not None:
        ml = imperial_volume_ml(content, imperial)
    else:
        ml = (metric or Decimal(0)) * ML_PER_M3
    energy = energy_of_volume(content, ml, inputs.decimal("cv"))
    return Volume(ml, corrected_volume(content, ml), energy)

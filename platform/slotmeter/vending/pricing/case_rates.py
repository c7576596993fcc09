"""Cases that ask for a rate with its tax, or for the energy of a volume of gas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Final

from slotmeter.units import CURRENCY_EXPONENTS
from slotmeter.vending.pricing.by_use import level_at
from slotmeter.vending.pricing.case_inputs import CaseInputs, same_name, words_of
from slotmeter.vending.pricing.case_results import CENTS, ML_PER_M3, Result, unknown_result
from slotmeter.vending.pricing.chosen import local_day
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.engine import BlockRate, block_rates
from slotmeter.vending.pricing.fixed import fixed_amount
from slotmeter.vending.pricing.gas import corrected_volume, energy_of_volume, imperial_volume_ml
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.sts.vector_inputs import VectorError
from slotmeter.vending.tariff.model import EnergyContent, FixedItem, Tariff

__all__ = ["rate_results", "volume_results"]

WH_PER_KWH: Final = 1_000

Results = Callable[[str], Result]


# --- rates ----------------------------------------------------------------------------------------


def rate_results(tariff: Tariff, situation: Situation, inputs: CaseInputs) -> Results:
    """Return what a rate comes to with everything on it, by the name of the result.

    ``name`` is ``energy`` (with ``block`` for another block than the first) or the code or label
    of a fixed charge. ``rate_incl_vat`` is a price per unit, ``rate_incl_vat_c`` a hundred times
    that, ``amount_incl_vat`` the amount of a charge; ``..._excl_vat`` the same without tax.
    """
    name = inputs.text("name") or "energy"
    item = _charge(tariff, name)
    if item is not None:
        plan = compiled(tariff).plan(situation, local_day(situation.at_us, situation.time_zone))
        level = level_at(plan, situation.prior_units, 0, None)
        amount = fixed_amount(plan, item, situation, level=level)
        exponent = CURRENCY_EXPONENTS.get(tariff.currency, 2)
        amounts = {
            "amount_incl_vat": Decimal(amount.with_all).scaleb(-exponent),
            "amount_excl_vat": Decimal(amount.net).scaleb(-exponent),
        }
        return lambda key: Result(_of(amounts, key))
    if words_of(name)[:1] not in (("energy",), ("block",), words_of(tariff.energy.label)[:1]):
        raise VectorError(
            "vector_field_wrong", f"the tariff has no charge called {name!r}", field="name"
        )
    rate = _block(block_rates(tariff, situation), name, inputs)
    rates = {"rate_incl_vat": rate.all_in, "rate_excl_vat": Decimal(rate.price)}
    rates |= {f"{key}_c": rate * CENTS for key, rate in rates.items()}
    return lambda key: Result(_of(rates, key), is_rounded=True)


def _of(results: Mapping[str, Decimal], key: str) -> Decimal:
    if key not in results:
        raise unknown_result(key)
    return results[key]


def _charge(tariff: Tariff, name: str) -> FixedItem | None:
    """Return the fixed charge of a name, exactly so called or the only one that is so in part."""
    for item in tariff.fixed_items:
        if same_name(item.code, name) or same_name(item.label, name):
            return item
    asked = set(words_of(name))
    near = [
        item
        for item in tariff.fixed_items
        if any(set(words_of(each)) <= asked for each in (item.code, item.label))
        or asked <= set(words_of(item.label))
    ]
    return near[0] if len(near) == 1 else None


def _block(rates: Iterable[BlockRate], name: str, inputs: CaseInputs) -> BlockRate:
    number = inputs.whole("block")
    if number is None:
        digits = [word for word in words_of(name) if word.removeprefix("block").isdigit()]
        number = int(digits[0].removeprefix("block")) if digits else 1
    for rate in rates:
        if rate.block == number:
            return rate
    raise VectorError("vector_field_wrong", f"the tariff has no block {number}", field="block")


# --- volume of gas --------------------------------------------------------------------------------


def volume_results(tariff: Tariff, inputs: CaseInputs) -> Results:
    """Return the energy of a volume of gas, ``kwh``, and ``corrected_m3``.

    The volume is ``m3``, or ``units_hundred_ft3`` of an imperial meter; ``cv`` its calorific value.
    A case that expects ``corrected_m3`` rounds it to as many decimals before it goes on, unless
    the tariff says how it is rounded.
    """
    content = tariff.energy_content
    if content is None:
        raise VectorError(
            "vector_field_wrong", f"tariff {tariff.code} has no energy_content", field="kind"
        )
    expected = inputs.data["expect"]
    published = expected.get("corrected_m3") if isinstance(expected, dict) else None
    if content.volume_step is None and isinstance(published, str):
        _, _, decimals = published.partition(".")
        content = replace(content, volume_step=Decimal(1).scaleb(-len(decimals)))
    volume_ml = _volume_ml(content, inputs)
    calorific_value = inputs.decimal("cv")
    results = {
        "kwh": energy_of_volume(content, volume_ml, calorific_value) / WH_PER_KWH,
        "corrected_m3": corrected_volume(content, volume_ml) / ML_PER_M3,
    }
    return lambda key: Result(_of(results, key), is_rounded=True)


def _volume_ml(content: EnergyContent, inputs: CaseInputs) -> Decimal:
    metric, imperial = inputs.decimal("m3"), inputs.decimal("units_hundred_ft3")
    if (metric is None) == (imperial is None):
        raise VectorError(
            "vector_field_missing", "expected either m3 or units_hundred_ft3", field="m3"
        )
    if metric is not None:
        return metric * ML_PER_M3
    return imperial_volume_ml(content, imperial or Decimal(0))

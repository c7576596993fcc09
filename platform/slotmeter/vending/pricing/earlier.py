"""What was bought before in the window: where the counter starts, and what was paid for units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slotmeter.vending.pricing.chosen import local_day, table_for
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.plan import ENDLESS, Plan
from slotmeter.vending.pricing.situation import PricedBefore, Situation
from slotmeter.vending.tariff.model import Missed, Tariff

__all__ = ["EarlierSale", "carried_over", "has_prices_to_correct", "priced_before"]


@dataclass(frozen=True, slots=True)
class EarlierSale:
    """A sale of the window, priced by the same tariff.

    Args:
        situation: that it was priced for.
        counted_units: the block counter moved by this.
        lifeline_units: change of the units that a later sale corrects; see ``Priced``.
    """

    situation: Situation
    counted_units: int
    lifeline_units: int


def has_prices_to_correct(tariff: Tariff) -> bool:
    """Say whether units to be corrected may have been sold at the prices of another table."""
    tables = tariff.energy.tables
    return len(tables) > 1 and any(table.corrects for table in tables.values())


def carried_over(plan: Plan, situation: Situation) -> int:
    """Return by how much the block counter starts below zero after windows without a purchase."""
    counter = plan.tariff.energy.counter
    if counter.missed is not Missed.ACCUMULATE or situation.missed_windows <= 0:
        return 0
    first = plan.regimes[0].segments[0].end if plan.regimes else ENDLESS
    return 0 if first == ENDLESS else first * min(situation.missed_windows, counter.months_max)


def priced_before(
    tariff: Tariff, situation: Situation, sales: Iterable[EarlierSale]
) -> tuple[PricedBefore, ...]:
    """Return what was paid for the units of the window that a correction takes back.

    Nothing where that is what the buyer's own table asks for the total so far, as it is unless
    the table changed within the window, with the customer's class or on a date.

    Args:
        tariff: the prices.
        situation: the buyer now.
        sales: of the window that moved ``lifeline_units``, in the order in which they were made.
    """
    found: list[PricedBefore] = []
    for sale in sales:
        found = _after(tariff, found, sale)
    if not found:
        return ()
    now = local_day(situation.at_us, situation.time_zone)
    table = table_for(tariff, situation, now).code
    plan = compiled(tariff).plan(situation, now)
    at = plan.regime_of(situation.prior_units - carried_over(plan, situation))
    is_own = all(each.table == table and plan.regime_of(each.total) == at for each in found)
    return () if is_own else tuple(found)


def _after(tariff: Tariff, found: Sequence[PricedBefore], sale: EarlierSale) -> list[PricedBefore]:
    """Return what is to be corrected after one more sale."""
    if sale.lifeline_units < 0:
        return []  # it corrected all of them for good
    situation = sale.situation
    day = local_day(situation.at_us, situation.time_zone)
    plan = compiled(tariff).plan(situation, day)
    table = table_for(tariff, situation, day).code
    before = situation.prior_units - carried_over(plan, situation)
    total = before + sale.counted_units
    units = sale.lifeline_units
    if plan.regime_of(before) != plan.regime_of(total):
        units += sum(each.units for each in found)  # it brought them to its own price
    elif found and found[-1] == PricedBefore(table, before, found[-1].units):
        *rest, last = found
        return [*rest, PricedBefore(table, total, last.units + units)]
    else:
        return [*found, PricedBefore(table, total, units)]
    return [PricedBefore(table, total, units)]

"""What comes after a purchase: the next unit's price, and what the same money buys on the 1st."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

from slotmeter.errors import Refused
from slotmeter.vending.pricing.amounts import line_amounts, percents_of_tender
from slotmeter.vending.pricing.by_tender import divides, units_by_division
from slotmeter.vending.pricing.chosen import cap_percent, in_force
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.fixed import constant, items_due
from slotmeter.vending.pricing.plan import ENDLESS, Plan
from slotmeter.vending.pricing.priced import Outlook
from slotmeter.vending.pricing.repaid import repaid
from slotmeter.vending.pricing.settle import Purchase, Settled, settle
from slotmeter.vending.pricing.solve import Counted, units_at_once

__all__ = ["next_unit", "outlook_of"]

MONTHS_PER_YEAR = 12


def outlook_of(purchase: Purchase, settled: Settled) -> Outlook:
    """Return the outlook after a settled purchase."""
    position = purchase.counted.prior
    if settled.bought is not None:
        position += settled.bought.priced
    block, left, price = next_unit(purchase.plan, position)
    units = None
    if purchase.situation.is_meter_credit and purchase.plan.regimes:
        units = _first_of_month(purchase, settled)
    return Outlook(block, left, price, units)


def next_unit(plan: Plan, position: int) -> tuple[int | None, int | None, str | None]:
    """Return block, units left in it and price of the unit after a value of the block counter.

    The block is None where there is one price for all units, all three where there is none.
    """
    if not plan.regimes:
        return None, None, None
    regime = plan.regimes[plan.regime_of(position + 1)]
    for segment in regime.segments:
        if segment.end > position:
            is_single = len(plan.regimes) == 1 and len(regime.segments) == 1
            end = min(segment.end, regime.high)
            left = None if end == ENDLESS else end - position
            is_flat = is_single and left is None
            return None if is_flat else segment.block, left, segment.price
    return None, None, None


def _first_of_month(purchase: Purchase, settled: Settled) -> int | None:
    """Price the same tender on the 1st of next month, with nothing bought before.

    Debts stand as they do after this purchase; of fixed charges those of one month, or one day,
    are open.
    """
    situation, tender = purchase.situation, settled.tender
    ready = compiled(purchase.plan.tariff)
    day = _first_of_next_month(purchase.day)
    before = {debt.debt_id: minor for debt, minor in settled.debts} if settled.debts else None
    cap = purchase.cap
    try:
        in_force(ready.tariff, day)
        plan = ready.plan(situation, day, tender)
        if purchase.debts:
            cap = cap_percent(ready.tariff.debt_caps, situation, day, tender)
        money = _money(plan, purchase, tender, cap, before, day)
        if money is not None:
            at_once = units_by_division if divides(plan) else units_at_once
            units = at_once(plan, purchase.delivery, money)
            if units is not None:
                return units
        later = replace(
            purchase,
            plan=plan,
            day=day,
            counted=Counted(0, 0),
            cap=cap,
            advance=0,
            charges=items_due(plan, situation, ready.new_charges(situation, day), day),
            repaid_before=before,
            period=None,
        )
        result = settle(later, tender)
    except Refused:
        return None
    if result is None or result.bought is None or result.bought.is_beyond:
        return None
    return result.bought.delivered


def _money(
    plan: Plan,
    purchase: Purchase,
    tender: int,
    cap: Decimal | None,
    before: Mapping[int, int] | None,
    day: date,
) -> int | None:
    """Return what is left for units on the 1st, over the plan's denominator.

    Returns:
        None where charges depend on the tender or on the units.
    """
    if plan.has_split or plan.by_use or plan.tender_limits:
        return None
    left = tender
    if purchase.debts:
        left -= sum([minor for _, minor in repaid(purchase.debts, tender, cap, before)])
    due = compiled(plan.tariff).new_constant(plan, purchase.situation, day)
    if plan.on_tender:
        of_tender = percents_of_tender(plan, tender)
        if divides(plan):
            due += line_amounts(plan, [], [], (), of_tender).total * plan.denominator
        else:
            due += constant(plan, (), of_tender)
    return left * plan.denominator - due


def _first_of_next_month(day: date) -> date:
    year, month = divmod(day.year * MONTHS_PER_YEAR + day.month, MONTHS_PER_YEAR)
    return date(year, month + 1, 1)

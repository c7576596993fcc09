"""What comes after a purchase: the next unit's price, and what the same money buys on the 1st."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from slotmeter.errors import Refused
from slotmeter.vending.pricing.chosen import cap_percent, holds, in_force
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.fixed import items_due
from slotmeter.vending.pricing.plan import ENDLESS, Plan
from slotmeter.vending.pricing.priced import Outlook
from slotmeter.vending.pricing.settle import Purchase, Settled, settle
from slotmeter.vending.pricing.situation import ChargeState, DebtState
from slotmeter.vending.pricing.solve import Counted
from slotmeter.vending.tariff.model import Collection

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
    try:
        later = _on_the_first(purchase, settled.debts)
        result = settle(later, settled.tender)
    except Refused:
        return None
    if result is None or result.bought is None or result.bought.is_beyond:
        return None
    return result.bought.delivered


def _on_the_first(purchase: Purchase, repaid: Sequence[tuple[DebtState, int]]) -> Purchase:
    tariff, situation = purchase.plan.tariff, purchase.situation
    day = _first_of_next_month(purchase.day)
    in_force(tariff, day)
    plan = compiled(tariff).plan(situation, day)
    charges: list[ChargeState] = []
    for item in tariff.fixed_items:
        if item.collect is not Collection.PURCHASE and holds(item.when, situation, day):
            is_daily = item.collect is Collection.DAY
            charges.append(ChargeState(item.code, f"{day}" if is_daily else f"{day:%Y-%m}"))
    debts: Sequence[DebtState] = purchase.debts
    if repaid:
        taken = {debt.debt_id: minor for debt, minor in repaid}
        debts = [
            replace(debt, balance_minor=debt.balance_minor - taken.get(debt.debt_id, 0))
            for debt in debts
        ]
    cap = cap_percent(tariff.debt_caps, situation, day) if debts else None
    return Purchase(
        plan=plan,
        situation=situation,
        day=day,
        delivery=purchase.delivery,
        counted=Counted(0, 0),
        cap=None if cap is None else cap.percent,
        debts=debts,
        advance=0,
        charges=items_due(plan, situation, charges, day),
    )


def _first_of_next_month(day: date) -> date:
    year, month = divmod(day.year * MONTHS_PER_YEAR + day.month, MONTHS_PER_YEAR)
    return date(year, month + 1, 1)

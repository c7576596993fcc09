"""How a tender is used up: debts, fixed charges, percentages of it, and what is left for units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import partial

from slotmeter.vending.pricing.amounts import (
    Amounts,
    add_percents,
    line_amounts,
    lines_sum,
    percents_of_tender,
)
from slotmeter.vending.pricing.by_tender import buy_by_division, divides, fixed_percents, stops
from slotmeter.vending.pricing.by_use import Level, Reach, level_at, reaches
from slotmeter.vending.pricing.chosen import cap_percent
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.delivery import Delivery
from slotmeter.vending.pricing.fixed import (
    FixedAmount,
    FixedTaken,
    constant,
    fixed_taken,
    part_of,
)
from slotmeter.vending.pricing.limits import TOKEN_MONEY_STEPS, money_carried_e5
from slotmeter.vending.pricing.plan import Plan
from slotmeter.vending.pricing.repaid import repaid
from slotmeter.vending.pricing.situation import (
    ChargeState,
    DebtState,
    PriceChange,
    Situation,
    Transfer,
)
from slotmeter.vending.pricing.solve import Bought, Counted, buy
from slotmeter.vending.tariff.model import FixedItem

__all__ = ["Purchase", "Settled", "at_tender", "pay_charges", "settle", "transfer_e5"]


@dataclass(frozen=True, slots=True)
class Purchase:
    """A buyer at an instant, with the prices that apply.

    Args:
        plan: the prices.
        situation: as given.
        day: the local date.
        delivery: how units are counted out.
        counted: the block counter before the units that are bought.
        cap: percent of the tender that debts may take; None for no cap.
        debts: open ones.
        repaid_before: repaid since their balances were taken, by debt; None for nothing.
        advance: minor units kept from an earlier purchase, less what earlier sales cost more now.
        charges: fixed charges that are open.
        period: that charges by use are for; None for any.
        changes: what earlier sales cost more now, or less.
    """

    plan: Plan
    situation: Situation
    day: date
    delivery: Delivery
    counted: Counted
    cap: Decimal | None
    debts: Sequence[DebtState]
    advance: int
    charges: Sequence[tuple[FixedItem, ChargeState]]
    repaid_before: Mapping[int, int] | None = None
    period: str | None = None
    changes: Sequence[PriceChange] = ()

    def level(self, priced: int = 0) -> Level:
        """Return what charges by use look at when so many units are bought."""
        total = self.counted.prior + self.situation.used_units + priced
        return level_at(self.plan, total, self.counted.carried, self.period)


@dataclass(frozen=True, slots=True)
class Settled:
    """A tender used up; all amounts in minor units.

    Args:
        tender: what the buyer pays.
        debts: repaid.
        fixed: fixed charges taken.
        amounts: of the lines of units and percentages.
        bought: units; None when none are made.
        credit: into a platform-held balance.
        kept: for the next purchase.
        rounding: what the lines leave.
        fixed_percents: percentages of each fixed charge, where these have lines of their own.
    """

    tender: int
    debts: Sequence[tuple[DebtState, int]]
    fixed: Sequence[FixedTaken]
    amounts: Amounts
    bought: Bought | None
    credit: int
    kept: int
    rounding: int
    fixed_percents: Sequence[list[int]] | None = None


def at_tender(purchase: Purchase, tender: int) -> Purchase:
    """Return a purchase with what applies to a tender of so much, minor units."""
    plan = purchase.plan
    if not plan.tender_limits:
        return purchase
    situation, day = purchase.situation, purchase.day
    cap = None
    if purchase.debts:
        cap = cap_percent(plan.tariff.debt_caps, situation, day, tender)
    return replace(purchase, plan=compiled(plan.tariff).plan(situation, day, tender), cap=cap)


def _repaid(purchase: Purchase, tender: int) -> list[tuple[DebtState, int]]:
    if not purchase.debts:
        return []
    return repaid(purchase.debts, tender, purchase.cap, purchase.repaid_before)


def settle(purchase: Purchase, tender: int) -> Settled | None:
    """Use up a tender; None when it does not buy the smallest amount, or a coin on a token.

    Raises:
        Refused: ``too_much_for_one_token`` or ``load_unknown``.
    """
    settled = _used_up(purchase, tender)
    if purchase.situation.transfer is not Transfer.CURRENCY:
        return settled
    if settled is None or settled.bought is None or settled.bought.is_beyond:
        return settled
    # Less than a coin on the token would be units that nobody can use.
    coin_e5 = TOKEN_MONEY_STEPS // purchase.plan.scale
    return settled if transfer_e5(purchase, settled) >= coin_e5 else None


def transfer_e5(purchase: Purchase, settled: Settled) -> int:
    """Return what a token of money carries of the energy lines, in 0.00001 of the currency."""
    # A gain by rounding to units may lift the energy lines above the tender.
    paid = min(sum(settled.amounts.energy), settled.tender + purchase.advance)
    return money_carried_e5(paid, purchase.plan.scale, has_grid=purchase.situation.sts_grid)


def _used_up(purchase: Purchase, tender: int) -> Settled | None:
    purchase = at_tender(purchase, tender)
    plan = purchase.plan
    debts = _repaid(purchase, tender)
    left = tender + purchase.advance
    for _, amount in debts:
        left -= amount
    of_tender = percents_of_tender(plan, tender)
    if not purchase.situation.is_meter_credit:
        fixed = _fixed(purchase, tender, None)
        return _credited(plan, tender, left, debts, fixed, of_tender)
    now = purchase.level()
    for reach in reaches(plan, now, purchase.counted.carried, purchase.charges):
        fixed = _fixed(purchase, tender, reach)
        settled = _within(purchase, tender, left, debts, fixed, of_tender, reach)
        if settled is not None:
            return settled
    return None


def _fixed(purchase: Purchase, tender: int, reach: Reach | None) -> list[FixedTaken]:
    """Return the charges that are taken when the purchase ends in a range of the window's total."""
    more = 0 if reach is None else max(0, reach.low + 1 - purchase.counted.prior)
    level = purchase.level(more)
    return fixed_taken(purchase.plan, purchase.charges, purchase.situation, tender, level)


def _within(
    purchase: Purchase,
    tender: int,
    left: int,
    debts: Sequence[tuple[DebtState, int]],
    fixed: Sequence[FixedTaken],
    of_tender: Sequence[int],
    reach: Reach,
) -> Settled | None:
    """Buy units up to a total of the window; None when it is not reached."""
    plan = purchase.plan
    if divides(plan):
        done, settled = _divided(purchase, tender, left, debts, fixed, of_tender, reach)
        if done:
            return settled
    money = left * plan.denominator
    if fixed or plan.on_tender:
        money -= constant(plan, fixed, of_tender)
    if money < 0:
        return None
    cost = partial(line_amounts, plan, fixed=fixed, of_tender=of_tender)
    bought = buy(plan, purchase.delivery, purchase.counted, money, cost, left, reach)
    if bought is None:
        return None
    kept = max(0, left - bought.amounts.total) if bought.is_stopped else 0
    # Where prices are not stepped, what all costs is what the lines come to.
    lines = lines_sum(bought.amounts, fixed) if plan.is_stepped else bought.amounts.total
    return Settled(tender, debts, fixed, bought.amounts, bought, 0, kept, left - kept - lines)


def _credited(
    plan: Plan,
    tender: int,
    left: int,
    debts: Sequence[tuple[DebtState, int]],
    fixed: Sequence[FixedTaken],
    of_tender: Sequence[int],
) -> Settled | None:
    """Take what is due now and credit the rest; units are priced when they are used."""
    if divides(plan):
        percents = [fixed_percents(plan, each) for each in fixed]
        amounts = line_amounts(plan, [], [], (), of_tender)
        total = amounts.total
        total += sum(each.taken.net + sum(own) for each, own in zip(fixed, percents, strict=True))
        credit = left - total
        if credit <= 0:
            return None
        return Settled(tender, debts, fixed, amounts, None, credit, 0, 0, percents)
    amounts = line_amounts(plan, [], [], fixed, of_tender)
    credit = left - amounts.total
    if credit <= 0:
        return None
    rounding = amounts.total - lines_sum(amounts, fixed)
    return Settled(tender, debts, fixed, amounts, None, credit, 0, rounding)


def _divided(
    purchase: Purchase,
    tender: int,
    left: int,
    debts: Sequence[tuple[DebtState, int]],
    fixed: Sequence[FixedTaken],
    of_tender: Sequence[int],
    reach: Reach,
) -> tuple[bool, Settled | None]:
    """Settle by division; (False, None) if money is kept, so that units say what all costs."""
    plan = purchase.plan
    percents = [fixed_percents(plan, each) for each in fixed]
    for each, own in zip(fixed, percents, strict=True):
        left -= each.taken.net + sum(own)
    top = line_amounts(plan, [], [], (), of_tender) if plan.on_tender else None
    if top is not None:
        left -= top.total
    if left <= 0:
        return True, None
    if stops(plan, purchase.counted, left, reach):
        return False, None
    divided = buy_by_division(plan, purchase.delivery, purchase.counted, left, reach)
    if divided is None:
        return True, None
    if divided.bought.is_stopped:
        return False, None
    amounts = divided.bought.amounts
    if top is not None:
        add_percents(amounts, top)
    rounding = divided.net - divided.lines
    return True, Settled(tender, debts, fixed, amounts, divided.bought, 0, 0, rounding, percents)


def pay_charges(purchase: Purchase, tender: int) -> Settled | None:
    """Take a tender that is too small for units towards debts and charges, in order.

    Returns:
        None when there is nothing to pay.
    """
    purchase = at_tender(purchase, tender)
    plan = purchase.plan
    debts = _repaid(purchase, tender)
    left = tender + purchase.advance - sum(amount for _, amount in debts)
    of_tender = percents_of_tender(plan, tender)
    top = line_amounts(plan, [], [], (), of_tender).total
    taken: list[FixedTaken] = []
    for each in _fixed(purchase, tender, None):
        part = _affordable(plan, each, taken, of_tender, left)
        if part is not None:
            taken.append(part)
    if (not taken and not debts) or top > left:
        return None
    percents = None
    if divides(plan):
        percents = [fixed_percents(plan, each) for each in taken]
        amounts = line_amounts(plan, [], [], (), of_tender)
        lines = lines_sum(amounts, taken) + sum(sum(own) for own in percents)
    else:
        amounts = line_amounts(plan, [], [], taken, of_tender)
        lines = lines_sum(amounts, taken)
    return Settled(tender, debts, taken, amounts, None, 0, left - lines, 0, percents)


def _affordable(
    plan: Plan,
    each: FixedTaken,
    taken: Sequence[FixedTaken],
    of_tender: Sequence[int],
    left: int,
) -> FixedTaken | None:
    """Return as much of a charge as there is money for, with what lies on it."""

    def total(net: int) -> tuple[FixedTaken, int]:
        part: FixedAmount = part_of(plan, each.item.code, each.due, net)
        open_net = each.left + each.taken.net - net
        whole = replace(each, taken=part, left=open_net)
        if divides(plan):
            every = [*taken, whole]
            top = line_amounts(plan, [], [], (), of_tender).total
            own = sum(one.taken.net + sum(fixed_percents(plan, one)) for one in every)
            return whole, top + own
        return whole, lines_sum(
            line_amounts(plan, [], [], [*taken, whole], of_tender), [*taken, whole]
        )

    low, high = 0, each.taken.net
    while low < high:
        middle = (low + high + 1) // 2
        if total(middle)[1] <= left:
            low = middle
        else:
            high = middle - 1
    return total(low)[0] if low > 0 else None

"""What stated units cost: the smallest tender that pays for them with all that is due."""

from __future__ import annotations

from slotmeter.errors import Refused
from slotmeter.vending.pricing.amounts import (
    Part,
    add_percents,
    line_amounts,
    lines_sum,
    parts_between,
    percents_of_tender,
    undone,
)
from slotmeter.vending.pricing.by_tender import divides, fixed_percents, with_taxes
from slotmeter.vending.pricing.fixed import fixed_taken
from slotmeter.vending.pricing.refusals import TENDER_MINOR_MAX, no_price_for_units
from slotmeter.vending.pricing.repaid import repaid
from slotmeter.vending.pricing.settle import Purchase, Settled, at_tender
from slotmeter.vending.pricing.solve import Bought

__all__ = ["parts_of_units", "settle_units"]


def parts_of_units(purchase: Purchase, priced: int) -> tuple[list[Part], list[Part], int]:
    """Return the parts of priced units, what is taken back, and the regime's position.

    Raises:
        Refused: ``no_price_for_units``.
    """
    plan, prior = purchase.plan, purchase.counted.prior
    first, last = plan.regime_of(prior), plan.regime_of(prior + priced)
    regime = plan.regimes[last]
    if prior + priced > regime.high:
        raise no_price_for_units(plan.tariff)
    counted = purchase.counted
    taken_back = undone(plan, first, last, prior, counted.correctable, counted.priced_before)
    return parts_between(regime, prior, prior + priced), taken_back, last


def settle_units(purchase: Purchase, units: int) -> Settled:
    """Return what stated units cost, as priced units, with all that is due.

    Raises:
        Refused: ``units_not_positive`` or ``no_price_for_units``.
    """
    if units <= 0:
        raise Refused(
            "units_not_positive", f"expected more than zero units, got {units}", field="units"
        )
    limits = purchase.plan.tender_limits
    for low, high in zip((-1, *limits), (*limits, TENDER_MINOR_MAX), strict=True):
        settled = _smallest(at_tender(purchase, high), units, low, high)
        if settled is not None:
            return settled
    raise Refused(
        "no_price_for_units",
        "no tender pays for so many units: debts or percentages take all of it",
        field="units",
    )


def _smallest(purchase: Purchase, units: int, low: int, top: int) -> Settled | None:
    """Return the lines of the smallest tender above one, and up to another, that pays for units."""
    parts, taken_back, regime = parts_of_units(purchase, units)
    high = low + 1
    settled, left = _settled(purchase, units, parts, taken_back, regime, high)
    while left < 0:
        if high == top:
            return None
        low, high = high, min(top, max(high + 1, 2 * high, high - left))
        settled, left = _settled(purchase, units, parts, taken_back, regime, high)
    while high - low > 1 and left > 0:
        middle = (low + high) // 2
        attempt, rest = _settled(purchase, units, parts, taken_back, regime, middle)
        if rest >= 0:
            high, settled, left = middle, attempt, rest
        else:
            low = middle
    return settled


def _settled(
    purchase: Purchase,
    priced: int,
    parts: list[Part],
    taken_back: list[Part],
    regime: int,
    tender: int,
) -> tuple[Settled, int]:
    """Return the lines if so much is tendered, and what is left; below zero if it is too little."""
    plan = purchase.plan
    debts = repaid(purchase.debts, tender, purchase.cap)
    level = purchase.level(priced)
    fixed = fixed_taken(plan, purchase.charges, purchase.situation, tender, level)
    of_tender = percents_of_tender(plan, tender)
    percents = None
    if divides(plan):
        percents = [fixed_percents(plan, each) for each in fixed]
        amounts, total = with_taxes(plan, parts, taken_back)
        top = line_amounts(plan, [], [], (), of_tender)
        add_percents(amounts, top)
        total += top.total
        total += sum(each.taken.net + sum(own) for each, own in zip(fixed, percents, strict=True))
        lines = lines_sum(amounts, fixed) + sum(sum(own) for own in percents)
    else:
        amounts = line_amounts(plan, parts, taken_back, fixed, of_tender)
        total = amounts.total
        lines = lines_sum(amounts, fixed)
    left = tender + purchase.advance - sum(amount for _, amount in debts) - total
    rounding = total - lines
    delivered = priced
    if purchase.delivery.content is not None:
        share = purchase.delivery.per_priced
        delivered = (2 * priced * share.numerator + share.denominator) // (2 * share.denominator)
    bought = Bought(delivered, priced, regime, amounts, is_stopped=False, is_beyond=False)
    kept = 0
    if left > 0 and tender == 0:
        kept = left
    else:
        rounding += left
    settled = Settled(tender, debts, fixed, amounts, bought, 0, kept, rounding, percents)
    return settled, left

"""Refusals that say what to tender instead; the amounts are verified by pricing them."""

from __future__ import annotations

from collections.abc import Callable

from slotmeter.errors import Refused
from slotmeter.vending.pricing.fixed import fixed_taken
from slotmeter.vending.pricing.plan import Plan
from slotmeter.vending.pricing.repaid import repaid
from slotmeter.vending.pricing.settle import Purchase, settle
from slotmeter.vending.tariff.model import Tariff

__all__ = ["beyond", "no_price_for_units", "no_price_in_advance", "too_small"]

TENDER_MINOR_MAX = 10**15
"""No purchase is larger: 12 digits before the point, three decimals."""


def too_small(purchase: Purchase, tender: int) -> Refused:
    """Return the refusal of a tender that buys nothing after what is due, with what would."""
    plan = purchase.plan
    if purchase.situation.is_meter_credit:
        room = plan.regimes[-1].high - purchase.counted.prior
        if room < purchase.delivery.priced(purchase.delivery.smallest):
            return _beyond(plan, 0)
    needed = _smallest(lambda amount: _buys(purchase, amount), tender)
    debts = repaid(purchase.debts, tender, purchase.cap)
    level = purchase.level()
    fixed = fixed_taken(plan, purchase.charges, purchase.situation, tender, level)
    details: dict[str, object] = {
        "debts": plan.major(sum(amount for _, amount in debts)),
        "charges": [
            {
                "code": each.item.code,
                "label": each.item.label,
                "period": each.period,
                "amount": plan.major(each.taken.with_all),
            }
            for each in fixed
        ],
    }
    if needed is None:
        return Refused(
            "tender_too_small",
            "no amount buys anything now: debts or percentages take all of it",
            field="tendered",
            details=details,
        )
    details["needed"] = plan.major(needed)
    details["missing"] = plan.major(needed - tender)
    due = [each.item.label for each in fixed] + [debt.label for debt, _ in debts]
    due += [each.label for each in purchase.changes if each.minor > 0]
    of_what = f" ({', '.join(dict.fromkeys(due))})" if due else ""
    return Refused(
        "tender_too_small",
        f"at least {plan.major(needed)} {plan.tariff.currency} is needed now: what is due{of_what} "
        f"and the smallest amount of {plan.tariff.commodity.value}",
        field="tendered",
        details=details,
    )


def beyond(purchase: Purchase, tender: int) -> Refused:
    """Return the refusal of a tender that would buy units without a price."""
    plan = purchase.plan
    smallest = _smallest(lambda amount: _is_beyond(purchase, amount), 0)
    return _beyond(plan, tender if smallest is None else smallest - 1)


def _beyond(plan: Plan, largest: int) -> Refused:
    return Refused(
        "no_price_for_units",
        f"tariff {plan.tariff.code} has no price for so many units; at most "
        f"{plan.major(largest)} {plan.tariff.currency} can be tendered now",
        field="tendered",
        details={"largest": plan.major(largest)},
    )


def no_price_for_units(tariff: Tariff) -> Refused:
    """Return the refusal of an amount of units that goes beyond the last block."""
    return Refused(
        "no_price_for_units",
        f"tariff {tariff.code} has no price for so many units in one window",
        field="units",
    )


def no_price_in_advance(tariff: Tariff) -> Refused:
    """Return the refusal of a purchase under prices that are known only when units are used."""
    return Refused(
        "no_price_in_advance",
        f"tariff {tariff.code} is priced by the time of use; units cannot be bought in advance",
        field="tariff",
    )


def _buys(purchase: Purchase, tender: int) -> bool:
    try:
        return settle(purchase, tender) is not None
    except Refused:
        return True  # too much, which is not too little


def _is_beyond(purchase: Purchase, tender: int) -> bool:
    try:
        settled = settle(purchase, tender)
    except Refused:
        return True
    return settled is not None and settled.bought is not None and settled.bought.is_beyond


def _smallest(is_enough: Callable[[int], bool], low: int) -> int | None:
    """Return the smallest tender above ``low`` that is enough, by halving; None if none is."""
    high = max(1, 2 * low)
    while not is_enough(high):
        low = high
        high *= 2
        if high > TENDER_MINOR_MAX:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return high

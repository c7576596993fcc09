"""Units for money: the exact inverse of what units cost, segment by segment.

What the units of one regime cost is piecewise linear and rises, so that the amount of money says
the amount of units exactly, as a fraction of integers. Between two regimes the cost may jump: money
that lies in the jump buys up to the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from slotmeter.vending.pricing.amounts import Amounts, Part, parts_between, undone
from slotmeter.vending.pricing.by_use import EVERYWHERE, Reach
from slotmeter.vending.pricing.delivery import Delivery
from slotmeter.vending.pricing.plan import ENDLESS, Plan
from slotmeter.vending.pricing.situation import PricedBefore

__all__ = ["Bought", "Counted", "buy", "exactly", "units_at_once"]

LINE_MINOR_MAX = 2
"""A line differs from its exact amount by less, also where its base was rounded before."""
SMALL_STEPS = 64
"""Steps down taken one by one, where lines rounded up cost more than there is."""


class Counted(msgspec.Struct, frozen=True):
    """Where the block counter stands.

    Args:
        prior: units counted in the window.
        correctable: of these, bought at a price that a correction takes back.
        priced_before: what was paid for the correctable ones, where that is not the price of the
            regime that the counter is in.
        carried: units by which the counter began below zero.
    """

    prior: int
    correctable: int
    priced_before: tuple[PricedBefore, ...] = ()
    carried: int = 0


class Exact(msgspec.Struct, frozen=True):
    """What money buys exactly within one regime.

    Args:
        regime: its position.
        taken_back: of earlier purchases.
        numerator: priced units.
        denominator: of these.
        left: money over the plan's denominator that is left when the end of the regime, or of the
            reach, is reached, or None before.
        start: priced units at which the last segment begins.
    """

    regime: int
    taken_back: list[Part]
    numerator: int
    denominator: int
    left: int | None
    start: int


class Bought(msgspec.Struct, frozen=True):
    """Units for money.

    Args:
        delivered: Wh or mL.
        priced: the same; Wh for gas by energy.
        regime: position of the regime that holds after the purchase.
        amounts: of the lines.
        is_stopped: the end of the regime, or of the reach, is met and there is more money, but not
            enough to go beyond it.
        is_beyond: the last block's end is reached and the money would buy more.
    """

    delivered: int
    priced: int
    regime: int
    amounts: Amounts
    is_stopped: bool
    is_beyond: bool


def exactly(plan: Plan, counted: Counted, money: int, reach: Reach = EVERYWHERE) -> Iterator[Exact]:
    """Yield what money buys in each regime that it reaches, the last first.

    Args:
        plan: the prices.
        counted: the block counter.
        money: minor units over the plan's denominator.
        reach: where the purchase may end.
    """
    prior, top = counted.prior, reach.high
    first = plan.regime_of(prior)
    for at in range(len(plan.regimes) - 1, first - 1, -1):
        regime = plan.regimes[at]
        if regime.high <= reach.low or (at != first and regime.low >= top):
            continue
        taken_back: list[Part] = []
        left = money
        if at != first:
            taken_back = undone(plan, first, at, prior, counted.correctable, counted.priced_before)
            left -= sum([quantity * segment.all_in for segment, quantity in taken_back])
        if left < 0:
            continue
        position = prior
        for segment in regime.segments:
            end = segment.end if segment.end < top else top
            width = end - position
            if width <= 0:
                continue
            cost = width * segment.all_in
            if left < cost:
                numerator = (position - prior) * segment.all_in + left
                exact = Exact(at, taken_back, numerator, segment.all_in, None, position - prior)
                break
            left -= cost
            position = end
        else:
            exact = Exact(at, taken_back, position - prior, 1, left, position - prior)
        low = reach.low if at == first or regime.low < reach.low else regime.low
        if exact.numerator > (low - prior) * exact.denominator:
            yield exact


def buy(
    plan: Plan,
    delivery: Delivery,
    counted: Counted,
    money: int,
    cost: Callable[[list[Part], list[Part]], Amounts],
    budget: int,
    reach: Reach = EVERYWHERE,
) -> Bought | None:
    """Return the units that money buys, or None when it is too little for the smallest amount.

    Args:
        plan: the prices.
        delivery: how units are counted out.
        counted: the block counter.
        money: what is left for units with all that lies on them, over the plan's denominator.
        cost: computes the lines of parts sold and taken back.
        budget: what the lines may come to together, minor units.
        reach: where the purchase may end.
    """
    prior = counted.prior
    first = plan.regime_of(prior)
    for exact in exactly(plan, counted, money, reach):
        regime = plan.regimes[exact.regime]
        more_than = max(0, reach.low - prior)
        if exact.regime != first:
            more_than = max(more_than, regime.low - prior)
        high = min(regime.high, reach.high)
        delivered = delivery.whole(exact.numerator, exact.denominator)
        step_down = delivery.step
        tries = 0
        while (priced := delivery.priced(delivered)) > more_than and delivered > 0:
            if prior + priced <= high:
                parts = parts_between(regime, prior, prior + priced)
                amounts = cost(parts, exact.taken_back)
                if not delivery.is_strict or amounts.total <= budget:
                    return _carried(plan, delivery, counted, exact, delivered, amounts, cost, reach)
            tries += 1
            if tries > SMALL_STEPS:
                step_down *= 2
            delivered = delivery.on_token(delivered - step_down)
    return None


def units_at_once(plan: Plan, delivery: Delivery, money: int) -> int | None:
    """Return what money buys of a window in which nothing was bought, without its lines.

    Returns:
        None when only the lines can tell: when so little is left beside whole units that lines
        which are rounded up could need it, at the end of the blocks, and for several regimes.
    """
    if len(plan.regimes) != 1 or delivery.content is not None or money < 0:
        return None
    exact = next(exactly(plan, Counted(0, 0), money))
    delivered = delivery.whole(exact.numerator, exact.denominator)
    if exact.left is not None or not max(1, exact.start) <= delivered <= delivery.exact_up_to:
        return None
    left = exact.numerator - delivered * exact.denominator
    is_safe = left >= LINE_MINOR_MAX * plan.lines_max * plan.denominator
    return delivered if is_safe else None


def _carried(
    plan: Plan,
    delivery: Delivery,
    counted: Counted,
    exact: Exact,
    delivered: int,
    amounts: Amounts,
    cost: Callable[[list[Part], list[Part]], Amounts],
    reach: Reach,
) -> Bought:
    """Return what is bought, with as many units as the token really carries."""
    regime = plan.regimes[exact.regime]
    carried = delivery.carried(delivered)
    priced = delivery.priced(carried)
    if counted.prior + priced > min(regime.high, reach.high):
        carried = delivery.carried_at_most(delivered)
        priced = delivery.priced(carried)
    if carried != delivered:
        parts = parts_between(regime, counted.prior, counted.prior + priced)
        amounts = cost(parts, exact.taken_back)
    is_last = reach.is_last and exact.regime == len(plan.regimes) - 1
    is_beyond = False
    if is_last and regime.high < ENDLESS and exact.left is not None:
        is_beyond = exact.left >= delivery.priced(delivery.smallest) * regime.segments[-1].all_in
    return Bought(
        delivered=carried,
        priced=priced,
        regime=exact.regime,
        amounts=amounts,
        is_stopped=exact.left is not None and not is_last,
        is_beyond=is_beyond,
    )

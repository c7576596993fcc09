"""Tax divided out of the tender: the price without tax by division, the tax as the remainder.

What is left for units is a price with tax. Dividing it gives money without tax, which buys units;
what rounding to units leaves of it goes to the line ``rounding``, and the tax lies on all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain

from slotmeter.units import Rounding
from slotmeter.vending.pricing.amounts import (
    Amounts,
    Part,
    line_amounts,
    lines_sum,
    parts_between,
    rounded_base,
)
from slotmeter.vending.pricing.by_use import EVERYWHERE, Reach
from slotmeter.vending.pricing.delivery import Delivery
from slotmeter.vending.pricing.fixed import FixedTaken
from slotmeter.vending.pricing.integers import DIVIDE
from slotmeter.vending.pricing.plan import Percentage, Plan, Regime, Segment
from slotmeter.vending.pricing.solve import (
    Bought,
    Counted,
    Exact,
    buy,
    exactly,
    units_at_once,
)
from slotmeter.vending.tariff.model import SplitBy

__all__ = [
    "Divided",
    "buy_by_division",
    "divides",
    "fixed_percents",
    "stops",
    "units_by_division",
    "with_taxes",
]

_half_up = DIVIDE[Rounding.HALF_UP]


@dataclass(frozen=True, slots=True)
class Divided:
    """A tender divided.

    Args:
        bought: units, with the amounts of all lines of the plan.
        net: what is left for units without tax; the lines of units and the rounding come to it.
        lines: what the lines of units come to.
    """

    bought: Bought
    net: int
    lines: int


@lru_cache(maxsize=1_000)
def divides(plan: Plan) -> bool:
    """Say whether the tariff's taxes are divided out of the tender."""
    if plan.tariff.rounding.split_by is not SplitBy.TENDER:
        return False
    taxes = set(plan.taxes)
    # A levy on a tax cannot be told before the tax, which is the remainder.
    return not any(
        taxes.intersection(each.percents) for each in plan.percents if each.kind != "tax"
    )


@lru_cache(maxsize=1_000)
def _without_taxes(plan: Plan) -> Plan:
    """Return the prices without taxes and without percentages of the tender."""
    kept = [
        at for at, each in enumerate(plan.percents) if each.kind != "tax" and not each.on_tender
    ]
    position = {at: new for new, at in enumerate(kept)}

    def percentage(each: Percentage) -> Percentage:
        bases = tuple(position[at] for at in each.percents if at in position)
        return replace(each, percents=bases, is_included=False)

    def segment(each: Segment) -> Segment:
        return replace(
            each,
            percents=tuple(each.percents[at] for at in kept),
            all_in=each.all_in - sum(each.percents[at] for at in plan.taxes),
        )

    def without(regimes: Sequence[Regime]) -> tuple[Regime, ...]:
        return tuple(
            replace(regime, segments=tuple(segment(each) for each in regime.segments))
            for regime in regimes
        )

    return replace(
        plan,
        regimes=without(plan.regimes),
        earlier={table: without(regimes) for table, regimes in plan.earlier.items()},
        percents=tuple(percentage(plan.percents[at]) for at in kept),
        tender_weights={},
    )


@lru_cache(maxsize=1_000)
def _net_segments(plan: Plan) -> dict[int, Segment]:
    """Return the segments without taxes, by the identity of those with taxes."""
    return {
        id(segment): net
        for regime, net_regime in zip(
            _every_regime(plan), _every_regime(_without_taxes(plan)), strict=True
        )
        for segment, net in zip(regime.segments, net_regime.segments, strict=True)
    }


def _every_regime(plan: Plan) -> Iterator[Regime]:
    return chain(plan.regimes, *plan.earlier.values())


def fixed_percents(plan: Plan, taken: FixedTaken) -> list[int]:
    """Return each percentage on a fixed charge alone, minor units, by position."""
    weights = plan.fixed[taken.item.code].weights
    found = [plan.divide(taken.taken.net * weight, plan.denominator) for weight in weights]
    if taken.item.includes_tax or plan.is_stepped:
        over = taken.taken.with_all - taken.taken.net - sum(found)
        lying = [at for at, weight in enumerate(weights) if weight]
        if lying:
            found[lying[-1]] += over
    return found


def buy_by_division(
    plan: Plan, delivery: Delivery, counted: Counted, gross: int, reach: Reach = EVERYWHERE
) -> Divided | None:
    """Divide what is left of a tender into money for units and taxes.

    Args:
        plan: the prices.
        delivery: how units are counted out.
        counted: the block counter.
        gross: what is left for units, with tax.
        reach: where the purchase may end.

    Returns:
        None when it is too little for the smallest amount.
    """
    exact = next(exactly(plan, counted, gross * plan.denominator, reach), None)
    if exact is None:
        return None
    taxes, denominator = _exact_taxes(plan, counted, exact)
    net = _half_up(gross * denominator - sum(taxes), denominator)
    net_plan = _without_taxes(plan)
    bought = buy(
        net_plan,
        delivery,
        counted,
        net * plan.denominator,
        partial(line_amounts, net_plan, fixed=(), of_tender=[0] * len(net_plan.percents)),
        net,
        reach,
    )
    if bought is None:
        return None
    lines = bought.amounts
    amounts = {}
    left = gross - net
    for at, tax in zip(plan.taxes, taxes, strict=True):
        # The last is the remainder.
        amounts[at] = left if at == plan.taxes[-1] else _half_up(tax, denominator)
        left -= amounts[at]
    exact_taxes = dict(zip(plan.taxes, taxes, strict=True))
    whole = _with(plan, lines, amounts, exact_taxes, denominator)
    with_all = Bought(
        bought.delivered, bought.priced, bought.regime, whole, bought.is_stopped, bought.is_beyond
    )
    return Divided(with_all, net, lines_sum(lines, ()))


def stops(plan: Plan, counted: Counted, gross: int, reach: Reach = EVERYWHERE) -> bool:
    """Say whether money ends in the jump between two regimes, so that some of it is kept.

    Without its taxes the jump is smaller, so that the money without tax could pass it.

    Args:
        plan: the prices.
        counted: the block counter.
        gross: what is left for units, with tax.
        reach: where the purchase may end.
    """
    if len(plan.regimes) == 1 and reach.is_last:
        return False
    exact = next(exactly(plan, counted, gross * plan.denominator, reach), None)
    if exact is None or exact.left is None:
        return False
    return exact.regime < len(plan.regimes) - 1 or not reach.is_last


def units_by_division(plan: Plan, delivery: Delivery, money: int) -> int | None:
    """Return what money buys of a window in which nothing was bought, without its lines.

    Args:
        plan: the prices.
        delivery: how units are counted out.
        money: what is left for units, with tax, over the plan's denominator.

    Returns:
        None when only the lines can tell, as :func:`~.solve.units_at_once`.
    """
    if len(plan.regimes) != 1 or money <= 0:
        return None
    counted = Counted(0, 0)
    exact = next(exactly(plan, counted, money))
    taxes, denominator = _exact_taxes(plan, counted, exact)
    net = _half_up(money * exact.denominator - sum(taxes), denominator)
    return units_at_once(_without_taxes(plan), delivery, net * plan.denominator)


def with_taxes(plan: Plan, parts: list[Part], taken_back: list[Part]) -> tuple[Amounts, int]:
    """Return the lines of given units and their price with tax; taxes are not a remainder here."""
    net_plan = _without_taxes(plan)
    net = _net_segments(plan)
    lines = line_amounts(
        net_plan,
        [(net[id(segment)], quantity) for segment, quantity in parts],
        [(net[id(segment)], quantity) for segment, quantity in taken_back],
        (),
        [0] * len(net_plan.percents),
    )
    every = [*parts, *taken_back]
    taxes = {at: sum(q * segment.percents[at] for segment, q in every) for at in plan.taxes}
    amounts = {at: _half_up(tax, plan.denominator) for at, tax in taxes.items()}
    whole = _with(plan, lines, amounts, taxes, plan.denominator)
    return whole, lines.total + sum(amounts.values())


def _with(
    plan: Plan, lines: Amounts, amounts: dict[int, int], taxes: dict[int, int], denominator: int
) -> Amounts:
    """Put the lines of the prices without tax and the taxes in the plan's order.

    Args:
        plan: the prices.
        lines: without taxes.
        amounts: of the taxes, by position.
        taxes: the same exactly, over ``denominator``.
        denominator: of these.
    """
    others = iter(zip(lines.percents, lines.bases, strict=True))
    percents, bases = [], []
    for at, each in enumerate(plan.percents):
        amount = base = 0
        if at in amounts:
            amount = amounts[at]
            if each.numerator:
                base = each.base_minor(taxes[at] * each.denominator, denominator * each.numerator)
        elif not each.on_tender:
            amount, base = next(others)
        percents.append(amount)
        bases.append(base)
    whole = Amounts(
        lines.parts,
        lines.energy,
        lines.gross,
        lines.taken_back,
        lines.correction,
        lines.levy_corrections,
        lines.levies,
        percents,
        bases,
        lines.total,
        lines.before,
        lines.levies_before,
    )
    for at in amounts:
        if not plan.percents[at].numerator:
            bases[at] = plan.percents[at].base_minor(rounded_base(plan, at, whole, ()))
    return whole


def _exact_taxes(plan: Plan, counted: Counted, exact: Exact) -> tuple[list[int], int]:
    """Return each tax of what money buys exactly, over the denominator that is returned."""
    regime = plan.regimes[exact.regime]
    end = counted.prior + -(-exact.numerator // exact.denominator)
    left = exact.numerator
    taxes = [0] * len(plan.taxes)
    for segment, quantity in parts_between(regime, counted.prior, end):
        units = min(left, quantity * exact.denominator)
        left -= units
        for number, at in enumerate(plan.taxes):
            taxes[number] += units * segment.percents[at]
    for segment, quantity in exact.taken_back:
        for number, at in enumerate(plan.taxes):
            taxes[number] += quantity * exact.denominator * segment.percents[at]
    return taxes, exact.denominator * plan.denominator


def taxes_of(amounts: Sequence[int], plan: Plan) -> int:
    """Add up the taxes among percentages."""
    return sum(amounts[at] for at in plan.taxes)

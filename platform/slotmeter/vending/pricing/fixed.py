"""Fixed charges: what a period's charge comes to, and how much of it a purchase takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import lru_cache

from slotmeter.errors import Refused
from slotmeter.units import Rounding
from slotmeter.vending.pricing.by_use import NOTHING_USED, Level
from slotmeter.vending.pricing.chosen import holds, holds_for_tender
from slotmeter.vending.pricing.integers import DIVIDE
from slotmeter.vending.pricing.plan import Plan
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.model import Collection, FixedItem, Measure

__all__ = [
    "FixedAmount",
    "FixedTaken",
    "constant",
    "fixed_amount",
    "fixed_taken",
    "items_due",
    "part_of",
]

_W_PER_KW = 1_000
_half_up = DIVIDE[Rounding.HALF_UP]


@dataclass(frozen=True, slots=True)
class FixedAmount:
    """A fixed charge of one period, minor units.

    Args:
        net: without tax.
        with_included: with what its published amount includes.
        with_all: with everything that lies on it, rounded to the tariff's step if there is one.
    """

    net: int
    with_included: int
    with_all: int


@dataclass(frozen=True, slots=True)
class FixedTaken:
    """So much of a fixed charge is taken by a purchase.

    Args:
        item: of the tariff.
        period: that it is for; "" when it comes with every purchase.
        due: the whole charge of the period.
        taken: the part taken now.
        left: minor units without tax that stay open.
        exact: minor units without tax of a day, not rounded; None for charges not by day.
        before: minor units without tax that were taken of it before, where what is due may rise.
    """

    item: FixedItem
    period: str
    due: FixedAmount
    taken: FixedAmount
    left: int
    exact: Fraction | None = None
    before: int = 0


_NOTHING = FixedAmount(0, 0, 0)


def fixed_amount(
    plan: Plan,
    item: FixedItem,
    situation: Situation,
    number: int = 1,
    level: Level = NOTHING_USED,
) -> FixedAmount:
    """Return what a fixed item comes to for a buyer, for one period.

    Args:
        plan: the prices.
        item: of the tariff.
        situation: the buyer.
        number: of the day among the days that are taken together. Each has what it adds to the
            rounded amount of all, so that days together come to days times price.
        level: for charges by use.

    Raises:
        Refused: ``load_unknown``: it is per kW and no sanctioned load is on record.
    """
    if level.is_lifeline and not item.lifeline and plan.lifeline_up_to is not None:
        return _NOTHING
    asked = _asked(item, situation, level.used)
    first = _amount(plan, *asked, days=number)
    if number == 1:
        return first
    before = _amount(plan, *asked, days=number - 1)
    return FixedAmount(
        first.net - before.net,
        first.with_included - before.with_included,
        first.with_all - before.with_all,
    )


def _asked(item: FixedItem, situation: Situation, used: int) -> tuple[str, str | None, int, int]:
    measured_w = _W_PER_KW
    if item.measure is Measure.LOAD_KW:
        if situation.load_w is None:
            raise Refused(
                "load_unknown",
                f"{item.label} is per kW and the supply point has no sanctioned load on record",
                field="load_w",
            )
        measured_w = situation.load_w
    elif item.measure is Measure.DEMAND_KW:
        measured_w = situation.demand_w or 0
    band = 0
    for each in item.by_use:
        if each.up_to is None or used <= each.up_to:
            break
        band += 1
    return item.code, situation.connection if item.amounts else None, measured_w, band


@lru_cache(maxsize=10_000)
def _amount(
    plan: Plan, code: str, connection: str | None, measured_w: int, band: int, *, days: int
) -> FixedAmount:
    net = _exact_net(plan, code, connection, measured_w, band)
    bases = plan.fixed[code]
    every = net, net * bases.with_included, net * bases.with_all
    return FixedAmount(*(_rounded(plan, days * each) for each in every))


@lru_cache(maxsize=10_000)
def _exact_net(
    plan: Plan, code: str, connection: str | None, measured_w: int, band: int
) -> Fraction:
    """Return a charge of one period without tax, minor units."""
    item = next(each for each in plan.tariff.fixed_items if each.code == code)
    major = item.amount
    if item.by_use:
        major = item.by_use[band].amount
    elif item.amounts is not None and connection is not None:
        major = item.amounts.get(connection, item.amount)
    published = Fraction(major) * plan.scale * measured_w / _W_PER_KW
    bases = plan.fixed[code]
    net = published / (bases.with_all if item.includes_tax else bases.with_included)
    step = plan.tariff.rounding.fixed_step
    if step is not None:
        with_all = net * bases.with_all
        minor_step = Fraction(step) * plan.scale
        steps = with_all / minor_step
        with_all = _half_up(steps.numerator, steps.denominator) * minor_step
        net = with_all / bases.with_all
    return net


def _rounded(plan: Plan, value: Fraction) -> int:
    return plan.divide(value.numerator, value.denominator)


def part_of(plan: Plan, code: str, due: FixedAmount, net: int) -> FixedAmount:
    """Return a part of a charge, by its amount without tax."""
    if net == due.net:
        return due
    bases = plan.fixed[code]
    return FixedAmount(
        net, _rounded(plan, net * bases.with_included), _rounded(plan, net * bases.with_all)
    )


def fixed_taken(
    plan: Plan,
    items: Sequence[tuple[FixedItem, ChargeState]],
    situation: Situation,
    tender_minor: int,
    level: Level = NOTHING_USED,
) -> list[FixedTaken]:
    """Return what a tender takes of the charges that are due, in order.

    All that is open is taken, but of items that small purchases pay in proportion only the share
    that the tender earns; ``below`` tendered pays one period. Of charges by use what is due at the
    level is taken, less what was taken before.
    """
    taken = []
    split_minor: dict[str, int] = {}
    days: dict[str, int] = {}
    for item, state in items:
        if item.when.is_by_tender and not holds_for_tender(item.when, tender_minor):
            continue
        exact = None
        if item.collect is Collection.DAY:
            exact = _exact_net(plan, *_asked(item, situation, 0))
            days[item.code] = days.get(item.code, 0) + 1
        if item.is_by_use:
            due = _due_by_use(plan, item, state, situation, level)
        else:
            due = fixed_amount(plan, item, situation, days.get(item.code, 1))
        net = left = due.net - state.taken_minor
        if left <= 0:
            continue
        if item.split is not None:
            below = int(item.split.below * plan.scale)
            money = split_minor.get(item.code, tender_minor)
            is_only = sum(each is item for each, _ in items) == 1
            is_paid = is_only and state.tendered_minor + tender_minor >= below
            if not is_paid and money * due.net < left * below:
                net = _half_up(money * due.net, below)
            split_minor[item.code] = max(0, money - -(-net * below // due.net))
        if net > 0:
            part = part_of(plan, item.code, due, net)
            before = state.taken_minor if item.is_by_use else 0
            taken.append(FixedTaken(item, state.period, due, part, left - net, exact, before))
    return taken


def _due_by_use(
    plan: Plan, item: FixedItem, state: ChargeState, situation: Situation, level: Level
) -> FixedAmount:
    """Return what a charge by use comes to; that of an earlier period is what it was then."""
    if level.knows(state):
        return fixed_amount(plan, item, situation, 1, level)
    nothing = fixed_amount(plan, item, situation, 1, NOTHING_USED)
    return part_of(plan, item.code, nothing, state.due_minor) if state.due_minor else nothing


def items_due(
    plan: Plan, situation: Situation, charges: Sequence[ChargeState], day: date
) -> list[tuple[FixedItem, ChargeState]]:
    """Return the items of open charges, and those that come with every purchase."""
    by_code = plan.fixed_items
    due = [(by_code[state.code], state) for state in charges if state.code in by_code]
    for item in plan.per_purchase:
        if holds(item.when, situation, day):
            due.append((item, ChargeState(item.code, "")))
    return due


def constant(plan: Plan, fixed: Sequence[FixedTaken], of_tender: Sequence[int]) -> int:
    """Return what does not depend on units, exactly, over the plan's denominator."""
    money = 0
    for each in fixed:
        if plan.is_stepped:
            money += each.taken.with_all * plan.denominator
        else:
            money += each.taken.net * plan.fixed[each.item.code].all_in
    for at in plan.on_tender:
        money += of_tender[at] * (plan.denominator + sum(plan.tender_weights[at]))
    return money

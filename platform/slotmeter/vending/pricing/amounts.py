"""The amounts of a purchase's lines, each from its own quantity and price or base and percentage.

Lines are rounded one by one by the tariff's rule. What they come to together need not be what the
exact prices come to: the difference shows in the line ``rounding``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from slotmeter.vending.pricing.fixed import FixedTaken
from slotmeter.vending.pricing.plan import (
    LIFELINE,
    Percentage,
    Plan,
    Regime,
    Segment,
    regime_of,
)
from slotmeter.vending.pricing.situation import PricedBefore
from slotmeter.vending.tariff.model import PercentOf

__all__ = [
    "Amounts",
    "Part",
    "add_percents",
    "line_amounts",
    "lines_sum",
    "parts_between",
    "percents_of_tender",
    "rounded_base",
    "undone",
]

Part = tuple[Segment, int]
"""So many base units at the prices of a segment."""


@dataclass(slots=True)
class Amounts:
    """Minor units of each line.

    Args:
        parts: what is sold, by segment.
        energy: of each part, without tax.
        gross: of each part, with what its ``gross_rate`` includes.
        taken_back: parts that an earlier purchase had at another price: at this regime's price,
            and negative at the one paid.
        correction: of the energy taken back.
        levy_corrections: of the levies taken back, in the plan's order.
        levies: in the plan's order.
        percents: in the plan's order; those of the tender as they came.
        bases: what each percentage was taken of.
        total: what all cost together, fixed charges included.
        before: of the energy taken back, what units at the price of a lifeline had cost; only
            where a percentage spares them.
        levies_before: the same of the levies, in the plan's order.
    """

    parts: list[Part]
    energy: list[int] = field(default_factory=list)
    gross: list[int] = field(default_factory=list)
    taken_back: list[Part] = field(default_factory=list)
    correction: int = 0
    levy_corrections: list[int] = field(default_factory=list)
    levies: list[int] = field(default_factory=list)
    percents: list[int] = field(default_factory=list)
    bases: list[int] = field(default_factory=list)
    total: int = 0
    before: int = 0
    levies_before: list[int] = field(default_factory=list)


def parts_between(regime: Regime, start: int, end: int) -> list[Part]:
    """Cut a stretch of the block counter into the segments of a regime."""
    parts = []
    for segment in regime.segments:
        if segment.end > start:
            stop = min(segment.end, end)
            parts.append((segment, stop - start))
            start = stop
            if start >= end:
                break
    return parts


def undone(
    plan: Plan,
    before: int,
    after: int,
    prior: int,
    units: int,
    priced_before: Sequence[PricedBefore] = (),
) -> list[Part]:
    """Return what is taken back of units bought under another regime: the new price, less the old.

    Args:
        plan: the prices.
        before: position of the regime that they were bought under.
        after: position of the regime that holds now.
        prior: the block counter.
        units: so many of those counted last.
        priced_before: what was paid for them; empty for the price of the regime before.
    """
    if before == after or units <= 0:
        return []
    start = prior - units
    if priced_before:
        old = [part for each in priced_before for part in _sold(plan, each)]
    else:
        old = parts_between(plan.regimes[before], start, prior)
    new = parts_between(plan.regimes[after], start, prior)
    return [*new, *((segment, -quantity) for segment, quantity in old)]


def _sold(plan: Plan, each: PricedBefore) -> list[Part]:
    regimes = plan.earlier[each.table]
    regime = regimes[regime_of(regimes, each.total)]
    return parts_between(regime, each.total - each.units, each.total)


def percents_of_tender(plan: Plan, tender_minor: int) -> list[int]:
    """Return the percentages of the tender, minor units, by position; 0 for all others."""
    found = [0] * len(plan.percents)
    for at in plan.on_tender:
        each = plan.percents[at]
        amount = plan.divide(tender_minor * each.numerator, each.denominator)
        if tender_minor > 0 and amount < each.least:
            amount = each.least
        if each.most is not None and amount > each.most:
            amount = each.most
        found[at] = amount
    return found


def line_amounts(
    plan: Plan,
    parts: list[Part],
    taken_back: list[Part],
    fixed: Sequence[FixedTaken],
    of_tender: Sequence[int],
) -> Amounts:
    """Compute every line of a purchase.

    Args:
        plan: the prices.
        parts: what is sold.
        taken_back: see :func:`undone`.
        fixed: fixed charges taken with it, whose percentages are in the same lines.
        of_tender: percentages of the tender, by position.
    """
    divide, denominator = plan.divide, plan.denominator
    result = Amounts(parts, taken_back=taken_back)
    result.energy = [divide(quantity * segment.net, denominator) for segment, quantity in parts]
    every = [*parts, *taken_back] if taken_back else parts
    count = len(plan.levies)
    if len(parts) == 1:
        segment, quantity = parts[0]
        result.levies = [divide(quantity * rate, denominator) for rate in segment.levies]
    else:
        result.levies = [
            divide(sum([quantity * segment.levies[at] for segment, quantity in parts]), denominator)
            for at in range(count)
        ]
    if taken_back:
        back = sum([quantity * segment.net for segment, quantity in taken_back])
        result.correction = divide(back, denominator)
        result.levy_corrections = [
            divide(
                sum([quantity * segment.levies[at] for segment, quantity in taken_back]),
                denominator,
            )
            for at in range(count)
        ]
        if plan.spares_lifeline:
            _add_before(plan, result)
    if plan.has_gross:
        result.gross = [
            divide(quantity * segment.shown, denominator) for segment, quantity in parts
        ]
    _percents(plan, result, every, fixed, of_tender)
    result.total = _total(plan, result, fixed, of_tender)
    return result


def _add_before(plan: Plan, result: Amounts) -> None:
    """Say what units of a lifeline that are taken back had cost: now all of it is a base."""
    sold = [(each, -quantity) for each, quantity in result.taken_back if each.code == LIFELINE]
    energy = sum([quantity * segment.net for segment, quantity in sold])
    result.before = plan.divide(energy, plan.denominator)
    result.levies_before = [
        plan.divide(
            sum([quantity * segment.levies[at] for segment, quantity in sold]), plan.denominator
        )
        for at in range(len(plan.levies))
    ]


# --- percentages --------------------------------------------------------------------------------


def _percents(
    plan: Plan,
    result: Amounts,
    every: Sequence[Part],
    fixed: Sequence[FixedTaken],
    of_tender: Sequence[int],
) -> None:
    if not plan.percents:
        return
    result.percents = list(of_tender)
    result.bases = [0] * len(of_tender)
    is_exact = plan.tariff.rounding.percent_of is PercentOf.EXACT
    exact: list[int] = []
    if is_exact or plan.included:
        exact = _exact_percents(plan, every, fixed, of_tender)
    if plan.included:
        _included(plan, result, exact, every, fixed)
    for at, each in enumerate(plan.percents):
        if each.on_tender:
            continue
        if is_exact and each.numerator:
            base = exact[at] * each.denominator, plan.denominator * each.numerator
            result.bases[at] = each.base_minor(*base)
            if not each.is_included:
                result.percents[at] = plan.divide(exact[at], plan.denominator)
        else:
            base_minor = rounded_base(plan, at, result, fixed)
            result.bases[at] = each.base_minor(base_minor)
            if not each.is_included:
                result.percents[at] = plan.divide(base_minor * each.numerator, each.denominator)


def _exact_percents(
    plan: Plan, every: Sequence[Part], fixed: Sequence[FixedTaken], of_tender: Sequence[int]
) -> list[int]:
    """Return every percentage, not rounded, over the plan's denominator."""
    exact = []
    for at in range(len(plan.percents)):
        amount = sum([quantity * segment.percents[at] for segment, quantity in every])
        for each in fixed:
            amount += each.taken.net * plan.fixed[each.item.code].weights[at]
        for source in plan.on_tender:
            amount += of_tender[source] * plan.tender_weights[source][at]
        exact.append(amount)
    return exact


def rounded_base(plan: Plan, at: int, result: Amounts, fixed: Sequence[FixedTaken]) -> int:
    """Add up the lines that a percentage lies on, as they are printed.

    A percentage that spares a lifeline lies on the whole price of units that are not in it any
    more: on the correction, and on what they had cost before.
    """
    each = plan.percents[at]
    base = sum([result.percents[other] for other in each.percents])
    if each.fixed:
        base += sum([taken.taken.net for taken in fixed if taken.item.code in each.fixed])
    if each.blocks is not None:
        return base + _base_in_blocks(plan, at, result)
    if not each.lifeline:
        if result.parts and result.parts[0][0].code == LIFELINE:
            return base
        if each.on_energy:
            base += result.before
        if result.levies_before:
            base += sum([result.levies_before[levy] for levy in each.levies])
    if each.on_energy:
        base += sum(result.energy) + result.correction
    for levy in each.levies:
        base += result.levies[levy]
        if result.levy_corrections:
            base += result.levy_corrections[levy]
    return base


def _base_in_blocks(plan: Plan, at: int, result: Amounts) -> int:
    each = plan.percents[at]
    divide, denominator = plan.divide, plan.denominator
    base = 0
    if each.on_energy:
        base += sum(
            amount
            for (segment, _), amount in zip(result.parts, result.energy, strict=True)
            if segment.bears(each)
        )
        base += divide(
            sum(q * segment.net for segment, q in _within(result.taken_back, each)), denominator
        )
    for levy in each.levies:
        for parts in (result.parts, result.taken_back):
            inside = sum(q * segment.levies[levy] for segment, q in _within(parts, each))
            base += divide(inside, denominator)
    return base


def _within(parts: Sequence[Part], each: Percentage) -> Iterator[Part]:
    return ((segment, quantity) for segment, quantity in parts if segment.bears(each))


def _included(
    plan: Plan,
    result: Amounts,
    exact: Sequence[int],
    every: Sequence[Part],
    fixed: Sequence[FixedTaken],
) -> None:
    """Take what published prices include out of them: the last percentage is the remainder."""
    divide, denominator = plan.divide, plan.denominator
    inside_exact = sum([quantity * (segment.gross - segment.net) for segment, quantity in every])
    inside = sum(
        [divide(quantity * segment.gross, denominator) for segment, quantity in result.parts]
    )
    inside -= sum(result.energy)
    if result.taken_back:
        back = sum([quantity * segment.gross for segment, quantity in result.taken_back])
        inside += divide(back, denominator) - result.correction
    for at in range(len(plan.levies)):
        inside_exact += sum([q * (s.gross_levies[at] - s.levies[at]) for s, q in every])
        gross = sum([q * segment.gross_levies[at] for segment, q in result.parts])
        inside += divide(gross, denominator) - result.levies[at]
        if result.taken_back:
            back = sum([q * segment.gross_levies[at] for segment, q in result.taken_back])
            inside += divide(back, denominator) - result.levy_corrections[at]
    for taken in fixed:
        inside += taken.taken.with_included - taken.taken.net
        inside_exact += taken.taken.net * plan.fixed[taken.item.code].inside
    *others, last = plan.included
    on_top = sum([exact[at] for at in plan.included]) - inside_exact
    for at in others:
        result.percents[at] = divide(exact[at], denominator)
    result.percents[last] = (
        inside + divide(on_top, denominator) - sum([result.percents[at] for at in others])
    )


# --- together -----------------------------------------------------------------------------------


def _total(
    plan: Plan, result: Amounts, fixed: Sequence[FixedTaken], of_tender: Sequence[int]
) -> int:
    if not plan.is_stepped:
        total = sum(result.energy) + result.correction + sum(result.levies) + sum(result.percents)
        total += sum(result.levy_corrections)
        for each in fixed:
            total += each.taken.net
        return total
    divide, denominator = plan.divide, plan.denominator
    total = sum([divide(q * segment.all_in, denominator) for segment, q in result.parts])
    back = sum([quantity * segment.all_in for segment, quantity in result.taken_back])
    total += divide(back, denominator)
    total += sum([each.taken.with_all for each in fixed])
    for source in plan.on_tender:
        weight = denominator + sum(plan.tender_weights[source])
        total += divide(of_tender[source] * weight, denominator)
    return total


def lines_sum(amounts: Amounts, fixed: Sequence[FixedTaken]) -> int:
    """Add up the lines of units, percentages and fixed charges."""
    total = sum(amounts.energy) + sum(amounts.levies) + sum(amounts.percents)
    total += amounts.correction + sum(amounts.levy_corrections)
    for each in fixed:
        total += each.taken.net
    return total


def add_percents(amounts: Amounts, more: Amounts) -> None:
    """Add the percentages of other amounts, with their bases."""
    for at in range(len(amounts.percents)):
        amounts.percents[at] += more.percents[at]
        amounts.bases[at] += more.bases[at]

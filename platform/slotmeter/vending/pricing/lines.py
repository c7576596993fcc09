"""The lines of a settled purchase, in the order of the receipt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import groupby

from msgspec.structs import replace

from slotmeter.units import Rounding
from slotmeter.vending.ledger import (
    advance_account,
    customer_account,
    debt_account,
    income_account,
    levy_account,
)
from slotmeter.vending.pricing.amounts import Amounts, Part
from slotmeter.vending.pricing.fixed import FixedTaken
from slotmeter.vending.pricing.integers import DIVIDE
from slotmeter.vending.pricing.limits import TOKEN_MONEY_STEPS
from slotmeter.vending.pricing.plan import LIFELINE, Plan
from slotmeter.vending.pricing.priced import PricedLine
from slotmeter.vending.pricing.settle import Purchase, Settled, transfer_e5
from slotmeter.vending.pricing.situation import DebtState, PriceChange, Transfer
from slotmeter.vending.tariff.model import Collection

__all__ = ["lines_of", "tax_within"]

TOKEN_ROUNDING = ("rounding", "token", "Rounding of the token")
"""Kind, code and label of what a token of money cannot carry."""
PRICE_CHANGE = "price_change"
"""Code of a correction to prices that count from an earlier day."""
DAY_PRICE_DECIMALS_MORE = 2
"""Decimals that a price by day has beyond the coins, where a day is no whole number of them."""


def lines_of(purchase: Purchase, settled: Settled) -> tuple[PricedLine, ...]:
    """Return every line; they add up to the tender."""
    plan = purchase.plan
    lines = [_debt(debt, minor, settled.tender) for debt, minor in settled.debts]
    if settled.fixed:
        lines.extend(_charges(plan, settled.fixed, settled.fixed_percents))
    amounts = settled.amounts
    income = income_account(plan.tariff.commodity.value)
    lost = _lost_on_token(purchase, settled)
    if amounts.parts:
        lines.extend(_without(lost, _energy(plan, amounts, income)))
        lines.extend(_levies(plan, amounts))
    for kind in ("levy", "tax"):
        lines.extend(_percents(plan, amounts, kind, settled.tender))
    if amounts.taken_back:
        lines.extend(_corrections(plan, amounts, income))
    lines.extend(_change(each) for each in purchase.changes)
    if settled.rounding:
        lines.append(PricedLine("rounding", "rounding", "Rounding", "rounding", settled.rounding))
    if lost:
        # Sold and not carried: it is earned as from a token of units, whose grid it would be, too.
        price = sum(amounts.energy)
        lines.append(PricedLine(*TOKEN_ROUNDING, income, lost, base_minor=price))
    number = purchase.situation.account_number
    if settled.credit:
        account = customer_account(number)
        lines.append(
            PricedLine("credit", "credit", "Credit to your account", account, settled.credit)
        )
    account = advance_account(number)
    if used := purchase.advance + sum(each.minor for each in purchase.changes):
        label = "Kept from the purchase before"
        lines.append(PricedLine("kept", "used", label, account, -used))
    if settled.kept:
        lines.append(
            PricedLine("kept", "kept", "Kept for the next purchase", account, settled.kept)
        )
    return tuple(lines)


def _lost_on_token(purchase: Purchase, settled: Settled) -> int:
    """Return what a token of money cannot carry of the energy that it is for, minor units."""
    if settled.bought is None or purchase.situation.transfer is not Transfer.CURRENCY:
        return 0
    paid = min(sum(settled.amounts.energy), settled.tender + purchase.advance)
    return paid - transfer_e5(purchase, settled) * purchase.plan.scale // TOKEN_MONEY_STEPS


def _without(lost: int, energy: Iterator[PricedLine]) -> Iterator[PricedLine]:
    """Leave an amount out of lines of energy, from the last on; they name their whole price."""
    lines = list(energy)
    for at in range(len(lines) - 1, -1, -1):
        cut = min(lost, lines[at].amount_minor)
        if cut > 0:
            whole = lines[at].amount_minor
            lines[at] = replace(lines[at], amount_minor=whole - cut, base_minor=whole)
            lost -= cut
    return iter(lines)


# --- debts and charges --------------------------------------------------------------------------


def _debt(debt: DebtState, minor: int, tender: int) -> PricedLine:
    return PricedLine(
        kind="debt",
        code=debt.kind,
        label=debt.label,
        account=debt_account(debt.number or str(debt.debt_id)),
        amount_minor=minor,
        rate=debt.percent,
        base_minor=None if debt.percent is None else tender,
        left_minor=debt.balance_minor - minor,
        item=debt.debt_id,
        tax_minor=None if debt.tax_percent is None else tax_within(minor, debt.tax_percent),
    )


@lru_cache(maxsize=1_000)
def _share_within(percent: str) -> Fraction:
    rate = Fraction(Decimal(percent)) / 100
    return rate / (1 + rate)


def tax_within(minor: int, percent: str) -> int:
    """Return the tax within an amount that has it, rounded half up."""
    share = _share_within(percent)
    return DIVIDE[Rounding.HALF_UP](minor * share.numerator, share.denominator)


def _charges(
    plan: Plan, fixed: Sequence[FixedTaken], percents: Sequence[list[int]] | None
) -> Iterator[PricedLine]:
    """Write one line a charge and month; days of one charge are one line."""
    numbered = enumerate(fixed)
    for _, group in groupby(numbered, lambda each: _same_line(*each)):
        members = list(group)
        taken = [each for _, each in members]
        first, last = taken[0], taken[-1]
        is_daily = first.item.collect is Collection.DAY
        period = first.period
        if last.period != first.period:
            period = f"{first.period}/{last.period}"
        net = sum(each.taken.net for each in taken)
        yield PricedLine(
            kind="charge",
            code=first.item.code,
            label=first.item.label,
            account=income_account(f"charge:{first.item.code}"),
            amount_minor=net,
            rate=_day_price(plan, taken) if is_daily else None,
            period=period or None,
            left_minor=sum(each.left for each in taken),
            base_minor=first.before or None,
        )
        if percents is not None:
            own = [sum(parts) for parts in zip(*(percents[at] for at, _ in members), strict=True)]
            weights = plan.fixed[first.item.code].weights
            for each, amount, weight in zip(plan.percents, own, weights, strict=True):
                base = each.base_minor(net)
                if each.numerator:
                    base = each.base_minor(
                        net * weight * each.denominator, plan.denominator * each.numerator
                    )
                if amount:
                    yield PricedLine(
                        each.kind, each.code, each.label, each.account, amount,
                        rate=each.rate, base_minor=base, period=period or None,
                    )  # fmt: skip


def _day_price(plan: Plan, days: Sequence[FixedTaken]) -> str:
    """Return the price of a day; with more decimals when days are not all equal in coins."""
    exact = days[0].exact
    if exact is None or len({each.due.net for each in days}) == 1:
        return plan.major(days[0].due.net)
    more = 10**DAY_PRICE_DECIMALS_MORE
    parts = DIVIDE[Rounding.HALF_UP](exact.numerator * more, exact.denominator)
    return f"{Decimal(parts) / (more * plan.scale):f}"


def _same_line(number: int, taken: FixedTaken) -> tuple[str, str | int]:
    """Return what members of one line have in common."""
    return taken.item.code, "days" if taken.item.collect is Collection.DAY else number


# --- units --------------------------------------------------------------------------------------


def _energy(plan: Plan, amounts: Amounts, income: str) -> Iterator[PricedLine]:
    label = plan.tariff.energy.label
    for at, (segment, quantity) in enumerate(amounts.parts):
        yield PricedLine(
            "energy",
            segment.code,
            label,
            income,
            amounts.energy[at],
            quantity,
            segment.rate,
            gross_minor=amounts.gross[at] if segment.gross_rate is not None else None,
            gross_rate=segment.gross_rate,
        )


def _levies(plan: Plan, amounts: Amounts) -> Iterator[PricedLine]:
    total = sum([quantity for _, quantity in amounts.parts])
    first = amounts.parts[0][0]
    for at, (item, account, price, is_everywhere) in enumerate(plan.levy_lines):
        amount = amounts.levies[at]
        if is_everywhere and first.levies[at] == first.gross_levies[at]:
            yield PricedLine("levy", item.code, item.label, account, amount, total, price)
            continue
        line = _levy(plan, at, "levy", amounts.parts, amount)
        if line is not None:
            yield line


def _levy(plan: Plan, at: int, kind: str, parts: Sequence[Part], amount: int) -> PricedLine | None:
    """Write a levy as units times its price; None if it lies on none of the parts."""
    item, account, price, _ = plan.levy_lines[at]
    inside = [part for part in parts if part[0].bears(item)]
    if not inside:
        return None
    quantity = sum([q for _, q in inside])
    segment = inside[0][0]
    if segment.levies[at] == segment.gross_levies[at]:
        return PricedLine(kind, item.code, item.label, account, amount, quantity, price)
    gross = sum([q * s.gross_levies[at] for s, q in inside])
    return PricedLine(
        kind, item.code, item.label, account, amount, quantity,
        gross_minor=plan.divide(gross, plan.denominator), gross_rate=price,
    )  # fmt: skip


def _percents(plan: Plan, amounts: Amounts, kind: str, tender: int) -> Iterator[PricedLine]:
    for at, each in enumerate(plan.percents):
        if each.kind != kind:
            continue
        amount = amounts.percents[at]
        base = tender if each.on_tender else amounts.bases[at]
        if each.on_tender and amount != plan.divide(tender * each.numerator, each.denominator):
            # Its least, or its most: no percentage of anything.
            yield PricedLine(kind, each.code, each.label, each.account, amount)
        elif amount or base:
            yield PricedLine(
                kind, each.code, each.label, each.account, amount, rate=each.rate, base_minor=base
            )


def _corrections(plan: Plan, amounts: Amounts, income: str) -> Iterator[PricedLine]:
    """Write what units bought before cost more, or less, now."""
    quantity = sum(q for _, q in amounts.taken_back if q > 0)
    sold = [(segment, -q) for segment, q in amounts.taken_back if q < 0]
    label = f"{plan.tariff.energy.label}: correction"
    yield PricedLine(
        "correction",
        "energy",
        label,
        income,
        amounts.correction,
        quantity,
        base_minor=amounts.before or None,
        cost_minor=plan.divide(sum(q * s.net for s, q in sold), plan.denominator),
    )
    now = [part for part in amounts.taken_back if part[1] > 0]
    was_lifeline = all(segment.code == LIFELINE for segment, _ in sold)
    for at, amount in enumerate(amounts.levy_corrections):
        item = plan.levies[at]
        before = amounts.levies_before[at] if plan.spares_lifeline else 0
        line: PricedLine | None = None
        if not item.lifeline and was_lifeline:
            line = _levy(plan, at, "correction", now, amount)
        elif amount or before:
            line = PricedLine(
                *("correction", item.code, item.label, levy_account(item.code)),
                *(amount, quantity),
                base_minor=before or None,
            )
        if line is not None:
            cost = plan.divide(sum(q * s.levies[at] for s, q in sold), plan.denominator)
            yield replace(line, cost_minor=cost)


def _change(each: PriceChange) -> PricedLine:
    """Write what earlier sales cost more, or less, by prices that count from an earlier day."""
    return PricedLine(
        "correction", PRICE_CHANGE, each.label, each.account, each.minor, each.units,
        period=each.since, cost_minor=each.cost_minor,
    )  # fmt: skip

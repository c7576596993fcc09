"""What a purchase repays of debts: by priority, never more than owed, within the cap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from slotmeter.vending.pricing.situation import DebtState

__all__ = ["repaid"]


@lru_cache(maxsize=1_000)
def _share(percent: str) -> tuple[int, int]:
    share = Fraction(Decimal(percent)) / 100
    return share.numerator, share.denominator


def repaid(
    debts: Sequence[DebtState],
    tender_minor: int,
    cap: Decimal | None,
    before: Mapping[int, int] | None = None,
) -> list[tuple[DebtState, int]]:
    """Return the debts that a tender repays something of, in order, with the amounts.

    Emergency credit comes first and is not bound by the cap, but what it takes counts towards it,
    so that the other debts never add to a large one. Shares of the tender are cut to whole coins.

    Args:
        debts: open ones, in any order.
        tender_minor: what the buyer pays.
        cap: percent of the tender that all debts together may take; None for no cap.
        before: repaid since the balances were taken, by debt.
    """
    left = tender_minor
    below_cap = left
    if cap is not None:
        numerator, denominator = _share(str(cap))
        below_cap = tender_minor * numerator // denominator
    taken: list[tuple[DebtState, int]] = []
    for debt in sorted(debts, key=_order) if len(debts) > 1 else debts:
        amount = debt.balance_minor
        if before is not None:
            amount -= before.get(debt.debt_id, 0)
        if amount > left:
            amount = left
        if debt.due_minor is not None:
            amount = debt.due_minor if debt.due_minor < amount else amount
        if debt.percent is not None:
            numerator, denominator = _share(debt.percent)
            share = tender_minor * numerator // denominator
            amount = share if share < amount else amount
        if amount > below_cap and not debt.bypasses_cap:
            amount = below_cap
        if amount > 0:
            taken.append((debt, amount))
            left -= amount
            below_cap -= amount
    return taken


def _order(debt: DebtState) -> tuple[bool, int, int]:
    return not debt.bypasses_cap, debt.priority, debt.debt_id

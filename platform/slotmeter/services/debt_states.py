"""Debts as a sale sees them, and how a sale closes those that it repaid."""

from __future__ import annotations

from collections.abc import Sequence

from slotmeter.ports import From, Read, Rows, Update
from slotmeter.vending.debts import Repayment, due_at
from slotmeter.vending.pricing.situation import DebtState

__all__ = ["close_steps", "debt_reads", "debt_states"]


def debt_reads(account_id: int | From) -> list[Read]:
    """Return what :func:`debt_states` needs to know of an account."""
    return [
        Read("debts_for_sale", {"account_id": account_id}),
        Read("debt_repayments_for_sale", {"account_id": account_id}),
    ]


def debt_states(rows: Rows, at_us: int, time_zone: str) -> tuple[DebtState, ...]:
    """Return the open debts of an account at an instant, by priority.

    What sales between their two commits have taken is no longer owed: read in the unit that takes.

    Args:
        rows: of :func:`debt_reads`.
        at_us: the instant, UTC epoch microseconds.
        time_zone: IANA name that local dates follow.
    """
    repaid: dict[int, list[Repayment]] = {}
    for row in rows["debt_repayments_for_sale"]:
        repaid.setdefault(row["debt_id"], []).append(Repayment(row["at_us"], row["minor"]))
    return tuple(
        due_at(row, at_us, time_zone, repaid.get(row["id"], ()))
        for row in rows["debts_for_sale"]
        if row["balance_minor"] > 0
    )


def close_steps(debt_ids: Sequence[int]) -> list[Update]:
    """Return what closes debts at zero; it stands after the postings that repay them.

    No debt is cancelled while a sale that repays it is pending, and the database refuses to take
    one below zero.
    """
    return [Update("debt_take", {"debt_id": debt_id}, rows=None) for debt_id in debt_ids]

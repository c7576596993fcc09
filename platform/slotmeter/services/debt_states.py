"""Debts as a sale sees them, and how a sale closes those that it repaid."""

from __future__ import annotations

from collections.abc import Sequence

from slotmeter.ports import Read, Rows, Update
from slotmeter.vending.debts import Repayment, due_at
from slotmeter.vending.pricing.situation import DebtState

__all__ = ["close_steps", "debt_read", "debt_states", "repayment_reads"]

INSTALMENTS = "instalments"
"""Shape of a plan, as its document names it; see the read ``debt_repayments_for_sale``."""


def debt_read(account_id: int) -> Read:
    """Return what :func:`debt_states` needs to know of an account, but for instalments."""
    return Read("debts_for_sale", {"account_id": account_id})


def repayment_reads(rows: Rows, account_id: int) -> list[Read]:
    """Return what it needs beside: only instalments ask what was repaid before."""
    if any(INSTALMENTS in row["plan"] for row in rows.get("debts_for_sale", ())):
        return [Read("debt_repayments_for_sale", {"account_id": account_id})]
    return []


def debt_states(rows: Rows, at_us: int, time_zone: str) -> tuple[DebtState, ...]:
    """Return the open debts of an account at an instant, by priority.

    What sales between their two commits have taken is no longer owed: read in the unit that takes.

    Args:
        rows: of :func:`debt_read` and :func:`repayment_reads`.
        at_us: the instant, UTC epoch microseconds.
        time_zone: IANA name that local dates follow.
    """
    repaid: dict[int, list[Repayment]] = {}
    for row in rows.get("debt_repayments_for_sale", ()):
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

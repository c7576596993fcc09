"""Statements that a sale needs of debts.

A sale reads ``debts_for_sale`` and ``debt_repayments_for_sale``, writes rows of ``debt_taken`` with
its first commit, and after the postings of its second commit one ``debt_take`` for each debt.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["BALANCE", "OPEN", "PENDING", "READS", "STANDS", "UPDATES"]

_t = METADATA.tables
debt = _t["debt"]
ledger = _t["ledger_account"]
sale = _t["sale"]
taken = _t["debt_taken"]

OPEN: ColumnElement[bool] = or_(debt.c.state == "open", debt.c.state == "suspended")
"""Debts that are neither repaid nor cancelled."""

PENDING = (
    select(func.coalesce(func.sum(taken.c.minor), 0))
    .join(sale, sale.c.id == taken.c.sale_row_id)
    .where(
        # By the few sales of the account that are pending, not by all that ever repaid the debt:
        # an index of debts would be taken first, and cannot be for a sum.
        taken.c.debt_id + 0 == debt.c.id,
        sale.c.account_id == debt.c.account_id,
        sale.c.state == "pending",
    )
    .correlate(debt)
    .scalar_subquery()
)
"""Taken by sales between their two commits: not posted yet, but spoken for."""

STANDS: ColumnElement[bool] = and_(sale.c.state != "voided", sale.c.state != "reversed")
"""Sales that took what they took: neither ended without a token nor taken back."""

BALANCE = (
    select(ledger.c.balance_minor)
    .where(ledger.c.id == debt.c.ledger_account_id)
    .correlate(debt)
    .scalar_subquery()
)
"""What the ledger says is left."""

READS: dict[str, Select[Any]] = {
    "debts_for_sale": select(
        debt.c.id,
        debt.c.number,
        debt.c.kind,
        debt.c.label,
        debt.c.priority,
        debt.c.plan,
        debt.c.amount_minor,
        (ledger.c.balance_minor - PENDING).label("balance_minor"),
        debt.c.tax_percent,
        debt.c.interest,
        debt.c.starts_us,
        debt.c.state,
        debt.c.ledger_account_id,
    )
    .join(ledger, ledger.c.id == debt.c.ledger_account_id)
    .where(debt.c.account_id == bindparam("account_id"), OPEN)
    .order_by(debt.c.priority, debt.c.id),
    # Only instalments ask what was repaid before.
    "debt_repayments_for_sale": select(taken.c.debt_id, taken.c.at_us, taken.c.minor)
    .select_from(debt)
    .join(taken, and_(taken.c.debt_id == debt.c.id, taken.c.at_us >= debt.c.starts_us))
    .join(sale, and_(sale.c.id == taken.c.sale_row_id, STANDS))
    .where(
        debt.c.account_id == bindparam("account_id"),
        OPEN,
        debt.c.plan.contains("instalments"),
    ),
}

UPDATES: dict[str, UpdateBase] = {
    # After the postings: only a debt at zero is written, which hardly ever happens.
    "debt_take": update(debt)
    .where(debt.c.id == bindparam("debt_id"), OPEN, BALANCE == 0)
    .values(state="closed"),
}

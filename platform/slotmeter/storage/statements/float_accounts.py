"""What the float of sellers and their commission read and change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, func, literal, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
branch = _t["branch"]
journal = _t["journal"]
ledger = _t["ledger_account"]
meter = _t["meter"]
operation = _t["ledger_operation"]
plan = _t["commission_plan"]
posting = _t["posting"]
principal = _t["principal"]
sale = _t["sale"]

_UTILITY: BindParameter[int] = bindparam("utility_id")
_LIMIT: BindParameter[int] = bindparam("limit")
_KIND: BindParameter[str] = bindparam("kind")

_new_sale = sale.alias("new_sale")

_tills: Select[Any] = (
    select(
        branch.c.id.label("branch_id"),
        branch.c.code.label("branch"),
        branch.c.name.label("branch_name"),
        ledger.c.id,
        ledger.c.code,
        ledger.c.balance_minor,
        ledger.c.reserved_minor,
        ledger.c.limit_minor,
    )
    .select_from(branch)
    .outerjoin(
        ledger,
        and_(
            ledger.c.utility_id == branch.c.utility_id,
            ledger.c.code == literal("till:") + branch.c.code,
        ),
    )
)

_plans: Select[Any] = (
    select(
        plan.c.id,
        plan.c.from_us,
        plan.c.body,
        plan.c.reason,
        plan.c.created_us,
        branch.c.code.label("branch"),
        principal.c.name.label("set_by"),
    )
    .join(branch, branch.c.id == plan.c.branch_id)
    .join(principal, principal.c.id == plan.c.principal_id)
)

_at_sale = journal.alias("at_sale")
_EARNED = (
    select(_at_sale.c.id)
    .where(_at_sale.c.sale_row_id == sale.c.id, _at_sale.c.kind == "commission")
    .exists()
)
_SIGN = case((journal.c.kind == "sale", 1), else_=-1)

READS: dict[str, Select[Any]] = {
    "operation_by_subject": select(operation.c.number).where(
        operation.c.utility_id == _UTILITY,
        operation.c.kind == _KIND,
        operation.c.subject == bindparam("subject"),
    ),
    "operation_newest": select(operation.c.detail, operation.c.at_us)
    .where(
        operation.c.utility_id == _UTILITY,
        operation.c.kind == _KIND,
        operation.c.branch_id == bindparam("branch_id"),
    )
    .order_by(operation.c.id.desc())
    .limit(1),
    "till_by_branch": _tills.where(
        branch.c.utility_id == _UTILITY, branch.c.code == bindparam("branch")
    ),
    "look_tills": _tills.where(branch.c.utility_id == _UTILITY, branch.c.code > bindparam("after"))
    .order_by(branch.c.code)
    .limit(_LIMIT),
    "commission_in_force": select(plan.c.body)
    .where(plan.c.branch_id == bindparam("branch_id"), plan.c.from_us <= bindparam("now_us"))
    .order_by(plan.c.from_us.desc(), plan.c.id.desc())
    .limit(1),
    "commission_plans": select(plan.c.body, plan.c.from_us)
    .where(plan.c.branch_id == bindparam("branch_id"), plan.c.from_us < bindparam("to_us"))
    .order_by(plan.c.from_us, plan.c.id),
    "look_commission_plans": _plans.where(
        plan.c.utility_id == _UTILITY, plan.c.id < bindparam("before")
    )
    .order_by(plan.c.id.desc())
    .limit(_LIMIT),
    # Each sale counts when it is booked, and against it when it is taken back. What earned its
    # commission with the sale earns none again.
    "commission_base": select(
        meter.c.commodity,
        func.coalesce(func.sum(_SIGN), 0).label("sales"),
        func.coalesce(func.sum(_SIGN * sale.c.tender_minor), 0).label("tender_minor"),
        func.coalesce(func.sum(_SIGN * sale.c.units), 0).label("units"),
    )
    .select_from(journal)
    .join(sale, sale.c.id == journal.c.sale_row_id)
    .join(meter, meter.c.id == sale.c.meter_id)
    .where(
        journal.c.utility_id == _UTILITY,
        journal.c.at_us >= bindparam("from_us"),
        journal.c.at_us < bindparam("to_us"),
        or_(
            journal.c.kind == "sale",
            and_(journal.c.kind == "sale_reversal", sale.c.issued_us >= bindparam("since_us")),
        ),
        sale.c.branch_id == bindparam("branch_id"),
        ~_EARNED,
    )
    .group_by(meter.c.commodity)
    .order_by(meter.c.commodity),
}

UPDATES: dict[str, UpdateBase] = {
    "till_set_limit": update(ledger)
    .where(ledger.c.id == bindparam("ledger_account_id"))
    .values(limit_minor=bindparam("new_limit")),
}

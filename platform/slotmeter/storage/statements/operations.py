"""What operations of the ledger read and change: corrections, float, refunds, commission."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
account = _t["account"]
branch = _t["branch"]
command = _t["command"]
device = _t["device"]
journal = _t["journal"]
ledger = _t["ledger_account"]
operation = _t["ledger_operation"]
plan = _t["commission_plan"]
posting = _t["posting"]
principal = _t["principal"]
sale = _t["sale"]
token = _t["token"]

_UTILITY: BindParameter[int] = bindparam("utility_id")
_LIMIT: BindParameter[int] = bindparam("limit")
_KIND: BindParameter[str] = bindparam("kind")

_new_sale = sale.alias("new_sale")

_operations: Select[Any] = (
    select(
        *operation.c,
        principal.c.name.label("done_by"),
        branch.c.code.label("branch"),
        account.c.number.label("account"),
        sale.c.receipt_number,
        _new_sale.c.receipt_number.label("new_receipt_number"),
        _new_sale.c.state.label("new_sale_state"),
    )
    .join(principal, principal.c.id == operation.c.principal_id)
    .outerjoin(branch, branch.c.id == operation.c.branch_id)
    .outerjoin(account, account.c.id == operation.c.account_id)
    .outerjoin(sale, sale.c.id == operation.c.sale_row_id)
    .outerjoin(_new_sale, _new_sale.c.id == operation.c.new_sale_row_id)
)

READS: dict[str, Select[Any]] = {
    "operation_by_request": _operations.where(
        operation.c.principal_id == bindparam("principal_id"),
        operation.c.request_id == bindparam("request_id"),
    ),
    "operation_by_number": _operations.where(
        operation.c.utility_id == _UTILITY, operation.c.number == bindparam("number")
    ),
    "look_operations": _operations.where(
        operation.c.utility_id == _UTILITY,
        operation.c.id < bindparam("before"),
        or_(_KIND.is_(None), operation.c.kind == _KIND),
    )
    .order_by(operation.c.id.desc())
    .limit(_LIMIT),
    # What is left of a sale in the books: everything that was booked for it, by account.
    "postings_of_sale": select(
        ledger.c.id,
        ledger.c.code,
        ledger.c.balance_minor,
        func.sum(posting.c.amount_minor).label("amount_minor"),
    )
    .select_from(journal)
    .join(posting, posting.c.journal_id == journal.c.id)
    .join(ledger, ledger.c.id == posting.c.ledger_account_id)
    .where(journal.c.sale_row_id == bindparam("sale_row_id"))
    .group_by(ledger.c.id, ledger.c.code, ledger.c.balance_minor)
    .order_by(ledger.c.id),
    "tokens_to_correct": select(
        token.c.id, token.c.state, token.c.issued_us, token.c.accepted_us
    ).where(token.c.sale_row_id == bindparam("sale_row_id"), token.c.purpose != "key_change"),
    "correction_sent": select(func.max(command.c.sent_us).label("sent_us")).where(
        command.c.meter_id == bindparam("meter_id"),
        command.c.sale_row_id == bindparam("sale_row_id"),
    ),
    "correction_device": select(
        device.c.id, device.c.received_us, device.c.credit_total, device.c.credit_proven
    ).where(device.c.meter_id == bindparam("meter_id")),
    # A purchase that took back the cheap units of earlier ones rests on all of these; one that
    # corrected them to new prices names them in its situation.
    "correction_later": select(sale.c.receipt_number, sale.c.lifeline_units, sale.c.situation)
    .where(
        sale.c.supply_point_id == bindparam("supply_point_id"),
        sale.c.id > bindparam("after_id"),
        sale.c.state != "voided",
        sale.c.state != "reversed",
        or_(sale.c.lifeline_units < 0, sale.c.situation.like('%"repriced_sales"%')),
    )
    .order_by(sale.c.id),
    "kept_spoken_for": select(func.coalesce(func.sum(sale.c.kept_minor), 0).label("minor")).where(
        sale.c.state == "pending",
        sale.c.account_id == bindparam("account_id"),
        sale.c.kept_minor < 0,
    ),
}

UPDATES: dict[str, UpdateBase] = {
    "sale_reverse": update(sale)
    .where(
        sale.c.id == bindparam("sale_row_id"),
        sale.c.state == "issued",
        sale.c.delivery == bindparam("old_delivery"),
    )
    .values(state="reversed", delivery=bindparam("new_delivery")),
    "token_withdraw": update(token)
    .where(token.c.id == bindparam("token_id"), token.c.state == "issued")
    .values(state="withdrawn"),
}

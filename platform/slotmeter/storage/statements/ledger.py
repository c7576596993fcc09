"""What the books of a utility are looked at by: balances, periods, journals."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, func, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA
from slotmeter.vending.ledger import NUMBERED

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
journal = _t["journal"]
ledger = _t["ledger_account"]
period = _t["accounting_period"]
posting = _t["posting"]
principal = _t["principal"]
sale = _t["sale"]

_UTILITY: BindParameter[int] = bindparam("utility_id")
_LIMIT: BindParameter[int] = bindparam("limit")
_AFTER_US: BindParameter[int] = bindparam("after_us")

_CONTROL: ColumnElement[str] = case(
    *((ledger.c.code.startswith(f"{family}:"), family) for family in NUMBERED),
    else_=ledger.c.code,
)
"""Under which code a balance sheet shows an account: see ``vending.ledger.control_code``."""

_IN_TIME: tuple[ColumnElement[bool], ...] = (
    journal.c.utility_id == _UTILITY,
    journal.c.at_us >= bindparam("from_us"),
    journal.c.at_us < bindparam("to_us"),
)

_debits = func.sum(case((posting.c.amount_minor > 0, posting.c.amount_minor), else_=0))
_credits = func.sum(case((posting.c.amount_minor < 0, -posting.c.amount_minor), else_=0))

_periods: Select[Any] = select(period, principal.c.name.label("closed_by")).join(
    principal, principal.c.id == period.c.principal_id
)

READS: dict[str, Select[Any]] = {
    "ledger_movement": select(
        _CONTROL.label("control"),
        posting.c.currency,
        _debits.label("debits"),
        _credits.label("credits"),
        func.count(posting.c.id).label("postings"),
    )
    .select_from(journal)
    .join(posting, posting.c.journal_id == journal.c.id)
    .join(ledger, ledger.c.id == posting.c.ledger_account_id)
    .where(*_IN_TIME)
    .group_by("control", posting.c.currency)
    .order_by("control", posting.c.currency),
    "ledger_journals": select(func.count(journal.c.id).label("count")).where(*_IN_TIME),
    # The newest period that ended by an instant.
    "ledger_period_before": _periods.where(
        period.c.utility_id == _UTILITY, period.c.to_us <= bindparam("at_us")
    )
    .order_by(period.c.to_us.desc())
    .limit(1),
    "ledger_period_through": _periods.where(
        period.c.utility_id == _UTILITY, period.c.to_us == bindparam("to_us")
    ),
    "look_ledger_periods": _periods.where(
        period.c.utility_id == _UTILITY, period.c.to_us < bindparam("before_us")
    )
    .order_by(period.c.to_us.desc())
    .limit(_LIMIT),
    "look_ledger_accounts": select(
        ledger.c.code,
        ledger.c.kind,
        ledger.c.currency,
        ledger.c.balance_minor,
        ledger.c.reserved_minor,
        ledger.c.limit_minor,
    )
    .where(
        ledger.c.utility_id == _UTILITY,
        ledger.c.code > bindparam("after"),
        ledger.c.code >= bindparam("first"),
        ledger.c.code < bindparam("beyond"),
    )
    .order_by(ledger.c.code)
    .limit(_LIMIT),
    # Ids grow with time, so that the postings of one instant are in the order of their journals.
    "look_journal": select(
        journal.c.id.label("journal_id"),
        posting.c.id.label("posting_id"),
        journal.c.at_us,
        journal.c.kind,
        journal.c.reason,
        sale.c.receipt_number,
        principal.c.name.label("principal"),
        ledger.c.code,
        posting.c.amount_minor,
        posting.c.currency,
    )
    .select_from(journal)
    .join(posting, posting.c.journal_id == journal.c.id)
    .join(ledger, ledger.c.id == posting.c.ledger_account_id)
    .outerjoin(sale, sale.c.id == journal.c.sale_row_id)
    .outerjoin(principal, principal.c.id == journal.c.principal_id)
    .where(
        *_IN_TIME,
        journal.c.at_us >= _AFTER_US,
        or_(
            journal.c.at_us > _AFTER_US,
            and_(journal.c.at_us == _AFTER_US, posting.c.id > bindparam("after_id")),
        ),
    )
    .order_by(journal.c.at_us, posting.c.id)
    .limit(_LIMIT),
}

UPDATES: dict[str, UpdateBase] = {}

"""Sums of ``ledger verify``: what one span of ids adds to accounts, and accounts to hold them to.

Each reads the rows from ``from_id`` on and before ``to_id``, in order. Sums of several spans are
added up by whoever asks.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, func, literal, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import FromClause, Select

from slotmeter.storage.schema import METADATA
from slotmeter.storage.statements.debts import OF_SALES

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
account = _t["account"]
branch = _t["branch"]
charge = _t["charge"]
debt = _t["debt"]
id_block = _t["id_block"]
journal = _t["journal"]
ledger = _t["ledger_account"]
meter_charge = _t["meter_charge"]
posting = _t["posting"]
sale = _t["sale"]
taken = _t["debt_taken"]
_advance = ledger.alias("advance")
_postpaid = ledger.alias("postpaid")

_UTILITY: BindParameter[int] = bindparam("utility_id")


def _in_span(of: FromClause) -> ColumnElement[bool]:
    return and_(of.c.id >= bindparam("from_id"), of.c.id < bindparam("to_id"))


def _of_utility(of: FromClause) -> ColumnElement[bool]:
    """Return whether a row is the utility's; the sum keeps SQLite from an index of utilities."""
    return of.c.utility_id + 0 == _UTILITY


def _sum(what: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(what), 0)


# Few, by the index of pending sales.
_till: ColumnElement[Any] = literal("till:") + branch.c.code
_pending_by_till: Select[Any] = (
    select(_till.label("code"), _sum(sale.c.tender_minor).label("minor"))
    .select_from(sale)
    .join(branch, branch.c.id == sale.c.branch_id)
    .where(branch.c.utility_id == _UTILITY, sale.c.state == "pending")
    .group_by(branch.c.code)
)

READS: dict[str, Select[Any]] = {
    "ledger_ids": select(id_block.c.next_id).where(id_block.c.name == "id"),
    "span_postings": select(
        posting.c.ledger_account_id.label("id"),
        _sum(posting.c.amount_minor).label("posted"),
        _sum(case((OF_SALES, posting.c.amount_minor), else_=0)).label("by_sales"),
        _sum(case((journal.c.kind == "consumption", posting.c.amount_minor), else_=0)).label(
            "by_use"
        ),
    )
    .select_from(posting)
    .outerjoin(journal, journal.c.id == posting.c.journal_id)
    .where(_in_span(posting))
    .group_by(posting.c.ledger_account_id),
    "span_kept": select(sale.c.account_id.label("id"), _sum(sale.c.kept_minor).label("minor"))
    .where(_in_span(sale), _of_utility(sale), sale.c.state == "issued", sale.c.kept_minor != 0)
    .group_by(sale.c.account_id),
    "span_metered": select(
        meter_charge.c.account_id.label("id"), _sum(meter_charge.c.charged_minor).label("minor")
    )
    .where(_in_span(meter_charge), _of_utility(meter_charge))
    .group_by(meter_charge.c.account_id),
    "span_charged": select(charge.c.code, _sum(charge.c.taken_minor).label("minor"))
    .where(_in_span(charge), _of_utility(charge))
    .group_by(charge.c.code),
    "span_repaid": select(taken.c.debt_id.label("id"), _sum(taken.c.minor).label("minor"))
    .join(sale, and_(sale.c.id == taken.c.sale_row_id, sale.c.state == "issued"))
    .where(_in_span(taken))
    .group_by(taken.c.debt_id),
    "pending_by_till": _pending_by_till,
    "span_ledger_accounts": select(
        ledger.c.id, ledger.c.code, ledger.c.balance_minor, ledger.c.reserved_minor
    ).where(_in_span(ledger), _of_utility(ledger)),
    "span_accounts": select(
        account.c.id,
        account.c.number,
        _advance.c.id.label("advance_id"),
        _postpaid.c.id.label("postpaid_id"),
    )
    .select_from(account)
    .outerjoin(
        _advance,
        and_(
            _advance.c.utility_id == account.c.utility_id,
            _advance.c.code == literal("advance:") + account.c.number,
        ),
    )
    .outerjoin(
        _postpaid,
        and_(
            _postpaid.c.utility_id == account.c.utility_id,
            _postpaid.c.code == literal("customer:") + account.c.number,
        ),
    )
    .where(_in_span(account), _of_utility(account)),
    "span_debts": select(debt.c.id, debt.c.number, debt.c.ledger_account_id).where(
        _in_span(debt), _of_utility(debt)
    ),
}

UPDATES: dict[str, UpdateBase] = {}

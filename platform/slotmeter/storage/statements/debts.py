"""Statements of debts beside the sale: what the office changes, lists and sums."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text, and_, bindparam, case, func, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA
from slotmeter.storage.statements.debt_sales import BALANCE, OPEN, PENDING, STANDS

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
account = _t["account"]
account_block = _t["account_block"]
customer = _t["customer"]
debt = _t["debt"]
debt_log = _t["debt_log"]
installation = _t["installation"]
journal = _t["journal"]
ledger = _t["ledger_account"]
meter = _t["meter"]
posting = _t["posting"]
principal = _t["principal"]
sale = _t["sale"]
supply_point = _t["supply_point"]
taken = _t["debt_taken"]
releaser = principal.alias("releaser")

_UTILITY: BindParameter[int] = bindparam("utility_id")
_LIMIT: BindParameter[int] = bindparam("limit")

_first_supply_point = (
    select(func.min(supply_point.c.id))
    .where(supply_point.c.account_id == account.c.id)
    .correlate(account)
    .scalar_subquery()
)
_area = (
    select(supply_point.c.area)
    .where(supply_point.c.id == _first_supply_point)
    .correlate(account)
    .scalar_subquery()
)
"""An account lies where its oldest supply point does."""

_platform_meters = (
    select(func.count(meter.c.id))
    .select_from(supply_point)
    .join(
        installation,
        and_(installation.c.supply_point_id == supply_point.c.id, installation.c.to_us.is_(None)),
    )
    .join(meter, meter.c.id == installation.c.meter_id)
    .where(supply_point.c.account_id == account.c.id, meter.c.credit_mode == "platform")
    .correlate(account)
    .scalar_subquery()
)

_emergency_credits = (
    select(func.count(debt.c.id))
    .where(debt.c.account_id == account.c.id, debt.c.kind == "emergency_credit", OPEN)
    .correlate(account)
    .scalar_subquery()
)

_debts: Select[Any] = (
    select(
        *debt.c,
        account.c.number.label("account"),
        ledger.c.code.label("ledger_code"),
        ledger.c.currency,
        ledger.c.balance_minor,
        PENDING.label("pending_minor"),
    )
    .join(account, account.c.id == debt.c.account_id)
    .join(ledger, ledger.c.id == debt.c.ledger_account_id)
)

_blocks: Select[Any] = (
    select(
        account_block.c.id,
        account.c.number.label("account"),
        account_block.c.reason,
        principal.c.name.label("blocked_by"),
        account_block.c.from_us,
        account_block.c.released_us,
        releaser.c.name.label("released_by"),
        account_block.c.release_reason,
    )
    .join(account, account.c.id == account_block.c.account_id)
    .join(principal, principal.c.id == account_block.c.principal_id)
    .outerjoin(releaser, releaser.c.id == account_block.c.released_by)
)

_FROM: BindParameter[int] = bindparam("from_us")
_STATE: BindParameter[str] = bindparam("state", type_=Text())
_KIND: BindParameter[str] = bindparam("kind")
_ACCOUNT: BindParameter[str] = bindparam("account")

_WANTED: tuple[ColumnElement[bool], ...] = (
    debt.c.id < bindparam("before"),
    or_(_KIND.is_(None), debt.c.kind == _KIND),
    or_(
        _STATE.is_(None),
        debt.c.state == _STATE,
        and_(_STATE == "open", debt.c.state == "suspended"),
    ),
)
"""Which debts a list shows; nothing said shows all."""

OF_SALES: ColumnElement[bool] = or_(journal.c.kind == "sale", journal.c.kind == "sale_reversal")
"""Journals of sales, and of what took sales back."""

_state_by_ledger = case(
    (ledger.c.balance_minor < 0, "not below zero"),
    (and_(OPEN, ledger.c.balance_minor == 0), "closed"),
    (and_(~OPEN, ledger.c.balance_minor != 0), "open"),
    else_=debt.c.state,
)


def _sum(what: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((what, posting.c.amount_minor), else_=0)), 0)


def _in_month(*kinds: str) -> ColumnElement[bool]:
    return and_(journal.c.at_us >= _FROM, or_(*(journal.c.kind == kind for kind in kinds)))


READS: dict[str, Select[Any]] = {
    "debt_repayments": select(taken.c.debt_id, taken.c.at_us, taken.c.minor)
    .join(sale, and_(sale.c.id == taken.c.sale_row_id, STANDS))
    .where(taken.c.debt_id == bindparam("debt_id"))
    .order_by(taken.c.at_us),
    "debt_by_number": _debts.where(
        debt.c.utility_id == _UTILITY, debt.c.number == bindparam("number")
    ),
    "debt_created": select(debt_log.c.detail)
    .where(debt_log.c.debt_id == bindparam("debt_id"), debt_log.c.what == "created")
    .limit(1),
    "debt_account": select(
        account.c.id,
        account.c.number,
        account.c.currency,
        customer.c.name.label("customer_name"),
        _platform_meters.label("platform_meters"),
        _emergency_credits.label("emergency_credits"),
    )
    .join(customer, customer.c.id == account.c.customer_id)
    .where(account.c.utility_id == _UTILITY, account.c.number == bindparam("number")),
    "debts_bearing_interest": _debts.where(
        debt.c.utility_id == _UTILITY,
        OPEN,
        debt.c.interest.is_not(None),
        debt.c.id > bindparam("after"),
    )
    .order_by(debt.c.id)
    .limit(_LIMIT),
    "look_debts": _debts.where(debt.c.utility_id == _UTILITY, *_WANTED)
    .order_by(debt.c.id.desc())
    .limit(_LIMIT),
    "look_debts_of_account": _debts.where(debt.c.account_id == bindparam("account_id"), *_WANTED)
    .order_by(debt.c.id.desc())
    .limit(_LIMIT),
    "look_debt_log": select(
        debt_log.c.at_us,
        debt_log.c.what,
        debt_log.c.detail,
        principal.c.name.label("principal"),
    )
    .outerjoin(principal, principal.c.id == debt_log.c.principal_id)
    .where(debt_log.c.debt_id == bindparam("debt_id"))
    .order_by(debt_log.c.id.desc())
    .limit(_LIMIT),
    "look_debt_movements": select(
        journal.c.at_us,
        journal.c.kind,
        journal.c.reason,
        posting.c.amount_minor,
        sale.c.receipt_number,
    )
    .join(journal, journal.c.id == posting.c.journal_id)
    .outerjoin(sale, sale.c.id == journal.c.sale_row_id)
    .where(posting.c.ledger_account_id == bindparam("ledger_account_id"))
    .order_by(posting.c.id.desc())
    .limit(_LIMIT),
    "check_debts_owed": select(
        debt.c.number.label("subject"),
        _state_by_ledger.label("expected"),
        debt.c.state.label("found"),
    )
    .join(ledger, ledger.c.id == debt.c.ledger_account_id)
    .where(
        debt.c.id >= bindparam("from_id"),
        debt.c.id < bindparam("to_id"),
        debt.c.utility_id + 0 == _UTILITY,
        _state_by_ledger != debt.c.state,
    )
    .order_by("subject")
    .limit(_LIMIT),
    "account_block_open": _blocks.where(
        account_block.c.utility_id == _UTILITY,
        account.c.number == bindparam("number"),
        account_block.c.released_us.is_(None),
    ),
    "account_block": _blocks.where(
        account_block.c.utility_id == _UTILITY, account_block.c.id == bindparam("block_id")
    ),
    "look_account_blocks": _blocks.where(
        account_block.c.utility_id == _UTILITY,
        account_block.c.id < bindparam("before"),
        or_(_ACCOUNT.is_(None), account.c.number == _ACCOUNT),
        or_(bindparam("only_open") == 0, account_block.c.released_us.is_(None)),
    )
    .order_by(account_block.c.id.desc())
    .limit(_LIMIT),
    # Every posting of a debt's account falls into one of the columns, so that they add up.
    "debt_movements_by_area": select(
        func.coalesce(_area, "").label("area"),
        debt.c.kind,
        _sum(journal.c.at_us < _FROM).label("before_minor"),
        _sum(_in_month("debt", "debt_reversal")).label("billed_minor"),
        _sum(_in_month("interest")).label("interest_minor"),
        _sum(_in_month("sale", "sale_reversal")).label("collected_minor"),
        _sum(_in_month("write_off")).label("written_off_minor"),
        func.sum(posting.c.amount_minor).label("outstanding_minor"),
        func.count(func.distinct(debt.c.id)).label("debts"),
    )
    .select_from(debt)
    .join(account, account.c.id == debt.c.account_id)
    .join(posting, posting.c.ledger_account_id == debt.c.ledger_account_id)
    .join(journal, journal.c.id == posting.c.journal_id)
    .where(debt.c.utility_id == _UTILITY, journal.c.at_us < bindparam("to_us"))
    .group_by("area", debt.c.kind)
    .order_by("area", debt.c.kind),
}

UPDATES: dict[str, UpdateBase] = {
    # What a sale had repaid is owed again.
    "debt_reopen": update(debt)
    .where(debt.c.id == bindparam("debt_id"), ~OPEN, BALANCE > 0)
    .values(state="open"),
    "debt_set_plan": update(debt)
    .where(debt.c.id == bindparam("debt_id"), debt.c.plan == bindparam("old_plan"), OPEN)
    .values(plan=bindparam("new_plan"), starts_us=bindparam("new_starts_us")),
    "debt_set_interest": update(debt)
    .where(debt.c.id == bindparam("debt_id"), debt.c.interest == bindparam("old_interest"), OPEN)
    .values(interest=bindparam("new_interest")),
    "debt_cancel": update(debt)
    .where(debt.c.id == bindparam("debt_id"), OPEN, BALANCE == 0)
    .values(state="cancelled"),
    "account_release": update(account_block)
    .where(account_block.c.id == bindparam("block_id"), account_block.c.released_us.is_(None))
    .values(
        released_us=bindparam("at_us"),
        released_by=bindparam("by_principal"),
        release_reason=bindparam("why"),
    ),
}

"""Statements of ``ledger verify``: each one finds what must not be there.

A check gives rows of ``subject``, ``expected`` and ``found``; no row means that it holds. The
counts say how much was looked at, so that an empty database does not look like a proof.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, func, literal, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import FromClause, ScalarSelect, Select

from slotmeter.storage.schema import METADATA
from slotmeter.storage.statements.debts import OF_SALES

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
account = _t["ledger_account"]
journal = _t["journal"]
posting = _t["posting"]
sale = _t["sale"]
token = _t["token"]
branch = _t["branch"]
charge = _t["charge"]
meter = _t["meter"]
meter_charge = _t["meter_charge"]
customer_account = _t["account"]
claim = _t["free_claim"]

_UTILITY: BindParameter[int] = bindparam("utility_id")
_LIMIT: BindParameter[int] = bindparam("limit")


def _difference(
    subject: ColumnElement[Any], expected: ColumnElement[Any], found: ColumnElement[Any]
) -> Select[Any]:
    return select(subject.label("subject"), expected.label("expected"), found.label("found"))


def _count(what: ColumnElement[Any], *where: ColumnElement[bool]) -> Select[Any]:
    return select(func.count(what).label("count")).where(*where)


def _zero() -> ColumnElement[int]:
    return literal(0)


_posted = func.coalesce(func.sum(posting.c.amount_minor), 0)
_journals = func.count(journal.c.id)
_taken_in = func.coalesce(
    func.sum(case((account.c.code == literal("till:") + branch.c.code, posting.c.amount_minor))), 0
)
"""What the till was debited with; a rounding that the customer gains is a debit too."""
# A set of key change tokens is no credit, and comes again with every sale until it was taken.
_made = func.count(case((token.c.purpose != "key_change", token.c.digits)))
# What is stored of the same digits is another text each time; the keyed hash is the same.
_which_digits = func.coalesce(token.c.digits_index, token.c.digits)
_pending = func.coalesce(func.sum(sale.c.tender_minor), 0)
_metered_sums = (
    select(meter_charge.c.account_id, func.sum(meter_charge.c.charged_minor).label("charged"))
    .where(meter_charge.c.utility_id == bindparam("utility_id"))
    .group_by(meter_charge.c.account_id)
    .subquery("metered_sums")
)
_metered = func.coalesce(_metered_sums.c.charged, 0)
_consumed = (
    select(func.coalesce(func.sum(posting.c.amount_minor), 0))
    .join(journal, and_(journal.c.id == posting.c.journal_id, journal.c.kind == "consumption"))
    .join(account, account.c.id == posting.c.ledger_account_id)
    .where(
        account.c.utility_id == customer_account.c.utility_id,
        account.c.code == literal("customer:") + customer_account.c.number,
    )
    .scalar_subquery()
)
_is_reversed: ColumnElement[bool] = sale.c.state == "reversed"
_is_sold = or_(sale.c.state == "issued", _is_reversed)
_is_booked = case((and_(_is_sold, sale.c.tender_minor > 0), 1), else_=0)
_buys = or_(sale.c.units > 0, func.coalesce(sale.c.transfer_minor, 0) > 0)
_claims = select(func.count(claim.c.id)).where(claim.c.sale_row_id == sale.c.id).scalar_subquery()
_tokens_due = case((sale.c.credit_mode == "meter", case((_buys, 1), else_=0) + _claims), else_=0)
_claimed = (
    select(func.coalesce(func.sum(claim.c.units), 0))
    .where(claim.c.sale_row_id == sale.c.id)
    .scalar_subquery()
)
_given = func.coalesce(func.sum(case((token.c.purpose == "free", token.c.amount))), 0)


def _booked_by_sales(code: ColumnElement[str], of: FromClause) -> ScalarSelect[int]:
    """Return what sales posted to the ledger account of a code."""
    return (
        select(func.coalesce(func.sum(posting.c.amount_minor), 0))
        .join(journal, and_(journal.c.id == posting.c.journal_id, OF_SALES))
        .join(account, account.c.id == posting.c.ledger_account_id)
        .where(account.c.utility_id == of.c.utility_id, account.c.code == code)
        .correlate(of)
        .scalar_subquery()
    )


# Added up for all accounts at once: none of these tables has an index of accounts.
_kept_sums = (
    select(sale.c.account_id, func.sum(sale.c.kept_minor).label("kept"))
    .where(sale.c.utility_id == bindparam("utility_id"), sale.c.state == "issued")
    .group_by(sale.c.account_id)
    .subquery("kept_sums")
)
_kept_by_sales = func.coalesce(_kept_sums.c.kept, 0)
_advanced = _booked_by_sales(literal("advance:") + customer_account.c.number, customer_account)
_is_pending = (
    select(sale.c.id)
    .where(sale.c.utility_id == bindparam("utility_id"), sale.c.state == "pending")
    .exists()
)
_charge_sums = (
    select(charge.c.utility_id, charge.c.code, func.sum(charge.c.taken_minor).label("taken"))
    .where(charge.c.utility_id == bindparam("utility_id"))
    .group_by(charge.c.utility_id, charge.c.code)
    .subquery()
)
_earned_by_charge = _booked_by_sales(literal("income:charge:") + _charge_sums.c.code, _charge_sums)

_operation = _t["ledger_operation"]
_swap = _t["meter_swap"]
_reversals = (
    select(func.count(_operation.c.id))
    .where(
        _operation.c.sale_row_id == sale.c.id,
        or_(_operation.c.kind == "reversal", _operation.c.kind == "replacement"),
    )
    .correlate(sale)
    .scalar_subquery()
)
# The money itself may go back another way than it came: from the bank instead of from the till.
_is_money = or_(account.c.code == "bank", account.c.code.startswith("till:"))
_left_of_sale = func.sum(case((_is_money, 0), else_=posting.c.amount_minor))

READS: dict[str, Select[Any]] = {
    "check_journals_balance": _difference(journal.c.id, _zero(), _posted)
    .join(posting, posting.c.journal_id == journal.c.id)
    .where(journal.c.utility_id == _UTILITY)
    .group_by(journal.c.id, posting.c.currency)
    .having(_posted != 0)
    .order_by("subject")
    .limit(_LIMIT),
    "check_journals_complete": _difference(journal.c.id, literal(2), func.count(posting.c.id))
    .outerjoin(posting, posting.c.journal_id == journal.c.id)
    .where(journal.c.utility_id == _UTILITY)
    .group_by(journal.c.id)
    .having(func.count(posting.c.id) < 2)
    .order_by("subject")
    .limit(_LIMIT),
    "check_balances": _difference(account.c.code, _posted, account.c.balance_minor)
    .outerjoin(posting, posting.c.ledger_account_id == account.c.id)
    .where(account.c.utility_id == _UTILITY)
    .group_by(account.c.code, account.c.balance_minor)
    .having(_posted != account.c.balance_minor)
    .order_by("subject")
    .limit(_LIMIT),
    "check_posting_scope": _difference(posting.c.id, account.c.currency, posting.c.currency)
    .join(account, account.c.id == posting.c.ledger_account_id)
    .join(journal, journal.c.id == posting.c.journal_id)
    .where(
        posting.c.utility_id == _UTILITY,
        or_(
            posting.c.currency != account.c.currency,
            posting.c.utility_id != account.c.utility_id,
            posting.c.utility_id != journal.c.utility_id,
        ),
    )
    .order_by("subject")
    .limit(_LIMIT),
    "check_sales_booked": _difference(sale.c.receipt_number, _is_booked, _journals)
    .outerjoin(journal, and_(journal.c.sale_row_id == sale.c.id, journal.c.kind == "sale"))
    .where(sale.c.utility_id == _UTILITY)
    .group_by(sale.c.id, sale.c.receipt_number, sale.c.state, sale.c.tender_minor)
    .having(_journals != _is_booked)
    .order_by("subject")
    .limit(_LIMIT),
    "check_sales_tender": _difference(sale.c.receipt_number, sale.c.tender_minor, _taken_in)
    .join(journal, and_(journal.c.sale_row_id == sale.c.id, journal.c.kind == "sale"))
    .join(posting, posting.c.journal_id == journal.c.id)
    .join(account, account.c.id == posting.c.ledger_account_id)
    .join(branch, branch.c.id == sale.c.branch_id)
    .where(sale.c.utility_id == _UTILITY)
    .group_by(sale.c.id, sale.c.receipt_number, sale.c.tender_minor)
    .having(_taken_in != sale.c.tender_minor)
    .order_by("subject")
    .limit(_LIMIT),
    "check_sales_tokens": _difference(sale.c.receipt_number, _tokens_due, _made)
    .outerjoin(token, token.c.sale_row_id == sale.c.id)
    .where(sale.c.utility_id == _UTILITY, sale.c.state == "issued")
    .group_by(sale.c.id)
    .having(_made != _tokens_due)
    .order_by("subject")
    .limit(_LIMIT),
    "check_pending_tokens": _difference(sale.c.receipt_number, _zero(), _made)
    .join(token, token.c.sale_row_id == sale.c.id)
    .where(sale.c.utility_id == _UTILITY, sale.c.state == "pending")
    .group_by(sale.c.id, sale.c.receipt_number)
    .having(_made != 0)
    .order_by("subject")
    .limit(_LIMIT),
    "check_token_amounts": _difference(sale.c.receipt_number, sale.c.units, token.c.amount)
    .join(token, token.c.sale_row_id == sale.c.id)
    .where(
        sale.c.utility_id == _UTILITY,
        token.c.purpose == "credit",
        token.c.amount != sale.c.units,
    )
    .order_by("subject")
    .limit(_LIMIT),
    "check_free_units": _difference(sale.c.receipt_number, _claimed, _given)
    .outerjoin(token, token.c.sale_row_id == sale.c.id)
    .where(sale.c.utility_id == _UTILITY, sale.c.state == "issued")
    .group_by(sale.c.id)
    .having(_given != _claimed)
    .order_by("subject")
    .limit(_LIMIT),
    "check_tokens_once": _difference(
        func.min(sale.c.receipt_number), literal(1), func.count(token.c.id)
    )
    .join(sale, sale.c.id == token.c.sale_row_id)
    .where(
        token.c.utility_id == _UTILITY,
        token.c.digits.is_not(None),
        token.c.purpose != "key_change",
    )
    .group_by(_which_digits)
    .having(func.count(token.c.id) > 1)
    .order_by("subject")
    .limit(_LIMIT),
    "check_tids_once": _difference(meter.c.number, literal(1), func.count(token.c.id))
    .join(meter, meter.c.id == token.c.meter_id)
    .where(token.c.utility_id == _UTILITY)
    .group_by(meter.c.number, token.c.tid_minute)
    .having(func.count(token.c.id) > 1)
    .order_by("subject")
    .limit(_LIMIT),
    "check_nothing_stuck": _difference(sale.c.receipt_number, literal("issued"), sale.c.state)
    .where(
        sale.c.utility_id == _UTILITY,
        sale.c.state == "pending",
        sale.c.sold_us < bindparam("pending_before_us"),
    )
    .order_by("subject")
    .limit(_LIMIT),
    "check_reserved": _difference(account.c.code, _pending, account.c.reserved_minor)
    .outerjoin(
        branch,
        and_(
            branch.c.utility_id == account.c.utility_id,
            account.c.code == literal("till:") + branch.c.code,
        ),
    )
    .outerjoin(sale, and_(sale.c.branch_id == branch.c.id, sale.c.state == "pending"))
    .where(account.c.utility_id == _UTILITY)
    .group_by(account.c.code, account.c.reserved_minor)
    .having(_pending != account.c.reserved_minor)
    .order_by("subject")
    .limit(_LIMIT),
    "check_reversals": _difference(
        sale.c.receipt_number, case((_is_reversed, 1), else_=0), _reversals
    )
    .where(sale.c.utility_id == _UTILITY, case((_is_reversed, 1), else_=0) != _reversals)
    .order_by("subject")
    .limit(_LIMIT),
    "check_reversed": _difference(sale.c.receipt_number, _zero(), _left_of_sale)
    .join(journal, journal.c.sale_row_id == sale.c.id)
    .join(posting, posting.c.journal_id == journal.c.id)
    .join(account, account.c.id == posting.c.ledger_account_id)
    .where(sale.c.utility_id == _UTILITY, _is_reversed)
    .group_by(sale.c.id, sale.c.receipt_number, account.c.code)
    .having(_left_of_sale != 0)
    .order_by("subject")
    .limit(_LIMIT),
    "check_swaps": _difference(meter.c.number, _swap.c.moved, func.coalesce(token.c.amount, 0))
    .join(meter, meter.c.id == _swap.c.new_meter_id)
    .outerjoin(token, token.c.id == _swap.c.token_id)
    .where(
        _swap.c.utility_id == _UTILITY,
        or_(
            _swap.c.moved > _swap.c.credit,
            # A token of money carries no units.
            and_(
                _swap.c.token_id.is_not(None),
                token.c.amount != case((meter.c.transfer == "currency", 0), else_=_swap.c.moved),
            ),
        ),
    )
    .order_by("subject")
    .limit(_LIMIT),
    "check_charges": _difference(charge.c.id, charge.c.due_minor, charge.c.taken_minor)
    .where(
        charge.c.utility_id == _UTILITY,
        or_(charge.c.taken_minor > charge.c.due_minor, charge.c.taken_minor < 0),
    )
    .order_by("subject")
    .limit(_LIMIT),
    "check_charges_earned": _difference(
        _charge_sums.c.code,
        _charge_sums.c.taken,
        -_earned_by_charge,
    )
    # A sale between its commits has taken its charges and not booked them yet.
    .where(~_is_pending, _charge_sums.c.taken != -_earned_by_charge)
    .order_by("subject")
    .limit(_LIMIT),
    "check_kept": _difference(customer_account.c.number, _kept_by_sales, -_advanced)
    .select_from(customer_account)
    .outerjoin(_kept_sums, _kept_sums.c.account_id == customer_account.c.id)
    .where(customer_account.c.utility_id == _UTILITY, _kept_by_sales != -_advanced)
    .order_by("subject")
    .limit(_LIMIT),
    "check_consumption": _difference(customer_account.c.number, _metered, _consumed)
    .select_from(customer_account)
    .outerjoin(_metered_sums, _metered_sums.c.account_id == customer_account.c.id)
    .where(customer_account.c.utility_id == _UTILITY, _metered != _consumed)
    .order_by("subject")
    .limit(_LIMIT),
    "count_accounts": _count(customer_account.c.id, customer_account.c.utility_id == _UTILITY),
    "count_journals": _count(journal.c.id, journal.c.utility_id == _UTILITY),
    "count_postings": _count(posting.c.id, posting.c.utility_id == _UTILITY),
    "count_ledger_accounts": _count(account.c.id, account.c.utility_id == _UTILITY),
    "count_sales": _count(sale.c.id, sale.c.utility_id == _UTILITY),
    "count_sales_issued": _count(
        sale.c.id, sale.c.utility_id == _UTILITY, sale.c.state == "issued"
    ),
    "count_sales_pending": _count(
        sale.c.id, sale.c.utility_id == _UTILITY, sale.c.state == "pending"
    ),
    "count_sales_reversed": _count(sale.c.id, sale.c.utility_id == _UTILITY, _is_reversed),
    "count_swaps": _count(_swap.c.id, _swap.c.utility_id == _UTILITY),
    "count_tokens": _count(token.c.id, token.c.utility_id == _UTILITY, token.c.digits.is_not(None)),
    "count_charges": _count(charge.c.id, charge.c.utility_id == _UTILITY),
    "sum_tendered": select(_pending.label("count")).where(
        sale.c.utility_id == _UTILITY, sale.c.state == "issued"
    ),
}

UPDATES: dict[str, UpdateBase] = {}

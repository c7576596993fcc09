"""Statements of ``ledger verify``: each one finds what must not be there.

A check gives rows of ``subject``, ``expected`` and ``found``; no row means that it holds. The
counts say how much was looked at, so that an empty database does not look like a proof.

Ids of all tables grow with time together: what hangs on a row has ids near to its own. Checks and
counts of ``SPANNED`` look at the rows from ``from_id`` on and before ``to_id`` and at what hangs
on these, so that a file larger than the memory is read once. Sums by account are in
``ledger_sums``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, func, literal, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import FromClause, Select

from slotmeter.storage.schema import METADATA

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
claim = _t["free_claim"]

_UTILITY: BindParameter[int] = bindparam("utility_id")
_LIMIT: BindParameter[int] = bindparam("limit")
_OF_UTILITY = sale.c.utility_id + 0 == _UTILITY
"""For the few that are pending: leaves a database no index but theirs."""
_FROM: BindParameter[int] = bindparam("from_id")
_TO: BindParameter[int] = bindparam("to_id")


def _in_span(of: FromClause) -> tuple[ColumnElement[bool], ...]:
    """Return which rows of a table a span has.

    The sum keeps SQLite from an index of the utility, which would go through all its rows.
    """
    return (of.c.id >= _FROM, of.c.id < _TO, of.c.utility_id + 0 == _UTILITY)


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
_digits_twice = (
    select(token.c.digits_index)
    .where(token.c.digits_index.is_not(None))
    .group_by(token.c.digits_index)
    .having(func.count() > 1)
    .subquery("digits_twice")
)
_tids_twice = (
    select(token.c.meter_id, func.count().label("tokens"))
    .group_by(token.c.meter_id, token.c.tid_minute)
    .having(func.count() > 1)
    .subquery("tids_twice")
)
_pending = func.coalesce(func.sum(sale.c.tender_minor), 0)
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
    .where(*_in_span(journal))
    .group_by(journal.c.id, posting.c.currency)
    .having(_posted != 0)
    .order_by("subject")
    .limit(_LIMIT),
    "check_journals_complete": _difference(journal.c.id, literal(2), func.count(posting.c.id))
    .outerjoin(posting, posting.c.journal_id == journal.c.id)
    .where(*_in_span(journal))
    .group_by(journal.c.id)
    .having(func.count(posting.c.id) < 2)
    .order_by("subject")
    .limit(_LIMIT),
    "check_posting_scope": _difference(posting.c.id, account.c.currency, posting.c.currency)
    .join(account, account.c.id == posting.c.ledger_account_id)
    .join(journal, journal.c.id == posting.c.journal_id)
    .where(
        *_in_span(posting),
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
    .where(*_in_span(sale))
    .group_by(sale.c.id, sale.c.receipt_number, sale.c.state, sale.c.tender_minor)
    .having(_journals != _is_booked)
    .order_by("subject")
    .limit(_LIMIT),
    "check_sales_tender": _difference(sale.c.receipt_number, sale.c.tender_minor, _taken_in)
    .join(journal, and_(journal.c.sale_row_id == sale.c.id, journal.c.kind == "sale"))
    .join(posting, posting.c.journal_id == journal.c.id)
    .join(account, account.c.id == posting.c.ledger_account_id)
    .join(branch, branch.c.id == sale.c.branch_id)
    .where(*_in_span(sale))
    .group_by(sale.c.id, sale.c.receipt_number, sale.c.tender_minor)
    .having(_taken_in != sale.c.tender_minor)
    .order_by("subject")
    .limit(_LIMIT),
    "check_sales_tokens": _difference(sale.c.receipt_number, _tokens_due, _made)
    .outerjoin(token, token.c.sale_row_id == sale.c.id)
    .where(*_in_span(sale), sale.c.state == "issued")
    .group_by(sale.c.id)
    .having(_made != _tokens_due)
    .order_by("subject")
    .limit(_LIMIT),
    "check_pending_tokens": _difference(sale.c.receipt_number, _zero(), _made)
    .join(token, token.c.sale_row_id == sale.c.id)
    .where(_OF_UTILITY, sale.c.state == "pending")
    .group_by(sale.c.receipt_number)
    .having(_made != 0)
    .order_by("subject")
    .limit(_LIMIT),
    "check_token_amounts": _difference(sale.c.receipt_number, sale.c.units, token.c.amount)
    .join(token, token.c.sale_row_id == sale.c.id)
    .where(
        *_in_span(sale),
        token.c.purpose == "credit",
        token.c.amount != sale.c.units,
    )
    .order_by("subject")
    .limit(_LIMIT),
    "check_free_units": _difference(sale.c.receipt_number, _claimed, _given)
    .outerjoin(token, token.c.sale_row_id == sale.c.id)
    .where(*_in_span(sale), sale.c.state == "issued")
    .group_by(sale.c.id)
    .having(_given != _claimed)
    .order_by("subject")
    .limit(_LIMIT),
    # Both go through an index in its order, and look at the few rows of what is there twice.
    "check_tokens_once": _difference(
        func.min(sale.c.receipt_number), literal(1), func.count(token.c.id)
    )
    .select_from(_digits_twice)
    .join(token, token.c.digits_index == _digits_twice.c.digits_index)
    .join(sale, sale.c.id == token.c.sale_row_id)
    .where(
        token.c.utility_id == _UTILITY,
        token.c.digits.is_not(None),
        token.c.purpose != "key_change",
    )
    .group_by(token.c.digits_index)
    .having(func.count(token.c.id) > 1)
    .order_by("subject")
    .limit(_LIMIT),
    # Tokens of before there was an index of digits.
    "check_bare_tokens_once": _difference(
        func.min(sale.c.receipt_number), literal(1), func.count(token.c.id)
    )
    .join(sale, sale.c.id == token.c.sale_row_id)
    .where(
        token.c.utility_id == _UTILITY,
        token.c.digits_index.is_(None),
        token.c.digits.is_not(None),
        token.c.purpose != "key_change",
    )
    .group_by(token.c.digits)
    .having(func.count(token.c.id) > 1)
    .order_by("subject")
    .limit(_LIMIT),
    "check_tids_once": _difference(meter.c.number, literal(1), _tids_twice.c.tokens)
    .select_from(_tids_twice)
    .join(meter, meter.c.id == _tids_twice.c.meter_id)
    .where(meter.c.utility_id == _UTILITY)
    .order_by("subject")
    .limit(_LIMIT),
    "check_nothing_stuck": _difference(sale.c.receipt_number, literal("issued"), sale.c.state)
    .where(
        _OF_UTILITY,
        sale.c.state == "pending",
        sale.c.sold_us + 0 < bindparam("pending_before_us"),
    )
    .order_by("subject")
    .limit(_LIMIT),
    "check_reversals": _difference(
        sale.c.receipt_number, case((_is_reversed, 1), else_=0), _reversals
    )
    .where(*_in_span(sale), case((_is_reversed, 1), else_=0) != _reversals)
    .order_by("subject")
    .limit(_LIMIT),
    "check_reversed": _difference(sale.c.receipt_number, _zero(), _left_of_sale)
    .join(journal, journal.c.sale_row_id == sale.c.id)
    .join(posting, posting.c.journal_id == journal.c.id)
    .join(account, account.c.id == posting.c.ledger_account_id)
    .where(*_in_span(sale), _is_reversed)
    .group_by(sale.c.id, sale.c.receipt_number, account.c.code)
    .having(_left_of_sale != 0)
    .order_by("subject")
    .limit(_LIMIT),
    "check_swaps": _difference(meter.c.number, _swap.c.moved, func.coalesce(token.c.amount, 0))
    .join(meter, meter.c.id == _swap.c.new_meter_id)
    .outerjoin(token, token.c.id == _swap.c.token_id)
    .where(
        *_in_span(_swap),
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
        *_in_span(charge),
        or_(charge.c.taken_minor > charge.c.due_minor, charge.c.taken_minor < 0),
    )
    .order_by("subject")
    .limit(_LIMIT),
    "count_journals": _count(journal.c.id, *_in_span(journal)),
    "count_postings": _count(posting.c.id, *_in_span(posting)),
    "count_sales": _count(sale.c.id, *_in_span(sale)),
    "count_sales_issued": _count(sale.c.id, *_in_span(sale), sale.c.state == "issued"),
    "count_sales_pending": _count(sale.c.id, _OF_UTILITY, sale.c.state == "pending"),
    "count_sales_reversed": _count(sale.c.id, *_in_span(sale), _is_reversed),
    "count_swaps": _count(_swap.c.id, *_in_span(_swap)),
    "count_tokens": _count(token.c.id, *_in_span(token), token.c.digits.is_not(None)),
    "count_charges": _count(charge.c.id, *_in_span(charge)),
    "sum_tendered": select(_pending.label("count")).where(
        *_in_span(sale), sale.c.state == "issued"
    ),
}

UPDATES: dict[str, UpdateBase] = {}

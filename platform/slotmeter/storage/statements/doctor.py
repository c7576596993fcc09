"""What ``slotmeter doctor`` looks for: what a crash can leave, and what nothing may leave."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, literal, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_ledger = _t["ledger_account"]
_posting = _t["posting"]
_branch = _t["branch"]
_sale = _t["sale"]
_command = _t["command"]
_frame = _t["frame"]
_cursor = _t["cursor"]

_posted = func.coalesce(func.sum(_posting.c.amount_minor), 0)
_pending = func.coalesce(func.sum(_sale.c.tender_minor), 0)

READS: dict[str, Select[Any]] = {
    "doctor_balances": select(
        _ledger.c.id,
        _ledger.c.utility_id,
        _ledger.c.code,
        _ledger.c.balance_minor.label("found"),
        _posted.label("expected"),
    )
    .select_from(_ledger)
    .outerjoin(_posting, _posting.c.ledger_account_id == _ledger.c.id)
    .group_by(_ledger.c.id, _ledger.c.utility_id, _ledger.c.code, _ledger.c.balance_minor)
    .having(_posted != _ledger.c.balance_minor)
    .order_by(_ledger.c.id)
    .limit(bindparam("limit")),
    "doctor_reserved": select(
        _ledger.c.id,
        _ledger.c.utility_id,
        _ledger.c.code,
        _ledger.c.reserved_minor.label("found"),
        _pending.label("expected"),
    )
    .select_from(_ledger)
    .outerjoin(
        _branch,
        and_(
            _branch.c.utility_id == _ledger.c.utility_id,
            _ledger.c.code == literal("till:") + _branch.c.code,
        ),
    )
    .outerjoin(_sale, and_(_sale.c.branch_id == _branch.c.id, _sale.c.state == "pending"))
    .group_by(_ledger.c.id, _ledger.c.utility_id, _ledger.c.code, _ledger.c.reserved_minor)
    .having(_pending != _ledger.c.reserved_minor)
    .order_by(_ledger.c.id)
    .limit(bindparam("limit")),
    "doctor_pending": select(func.count(_sale.c.id).label("count")).where(
        _sale.c.state == "pending", _sale.c.sold_us <= bindparam("before_us")
    ),
    "doctor_leases": select(func.count(_command.c.id).label("count")).where(
        _command.c.state == "sent", _command.c.lease_us < bindparam("now_us")
    ),
    "doctor_expired": select(func.count(_command.c.id).label("count")).where(
        _command.c.state.in_([literal("queued"), literal("waiting"), literal("held")]),
        _command.c.expires_us < bindparam("now_us"),
    ),
    "doctor_frames": select(
        _cursor.c.name,
        select(func.count(_frame.c.id))
        .where(_frame.c.id > _cursor.c.position)
        .correlate(_cursor)
        .scalar_subquery()
        .label("count"),
    )
    .where(_cursor.c.name != "tid_floor", _cursor.c.name != "tokens_to_scrub")
    .order_by(_cursor.c.name),
}

UPDATES: dict[str, UpdateBase] = {
    "doctor_set_balance": update(_ledger)
    .where(
        _ledger.c.id == bindparam("ledger_account_id"),
        _ledger.c.balance_minor == bindparam("found"),
    )
    .values(balance_minor=bindparam("expected")),
    "doctor_set_reserved": update(_ledger)
    .where(
        _ledger.c.id == bindparam("ledger_account_id"),
        _ledger.c.reserved_minor == bindparam("found"),
    )
    .values(reserved_minor=bindparam("expected")),
}

"""What the audit reads of itself, and of one sale."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_account = _t["account"]
_act = _t["act"]
_branch = _t["branch"]
_change = _t["key_change"]
_checkpoint = _t["audit_checkpoint"]
_command = _t["command"]
_customer = _t["customer"]
_entry = _t["audit_entry"]
_group = _t["audit_group"]
_journal = _t["journal"]
_ledger = _t["ledger_account"]
_link = _t["key_change_token"]
_log = _t["command_log"]
_managed = _t["management_token"]
_meter = _t["meter"]
_operation = _t["ledger_operation"]
_point = _t["supply_point"]
_posting = _t["posting"]
_principal = _t["principal"]
_print = _t["receipt_print"]
_sale = _t["sale"]
_tariff = _t["tariff"]
_token = _t["token"]
_version = _t["tariff_version"]

_approver = _principal.alias("approver")
_author = _principal.alias("author")

_TOKEN_SEEN = (
    _token.c.purpose,
    _token.c.digits,
    _token.c.state,
    _token.c.amount,
    _token.c.tid_minute,
    _token.c.key_id,
    _token.c.created_us,
    _token.c.issued_us,
    _token.c.accepted_us,
    _token.c.accepted_by,
)
"""What a trace says of every token."""

_TRACED = (
    select(
        _token.c.id,
        _token.c.utility_id,
        _token.c.meter_id,
        _token.c.sale_row_id,
        *_TOKEN_SEEN,
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _sale.c.receipt_number,
        _sale.c.principal_id.label("sold_by_id"),
    )
    .select_from(_token)
    .join(_meter, _meter.c.id == _token.c.meter_id)
    .outerjoin(_sale, _sale.c.id == _token.c.sale_row_id)
    .where(_token.c.utility_id == bindparam("utility_id"))
)

READS: dict[str, Select[Any]] = {
    "audit_newest_group": select(_group.c.seq, _group.c.at_us, _group.c.hash)
    .order_by(_group.c.seq.desc())
    .limit(1),
    "audit_newest_checkpoint": select(
        _checkpoint.c.at_us,
        _checkpoint.c.seq,
        _checkpoint.c.hash,
        _checkpoint.c.public_key,
        _checkpoint.c.signature,
    )
    .order_by(_checkpoint.c.id.desc())
    .limit(1),
    "audit_sale_of_token": select(_sale.c.receipt_number)
    .join(_token, _token.c.sale_row_id == _sale.c.id)
    .where(
        _sale.c.utility_id == bindparam("utility_id"),
        _token.c.digits_index == bindparam("digits_index"),
    )
    .limit(1),
    "audit_sale": select(
        _sale.c.id,
        _sale.c.principal_id,
        _sale.c.sale_id,
        _sale.c.receipt_number,
        _sale.c.state,
        _sale.c.channel,
        _sale.c.tender_minor,
        _sale.c.currency,
        _sale.c.units,
        _sale.c.delivery,
        _sale.c.sold_us,
        _sale.c.issued_us,
        _sale.c.sent_us,
        _sale.c.accepted_us,
        _sale.c.verified_us,
        _sale.c.act,
        _principal.c.name.label("sold_by"),
        _branch.c.code.label("branch"),
        _branch.c.name.label("branch_name"),
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _account.c.number.label("account"),
        _customer.c.name.label("customer"),
        _point.c.number.label("supply_point"),
        _point.c.area,
        _tariff.c.code.label("tariff"),
        _version.c.version.label("tariff_version"),
        _version.c.valid_from_us.label("tariff_from_us"),
        _author.c.name.label("tariff_author"),
        _approver.c.name.label("tariff_approver"),
    )
    .select_from(_sale)
    .join(_principal, _principal.c.id == _sale.c.principal_id)
    .join(_branch, _branch.c.id == _sale.c.branch_id)
    .join(_meter, _meter.c.id == _sale.c.meter_id)
    .join(_account, _account.c.id == _sale.c.account_id)
    .join(_customer, _customer.c.id == _account.c.customer_id)
    .join(_point, _point.c.id == _sale.c.supply_point_id)
    .join(_version, _version.c.id == _sale.c.tariff_version_id)
    .join(_tariff, _tariff.c.id == _version.c.tariff_id)
    .outerjoin(_author, _author.c.id == _version.c.author_id)
    .outerjoin(_approver, _approver.c.id == _version.c.approver_id)
    .where(
        _sale.c.utility_id == bindparam("utility_id"),
        _sale.c.receipt_number == bindparam("receipt_number"),
    ),
    "audit_tokens": select(
        *_TOKEN_SEEN,
    )
    .where(_token.c.sale_row_id == bindparam("sale_row_id"))
    .order_by(_token.c.id),
    "audit_steps": select(_log.c.at_us, _log.c.state, _log.c.detail, _log.c.command_id)
    .join(_command, _command.c.id == _log.c.command_id)
    .join(
        _token,
        and_(_token.c.id == _command.c.token_id, _token.c.meter_id == _command.c.meter_id),
    )
    .where(_token.c.sale_row_id == bindparam("sale_row_id"))
    .order_by(_log.c.id),
    "audit_postings": select(
        _journal.c.id,
        _journal.c.at_us,
        _journal.c.kind,
        _journal.c.reason,
        _ledger.c.code.label("account"),
        _posting.c.amount_minor,
        _posting.c.currency,
    )
    .join(_posting, _posting.c.journal_id == _journal.c.id)
    .join(_ledger, _ledger.c.id == _posting.c.ledger_account_id)
    .where(_journal.c.sale_row_id == bindparam("sale_row_id"))
    .order_by(_posting.c.id),
    "audit_operations": select(
        _operation.c.number,
        _operation.c.kind,
        _operation.c.reason,
        _operation.c.at_us,
        _principal.c.name.label("by"),
    )
    .join(_principal, _principal.c.id == _operation.c.principal_id)
    .where(
        or_(
            _operation.c.sale_row_id == bindparam("sale_row_id"),
            _operation.c.new_sale_row_id == bindparam("sale_row_id"),
        )
    )
    .order_by(_operation.c.id),
    "audit_prints": select(_print.c.at_us, _print.c.form, _principal.c.name.label("by"))
    .join(_principal, _principal.c.id == _print.c.principal_id)
    .where(_print.c.sale_row_id == bindparam("sale_row_id"))
    .order_by(_print.c.id),
    "trace_token": _TRACED.where(_token.c.digits_index == bindparam("digits_index"))
    .order_by(_token.c.id)
    .limit(bindparam("limit")),
    "trace_token_by_id": _TRACED.where(_token.c.id == bindparam("id")),
    "trace_change": select(_change.c.id, _change.c.state)
    .join(_link, _link.c.key_change_id == _change.c.id)
    .where(_link.c.token_id == bindparam("token_id")),
    "trace_managed": select(_managed.c.id).where(_managed.c.token_id == bindparam("token_id")),
    "trace_steps": select(_log.c.at_us, _log.c.state, _log.c.detail, _log.c.command_id)
    .join(_command, _command.c.id == _log.c.command_id)
    .where(
        _command.c.meter_id == bindparam("meter_id"),
        _command.c.token_id == bindparam("token_id"),
    )
    .order_by(_log.c.id),
    "trace_acts": select(
        _act.c.id,
        _act.c.at_us,
        _act.c.principal_id,
        _act.c.api_key_id,
        _act.c.address,
        _act.c.request_id,
        _act.c.what,
        _act.c.subject,
        _act.c.reason,
        _act.c.data,
        _principal.c.name.label("by"),
    )
    .outerjoin(_principal, _principal.c.id == _act.c.principal_id)
    .where(_act.c.utility_id == bindparam("utility_id"), _act.c.at_us == bindparam("at_us"))
    .order_by(_act.c.id)
    .limit(bindparam("limit")),
    # The entry of a unit has the first id after those of its rows.
    "audit_entry_after": select(_entry.c.id, _entry.c.group_seq, _entry.c.at_us, _entry.c.hash)
    .where(_entry.c.id > bindparam("row_id"))
    .order_by(_entry.c.id)
    .limit(1),
}

UPDATES: dict[str, UpdateBase] = {}

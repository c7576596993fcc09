"""What changing the keys of meters reads and changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, literal_column, null, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES", "WAITING"]

_t = METADATA.tables
_meter = _t["meter"]
_device = _t["device"]
_token = _t["token"]
_sale = _t["sale"]
_command = _t["command"]
_change = _t["key_change"]
_link = _t["key_change_token"]
_replacement = _t["key_replacement"]
_principal = _t["principal"]
_group = _t["supply_group"]
_end_principal = _principal.alias("end_principal")

# Said in words, since a parameter would not be seen to be what the index of a part is for.
# The sum hides the sale from a planner that would take its index for the better one.
WAITING = and_(
    _token.c.state == literal_column("'reserved'"),
    (_token.c.sale_row_id + literal_column("0")).is_(None),
)
"""Tokens that no sale makes and that are not made yet."""


def _given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Match a column when the parameter is given; NULL matches everything."""
    wanted: BindParameter[Any] = bindparam(name)
    return or_(wanted.is_(None), column == wanted)


_CHANGE = (
    select(
        _change,
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _meter.c.credit_mode,
        _meter.c.key_id,
        _meter.c.parameters,
        _meter.c.wanted,
        _device.c.id.label("device_id"),
        _device.c.driver,
        _principal.c.name.label("asked_by"),
        _end_principal.c.name.label("ended_by"),
    )
    .select_from(_change)
    .join(_meter, _meter.c.id == _change.c.meter_id)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .outerjoin(_principal, _principal.c.id == _change.c.principal_id)
    .outerjoin(_end_principal, _end_principal.c.id == _change.c.end_principal_id)
    .where(_change.c.utility_id == bindparam("utility_id"))
)

_IS_CREDIT = or_(
    _token.c.purpose == "credit", _token.c.purpose == "free", _token.c.purpose == "replacement"
)

_CREDIT = (
    select(
        _token.c.id,
        _token.c.meter_id,
        _token.c.purpose,
        _token.c.key_id,
        _token.c.parameters,
        _token.c.request,
        _token.c.amount,
        _token.c.state,
        _token.c.created_us,
        _token.c.accepted_us,
        _token.c.sale_row_id,
        _sale.c.receipt_number,
        _replacement.c.new_token_id,
    )
    .select_from(_token)
    .outerjoin(_sale, _sale.c.id == _token.c.sale_row_id)
    .outerjoin(_replacement, _replacement.c.old_token_id == _token.c.id)
    .where(_token.c.utility_id == bindparam("utility_id"), _IS_CREDIT)
)

READS: dict[str, Select[Any]] = {
    "key_meter": select(
        _meter.c.id,
        _meter.c.utility_id,
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.credit_mode,
        _meter.c.state,
        _meter.c.key_id,
        _meter.c.parameters,
        _meter.c.wanted,
        _device.c.id.label("device_id"),
        _device.c.driver,
    )
    .select_from(_meter)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.number == bindparam("number")),
    "key_of_group": select(_group.c.key_name).where(
        _group.c.utility_id == bindparam("utility_id"),
        _group.c.sgc == bindparam("sgc"),
        _group.c.key_name.is_not(None),
    ),
    "key_change_by_id": _CHANGE.where(_change.c.id == bindparam("id")),
    "key_change_of_meter": _CHANGE.where(
        _change.c.meter_id == bindparam("meter_id"), _change.c.state == "open"
    ),
    "key_changes": _CHANGE.where(
        _change.c.id < bindparam("before"),
        _given(_change.c.state, "state"),
        _given(_meter.c.number, "number"),
    )
    .order_by(_change.c.id.desc())
    .limit(bindparam("limit")),
    "key_change_tokens": select(
        _link.c.place,
        _token.c.id,
        _token.c.digits,
        _token.c.request,
        _token.c.state,
        _token.c.accepted_by,
        _token.c.accepted_us,
    )
    .select_from(_link)
    .join(_token, _token.c.id == _link.c.token_id)
    .where(_link.c.key_change_id == bindparam("change_id"))
    .order_by(_link.c.place),
    "key_change_commands": select(
        _command.c.id, _command.c.token_id, _command.c.state, _command.c.result
    )
    .select_from(_link)
    .join(_token, _token.c.id == _link.c.token_id)
    # There is no index of the tokens of commands.
    .join(
        _command,
        and_(_command.c.meter_id == _token.c.meter_id, _command.c.token_id == _link.c.token_id),
    )
    .where(_link.c.key_change_id == bindparam("change_id"))
    .order_by(_command.c.id),
    # What may still be typed, or was and nobody told us: a change of the key makes it worthless.
    "key_unused": _CREDIT.where(
        _token.c.meter_id == bindparam("meter_id"),
        _token.c.state == "issued",
        _token.c.parameters == bindparam("parameters"),
        _token.c.created_us >= bindparam("since_us"),
    )
    .order_by(_token.c.id.desc())
    .limit(bindparam("limit")),
    "key_old_token": _CREDIT.where(_token.c.id == bindparam("id")),
    "key_sold_under": select(func.count().label("tokens"))
    .select_from(_token)
    .where(
        _token.c.utility_id == bindparam("utility_id"),
        _token.c.meter_id == bindparam("meter_id"),
        _token.c.parameters == bindparam("parameters"),
        _token.c.created_us >= bindparam("since_us"),
        _IS_CREDIT,
        _token.c.state != "void",
    ),
    # What proves that a meter took the set: its last token, or any token under the new key.
    "key_proofs": select(_token.c.id, _token.c.purpose)
    .select_from(_token)
    .where(
        _token.c.utility_id == bindparam("utility_id"),
        _token.c.meter_id == bindparam("meter_id"),
        _token.c.created_us >= bindparam("since_us"),
        or_(_token.c.parameters == bindparam("parameters"), _token.c.purpose == "key_change"),
    ),
    "key_token": select(
        _token.c.id,
        _token.c.key_id,
        _token.c.parameters,
        _token.c.request,
        _token.c.digits,
        _token.c.state,
    ).where(_token.c.utility_id == bindparam("utility_id"), _token.c.id == bindparam("id")),
    # Tokens that no sale makes, between their two commits.
    "sole_waiting": select(
        _token.c.id,
        _token.c.utility_id,
        _token.c.meter_id,
        _token.c.purpose,
        _token.c.key_id,
        _token.c.parameters,
        _token.c.request,
        _token.c.amount,
        _meter.c.number.label("meter"),
    )
    .select_from(_token)
    .join(_meter, _meter.c.id == _token.c.meter_id)
    .where(
        WAITING,
        _token.c.id > bindparam("after_id"),
        _token.c.created_us <= bindparam("before_us"),
    )
    .order_by(_token.c.id)
    .limit(bindparam("limit")),
    "sole_waiting_count": select(func.count(_token.c.id).label("count")).where(
        WAITING, _token.c.created_us <= bindparam("before_us")
    ),
    "key_replaced": select(_replacement.c.new_token_id).where(
        _replacement.c.old_token_id == bindparam("old_token_id")
    ),
    "key_replacements": select(
        _replacement.c.old_token_id, _replacement.c.new_token_id, _replacement.c.at_us
    ).where(_replacement.c.key_change_id == bindparam("change_id")),
}

UPDATES: dict[str, UpdateBase] = {
    "sole_issue": update(_token)
    .where(_token.c.id == bindparam("of_token"), _token.c.state == "reserved")
    .values(
        digits=bindparam("new_digits"),
        digits_index=bindparam("new_index"),
        state="issued",
        issued_us=bindparam("at_us"),
    ),
    "sole_void": update(_token)
    .where(_token.c.id == bindparam("of_token"), _token.c.state == "reserved")
    .values(state="void"),
    "key_meter_want": update(_meter)
    .where(
        _meter.c.id == bindparam("of_meter"),
        _meter.c.utility_id == bindparam("of_utility"),
        func.coalesce(_meter.c.wanted, "") == bindparam("of_wanted"),
    )
    .values(wanted=bindparam("to_wanted")),
    "key_meter_coded": update(_meter)
    .where(
        _meter.c.id == bindparam("of_meter"),
        _meter.c.utility_id == bindparam("of_utility"),
        _meter.c.wanted.is_not(None),
    )
    .values(key_id=bindparam("to_key"), parameters=bindparam("to_parameters"), wanted=null()),
    "key_change_end": update(_change)
    .where(
        _change.c.id == bindparam("of_change"),
        _change.c.utility_id == bindparam("of_utility"),
        _change.c.state == "open",
    )
    .values(
        state=bindparam("to_state"),
        proof=bindparam("to_proof"),
        ended_us=bindparam("at_us"),
        end_reason=bindparam("to_reason"),
        end_principal_id=bindparam("to_principal"),
    ),
    "key_token_replaced": update(_token)
    .where(
        _token.c.id == bindparam("of_token"),
        _token.c.utility_id == bindparam("of_utility"),
        _token.c.state == "issued",
        _token.c.accepted_us.is_(None),
    )
    .values(state="replaced"),
}

"""What tokens that manage a meter read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_made = _t["management_token"]
_token = _t["token"]
_meter = _t["meter"]
_principal = _t["principal"]
_command = _t["command"]
_newest = _command.alias("newest")

# How the newest command that carries it goes.
_LAST = (
    select(func.max(_command.c.id))
    .where(_command.c.meter_id == _made.c.meter_id, _command.c.token_id == _made.c.token_id)
    .correlate(_made)
    .scalar_subquery()
)

_MADE = (
    select(
        _made.c.id,
        _made.c.token_id,
        _made.c.request_id,
        _made.c.request_hash,
        _made.c.kind,
        _made.c.value,
        _made.c.reason,
        _made.c.at_us,
        _made.c.principal_id.label("by_id"),
        _principal.c.name.label("asked_by"),
        _meter.c.number.label("meter"),
        _meter.c.wanted,
        _token.c.state,
        _token.c.accepted_by,
        _token.c.accepted_us,
        _newest.c.id.label("command_id"),
        _newest.c.state.label("command_state"),
        _newest.c.result.label("command_result"),
    )
    .select_from(_made)
    .join(_token, _token.c.id == _made.c.token_id)
    .join(_meter, _meter.c.id == _made.c.meter_id)
    .join(_principal, _principal.c.id == _made.c.principal_id)
    .outerjoin(_newest, _newest.c.id == _LAST)
)

READS: dict[str, Select[Any]] = {
    "management_by_id": _MADE.where(
        _made.c.utility_id == bindparam("utility_id"), _made.c.id == bindparam("id")
    ),
    "management_by_request": _MADE.where(
        _made.c.principal_id == bindparam("principal_id"),
        _made.c.request_id == bindparam("request_id"),
    ),
    "management_of_meter": _MADE.where(
        _made.c.utility_id == bindparam("utility_id"),
        _made.c.meter_id == bindparam("meter_id"),
        _made.c.id < bindparam("before"),
    )
    .order_by(_made.c.id.desc())
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {}

"""Config entries and the log of their states."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, func, null, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_entry = _t["integration_entry"]
_log = _t["entry_log"]
_device = _t["device"]

_newest = (
    select(func.max(_log.c.id))
    .where(_log.c.entry_id == _entry.c.id)
    .correlate(_entry)
    .scalar_subquery()
)

_with_state = select(
    _entry,
    _log.c.state.label("state"),
    _log.c.reason.label("reason"),
    _log.c.at_us.label("since_us"),
).outerjoin(_log, _log.c.id == _newest)

READS: dict[str, Select[Any]] = {
    # What is wanted: looked at every few seconds.
    "entries_wanted": select(_entry).order_by(_entry.c.key),
    "entry_list": _with_state.where(_entry.c.key > bindparam("after"))
    .order_by(_entry.c.key)
    .limit(bindparam("limit")),
    "entry_by_key": _with_state.where(_entry.c.key == bindparam("key")),
    "entry_count": select(func.count().label("entries")).select_from(_entry),
    "entry_log_page": select(_log)
    .where(_log.c.entry_id == bindparam("entry"), _log.c.id < bindparam("before"))
    .order_by(_log.c.id.desc())
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {
    "entry_change": update(_entry)
    .where(_entry.c.id == bindparam("of_id"), _entry.c.changed_us == bindparam("expected_us"))
    .values(
        title=bindparam("new_title"),
        options=bindparam("new_options"),
        secrets=bindparam("new_secrets"),
        enabled=bindparam("new_enabled"),
        changed_us=bindparam("new_changed_us"),
    ),
    "entry_remove": delete(_entry).where(
        _entry.c.id == bindparam("of_id"), _entry.c.changed_us == bindparam("expected_us")
    ),
    "entry_devices_let_go": update(_device)
    .where(_device.c.entry_id == bindparam("of_id"))
    .values(entry_id=null()),
}

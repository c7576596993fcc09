"""Meters that are being commissioned, and devices that were heard and nobody has registered."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_device = _t["device"]
_frame = _t["frame"]
_meter = _t["meter"]
_quarantine = _t["quarantine"]
_record = _t["plugin_record"]

_STRANGERS: Final = (
    select(
        _frame.c.id,
        _frame.c.medium,
        _frame.c.address,
        _frame.c.path,
        _frame.c.payload,
        _frame.c.received_us,
        _frame.c.entry_id,
    )
    .join(_quarantine, _quarantine.c.frame_id == _frame.c.id)
    .outerjoin(
        _device,
        and_(_device.c.medium == _frame.c.medium, _device.c.address == _frame.c.address),
    )
    .where(
        _quarantine.c.code == "device_unknown",
        _quarantine.c.replayed_us.is_(None),
        _device.c.id.is_(None),
    )
)
_CLAIMS: Final = (
    select(_record.c.id, _record.c.name, _record.c.body, _record.c.at_us)
    .where(
        _record.c.entry_key == bindparam("entry_key"),
        _record.c.kind == bindparam("kind"),
        _record.c.id < bindparam("before"),
    )
    .order_by(_record.c.id.desc())
    .limit(bindparam("limit"))
)

READS: dict[str, Select[Any]] = {
    # Frames of strangers belong to no utility. In the order of the index that finds them.
    "commissioning_strangers": _STRANGERS.order_by(_quarantine.c.frame_id.desc()).limit(
        bindparam("limit")
    ),
    "commissioning_strangers_after": _STRANGERS.where(_quarantine.c.frame_id > bindparam("after"))
    .order_by(_quarantine.c.frame_id)
    .limit(bindparam("limit")),
    "commissioning_meter": select(
        _meter.c.id,
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.state,
        _device.c.id.label("device_id"),
        _device.c.medium,
        _device.c.address,
        _device.c.driver,
        _device.c.last_contact_us,
        _device.c.node_id,
    )
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.number == bindparam("number")),
    "commissioning_claims": _CLAIMS.where(_record.c.i2 == bindparam("utility")),
    "commissioning_claims_in": _CLAIMS.where(_record.c.i1 == bindparam("utility_state")),
    "commissioning_waiting": _CLAIMS.where(_record.c.i3 == "waiting"),
    "commissioning_counts": select(_record.c.i1, func.count().label("count"))
    .where(
        _record.c.entry_key == bindparam("entry_key"),
        _record.c.kind == bindparam("kind"),
        _record.c.i2 == bindparam("utility"),
    )
    .group_by(_record.c.i1),
}

UPDATES: dict[str, UpdateBase] = {
    # Not when somebody has replayed it just now: a frame takes effect once.
    "commissioning_replayed": update(_quarantine)
    .where(_quarantine.c.frame_id == bindparam("of_frame"), _quarantine.c.replayed_us.is_(None))
    .values(replayed_us=bindparam("to_us"), replays=_quarantine.c.replays + 1),
}

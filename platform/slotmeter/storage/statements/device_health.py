"""How devices are: when each was heard, how well, and what it says of itself."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import and_, bindparam, case, func, literal, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.devices.contacts import FIRST_INTERVAL_US
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_device = _t["device"]
_meter = _t["meter"]
_entry = _t["integration_entry"]
_node = _device.alias("node")
_child = _device.alias("child")

_INTERVAL_US: Final = func.coalesce(_device.c.interval_us, FIRST_INTERVAL_US)
_LATE_US: Final = _device.c.expected_us + _INTERVAL_US // 2
_STATE: Final[ColumnElement[Any]] = case(
    (_device.c.offline_us.is_not(None), literal("offline")),
    (_node.c.offline_us.is_not(None), literal("behind")),
    (_device.c.last_contact_us.is_(None), literal("never")),
    (bindparam("now_us") > _LATE_US, literal("late")),
    else_=literal("on_time"),
)
"""The same words as ``services.device_health.STATES``."""

_BEHIND: Final = select(func.count()).where(_child.c.node_id == _device.c.id).scalar_subquery()
_IN_USE: Final = and_(
    _device.c.utility_id == bindparam("utility_id"),
    or_(_meter.c.id.is_(None), _meter.c.state != "removed"),
)
_HEALTH: Final = (
    select(
        _device.c.id,
        _meter.c.number,
        _meter.c.commodity,
        _device.c.medium,
        _device.c.address,
        _device.c.driver,
        _device.c.serial,
        _device.c.slot,
        _node.c.serial.label("node_serial"),
        _node.c.address.label("node_address"),
        _entry.c.key.label("entry"),
        _device.c.last_contact_us,
        _device.c.expected_us,
        _device.c.interval_us,
        _device.c.contacts,
        _device.c.contacts_missed,
        _device.c.battery,
        _device.c.signal,
        _device.c.clock_offset_us,
        _device.c.clock_drift_ppb,
        _device.c.clock_seen_us,
        _device.c.offline_us,
        _STATE.label("state"),
        _BEHIND.label("behind"),
    )
    .outerjoin(_meter, _meter.c.id == _device.c.meter_id)
    .outerjoin(_node, _node.c.id == _device.c.node_id)
    .outerjoin(_entry, _entry.c.id == _device.c.entry_id)
    .where(_IN_USE)
)


def _given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Match a column when the parameter is given; NULL matches everything."""
    return or_(bindparam(name).is_(None), column == bindparam(name))


def _like(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return column.like(bindparam("like"), escape="\\")


READS: dict[str, Select[Any]] = {
    "health_devices": _HEALTH.where(
        _device.c.id > bindparam("after"),
        _given(_STATE, "state"),
        _given(_device.c.medium, "medium"),
        or_(
            bindparam("like").is_(None),
            _like(_meter.c.number),
            _like(_device.c.address),
            _like(func.coalesce(_device.c.serial, "")),
        ),
    )
    .order_by(_device.c.id)
    .limit(bindparam("limit")),
    "health_device": _HEALTH.where(
        _meter.c.utility_id == bindparam("utility_id"), _meter.c.number == bindparam("number")
    ),
    "health_counts": select(_STATE.label("state"), func.count().label("count"))
    .select_from(_device)
    .outerjoin(_meter, _meter.c.id == _device.c.meter_id)
    .outerjoin(_node, _node.c.id == _device.c.node_id)
    .where(_IN_USE)
    .group_by(_STATE),
}

UPDATES: dict[str, UpdateBase] = {}

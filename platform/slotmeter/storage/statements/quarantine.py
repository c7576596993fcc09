"""Frames that were set aside: listed, counted, and taken once more.

A frame belongs to the utility whose device is at its address now; one of a stranger to nobody, and
everybody who may look at frames sees it.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Text, and_, bindparam, case, func, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_device = _t["device"]
_frame = _t["frame"]
_meter = _t["meter"]
_quarantine = _t["quarantine"]

_JOINED: Final = (
    _quarantine.join(_frame, _frame.c.id == _quarantine.c.frame_id)
    .outerjoin(
        _device,
        and_(_device.c.medium == _frame.c.medium, _device.c.address == _frame.c.address),
    )
    .outerjoin(_meter, _meter.c.id == _device.c.meter_id)
)
_MINE: Final = or_(_device.c.utility_id == bindparam("utility_id"), _device.c.id.is_(None))
_WAITS: Final = _quarantine.c.replayed_us.is_(None)


def _given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Match a column when the parameter is given; NULL matches everything."""
    wanted: BindParameter[Any] = bindparam(name, type_=Text)
    return or_(wanted.is_(None), column == wanted)


_ASIDE: Final = (
    select(
        _quarantine.c.frame_id,
        _quarantine.c.code,
        _quarantine.c.message,
        _quarantine.c.at_us,
        _quarantine.c.replayed_us,
        _quarantine.c.replays,
        _frame.c.medium,
        _frame.c.address,
        _frame.c.path,
        _frame.c.payload,
        _frame.c.received_us,
        _frame.c.entry_id,
        _device.c.driver,
        _meter.c.number.label("meter"),
    )
    .select_from(_JOINED)
    .where(_MINE)
)

READS: dict[str, Select[Any]] = {
    "quarantine_page": _ASIDE.where(
        _quarantine.c.frame_id < bindparam("before"),
        _given(_quarantine.c.code, "code"),
        _given(_frame.c.medium, "medium"),
        or_(_WAITS, bindparam("all", type_=BigInteger) == 1),
    )
    .order_by(_quarantine.c.frame_id.desc())
    .limit(bindparam("limit")),
    "quarantine_frame": _ASIDE.where(_quarantine.c.frame_id == bindparam("frame_id")),
    # Oldest first, as they came.
    "quarantine_of_code": _ASIDE.where(
        _quarantine.c.code == bindparam("code"),
        _quarantine.c.frame_id > bindparam("after"),
        _quarantine.c.frame_id <= bindparam("through"),
        _given(_frame.c.medium, "medium"),
        _WAITS,
    )
    .order_by(_quarantine.c.frame_id)
    .limit(bindparam("limit")),
    "quarantine_newest": select(func.max(_quarantine.c.frame_id).label("frame_id")),
    "quarantine_counts": select(
        _quarantine.c.code,
        func.sum(case((_WAITS, 1), else_=0)).label("waiting"),
        func.sum(case((_WAITS, 0), else_=1)).label("replayed"),
        func.min(_quarantine.c.at_us).label("first_us"),
        func.max(_quarantine.c.at_us).label("last_us"),
    )
    .select_from(_JOINED)
    .where(_MINE)
    .group_by(_quarantine.c.code)
    .order_by(_quarantine.c.code),
}

UPDATES: dict[str, UpdateBase] = {
    # Not when somebody has replayed it just now: a frame takes effect once.
    "quarantine_replayed": update(_quarantine)
    .where(_quarantine.c.frame_id == bindparam("of_frame"), _WAITS)
    .values(replayed_us=bindparam("to_us"), replays=_quarantine.c.replays + 1),
}

"""What areas are read and changed by."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["ANCESTORS_MAX", "READS", "UPDATES"]

ANCESTORS_MAX: Final = 8
"""So many areas above one are read."""

_t = METADATA.tables
_area = _t["area"]
_installation = _t["installation"]
_meter = _t["meter"]
_parent = _area.alias("parent")
_point = _t["supply_point"]

_UTILITY: BindParameter[int] = bindparam("utility_id")


def _given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    wanted: BindParameter[Any] = bindparam(name, type_=column.type)
    return or_(wanted.is_(None), column == wanted)


def _chain() -> Any:
    """Select an area with those above it: ``id_0`` is its own, ``id_1`` of its parent."""
    above = [_area, *(_area.alias(f"above_{at}") for at in range(1, ANCESTORS_MAX + 1))]
    columns = [
        each.c[name].label(f"{name}_{at}")
        for at, each in enumerate(above)
        for name in ("id", "level", "code", "name")
    ]
    source: Any = _area
    for lower, upper in pairwise(above):
        source = source.outerjoin(upper, upper.c.id == lower.c.parent_id)
    return (
        select(*columns, _area.c.created_us, _area.c.parent_id)
        .select_from(source)
        .where(
            _area.c.utility_id == _UTILITY,
            _area.c.level == bindparam("level"),
            _area.c.code == bindparam("code"),
        )
    )


def _below() -> Any:
    """Select how many areas are below one: ``below_1`` directly, ``below_2`` below these."""
    levels = [_area, *(_area.alias(f"below_{at}") for at in range(1, ANCESTORS_MAX + 1))]
    source: Any = _area
    for upper, lower in pairwise(levels):
        source = source.outerjoin(lower, lower.c.parent_id == upper.c.id)
    return (
        select(*(func.count(each.c.id).label(f"below_{at}") for at, each in enumerate(levels)))
        .select_from(source)
        .where(
            _area.c.utility_id == _UTILITY,
            _area.c.level == bindparam("level"),
            _area.c.code == bindparam("code"),
        )
    )


READS: dict[str, Select[Any]] = {
    "areas": select(
        _area.c.id,
        _area.c.level,
        _area.c.code,
        _area.c.name,
        _area.c.created_us,
        _parent.c.level.label("parent_level"),
        _parent.c.code.label("parent_code"),
    )
    .outerjoin(_parent, _parent.c.id == _area.c.parent_id)
    .where(
        _area.c.utility_id == _UTILITY,
        _given(_area.c.level, "level"),
        _given(_area.c.parent_id, "parent_id"),
        or_(
            _area.c.level > bindparam("after_level"),
            and_(_area.c.level == bindparam("after_level"), _area.c.code > bindparam("after_code")),
        ),
    )
    .order_by(_area.c.level, _area.c.code)
    .limit(bindparam("limit")),
    "area_chain": _chain(),
    "area_below": _below(),
    "area_contents": select(
        select(func.count())
        .select_from(_area)
        .where(_area.c.parent_id == bindparam("area_id"))
        .scalar_subquery()
        .label("areas"),
        select(func.count())
        .select_from(_point)
        .where(_point.c.area_id == bindparam("area_id"))
        .scalar_subquery()
        .label("supply_points"),
    ),
    "area_points": select(
        _point.c.number, _point.c.commodity, _point.c.address, _meter.c.number.label("meter")
    )
    .outerjoin(
        _installation,
        and_(_installation.c.supply_point_id == _point.c.id, _installation.c.to_us.is_(None)),
    )
    .outerjoin(_meter, _meter.c.id == _installation.c.meter_id)
    .where(
        _point.c.utility_id == _UTILITY,
        _point.c.area_id == bindparam("area_id"),
        _point.c.number > bindparam("after"),
    )
    .order_by(_point.c.number)
    .limit(bindparam("limit")),
    "area_of_point": select(
        _point.c.id,
        _point.c.number,
        _point.c.area_id,
        _area.c.level,
        _area.c.code,
    )
    .outerjoin(_area, _area.c.id == _point.c.area_id)
    .where(_point.c.utility_id == _UTILITY, _point.c.number == bindparam("number")),
}

UPDATES: dict[str, UpdateBase] = {
    "area_change": update(_area)
    .where(_area.c.utility_id == bindparam("of_utility"), _area.c.id == bindparam("of_area"))
    .values(name=bindparam("to_name"), parent_id=bindparam("to_parent")),
    "area_remove": delete(_area).where(
        _area.c.utility_id == bindparam("of_utility"), _area.c.id == bindparam("of_area")
    ),
    "area_take_point": update(_point)
    .where(_point.c.utility_id == bindparam("of_utility"), _point.c.id == bindparam("of_point"))
    .values(area_id=bindparam("to_area")),
}

"""Where meters are and what has become of them, now and at any time before.

That a meter is installed, or was taken off, is what its installations say; the rest is in
``meter_life``. Both are read together here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_device = _t["device"]
_installation = _t["installation"]
_life = _t["meter_life"]
_meter = _t["meter"]
_point = _t["supply_point"]
_principal = _t["principal"]
_taken_off = _installation.alias("taken_off")
_former = _point.alias("former")

_UTILITY: BindParameter[int] = bindparam("utility_id")
_AT: BindParameter[int] = bindparam("at_us")

_newest = (
    select(_life.c.id)
    .where(_life.c.meter_id == _meter.c.id, _life.c.at_us <= _AT)
    .order_by(_life.c.at_us.desc(), _life.c.id.desc())
    .limit(1)
    .correlate(_meter)
    .scalar_subquery()
)
_hanging = (
    select(func.max(_installation.c.id))
    .where(
        _installation.c.meter_id == _meter.c.id,
        _installation.c.from_us <= _AT,
        or_(_installation.c.to_us.is_(None), _installation.c.to_us > _AT),
    )
    .correlate(_meter)
    .scalar_subquery()
)
_last_off = (
    select(_installation.c.id)
    .where(_installation.c.meter_id == _meter.c.id, _installation.c.to_us <= _AT)
    .order_by(_installation.c.to_us.desc(), _installation.c.id.desc())
    .limit(1)
    .correlate(_meter)
    .scalar_subquery()
)
_is_off: ColumnElement[bool] = and_(
    _taken_off.c.id.is_not(None),
    or_(_life.c.id.is_(None), _taken_off.c.to_us > _life.c.at_us),
)
_STATE = case(
    (_installation.c.id.is_not(None), "installed"),
    (_is_off, "swapped"),
    else_=func.coalesce(_life.c.state, "unknown"),
)
_PLACE = case(
    (_installation.c.id.is_not(None), _point.c.number),
    (_is_off, _former.c.number),
    else_=func.coalesce(_life.c.place, ""),
)
_SINCE = case(
    (_installation.c.id.is_not(None), _installation.c.from_us),
    (_is_off, _taken_off.c.to_us),
    else_=_life.c.at_us,
)

_LIVES = (
    select(
        _meter.c.id,
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.state.label("meter_state"),
        _STATE.label("state"),
        _PLACE.label("place"),
        _SINCE.label("since_us"),
    )
    .select_from(_meter)
    .outerjoin(_life, _life.c.id == _newest)
    .outerjoin(_installation, _installation.c.id == _hanging)
    .outerjoin(_point, _point.c.id == _installation.c.supply_point_id)
    .outerjoin(_taken_off, _taken_off.c.id == _last_off)
    .outerjoin(_former, _former.c.id == _taken_off.c.supply_point_id)
    .where(
        _meter.c.utility_id == _UTILITY,
        # What came into the register later was not there, unless something tells that it was.
        or_(
            _meter.c.created_us <= _AT,
            _life.c.id.is_not(None),
            _installation.c.id.is_not(None),
            _taken_off.c.id.is_not(None),
        ),
    )
)
_wanted: BindParameter[Any] = bindparam("state", type_=_life.c.state.type)
_counted = _LIVES.subquery("lives")

READS: dict[str, Select[Any]] = {
    "lives": _LIVES.where(
        or_(_wanted.is_(None), _wanted == _STATE), _meter.c.number > bindparam("after")
    )
    .order_by(_meter.c.number)
    .limit(bindparam("limit")),
    "life_counts": select(_counted.c.state, func.count().label("meters"))
    .group_by(_counted.c.state)
    .order_by(_counted.c.state),
    "life_of_meter": _LIVES.where(_meter.c.number == bindparam("number")),
    "life_rows": select(
        _life.c.id,
        _life.c.state,
        _life.c.at_us,
        _life.c.place,
        _life.c.reason,
        _principal.c.name.label("by"),
    )
    .outerjoin(_principal, _principal.c.id == _life.c.principal_id)
    # The sum hides the scope: an index of it would give the lives of all meters.
    .where((_life.c.utility_id + 0) == _UTILITY, _life.c.meter_id == bindparam("meter_id"))
    .order_by(_life.c.at_us.desc(), _life.c.id.desc())
    .limit(bindparam("limit")),
    "life_installations": select(
        _installation.c.id,
        _installation.c.from_us,
        _installation.c.to_us,
        _point.c.number.label("place"),
    )
    .join(_point, _point.c.id == _installation.c.supply_point_id)
    .where(
        _installation.c.utility_id == _UTILITY, _installation.c.meter_id == bindparam("meter_id")
    )
    .order_by(_installation.c.from_us.desc(), _installation.c.id.desc())
    .limit(bindparam("limit")),
    "life_meter": select(
        _meter.c.id, _meter.c.number, _meter.c.commodity, _meter.c.credit_mode, _meter.c.state
    ).where(_meter.c.utility_id == _UTILITY, _meter.c.number == bindparam("number")),
    "life_point": select(
        _point.c.id,
        _point.c.number,
        _point.c.commodity,
        _point.c.account_id,
        _meter.c.number.label("meter"),
    )
    .outerjoin(
        _installation,
        and_(_installation.c.supply_point_id == _point.c.id, _installation.c.to_us.is_(None)),
    )
    .outerjoin(_meter, _meter.c.id == _installation.c.meter_id)
    .where(_point.c.utility_id == _UTILITY, _point.c.number == bindparam("number")),
}

UPDATES: dict[str, UpdateBase] = {
    "life_meter_state": update(_meter)
    .where(_meter.c.utility_id == bindparam("of_utility"), _meter.c.id == bindparam("of_meter"))
    .values(state=bindparam("to_state")),
    "life_take_off": update(_installation)
    .where(
        _installation.c.utility_id == bindparam("of_utility"),
        _installation.c.meter_id == bindparam("of_meter"),
        _installation.c.to_us.is_(None),
    )
    .values(to_us=bindparam("at_us")),
}

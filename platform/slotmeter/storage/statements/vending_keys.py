"""What officers of keys read and write."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, func, null, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA
from slotmeter.storage.statements.key_changes import WAITING

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_alarm = _t["alarm"]
_key = _t["vault_key"]
_change = _t["key_change"]
_component = _t["vault_component"]
_group = _t["supply_group"]
_meter = _t["meter"]
_officer = _t["principal"].alias("officer")
_second = _t["principal"].alias("second")
_sale = _t["sale"]
_token = _t["token"]


def _given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Match a column when the parameter is given; NULL matches everything."""
    wanted: BindParameter[Any] = bindparam(name, type_=column.type)
    return or_(wanted.is_(None), column == wanted)


_KEY_SHOWN = (
    select(
        _key.c.id,
        _key.c.utility_id,
        _key.c.name,
        _key.c.kind,
        _key.c.sgc,
        _key.c.krn,
        _key.c.kt,
        _key.c.dkga,
        _key.c.base_date,
        _key.c.ken,
        _key.c.check_value,
        _key.c.state,
        _key.c.created_us,
        _key.c.retired_us,
        _key.c.warned_us,
        _officer.c.name.label("officer"),
        _second.c.name.label("second_officer"),
    )
    .outerjoin(_officer, _officer.c.id == _key.c.officer_id)
    .outerjoin(_second, _second.c.id == _key.c.second_officer_id)
    .where(_key.c.kind == "vending")
    .order_by(_key.c.name)
)

READS: dict[str, Select[Any]] = {
    # A key that was brought in before the utility was known is everybody's.
    "vending_keys": _KEY_SHOWN.where(
        or_(_key.c.utility_id == bindparam("utility_id"), _key.c.utility_id.is_(None)),
        _given(_key.c.name, "name"),
    ),
    "vending_keys_active": select(
        _key.c.id,
        _key.c.utility_id,
        _key.c.name,
        _key.c.sgc,
        _key.c.krn,
        _key.c.base_date,
        _key.c.ken,
        _key.c.warned_us,
    )
    .where(_key.c.kind == "vending", _key.c.state == "active")
    .order_by(_key.c.id),
    "vending_key_alarms": select(_alarm.c.id, _alarm.c.utility_id, _alarm.c.subject).where(
        _alarm.c.meter_id.is_(None),
        _alarm.c.kind == bindparam("kind"),
        _alarm.c.cleared_us.is_(None),
    ),
    "vault_key_named": select(_key.c.id, _key.c.state).where(_key.c.name == bindparam("name")),
    "vending_key_pending": select(func.count().label("count"))
    .select_from(_token)
    .join(_sale, _sale.c.id == _token.c.sale_row_id)
    .where(_sale.c.state == "pending", _token.c.key_id == bindparam("name")),
    "vending_key_waiting": select(func.count(_token.c.id).label("count")).where(
        WAITING, _token.c.key_id == bindparam("name")
    ),
    "vending_key_meters": select(func.count().label("count")).where(
        _meter.c.key_id == bindparam("name"), _meter.c.state != "removed"
    ),
    "vending_key_changes": select(func.count().label("count")).where(
        _change.c.state == "open",
        or_(_change.c.from_key_id == bindparam("name"), _change.c.to_key_id == bindparam("name")),
    ),
    "vending_key_groups": select(func.count().label("count")).where(
        _group.c.key_name == bindparam("name")
    ),
    "vault_has_sold": select(_sale.c.id)
    .where(_sale.c.utility_id == bindparam("utility_id"))
    .limit(1),
    "vault_components": select(_component, _officer.c.name.label("officer"))
    .join(_officer, _officer.c.id == _component.c.officer_id)
    .where(
        _component.c.utility_id == bindparam("utility_id"),
        _component.c.state == "open",
        _given(_component.c.name, "name"),
    )
    .order_by(_component.c.name, _component.c.part),
    "supply_groups": select(
        _group.c.id, _group.c.sgc, _group.c.title, _group.c.key_name, _group.c.created_us
    )
    .where(
        _group.c.utility_id == bindparam("utility_id"),
        _given(_group.c.sgc, "sgc"),
    )
    .order_by(_group.c.sgc),
}

UPDATES: dict[str, UpdateBase] = {
    "vault_key_retire": update(_key)
    .where(_key.c.name == bindparam("of_name"), _key.c.state == "active")
    .values(state="retired", retired_us=bindparam("at_us")),
    "vault_key_warned": update(_key)
    .where(_key.c.id == bindparam("of_id"))
    .values(warned_us=bindparam("at_us")),
    "vault_component_end": update(_component)
    .where(_component.c.id == bindparam("of_id"), _component.c.state == "open")
    .values(state=bindparam("new_state"), wrapped=null(), ended_us=bindparam("at_us")),
    "supply_group_change": update(_group)
    .where(_group.c.id == bindparam("of_id"))
    .values(title=bindparam("new_title"), key_name=bindparam("new_key_name")),
}

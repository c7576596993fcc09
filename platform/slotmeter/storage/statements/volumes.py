"""What generating a utility asks about it before."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_meter = _t["meter"]
_tariff = _t["tariff"]
_utility = _t["utility"]
_version = _t["tariff_version"]

READS: dict[str, Select[Any]] = {
    "generate_any_meter": select(_meter.c.id)
    .where(_meter.c.utility_id == bindparam("utility_id"))
    .limit(1),
    "generate_version": select(
        _version.c.id,
        _version.c.tariff_id,
        _version.c.body,
        _utility.c.address,
        _utility.c.tax_number,
    )
    .join(_tariff, _tariff.c.id == _version.c.tariff_id)
    .join(_utility, _utility.c.id == _tariff.c.utility_id)
    .where(_tariff.c.utility_id == bindparam("utility_id"), _tariff.c.code == bindparam("code"))
    .order_by(_version.c.version.desc())
    .limit(1),
}

UPDATES: dict[str, UpdateBase] = {}

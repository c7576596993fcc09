"""What a restored database remembers of the one that it is a copy of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_cursor = METADATA.tables["cursor"]
_utility = METADATA.tables["utility"]

READS: dict[str, Select[Any]] = {
    "restore_floor": select(_cursor.c.position).where(_cursor.c.name == "tid_floor"),
    "restore_utilities": select(_utility.c.id, _utility.c.code).order_by(_utility.c.id),
}

UPDATES: dict[str, UpdateBase] = {
    # A floor never sinks: an older backup restored later is a copy of what has sold since.
    "restore_floor_raise": update(_cursor)
    .where(_cursor.c.name == "tid_floor", _cursor.c.position <= bindparam("floor"))
    .values(position=bindparam("floor"), at_us=bindparam("now_us")),
}

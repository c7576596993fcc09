"""What plugins keep: documents and counters of one entry, and the keys of its devices."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_counter = _t["plugin_counter"]
_record = _t["plugin_record"]

_COLUMNS: Final = (_record.c.name, _record.c.body, _record.c.at_us)
_PAGE: Final = (
    select(*_COLUMNS)
    .where(
        _record.c.entry_key == bindparam("entry_key"),
        _record.c.kind == bindparam("kind"),
        _record.c.name > bindparam("after"),
    )
    .order_by(_record.c.name)
    .limit(bindparam("limit"))
)
_ONE: Final = (
    _record.c.entry_key == bindparam("of_entry"),
    _record.c.kind == bindparam("of_kind"),
    _record.c.name == bindparam("of_name"),
)

READS: dict[str, Select[Any]] = {
    "plugin_record": select(*_COLUMNS).where(
        _record.c.entry_key == bindparam("entry_key"),
        _record.c.kind == bindparam("kind"),
        _record.c.name == bindparam("name"),
    ),
    "plugin_record_page": _PAGE,
    **{
        f"plugin_record_by_{column.name}": _PAGE.where(column == bindparam("value"))
        for column in (_record.c.i1, _record.c.i2, _record.c.i3)
    },
    "plugin_counter": select(_counter.c.next_value).where(
        _counter.c.entry_key == bindparam("entry_key"), _counter.c.name == bindparam("name")
    ),
}

UPDATES: dict[str, UpdateBase] = {
    "plugin_record_put": update(_record)
    .where(*_ONE)
    .values(
        body=bindparam("to_body"),
        i1=bindparam("to_i1"),
        i2=bindparam("to_i2"),
        i3=bindparam("to_i3"),
        at_us=bindparam("to_at_us"),
    ),
    "plugin_record_drop": delete(_record).where(*_ONE),
    # Guarded by what was read, so that two servers never hand out the same numbers.
    "plugin_counter_move": update(_counter)
    .where(
        _counter.c.entry_key == bindparam("of_entry"),
        _counter.c.name == bindparam("of_name"),
        _counter.c.next_value == bindparam("of_next_value"),
    )
    .values(next_value=bindparam("to_next_value")),
}

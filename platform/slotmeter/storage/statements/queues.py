"""How much waits in the queues of devices, over all utilities: what the server's metrics show."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.devices.commands import ENDED, CommandState
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_command = _t["command"]
_quarantine = _t["quarantine"]
_record = _t["plugin_record"]

READS: dict[str, Select[Any]] = {
    "queue_commands": select(_command.c.state.label("name"), func.count().label("count"))
    .where(or_(*(_command.c.state == state.value for state in CommandState if state not in ENDED)))
    .group_by(_command.c.state),
    "queue_quarantine": select(_quarantine.c.code.label("name"), func.count().label("count"))
    .where(_quarantine.c.replayed_us.is_(None))
    .group_by(_quarantine.c.code),
    # Of claims the first index is the utility and the state.
    "queue_claims": select(_record.c.i1.label("name"), func.count().label("count"))
    .where(
        _record.c.entry_key == bindparam("entry_key"),
        _record.c.kind == bindparam("kind"),
    )
    .group_by(_record.c.i1),
}

UPDATES: dict[str, UpdateBase] = {}

"""Which commands a device can mean that names them by a part of their id."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import bindparam, literal, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.devices.commands import ENDED
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_command = METADATA.tables["command"]

READS: Final[dict[str, Select[Any]]] = {
    "partial_ids_sent": select(_command.c.id)
    .where(
        _command.c.utility_id == bindparam("utility_id"),
        _command.c.device_id == bindparam("device_id"),
        _command.c.state.not_in([literal(state.value) for state in sorted(ENDED)]),
        _command.c.attempts > 0,
    )
    .order_by(_command.c.id),
}

UPDATES: Final[dict[str, UpdateBase]] = {}

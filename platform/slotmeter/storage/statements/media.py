"""What media are told of the command queue, and what they tell."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_command = _t["command"]
_device = _t["device"]
_node = _device.alias("node")

READS: dict[str, Select[Any]] = {
    # What is behind a node is reached through it.
    "media_queued": select(
        _command.c.id, func.coalesce(_node.c.address, _device.c.address).label("address")
    )
    .join(_device, _device.c.id == _command.c.device_id)
    .outerjoin(_node, _node.c.id == _device.c.node_id)
    .where(
        _device.c.medium == bindparam("medium"),
        _command.c.state == bindparam("state"),
        _command.c.id > bindparam("after"),
    )
    .order_by(_command.c.id)
    .limit(bindparam("limit")),
    # So far, whatever their medium, commands are looked at.
    "media_newest": select(_command.c.id)
    .where(_command.c.state == bindparam("state"))
    .order_by(_command.c.id.desc())
    .limit(1),
    "media_under_way": select(_command)
    .join(_device, _device.c.id == _command.c.device_id)
    .outerjoin(_node, _node.c.id == _device.c.node_id)
    .where(
        _device.c.medium == bindparam("medium"),
        func.coalesce(_node.c.address, _device.c.address) == bindparam("address"),
        _command.c.id == bindparam("id"),
        _command.c.state == "sent",
    ),
}

UPDATES: dict[str, UpdateBase] = {
    "media_lease": update(_command)
    .where(
        and_(
            _command.c.utility_id == bindparam("of_utility"),
            _command.c.id == bindparam("of_command"),
            _command.c.state == "sent",
        )
    )
    .values(lease_us=bindparam("to_lease_us")),
}

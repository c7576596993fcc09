"""What nodes, the meters behind them, keypads and bearers are read and changed by."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    case,
    func,
    not_,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.devices.contacts import FIRST_INTERVAL_US
from slotmeter.storage.joins import OTHER_METER_SPEAKS, heard_by
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_alarm = _t["alarm"]
_bearer = _t["bearer"]
_binding = _t["binding"]
_command = _t["command"]
_device = _t["device"]
_keypad = _t["keypad"]
_meter = _t["meter"]
_behind = _device.alias("behind")
_node = _device.alias("node")
_utility = _t["utility"]

_MOVABLE: Final = or_(_command.c.state == "queued", _command.c.state == "waiting")
"""Commands that a device may be given when it is heard; ``control`` says which of them go."""

_UTILITY: BindParameter[int] = bindparam("utility_id")


def _nodes(has_no_meter: ColumnElement[bool]) -> Select[Any]:
    return select(
        _device.c.id,
        _device.c.utility_id,
        _device.c.meter_id,
        _device.c.node_id,
        _device.c.serial,
        _device.c.medium,
        _device.c.address,
        _device.c.driver,
        _device.c.last_contact_us,
        _device.c.offline_us,
        _device.c.created_us,
        null().label("meter"),
    ).where(_device.c.utility_id == _UTILITY, has_no_meter)


_NODE = _nodes(_device.c.meter_id.is_(None))

_BINDING = (
    select(
        _binding.c.id,
        _binding.c.slot,
        _binding.c.from_us,
        _binding.c.to_us,
        _binding.c.meter_id,
        _meter.c.number.label("meter"),
        _node.c.serial.label("node"),
        _node.c.id.label("node_id"),
    )
    .join(_meter, _meter.c.id == _binding.c.meter_id)
    .join(_node, _node.c.id == _binding.c.node_id)
    .where(_binding.c.utility_id == _UTILITY)
)

READS: dict[str, Select[Any]] = {
    "nodes": _NODE.add_columns(
        select(func.count())
        .select_from(_binding)
        .where(_binding.c.node_id == _device.c.id, _binding.c.to_us.is_(None))
        .correlate(_device)
        .scalar_subquery()
        .label("meters")
    )
    .where(_device.c.serial > bindparam("after"))
    .order_by(_device.c.serial)
    .limit(bindparam("limit")),
    # By its serial: a planner without statistics takes "has no meter" for one row, and it is
    # true of every node.
    "node_by_serial": _nodes(func.coalesce(_device.c.meter_id, 0) == 0).where(
        _device.c.serial == bindparam("serial")
    ),
    "node_address": select(_device.c.id, _device.c.serial, _meter.c.number.label("meter"))
    .outerjoin(_meter, _meter.c.id == _device.c.meter_id)
    .where(_device.c.medium == bindparam("medium"), _device.c.address == bindparam("address")),
    "bindings_live": _BINDING.where(
        _binding.c.node_id == bindparam("node_id"), _binding.c.to_us.is_(None)
    ).order_by(_binding.c.slot),
    # The sum hides the order from a planner that would walk all bindings for it.
    "bindings_of_node": _BINDING.where(
        _binding.c.node_id == bindparam("node_id"), _binding.c.id < bindparam("before")
    )
    .order_by((_binding.c.id + 0).desc())
    .limit(bindparam("limit")),
    "bindings_of_meter": _BINDING.where(
        _binding.c.meter_id == bindparam("meter_id"), _binding.c.id < bindparam("before")
    )
    .order_by((_binding.c.id + 0).desc())
    .limit(bindparam("limit")),
    "binding_meter": select(
        _meter.c.id,
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.state,
        _device.c.id.label("device_id"),
        _device.c.medium,
        _device.c.address,
        _device.c.driver,
        _device.c.node_id.label("device_node_id"),
        _device.c.created_us.label("device_created_us"),
        _binding.c.id.label("binding_id"),
        _binding.c.slot,
        _binding.c.from_us,
        _node.c.serial.label("node"),
        _node.c.id.label("node_id"),
    )
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .outerjoin(_binding, and_(_binding.c.meter_id == _meter.c.id, _binding.c.to_us.is_(None)))
    .outerjoin(_node, _node.c.id == _binding.c.node_id)
    .where(_meter.c.utility_id == _UTILITY, _meter.c.number == bindparam("number")),
    "binding_slot_newest": select(_binding.c.id, _binding.c.from_us, _binding.c.to_us)
    .where(
        _binding.c.utility_id == _UTILITY,
        _binding.c.node_id == bindparam("node_id"),
        _binding.c.slot == bindparam("slot"),
    )
    .order_by(_binding.c.from_us.desc(), _binding.c.id.desc())
    .limit(1),
    # Behind a node at a time, with what a frame of a device is handled with.
    "slot_bindings": select(
        _binding.c.slot,
        _binding.c.meter_id,
        _meter.c.number.label("meter_number"),
        _meter.c.commodity,
        _meter.c.credit_mode,
        _meter.c.wanted.label("meter_wanted"),
        _device.c.id.label("device_id"),
        _device.c.utility_id,
        _device.c.driver,
        _device.c.serial,
        _utility.c.policy,
    )
    .join(_meter, _meter.c.id == _binding.c.meter_id)
    .join(_device, _device.c.meter_id == _meter.c.id)
    .join(_utility, _utility.c.id == _binding.c.utility_id)
    .where(
        _binding.c.node_id == bindparam("node_id"),
        _binding.c.from_us <= bindparam("at_us"),
        or_(_binding.c.to_us.is_(None), _binding.c.to_us > bindparam("at_us")),
    )
    .order_by(_binding.c.slot),
    "control_behind": select(
        _device.c.address,
        _device.c.slot,
        _node.c.serial.label("node_serial"),
        _node.c.address.label("node_address"),
    )
    .join(_command, _command.c.device_id == _device.c.id)
    .join(_node, _node.c.id == _device.c.node_id)
    .where(
        _device.c.utility_id == _UTILITY,
        # By device: who starts at the state goes over all that waits anywhere.
        _command.c.device_id.in_(
            select(_behind.c.id).where(_behind.c.node_id == bindparam("node_id"))
        ),
        _MOVABLE,
        _command.c.not_before_us <= bindparam("now_us"),
        _command.c.expires_us > bindparam("now_us"),
        not_(OTHER_METER_SPEAKS),  # it would not be given out, and the next one would wait for it
    )
    .order_by(_command.c.priority, _command.c.id)
    .limit(bindparam("limit")),
    # Of no meter: who goes by the utility goes over all open alarms of its meters, at every frame.
    "slot_alarms": select(_alarm.c.id, _alarm.c.subject).where(
        (_alarm.c.utility_id + 0) == _UTILITY,
        _alarm.c.meter_id.is_(None),
        _alarm.c.cleared_us.is_(None),
        _alarm.c.kind == bindparam("kind"),
    ),
    "keypads_of_meter": select(_keypad.c.id, _keypad.c.serial, _keypad.c.from_us, _keypad.c.to_us)
    .where(
        _keypad.c.utility_id == _UTILITY,
        _keypad.c.meter_id == bindparam("meter_id"),
        _keypad.c.id < bindparam("before"),
    )
    .order_by(_keypad.c.id.desc())
    .limit(bindparam("limit")),
    "keypad_live_of_meter": select(_keypad.c.id, _keypad.c.serial, _keypad.c.from_us).where(
        _keypad.c.utility_id == _UTILITY,
        _keypad.c.meter_id == bindparam("meter_id"),
        _keypad.c.to_us.is_(None),
    ),
    "keypad_live": select(
        _keypad.c.id,
        _keypad.c.serial,
        _keypad.c.meter_id,
        _keypad.c.from_us,
        _meter.c.number.label("meter"),
    )
    .join(_meter, _meter.c.id == _keypad.c.meter_id)
    .where(
        _keypad.c.utility_id == _UTILITY,
        _keypad.c.serial == bindparam("serial"),
        _keypad.c.to_us.is_(None),
    ),
    "bearers": select(
        _bearer.c.id, _bearer.c.medium, _bearer.c.address, _bearer.c.from_us, _bearer.c.to_us
    )
    .where(
        _bearer.c.utility_id == _UTILITY,
        _bearer.c.device_id == bindparam("device_id"),
        _bearer.c.id < bindparam("before"),
    )
    .order_by(_bearer.c.id.desc())
    .limit(bindparam("limit")),
    "bearer_device": select(
        _device.c.id,
        _device.c.meter_id,
        _device.c.medium,
        _device.c.address,
        _device.c.driver,
        _device.c.node_id,
        _device.c.created_us,
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _node.c.serial.label("node"),
    )
    .join(_meter, _meter.c.id == _device.c.meter_id)
    .outerjoin(_node, _node.c.id == _device.c.node_id)
    .where(_meter.c.utility_id == _UTILITY, _meter.c.number == bindparam("number")),
    "bearer_live": select(_bearer.c.id, _bearer.c.from_us).where(
        _bearer.c.device_id == bindparam("device_id"), _bearer.c.to_us.is_(None)
    ),
}

UPDATES: dict[str, UpdateBase] = {
    "node_heard": update(_device)
    .where(_device.c.id == bindparam("of_device"))
    .values(
        last_contact_us=case(
            (_device.c.last_contact_us > bindparam("to_contact_us"), _device.c.last_contact_us),
            else_=bindparam("to_contact_us"),
        ),
        entry_id=heard_by(_device),
        measured_us=bindparam("to_measured_us"),
        received_us=bindparam("to_contact_us"),
        battery=func.coalesce(
            bindparam("to_battery", type_=_device.c.battery.type), _device.c.battery
        ),
        signal=func.coalesce(bindparam("to_signal", type_=_device.c.signal.type), _device.c.signal),
    ),
    "binding_end": update(_binding)
    .where(
        _binding.c.utility_id == bindparam("of_utility"),
        _binding.c.id == bindparam("of_binding"),
        _binding.c.to_us.is_(None),
    )
    .values(to_us=bindparam("at_us")),
    "device_put_behind": update(_device)
    .where(_device.c.utility_id == bindparam("of_utility"), _device.c.id == bindparam("of_device"))
    .values(
        node_id=bindparam("to_node"),
        slot=bindparam("to_slot"),
        medium=bindparam("to_medium"),
        address=bindparam("to_address"),
        driver=bindparam("to_driver"),
        entry_id=null(),  # its node has one
    ),
    "device_take_away": update(_device)
    .where(
        _device.c.utility_id == bindparam("of_utility"),
        _device.c.meter_id == bindparam("of_meter"),
        _device.c.node_id == bindparam("of_node"),
    )
    .values(node_id=null(), slot=null()),
    "device_move": update(_device)
    .where(
        _device.c.utility_id == bindparam("of_utility"),
        _device.c.id == bindparam("of_device"),
        _device.c.medium == bindparam("of_medium"),
        _device.c.address == bindparam("of_address"),
    )
    .values(
        medium=bindparam("to_medium"),
        address=bindparam("to_address"),
        driver=bindparam("to_driver"),
        # The connection that carried it is not the one that will: its next frame says which is.
        entry_id=null(),
        # It has the time of its own to be heard there: its silence was that of the other medium.
        expected_us=case(
            (_device.c.expected_us.is_(None), null()),
            else_=bindparam("at_us") + func.coalesce(_device.c.interval_us, FIRST_INTERVAL_US),
        ),
    ),
    "devices_behind_move": update(_device)
    .where(
        _device.c.utility_id == bindparam("of_utility"), _device.c.node_id == bindparam("of_node")
    )
    .values(medium=bindparam("to_medium"), driver=bindparam("to_driver")),
    "keypad_end": update(_keypad)
    .where(
        _keypad.c.utility_id == bindparam("of_utility"),
        _keypad.c.id == bindparam("of_keypad"),
        _keypad.c.to_us.is_(None),
    )
    .values(to_us=bindparam("at_us")),
    "bearer_end": update(_bearer)
    .where(
        _bearer.c.utility_id == bindparam("of_utility"),
        _bearer.c.id == bindparam("of_bearer"),
        _bearer.c.to_us.is_(None),
    )
    .values(to_us=bindparam("at_us")),
}

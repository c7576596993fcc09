"""What the consumers of the frame log read and change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, delete, func, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.devices.frames import DeviceEventKind
from slotmeter.storage.joins import FOLLOWS, heard_by, told_by_token
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "TOLD_KINDS", "UPDATES"]

_t = METADATA.tables
_alarm = _t["alarm"]
_command = _t["command"]
_cursor = _t["cursor"]
_device = _t["device"]
_event = _t["event"]
_frame = _t["frame"]
_meter = _t["meter"]
_quarantine = _t["quarantine"]
_sale = _t["sale"]
_token = _t["token"]
_utility = _t["utility"]

TOLD_KINDS = (*sorted(kind.value for kind in DeviceEventKind), "token_entered")
"""Kinds of events that repeat what a meter tells, with the meter's own time in their data."""

_TOKEN = (
    select(
        _token.c.id,
        _token.c.utility_id,
        _token.c.meter_id,
        _token.c.sale_row_id,
        _token.c.tid,
        _token.c.amount,
        _token.c.state,
        _token.c.accepted_by,
        _token.c.accepted_us,
        told_by_token(_sale.c.delivery).label("sale_delivery"),
        _sale.c.verified_us.label("sale_verified_us"),
        _sale.c.receipt_number.label("sale_receipt_number"),
        _sale.c.principal_id.label("sale_principal_id"),
    )
    .select_from(_token)
    .outerjoin(_sale, _sale.c.id == _token.c.sale_row_id)
    .where(
        _token.c.utility_id == bindparam("utility_id"),
        _token.c.meter_id == bindparam("meter_id"),
    )
)

_LOGGED = (
    select(
        _frame.c.id,
        _frame.c.medium,
        _frame.c.address,
        _frame.c.path,
        _frame.c.payload,
        _frame.c.received_us,
        _frame.c.entry_id,
        _device.c.id.label("device_id"),
        _device.c.utility_id,
        _device.c.meter_id,
        _device.c.driver,
        _device.c.serial.label("device_serial"),
        _meter.c.number.label("meter_number"),
        _meter.c.commodity,
        _meter.c.credit_mode,
        _meter.c.wanted.label("meter_wanted"),
        _utility.c.policy,
    )
    .select_from(_frame)
    .outerjoin(
        _device,
        and_(
            _device.c.medium == _frame.c.medium,
            _device.c.address == _frame.c.address,
            _device.c.node_id.is_(None),  # a node speaks for what is behind it
        ),
    )
    .outerjoin(_meter, _meter.c.id == _device.c.meter_id)
    .outerjoin(_utility, _utility.c.id == _device.c.utility_id)
)

READS: dict[str, Select[Any]] = {
    # The log itself belongs to nobody: a frame may come from a device that is not registered.
    "ingest_cursor": select(_cursor.c.position).where(_cursor.c.name == bindparam("name")),
    "ingest_frames": _LOGGED.where(_frame.c.id > bindparam("after"))
    .order_by(_frame.c.id)
    .limit(bindparam("limit")),
    "ingest_frame": _LOGGED.where(_frame.c.id == bindparam("id")),
    "ingest_drivers": select(_device.c.driver, func.count().label("devices"))
    .group_by(_device.c.driver)
    .order_by(_device.c.driver),
    "ingest_registered": select(_device.c.id).where(
        _device.c.medium == bindparam("medium"), _device.c.address == bindparam("address")
    ),
    "ingest_devices": select(_device.c.id, _device.c.medium, _device.c.address)
    .where(_device.c.id > bindparam("after"))
    .order_by(_device.c.id)
    .limit(bindparam("limit")),
    "ingest_log_ages": select(_frame.c.id, _frame.c.received_us)
    .where(_frame.c.id > bindparam("after"), _frame.c.id <= bindparam("through"))
    .order_by(_frame.c.id)
    .limit(bindparam("limit")),
    "ingest_device": select(_device).where(
        _device.c.utility_id == bindparam("utility_id"), _device.c.id == bindparam("id")
    ),
    "ingest_acknowledged": select(
        _command.c.id,
        _command.c.utility_id,
        _command.c.meter_id,
        _command.c.device_id,
        _command.c.kind,
        _command.c.token_id,
        _command.c.sale_row_id,
        _command.c.cause,
        _command.c.reason,
        _command.c.state,
        _command.c.result,
        _command.c.hold,
        _command.c.attempts,
        _command.c.not_before_us,
        _command.c.expires_us,
        _command.c.lease_us,
        _command.c.sent_us,
        _command.c.acknowledged_us,
        _command.c.value,
        _command.c.text,
        _command.c.expected_us,
        _command.c.cell,
    )
    .where(
        _command.c.utility_id == bindparam("utility_id"),
        _command.c.device_id == bindparam("device_id"),
        _command.c.state == "acknowledged",
    )
    .order_by(_command.c.id),
    "ingest_token": _TOKEN.where(_token.c.tid == bindparam("tid"))
    .order_by(_token.c.tid_minute.desc())
    .limit(1),
    "ingest_unproven": _TOKEN.where(
        _token.c.state == "accepted",
        or_(_sale.c.verified_us.is_(None), FOLLOWS),
        # What carries no credit is proven by nothing that the credit does.
        _token.c.amount > 0,
    ).order_by(_token.c.id),
    "ingest_alarms": select(_alarm.c.id, _alarm.c.kind).where(
        # The sum hides the scope from a planner that would take it for the better index.
        (_alarm.c.utility_id + 0) == bindparam("utility_id"),
        _alarm.c.meter_id == bindparam("meter_id"),
        _alarm.c.cleared_us.is_(None),
    ),
    "ingest_told": select(_event.c.kind, _event.c.data)
    .where(
        (_event.c.utility_id + 0) == bindparam("utility_id"),
        _event.c.meter_id == bindparam("meter_id"),
        or_(*(_event.c.kind == kind for kind in TOLD_KINDS)),
    )
    .order_by(_event.c.id.desc())
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {
    "ingest_cursor_move": update(_cursor)
    .where(_cursor.c.name == bindparam("of_name"), _cursor.c.position == bindparam("of_position"))
    .values(position=bindparam("to_position"), at_us=bindparam("to_at_us")),
    # Frames of strangers go with those that took effect; the others wait for a better driver.
    "ingest_quarantine_drop": delete(_quarantine).where(
        _quarantine.c.frame_id > bindparam("of_after"),
        _quarantine.c.frame_id <= bindparam("of_through"),
        or_(
            _quarantine.c.code == "device_unknown",
            _quarantine.c.at_us < bindparam("of_before_us"),
        ),
    ),
    "ingest_frame_drop": delete(_frame).where(
        _frame.c.id > bindparam("of_after"),
        _frame.c.id <= bindparam("of_through"),
        ~select(_quarantine.c.frame_id).where(_quarantine.c.frame_id == _frame.c.id).exists(),
    ),
    "ingest_report": update(_device)
    .where(_device.c.utility_id == bindparam("of_utility"), _device.c.id == bindparam("of_device"))
    .values(
        last_contact_us=case(
            (_device.c.last_contact_us > bindparam("to_contact_us"), _device.c.last_contact_us),
            else_=bindparam("to_contact_us"),
        ),
        entry_id=heard_by(_device),
        measured_us=bindparam("to_measured_us"),
        received_us=bindparam("to_received_us"),
        supply=bindparam("to_supply"),
        register=bindparam("to_register"),
        credit_balance=bindparam("to_credit_balance"),
        credit_total=bindparam("to_credit_total"),
        credit_proven=bindparam("to_credit_proven"),
        # The first stays: what the meter took before it is settled by it.
        credit_baseline_us=func.coalesce(
            _device.c.credit_baseline_us, bindparam("to_credit_baseline_us")
        ),
        tamper=bindparam("to_tamper"),
    ),
    "ingest_token_accept": update(_token)
    .where(
        _token.c.utility_id == bindparam("of_utility"),
        _token.c.id == bindparam("of_token"),
        _token.c.accepted_us.is_(None),
    )
    .values(
        state="accepted",
        accepted_by=bindparam("to_accepted_by"),
        accepted_us=bindparam("to_accepted_us"),
    ),
    # Only for a token whose sale cannot tell that it was proven.
    "ingest_token_prove": update(_token)
    .where(
        _token.c.utility_id == bindparam("of_utility"),
        _token.c.id == bindparam("of_token"),
        _token.c.state == "accepted",
    )
    .values(state="verified"),
    "ingest_alarm_clear": update(_alarm)
    .where(
        _alarm.c.utility_id == bindparam("of_utility"),
        _alarm.c.id == bindparam("of_alarm"),
        _alarm.c.cleared_us.is_(None),
    )
    .values(cleared_us=bindparam("to_cleared_us")),
}

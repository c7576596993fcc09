"""What the fast lane of the ingest reads and changes: many reports of many devices at once.

The lane works from what it remembers of each device. Its updates meet a row only while all that
still holds, so that a unit which rests on anything older fails as a whole and is done with care.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, and_, bindparam, case, exists, func, null, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.joins import FOLLOWS
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_alarm = _t["alarm"]
_command = _t["command"]
_device = _t["device"]
_frame = _t["frame"]
_meter = _t["meter"]
_sale = _t["sale"]
_token = _t["token"]
_utility = _t["utility"]

_IS_ALARMED: Final = exists().where(
    _alarm.c.meter_id == _device.c.meter_id, _alarm.c.cleared_us.is_(None)
)
_IS_ANSWERED: Final = exists().where(
    _command.c.device_id == _device.c.id, _command.c.state == "acknowledged"
)
_UNPROVEN: Final = (
    select(_token.c.id)
    .select_from(_token)
    .outerjoin(_sale, _sale.c.id == _token.c.sale_row_id)
    .where(
        _token.c.meter_id == _device.c.meter_id,
        _token.c.state == "accepted",
        or_(_sale.c.verified_us.is_(None), FOLLOWS),
        _token.c.amount > 0,
    )
    .exists()
)


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _cards(unproven: ColumnElement[Any]) -> Select[Any]:
    return (
        select(
            _device.c.id,
            _device.c.utility_id,
            _device.c.meter_id,
            _device.c.medium,
            _device.c.address,
            _device.c.driver,
            _device.c.entry_id,
            _device.c.measured_us,
            _device.c.received_us,
            _device.c.supply,
            _device.c.register,
            _device.c.credit_balance,
            _device.c.credit_total,
            _device.c.credit_proven,
            _device.c.tamper,
            _meter.c.number,
            _meter.c.commodity,
            _meter.c.credit_mode,
            _utility.c.policy,
            _flag(or_(_IS_ALARMED, _IS_ANSWERED)).label("is_waited_for"),
            unproven.label("is_unproven"),
        )
        .select_from(_device)
        .join(_meter, _meter.c.id == _device.c.meter_id)
        .join(_utility, _utility.c.id == _device.c.utility_id)
        .where(_device.c.node_id.is_(None))  # a node speaks for what is behind it
    )


_CARDS: Final = _cards(_flag(_UNPROVEN))

READS: dict[str, Select[Any]] = {
    "lane_log": select(_frame.c.id)
    .where(_frame.c.id > bindparam("after"))
    .order_by(_frame.c.id)
    .limit(bindparam("limit")),
    "lane_newest": select(func.max(_frame.c.id).label("id")),
    # As many as are known here: then nobody else wrote any in between.
    "lane_count": select(func.count().label("frames")).where(
        _frame.c.id > bindparam("after"), _frame.c.id <= bindparam("through")
    ),
    "lane_frames": select(
        _frame.c.id,
        _frame.c.medium,
        _frame.c.address,
        _frame.c.path,
        _frame.c.payload,
        _frame.c.received_us,
        _frame.c.entry_id,
    )
    .where(_frame.c.id > bindparam("after"), _frame.c.id <= bindparam("through"))
    .order_by(_frame.c.id),
    "lane_card": _CARDS.where(
        _device.c.medium == bindparam("medium"), _device.c.address == bindparam("address")
    ),
    "lane_cards_of_frames": _CARDS.join(
        _frame,
        and_(_frame.c.medium == _device.c.medium, _frame.c.address == _device.c.address),
    ).where(_frame.c.id > bindparam("after"), _frame.c.id <= bindparam("through")),
    # All devices, page by page, when a server starts: whose credit is unproven is seen later.
    "lane_cards": _cards(null().cast(BigInteger))
    .where(_device.c.id > bindparam("after"))
    .order_by(_device.c.id)
    .limit(bindparam("limit")),
    "clock_device": select(
        _device.c.id,
        _device.c.utility_id,
        _device.c.meter_id,
        _device.c.driver,
        _device.c.expected_us,
        _meter.c.commodity,
    )
    .join(_meter, _meter.c.id == _device.c.meter_id)
    .where(_device.c.id == bindparam("device_id")),
    "clock_asked": select(_command.c.id)
    .where(
        _command.c.device_id == bindparam("device_id"),
        _command.c.kind == "set_clock",
        _command.c.created_us > bindparam("since_us"),
    )
    .limit(1),
    "lane_policies": select(_utility.c.id, _utility.c.policy),
}

UPDATES: dict[str, UpdateBase] = {
    "clock_estimate": update(_device)
    .where(_device.c.utility_id == bindparam("of_utility"), _device.c.id == bindparam("of_device"))
    .values(
        clock_offset_us=bindparam("to_offset_us"),
        clock_drift_ppb=bindparam("to_drift_ppb"),
        clock_seen_us=bindparam("to_seen_us"),
    ),
    # What a report outside the lane says of the device itself.
    "lane_heard": update(_device)
    .where(_device.c.utility_id == bindparam("of_utility"), _device.c.id == bindparam("of_device"))
    .values(
        battery=func.coalesce(bindparam("to_battery", type_=BigInteger), _device.c.battery),
        signal=func.coalesce(bindparam("to_signal", type_=BigInteger), _device.c.signal),
    ),
    "lane_report": update(_device)
    .where(
        _device.c.id == bindparam("of_device"),
        _device.c.utility_id == bindparam("of_utility"),
        _device.c.meter_id == bindparam("of_meter"),
        _device.c.driver == bindparam("of_driver"),
        _device.c.medium == bindparam("of_medium"),
        _device.c.address == bindparam("of_address"),
        func.coalesce(_device.c.measured_us, 0) == bindparam("of_measured_us"),
        func.coalesce(_device.c.received_us, 0) == bindparam("of_received_us"),
        _device.c.node_id.is_(None),
        ~_IS_ALARMED,
        ~_IS_ANSWERED,
    )
    .values(
        last_contact_us=case(
            (_device.c.last_contact_us > bindparam("to_contact_us"), _device.c.last_contact_us),
            else_=bindparam("to_contact_us"),
        ),
        measured_us=bindparam("to_measured_us"),
        received_us=bindparam("to_received_us"),
        register=bindparam("to_register"),
        credit_balance=bindparam("to_credit_balance"),
        battery=func.coalesce(bindparam("to_battery", type_=BigInteger), _device.c.battery),
        signal=func.coalesce(bindparam("to_signal", type_=BigInteger), _device.c.signal),
    ),
}

"""The lists and pages that people look at: read only, scoped by utility, paged by key.

An optional filter is a parameter that may be NULL. Sales have one statement for each index that can
carry them, so that a busy utility never walks all its sales for one meter or one vendor.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA
from slotmeter.units import HOUR_US

__all__ = ["READS", "UPDATES", "WORDS_MAX"]

WORDS_MAX = 4
"""At most so many words are looked for among meters; more narrow nothing down."""

_t = METADATA.tables
_account = _t["account"]
_alarm = _t["alarm"]
_charge = _t["charge"]
_command = _t["command"]
_command_log = _t["command_log"]
_customer = _t["customer"]
_device = _t["device"]
_event = _t["event"]
_frame = _t["frame"]
_installation = _t["installation"]
_ledger = _t["ledger_account"]
_meter = _t["meter"]
_point = _t["supply_point"]
_principal = _t["principal"]
_quarantine = _t["quarantine"]
_sale = _t["sale"]
_token = _t["token"]
_utility = _t["utility"]
_word = _t["search_word"]


def _given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Match a column when the parameter is given; NULL matches everything."""
    wanted: BindParameter[Any] = bindparam(name)
    return or_(wanted.is_(None), column == wanted)


_METER = (
    select(
        _meter.c.id,
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.credit_mode,
        _meter.c.state,
        _point.c.area,
        _point.c.address,
        _customer.c.name.label("customer"),
        _account.c.number.label("account"),
        _account.c.critical_until_us,
        _device.c.supply,
        _device.c.register,
        _device.c.credit_balance,
        _device.c.credit_total,
        _device.c.tamper,
        _device.c.last_contact_us,
        _device.c.measured_us,
        _device.c.driver,
        _device.c.medium,
        _ledger.c.balance_minor,
    )
    .select_from(_meter)
    .outerjoin(
        _installation,
        and_(_installation.c.meter_id == _meter.c.id, _installation.c.to_us.is_(None)),
    )
    .outerjoin(_point, _point.c.id == _installation.c.supply_point_id)
    .outerjoin(_account, _account.c.id == _point.c.account_id)
    .outerjoin(_customer, _customer.c.id == _account.c.customer_id)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .outerjoin(
        _ledger,
        and_(
            _ledger.c.utility_id == _meter.c.utility_id,
            _ledger.c.code == "customer:" + _account.c.number,
        ),
    )
    .where(_meter.c.utility_id == bindparam("utility_id"))
)

_SALE = (
    select(
        _sale.c.id,
        _sale.c.sale_id,
        _sale.c.receipt_number,
        _sale.c.state,
        _sale.c.tender_minor,
        _sale.c.currency,
        _sale.c.units,
        _sale.c.channel,
        _sale.c.credit_mode,
        _sale.c.delivery,
        _sale.c.sold_us,
        _sale.c.issued_us,
        _sale.c.sent_us,
        _sale.c.accepted_us,
        _sale.c.verified_us,
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _principal.c.name.label("sold_by"),
    )
    .join(_meter, _meter.c.id == _sale.c.meter_id)
    .join(_principal, _principal.c.id == _sale.c.principal_id)
    .where(
        _sale.c.sold_us >= bindparam("from_us"),
        _sale.c.sold_us < bindparam("to_us"),
        _given(_meter.c.commodity, "commodity"),
    )
    .order_by(_sale.c.sold_us.desc(), _sale.c.id.desc())
    .limit(bindparam("limit"))
)
_earlier = _sale.alias("earlier")
_BEFORE_US = func.coalesce(
    select(_earlier.c.sold_us).where(_earlier.c.id == bindparam("before")).scalar_subquery(),
    bindparam("to_us"),
)
# Sales are walked by the index of their scope and of time, from the last one of the page before.
_SALES = _SALE.where(
    _sale.c.sold_us <= _BEFORE_US,
    or_(_sale.c.sold_us < _BEFORE_US, _sale.c.id < bindparam("before")),
)

_COMMAND = (
    select(
        _command.c.id,
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _command.c.kind,
        _command.c.value,
        _command.c.text,
        _command.c.state,
        _command.c.cause,
        _command.c.reason,
        _command.c.result,
        _command.c.hold,
        _command.c.attempts,
        _command.c.created_us,
        _command.c.sent_us,
        _command.c.acknowledged_us,
        _command.c.ended_us,
        _command.c.expires_us,
        _command.c.expected_us,
        _command.c.cell,
        _principal.c.name.label("asked_by"),
        _sale.c.receipt_number,
    )
    .join(_meter, _meter.c.id == _command.c.meter_id)
    .outerjoin(_principal, _principal.c.id == _command.c.principal_id)
    .outerjoin(_sale, _sale.c.id == _command.c.sale_row_id)
    # The sum hides the scope: an index of it gives all commands there ever were, to be sorted.
    .where((_command.c.utility_id + 0) == bindparam("utility_id"))
)
_COMMANDS = (
    _COMMAND.where(_command.c.id < bindparam("before"))
    .order_by(_command.c.id.desc())
    .limit(bindparam("limit"))
)

_EVENT = (
    select(
        _event.c.id,
        _event.c.at_us,
        _event.c.kind,
        _event.c.severity,
        _event.c.text,
        _event.c.data,
        _meter.c.number.label("meter"),
    )
    .outerjoin(_meter, _meter.c.id == _event.c.meter_id)
    .where(_given(_event.c.principal_id, "principal_id"))
    .limit(bindparam("limit"))
)
_OF_UTILITY = _event.c.utility_id == bindparam("utility_id")
_OF_METER = _event.c.meter_id == bindparam("meter_id")

_ALARM = (
    select(
        _alarm.c.id,
        _alarm.c.kind,
        _alarm.c.severity,
        _alarm.c.text,
        _alarm.c.raised_us,
        _alarm.c.cleared_us,
        _alarm.c.subject,
        _meter.c.number.label("meter"),
    )
    .outerjoin(_meter, _meter.c.id == _alarm.c.meter_id)
    .where(_alarm.c.utility_id == bindparam("utility_id"))
)

_HEARD = _device.c.last_contact_us >= bindparam("heard_since_us")
_HOUR = (_sale.c.sold_us - bindparam("day_us")) // HOUR_US

_METERS = (
    _METER.where(
        _meter.c.number > bindparam("after"),
        _given(_meter.c.commodity, "commodity"),
        _given(func.coalesce(_device.c.supply, "unknown"), "supply"),
    )
    .order_by(_meter.c.number)
    .limit(bindparam("limit"))
)
_numbered = _meter.alias("numbered")
# Walks the index of numbers only, not the meters.
_BY_NUMBER = select(_numbered.c.id).where(
    _numbered.c.utility_id == bindparam("utility_id"),
    _numbered.c.number.like(bindparam("like"), escape="\\"),
)


def _by_words() -> Select[Any]:
    """Return the meters of places of which each word wanted begins a word."""
    hanging = _installation.alias("hanging")
    first = _word.alias("word0")
    found = (
        select(hanging.c.meter_id)
        .join(first, first.c.supply_point_id == hanging.c.supply_point_id)
        .where(
            hanging.c.to_us.is_(None),
            first.c.utility_id == bindparam("utility_id"),
            first.c.word >= bindparam("from0"),
            first.c.word <= bindparam("to0"),
        )
    )
    for at in range(1, WORDS_MAX):
        other = _word.alias(f"word{at}")
        found = found.where(
            or_(
                bindparam(f"from{at}", type_=Text()).is_(None),
                exists().where(
                    other.c.supply_point_id == first.c.supply_point_id,
                    other.c.word >= bindparam(f"from{at}"),
                    other.c.word <= bindparam(f"to{at}"),
                ),
            )
        )
    return found


READS: dict[str, Select[Any]] = {
    "look_meters": _METERS,
    "look_meters_found": _METERS.where(_meter.c.id.in_(union_all(_BY_NUMBER, _by_words()))),
    "look_meter": _METER.where(_meter.c.number == bindparam("number"))
    .order_by(_installation.c.from_us.desc())
    .limit(1),
    "look_meter_id": select(_meter.c.id, _meter.c.commodity).where(
        _meter.c.utility_id == bindparam("utility_id"), _meter.c.number == bindparam("number")
    ),
    "look_meter_tokens": select(
        _token.c.id,
        _sale.c.receipt_number,
        _sale.c.sold_us,
        _token.c.amount,
        _token.c.purpose,
        _token.c.state,
        _token.c.accepted_by,
        _token.c.accepted_us,
        _token.c.digits,
        _sale.c.delivery,
        _sale.c.tender_minor,
        _sale.c.currency,
    )
    .join(_sale, _sale.c.id == _token.c.sale_row_id)
    .where(
        _token.c.utility_id == bindparam("utility_id"),
        _token.c.meter_id == bindparam("meter_id"),
        _token.c.id < bindparam("before"),
        _given(_sale.c.principal_id, "principal_id"),
    )
    .order_by(_token.c.id.desc())
    .limit(bindparam("limit")),
    "look_sales": _SALES.where(_sale.c.utility_id == bindparam("utility_id")),
    # The utility is that of the meter, and of the principal: it is not asked for, so that no
    # database walks all sales of the utility for it.
    "look_sales_of_principal": _SALES.where(_sale.c.principal_id == bindparam("principal_id")),
    "look_sales_of_meter": _SALES.where(
        _sale.c.meter_id == bindparam("meter_id"), _given(_sale.c.principal_id, "principal_id")
    ),
    "look_commands": _COMMANDS,
    "look_commands_in": _COMMANDS.where(_command.c.state == bindparam("state")),
    "look_meter_commands": _COMMANDS.where(_command.c.meter_id == bindparam("meter_id")),
    "look_command": _COMMAND.where(_command.c.id == bindparam("command_id")),
    "look_command_log": select(
        _command_log.c.id, _command_log.c.at_us, _command_log.c.state, _command_log.c.detail
    )
    .where(
        _command_log.c.utility_id == bindparam("utility_id"),
        _command_log.c.command_id == bindparam("command_id"),
    )
    .order_by(_command_log.c.id)
    .limit(bindparam("limit")),
    "look_events_after": _EVENT.where(_OF_UTILITY, _event.c.id > bindparam("after")).order_by(
        _event.c.id
    ),
    "look_events_newest": _EVENT.where(_OF_UTILITY).order_by(_event.c.id.desc()),
    "look_meter_events_after": _EVENT.where(_OF_METER, _event.c.id > bindparam("after")).order_by(
        _event.c.id
    ),
    "look_meter_events_newest": _EVENT.where(_OF_METER).order_by(_event.c.id.desc()),
    "look_event_last": select(_event.c.id)
    .where(_event.c.utility_id == bindparam("utility_id"))
    .order_by(_event.c.id.desc())
    .limit(1),
    "look_alarms_open": _ALARM.where(
        _alarm.c.cleared_us.is_(None), _alarm.c.id < bindparam("before")
    )
    .order_by(_alarm.c.id.desc())
    .limit(bindparam("limit")),
    "look_alarms_all": _ALARM.where(_alarm.c.id < bindparam("before"))
    .order_by(_alarm.c.id.desc())
    .limit(bindparam("limit")),
    "look_alarms_count": select(func.count().label("count")).where(
        _alarm.c.utility_id == bindparam("utility_id"), _alarm.c.cleared_us.is_(None)
    ),
    "look_day_sales": select(
        _HOUR.label("hour"),
        _meter.c.commodity,
        func.count().label("count"),
        func.sum(_sale.c.tender_minor).label("tender_minor"),
        func.sum(_sale.c.units).label("units"),
    )
    .join(_meter, _meter.c.id == _sale.c.meter_id)
    .where(
        _sale.c.utility_id == bindparam("utility_id"),
        _sale.c.sold_us >= bindparam("day_us"),
        _sale.c.sold_us < bindparam("to_us"),
        _sale.c.state == "issued",
    )
    .group_by(_HOUR, _meter.c.commodity),
    "look_meter_counts": select(
        _meter.c.commodity,
        func.coalesce(_device.c.supply, "unknown").label("supply"),
        func.count().label("count"),
        func.sum(
            case((_device.c.last_contact_us >= bindparam("heard_since_us"), 1), else_=0)
        ).label("heard"),
    )
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.state != "removed")
    .group_by(_meter.c.commodity, func.coalesce(_device.c.supply, "unknown")),
    "look_command_counts": select(_command.c.state, func.count().label("count"))
    .where(
        _command.c.utility_id == bindparam("utility_id"),
        _command.c.created_us >= bindparam("since_us"),
    )
    .group_by(_command.c.state),
    # A frame from an address that no device has belongs to no utility and is counted for none.
    "look_quarantined": select(func.count().label("count"))
    .select_from(_quarantine)
    .join(_frame, _frame.c.id == _quarantine.c.frame_id)
    .join(
        _device,
        and_(_device.c.medium == _frame.c.medium, _device.c.address == _frame.c.address),
    )
    .where(_device.c.utility_id == bindparam("utility_id")),
    "look_utility": select(_utility.c.name).where(_utility.c.id == bindparam("utility_id")),
    "look_policy": select(_utility.c.policy).where(_utility.c.id == bindparam("utility_id")),
    "look_credit_exceptions": select(
        _sale.c.id,
        _sale.c.receipt_number,
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _sale.c.delivery,
        _sale.c.issued_us,
        _sale.c.sent_us,
        _sale.c.accepted_us,
    )
    .join(_meter, _meter.c.id == _sale.c.meter_id)
    .where(
        _sale.c.utility_id == bindparam("utility_id"),
        _sale.c.sold_us > bindparam("from_us"),
        _sale.c.sold_us <= bindparam("until_us"),
        _sale.c.issued_us <= bindparam("until_us"),
        _sale.c.state == "issued",
        _sale.c.delivery.in_([literal(name) for name in ("pending", "sent", "accepted", "failed")]),
        _sale.c.verified_us.is_(None),
        _sale.c.id < bindparam("before"),
    )
    .order_by(_sale.c.id.desc())
    .limit(bindparam("limit")),
    "look_ledger_sum": select(
        func.coalesce(func.sum(_ledger.c.balance_minor), 0).label("sum")
    ).where(_ledger.c.utility_id == bindparam("utility_id")),
}

UPDATES: dict[str, Any] = {}

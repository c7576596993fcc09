"""What the command queue and the gate of cuts read and change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, exists, func, not_, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.devices.commands import (
    CUTTING,
    ENDED,
    MOVABLE,
    NOT_DONE,
    RESTORING,
    SETTING,
    CommandKind,
    CommandState,
)
from slotmeter.storage.joins import INSTALLED_NOW, OTHER_METER_SPEAKS, TERMS_NOW, told_by_token
from slotmeter.storage.schema import METADATA

__all__ = ["OPEN_STATES", "READS", "UPDATES"]

_t = METADATA.tables
_account = _t["account"]
_alarm = _t["alarm"]
_command = _t["command"]
_device = _t["device"]
_installation = _t["installation"]
_journal = _t["journal"]
_ledger = _t["ledger_account"]
_meter = _t["meter"]
_notice = _t["notice"]
_point = _t["supply_point"]
_posting = _t["posting"]
_sale = _t["sale"]
_token = _t["token"]
_utility = _t["utility"]

OPEN_STATES = tuple(sorted(state.value for state in set(CommandState) - ENDED))
"""States that a command can still leave."""


def _any_of(column: ColumnElement[str], values: tuple[str, ...]) -> ColumnElement[bool]:
    return or_(*(column == value for value in values))


_CUTS = _any_of(_command.c.kind, tuple(sorted(kind.value for kind in CUTTING)))
_OPEN = _any_of(_command.c.state, OPEN_STATES)
_MOVABLE = _any_of(_command.c.state, tuple(sorted(state.value for state in MOVABLE)))
_KEPT = _any_of(
    _command.c.kind,
    tuple(sorted(kind.value for kind in CUTTING | RESTORING | SETTING | {CommandKind.SET_VALVE})),
)

_carried = _device.alias("carried")
_flying = _command.alias("flying")

# What one radio or one node carries: the device, or all that are behind its node. It is asked for
# device by device: who starts at the state goes over everything that is under way anywhere.
_IS_SENT = _flying.c.state == CommandState.SENT.value
_IN_FLIGHT = or_(
    exists().where(_flying.c.device_id == bindparam("node_id"), _IS_SENT),
    exists().where(
        _flying.c.device_id.in_(
            select(_carried.c.id).where(_carried.c.node_id == bindparam("node_id"))
        ),
        _IS_SENT,
    ),
)

# Only the meter's own word shows that it did not do a command. One that got no answer, or whose
# proof did not come, may have been done.
_MAYBE_DONE = or_(
    _command.c.state != CommandState.FAILED.value,
    _command.c.result.is_(None),
    not_(_any_of(_command.c.result, tuple(sorted(outcome.value for outcome in NOT_DONE)))),
)

# A utility is the scope of a read, and its worst index: a planner without statistics takes it for
# as selective as one meter. The sum hides the column from the planner and changes nothing else.
_OF_UTILITY = (_command.c.utility_id + 0) == bindparam("utility_id")

# A command with what its steps touch: the token it carries and the sale it delivers.
_WHOLE = (
    select(
        _command,
        _token.c.digits.label("token_digits"),
        _token.c.state.label("token_state"),
        _token.c.amount.label("token_amount"),
        _token.c.tid.label("token_tid"),
        _token.c.accepted_by.label("token_accepted_by"),
        told_by_token(_sale.c.delivery).label("sale_delivery"),
        _sale.c.receipt_number.label("sale_receipt_number"),
        _sale.c.principal_id.label("sale_principal_id"),
        _sale.c.verified_us.label("sale_verified_us"),
        _meter.c.number.label("meter_number"),
        _meter.c.commodity.label("commodity"),
        _device.c.slot,
    )
    .select_from(_command)
    .join(_meter, _meter.c.id == _command.c.meter_id)
    .join(_device, _device.c.id == _command.c.device_id)
    .outerjoin(_token, _token.c.id == _command.c.token_id)
    .outerjoin(_sale, _sale.c.id == _command.c.sale_row_id)
)

_PAID_BY_SALE = (
    select(func.max(_sale.c.issued_us)).where(_sale.c.meter_id == _meter.c.id).scalar_subquery()
)
_PAID_TO_ACCOUNT = (
    select(_journal.c.at_us)
    .join(_posting, _posting.c.journal_id == _journal.c.id)
    .where(
        _posting.c.ledger_account_id == _ledger.c.id,
        _posting.c.amount_minor < 0,
        _journal.c.sale_row_id.is_not(None),
    )
    .order_by(_posting.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_NOTICED = (
    select(func.max(_notice.c.at_us)).where(_notice.c.meter_id == _meter.c.id).scalar_subquery()
)
READS: dict[str, Select[Any]] = {
    "control_pending": select(_command)
    .where(
        _OF_UTILITY,
        _command.c.meter_id == bindparam("meter_id"),
        _OPEN,
    )
    .order_by(_command.c.id),
    "control_device_at": select(
        _device.c.id,
        _device.c.utility_id,
        _device.c.meter_id,
        _device.c.driver,
        _device.c.last_contact_us,
        _device.c.credit_balance,
        func.coalesce(_device.c.node_id, _device.c.id).label("node_id"),
    ).where(_device.c.medium == bindparam("medium"), _device.c.address == bindparam("address")),
    "control_due": _WHOLE.where(
        _command.c.utility_id == bindparam("utility_id"),
        _command.c.device_id == bindparam("device_id"),
        _MOVABLE,
        _command.c.not_before_us <= bindparam("now_us"),
        _command.c.expires_us > bindparam("now_us"),
        not_(OTHER_METER_SPEAKS),
        not_(_IN_FLIGHT),
    )
    .order_by(_command.c.priority, _command.c.id)
    .limit(bindparam("limit")),
    "control_unfinished": _WHOLE.where(
        _OF_UTILITY, _command.c.meter_id == bindparam("meter_id"), _OPEN
    ).order_by(_command.c.id),
    "control_command": _WHOLE.where(
        _command.c.utility_id == bindparam("utility_id"), _command.c.id == bindparam("id")
    ),
    "control_meter": select(
        _meter.c.id,
        _meter.c.utility_id,
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.state,
        _device.c.id.label("device_id"),
        _device.c.driver,
        _device.c.expected_us,
        _device.c.credit_balance,
    )
    .select_from(_meter)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.number == bindparam("number")),
    "control_facts": select(
        _meter.c.id.label("meter_id"),
        _meter.c.utility_id,
        _meter.c.number.label("meter_number"),
        _meter.c.commodity,
        _meter.c.credit_mode,
        _device.c.id.label("device_id"),
        _device.c.driver,
        _device.c.supply,
        _device.c.measured_us,
        _device.c.received_us,
        _device.c.credit_balance,
        _device.c.expected_us,
        _account.c.id.label("account_id"),
        _account.c.critical_until_us,
        _utility.c.time_zone,
        _utility.c.policy,
        _ledger.c.balance_minor.label("ledger_minor"),
        _NOTICED.label("noticed_us"),
        _PAID_BY_SALE.label("paid_by_sale_us"),
        _PAID_TO_ACCOUNT.label("paid_to_account_us"),
        TERMS_NOW.label("terms"),
    )
    .select_from(_meter)
    .join(_utility, _utility.c.id == _meter.c.utility_id)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .outerjoin(_installation, INSTALLED_NOW)
    .outerjoin(_point, _point.c.id == _installation.c.supply_point_id)
    .outerjoin(_account, _account.c.id == _point.c.account_id)
    .outerjoin(
        _ledger,
        and_(
            _ledger.c.utility_id == _meter.c.utility_id,
            _ledger.c.code == "customer:" + _account.c.number,
        ),
    )
    .where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.id == bindparam("meter_id"))
    .order_by(_installation.c.from_us.desc())
    .limit(1),
    # Cuts that were sent within the hour or still wait, without those a second person agreed to.
    "control_cuts": select(func.count().label("cuts")).where(
        _command.c.utility_id == bindparam("utility_id"),
        _CUTS,
        _command.c.created_us > bindparam("created_since_us"),
        or_(_command.c.sent_us > bindparam("sent_since_us"), _MOVABLE),
        _command.c.id != bindparam("but_id"),
        or_(_command.c.hold.is_(None), _command.c.hold.not_like("%confirmed_by_second_person%")),
    ),
    "control_last_cut": select(_command.c.cause, _command.c.created_us)
    .where(
        _OF_UTILITY,
        _command.c.meter_id == bindparam("meter_id"),
        _CUTS,
        _command.c.sent_us.is_not(None),
        _MAYBE_DONE,
    )
    .order_by(_command.c.created_us.desc(), _command.c.id.desc())
    .limit(1),
    "control_last_refused": select(_command.c.kind, _command.c.hold, _command.c.created_us)
    .where(
        _OF_UTILITY,
        _command.c.meter_id == bindparam("meter_id"),
        _command.c.cause == "rule",
        _command.c.state == "refused",
    )
    .order_by(_command.c.created_us.desc(), _command.c.id.desc())
    .limit(1),
    # What a meter was lately asked to be from then on, the newest last.
    "control_asked": select(_command)
    .where(
        _OF_UTILITY,
        _command.c.meter_id == bindparam("meter_id"),
        _command.c.created_us > bindparam("since_us"),
        _KEPT,
    )
    .order_by(_command.c.id),
    # The sweeps go over all utilities: they are the platform's own, nobody's view. Each goes once
    # over the commands of one state, page by page.
    "control_leases_over": _WHOLE.where(
        _command.c.id > bindparam("after"),
        _command.c.state == "sent",
        _command.c.lease_us <= bindparam("now_us"),
    )
    .order_by(_command.c.id)
    .limit(bindparam("limit")),
    "control_expired": _WHOLE.where(
        _command.c.id > bindparam("after"),
        _command.c.state == bindparam("state"),
        _command.c.expires_us <= bindparam("now_us"),
    )
    .order_by(_command.c.id)
    .limit(bindparam("limit")),
    "control_held_due": _WHOLE.where(
        _command.c.state == "held",
        _command.c.not_before_us <= bindparam("now_us"),
        _command.c.expires_us > bindparam("now_us"),
    )
    .order_by(_command.c.id)
    .limit(bindparam("limit")),
    "control_expecting": _WHOLE.where(
        _command.c.id > bindparam("after"),
        _command.c.state == "queued",
        _device.c.expected_us > bindparam("soon_us"),
    )
    .add_columns(_device.c.expected_us.label("device_expected_us"))
    .order_by(_command.c.id)
    .limit(bindparam("limit")),
    "control_overdue": _WHOLE.where(
        _command.c.id > bindparam("after"),
        _command.c.state == "waiting",
        _command.c.expected_us <= bindparam("now_us"),
    )
    .order_by(_command.c.id)
    .limit(bindparam("limit")),
    # Tokens that the meter took without its credit showing it.
    "control_credit_unproven": _WHOLE.where(
        _command.c.state == "acknowledged",
        _command.c.kind == CommandKind.LOAD_TOKEN.value,
        _OF_UTILITY,
        _command.c.acknowledged_us <= bindparam("since_us"),
        not_(
            exists().where(
                _alarm.c.meter_id == _command.c.meter_id,
                _alarm.c.kind == "credit_unproven",
                _alarm.c.cleared_us.is_(None),
            )
        ),
    )
    .order_by(_command.c.id)
    .limit(1),
    "control_utilities": select(_utility.c.id, _utility.c.policy).order_by(_utility.c.id),
    "control_unproven": _WHOLE.where(
        _command.c.id > bindparam("after"),
        _command.c.state == "acknowledged",
        _command.c.acknowledged_us <= bindparam("since_us"),
    )
    .order_by(_command.c.id)
    .limit(bindparam("limit")),
}

_CHANGED = (
    *("state", "result", "hold", "attempts", "not_before_us", "expires_us", "lease_us"),
    *("sent_us", "acknowledged_us", "ended_us", "expected_us", "cell"),
)

UPDATES: dict[str, UpdateBase] = {
    "control_change": update(_command)
    .where(
        _command.c.utility_id == bindparam("of_utility"),
        _command.c.id == bindparam("of_command"),
        _command.c.state == bindparam("of_state"),
    )
    .values({name: bindparam(f"to_{name}") for name in _CHANGED}),
    "control_hold": update(_command)
    .where(
        _command.c.utility_id == bindparam("of_utility"),
        _command.c.id == bindparam("of_command"),
        _command.c.state == "held",
    )
    .values(hold=bindparam("to_hold"), not_before_us=bindparam("to_not_before_us")),
    "control_contact": update(_device)
    .where(
        _device.c.id == bindparam("of_device"),
        func.coalesce(_device.c.last_contact_us, 0) < bindparam("at_us"),
    )
    .values(last_contact_us=bindparam("at_us")),
    "control_delivery": update(_sale)
    .where(
        _sale.c.utility_id == bindparam("of_utility"),
        _sale.c.id == bindparam("of_sale"),
        _sale.c.delivery == bindparam("of_delivery"),
    )
    .values(
        delivery=bindparam("to_delivery"),
        sent_us=func.coalesce(_sale.c.sent_us, bindparam("to_sent_us")),
        accepted_us=func.coalesce(_sale.c.accepted_us, bindparam("to_accepted_us")),
        verified_us=func.coalesce(_sale.c.verified_us, bindparam("to_verified_us")),
    ),
}

"""When devices were heard and when they should be: what the watch of silent devices reads.

These read whole tables, twice a minute: what is looked for is what did *not* happen, and no index
finds that.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause, Select

from slotmeter.devices.contacts import (
    FIRST_INTERVAL_US,
    LEARNED_AFTER,
    SESSION_US,
    SHORT_INTERVAL_US,
    SILENCE_INTERVALS,
    SILENCE_US_MIN,
    UNLEARNED_SILENCE_US,
)
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "RESTING", "UPDATES"]

RESTING: Final = ("repaired", "scrapped", "stored", "swapped")
"""A meter that came to one of these since it was installed is not expected to report."""

_t = METADATA.tables
_device = _t["device"]
_meter = _t["meter"]
_life = _t["meter_life"]
_installation = _t["installation"]
_alarm = _t["alarm"]
_cursor = _t["cursor"]
_frame = _t["frame"]
_node = _device.alias("node")
_child = _device.alias("child")
_brother = _device.alias("brother")

Number = ColumnElement[Any]


def _larger(one: Number, other: Number) -> Number:
    return case((one >= other, one), else_=other)


def interval_us(device: FromClause) -> Number:
    """Return the interval that counts for a device."""
    return func.coalesce(device.c.interval_us, FIRST_INTERVAL_US)


def limit_us(device: FromClause) -> Number:
    """Return how long a device may be silent, as ``devices.contacts`` has it."""
    is_learned = and_(device.c.interval_us.is_not(None), device.c.contacts >= LEARNED_AFTER)
    usual = SILENCE_INTERVALS * func.coalesce(device.c.interval_us, 0)
    least = case((is_learned, literal(SILENCE_US_MIN)), else_=literal(UNLEARNED_SILENCE_US))
    return _larger(usual, least)


def counted_us(device: FromClause) -> Number:
    """Return the last contact that was learned from; NULL for a device that is not known yet."""
    return device.c.expected_us - interval_us(device)


def heard_us(device: FromClause) -> Number:
    """Return when a device counts as heard last: later than it was, after nobody listened."""
    return _larger(func.coalesce(counted_us(device), 0), func.coalesce(device.c.last_contact_us, 0))


_HEARD_LAST: Final = heard_us(_device)
_GAP_US: Final = _device.c.last_contact_us - counted_us(_device)
_INSTALLED_US: Final = (
    select(func.max(_installation.c.from_us))
    .where(_installation.c.meter_id == _device.c.meter_id, _installation.c.to_us.is_(None))
    .scalar_subquery()
)
_newer = _life.alias("newer")
_IS_RESTING: Final = exists().where(
    _life.c.meter_id == _device.c.meter_id,
    or_(*(_life.c.state == state for state in RESTING)),
    _life.c.at_us >= func.coalesce(_INSTALLED_US, 0),
    ~exists().where(
        _newer.c.meter_id == _life.c.meter_id,
        or_(
            _newer.c.at_us > _life.c.at_us,
            and_(_newer.c.at_us == _life.c.at_us, _newer.c.id > _life.c.id),
        ),
    ),
)
_IS_IN_USE: Final = and_(or_(_meter.c.id.is_(None), _meter.c.state != "removed"), ~_IS_RESTING)
_HABIT: Final = (
    _device.c.id,
    _device.c.utility_id,
    _device.c.meter_id,
    _device.c.node_id,
    _device.c.medium,
    _device.c.address,
    _device.c.serial,
    _device.c.last_contact_us,
    _device.c.interval_us,
    _device.c.expected_us,
    _device.c.contacts,
    _device.c.contacts_missed,
    _device.c.offline_us,
    _meter.c.number,
)
_DEVICES: Final = select(*_HABIT).outerjoin(_meter, _meter.c.id == _device.c.meter_id)

_BEHIND: Final = (
    select(
        _child.c.node_id.label("node_id"),
        func.count().label("devices"),
        func.max(_child.c.last_contact_us).label("last_us"),
        func.max(
            case((_child.c.last_contact_us.is_not(None), heard_us(_child)), else_=null())
        ).label("heard_us"),
        func.min(limit_us(_child)).label("limit_us"),
    )
    .where(_child.c.node_id.is_not(None))
    .group_by(_child.c.node_id)
    .subquery("behind")
)
_BROTHERS_LAST: Final = (
    select(func.max(_brother.c.last_contact_us))
    .where(_brother.c.node_id == _device.c.node_id)
    .scalar_subquery()
)
_IS_HEARD_SINCE: Final = or_(
    _device.c.last_contact_us > _device.c.offline_us,
    exists().where(
        _child.c.node_id == _device.c.id, _child.c.last_contact_us > _device.c.offline_us
    ),
)
# The silence of a medium stands for that of everything on it.
_IS_MEDIUM_SILENT: Final = exists().where(
    _alarm.c.meter_id.is_(None),
    _alarm.c.kind == bindparam("bearer_kind"),
    _alarm.c.cleared_us.is_(None),
    (_alarm.c.utility_id + 0) == _device.c.utility_id,
    _alarm.c.subject == bindparam("bearer_prefix", type_=Text).concat(_device.c.medium),
)
_PAGE: Final = (_device.c.id > bindparam("after"),)

_POSITION: Final = (
    select(_cursor.c.position).where(_cursor.c.name == bindparam("name")).scalar_subquery()
)

_SOME: Final = (
    select(_device.c.id)
    .where(*_PAGE)
    .order_by(_device.c.id)
    .limit(bindparam("limit"))
    .subquery("some")
)

READS: dict[str, Select[Any]] = {
    # The first frame that the consumer of devices has not come to.
    "contacts_unread": select(_frame.c.received_us)
    .where(_frame.c.id > func.coalesce(_POSITION, 0))
    .order_by(_frame.c.id)
    .limit(1),
    # Heard since its last contact was learned from.
    "contacts_new": _DEVICES.where(
        *_PAGE,
        _device.c.last_contact_us.is_not(None),
        or_(
            _device.c.expected_us.is_(None),
            _GAP_US >= SESSION_US,
            and_(_GAP_US > 0, _device.c.interval_us < SHORT_INTERVAL_US),
        ),
    )
    .order_by(_device.c.id)
    .limit(bindparam("limit")),
    "contacts_device": _DEVICES.where(
        _device.c.utility_id == bindparam("utility_id"), _device.c.id == bindparam("id")
    ),
    # Up to where a unit that changes devices in the order of their ids goes.
    "contacts_through": select(func.max(_SOME.c.id).label("id")),
    # Offline, and heard since; or not expected any more.
    "contacts_back": _DEVICES.add_columns(_IS_IN_USE.label("is_in_use"))
    .where(*_PAGE, _device.c.offline_us.is_not(None), or_(_IS_HEARD_SINCE, ~_IS_IN_USE))
    .order_by(_device.c.id)
    .limit(bindparam("limit")),
    "contacts_silent_nodes": _DEVICES.add_columns(
        _BEHIND.c.devices,
        _BEHIND.c.last_us.label("behind_last_us"),
        _BEHIND.c.heard_us.label("behind_heard_us"),
        _BEHIND.c.limit_us.label("behind_limit_us"),
    )
    .join(_BEHIND, _BEHIND.c.node_id == _device.c.id)
    .where(
        *_PAGE,
        _device.c.offline_us.is_(None),
        or_(_device.c.last_contact_us.is_not(None), _BEHIND.c.last_us.is_not(None)),
        or_(
            _device.c.last_contact_us.is_(None),
            _HEARD_LAST + limit_us(_device) < bindparam("now_us"),
        ),
        or_(
            _BEHIND.c.heard_us.is_(None),
            _BEHIND.c.heard_us + _BEHIND.c.limit_us < bindparam("now_us"),
        ),
        ~_IS_MEDIUM_SILENT,
    )
    .order_by(_device.c.id)
    .limit(bindparam("limit")),
    "contacts_silent": _DEVICES.add_columns(
        _node.c.last_contact_us.label("node_last_us"), _BROTHERS_LAST.label("brothers_last_us")
    )
    .outerjoin(_node, _node.c.id == _device.c.node_id)
    .where(
        *_PAGE,
        _device.c.offline_us.is_(None),
        _device.c.last_contact_us.is_not(None),
        _node.c.offline_us.is_(None),
        _HEARD_LAST + limit_us(_device) < bindparam("now_us"),
        ~exists().where(_child.c.node_id == _device.c.id),
        ~_IS_MEDIUM_SILENT,
        _IS_IN_USE,
    )
    .order_by(_device.c.id)
    .limit(bindparam("limit")),
    "contacts_bearers": select(
        _device.c.utility_id,
        _device.c.medium,
        func.count().label("devices"),
        func.max(_HEARD_LAST).label("last_us"),
        func.max(_device.c.last_contact_us).label("contact_us"),
        func.min(limit_us(_device)).label("limit_us"),
    )
    .outerjoin(_meter, _meter.c.id == _device.c.meter_id)
    .where(
        _device.c.last_contact_us.is_not(None),
        _device.c.offline_us.is_(None),
        or_(_meter.c.id.is_(None), _meter.c.state != "removed"),
    )
    .group_by(_device.c.utility_id, _device.c.medium),
    # Also of media on which no device is left.
    "contacts_bearers_alarmed": select(_alarm.c.utility_id, _alarm.c.subject)
    .where(
        _alarm.c.meter_id.is_(None),
        _alarm.c.kind == bindparam("kind"),
        _alarm.c.cleared_us.is_(None),
    )
    .order_by(_alarm.c.id),
    "contacts_alarms": select(
        _alarm.c.id,
        _alarm.c.utility_id,
        _alarm.c.meter_id,
        _alarm.c.subject,
        _alarm.c.raised_us,
    ).where(
        (_alarm.c.utility_id + 0) == bindparam("utility_id"),
        _alarm.c.meter_id == bindparam("meter_id"),
        _alarm.c.kind == bindparam("kind"),
        _alarm.c.cleared_us.is_(None),
    ),
    "contacts_subject_alarms": select(
        _alarm.c.id,
        _alarm.c.utility_id,
        _alarm.c.meter_id,
        _alarm.c.subject,
        _alarm.c.raised_us,
    ).where(
        # The sum hides the scope: an index of it would give all open alarms of the utility.
        (_alarm.c.utility_id + 0) == bindparam("utility_id"),
        _alarm.c.meter_id.is_(None),
        _alarm.c.kind == bindparam("kind"),
        _alarm.c.cleared_us.is_(None),
        _alarm.c.subject == bindparam("subject"),
    ),
}

_OF_ONE = (_device.c.utility_id == bindparam("of_utility"), _device.c.id == bindparam("of_device"))
_OF_SOME = (_device.c.id > bindparam("of_after"), _device.c.id <= bindparam("of_through"))
# The empty text hides the medium: an index of it would give all of its devices, page by page anew.
_OF_BEARER = (
    *_OF_SOME,
    (_device.c.utility_id + 0) == bindparam("of_utility"),
    _device.c.medium.concat("") == bindparam("of_medium"),
)

UPDATES: dict[str, UpdateBase] = {
    "contacts_learn": update(_device)
    .where(*_OF_ONE)
    .values(
        interval_us=bindparam("to_interval_us"),
        expected_us=bindparam("to_expected_us"),
        contacts=bindparam("to_contacts"),
        contacts_missed=bindparam("to_missed"),
    ),
    # Only while nothing was heard of it in the meantime.
    "contacts_offline": update(_device)
    .where(
        *_OF_ONE,
        _device.c.offline_us.is_(None),
        func.coalesce(_device.c.last_contact_us, 0) == bindparam("of_last_us"),
    )
    .values(offline_us=bindparam("to_offline_us")),
    "contacts_online": update(_device)
    .where(*_OF_ONE, _device.c.offline_us == bindparam("of_offline_us"))
    .values(offline_us=null()),
    # Nobody could be heard for so long: it is nobody's silence.
    "contacts_shift": update(_device)
    .where(*_OF_SOME, _device.c.expected_us.is_not(None))
    .values(expected_us=_device.c.expected_us + bindparam("by_us")),
    "contacts_node_back": update(_device)
    .where(
        _device.c.utility_id == bindparam("of_utility"),
        _device.c.node_id == bindparam("of_node"),
        _device.c.offline_us.is_(None),
        _device.c.last_contact_us.is_not(None),
    )
    .values(expected_us=bindparam("to_now_us") + interval_us(_device)),
    "contacts_bearer_back": update(_device)
    .where(*_OF_BEARER, _device.c.offline_us.is_(None), _device.c.last_contact_us.is_not(None))
    .values(expected_us=bindparam("to_now_us") + interval_us(_device)),
}

"""What campaigns of key changes read and change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, literal, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.joins import INSTALLED_NOW
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_campaign = _t["key_campaign"]
_member = _t["key_campaign_meter"]
_change = _t["key_change"]
_link = _t["key_change_token"]
_replacement = _t["key_replacement"]
_token = _t["token"]
_sale = _t["sale"]
_meter = _t["meter"]
_device = _t["device"]
_installation = _t["installation"]
_point = _t["supply_point"]
_account = _t["account"]
_customer = _t["customer"]
_principal = _t["principal"]


def _given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Match a column when the parameter is given; NULL matches everything."""
    wanted: BindParameter[Any] = bindparam(name)
    return or_(wanted.is_(None), column == wanted)


# The newest change of a meter within a campaign: with the next sale, a sale makes it.
_newer = _change.alias("newer")
_NEWEST = (
    select(func.max(_newer.c.id))
    .where(_newer.c.campaign_id == _member.c.campaign_id, _newer.c.meter_id == _member.c.meter_id)
    .correlate(_member)
    .scalar_subquery()
)

_MEMBER = (
    select(
        _member.c.id,
        _member.c.meter_id,
        _member.c.state,
        _member.c.problem,
        _member.c.printed_us,
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _device.c.id.label("device_id"),
        _change.c.id.label("key_change_id"),
        _change.c.state.label("change_state"),
        _change.c.proof,
        _change.c.ended_us,
        _change.c.from_parameters,
        _change.c.unused,
        _point.c.area,
        _point.c.address,
        _customer.c.name.label("customer"),
        _account.c.number.label("account"),
    )
    .select_from(_member)
    .join(_meter, _meter.c.id == _member.c.meter_id)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .outerjoin(_change, _change.c.id == _NEWEST)
    .outerjoin(_installation, INSTALLED_NOW)
    .outerjoin(_point, _point.c.id == _installation.c.supply_point_id)
    .outerjoin(_account, _account.c.id == _point.c.account_id)
    .outerjoin(_customer, _customer.c.id == _account.c.customer_id)
    .where(
        _member.c.utility_id == bindparam("utility_id"),
        _member.c.campaign_id == bindparam("campaign_id"),
        _member.c.id > bindparam("after"),
    )
    .order_by(_member.c.id)
    .limit(bindparam("limit"))
)

_CAMPAIGN = (
    select(_campaign, _principal.c.name.label("asked_by"))
    .select_from(_campaign)
    .join(_principal, _principal.c.id == _campaign.c.principal_id)
    .where(_campaign.c.utility_id == bindparam("utility_id"))
)

_IS_MEMBER = (
    select(_member.c.id)
    .where(_member.c.campaign_id == bindparam("campaign_id"), _member.c.meter_id == _meter.c.id)
    .correlate(_meter)
    .exists()
)

READS: dict[str, Select[Any]] = {
    "campaign_by_code": _CAMPAIGN.where(_campaign.c.code == bindparam("code")),
    "campaigns": _CAMPAIGN.where(_campaign.c.id < bindparam("before"))
    .order_by(_campaign.c.id.desc())
    .limit(bindparam("limit")),
    # Meters with a key that are not in the campaign, in the order of their ids.
    "campaign_candidates": select(
        _meter.c.id, _meter.c.number, _meter.c.key_id, _meter.c.parameters
    )
    .select_from(_meter)
    .outerjoin(_installation, INSTALLED_NOW)
    .outerjoin(_point, _point.c.id == _installation.c.supply_point_id)
    .where(
        _meter.c.utility_id == bindparam("utility_id"),
        _meter.c.credit_mode == "meter",
        _meter.c.parameters.is_not(None),
        _meter.c.state != "removed",
        _meter.c.id > bindparam("after"),
        _given(_meter.c.commodity, "commodity"),
        _given(_meter.c.key_id, "key_id"),
        (func.coalesce(_point.c.area, "") + literal("/")).like(bindparam("area"), escape="\\"),
        ~_IS_MEMBER,
    )
    .order_by(_meter.c.id)
    .limit(bindparam("limit")),
    "campaign_meter": select(_meter.c.id, _meter.c.number, _member.c.id.label("member_id"))
    .select_from(_meter)
    .outerjoin(
        _member,
        and_(_member.c.meter_id == _meter.c.id, _member.c.campaign_id == bindparam("campaign_id")),
    )
    .where(
        _meter.c.utility_id == bindparam("utility_id"),
        _meter.c.number == bindparam("number"),
        _meter.c.credit_mode == "meter",
        _meter.c.parameters.is_not(None),
        _meter.c.state != "removed",
    ),
    "campaign_progress": select(
        _member.c.state,
        func.coalesce(_change.c.state, literal("none")).label("change_state"),
        func.count().label("meters"),
    )
    .select_from(_member)
    .outerjoin(_change, _change.c.id == _NEWEST)
    .where(_member.c.campaign_id == bindparam("campaign_id"))
    .group_by(_member.c.state, _change.c.state),
    "campaign_members": _MEMBER,
    "campaign_waiting": _MEMBER.where(_member.c.state == "selected"),
    "campaign_open": _MEMBER.where(_change.c.state == "open"),
    # What a campaign makes worthless if it is not typed before, or made so.
    "campaign_unused": select(
        _token.c.id,
        _token.c.amount,
        _token.c.state,
        _token.c.created_us,
        _meter.c.number.label("meter"),
        _meter.c.commodity,
        _sale.c.receipt_number,
        _device.c.id.label("device_id"),
        _change.c.id.label("key_change_id"),
        _change.c.state.label("change_state"),
        _replacement.c.new_token_id,
    )
    .select_from(_member)
    .join(_meter, _meter.c.id == _member.c.meter_id)
    .join(_token, _token.c.meter_id == _meter.c.id)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .outerjoin(_sale, _sale.c.id == _token.c.sale_row_id)
    .outerjoin(_change, _change.c.id == _NEWEST)
    .outerjoin(_replacement, _replacement.c.old_token_id == _token.c.id)
    .where(
        _member.c.utility_id == bindparam("utility_id"),
        _member.c.campaign_id == bindparam("campaign_id"),
        _token.c.amount > 0,
        or_(_token.c.state == "issued", _token.c.state == "replaced"),
        _token.c.created_us >= bindparam("since_us"),
        _token.c.parameters == func.coalesce(_change.c.from_parameters, _meter.c.parameters),
        _token.c.id > bindparam("after"),
    )
    .order_by(_token.c.id)
    .limit(bindparam("limit")),
    "campaign_set": select(_link.c.place, _token.c.digits)
    .select_from(_link)
    .join(_token, _token.c.id == _link.c.token_id)
    .where(_link.c.key_change_id == bindparam("change_id"), _token.c.digits.is_not(None))
    .order_by(_link.c.place),
}

UPDATES: dict[str, UpdateBase] = {
    "campaign_mark": update(_member)
    .where(_member.c.id == bindparam("of_member"), _member.c.state == "selected")
    .values(
        state=bindparam("to_state"),
        problem=bindparam("to_problem"),
        key_change_id=bindparam("to_change"),
    ),
    "campaign_again": update(_member)
    .where(_member.c.campaign_id == bindparam("of_campaign"), _member.c.state == "failed")
    .values(state="selected", problem=bindparam("to_problem")),
    "campaign_printed": update(_member)
    .where(_member.c.id == bindparam("of_member"))
    .values(printed_us=bindparam("at_us")),
    "campaign_close": update(_campaign)
    .where(_campaign.c.id == bindparam("of_campaign"), _campaign.c.state == "open")
    .values(state="closed", closed_us=bindparam("at_us")),
}

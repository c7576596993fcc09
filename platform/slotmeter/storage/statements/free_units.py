"""What the administration of free units reads and changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_registration = _t["free_registration"]
_claim = _t["free_claim"]
_account = _t["account"]
_customer = _t["customer"]
_point = _t["supply_point"]
_principal = _t["principal"]

_UTILITY: BindParameter[int] = bindparam("utility_id")
_AT: BindParameter[int] = bindparam("at_us")

_IN_FORCE = and_(
    _registration.c.from_us <= _AT,
    _registration.c.ended_us.is_(None),
    or_(_registration.c.until_us.is_(None), _registration.c.until_us > _AT),
)

_REGISTRATIONS = (
    select(
        _registration.c.id,
        _registration.c.code,
        _registration.c.from_us,
        _registration.c.until_us,
        _registration.c.ended_us,
        _registration.c.evidence,
        _registration.c.created_us,
        _account.c.id.label("account_id"),
        _account.c.number.label("account"),
        _customer.c.name.label("customer_name"),
        _customer.c.phone,
        _principal.c.name.label("by"),
    )
    .join(_account, _account.c.id == _registration.c.account_id)
    .join(_customer, _customer.c.id == _account.c.customer_id)
    .join(_principal, _principal.c.id == _registration.c.principal_id)
    .where(_registration.c.utility_id == _UTILITY)
)

_claimed = (
    select(_claim.c.id)
    .join(_point, _point.c.id == _claim.c.supply_point_id)
    .where(
        _point.c.account_id == _registration.c.account_id,
        _claim.c.code == _registration.c.code,
        _claim.c.period == bindparam("period"),
    )
    .correlate(_registration)
    .exists()
)

READS: dict[str, Select[Any]] = {
    "free_registrations": _REGISTRATIONS.where(
        or_(bindparam("code").is_(None), _registration.c.code == bindparam("code")),
        or_(bindparam("account").is_(None), _account.c.number == bindparam("account")),
        or_(bindparam("at_us").is_(None), _IN_FORCE),
        or_(bindparam("before").is_(None), _registration.c.id < bindparam("before")),
    )
    .order_by(_registration.c.id.desc())
    .limit(bindparam("limit")),
    "free_registration_by_id": _REGISTRATIONS.where(_registration.c.id == bindparam("id")),
    # Those of one account and code that are not ended: a new one must not overlap them.
    "free_registrations_open": select(
        _registration.c.id, _registration.c.from_us, _registration.c.until_us
    ).where(
        _registration.c.utility_id == _UTILITY,
        _registration.c.account_id == bindparam("account_id"),
        _registration.c.code == bindparam("code"),
        _registration.c.ended_us.is_(None),
    ),
    "free_not_collected": _REGISTRATIONS.where(
        _IN_FORCE,
        ~_claimed,
        or_(bindparam("code").is_(None), _registration.c.code == bindparam("code")),
        _registration.c.id > bindparam("after_id"),
    )
    .order_by(_registration.c.id)
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {
    "free_registration_end": update(_registration)
    .where(
        _registration.c.utility_id == bindparam("of_utility"),
        _registration.c.id == bindparam("of_id"),
        _registration.c.ended_us.is_(None),
    )
    .values(ended_us=bindparam("at_us")),
}

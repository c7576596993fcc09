"""What the administration of customer classes reads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.joins import older_than
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_class = _t["customer_class"]
_of_account = _t["account_class"]
_account = _t["account"]
_customer = _t["customer"]
_point = _t["supply_point"]
_sale = _t["sale"]
_token = _t["token"]
_principal = _t["principal"]


_UTILITY: BindParameter[int] = bindparam("utility_id")

_class_now = (
    select(_of_account.c.class_code)
    .where(_of_account.c.account_id == _account.c.id, _of_account.c.from_us <= bindparam("at_us"))
    .order_by(_of_account.c.from_us.desc(), _of_account.c.id.desc())
    .limit(1)
    .correlate(_account)
    .scalar_subquery()
)

_sold_between = and_(
    _sale.c.supply_point_id == _point.c.id,
    _sale.c.sold_us >= bindparam("from_us"),
    _sale.c.sold_us < bindparam("to_us"),
    # Said so that no index is taken for it: nearly all sales are issued.
    _sale.c.state != "pending",
    _sale.c.state != "voided",
    _sale.c.state != "reversed",
)

_paid = (
    select(func.coalesce(func.sum(_sale.c.units), 0))
    .select_from(_point)
    .join(_sale, _sold_between)
    .where(_point.c.account_id == _account.c.id, _point.c.commodity == bindparam("commodity"))
    .correlate(_account)
    .scalar_subquery()
)

_free = (
    select(func.coalesce(func.sum(_token.c.amount), 0))
    .select_from(_point)
    .join(_sale, _sold_between)
    .join(_token, and_(_token.c.sale_row_id == _sale.c.id, _token.c.purpose == "free"))
    .where(_point.c.account_id == _account.c.id, _point.c.commodity == bindparam("commodity"))
    .correlate(_account)
    .scalar_subquery()
)

READS: dict[str, Select[Any]] = {
    "class_list": select(_class)
    .where(_class.c.utility_id == _UTILITY, _class.c.code > bindparam("after"))
    .order_by(_class.c.code)
    .limit(bindparam("limit")),
    "class_by_code": select(_class).where(
        _class.c.utility_id == _UTILITY, _class.c.code == bindparam("code")
    ),
    "account_by_number": select(
        _account.c.id,
        _account.c.number,
        _account.c.currency,
        _customer.c.number.label("customer_number"),
        _customer.c.name.label("customer_name"),
    )
    .join(_customer, _customer.c.id == _account.c.customer_id)
    .where(_account.c.utility_id == _UTILITY, _account.c.number == bindparam("number")),
    "account_class_history": select(
        _of_account.c.id,
        _of_account.c.class_code,
        _of_account.c.from_us,
        _of_account.c.reason,
        _of_account.c.created_us,
        _principal.c.name.label("by"),
    )
    .join(_principal, _principal.c.id == _of_account.c.principal_id)
    .where(
        _of_account.c.utility_id == _UTILITY,
        _of_account.c.account_id == bindparam("account"),
        older_than(_of_account, bindparam("before")),
    )
    .order_by(_of_account.c.from_us.desc(), _of_account.c.id.desc())
    .limit(bindparam("limit")),
    "account_class_at": select(_of_account.c.class_code, _of_account.c.from_us)
    .where(
        _of_account.c.utility_id == _UTILITY,
        _of_account.c.account_id == bindparam("account"),
        _of_account.c.from_us <= bindparam("at_us"),
    )
    .order_by(_of_account.c.from_us.desc(), _of_account.c.id.desc())
    .limit(1),
    # A page of accounts that have a supply point of a commodity, with what each of them bought.
    "class_use": select(
        _account.c.id,
        _account.c.number,
        _account.c.created_us,
        _class_now.label("class_code"),
        _paid.label("paid"),
        _free.label("free"),
    )
    .where(
        _account.c.utility_id + 0 == _UTILITY,  # the order is that of the ids
        _account.c.id > bindparam("after_id"),
        select(_point.c.id)
        .where(_point.c.account_id == _account.c.id, _point.c.commodity == bindparam("commodity"))
        .correlate(_account)
        .exists(),
    )
    .order_by(_account.c.id)
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {}

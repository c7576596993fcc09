"""The sales of one tariff in order per supply point, a page at a time: to preview another price."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA
from slotmeter.storage.statements.repricing import STORED_SALE

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_sale = _t["sale"]
_account = _t["account"]
_point = _t["supply_point"]
_tariff = _t["tariff"]
_version = _t["tariff_version"]

_POINT: BindParameter[int] = bindparam("after_point")
_US: BindParameter[int] = bindparam("after_us")
_ID: BindParameter[int] = bindparam("after_id")

_WANTED = (
    _tariff.c.code == bindparam("code"),
    # Said so that no index is taken for it: nearly all sales are issued.
    _sale.c.state != "pending",
    _sale.c.state != "voided",
    _sale.c.state != "reversed",
    _sale.c.tender_minor > 0,
    _sale.c.sold_us >= bindparam("from_us"),
    _sale.c.sold_us < bindparam("to_us"),
)

READS: dict[str, Select[Any]] = {
    "preview_sales": select(
        *STORED_SALE,
        _account.c.number.label("account_number"),
        select(_point.c.created_us)
        .where(_point.c.id == _sale.c.supply_point_id)
        .scalar_subquery()
        .label("supply_point_since_us"),
        _version.c.body,
    )
    .select_from(_sale)
    .join(_version, _version.c.id == _sale.c.tariff_version_id)
    .join(_tariff, _tariff.c.id == _version.c.tariff_id)
    .join(_account, _account.c.id == _sale.c.account_id)
    .where(
        # The sum keeps SQLite from the index by utility and time, which has another order.
        _sale.c.utility_id + 0 == bindparam("utility_id"),
        *_WANTED,
        _sale.c.supply_point_id >= _POINT,
        or_(
            _sale.c.supply_point_id > _POINT,
            _sale.c.sold_us > _US,
            and_(_sale.c.sold_us == _US, _sale.c.id > _ID),
        ),
    )
    .order_by(_sale.c.supply_point_id, _sale.c.sold_us, _sale.c.id)
    .limit(bindparam("limit")),
    "preview_count": select(func.count().label("count"))
    .select_from(_sale)
    .join(_version, _version.c.id == _sale.c.tariff_version_id)
    .join(_tariff, _tariff.c.id == _version.c.tariff_id)
    .where(_sale.c.utility_id == bindparam("utility_id"), *_WANTED),
}

UPDATES: dict[str, UpdateBase] = {}

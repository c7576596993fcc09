"""What changing between paying in advance and afterwards reads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, literal, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.joins import AS_PRICED, CLASS_NOW, INSTALLED_NOW, older_than
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_terms = _t["account_terms"]
_account = _t["account"]
_point = _t["supply_point"]
_installation = _t["installation"]
_meter = _t["meter"]
_device = _t["device"]
_sale = _t["sale"]
_version = _t["tariff_version"]
_claim = _t["free_claim"]
_charge = _t["meter_charge"]
_principal = _t["principal"]
_ledger = _t["ledger_account"]

METERS_MAX = 50
PURCHASES_MAX = 500

_UTILITY: BindParameter[int] = bindparam("utility_id")
_ACCOUNT: BindParameter[int] = bindparam("account_id")

_free = (
    select(func.coalesce(func.sum(_claim.c.units), 0))
    .where(_claim.c.sale_row_id == _sale.c.id)
    .correlate(_sale)
    .scalar_subquery()
)

_HISTORY = (
    select(_terms, _principal.c.name.label("by"))
    .join(_principal, _principal.c.id == _terms.c.principal_id)
    .where(_terms.c.utility_id == _UTILITY, _terms.c.account_id == _ACCOUNT)
    .order_by(_terms.c.from_us.desc(), _terms.c.id.desc())
)

READS: dict[str, Select[Any]] = {
    "terms_history": _HISTORY.where(older_than(_terms, bindparam("before"))).limit(
        bindparam("limit")
    ),
    "terms_current": _HISTORY.where(_terms.c.from_us <= bindparam("now_us")).limit(1),
    "terms_newest": _HISTORY.limit(1),
    "terms_meters": select(
        _meter.c.id.label("meter_id"),
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.credit_mode,
        _meter.c.transfer,
        _point.c.id.label("supply_point_id"),
        _point.c.tariff_id,
        _point.c.connection,
        _point.c.load_w,
        _point.c.created_us.label("supply_point_since_us"),
        CLASS_NOW.label("class_code"),
        _device.c.register,
        _device.c.credit_balance,
        _charge.c.register.label("charged_register"),
        _charge.c.charged_us,
    )
    .select_from(_account)
    .join(_point, _point.c.account_id == _account.c.id)
    .join(_installation, _installation.c.supply_point_id == _point.c.id)
    .join(_meter, INSTALLED_NOW)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .outerjoin(_charge, and_(_charge.c.meter_id == _meter.c.id, _charge.c.to_us.is_(None)))
    .where(_account.c.utility_id == _UTILITY, _account.c.id == _ACCOUNT)
    .order_by(_meter.c.id)
    .limit(METERS_MAX),
    # Purchases whose credit may be left on a meter, the newest first.
    "terms_purchases": select(
        *AS_PRICED,
        _sale.c.particulars,
        _sale.c.credit_mode,
        _sale.c.state,
        _version.c.body,
        _free.label("free"),
    )
    .join(_version, _version.c.id == _sale.c.tariff_version_id)
    .where(
        _sale.c.utility_id + 0 == _UTILITY,  # the index is that of the meter
        _sale.c.meter_id == bindparam("meter_id"),
        _sale.c.sold_us >= bindparam("since_us"),
        _sale.c.state != "pending",
        _sale.c.state != "voided",
        _sale.c.state != "reversed",
    )
    .order_by(_sale.c.sold_us.desc(), _sale.c.id.desc())
    .limit(PURCHASES_MAX),
    "terms_newest_sale": select(_sale.c.id, _sale.c.sold_us, _sale.c.state)
    .join(_point, _point.c.id == _sale.c.supply_point_id)
    .where(
        _point.c.utility_id == _UTILITY,
        _point.c.account_id == _ACCOUNT,
        _sale.c.state != "voided",
        _sale.c.state != "reversed",
    )
    .order_by(_sale.c.sold_us.desc(), _sale.c.id.desc())
    .limit(1),
    "terms_pending_sale": select(_sale.c.id)
    .where(_sale.c.state == "pending", _sale.c.account_id == _ACCOUNT)
    .limit(1),
    "terms_open_segments": select(_charge.c.meter_id, _charge.c.register)
    .where(
        _charge.c.utility_id == _UTILITY,
        _charge.c.account_id == _ACCOUNT,
        _charge.c.to_us.is_(None),
    )
    .order_by(_charge.c.meter_id),
    "terms_balances": select(_ledger.c.code, _ledger.c.balance_minor).where(
        _ledger.c.utility_id == _UTILITY,
        or_(
            _ledger.c.code == literal("customer:") + bindparam("number"),
            _ledger.c.code == literal("advance:") + bindparam("number"),
            _ledger.c.code == literal("receivable:") + bindparam("number"),
        ),
    ),
}

UPDATES: dict[str, UpdateBase] = {}

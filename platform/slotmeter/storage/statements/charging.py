"""What charging by the register and credit control read and change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, literal, null, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.joins import CLASS_NOW, CLOSED_UNTIL, INSTALLED_NOW
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_account = _t["account"]
_charge = _t["meter_charge"]
_device = _t["device"]
_installation = _t["installation"]
_ledger = _t["ledger_account"]
_meter = _t["meter"]
_point = _t["supply_point"]
_utility = _t["utility"]
_version = _t["tariff_version"]

_LEDGER_OF_UTILITY = _ledger.c.utility_id == bindparam("utility_id")

_sibling = _meter.alias("sibling")
_sibling_installation = _installation.alias("sibling_installation")
_sibling_point = _point.alias("sibling_point")

READS: dict[str, Select[Any]] = {
    "charging_supply": select(
        _account.c.id.label("account_id"),
        _account.c.number.label("account_number"),
        _account.c.currency,
        _point.c.tariff_id,
        _point.c.connection,
        _point.c.load_w,
        _utility.c.time_zone,
        CLASS_NOW.label("class_code"),
    )
    .select_from(_meter)
    .join(_installation, INSTALLED_NOW)
    .join(_point, _point.c.id == _installation.c.supply_point_id)
    .join(_account, _account.c.id == _point.c.account_id)
    .join(_utility, _utility.c.id == _meter.c.utility_id)
    .where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.id == bindparam("meter_id"))
    .order_by(_installation.c.from_us.desc())
    .limit(1),
    "charging_tariff": select(_version.c.id.label("tariff_version_id"), _version.c.body)
    .where(
        _version.c.utility_id == bindparam("utility_id"),
        _version.c.tariff_id == bindparam("tariff_id"),
        _version.c.valid_from_us <= bindparam("now_us"),
        _version.c.withdrawn_us.is_(None),
    )
    .order_by(_version.c.valid_from_us.desc(), _version.c.version.desc())
    .limit(1),
    "charging_segment": select(
        _charge,
        _version.c.body,
        _account.c.currency,
        _utility.c.time_zone,
        ("customer:" + _account.c.number).label("customer_code"),
    )
    .select_from(_charge)
    .join(_version, _version.c.id == _charge.c.tariff_version_id)
    .join(_account, _account.c.id == _charge.c.account_id)
    .join(_utility, _utility.c.id == _charge.c.utility_id)
    .where(
        _charge.c.utility_id == bindparam("utility_id"),
        _charge.c.meter_id == bindparam("meter_id"),
        _charge.c.to_us.is_(None),
    )
    .order_by(_charge.c.id.desc())
    .limit(1),
    # Taxes and levies are few: which of them the segment's tariff names is known only when it was
    # read. Each branch says its utility, so that each finds its rows by the index.
    "charging_accounts": select(
        _ledger.c.id,
        _ledger.c.code,
        _ledger.c.balance_minor,
        _ledger.c.reserved_minor,
        _ledger.c.limit_minor,
        CLOSED_UNTIL.label("closed_until_us"),
    ).where(
        or_(
            and_(_LEDGER_OF_UTILITY, _ledger.c.code == bindparam("customer_code")),
            and_(_LEDGER_OF_UTILITY, _ledger.c.code == bindparam("income_code")),
            # Prices that are rounded with everything on them leave something over or short.
            and_(_LEDGER_OF_UTILITY, _ledger.c.code == literal("rounding")),
            and_(_LEDGER_OF_UTILITY, _ledger.c.code >= "levy:", _ledger.c.code < "levy;"),
            and_(_LEDGER_OF_UTILITY, _ledger.c.code >= "tax:", _ledger.c.code < "tax;"),
        )
    ),
    # What one account used of a meter by other segments since an instant; blocks count on.
    "charging_used_before": select(
        func.coalesce(func.sum(_charge.c.register - _charge.c.start_register), 0).label("used")
    ).where(
        _charge.c.utility_id == bindparam("utility_id"),
        _charge.c.meter_id == bindparam("meter_id"),
        _charge.c.account_id == bindparam("account_id"),
        _charge.c.from_us >= bindparam("from_us"),
    ),
    # A meter is known by its id alone here: the sale that paid is already in its utility's scope.
    "charging_meter": select(_meter.c.utility_id, _meter.c.credit_mode).where(
        _meter.c.id == bindparam("meter_id")
    ),
    # All meters that draw on the same credit, the one asked for among them.
    "charging_siblings": select(_sibling.c.id)
    .select_from(_meter)
    .join(_installation, INSTALLED_NOW)
    .join(_point, _point.c.id == _installation.c.supply_point_id)
    .join(_sibling_point, _sibling_point.c.account_id == _point.c.account_id)
    .join(
        _sibling_installation,
        and_(
            _sibling_installation.c.supply_point_id == _sibling_point.c.id,
            _sibling_installation.c.from_us <= bindparam("now_us"),
            or_(
                _sibling_installation.c.to_us.is_(None),
                _sibling_installation.c.to_us > bindparam("now_us"),
            ),
        ),
    )
    .join(_sibling, _sibling.c.id == _sibling_installation.c.meter_id)
    .where(
        _meter.c.utility_id == bindparam("utility_id"),
        _meter.c.id == bindparam("meter_id"),
        _sibling.c.credit_mode == "platform",
    )
    .order_by(_sibling.c.id),
    "charging_utilities": select(_utility.c.id, _utility.c.policy).order_by(_utility.c.id),
    # Meters that credit control may have something to do for: little credit, or not supplied.
    "charging_to_control": select(_meter.c.id)
    .select_from(_meter)
    .join(_device, _device.c.meter_id == _meter.c.id)
    .join(_installation, INSTALLED_NOW)
    .join(_point, _point.c.id == _installation.c.supply_point_id)
    .join(_account, _account.c.id == _point.c.account_id)
    .outerjoin(
        _ledger,
        and_(
            _ledger.c.utility_id == _meter.c.utility_id,
            _ledger.c.code == "customer:" + _account.c.number,
        ),
    )
    .where(
        _meter.c.utility_id == bindparam("utility_id"),
        _meter.c.id > bindparam("after"),
        _meter.c.credit_mode == "platform",
        or_(
            func.coalesce(_ledger.c.balance_minor, 0) >= -bindparam("low_credit_minor"),
            _device.c.supply != "on",
        ),
    )
    .order_by(_meter.c.id)
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {
    "charging_move": update(_charge)
    .where(
        _charge.c.utility_id == bindparam("of_utility"),
        _charge.c.id == bindparam("of_charge"),
        _charge.c.register == bindparam("of_register"),
    )
    .values(
        register=bindparam("to_register"),
        charged_minor=bindparam("to_charged_minor"),
        taxed_minor=bindparam("to_taxed_minor"),
        charged_us=bindparam("to_charged_us"),
        measured_us=bindparam("to_measured_us"),
        doubted_register=null(),
        to_us=bindparam("to_to_us"),
    ),
    "charging_doubt": update(_charge)
    .where(
        _charge.c.utility_id == bindparam("of_utility"),
        _charge.c.id == bindparam("of_charge"),
        _charge.c.register == bindparam("of_register"),
    )
    .values(doubted_register=bindparam("to_doubted_register")),
}

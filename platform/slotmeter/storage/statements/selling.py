"""What a sale reads and changes."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, literal, or_, select, update

from slotmeter.storage.joins import INSTALLED_NOW
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_sale = _t["sale"]
_token = _t["token"]
_meter = _t["meter"]
_installation = _t["installation"]
_point = _t["supply_point"]
_account = _t["account"]
_customer = _t["customer"]
_tariff = _t["tariff"]
_version = _t["tariff_version"]
_device = _t["device"]
_utility = _t["utility"]
_branch = _t["branch"]
_ledger = _t["ledger_account"]
_charge = _t["charge"]
_sequence = _t["sequence"]

CODES_MAX = 8
"""A sale moves at most this many ledger accounts."""


_SALE = (
    select(
        _sale,
        _meter.c.number.label("meter_number"),
        _meter.c.commodity.label("commodity"),
        _token.c.id.label("token_id"),
        _token.c.key_id.label("token_key_id"),
        _token.c.parameters.label("token_parameters"),
        _token.c.request.label("token_request"),
        _token.c.digits.label("token_digits"),
        _branch.c.code.label("branch_code"),
    )
    .select_from(_sale)
    .join(_meter, _meter.c.id == _sale.c.meter_id)
    .join(_branch, _branch.c.id == _sale.c.branch_id)
    .outerjoin(_token, _token.c.sale_row_id == _sale.c.id)
)

READS = {
    "sale_by_principal": _SALE.where(
        _sale.c.principal_id == bindparam("principal_id"), _sale.c.sale_id == bindparam("sale_id")
    ),
    "sale_by_row": _SALE.where(_sale.c.id == bindparam("id")),
    "sale_by_receipt": _SALE.where(
        _sale.c.utility_id == bindparam("utility_id"),
        _sale.c.receipt_number == bindparam("receipt_number"),
    ),
    "sales_pending": _SALE.where(
        _sale.c.state == "pending",
        _sale.c.id > bindparam("after_id"),
        _sale.c.sold_us <= bindparam("before_us"),
    )
    .order_by(_sale.c.id)
    .limit(bindparam("limit")),
    "meter_for_sale": select(
        _meter.c.id.label("meter_id"),
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.credit_mode,
        _meter.c.purchase_max_minor,
        _meter.c.parameters,
        _meter.c.key_id,
        _meter.c.state,
        _point.c.id.label("supply_point_id"),
        _point.c.tariff_id,
        _point.c.area,
        _account.c.id.label("account_id"),
        _account.c.number.label("account_number"),
        _account.c.currency,
        _customer.c.number.label("customer_number"),
        _customer.c.name.label("customer_name"),
        _customer.c.address.label("customer_address"),
        _utility.c.name.label("utility_name"),
        _utility.c.address.label("utility_address"),
        _utility.c.tax_number,
        _device.c.id.label("device_id"),
    )
    .select_from(_meter)
    .join(_utility, _utility.c.id == _meter.c.utility_id)
    .outerjoin(_installation, INSTALLED_NOW)
    .outerjoin(_point, _point.c.id == _installation.c.supply_point_id)
    .outerjoin(_account, _account.c.id == _point.c.account_id)
    .outerjoin(_customer, _customer.c.id == _account.c.customer_id)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.number == bindparam("number"))
    .order_by(_installation.c.from_us.desc())
    .limit(1),
    "tariff_in_force": select(
        _version.c.id.label("tariff_version_id"), _version.c.version, _version.c.body
    )
    .where(
        _version.c.tariff_id == bindparam("tariff_id"),
        _version.c.valid_from_us <= bindparam("now_us"),
    )
    .order_by(_version.c.valid_from_us.desc(), _version.c.version.desc())
    .limit(1),
    "charges_of_period": select(_charge.c.id, _charge.c.code, _charge.c.taken_minor).where(
        _charge.c.supply_point_id == bindparam("supply_point_id"),
        _charge.c.period == bindparam("period"),
    ),
    "kept_tids": select(_token.c.tid_minute)
    .where(
        _token.c.meter_id == bindparam("meter_id"),
        _token.c.tid_minute >= bindparam("from_minute"),
    )
    .order_by(_token.c.tid_minute.desc())
    .limit(bindparam("limit")),
    "branch": select(_branch.c.code, _branch.c.name).where(_branch.c.id == bindparam("id")),
    "ledger_accounts": select(
        _ledger.c.id,
        _ledger.c.code,
        _ledger.c.balance_minor,
        _ledger.c.reserved_minor,
        _ledger.c.limit_minor,
    ).where(
        _ledger.c.utility_id == bindparam("utility_id"),
        or_(*(_ledger.c.code == bindparam(f"code{at}") for at in range(CODES_MAX))),
    ),
    "till_of_branch": select(
        _ledger.c.id,
        _ledger.c.code,
        _ledger.c.balance_minor,
        _ledger.c.reserved_minor,
        _ledger.c.limit_minor,
    )
    .select_from(_branch)
    .join(
        _ledger,
        and_(
            _ledger.c.utility_id == _branch.c.utility_id,
            _ledger.c.code == literal("till:") + _branch.c.code,
        ),
    )
    .where(_branch.c.id == bindparam("branch_id")),
    "sequence": select(_sequence.c.next_value).where(
        _sequence.c.utility_id == bindparam("utility_id"), _sequence.c.name == bindparam("name")
    ),
}

UPDATES = {
    "sequence_next": update(_sequence)
    .where(
        _sequence.c.utility_id == bindparam("of_utility_id"),
        _sequence.c.name == bindparam("of_name"),
        _sequence.c.next_value == bindparam("expected"),
    )
    .values(next_value=bindparam("expected") + 1),
    "charge_take": update(_charge)
    .where(_charge.c.id == bindparam("charge_id"))
    .values(
        taken_minor=_charge.c.taken_minor + bindparam("amount"),
        # What is left is always taken whole, so what is due is what has been taken; the amount may
        # have risen since the first take, with a new version of the tariff.
        due_minor=_charge.c.taken_minor + bindparam("amount"),
    ),
    "ledger_reserve": update(_ledger)
    .where(_ledger.c.id == bindparam("ledger_account_id"))
    .values(reserved_minor=_ledger.c.reserved_minor + bindparam("amount")),
    "ledger_add": update(_ledger)
    .where(_ledger.c.id == bindparam("ledger_account_id"))
    .values(balance_minor=_ledger.c.balance_minor + bindparam("amount")),
    "sale_issue": update(_sale)
    .where(_sale.c.id == bindparam("sale_row_id"), _sale.c.state == "pending")
    .values(
        state="issued",
        receipt=bindparam("new_receipt"),
        issued_us=bindparam("at_us"),
        delivery=bindparam("new_delivery"),
    ),
    "sale_void": update(_sale)
    .where(_sale.c.id == bindparam("sale_row_id"), _sale.c.state == "pending")
    .values(state="voided", voided=bindparam("why"), delivery="none"),
    "token_void": update(_token)
    .where(_token.c.id == bindparam("token_id"), _token.c.digits.is_(None))
    .values(state="void"),
    "charge_return": update(_charge)
    .where(
        _charge.c.supply_point_id == bindparam("of_supply_point"),
        _charge.c.code == bindparam("of_code"),
        _charge.c.period == bindparam("of_period"),
    )
    .values(taken_minor=_charge.c.taken_minor - bindparam("amount")),
    "token_issue": update(_token)
    .where(_token.c.id == bindparam("token_id"), _token.c.digits.is_(None))
    .values(digits=bindparam("new_digits"), state="issued", issued_us=bindparam("at_us")),
}

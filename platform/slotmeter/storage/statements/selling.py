"""What a sale reads and changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, delete, func, literal, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.joins import CLASS_NOW, CLOSED_UNTIL, INSTALLED_NOW
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
_terms = _t["account_terms"]
_block = _t["account_block"]
_debt = _t["debt"]
_taken = _t["debt_taken"]
_registration = _t["free_registration"]
_claim = _t["free_claim"]
_alarm = _t["alarm"]

CODES_MAX = 8
"""One read finds at most this many ledger accounts."""


_SALE = (
    select(
        _sale,
        _meter.c.number.label("meter_number"),
        _meter.c.commodity.label("commodity"),
        _branch.c.code.label("branch_code"),
    )
    .select_from(_sale)
    .join(_meter, _meter.c.id == _sale.c.meter_id)
    .join(_branch, _branch.c.id == _sale.c.branch_id)
)

# --- what is agreed with an account, beside its meter's row: each of these finds nothing mostly ---

_TERMS = (
    select(_terms.c.terms)
    .where(_terms.c.account_id == _account.c.id, _terms.c.from_us <= bindparam("now_us"))
    .order_by(_terms.c.from_us.desc(), _terms.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_BLOCKED = (
    select(_block.c.reason)
    .where(
        _block.c.account_id == _account.c.id,
        _block.c.released_us.is_(None),
        _block.c.from_us <= bindparam("now_us"),
    )
    .order_by(_block.c.id)
    .limit(1)
    .scalar_subquery()
)
_INDEBTED = (
    select(_debt.c.account_id)
    .where(
        _debt.c.account_id == _account.c.id,
        or_(_debt.c.state == "open", _debt.c.state == "suspended"),
    )
    .limit(1)
    .scalar_subquery()
)
_REGISTERED = (
    select(_registration.c.account_id)
    .where(_registration.c.account_id == _account.c.id, _registration.c.ended_us.is_(None))
    .limit(1)
    .scalar_subquery()
)
_UNPRICED = (
    select(_alarm.c.id)
    .where(
        _alarm.c.meter_id == _meter.c.id,
        _alarm.c.kind == "no_price_in_force",
        _alarm.c.cleared_us.is_(None),
    )
    .limit(1)
    .scalar_subquery()
)
_first_version = _version.alias("first_version")
_FIRST_VALID = (
    select(func.min(_first_version.c.valid_from_us))
    .where(
        _first_version.c.tariff_id == _version.c.tariff_id,
        _first_version.c.withdrawn_us.is_(None),
    )
    .scalar_subquery()
)
_advance = _ledger.alias("advance")
# What sales between their commits use up is gone; what they would add is not there yet.
_ADVANCE_SPOKEN_FOR = (
    select(func.sum(_sale.c.kept_minor))
    .where(_sale.c.state == "pending", _sale.c.account_id == _account.c.id, _sale.c.kept_minor < 0)
    .scalar_subquery()
)

_COUNTED = (
    _sale.c.supply_point_id == bindparam("supply_point_id"),
    _sale.c.sold_us >= bindparam("from_us"),
    _sale.c.state != "voided",
    _sale.c.state != "reversed",
)

READS: dict[str, Select[Any]] = {
    "sale_by_principal": _SALE.where(
        _sale.c.principal_id == bindparam("principal_id"), _sale.c.sale_id == bindparam("sale_id")
    ),
    "sale_by_row": _SALE.where(_sale.c.id == bindparam("id")),
    "sale_by_receipt": _SALE.where(
        _sale.c.utility_id == bindparam("utility_id"),
        _sale.c.receipt_number == bindparam("receipt_number"),
    ),
    # By the index of the few that are pending: by key or time, a database would go past all sales.
    "sales_pending": _SALE.where(
        _sale.c.state == "pending",
        _sale.c.id + 0 > bindparam("after_id"),
        _sale.c.sold_us + 0 <= bindparam("before_us"),
    )
    .order_by(_sale.c.id + 0)
    .limit(bindparam("limit")),
    # In the order in which they are typed.
    "tokens_of_sale": select(
        _token.c.id,
        _token.c.purpose,
        _token.c.key_id,
        _token.c.parameters,
        _token.c.request,
        _token.c.amount,
        _token.c.digits,
    )
    .where(_token.c.sale_row_id == bindparam("sale_row_id"))
    .order_by(_token.c.id),
    "debts_of_sale": select(_taken.c.debt_id)
    .where(_taken.c.sale_row_id == bindparam("sale_row_id"))
    .order_by(_taken.c.debt_id),
    "meter_for_sale": select(
        _meter.c.id.label("meter_id"),
        _meter.c.number,
        _meter.c.commodity,
        _meter.c.credit_mode,
        _meter.c.transfer,
        _meter.c.purchase_max_minor,
        _meter.c.parameters,
        _meter.c.key_id,
        _meter.c.wanted,
        _meter.c.state,
        _point.c.id.label("supply_point_id"),
        _point.c.created_us.label("supply_point_since_us"),
        _point.c.tariff_id,
        _point.c.area,
        _point.c.connection,
        _point.c.load_w,
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
        CLASS_NOW.label("class_code"),
        _TERMS.label("terms"),
        _BLOCKED.label("blocked"),
        _INDEBTED.label("indebted_account_id"),
        _REGISTERED.label("registered_account_id"),
        _UNPRICED.label("unpriced_alarm_id"),
        case(
            (_advance.c.id.is_(None), literal(0)),
            else_=func.coalesce(_ADVANCE_SPOKEN_FOR, 0) - _advance.c.balance_minor,
        ).label("advance_minor"),
    )
    .select_from(_meter)
    .join(_utility, _utility.c.id == _meter.c.utility_id)
    .outerjoin(_installation, INSTALLED_NOW)
    .outerjoin(_point, _point.c.id == _installation.c.supply_point_id)
    .outerjoin(_account, _account.c.id == _point.c.account_id)
    .outerjoin(_customer, _customer.c.id == _account.c.customer_id)
    .outerjoin(_device, _device.c.meter_id == _meter.c.id)
    .outerjoin(
        _advance,
        and_(
            _advance.c.utility_id == _meter.c.utility_id,
            _advance.c.code == literal("advance:") + _account.c.number,
        ),
    )
    .where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.number == bindparam("number"))
    .order_by(_installation.c.from_us.desc())
    .limit(1),
    "meter_unpriced": select(
        _meter.c.id.label("meter_id"), _UNPRICED.label("unpriced_alarm_id")
    ).where(_meter.c.utility_id == bindparam("utility_id"), _meter.c.number == bindparam("number")),
    "tariff_in_force": select(
        _version.c.id.label("tariff_version_id"),
        _version.c.version,
        _version.c.body,
        _version.c.valid_from_us,
        _FIRST_VALID.label("first_valid_from_us"),
    )
    .where(
        _version.c.tariff_id == bindparam("tariff_id"),
        _version.c.valid_from_us <= bindparam("now_us"),
        _version.c.withdrawn_us.is_(None),
    )
    .order_by(_version.c.valid_from_us.desc(), _version.c.version.desc())
    .limit(1),
    "tariff_body": select(_version.c.body).where(_version.c.id == bindparam("tariff_version_id")),
    "tariff_versions_until": select(
        _version.c.id.label("tariff_version_id"), _version.c.valid_from_us, _version.c.body
    )
    .where(
        _version.c.tariff_id == bindparam("tariff_id"),
        _version.c.valid_from_us <= bindparam("now_us"),
        _version.c.withdrawn_us.is_(None),
    )
    .order_by(_version.c.valid_from_us, _version.c.version),
    # What was sold at a supply point from an instant on, also by sales between their commits.
    "sold_in_window": select(
        func.coalesce(func.sum(_sale.c.counted_units), 0).label("counted_units"),
        # Only what was bought under this version has a price in it that can be taken back.
        func.coalesce(
            func.sum(
                case(
                    (
                        _sale.c.tariff_version_id == bindparam("tariff_version_id"),
                        _sale.c.lifeline_units,
                    ),
                    else_=0,
                )
            ),
            0,
        ).label("lifeline_units"),
        func.coalesce(func.sum(_sale.c.tender_minor), 0).label("tender_minor"),
    ).where(*_COUNTED),
    # Of these, the sales whose prices a later one takes back, or that took some back.
    "sold_correctable": select(_sale.c.situation, _sale.c.counted_units, _sale.c.lifeline_units)
    .where(
        *_COUNTED,
        _sale.c.tariff_version_id == bindparam("tariff_version_id"),
        _sale.c.lifeline_units != 0,
        _sale.c.situation.is_not(None),
    )
    .order_by(_sale.c.sold_us, _sale.c.id),
    # All of them, for prices that count from before they took effect.
    "sold_since": select(
        _sale.c.id,
        _sale.c.tariff_version_id,
        _sale.c.situation,
        _sale.c.units,
        _sale.c.tender_minor,
    )
    .where(*_COUNTED, _sale.c.situation.is_not(None))
    .order_by(_sale.c.sold_us, _sale.c.id),
    "sold_last": select(_sale.c.sold_us)
    .where(
        _sale.c.supply_point_id == bindparam("supply_point_id"),
        _sale.c.sold_us < bindparam("before_us"),
        _sale.c.state != "voided",
        _sale.c.state != "reversed",
    )
    .order_by(_sale.c.sold_us.desc())
    .limit(1),
    "sold_between": select(
        func.coalesce(func.sum(_sale.c.counted_units), 0).label("counted_units"),
    ).where(*_COUNTED, _sale.c.sold_us < bindparam("to_us")),
    "charges_of_point": select(
        _charge.c.id, _charge.c.code, _charge.c.period, _charge.c.due_minor, _charge.c.taken_minor
    )
    .where(
        _charge.c.supply_point_id == bindparam("supply_point_id"),
        _charge.c.period >= bindparam("from_period"),
    )
    .order_by(_charge.c.period, _charge.c.code),
    "free_registered": select(
        _registration.c.code, _registration.c.from_us, _registration.c.until_us
    ).where(
        _registration.c.account_id == bindparam("account_id"),
        _registration.c.ended_us.is_(None),
    ),
    "free_claimed": select(_claim.c.code, _claim.c.period)
    .where(
        _claim.c.supply_point_id == bindparam("supply_point_id"),
        _claim.c.period >= bindparam("from_period"),
    )
    .order_by(_claim.c.period),
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
        CLOSED_UNTIL.label("closed_until_us"),
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

UPDATES: dict[str, UpdateBase] = {
    "sequence_next": update(_sequence)
    .where(
        _sequence.c.utility_id == bindparam("of_utility_id"),
        _sequence.c.name == bindparam("of_name"),
        _sequence.c.next_value == bindparam("expected"),
    )
    .values(next_value=bindparam("expected") + 1),
    # What several units took of a sequence in a row.
    "sequence_advance": update(_sequence)
    .where(
        _sequence.c.utility_id == bindparam("of_utility_id"),
        _sequence.c.name == bindparam("of_name"),
        _sequence.c.next_value == bindparam("expected"),
    )
    .values(next_value=bindparam("to")),
    # What is due may have risen since the first take, with a new version of the tariff.
    "charge_take": update(_charge)
    .where(
        _charge.c.id == bindparam("charge_id"), _charge.c.taken_minor == bindparam("taken_before")
    )
    .values(taken_minor=_charge.c.taken_minor + bindparam("amount"), due_minor=bindparam("due")),
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
    "free_unclaim": delete(_claim).where(_claim.c.sale_row_id == bindparam("of_sale_row")),
    "token_issue": update(_token)
    .where(_token.c.id == bindparam("token_id"), _token.c.digits.is_(None))
    .values(
        digits=bindparam("new_digits"),
        digits_index=bindparam("new_index"),
        state="issued",
        issued_us=bindparam("at_us"),
    ),
}

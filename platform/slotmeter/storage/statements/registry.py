"""Statements of the registry: utilities, branches, tariffs, customers and their meters."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
utility = _t["utility"]
branch = _t["branch"]
tariff = _t["tariff"]
tariff_version = _t["tariff_version"]
customer = _t["customer"]
account = _t["account"]
supply_point = _t["supply_point"]
meter = _t["meter"]
installation = _t["installation"]
device = _t["device"]

_UTILITY: BindParameter[int] = bindparam("utility_id")

READS: dict[str, Select[tuple[object, ...]]] = {
    "registry_utilities": select(utility).order_by(utility.c.id),
    "registry_utility_by_code": select(utility).where(utility.c.code == bindparam("code")),
    "registry_tariffs": select(tariff).where(tariff.c.utility_id == _UTILITY),
    "registry_tariff_by_code": select(tariff).where(
        tariff.c.utility_id == _UTILITY, tariff.c.code == bindparam("code")
    ),
    "registry_tariff_newest": select(
        tariff_version.c.version, tariff_version.c.valid_from_us, tariff_version.c.body
    )
    .where(
        tariff_version.c.utility_id == _UTILITY,
        tariff_version.c.tariff_id == bindparam("tariff_id"),
        tariff_version.c.withdrawn_us.is_(None),
    )
    .order_by(tariff_version.c.version.desc())
    .limit(1),
    "registry_customer": select(customer.c.id, customer.c.number, customer.c.name).where(
        customer.c.utility_id == _UTILITY, customer.c.number == bindparam("number")
    ),
    "registry_account": select(
        account.c.id, account.c.number, customer.c.number.label("customer_number")
    )
    .join(customer, customer.c.id == account.c.customer_id)
    .where(account.c.utility_id == _UTILITY, account.c.number == bindparam("number")),
    "registry_supply_point": select(supply_point.c.id, meter.c.number.label("meter"))
    .outerjoin(
        installation,
        (installation.c.supply_point_id == supply_point.c.id) & installation.c.to_us.is_(None),
    )
    .outerjoin(meter, meter.c.id == installation.c.meter_id)
    .where(supply_point.c.utility_id == _UTILITY, supply_point.c.number == bindparam("number")),
    # A node has no meter, and is called by its own number.
    "registry_device": select(
        device.c.id, func.coalesce(meter.c.number, device.c.serial).label("meter")
    )
    .outerjoin(meter, meter.c.id == device.c.meter_id)
    .where(device.c.medium == bindparam("medium"), device.c.address == bindparam("address")),
    "registry_meter": select(
        meter.c.id,
        meter.c.number,
        meter.c.commodity,
        meter.c.credit_mode,
        meter.c.purchase_max_minor,
        meter.c.parameters,
        meter.c.state.label("meter_state"),
        supply_point.c.number.label("supply_point"),
        supply_point.c.area,
        supply_point.c.address,
        tariff.c.code.label("tariff"),
        account.c.number.label("account"),
        customer.c.number.label("customer_number"),
        customer.c.name.label("customer_name"),
        installation.c.from_us,
        device.c.medium,
        device.c.address.label("address_on_medium"),
        device.c.driver,
    )
    .outerjoin(
        installation, (installation.c.meter_id == meter.c.id) & installation.c.to_us.is_(None)
    )
    .outerjoin(supply_point, supply_point.c.id == installation.c.supply_point_id)
    .outerjoin(tariff, tariff.c.id == supply_point.c.tariff_id)
    .outerjoin(account, account.c.id == supply_point.c.account_id)
    .outerjoin(customer, customer.c.id == account.c.customer_id)
    .outerjoin(device, device.c.meter_id == meter.c.id)
    .where(meter.c.utility_id == _UTILITY, meter.c.number == bindparam("number")),
}

UPDATES: dict[str, UpdateBase] = {
    "registry_set_policy": update(utility)
    .where(utility.c.id == bindparam("of_utility"))
    .values(policy=bindparam("policy")),
    "registry_limit_meter": update(meter)
    .where(meter.c.id == bindparam("of_meter"), meter.c.state == "active")
    .values(purchase_max_minor=bindparam("to_purchase_max")),
    "registry_set_particulars": update(utility)
    .where(utility.c.id == bindparam("of_utility"))
    .values(
        name=bindparam("to_name"),
        tax_number=bindparam("to_tax_number"),
        address=bindparam("to_address"),
    ),
}

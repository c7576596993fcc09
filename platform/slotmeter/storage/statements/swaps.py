"""What a swap of meters reads and changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
account = _t["account"]
customer = _t["customer"]
device = _t["device"]
installation = _t["installation"]
meter = _t["meter"]
point = _t["supply_point"]
sale = _t["sale"]
tariff = _t["tariff"]
token = _t["token"]

_UTILITY: BindParameter[int] = bindparam("utility_id")

READS: dict[str, Select[Any]] = {
    "swap_meter": select(
        meter.c.id,
        meter.c.utility_id,
        meter.c.number,
        meter.c.commodity,
        meter.c.credit_mode,
        meter.c.transfer,
        meter.c.state,
        meter.c.key_id,
        meter.c.parameters,
        meter.c.wanted,
        installation.c.id.label("installation_id"),
        point.c.id.label("supply_point_id"),
        point.c.address,
        account.c.id.label("account_id"),
        account.c.number.label("account"),
        customer.c.number.label("customer_number"),
        customer.c.name.label("customer_name"),
        tariff.c.code.label("tariff"),
        device.c.id.label("device_id"),
    )
    .outerjoin(
        installation,
        and_(installation.c.meter_id == meter.c.id, installation.c.to_us.is_(None)),
    )
    .outerjoin(point, point.c.id == installation.c.supply_point_id)
    .outerjoin(account, account.c.id == point.c.account_id)
    .outerjoin(customer, customer.c.id == account.c.customer_id)
    .outerjoin(tariff, tariff.c.id == point.c.tariff_id)
    .outerjoin(device, device.c.meter_id == meter.c.id)
    .where(meter.c.utility_id == _UTILITY, meter.c.number == bindparam("number")),
    "swap_unused": select(sale.c.receipt_number, token.c.amount)
    .join(sale, sale.c.id == token.c.sale_row_id)
    .where(
        token.c.meter_id == bindparam("meter_id"),
        token.c.state == "issued",
        token.c.issued_us >= bindparam("since_us"),
    )
    .order_by(token.c.id)
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {
    "swap_end_installation": update(installation)
    .where(installation.c.id == bindparam("installation_id"), installation.c.to_us.is_(None))
    .values(to_us=bindparam("at_us")),
    "swap_remove_meter": update(meter)
    .where(meter.c.id == bindparam("meter_id"), meter.c.state != "removed")
    .values(state="removed"),
}

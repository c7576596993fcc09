"""What a receipt prints, as of the first commit: its lines, and all that stands beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from slotmeter.ports import Principal, Rows
from slotmeter.services.pricing import Purchase
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.pricing.priced import PricedLine
from slotmeter.vending.receipts import FORMAT, ReceiptLine

__all__ = ["delivery_of", "line_dicts", "particulars", "receipt_lines"]

_ALWAYS: Final = ("kind", "label", "account", "amount_minor", "quantity", "rate")
"""What lines had from the first release on; the rest is left out where it says nothing."""

_LATER: Final = tuple(
    field.name
    for field in fields(ReceiptLine)
    if field.name not in _ALWAYS and field.name in {each.name for each in fields(PricedLine)}
)


def line_dicts(lines: Iterable[PricedLine]) -> list[dict[str, Any]]:
    """Return lines as they are stored with a sale and printed on its receipt."""
    written = []
    for line in lines:
        body = {name: getattr(line, name) for name in _ALWAYS}
        for name in _LATER:
            value = getattr(line, name)
            if value is not None:
                body[name] = value
        written.append(body)
    return written


def receipt_lines(lines: Iterable[PricedLine]) -> tuple[ReceiptLine, ...]:
    """Return lines as a receipt has them."""
    return tuple(ReceiptLine(**line) for line in line_dicts(lines))


def delivery_of(purchase: Purchase) -> str:
    """Return where the credit of a sale is as it begins."""
    row, priced = purchase.row, purchase.priced
    has_token = bool(priced.units or priced.transfer_minor or priced.free)
    if row["credit_mode"] == CreditMode.PLATFORM or not has_token:
        return "none"
    return "keypad" if row["device_id"] is None else "pending"


def particulars(purchase: Purchase, rows: Rows, principal: Principal) -> dict[str, Any]:
    """Return what the receipt prints beside its lines and tokens, as of this moment."""
    row = purchase.row
    parameters = json.loads(row["parameters"]) if row["parameters"] is not None else {}
    return {
        "time_zone": principal.time_zone,
        "utility_name": row["utility_name"],
        "utility_address": row["utility_address"],
        "tax_number": row["tax_number"],
        "branch": rows["branch"][0]["name"],
        "operator": principal.name,
        "customer_number": row["customer_number"],
        "customer_name": row["customer_name"],
        "customer_address": row["customer_address"],
        "account_number": row["account_number"],
        "meter_number": row["number"],
        "commodity": row["commodity"],
        "supply_group_code": parameters.get("sgc"),
        "key_revision": parameters.get("krn"),
        "tariff_index": parameters.get("ti"),
        "tariff_code": purchase.tariff.code,
        "tariff_title": purchase.tariff.title,
        "tariff_version": purchase.tariff_version,
        "delivery": delivery_of(purchase),
        **explanation(purchase),
    }


def explanation(purchase: Purchase) -> dict[str, Any]:
    """Return what a receipt of today's format says beyond those of the first release."""
    priced, situation = purchase.priced, purchase.situation
    outlook = priced.outlook
    said: dict[str, Any] = {
        "format": FORMAT,
        "prior_units": situation.prior_units,
        "outlook": {
            "block": outlook.block,
            "left_in_block": outlook.left_in_block,
            "next_price": outlook.next_price,
            "first_of_month_units": outlook.first_of_month_units,
        },
        "tariff_since_us": purchase.tariff_since_us,
    }
    if priced.free:
        said["free"] = [
            {
                "code": free.code,
                "label": free.label,
                "period": free.period,
                "quantity": free.units,
            }
            for free in priced.free
        ]
    if situation.debts:
        taken = {each.debt_id: each.minor for each in priced.debts}
        said["debts"] = [
            {
                "kind": debt.kind,
                "label": debt.label,
                "taken_minor": taken.get(debt.debt_id, 0),
                "left_minor": debt.balance_minor - taken.get(debt.debt_id, 0),
            }
            for debt in situation.debts
        ]
    if priced.kept_minor:
        said["kept_minor"] = priced.kept_minor
    if priced.transfer_minor is not None:
        said |= {"transfer": situation.transfer.value, "transfer_minor": priced.transfer_minor}
    if priced.calorific_value is not None:
        said["calorific_value"] = priced.calorific_value
    return said

"""What a receipt prints beside its lines and tokens, as of the first commit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from slotmeter.ports import Caller, Rows
from slotmeter.services.pricing import Purchase
from slotmeter.services.training import MARK
from slotmeter.vending.accounts import CreditMode, masked_name
from slotmeter.vending.receipts import Receipt, ReceiptToken
from slotmeter.vending.receipts.assembly import line_dicts, particulars_of

__all__ = ["delivery_of", "line_dicts", "particulars", "trial_receipt"]


def delivery_of(purchase: Purchase) -> str:
    """Return where the credit of a sale is as it begins."""
    row, priced = purchase.row, purchase.priced
    has_token = bool(priced.units or priced.transfer_minor or priced.free)
    if row["credit_mode"] == CreditMode.PLATFORM or not has_token:
        return "none"
    return "keypad" if row["device_id"] is None else "pending"


def particulars(purchase: Purchase, rows: Rows, caller: Caller) -> dict[str, Any]:
    """Return what the receipt prints beside its lines and tokens, as of this moment."""
    row, principal = purchase.row, caller.principal
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
        "terminal": caller.terminal,
        "tariff_since_us": purchase.tariff_since_us,
        "delivery": delivery_of(purchase),
        **particulars_of(purchase.priced, purchase.situation),
        **({"mark": MARK} if principal.training else {}),
    }


def trial_receipt(purchase: Purchase, rows: Rows, caller: Caller, channel: str) -> Receipt:
    """Return the receipt that a purchase would have: a trial, which names nobody.

    Whoever knows a meter's number may ask for a quote, so that the customer's name is masked and
    what else is known of the customer left out.
    """
    said = particulars(purchase, rows, caller)
    priced = purchase.priced
    has_credit = (
        bool(priced.units or priced.transfer_minor)
        and purchase.row["credit_mode"] == CreditMode.METER
    )
    credit = ReceiptToken(
        "credit",
        "",
        quantity=None if priced.transfer_minor is not None else priced.units,
        minor=priced.transfer_minor,
    )
    free = [
        ReceiptToken("free", "", quantity=each.units, label=each.label, period=each.period)
        for each in priced.free
    ]
    body = {
        **said,
        "receipt_number": "",
        "sale_id": "",
        "sold_us": purchase.situation.at_us,
        "channel": channel,
        "currency": purchase.tariff.currency,
        "tendered_minor": priced.tender_minor,
        "lines": line_dicts(priced.lines),
        "quantity": priced.units,
        "token": "" if has_credit else None,
        "customer_name": masked_name(said["customer_name"]),
        "customer_number": "",
        "customer_address": "",
        "account_number": "",
    }
    tokens = (*free, credit) if has_credit else tuple(free)
    return replace(Receipt.from_dict(body), tokens=tokens).as_trial()

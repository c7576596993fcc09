"""A sale's answer, its lines and its situation are written field by field: none is forgotten."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from slotmeter.api.models import Sale
from slotmeter.api.sales import sale_answer
from slotmeter.services.sale_views import SaleView, SoldToken
from slotmeter.vending.pricing.priced import PricedLine
from slotmeter.vending.receipts import ReceiptLine
from slotmeter.vending.receipts.assembly import line_dicts

PAID = "12345678901234567890"
VIEW = SaleView(
    row_id=1,
    sale_id="till-1:7",
    receipt_number="R00000007",
    state="issued",
    meter="07100000003",
    commodity="electricity",
    credit_mode="meter",
    currency="KES",
    tendered_minor=116_00,
    quantity=5_000,
    token=PAID,
    tokens=(
        SoldToken("free", "09876543210987654321", 50_000, label="Bure ¼ é", period="2026-11"),
        SoldToken("credit", PAID, 5_000),
        SoldToken("credit", None, None, minor=100_00),
    ),
    transfer_minor=None,
    sold_us=1_780_000_000_000_000,
    issued_us=1_780_000_000_100_000,
    delivery="verified",
    sent_us=1_780_000_001_000_000,
    accepted_us=1_780_000_002_000_000,
    verified_us=1_780_000_003_000_001,
)
NOTHING_YET: dict[str, Any] = {
    "state": "pending",
    "token": None,
    "tokens": (),
    "issued_us": None,
    "delivery": "none",
    "sent_us": None,
    "accepted_us": None,
    "verified_us": None,
}


@pytest.mark.parametrize(
    "view",
    [VIEW, replace(VIEW, **NOTHING_YET), replace(VIEW, commodity="water", currency="UGX")],
    ids=["issued", "pending", "water"],
)
def test_a_sale_is_answered_as_its_model_writes_it(view: SaleView) -> None:
    body = sale_answer(view).content

    assert isinstance(body, bytes)
    assert Sale.model_validate_json(body).model_dump_json().encode() == body


def test_every_field_of_a_receipts_line_is_stored_with_the_sale() -> None:
    known: dict[str, Any] = {field.name: 7 for field in msgspec.structs.fields(PricedLine)}

    [line] = line_dicts([PricedLine(**known)])

    assert set(line) == {field.name for field in fields(ReceiptLine)} & set(known)
    assert set(line.values()) == {7}


def test_a_line_that_says_little_is_stored_as_from_the_first_release_on() -> None:
    [line] = line_dicts([PricedLine("rounding", "rounding", "Rounding", "rounding", 1)])

    assert set(line) == {"kind", "code", "label", "account", "amount_minor", "quantity", "rate"}

"""Price lists of the first release, which databases hold, say the same as they always did."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from slotmeter.errors import Refused
from slotmeter.vending.tariff.model import (
    Block,
    FixedItem,
    PercentItem,
    PurchaseRule,
    RoundingRules,
    SplitBy,
)
from slotmeter.vending.tariff.reader import parse_tariff, stored_tariff

FLAT = {
    "tariff": "domestic-electricity",
    "title": "Domestic electricity",
    "commodity": "electricity",
    "currency": "KES",
    "price": "21.50",
    "tax": {"name": "VAT", "percent": "16"},
    "fixed_charge": {
        "code": "service",
        "label": "Service charge",
        "amount": "50.00",
        "taxed": True,
    },
    "purchase": {"minimum": "20.00", "maximum": "50000.00"},
}


def test_a_price_list_of_the_first_release_is_split_by_the_tender() -> None:
    tariff = stored_tariff(json.dumps(FLAT))

    assert tariff.energy.label == "Domestic electricity"
    assert tariff.energy.tables["standard"].blocks == (Block(None, Decimal("21.50")),)
    assert tariff.rounding == RoundingRules(split_by=SplitBy.TENDER)
    assert tariff.purchase == (PurchaseRule(Decimal("20.00"), Decimal("50000.00")),)
    assert tariff.fixed_items == (FixedItem("service", "Service charge", Decimal("50.00")),)


def test_the_tax_of_the_first_release_keeps_its_ledger_account() -> None:
    tariff = parse_tariff(FLAT)

    assert tariff.percent_items == (
        PercentItem("VAT", "VAT", Decimal(16), ("fixed", "energy"), is_tax=True),
    )


def test_an_untaxed_charge_of_the_first_release_stays_untaxed() -> None:
    tariff = parse_tariff(
        FLAT | {"fixed_charge": {"code": "s", "label": "S", "amount": "5", "taxed": False}}
    )

    assert tariff.percent_items[0].on == ("energy",)


@pytest.mark.parametrize("key", ["tax", "fixed_charge", "purchase"])
def test_parts_that_the_first_release_could_leave_out_may_be_missing_or_null(key: str) -> None:
    without = {name: value for name, value in FLAT.items() if name != key}

    assert parse_tariff(without) == parse_tariff(FLAT | {key: None})


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"price": "0"}, "price"),
        ({"price": "-1"}, "price"),
        ({"tax": {"name": "VAT", "percent": "16", "on": "energy"}}, "tax.on"),
        ({"purchase": {"minimun": "20"}}, "purchase.minimun"),
        ({"fixed_charge": {"code": "s", "label": "S", "amount": "5.001"}}, "fixed_charge.amount"),
        ({"levies": {}}, "price"),
    ],
)
def test_a_wrong_value_in_a_price_list_of_the_first_release_is_refused(
    change: dict[str, object], path: str
) -> None:
    with pytest.raises(Refused) as refused:
        parse_tariff(FLAT | change)

    assert refused.value.field == path

"""Every mandatory field of a receipt stands in every form in which it belongs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from html import unescape

import pytest

from slotmeter.i18n import LANGUAGES
from slotmeter.testing.sample_receipts import (
    CREDIT_DIGITS,
    FREE_DIGITS,
    KEY_CHANGE_DIGITS,
    SAMPLES,
    credit_to_the_account,
    full_receipt,
    short_receipt,
)
from slotmeter.vending.receipts import (
    TRAINING,
    Receipt,
    group_digits,
    render_html,
    render_message,
    render_text,
)


def without_tags(page: str) -> str:
    body = page[page.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def on_paper(paper_mm: int) -> Callable[[Receipt], str]:
    return lambda receipt: " ".join(render_text(receipt, paper_mm).split())


FORMS: dict[str, Callable[[Receipt], str]] = {
    "text58": on_paper(58),
    "text80": on_paper(80),
    "html": lambda receipt: without_tags(render_html(receipt)),
}

MANDATORY = {
    "receipt number": "R00000123",
    "date and time": "2026-11-21 12:30:00 EAT",
    "meter number": "07000000013",
    "customer name": "Peter Mwangi (C0001)",
    "customer address": "12 Lake Road",
    "utility": "Lake Town Utilities",
    "tax number": "P051234567X",
    "vendor": "Vendor: Harbour Traders",
    "outlet": "Outlet: Harbour shop",
    "operator": "Operator: Amina Otieno",
    "terminal": "Terminal: Till 7",
    "amount tendered": "Tendered KES 2000.00",
    "change": "Change KES 0.00",
    "debt repaid": "Old arrears 300.00",
    "balance of that debt": "still owed: 1200.00",
    "balance of another debt": "Meter loan 500.00",
    "fixed charge": "Fixed charge 2026-11 150.00",
    "levy per unit": "Fuel levy: 79.3 kWh x 3.79 300.55",
    "levy in percent": "Rural levy 5 % of 973.02 48.65",
    "tax with rate": "VAT 16 % of 1423.57 227.77",
    "units and price of a block": "Energy, block 1: 10.0 kWh x 2.50 25.00",
    "units and price of another": "Energy, block 2: 69.3 kWh x 13.68 948.02",
    "rounding": "Rounding 0.01",
    "units": "Units 79.3 kWh",
    "free units": "Free basic electricity 2026-11 50.0 kWh",
    "credit token": group_digits(CREDIT_DIGITS),
    "free token": group_digits(FREE_DIGITS),
    "first key change token": group_digits(KEY_CHANGE_DIGITS[0]),
    "second key change token": group_digits(KEY_CHANGE_DIGITS[1]),
    "tariff name and version": "Domestic (lake-domestic, version 3), in force since 2026-07-01",
    "key": "SGC 123457 KRN 1 TI 01",
    "token type": "STS credit, electricity in kWh",
    "delivery state": "Delivery pending: the tokens are also sent to the meter.",
    "units left in the block": "Left in block 2 1380.7 kWh",
    "price of the next unit": "The next kWh costs KES 20.9492",
    "what it buys on the 1st": "The same money buys on the 1st of next month 105.1 kWh",
}

ON_THE_PAGE = {
    "vendor": "Vendor Harbour Traders",
    "outlet": "Outlet Harbour shop",
    "operator": "Operator Amina Otieno",
    "terminal": "Terminal Till 7",
    "debt repaid": "Old arrears still owed: 1200.00 300.00",
}
"""The same where a page puts names and notes into a column of their own."""

IN_DATA = {
    "receipt_number": "R00000123",
    "sold_at": "2026-11-21T09:30:00.000000Z",
    "meter_number": "07000000013",
    "customer_name": "Peter Mwangi",
    "customer_address": "12 Lake Road",
    "utility_name": "Lake Town Utilities",
    "tax_number": "P051234567X",
    "vendor": "Harbour Traders",
    "branch": "Harbour shop",
    "operator": "Amina Otieno",
    "terminal": "Till 7",
    "tendered": "2000.00",
    "change": "0.00",
    "currency": "KES",
    "units": "79.3",
    "tariff_code": "lake-domestic",
    "tariff_title": "Domestic",
    "tariff_version": 3,
    "tariff_since": "2026-06-30T21:00:00.000000Z",
    "supply_group_code": "123457",
    "key_revision": 1,
    "tariff_index": 1,
    "delivery": "pending",
    "mark": "",
    "format": 2,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("field", MANDATORY)
def test_a_mandatory_field_stands_in_every_printed_form(form: str, field: str) -> None:
    wanted = MANDATORY[field]
    if form == "html":
        wanted = ON_THE_PAGE.get(field, wanted)

    assert wanted in FORMS[form](full_receipt())


@pytest.mark.parametrize("field", IN_DATA)
def test_a_mandatory_field_is_in_the_document(field: str) -> None:
    assert full_receipt().document()[field] == IN_DATA[field]


def test_the_document_lists_debts_free_units_blocks_and_tokens() -> None:
    document = json.loads(json.dumps(full_receipt().document()))

    assert [(each["label"], each["taken"], each["left"]) for each in document["debts"]] == [
        ("Old arrears", "300.00", "1200.00"),
        ("Meter loan", "0.00", "500.00"),
    ]
    assert document["free"] == [
        {
            "code": "fbe",
            "label": "Free basic electricity",
            "period": "2026-11",
            "units": "50.0",
        }
    ]
    assert [line["code"] for line in document["lines"]][2:4] == ["block1", "block2"]
    assert [(line["quantity"], line["rate"]) for line in document["lines"]][2:4] == [
        ("10.0", "2.50"),
        ("69.3", "13.68"),
    ]
    assert [each["purpose"] for each in document["tokens"]] == [
        "key_change",
        "key_change",
        "credit",
        "free",
    ]


@pytest.mark.parametrize("form", FORMS)
def test_key_change_tokens_come_before_all_others(form: str) -> None:
    printed = FORMS[form](full_receipt())
    order = [*KEY_CHANGE_DIGITS, CREDIT_DIGITS, FREE_DIGITS]
    places = [printed.index(group_digits(digits)) for digits in order]

    assert places == sorted(places)


@pytest.mark.parametrize("form", FORMS)
def test_a_utility_without_a_tax_number_gives_a_receipt_and_no_tax_invoice(form: str) -> None:
    printed = FORMS[form](short_receipt())

    assert "RECEIPT" in printed
    assert "TAX INVOICE" not in printed


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_copy_says_so_in_every_form_and_language(language: str, sample: str) -> None:
    receipt = SAMPLES[sample]()
    word = {"en": "REPRINT", "fr": "DUPLICATA", "es": "REIMPRESIÓN", "pt": "SEGUNDA VIA"}[language]
    plain = word.replace("Ó", "O")

    for paper_mm in (58, 80):
        assert word in render_text(receipt, paper_mm, language=language, reprint=True)
        assert word not in render_text(receipt, paper_mm, language=language)
    assert word in render_html(receipt, language=language, reprint=True)
    assert word not in render_html(receipt, language=language)
    assert plain in render_message(receipt, language=language, reprint=True).text
    assert plain not in render_message(receipt, language=language).text


@pytest.mark.parametrize("form", [*FORMS, "message", "json"])
def test_a_quote_says_trial_and_has_zeros_in_place_of_every_token(form: str) -> None:
    trial = full_receipt().as_trial()
    printed = {
        **{name: render(trial) for name, render in FORMS.items()},
        "message": render_message(trial).text,
        "json": json.dumps(trial.document()).replace("trial", "TRIAL"),
    }[form]

    assert "TRIAL" in printed
    assert "TAX INVOICE" not in printed
    assert printed.count("0000 0000 0000 0000 0000") >= 4
    for digits in (CREDIT_DIGITS, FREE_DIGITS, *KEY_CHANGE_DIGITS):
        assert digits not in printed
        assert group_digits(digits) not in printed


@pytest.mark.parametrize("form", FORMS)
def test_what_is_sold_for_practice_says_so(form: str) -> None:
    printed = FORMS[form](replace(full_receipt(), mark=TRAINING))

    assert "TRAINING" in printed
    assert "Real meters refuse the token." in printed


@pytest.mark.parametrize("form", FORMS)
def test_a_receipt_without_a_token_shows_no_key_and_no_token_type(form: str) -> None:
    printed = FORMS[form](credit_to_the_account())

    assert "SGC" not in printed
    assert "Token type" not in printed


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_receipt_is_the_same_after_it_was_stored(sample: str) -> None:
    receipt = SAMPLES[sample]()
    stored = json.dumps(receipt.to_dict())

    assert Receipt.from_dict(json.loads(stored)) == receipt


def test_every_field_of_the_receipt_reaches_the_document_or_is_named_here() -> None:
    under_another_name = {
        "sold_us": "sold_at",
        "tendered_minor": "tendered",
        "change_minor": "change",
        "kept_minor": "kept",
        "transfer_minor": "token_credit",
        "quantity": "units",
        "tariff_since_us": "tariff_since",
    }
    document = full_receipt().document()

    missing = [
        field.name
        for field in fields(Receipt)
        if under_another_name.get(field.name, field.name) not in document
    ]
    assert missing == []


def test_a_purchase_that_only_paid_what_was_due_says_that_there_is_no_token() -> None:
    charge = next(line for line in full_receipt().lines if line.kind == "charge")
    receipt = replace(credit_to_the_account(), lines=(charge,))

    assert receipt.document()["delivery_note"] == "There is no token with this purchase."
    assert "There is no token with this purchase." in render_text(receipt, 80)
    assert "The amount was added to your account." in render_text(credit_to_the_account(), 80)

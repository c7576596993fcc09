"""What was sold before format 2 of the receipt prints the same for ever.

The files beside were printed by the program that sold them; the stored JSON is theirs too.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotmeter.vending.receipts import Receipt, explain, render_html, render_text

FOLDER = Path(__file__).parents[1] / "fixtures" / "receipts_of_format_1"
NAMES = ("electricity_to_the_meter", "water_with_a_charge", "credit_to_the_account")


def stored(name: str) -> Receipt:
    return Receipt.from_dict(json.loads((FOLDER / f"{name}.json").read_text()))


def as_it_was(file: str) -> str:
    return (FOLDER / file).read_text()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("paper_mm", [58, 80])
def test_an_old_receipt_prints_on_paper_as_it_did(name: str, paper_mm: int) -> None:
    assert render_text(stored(name), paper_mm) == as_it_was(f"{name}.{paper_mm}.txt")


@pytest.mark.parametrize("name", NAMES)
def test_an_old_receipt_is_the_page_it_was(name: str) -> None:
    assert render_html(stored(name)) == as_it_was(f"{name}.html")


@pytest.mark.parametrize("name", NAMES)
def test_an_old_receipt_is_the_document_it_was(name: str) -> None:
    assert stored(name).document() == json.loads(as_it_was(f"{name}.document.json"))


@pytest.mark.parametrize("name", NAMES)
def test_an_old_receipt_is_stored_again_as_it_was_stored(name: str) -> None:
    again = json.dumps(stored(name).to_dict(), separators=(",", ":"), sort_keys=True)

    assert json.loads(again) == json.loads(as_it_was(f"{name}.json"))


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_an_old_receipt_differs_by_its_mark_alone(name: str) -> None:
    rows = render_text(stored(name), 58, reprint=True).splitlines()

    assert [row for row in rows if row.strip() != "REPRINT"] == (
        as_it_was(f"{name}.58.txt").splitlines()
    )
    assert len([row for row in rows if row.strip() == "REPRINT"]) == 1
    marked = "<p><strong>REPRINT</strong></p>"
    assert render_html(stored(name), reprint=True).replace(marked, "") == as_it_was(f"{name}.html")


def test_an_old_receipt_can_be_read_in_another_language() -> None:
    text = render_text(stored("water_with_a_charge"), 80, language="fr")

    for wanted in ("Frais de service 2026-11", "TVA 16 % de 50.00", "TVA 16 % de 122.41"):
        assert wanted in text


def test_an_old_receipt_explains_itself_with_the_tariff_of_then() -> None:
    assert explain(stored("water_with_a_charge")) == (
        "On 2026-11-21 12:30:00 EAT you paid KES 200.00 for meter 07000000021.",
        'KES 50.00 is "Service charge 2026-11".',
        'KES 8.00 is "VAT": 16 % of KES 50.00.',
        "That leaves KES 142.00 for water, with its levies and taxes.",
        "KES 122.00 bought 6.1 m³, at KES 20.00 for each m³.",
        "KES 0.41 is lost to rounding, because units are sold in whole steps.",
        'KES 19.59 is "VAT": 16 % of KES 122.41.',
        "All these amounts together make KES 200.00, exactly what you paid.",
        "So you got 6.1 m³.",
        "The tariff was Eau à domicile (with-charge, version 1).",
    )

"""What was sold before format 2 of the receipt prints the same for ever.

The files beside were printed by the program that sold them; the stored JSON is theirs too.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotmeter.vending.receipts import Receipt, render_html, render_text

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

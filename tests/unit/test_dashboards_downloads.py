"""What the dashboards hand out beside their pages: files and receipts."""

from __future__ import annotations

import pytest

from slotmeter.i18n import LANGUAGES
from slotmeter.testing.sample_receipts import SAMPLES
from slotmeter.vending.receipts import group_digits, render_html
from slotmeter_dashboards.downloads import csv_lines
from slotmeter_dashboards.receipts import covered


@pytest.mark.parametrize("cell", ["=1+1", "+27", "-x", "@cmd", "\t=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_made_text(cell: str) -> None:
    assert csv_lines([[cell]]).strip('"\r\n').startswith("'")


def test_numbers_keep_their_sign_in_a_file() -> None:
    assert csv_lines([[-5, None, "a,b"]]) == '-5,,"a,b"\r\n'


@pytest.mark.parametrize(
    "token",
    ["12345678901234567890", group_digits("12345678901234567890"), "1234-5678-9012-3456-7890"],
)
def test_a_receipt_shows_only_the_end_of_its_token(token: str) -> None:
    assert covered(f"<p>{token}</p>") == "<p>**** **** **** **** 7890</p>"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_no_page_of_a_receipt_shows_a_whole_token(sample: str, language: str) -> None:
    receipt = SAMPLES[sample]()

    page = covered(render_html(receipt, language=language))

    for token in receipt.typing_order:
        assert token.digits not in page
        assert group_digits(token.digits) not in page
        assert f"**** {token.digits[-4:]}" in page


def test_other_numbers_of_a_receipt_stay() -> None:
    line = "<dd>Meter 07100000003</dd><td>KES 1,234.50</td><dd>2026-11-21 08:00</dd>"

    assert covered(line) == line

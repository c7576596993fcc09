"""A sale as a document that a customer can check, and the forms in which it is handed out."""

from __future__ import annotations

from typing import Final

from slotmeter.vending.receipts.document import (
    FORMAT,
    TRAINING,
    TRIAL,
    Receipt,
    ReceiptDebt,
    ReceiptFree,
    ReceiptLine,
    ReceiptOutlook,
    ReceiptToken,
    group_digits,
)
from slotmeter.vending.receipts.first_format import html_of_format_1, text_of_format_1

__all__ = [
    "COLUMNS",
    "FORMAT",
    "TRAINING",
    "TRIAL",
    "Receipt",
    "ReceiptDebt",
    "ReceiptFree",
    "ReceiptLine",
    "ReceiptOutlook",
    "ReceiptToken",
    "group_digits",
    "render_html",
    "render_text",
]

COLUMNS: Final = {58: 32, 80: 48}
"""Characters on a line for each paper width in millimetres."""


def render_text(receipt: Receipt, paper_mm: int = 80) -> str:
    """Print for a 58 or 80 mm printer: plain text, one newline at the end of each line."""
    return text_of_format_1(receipt, COLUMNS[paper_mm])


def render_html(receipt: Receipt) -> str:
    """Write a page of its own that prints well; loads nothing from anywhere."""
    return html_of_format_1(receipt)

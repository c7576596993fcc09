"""A sale as a document that a customer can check, and the forms in which it is handed out."""

from __future__ import annotations

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
from slotmeter.vending.receipts.explain import explain
from slotmeter.vending.receipts.forms import render_html, render_message, render_text
from slotmeter.vending.receipts.message import Message
from slotmeter.vending.receipts.paper import COLUMNS

__all__ = [
    "COLUMNS",
    "FORMAT",
    "TRAINING",
    "TRIAL",
    "Message",
    "Receipt",
    "ReceiptDebt",
    "ReceiptFree",
    "ReceiptLine",
    "ReceiptOutlook",
    "ReceiptToken",
    "explain",
    "group_digits",
    "render_html",
    "render_message",
    "render_text",
]

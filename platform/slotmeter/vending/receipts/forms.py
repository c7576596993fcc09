"""The forms in which a receipt is handed out: paper, page and message."""

from __future__ import annotations

from slotmeter.i18n import DEFAULT, words
from slotmeter.vending.receipts.document import Receipt
from slotmeter.vending.receipts.explain import explain
from slotmeter.vending.receipts.first_format import (
    html_of_format_1,
    text_of_format_1,
    understood,
)
from slotmeter.vending.receipts.letters import ascii_only
from slotmeter.vending.receipts.message import Message, message_of
from slotmeter.vending.receipts.page import page_of
from slotmeter.vending.receipts.paper import COLUMNS, text_of
from slotmeter.vending.receipts.slip import slip_of

__all__ = ["render_html", "render_message", "render_text"]


def _as_it_was(receipt: Receipt, language: str) -> bool:
    """Say whether it was sold with format 1, and printed in the only language of then."""
    return receipt.format == 1 and language == DEFAULT


def _marks(reprint: bool) -> tuple[str, ...]:
    return ("REPRINT",) if reprint else ()


def render_text(
    receipt: Receipt,
    paper_mm: int = 80,
    *,
    language: str = DEFAULT,
    reprint: bool = False,
    ascii_letters: bool = False,
) -> str:
    """Print for a receipt printer: plain text, one newline at the end of each line.

    Args:
        receipt: of any format.
        paper_mm: 58 or 80, which is 32 or 48 columns.
        language: one of ``slotmeter.i18n.LANGUAGES``.
        reprint: mark it as a copy.
        ascii_letters: for printers without a code page: no accents, ``m3`` for cubic metres.
    """
    width = COLUMNS[paper_mm]
    if _as_it_was(receipt, language):
        text = text_of_format_1(receipt, width, _marks(reprint))
        return ascii_only(text) if ascii_letters else text
    slip = slip_of(understood(receipt), language, reprint=reprint)
    if not ascii_letters:
        return text_of(slip, width)
    # Before the rows are laid out: some letters become two.
    return text_of(slip.with_letters(ascii_only), width)


def render_html(receipt: Receipt, *, language: str = DEFAULT, reprint: bool = False) -> str:
    """Write a page of its own that prints well; loads nothing from anywhere."""
    if _as_it_was(receipt, language):
        return html_of_format_1(receipt, _marks(reprint))
    heading = words(language).gettext("Why this many units?")
    slip = slip_of(understood(receipt), language, reprint=reprint)
    return page_of(slip, heading, explain(receipt, language))


def render_message(receipt: Receipt, *, language: str = DEFAULT, reprint: bool = False) -> Message:
    """Write the short message, with its length as the network counts it."""
    return message_of(receipt, language, reprint=reprint)

"""What the parts of a receipt are called, in one language.

Names are chosen by kind and code. What the utility wrote itself (labels of its tariff and debts)
stays as written, except where it is one of the common words below, which are translated.
"""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.i18n import Words, mark
from slotmeter.units import instant
from slotmeter.vending.receipts.document import Receipt, ReceiptLine, ReceiptToken

__all__ = [
    "at_low_price",
    "block_of",
    "calendar_day",
    "common_word",
    "currency_and",
    "debt_name",
    "delivery_note",
    "is_percentage",
    "label_of",
    "local_time",
    "mark_of",
    "percent_of",
    "title_of",
    "token_caption",
    "token_type",
]

_COMMON: Final = {
    text.lower(): text
    for text in (
        mark("Arrears"),
        mark("Capacity charge"),
        mark("Connection fee"),
        mark("Credit to your account"),
        mark("Demand charge"),
        mark("Electricity"),
        mark("Emergency credit"),
        mark("Energy"),
        mark("Excise duty"),
        mark("Exchange rate adjustment"),
        mark("Fine"),
        mark("Fixed charge"),
        mark("Free basic electricity"),
        mark("Free basic water"),
        mark("Free units"),
        mark("Forex adjustment"),
        mark("Fuel cost"),
        mark("Fuel levy"),
        mark("Gas"),
        mark("Inflation adjustment"),
        mark("Levy"),
        mark("Loan"),
        mark("Meter loan"),
        mark("Meter rent"),
        mark("Network charge"),
        mark("Rebate"),
        mark("Rounding"),
        mark("Rural electrification levy"),
        mark("Sanitation"),
        mark("Service charge"),
        mark("Service fee"),
        mark("Sewerage"),
        mark("Standing charge"),
        mark("Street light tax"),
        mark("Surcharge"),
        mark("Tampering fine"),
        mark("Tax"),
        mark("VAT"),
        mark("Water"),
    )
}

_OWN: Final = {
    "rounding": mark("Rounding"),
    "kept": mark("Kept for your next purchase"),
    "credit": mark("Credit to your account"),
    "correction": mark("Correction of the price of earlier units"),
}
"""Kinds of lines that the program names, not the tariff."""

_TOKEN_ROUNDING: Final = mark("Rounding of the token")

_DEBTS: Final = {
    "arrears": mark("Arrears"),
    "loan": mark("Loan"),
    "fine": mark("Fine"),
    "emergency_credit": mark("Emergency credit"),
}

_TITLES: Final = {
    "TAX INVOICE": mark("TAX INVOICE"),
    "RECEIPT": mark("RECEIPT"),
    "QUOTE": mark("QUOTE"),
}
_MARKS: Final = {
    "trial": mark("TRIAL"),
    "training": mark("TRAINING"),
    "reprint": mark("REPRINT"),
}
_DELIVERY: Final = {
    "pending": mark(
        "Delivery pending: the token is also sent to the meter. You may type it on the keypad."
    ),
    "keypad": mark("Type the token on the keypad of the meter."),
    "none": mark("The amount was added to your account."),
}
_DELIVERY_OF_SEVERAL: Final = {
    "pending": mark(
        "Delivery pending: the tokens are also sent to the meter. "
        "You may type them on the keypad, in this order."
    ),
    "keypad": mark("Type the tokens on the keypad of the meter, in this order."),
}
_TRIAL_NOTE: Final = mark("This is a quote. Nothing was sold, and the zeros are no token.")
_TRAINING_NOTE: Final = mark("This is for practice. Real meters refuse the token.")
_TOKEN_TYPES: Final = {
    ("electricity", "units"): mark("STS credit, electricity in kWh"),
    ("water", "units"): mark("STS credit, water in m³"),
    ("gas", "units"): mark("STS credit, gas in m³"),
    ("electricity", "currency"): mark("STS credit, electricity in money"),
    ("water", "currency"): mark("STS credit, water in money"),
    ("gas", "currency"): mark("STS credit, gas in money"),
}
_TOKENS: Final = {
    "key_change": mark("Key change token"),
    "credit": mark("Token"),
    "free": mark("Token of free units"),
    "clear_tamper": mark("Clear tamper token"),
    "clear_credit": mark("Clear credit token"),
    "power_limit": mark("Power limit token"),
}
_BLOCK: Final = re.compile(r"block([1-9][0-9]*)")


def common_word(label: str, say: Words) -> str:
    """Translate a label that is a common word; return any other as it is."""
    known = _COMMON.get(label.lower())
    return label if known is None or say.gettext(known) == known else say.gettext(known)


def block_of(line: ReceiptLine) -> int | None:
    """Return the number of the block that a line of energy prices, if it says one."""
    found = _BLOCK.fullmatch(line.code or "")
    return int(found[1]) if found and line.kind == "energy" else None


def at_low_price(line: ReceiptLine) -> bool:
    """Say whether a line of energy has the price of small totals."""
    return line.kind == "energy" and line.code == "lifeline"


def label_of(line: ReceiptLine, say: Words) -> str:
    """Return what a line is called."""
    if line.kind == "kept" and line.amount_minor < 0:
        return say.gettext("Kept from your earlier purchase")
    if line.kind == "correction" and line.code not in (None, "energy"):
        return f"{say.gettext(_OWN[line.kind])} ({common_word(line.label, say)})"
    if line.kind == "rounding" and line.code == "token":
        return say.gettext(_TOKEN_ROUNDING)
    if line.kind in _OWN:
        return say.gettext(_OWN[line.kind])
    if line.kind == "debt":
        return debt_name(line.code or "", line.label, say)
    return common_word(line.label, say)


def debt_name(kind: str, label: str, say: Words) -> str:
    """Return what a debt is called: as the utility named it, else by its kind."""
    if label:
        return common_word(label, say)
    return say.gettext(_DEBTS.get(kind, mark("Arrears")))


def is_percentage(line: ReceiptLine) -> bool:
    """Say whether a line is a percentage of something, and not units or days times a price."""
    return line.rate is not None and line.quantity is None and line.kind != "charge"


def percent_of(line: ReceiptLine) -> str:
    """Write the percentage of a line, as ``16 %``."""
    return f"{(line.rate or '').removesuffix('%').strip()} %"


def title_of(receipt: Receipt, say: Words) -> str:
    """Return what the document is before the law."""
    return say.gettext(_TITLES[receipt.title])


def mark_of(code: str, say: Words) -> str:
    """Return the word for ``trial``, ``training`` or ``reprint``."""
    return say.gettext(_MARKS[code])


def delivery_note(receipt: Receipt, say: Words) -> str:
    """Say how the credit reaches the meter."""
    if receipt.mark == "trial":
        return say.gettext(_TRIAL_NOTE)
    if receipt.mark == "training":
        return say.gettext(_TRAINING_NOTE)
    if receipt.has_nothing_to_load:
        return say.gettext("There is no token with this purchase.")
    several = len(receipt.typing_order) > 1
    notes = _DELIVERY | _DELIVERY_OF_SEVERAL if several else _DELIVERY
    return say.gettext(notes[receipt.delivery])


def token_type(receipt: Receipt, say: Words) -> str:
    """Return the type of the credit token; empty when there is none."""
    credits = [token for token in receipt.typing_order if token.purpose == "credit"]
    if not credits:
        return ""
    transfer = "currency" if credits[0].minor is not None else "units"
    return say.gettext(_TOKEN_TYPES[receipt.commodity, transfer])


def token_caption(receipt: Receipt, token: ReceiptToken, say: Words) -> str:
    """Say what one of several tokens is."""
    name = say.gettext(_TOKENS.get(token.purpose, mark("Token")))
    if token.purpose == "free" and token.label:
        name = common_word(token.label, say)
    parts = [name]
    if token.period:
        parts.append(token.period)
    if token.minor is not None:
        parts.append(currency_and(receipt, token.minor))
    elif token.quantity is not None:
        parts.append(receipt.units(token.quantity))
    return ", ".join(parts)


def currency_and(receipt: Receipt, minor: int) -> str:
    """Write an amount of money with its currency."""
    return f"{receipt.currency} {receipt.money(minor)}"


def local_time(receipt: Receipt) -> str:
    """Write the time of the sale in the utility's zone, with the zone's name."""
    local = instant(receipt.sold_us).astimezone(ZoneInfo(receipt.time_zone))
    return local.strftime("%Y-%m-%d %H:%M:%S %Z")


def calendar_day(receipt: Receipt, at_us: int) -> str:
    """Write the day of an instant in the utility's zone."""
    return instant(at_us).astimezone(ZoneInfo(receipt.time_zone)).strftime("%Y-%m-%d")

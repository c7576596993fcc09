"""A receipt as a short message: the token first, and never more than is needed.

The order never changes: tokens, units, amount, debt left, then the meter and the receipt's number
if one message has room for them, then the mark of a copy. Letters that the alphabet of messages
lacks lose their accents, because a single one of them would halve what a message holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slotmeter.i18n import Words, words
from slotmeter.vending.receipts.document import Receipt, group_digits
from slotmeter.vending.receipts.letters import GSM_EXTENDED, GSM_LETTERS, gsm_letters
from slotmeter.vending.receipts.wording import currency_and, mark_of

__all__ = ["Message", "measured", "message_of"]

GSM7: Final = "gsm7"
UCS2: Final = "ucs2"
ONE_PART_MAX: Final = {GSM7: 160, UCS2: 70}
EACH_PART_MAX: Final = {GSM7: 153, UCS2: 67}
"""Of several parts; each begins with a header that joins them (3GPP TS 23.040)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A text as the network counts it.

    Args:
        text: what the phone shows.
        encoding: ``gsm7`` or ``ucs2``.
        characters: septets of GSM-7, or 16-bit units of UCS-2.
        parts: messages that are paid for.
    """

    text: str
    encoding: str
    characters: int
    parts: int


def measured(text: str) -> Message:
    """Count a text."""
    if all(letter in GSM_LETTERS or letter in GSM_EXTENDED for letter in text):
        encoding = GSM7
        length = sum(2 if letter in GSM_EXTENDED else 1 for letter in text)
    else:
        encoding = UCS2
        length = len(text.encode("utf-16-be")) // 2
    if length <= ONE_PART_MAX[encoding]:
        return Message(text, encoding, length, 1)
    return Message(text, encoding, length, _parts(text, encoding))


def _parts(text: str, encoding: str) -> int:
    """Count the parts; a letter of two units is not torn in two."""
    parts, used = 1, 0
    for letter in text:
        if encoding == GSM7:
            size = 2 if letter in GSM_EXTENDED else 1
        else:
            size = len(letter.encode("utf-16-be")) // 2
        if used + size > EACH_PART_MAX[encoding]:
            parts, used = parts + 1, 0
        used += size
    return parts


def message_of(receipt: Receipt, language: str, *, reprint: bool = False) -> Message:
    """Write the message; what is not needed falls away where one message has no room for it."""
    say = words(language)
    needed = [*_tokens(receipt, say), *_bought(receipt, say)]
    marks = [receipt.mark] if receipt.mark else []
    marks += ["reprint"] if reprint else []
    ending = [mark_of(code, say) for code in marks]
    extra = [
        say.gettext("Meter {number}").format(number=receipt.meter_number),
    ]
    if receipt.receipt_number:
        extra.append(say.gettext("Receipt {number}").format(number=receipt.receipt_number))
    for count in range(len(extra), -1, -1):
        message = _joined([*needed, *extra[:count], *ending])
        if message.parts == 1:
            return message
    return message


def _joined(parts: list[str]) -> Message:
    return measured(gsm_letters(" ".join(f"{part}." for part in parts if part)))


def _tokens(receipt: Receipt, say: Words) -> list[str]:
    tokens = receipt.typing_order
    if len(tokens) == 1:
        digits = group_digits(tokens[0].digits)
        return [say.gettext("Token {digits}").format(digits=digits)]
    return [
        say.gettext("Token {number} of {count}: {digits}").format(
            number=number, count=len(tokens), digits=group_digits(token.digits)
        )
        for number, token in enumerate(tokens, start=1)
    ]


def _bought(receipt: Receipt, say: Words) -> list[str]:
    parts = []
    if receipt.transfer_minor is not None:
        credit = currency_and(receipt, receipt.transfer_minor)
        parts.append(say.gettext("Credit {money}").format(money=credit))
    elif receipt.quantity:
        parts.append(receipt.units(receipt.quantity))
    else:
        credited = sum(line.amount_minor for line in receipt.lines if line.kind == "credit")
        if credited:
            money = currency_and(receipt, credited)
            parts.append(say.gettext("Credit {money}").format(money=money))
    free = sum(each.quantity for each in receipt.free)
    if free:
        parts.append(say.gettext("Free {quantity}").format(quantity=receipt.units(free)))
    paid = currency_and(receipt, receipt.tendered_minor)
    parts.append(say.gettext("Paid {money}").format(money=paid))
    left = sum(debt.left_minor for debt in receipt.debts_left)
    if receipt.debts_left:
        owed = currency_and(receipt, left)
        parts.append(say.gettext("Debt left {money}").format(money=owed))
    return parts

"""What stands on a slip, in order and in one language, before it takes a form.

Paper and page print the same slip, so that no form lacks what another has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from slotmeter.i18n import Words, words
from slotmeter.vending.receipts.document import Receipt, ReceiptLine, group_digits
from slotmeter.vending.receipts.wording import (
    at_low_price,
    block_of,
    calendar_day,
    common_word,
    currency_and,
    debt_name,
    delivery_note,
    is_percentage,
    label_of,
    local_time,
    mark_of,
    percent_of,
    title_of,
    token_caption,
    token_type,
)

__all__ = ["Slip", "SlipLine", "SlipToken", "slip_of"]


@dataclass(frozen=True, slots=True)
class SlipToken:
    """One token in groups of four, with what it is; the caption is empty for the only one."""

    caption: str
    grouped: str


@dataclass(frozen=True, slots=True)
class SlipLine:
    """One line of money: its text, its amount, and what is left of a debt or charge, if any."""

    text: str
    amount: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Slip:
    """The parts of a slip from top to bottom."""

    language: str
    title: str
    number: str
    marks: tuple[str, ...]
    heading: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    lines_heading: str
    lines: tuple[SlipLine, ...]
    totals: tuple[tuple[str, str], ...]
    results: tuple[tuple[str, str], ...]
    tokens: tuple[SlipToken, ...]
    note: str
    debts_heading: str
    debts: tuple[SlipLine, ...]
    outlook_heading: str
    outlook: tuple[tuple[str, str], ...]

    def with_letters(self, spell: Callable[[str], str]) -> Slip:
        """Return it with every text spelt anew, for devices that lack some letters."""
        return Slip(**{field.name: _spelt(getattr(self, field.name), spell) for field in _FIELDS})


_FIELDS = fields(Slip)


def _spelt(value: Any, spell: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return spell(value)
    if isinstance(value, tuple):
        return tuple(_spelt(part, spell) for part in value)
    parts = {field.name: _spelt(getattr(value, field.name), spell) for field in fields(value)}
    return type(value)(**parts)


def slip_of(receipt: Receipt, language: str, *, reprint: bool = False) -> Slip:
    """Put a receipt into words.

    Args:
        receipt: of any format.
        language: one of ``slotmeter.i18n.LANGUAGES``.
        reprint: it is a copy of a slip that was handed out before.
    """
    say = words(language)
    marks = [receipt.mark] if receipt.mark else []
    if reprint:
        marks.append("reprint")
    tax = say.gettext("Tax number {number}").format(number=receipt.tax_number)
    heading = (receipt.utility_name, receipt.utility_address, tax if receipt.tax_number else "")
    return Slip(
        language=language,
        title=title_of(receipt, say),
        number=receipt.receipt_number,
        marks=tuple(mark_of(code, say) for code in marks),
        heading=tuple(text for text in heading if text),
        facts=tuple((name, value) for name, value in _facts(receipt, say) if value),
        lines_heading=say.gettext("What your money was used for"),
        lines=tuple(
            SlipLine(
                line_text(receipt, line, say),
                receipt.money(line.amount_minor),
                _note(receipt, line, say),
            )
            for line in receipt.lines
        ),
        totals=tuple(_totals(receipt, say)),
        results=tuple(_results(receipt, say)),
        tokens=_tokens(receipt, say),
        note=delivery_note(receipt, say),
        debts_heading=say.gettext("Your debts after this purchase"),
        debts=tuple(
            SlipLine(debt_name(debt.kind, debt.label, say), receipt.money(debt.left_minor))
            for debt in receipt.debts_left
        ),
        outlook_heading=say.gettext("What comes next"),
        outlook=tuple(_outlook(receipt, say)),
    )


def _facts(receipt: Receipt, say: Words) -> Iterator[tuple[str, str]]:
    vendor = receipt.vendor or receipt.utility_name
    customer = receipt.customer_name
    if receipt.customer_number:
        customer = f"{customer} ({receipt.customer_number})".strip()
    yield say.gettext("Receipt number"), receipt.receipt_number
    yield say.gettext("Date and time"), local_time(receipt)
    yield say.gettext("Sale"), receipt.sale_id
    yield say.gettext("Customer"), customer
    yield say.gettext("Address"), receipt.customer_address
    yield say.gettext("Account"), receipt.account_number
    yield say.gettext("Meter"), receipt.meter_number
    yield say.gettext("Vendor"), vendor
    yield say.gettext("Outlet"), receipt.branch
    yield say.gettext("Operator"), receipt.operator
    yield say.gettext("Terminal"), receipt.terminal
    yield say.gettext("Channel"), _channel(receipt.channel, say)
    yield say.gettext("Tariff"), tariff_text(receipt, say)
    if receipt.supply_group_code is not None:
        yield say.gettext("Key"), key_text(receipt)
    yield say.gettext("Token type"), token_type(receipt, say)


def _channel(channel: str, say: Words) -> str:
    names = {
        "till": say.pgettext("channel", "till"),
        "web": say.pgettext("channel", "web"),
        "phone": say.pgettext("channel", "phone"),
        "bank": say.pgettext("channel", "bank"),
    }
    return names.get(channel, channel)


def key_text(receipt: Receipt) -> str:
    """Write what the meter's key is made of."""
    index = receipt.tariff_index
    shown = "" if index is None else f" TI {index:02d}"
    return f"SGC {receipt.supply_group_code} KRN {receipt.key_revision}{shown}"


def tariff_text(receipt: Receipt, say: Words) -> str:
    """Name the tariff and its version."""
    named = say.gettext("{title} ({code}, version {version})").format(
        title=receipt.tariff_title, code=receipt.tariff_code, version=receipt.tariff_version
    )
    if receipt.tariff_since_us is None:
        return named
    since = say.gettext("in force since {date}").format(
        date=calendar_day(receipt, receipt.tariff_since_us)
    )
    return f"{named}, {since}"


def line_text(receipt: Receipt, line: ReceiptLine, say: Words) -> str:
    """Write a line without its amount: what it is, and how the amount comes about."""
    label = label_of(line, say)
    block = block_of(line)
    if block is not None and _has_blocks(receipt):
        label = say.gettext("{label}, block {block}").format(label=label, block=block)
    elif at_low_price(line):
        label = say.gettext("{label}, low price").format(label=label)
    if line.period and line.period not in label:
        label = f"{label} {line.period}"
    if line.quantity is not None and line.rate is not None:
        return f"{label}: {receipt.priced_units(line.quantity)} x {line.rate}"
    if line.quantity is not None:
        return f"{label}: {receipt.priced_units(line.quantity)}"
    if line.kind == "charge" and line.rate is not None:
        return say.gettext("{label}: {price} a day").format(label=label, price=line.rate)
    if is_percentage(line):
        percent = percent_of(line)
        if line.base_minor is None:
            return f"{label} {percent}"
        return say.gettext("{label} {percent} of {base}").format(
            label=label, percent=percent, base=receipt.money(line.base_minor)
        )
    return label


def only_low_price(receipt: Receipt) -> bool:
    """Say whether all units had the price of small totals."""
    energy = [line for line in receipt.lines if line.kind == "energy"]
    return bool(energy) and all(map(at_low_price, energy))


def _has_blocks(receipt: Receipt) -> bool:
    blocks = {block_of(line) for line in receipt.lines} - {None}
    limited = receipt.outlook is not None and receipt.outlook.left_in_block is not None
    return limited or blocks > {1} or any(block != 1 for block in blocks)


def _note(receipt: Receipt, line: ReceiptLine, say: Words) -> str:
    if line.gross_minor is not None and line.gross_rate is not None:
        return say.gettext("with what lies on it: {quantity} x {price} = {amount}").format(
            quantity=receipt.priced_units(line.quantity or 0),
            price=line.gross_rate,
            amount=receipt.money(line.gross_minor),
        )
    notes = []
    if line.kind == "energy" and line.base_minor is not None:
        price = receipt.money(line.base_minor)
        notes.append(say.gettext("{price} less the rounding of the token").format(price=price))
    if line.tax_minor is not None:
        tax = say.gettext("tax in it: {tax}").format(tax=receipt.money(line.tax_minor))
        notes.append(tax)
    if line.cost_minor is not None:
        cost = say.gettext("had cost: {cost}").format(cost=receipt.money(line.cost_minor))
        notes.append(cost)
    if line.left_minor or (line.left_minor is not None and line.kind == "debt"):
        left = say.gettext("still owed: {left}").format(left=receipt.money(line.left_minor))
        notes.append(left)
    return ", ".join(notes)


def _totals(receipt: Receipt, say: Words) -> Iterator[tuple[str, str]]:
    yield say.gettext("Tendered"), currency_and(receipt, receipt.tendered_minor)
    if receipt.format > 1:
        yield say.gettext("Change"), currency_and(receipt, receipt.change_minor)


def _results(receipt: Receipt, say: Words) -> Iterator[tuple[str, str]]:
    if receipt.calorific_value is not None:
        yield say.gettext("Calorific value"), f"{receipt.calorific_value} MJ/m³"
    if receipt.transfer_minor is not None:
        yield say.gettext("Credit on the token"), currency_and(receipt, receipt.transfer_minor)
    elif receipt.token is not None or receipt.quantity:
        yield say.gettext("Units"), receipt.units(receipt.quantity)
    for free in receipt.free:
        name = f"{common_word(free.label, say)} {free.period}".strip()
        yield say.gettext("Free: {name}").format(name=name), receipt.units(free.quantity)


def _tokens(receipt: Receipt, say: Words) -> tuple[SlipToken, ...]:
    tokens = receipt.typing_order
    if len(tokens) == 1 and tokens[0].purpose == "credit":
        return (SlipToken("", group_digits(tokens[0].digits)),)
    return tuple(
        SlipToken(f"{number}. {token_caption(receipt, token, say)}", group_digits(token.digits))
        for number, token in enumerate(tokens, start=1)
    )


def _outlook(receipt: Receipt, say: Words) -> Iterator[tuple[str, str]]:
    outlook = receipt.outlook
    if outlook is None:
        return
    if outlook.left_in_block is not None:
        name = say.gettext("Left in block {block}").format(block=outlook.block)
        if outlook.block is None or only_low_price(receipt):
            name = say.gettext("Left at this price")
        yield name, receipt.priced_units(outlook.left_in_block)
    if outlook.next_price is not None:
        unit = receipt.priced_kind.sold_symbol
        name = say.gettext("The next {unit} costs").format(unit=unit)
        yield name, f"{receipt.currency} {outlook.next_price}"
    if outlook.first_of_month_units is not None:
        name = say.gettext("The same money buys on the 1st of next month")
        yield name, receipt.units(outlook.first_of_month_units)

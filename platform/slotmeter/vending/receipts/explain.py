"""The answer to "why did I get this many units?", in plain sentences with the numbers.

Every number comes from the receipt; nothing is computed but sums of its lines. So the answer is the
same after years, whatever the tariff has become.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from slotmeter.i18n import DEFAULT, Words, mark, words
from slotmeter.vending.receipts.document import TRIAL, Receipt, ReceiptLine
from slotmeter.vending.receipts.first_format import understood
from slotmeter.vending.receipts.slip import only_low_price, tariff_text
from slotmeter.vending.receipts.wording import (
    at_low_price,
    block_of,
    common_word,
    currency_and,
    is_percentage,
    label_of,
    local_time,
    percent_of,
)

__all__ = ["explain"]

PRICE_CHANGE: Final = "price_change"
"""Code of a correction to prices that count from an earlier day."""
_BUYS: Final = frozenset({"energy", "credit"})

_LEAVES: Final = {
    "electricity": mark("That leaves {money} for electricity, with its levies and taxes."),
    "water": mark("That leaves {money} for water, with its levies and taxes."),
    "gas": mark("That leaves {money} for gas, with its levies and taxes."),
}
_NOTHING_LEFT: Final = mark("Nothing was left to buy units with.")


def explain(receipt: Receipt, language: str = DEFAULT) -> tuple[str, ...]:
    """Say step by step how the money became units.

    Args:
        receipt: of any format; older ones say less.
        language: one of ``slotmeter.i18n.LANGUAGES``.
    """
    return tuple(_sentences(understood(receipt), words(language)))


def _sentences(receipt: Receipt, say: Words) -> Iterator[str]:
    yield _opening(receipt, say)
    if receipt.change_minor:
        yield say.gettext("{money} was given back as change.").format(
            money=currency_and(receipt, receipt.change_minor)
        )
    first, rest = _split(receipt.lines)
    for line in first:
        yield _line(receipt, line, say)
    buying = sum(line.amount_minor for line in rest)
    if first and any(line.kind == "energy" for line in rest):
        yield say.gettext(_LEAVES[receipt.commodity]).format(money=currency_and(receipt, buying))
    elif first and not rest:
        yield say.gettext(_NOTHING_LEFT)
    yield from _bought_before(receipt, say)
    for line in rest:
        yield _line(receipt, line, say)
    if not receipt.lines:
        yield from _ending(receipt, say)
        return
    whole = say.gettext("All these amounts together make {money}, exactly what you paid.")
    if receipt.mark == TRIAL:
        whole = say.gettext("All these amounts together make {money}.")
    yield whole.format(money=currency_and(receipt, receipt.tendered_minor))
    yield from _ending(receipt, say)


def _ending(receipt: Receipt, say: Words) -> Iterator[str]:
    yield from _result(receipt, say)
    yield from _outlook(receipt, say)
    yield say.gettext("The tariff was {tariff}.").format(tariff=tariff_text(receipt, say))


def _opening(receipt: Receipt, say: Words) -> str:
    text = say.gettext("On {when} you paid {money} for meter {meter}.")
    if receipt.mark == TRIAL:
        text = say.gettext("On {when} you asked what {money} would buy for meter {meter}.")
    elif not receipt.lines:
        text = say.gettext("On {when} you collected free units for meter {meter}.")
    return text.format(
        when=local_time(receipt),
        money=currency_and(receipt, receipt.tendered_minor),
        meter=receipt.meter_number,
    )


def _split(lines: Sequence[ReceiptLine]) -> tuple[Sequence[ReceiptLine], Sequence[ReceiptLine]]:
    """Part the lines into what was taken first and what bought units."""
    for at, line in enumerate(lines):
        if line.kind in _BUYS:
            return lines[:at], lines[at:]
    return lines, ()


def _bought_before(receipt: Receipt, say: Words) -> Iterator[str]:
    blocks = [block_of(line) for line in receipt.lines]
    limited = receipt.outlook is not None and receipt.outlook.left_in_block is not None
    if receipt.prior_units and (limited or any(block and block > 1 for block in blocks)):
        yield say.gettext(
            "You had already bought {quantity} in this period, and the blocks count on from there."
        ).format(quantity=receipt.priced_units(receipt.prior_units))


def _line(receipt: Receipt, line: ReceiptLine, say: Words) -> str:
    label = label_of(line, say)
    if line.period and line.period not in label:
        label = f"{label} {line.period}"
    amount = currency_and(receipt, abs(line.amount_minor))
    if line.kind == "debt":
        return _debt(receipt, line, label, amount, say)
    if line.kind == "correction":
        return _correction(receipt, line, amount, say)
    if line.kind == "rounding" and line.code == "token":
        return say.gettext(
            "{money} is lost to rounding, because a token carries money in whole steps."
        ).format(money=amount)
    if line.kind in _PLAIN:
        paid, given = _PLAIN[line.kind]
        return say.gettext(given if line.amount_minor < 0 else paid).format(money=amount)
    if line.kind == "energy" and line.quantity is not None:
        return _energy(receipt, line, amount, say)
    return _added(receipt, line, label, amount, say)


_PLAIN: Final = {
    "credit": (
        mark("{money} was added to your account; what you use is paid from it."),
        mark("{money} was taken from your account."),
    ),
    "rounding": (
        mark("{money} is lost to rounding, because units are sold in whole steps."),
        mark("{money} is gained by rounding, because units are sold in whole steps."),
    ),
    "kept": (
        mark("{money} is kept for your next purchase."),
        mark("{money} kept from your earlier purchase was used as well."),
    ),
}
"""Sentences for an amount that was taken, and for one that was given."""

_CORRECTED: Final = (
    mark(
        "{money} corrects the price of units that you bought earlier in this period, "
        "because your total has now passed a limit."
    ),
    mark(
        "{money} is given back for units that you bought earlier in this period, "
        "because another price now applies to all of them."
    ),
)


_REPRICED: Final = (
    mark(
        "{money} is for units that you bought since {day}, "
        "because the new prices count from that day on."
    ),
    mark(
        "{money} is given back for units that you bought since {day}, "
        "because the new prices count from that day on."
    ),
)


def _correction(receipt: Receipt, line: ReceiptLine, amount: str, say: Words) -> str:
    paid, given = _REPRICED if line.code == PRICE_CHANGE else _CORRECTED
    text = say.gettext(given if line.amount_minor < 0 else paid)
    told = text.format(money=amount, day=line.period)
    if line.code not in (None, "energy"):
        told = f"{common_word(line.label, say)}: {told}"
    if line.cost_minor is None or line.quantity is None:
        return told
    cost = say.gettext("The {quantity} of before had cost {before}; now they cost {now}.")
    return f"{told} " + cost.format(
        quantity=receipt.priced_units(line.quantity),
        before=currency_and(receipt, line.cost_minor),
        now=currency_and(receipt, line.cost_minor + line.amount_minor),
    )


def _debt(receipt: Receipt, line: ReceiptLine, label: str, amount: str, say: Words) -> str:
    if line.left_minor == 0:
        text = say.gettext('{money} went to your debt "{label}", which is now paid off.')
    elif line.left_minor is not None:
        text = say.gettext('{money} went to your debt "{label}"; {left} of it is left.')
    else:
        text = say.gettext('{money} went to your debt "{label}".')
    left = currency_and(receipt, line.left_minor or 0)
    told = [text.format(money=amount, label=label, left=left)]
    if is_percentage(line) and line.base_minor is not None:
        share = say.gettext("That is {percent} of the {base} that you paid.")
        base = currency_and(receipt, line.base_minor)
        told.append(share.format(percent=percent_of(line), base=base))
    if line.tax_minor is not None:
        tax = say.gettext("{tax} of what was repaid is tax.")
        told.append(tax.format(tax=currency_and(receipt, line.tax_minor)))
    return " ".join(told)


def _energy(receipt: Receipt, line: ReceiptLine, amount: str, say: Words) -> str:
    block = block_of(line)
    several = len({block_of(each) for each in receipt.lines} - {None}) > 1
    limited = receipt.outlook is not None and receipt.outlook.left_in_block is not None
    values = {
        "money": amount,
        "quantity": receipt.priced_units(line.quantity or 0),
        "price": f"{receipt.currency} {line.rate}",
        "unit": receipt.priced_kind.sold_symbol,
        "block": block,
    }
    if line.rate is None:
        text = say.gettext("{money} bought {quantity}.")
    elif at_low_price(line):
        text = say.gettext(
            "{money} bought {quantity} at the low price of {price} for each {unit}, "
            "because your total is still small."
        )
    elif block is not None and (several or limited or block > 1):
        text = say.gettext(
            "{money} bought {quantity} in block {block}, at {price} for each {unit}."
        )
    else:
        text = say.gettext("{money} bought {quantity}, at {price} for each {unit}.")
    if line.base_minor is not None:
        on_token = say.gettext("{money} of it is on the token.").format(money=amount)
        values["money"] = currency_and(receipt, line.base_minor)
        return f"{text.format(**values)} {on_token}" + _published(receipt, line, say)
    return text.format(**values) + _published(receipt, line, say)


def _published(receipt: Receipt, line: ReceiptLine, say: Words) -> str:
    """Say what the published price is where it holds more than the line does."""
    if line.gross_minor is None or line.gross_rate is None:
        return ""
    return " " + say.gettext(
        "The published price is {price}, which makes {total}; "
        "the levies and taxes in it are listed below."
    ).format(
        price=f"{receipt.currency} {line.gross_rate}",
        total=currency_and(receipt, line.gross_minor),
    )


def _added(receipt: Receipt, line: ReceiptLine, label: str, amount: str, say: Words) -> str:
    """Put a charge, levy, tax or rebate into words."""
    given = line.amount_minor < 0
    values = {"money": amount, "label": label}
    if line.quantity is not None and line.rate is not None:
        values["quantity"] = receipt.priced_units(line.quantity)
        values["price"] = f"{receipt.currency} {line.rate}"
        values["unit"] = receipt.priced_kind.sold_symbol
        text = say.gettext('{money} is "{label}": {quantity}, at {price} for each {unit}.')
    elif line.kind == "charge" and line.rate is not None:
        values["price"] = f"{receipt.currency} {line.rate}"
        text = say.gettext('{money} is "{label}", {price} for each day.')
    elif is_percentage(line) and line.base_minor is not None:
        values["percent"] = percent_of(line).removeprefix("-")
        values["base"] = currency_and(receipt, line.base_minor)
        text = say.gettext('{money} is "{label}": {percent} of {base}.')
        if given:
            text = say.gettext('You get {money} back as "{label}": {percent} of {base}.')
    elif is_percentage(line):
        values["percent"] = percent_of(line).removeprefix("-")
        text = say.gettext('{money} is "{label}", {percent}.')
    elif given:
        text = say.gettext('You get {money} back as "{label}".')
    elif line.kind == "charge" and line.base_minor is not None:
        values["before"] = currency_and(receipt, line.base_minor)
        whole = line.base_minor + line.amount_minor + (line.left_minor or 0)
        values["whole"] = currency_and(receipt, whole)
        text = say.gettext(
            '{money} is "{label}": for your total of this period it is {whole}, '
            "of which {before} was taken before."
        )
    elif line.left_minor:
        values["left"] = currency_and(receipt, line.left_minor)
        text = say.gettext('{money} is "{label}"; {left} of it is still to be paid.')
    else:
        text = say.gettext('{money} is "{label}".')
    return text.format(**values) + _published(receipt, line, say)


def _result(receipt: Receipt, say: Words) -> Iterator[str]:
    if receipt.calorific_value is not None:
        held = sum(line.quantity or 0 for line in receipt.lines if line.kind == "energy")
        yield say.gettext(
            "Gas is measured in m³ and priced by its energy: "
            "at {value} MJ/m³ your gas holds {energy}."
        ).format(value=receipt.calorific_value, energy=receipt.priced_units(held))
    if receipt.transfer_minor is not None:
        yield say.gettext("So the token carries {money}.").format(
            money=currency_and(receipt, receipt.transfer_minor)
        )
    elif receipt.quantity:
        got = say.gettext("So you got {quantity}.")
        if receipt.mark == TRIAL:
            got = say.gettext("So you would get {quantity}.")
        yield got.format(quantity=receipt.units(receipt.quantity))
    for free in receipt.free:
        yield say.gettext('You get {quantity} free: "{label}" for {period}.').format(
            quantity=receipt.units(free.quantity),
            label=common_word(free.label, say),
            period=free.period,
        )


def _outlook(receipt: Receipt, say: Words) -> Iterator[str]:
    outlook = receipt.outlook
    if outlook is None:
        return
    unit = receipt.priced_kind.sold_symbol
    if outlook.left_in_block is not None:
        text = say.gettext("{quantity} are left in block {block}.")
        if outlook.block is None or only_low_price(receipt):
            text = say.gettext("{quantity} are left at this price.")
        yield text.format(quantity=receipt.priced_units(outlook.left_in_block), block=outlook.block)
    if outlook.next_price is not None:
        yield say.gettext("The next {unit} costs {price} with everything on it.").format(
            unit=unit, price=f"{receipt.currency} {outlook.next_price}"
        )
    if outlook.first_of_month_units is not None:
        yield say.gettext(
            "On the 1st of next month the same money buys {quantity}, "
            "if it is the first purchase of that month and its charges are paid then."
        ).format(quantity=receipt.units(outlook.first_of_month_units))

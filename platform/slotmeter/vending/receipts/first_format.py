"""Receipts of format 1, exactly as they were printed when they were sold.

How they are printed in English never changes any more. Only the mark of a reprint is added, for
whoever prints one again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.units import instant, parse_money
from slotmeter.vending.receipts.document import Receipt, ReceiptLine, group_digits

__all__ = ["html_of_format_1", "text_of_format_1", "understood"]

_DELIVERY: Final = {
    "pending": "Delivery pending: the token is also sent to the meter. "
    "You may type it on the keypad.",
    "keypad": "Type the token on the keypad of the meter.",
    "none": "The amount was added to your account.",
}

_TAX: Final = re.compile(r"(?P<label>.+) on (?P<base>[0-9]+(?:\.[0-9]+)?)")
_CHARGE: Final = re.compile(r"(?P<label>.+) (?P<period>[0-9]{4}-[0-9]{2})")


def understood(receipt: Receipt) -> Receipt:
    """Take bases and months out of the labels of format 1, for other languages and explanations.

    A receipt of a later format is returned as it is.
    """
    if receipt.format > 1:
        return receipt
    return replace(receipt, lines=tuple(_understood(receipt, line) for line in receipt.lines))


def _understood(receipt: Receipt, line: ReceiptLine) -> ReceiptLine:
    if line.kind == "tax" and (tax := _TAX.fullmatch(line.label)):
        base = parse_money(tax["base"], receipt.currency).minor
        return replace(line, label=tax["label"], base_minor=base)
    if line.kind == "charge" and (charge := _CHARGE.fullmatch(line.label)):
        return replace(line, label=charge["label"], period=charge["period"])
    return line


def _sold_at(receipt: Receipt) -> str:
    local = instant(receipt.sold_us).astimezone(ZoneInfo(receipt.time_zone))
    return local.strftime("%Y-%m-%d %H:%M:%S %Z")


def _facts(receipt: Receipt) -> list[tuple[str, str]]:
    facts = [
        ("Receipt", receipt.receipt_number),
        ("Date", _sold_at(receipt)),
        ("Sale", receipt.sale_id),
        ("Customer", f"{receipt.customer_name} ({receipt.customer_number})"),
        ("Address", receipt.customer_address),
        ("Account", receipt.account_number),
        ("Meter", receipt.meter_number),
        ("Tariff", f"{receipt.tariff_title} ({receipt.tariff_code} v{receipt.tariff_version})"),
        ("Sold by", f"{receipt.operator}, {receipt.branch} ({receipt.channel})"),
    ]
    if receipt.supply_group_code is not None:
        codes = f"SGC {receipt.supply_group_code} KRN {receipt.key_revision}"
        facts.append(("Key", f"{codes} TI {receipt.tariff_index:02d}"))
    return [(name, value) for name, value in facts if value]


def _explained(receipt: Receipt, line: ReceiptLine) -> str:
    if line.quantity is not None:
        return f"{line.label}: {receipt.units(line.quantity)} x {line.rate}"
    if line.rate is not None:
        return f"{line.label} {line.rate}"
    return line.label


def _wrap(text: str, width: int) -> list[str]:
    rows: list[str] = []
    for word in text.split():
        if rows and len(rows[-1]) + 1 + len(word) <= width:
            rows[-1] += f" {word}"
        else:
            rows.extend(word[at : at + width] for at in range(0, len(word), width))
    return rows


def _amount_rows(label: str, amount: str, width: int) -> list[str]:
    rows = _wrap(label, width)
    if rows and len(rows[-1]) + 1 + len(amount) <= width:
        last = rows.pop()
        return [*rows, last + amount.rjust(width - len(last))]
    return [*rows, amount.rjust(width)]


def _token_rows(token: str, width: int) -> list[str]:
    groups = group_digits(token).split()
    if width >= 32:
        return [" ".join(groups).center(width).rstrip()]
    return [
        " ".join(groups[:3]).center(width).rstrip(),
        " ".join(groups[3:]).center(width).rstrip(),
    ]


def text_of_format_1(receipt: Receipt, width: int, marks: Sequence[str] = ()) -> str:
    """Print for a printer of so many columns; the marks stand below the title."""
    rule = "-" * width
    rows: list[str] = []
    heading: Sequence[str] = (
        receipt.utility_name,
        receipt.utility_address,
        f"Tax number {receipt.tax_number}" if receipt.tax_number else "",
        "TAX INVOICE" if receipt.tax_number else "RECEIPT",
        *marks,
    )
    for text in heading:
        rows.extend(row.center(width).rstrip() for row in _wrap(text, width))
    rows.append(rule)
    for name, value in _facts(receipt):
        rows.extend(_wrap(f"{name}: {value}", width))
    rows.append(rule)
    for line in receipt.lines:
        rows.extend(
            _amount_rows(_explained(receipt, line), receipt.money(line.amount_minor), width)
        )
    rows.append(rule)
    total = f"{receipt.currency} {receipt.money(receipt.tendered_minor)}"
    rows.extend(_amount_rows("Tendered", total, width))
    if receipt.token is not None:
        rows.extend(_amount_rows("Units", receipt.units(receipt.quantity), width))
        rows.extend(["", *_token_rows(receipt.token, width), ""])
    rows.extend(_wrap(_DELIVERY[receipt.delivery], width))
    return "\n".join(rows) + "\n"


_STYLE = """
:root{color-scheme:light}
body{font:15px/1.45 system-ui,sans-serif;color:#1c2430;background:#fff;margin:0}
main{max-width:34rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.2rem;margin:0}
header{text-align:center;border-bottom:2px solid #1c2430;padding-bottom:.75rem}
header p{margin:.15rem 0}
dl{display:grid;grid-template-columns:auto 1fr;gap:.1rem 1rem;margin:1rem 0}
dt{color:#5b6675}dd{margin:0}
table{width:100%;border-collapse:collapse}
td,th{padding:.3rem 0;border-bottom:1px solid #d9dee5;text-align:left;vertical-align:top}
td:last-child,th:last-child{text-align:right;font-variant-numeric:tabular-nums}
tfoot th{border-bottom:0;font-size:1.05rem}
.token{font:700 1.55rem/1.4 ui-monospace,monospace;text-align:center;border:2px solid #1c2430;
border-radius:.5rem;padding:.75rem;margin:1.25rem 0 .5rem;word-spacing:.25rem}
.note{text-align:center;color:#5b6675}
@media print{main{padding:0}}
"""


def html_of_format_1(receipt: Receipt, marks: Sequence[str] = ()) -> str:
    """Write the page; the marks stand below the title."""
    facts = "".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in _facts(receipt))
    lines = "".join(
        f"<tr><td>{escape(_explained(receipt, line))}</td>"
        f"<td>{receipt.money(line.amount_minor)}</td></tr>"
        for line in receipt.lines
    )
    title = "Tax invoice" if receipt.tax_number else "Receipt"
    tax = f"<p>Tax number {escape(receipt.tax_number)}</p>" if receipt.tax_number else ""
    token = ""
    if receipt.token is not None:
        token = (
            f'<p class="note">{escape(receipt.units(receipt.quantity))}</p>'
            f'<p class="token">{group_digits(receipt.token)}</p>'
        )
    total = f"{escape(receipt.currency)} {receipt.money(receipt.tendered_minor)}"
    marked = "".join(f"<p><strong>{escape(mark)}</strong></p>" for mark in marks)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} {escape(receipt.receipt_number)}</title><style>{_STYLE}</style></head>"
        f"<body><main><header><h1>{escape(receipt.utility_name)}</h1>"
        f"<p>{escape(receipt.utility_address)}</p>{tax}<p><strong>{title}</strong></p>{marked}</header>"
        f"<dl>{facts}</dl><table><tbody>{lines}</tbody>"
        f"<tfoot><tr><th>Tendered</th><th>{total}</th></tr></tfoot></table>"
        f'{token}<p class="note">{escape(_DELIVERY[receipt.delivery])}</p></main></body></html>\n'
    )

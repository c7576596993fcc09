"""A sale as a document that a customer can check: JSON, text for a printer, HTML for paper.

The document holds all that is printed; rendering adds nothing, so an old receipt prints the same
for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from typing import Any, Self
from zoneinfo import ZoneInfo

from slotmeter.units import Commodity, Money, commodity_quantity, instant, iso_utc

__all__ = ["Receipt", "ReceiptLine", "group_digits", "render_html", "render_text"]

_DELIVERY = {
    "pending": "Delivery pending: the token is also sent to the meter. "
    "You may type it on the keypad.",
    "keypad": "Type the token on the keypad of the meter.",
    "none": "The amount was added to your account.",
}


def group_digits(digits: str) -> str:
    """Write 20 digits in groups of four, as they are typed."""
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """One line of how the tender was used.

    Args:
        kind: charge, tax, energy, rounding or credit.
        label: for people.
        account: the ledger account it goes to.
        amount_minor: part of the tender.
        quantity: base units (Wh or mL) for energy, else None.
        rate: price per sold unit as text for energy, percent for tax, else None.
    """

    kind: str
    label: str
    account: str
    amount_minor: int
    quantity: int | None = None
    rate: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; the constructor takes it back by name."""
        return {name: getattr(self, name) for name in _LINE_FIELDS}


@dataclass(frozen=True, slots=True)
class Receipt:
    """Everything on the slip.

    Times are UTC epoch microseconds, amounts minor units, quantities Wh or mL.
    """

    receipt_number: str
    sale_id: str
    sold_us: int
    time_zone: str
    utility_name: str
    utility_address: str
    tax_number: str
    branch: str
    operator: str
    channel: str
    customer_number: str
    customer_name: str
    customer_address: str
    account_number: str
    meter_number: str
    commodity: str
    supply_group_code: str | None
    key_revision: int | None
    tariff_index: int | None
    tariff_code: str
    tariff_title: str
    tariff_version: int
    currency: str
    tendered_minor: int
    lines: tuple[ReceiptLine, ...]
    quantity: int
    token: str | None
    delivery: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; :meth:`from_dict` reads it."""
        body = {name: getattr(self, name) for name in _RECEIPT_FIELDS}
        body["lines"] = [line.to_dict() for line in self.lines]
        return body

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`."""
        lines = tuple(ReceiptLine(**line) for line in data["lines"])
        return cls(**{**data, "lines": lines})

    def money(self, minor: int) -> str:
        """Write minor units of this receipt's currency in major units."""
        return str(Money(minor, self.currency))

    def units(self, quantity: int) -> str:
        """Write Wh or mL in the unit that is sold, such as ``12.3 kWh``."""
        return str(commodity_quantity(Commodity(self.commodity))(quantity))

    def document(self) -> dict[str, object]:
        """Return the receipt for programs: money and units as text, times as ISO 8601 UTC."""
        kind = commodity_quantity(Commodity(self.commodity))
        body: dict[str, object] = self.to_dict()
        for name in ("sold_us", "tendered_minor", "quantity", "lines"):
            del body[name]
        body["sold_at"] = iso_utc(self.sold_us)
        body["title"] = "TAX INVOICE" if self.tax_number else "RECEIPT"
        body["tendered"] = self.money(self.tendered_minor)
        body["units"] = kind(self.quantity).sold_text
        body["unit"] = kind.sold_symbol
        body["token_grouped"] = None if self.token is None else group_digits(self.token)
        body["delivery_note"] = _DELIVERY[self.delivery]
        body["lines"] = [self._line(line) for line in self.lines]
        return body

    def _line(self, line: ReceiptLine) -> dict[str, object]:
        kind = commodity_quantity(Commodity(self.commodity))
        return {
            "kind": line.kind,
            "label": line.label,
            "quantity": None if line.quantity is None else kind(line.quantity).sold_text,
            "rate": line.rate,
            "amount": self.money(line.amount_minor),
        }


# Plain tuples: dataclasses.asdict copies deeply, which is a third of a sale's time.
_LINE_FIELDS = tuple(field.name for field in fields(ReceiptLine))
_RECEIPT_FIELDS = tuple(field.name for field in fields(Receipt))


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


COLUMNS = {58: 32, 80: 48}
"""Characters on a line for each paper width in millimetres."""


def render_text(receipt: Receipt, paper_mm: int = 80) -> str:
    """Print for a 58 or 80 mm printer: plain text, one newline at the end of each line."""
    width = COLUMNS[paper_mm]
    rule = "-" * width
    rows: list[str] = []
    heading: Sequence[str] = (
        receipt.utility_name,
        receipt.utility_address,
        f"Tax number {receipt.tax_number}" if receipt.tax_number else "",
        "TAX INVOICE" if receipt.tax_number else "RECEIPT",
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


def render_html(receipt: Receipt) -> str:
    """Write a page of its own that prints well; loads nothing from anywhere."""
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
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} {escape(receipt.receipt_number)}</title><style>{_STYLE}</style></head>"
        f"<body><main><header><h1>{escape(receipt.utility_name)}</h1>"
        f"<p>{escape(receipt.utility_address)}</p>{tax}<p><strong>{title}</strong></p></header>"
        f"<dl>{facts}</dl><table><tbody>{lines}</tbody>"
        f"<tfoot><tr><th>Tendered</th><th>{total}</th></tr></tfoot></table>"
        f'{token}<p class="note">{escape(_DELIVERY[receipt.delivery])}</p></main></body></html>\n'
    )

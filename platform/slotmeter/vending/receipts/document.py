"""The receipt as a document: everything that is printed, as of the moment of the sale.

It is stored as JSON with the sale and never computed again, so that a receipt prints the same for
ever and explains itself when its tariff is long gone. Sales before format 2 stored less; what they
stored reads as format 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from slotmeter.units import Commodity, Energy, Money, Quantity, commodity_quantity, iso_utc

__all__ = [
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
]

FORMAT: Final = 2
"""What new sales are stored as."""

TRIAL: Final = "trial"
"""The mark of a quote: nothing was sold, and zeros stand in place of the token."""

TRAINING: Final = "training"
"""The mark of everything sold for practice: real meters refuse the token."""

TOKEN_DIGITS: Final = 20
KEY_CHANGE: Final = "key_change"

_DELIVERY_NOTE: Final = {
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
        kind: of ``PricedLine``: debt, charge, levy, tax, energy, correction, rounding, credit or
            kept.
        label: for people.
        account: the ledger account it goes to.
        amount_minor: part of the tender.
        quantity: base units (Wh or mL) of lines that are units times a price, else None.
        rate: price per sold unit or percent as text, else None.
        code: the item's code in the tariff, such as ``block1``; None on lines of older sales.
        base_minor: what a percentage was taken of; of a correction see ``PricedLine``.
        period: month or day that a fixed charge is for.
        left_minor: what is left of a debt or a charge after this.
        gross_minor: of energy whose price is published with what lies on it: quantity times
            ``gross_rate``; levies and taxes are in lines of their own all the same.
        gross_rate: that price per sold unit, as text.
        tax_minor: tax within what is repaid of a debt.
        cost_minor: of a correction, what its units had cost; None on lines of older sales.
    """

    kind: str
    label: str
    account: str
    amount_minor: int
    quantity: int | None = None
    rate: str | None = None
    code: str | None = None
    base_minor: int | None = None
    period: str | None = None
    left_minor: int | None = None
    gross_minor: int | None = None
    gross_rate: str | None = None
    tax_minor: int | None = None
    cost_minor: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; the constructor takes it back by name."""
        return {
            name: value
            for name in _LINE_FIELDS
            if (value := getattr(self, name)) is not None or name in _FIRST_LINE_FIELDS
        }


@dataclass(frozen=True, slots=True)
class ReceiptToken:
    """One token to type.

    Args:
        purpose: ``key_change``, ``credit``, ``free`` or another kind of management token.
        digits: 20 digits; zeros on a quote.
        quantity: Wh or mL that it carries, or None.
        minor: money that it carries, or None.
        label: for people, such as the name of the free units.
        period: month that free units are for.
        token_class: class of the token (IEC 62055-41), or None.
        subclass: its subclass, or None.
    """

    purpose: str
    digits: str
    quantity: int | None = None
    minor: int | None = None
    label: str = ""
    period: str | None = None
    token_class: int | None = None
    subclass: int | None = None


@dataclass(frozen=True, slots=True)
class ReceiptDebt:
    """One debt of the account: what this purchase repaid of it (may be zero) and what is left.

    ``tax_minor`` is the tax within what was repaid; None for a debt without tax.
    """

    kind: str
    label: str
    taken_minor: int
    left_minor: int
    tax_minor: int | None = None


@dataclass(frozen=True, slots=True)
class ReceiptFree:
    """Free units of one month that come with the purchase; Wh or mL."""

    code: str
    label: str
    period: str
    quantity: int


@dataclass(frozen=True, slots=True)
class ReceiptOutlook:
    """What comes next; see ``vending.pricing.priced.Outlook``."""

    block: int | None = None
    left_in_block: int | None = None
    next_price: str | None = None
    first_of_month_units: int | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Everything on the slip.

    Times are UTC epoch microseconds, amounts minor units, quantities Wh or mL. What stands from
    ``format`` on came with format 2 and is empty in what was sold before.

    Args:
        format: 1 or 2.
        vendor: who sells; empty when the utility itself does.
        branch: the outlet.
        operator: the person or program at the till.
        terminal: the till, as its key is labelled.
        mark: empty, :data:`TRIAL` or :data:`TRAINING`.
        change_minor: given back in cash.
        kept_minor: kept for the next purchase.
        transfer: ``units`` or ``currency``: what the credit token carries.
        transfer_minor: the money on a currency token.
        token: the credit token.
        tokens: all tokens, see :attr:`typing_order`.
        free: free units with this purchase.
        debts: every open debt, also those that this purchase did not touch, and those it closed.
        prior_units: counted in the block window before this purchase, in :attr:`priced_kind`.
        outlook: what the next unit costs.
        tariff_since_us: when this version of the tariff came into force.
        calorific_value: MJ/m³ that gas was priced with, as text. With it the quantities of lines
            and blocks are Wh, while what is delivered stays mL.
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
    format: int = 1
    vendor: str = ""
    terminal: str = ""
    mark: str = ""
    change_minor: int = 0
    kept_minor: int = 0
    transfer: str = "units"
    transfer_minor: int | None = None
    tokens: tuple[ReceiptToken, ...] = ()
    free: tuple[ReceiptFree, ...] = ()
    debts: tuple[ReceiptDebt, ...] = ()
    prior_units: int | None = None
    outlook: ReceiptOutlook | None = None
    tariff_since_us: int | None = None
    calorific_value: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; :meth:`from_dict` reads it."""
        body = {name: getattr(self, name) for name in _FIRST_FIELDS}
        body["lines"] = [line.to_dict() for line in self.lines]
        for name, nothing in _LATER_FIELDS.items():
            value = getattr(self, name)
            if value == nothing:
                continue
            if name in _PARTS:
                value = [_part(each) for each in value]
            body[name] = _part(value) if isinstance(value, ReceiptOutlook) else value
        return body

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`."""
        given = dict(data)
        given["lines"] = tuple(ReceiptLine(**line) for line in data["lines"])
        for name, kind in _PARTS.items():
            if name in given:
                given[name] = tuple(kind(**part) for part in given[name])
        if given.get("outlook") is not None:
            given["outlook"] = ReceiptOutlook(**given["outlook"])
        return cls(**given)

    @property
    def title(self) -> str:
        """What it is before the law; without a tax number nothing is a tax invoice."""
        if self.mark == TRIAL:
            return "QUOTE"
        return "TAX INVOICE" if self.tax_number else "RECEIPT"

    @property
    def kind(self) -> type[Quantity]:
        """The quantity that is sold."""
        return commodity_quantity(Commodity(self.commodity))

    @property
    def priced_kind(self) -> type[Quantity]:
        """The quantity that lines and blocks count: energy for gas that is priced by energy."""
        return self.kind if self.calorific_value is None else Energy

    @property
    def typing_order(self) -> tuple[ReceiptToken, ...]:
        """All tokens in the order in which they are typed: a change of the key comes first."""
        tokens = self.tokens
        if not tokens and self.token is not None:
            money = self.transfer_minor
            units = self.quantity if money is None else None
            tokens = (ReceiptToken("credit", self.token, quantity=units, minor=money),)
        return tuple(sorted(tokens, key=lambda token: token.purpose != KEY_CHANGE))

    @property
    def has_nothing_to_load(self) -> bool:
        """Say whether neither a meter nor an account got any credit: all went to what was due."""
        return self.delivery == "none" and all(line.kind != "credit" for line in self.lines)

    @property
    def debts_left(self) -> tuple[ReceiptDebt, ...]:
        """Every debt with its balance; from the lines where nothing better was stored."""
        if self.debts:
            return self.debts
        return tuple(
            ReceiptDebt(
                line.code or "debt",
                line.label,
                line.amount_minor,
                line.left_minor,
                line.tax_minor,
            )
            for line in self.lines
            if line.kind == "debt" and line.left_minor is not None
        )

    def as_trial(self) -> Self:
        """Return it as the slip of a quote: marked, with zeros in place of every token."""
        zeros = "0" * TOKEN_DIGITS
        return replace(
            self,
            mark=TRIAL,
            token=None if self.token is None else zeros,
            tokens=tuple(replace(token, digits=zeros) for token in self.tokens),
        )

    def money(self, minor: int) -> str:
        """Write minor units of this receipt's currency in major units."""
        return str(Money(minor, self.currency))

    def units(self, quantity: int) -> str:
        """Write Wh or mL in the unit that is sold, such as ``12.3 kWh``."""
        return str(self.kind(quantity))

    def priced_units(self, quantity: int) -> str:
        """Write a quantity of a line or block in the unit that has the price."""
        return str(self.priced_kind(quantity))

    def document(self) -> dict[str, object]:
        """Return the receipt for programs: money and units as text, times as ISO 8601 UTC.

        A receipt of format 1 is what it always was, without the key ``format``. Format 2 has every
        key of format 1 with the same meaning, and more.
        """
        body: dict[str, object] = {
            name: getattr(self, name) for name in _FIRST_FIELDS if name not in _WRITTEN_ANEW
        }
        body["sold_at"] = iso_utc(self.sold_us)
        body["title"] = self.title
        body["tendered"] = self.money(self.tendered_minor)
        body["units"] = self.kind(self.quantity).sold_text
        body["unit"] = self.kind.sold_symbol
        body["token_grouped"] = None if self.token is None else group_digits(self.token)
        body["delivery_note"] = _DELIVERY_NOTE[self.delivery]
        if self.format == 1:
            body["lines"] = [self._first_line(line) for line in self.lines]
            return body
        return body | self._second_format()

    def _sold(self, quantity: int | None) -> str | None:
        return None if quantity is None else self.kind(quantity).sold_text

    def _priced(self, quantity: int | None) -> str | None:
        return None if quantity is None else self.priced_kind(quantity).sold_text

    def _money(self, minor: int | None) -> str | None:
        return None if minor is None else self.money(minor)

    def _first_line(self, line: ReceiptLine) -> dict[str, object]:
        return {
            "kind": line.kind,
            "label": line.label,
            "quantity": self._priced(line.quantity),
            "rate": line.rate,
            "amount": self.money(line.amount_minor),
        }

    def _second_line(self, line: ReceiptLine) -> dict[str, object]:
        return self._first_line(line) | {
            "code": line.code,
            "base": self._money(line.base_minor),
            "period": line.period,
            "left": self._money(line.left_minor),
            "gross_rate": line.gross_rate,
            "gross": self._money(line.gross_minor),
            "tax": self._money(line.tax_minor),
            "cost": self._money(line.cost_minor),
        }

    def _second_format(self) -> dict[str, object]:
        outlook = self.outlook or ReceiptOutlook()
        since_us = self.tariff_since_us
        note = _DELIVERY_NOTE[self.delivery]
        if self.has_nothing_to_load:
            note = "There is no token with this purchase."
        return {
            "format": self.format,
            "delivery_note": note,
            "mark": self.mark,
            "vendor": self.vendor or self.utility_name,
            "terminal": self.terminal,
            "change": self.money(self.change_minor),
            "kept": self.money(self.kept_minor),
            "transfer": self.transfer,
            "token_credit": self._money(self.transfer_minor),
            "tokens": [self._token(token) for token in self.typing_order],
            "free": [
                {
                    "code": free.code,
                    "label": free.label,
                    "period": free.period,
                    "units": self._sold(free.quantity),
                }
                for free in self.free
            ],
            "debts": [
                {
                    "kind": debt.kind,
                    "label": debt.label,
                    "taken": self.money(debt.taken_minor),
                    "left": self.money(debt.left_minor),
                    "tax": self._money(debt.tax_minor),
                }
                for debt in self.debts_left
            ],
            "lines": [self._second_line(line) for line in self.lines],
            "priced_unit": self.priced_kind.sold_symbol,
            "prior_units": self._priced(self.prior_units),
            "outlook": {
                "block": outlook.block,
                "left_in_block": self._priced(outlook.left_in_block),
                "next_price": outlook.next_price,
                "first_of_month_units": self._sold(outlook.first_of_month_units),
            },
            "tariff_since": None if since_us is None else iso_utc(since_us),
            "calorific_value": self.calorific_value,
        }

    def _token(self, token: ReceiptToken) -> dict[str, object]:
        return {
            "purpose": token.purpose,
            "label": token.label,
            "period": token.period,
            "class": token.token_class,
            "subclass": token.subclass,
            "digits": token.digits,
            "grouped": group_digits(token.digits),
            "units": self._sold(token.quantity),
            "credit": self._money(token.minor),
        }


def _part(value: object) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _PART_FIELDS[type(value)]}


_PARTS: Final[Mapping[str, type[ReceiptToken] | type[ReceiptFree] | type[ReceiptDebt]]] = {
    "tokens": ReceiptToken,
    "free": ReceiptFree,
    "debts": ReceiptDebt,
}

# Plain tuples: dataclasses.asdict copies deeply, which is a third of a sale's time.
_PART_FIELDS: Final[Mapping[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (ReceiptToken, ReceiptFree, ReceiptDebt, ReceiptOutlook)
}
_LINE_FIELDS = tuple(field.name for field in fields(ReceiptLine))
_FIRST_LINE_FIELDS = frozenset(_LINE_FIELDS[: _LINE_FIELDS.index("rate") + 1])
_ALL_FIELDS = tuple(field.name for field in fields(Receipt))
_FIRST_FIELDS = _ALL_FIELDS[: _ALL_FIELDS.index("format")]
_LATER_FIELDS = {
    field.name: field.default for field in fields(Receipt) if field.name not in _FIRST_FIELDS
}
_WRITTEN_ANEW = frozenset({"sold_us", "tendered_minor", "quantity", "lines"})

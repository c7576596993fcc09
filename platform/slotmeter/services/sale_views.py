"""A sale and a quote as their seller sees them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from slotmeter.ports import Row
from slotmeter.services.key_change_steps import KEY_CHANGE
from slotmeter.services.pricing import Purchase
from slotmeter.services.sold_tokens import FREE, paid_token
from slotmeter.units import Commodity, Energy, Money, Quantity, commodity_quantity
from slotmeter.vending.accounts import masked_name
from slotmeter.vending.pricing.priced import FreeGiven, Outlook
from slotmeter.vending.receipts import ReceiptLine
from slotmeter.vending.receipts.assembly import receipt_lines

__all__ = ["QuoteView", "SaleView", "SoldToken", "quote_view", "sale_view"]


@dataclass(frozen=True, slots=True)
class QuoteView:
    """What a purchase would give; nothing is booked.

    Args:
        quantity: Wh or mL of the paid token; 0 without one.
        transfer_minor: money of a currency token, or None.
        free: free units that would come with it, each by a token of its own.
        kept_minor: what would be kept for the next purchase.
        priced_kind: of what lines and blocks count: energy for gas that is priced by energy.
    """

    meter: str
    customer: str  # masked
    commodity: str
    currency: str
    tendered: str
    quantity: int
    lines: tuple[ReceiptLine, ...]
    transfer_minor: int | None
    free: tuple[FreeGiven, ...]
    outlook: Outlook
    kept_minor: int
    prior_units: int
    priced_kind: type[Quantity]


class SoldToken(msgspec.Struct, frozen=True):
    """One token of a sale.

    Args:
        purpose: ``key_change``, ``credit`` or ``free``.
        digits: 20 digits; None until the sale is issued.
        quantity: Wh or mL; None for a token of money.
        minor: money of a currency token, else None.
        label: of the free units, else empty.
        period: month that free units are for, else None.
    """

    purpose: str
    digits: str | None
    quantity: int | None
    minor: int | None = None
    label: str = ""
    period: str | None = None


class SaleView(msgspec.Struct, frozen=True):
    """A sale as its seller sees it; times are UTC epoch microseconds.

    ``token`` is the paid one; ``tokens`` are all, in the order in which they are typed.
    """

    row_id: int
    sale_id: str
    receipt_number: str
    state: str
    meter: str
    commodity: str
    credit_mode: str
    currency: str
    tendered_minor: int
    quantity: int
    token: str | None
    tokens: tuple[SoldToken, ...]
    transfer_minor: int | None
    sold_us: int
    issued_us: int | None
    delivery: str
    sent_us: int | None
    accepted_us: int | None
    verified_us: int | None

    @property
    def tendered(self) -> str:
        """The tender in major units."""
        return str(Money(self.tendered_minor, self.currency))

    @property
    def units(self) -> str:
        """The amount in kWh or m³, without the unit."""
        return commodity_quantity(Commodity(self.commodity))(self.quantity).sold_text

    @property
    def unit(self) -> str:
        """The unit of :attr:`units`."""
        return commodity_quantity(Commodity(self.commodity)).sold_symbol


def quote_view(purchase: Purchase) -> QuoteView:
    """Return a priced purchase as a quote."""
    priced = purchase.priced
    return QuoteView(
        meter=purchase.supply.meter_number,
        customer=masked_name(purchase.supply.customer_name),
        commodity=purchase.supply.commodity.value,
        currency=purchase.tariff.currency,
        tendered=str(Money(priced.tender_minor, purchase.tariff.currency)),
        quantity=priced.units,
        lines=receipt_lines(priced.lines),
        transfer_minor=priced.transfer_minor,
        free=priced.free,
        outlook=priced.outlook,
        kept_minor=priced.kept_minor,
        prior_units=purchase.situation.prior_units,
        priced_kind=Energy
        if priced.calorific_value is not None
        else commodity_quantity(purchase.supply.commodity),
    )


def sale_view(sale: Row, tokens: Sequence[Row]) -> SaleView:
    """Return a sale with its tokens.

    Args:
        sale: a row of the reads ``sale_by_...``.
        tokens: its rows of the read ``tokens_of_sale``.
    """
    paid = paid_token(tokens)
    return SaleView(
        row_id=sale["id"],
        sale_id=sale["sale_id"],
        receipt_number=sale["receipt_number"],
        state=sale["state"],
        meter=sale["meter_number"],
        commodity=sale["commodity"],
        credit_mode=sale["credit_mode"],
        currency=sale["currency"],
        tendered_minor=sale["tender_minor"],
        quantity=sale["units"],
        token=None if paid is None else paid["digits"],
        tokens=_sold_tokens(sale, tokens),
        transfer_minor=sale["transfer_minor"],
        sold_us=sale["sold_us"],
        issued_us=sale["issued_us"],
        delivery=sale["delivery"],
        sent_us=sale["sent_us"],
        accepted_us=sale["accepted_us"],
        verified_us=sale["verified_us"],
    )


def _sold_tokens(sale: Row, tokens: Sequence[Row]) -> tuple[SoldToken, ...]:
    has_free = any(token["purpose"] == FREE for token in tokens)
    given: list[dict[str, Any]] = json.loads(sale["particulars"])["free"] if has_free else []
    free = iter(given)
    sold = []
    for token in tokens:
        if token["purpose"] == FREE:
            of = next(free)
            sold.append(
                SoldToken(
                    FREE,
                    token["digits"],
                    token["amount"],
                    label=of["label"],
                    period=of["period"],
                )
            )
            continue
        is_credit = token["purpose"] != KEY_CHANGE
        minor = sale["transfer_minor"] if is_credit else None
        quantity = token["amount"] if is_credit and minor is None else None
        sold.append(SoldToken(token["purpose"], token["digits"], quantity, minor))
    return tuple(sold)

"""Price lists of the first release: one price, one tax, one monthly charge.

Databases hold them, and sales under them must price the same for ever: the tax is split off the
tender by division, it lies on energy and rounding together, and units are cut to 0.1.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from slotmeter.units import Commodity
from slotmeter.vending.tariff.fields import PRICE, NumberRule, Section, Units
from slotmeter.vending.tariff.keys import KEYS
from slotmeter.vending.tariff.marks import Entries, Node
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Counter,
    Energy,
    FixedItem,
    PercentItem,
    PurchaseRule,
    RoundingRules,
    SplitBy,
    Table,
    TableRule,
    Tariff,
)
from slotmeter.vending.tariff.prices import STANDARD

__all__ = ["is_flat", "read_flat"]

_PERCENT: Final = NumberRule("a percentage", "16", 20, Decimal(0), Decimal(10) ** 12)


def is_flat(node: Node) -> bool:
    """Say whether a document is of the first release."""
    return (
        isinstance(node, Entries)
        and "price" in node.items
        and node.items.keys() <= set(KEYS["flat tariff"])
    )


def read_flat(document: Section, units: Units, commodity: Commodity) -> Tariff:
    """Read a document of the first release."""
    price = document.number("price", PRICE)
    if price is not None and not price:
        document.add("price", "expected a price of more than 0")
    title = document.text("title") or ""
    fixed = _charge(document, units)
    tax = _tax(document, fixed)
    purchase = document.part("purchase", "flat limits")
    limits: tuple[PurchaseRule, ...] = ()
    if purchase is not None and purchase.count:
        low, high = (purchase.number(key, units.money) for key in ("minimum", "maximum"))
        limits = (PurchaseRule(low, high),)
    table = Table(STANDARD, (Block(None, price or Decimal(1)),))
    return Tariff(
        code=document.text("tariff", 40) or "",
        title=title,
        commodity=commodity,
        currency=units.currency,
        energy=Energy(title, {STANDARD: table}, (TableRule(ALWAYS, STANDARD),), Counter()),
        fixed_items=() if fixed is None else (fixed[0],),
        percent_items=() if tax is None else (tax,),
        purchase=limits,
        rounding=RoundingRules(split_by=SplitBy.TENDER),
    )


def _charge(document: Section, units: Units) -> tuple[FixedItem, bool] | None:
    part = document.part("fixed_charge", "flat charge")
    if part is None:
        return None
    for key in ("code", "label", "amount"):
        part.require(key)
    item = FixedItem(
        code=part.text("code", 20) or "",
        label=part.text("label", 40) or "",
        amount=part.number("amount", units.money) or Decimal(0),
    )
    return item, part.flag("taxed", True)


def _tax(document: Section, fixed: tuple[FixedItem, bool] | None) -> PercentItem | None:
    part = document.part("tax", "flat tax")
    if part is None:
        return None
    part.require("name")
    part.require("percent")
    name = part.text("name", 20) or ""
    on_fixed = fixed is not None and fixed[1]
    return PercentItem(
        code=name,
        label=name,
        percent=part.number("percent", _PERCENT) or Decimal(0),
        on=("fixed", "energy") if on_fixed else ("energy",),
        is_tax=True,
    )

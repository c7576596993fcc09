"""Small tariffs and a buyer, for tests of pricing that want to say one thing each."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from slotmeter.units import Commodity
from slotmeter.vending.pricing.priced import Priced, PricedLine
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Counter,
    Energy,
    PercentItem,
    Table,
    TableRule,
    Tariff,
)

__all__ = ["BUYER", "BUYS_AT_US", "TIME_OF_USE", "VAT_15", "line_of", "small_tariff"]

BUYS_AT_US: Final = 1_780_000_000_000_000
"""2026-05-28T20:26:40Z, 23:26 in Nairobi."""

BUYER: Final = Situation(BUYS_AT_US, "Africa/Nairobi", account_number="A00000001")

VAT_15: Final = PercentItem("vat", "VAT", Decimal(15), ("energy", "fixed"), is_tax=True)

TIME_OF_USE: Final = """
energy:
  tables:
    tou: {periods: {off_peak: 1.2, peak: 4.5}, advance_price: 2.4}
calendar:
  seasons: {high: {from: 06-01, to: 08-31}, low: {from: 09-01, to: 05-31}}
  days:
    - {seasons: [high], weekdays: [monday-friday], hours: {00:00: off_peak, 06:00: peak}}
    - {seasons: [low], weekdays: [monday-friday], hours: {"00:00": off_peak, "07:30": peak}}
    - {weekdays: [saturday, sunday], holidays: true, hours: {00:00: off_peak}}
  holidays: {country: ZA, dates: [2026-05-02], through: 2027}
"""
"""Prices by the time of use, as a document says them."""


def small_tariff(
    *blocks: tuple[int | None, str], table: Table | None = None, **more: Any
) -> Tariff:
    """Return a tariff of the given blocks, (limit in base units, price); of one price of 2 if none.

    Args:
        blocks: of the table ``standard``.
        table: in place of them.
        more: fields of :class:`Tariff`; also ``counter``, ``rules`` and more ``tables`` of energy.
    """
    prices = tuple(Block(up_to, Decimal(price)) for up_to, price in blocks)
    table = table or Table("standard", prices or (Block(None, Decimal(2)),))
    counter = more.pop("counter", Counter())
    rules = more.pop("rules", (TableRule(ALWAYS, table.code),))
    tables = {table.code: table, **more.pop("tables", {})}
    return Tariff(
        code="t",
        title="T",
        commodity=more.pop("commodity", Commodity.ELECTRICITY),
        currency=more.pop("currency", "ZAR"),
        energy=Energy("Energy", tables, rules, counter),
        **more,
    )


def line_of(priced: Priced, kind: str, code: str | None = None) -> PricedLine:
    """Return the one line of a kind, and of a code if one is given."""
    (found,) = (each for each in priced.lines if each.kind == kind and code in (None, each.code))
    return found

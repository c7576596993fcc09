"""A tariff document, YAML or JSON, as a :class:`~slotmeter.vending.tariff.model.Tariff`.

The language is described in ``docs/reference/tariffs.md``. Reading collects every problem, each
with its path and, for text, its line and column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast
from zoneinfo import ZoneInfo

from slotmeter.units import CURRENCY_EXPONENTS, Commodity, Energy, Volume
from slotmeter.vending.tariff.costs import check_prices
from slotmeter.vending.tariff.fields import Section, Units
from slotmeter.vending.tariff.flat import is_flat, read_flat
from slotmeter.vending.tariff.items import Sold, read_items
from slotmeter.vending.tariff.marks import (
    Entries,
    Node,
    marks_by_path,
    plain,
    read_plain,
    read_yaml,
)
from slotmeter.vending.tariff.model import EnergyContent, Tariff
from slotmeter.vending.tariff.prices import read_energy
from slotmeter.vending.tariff.problems import Problem, Problems, TariffProblems, excerpt
from slotmeter.vending.tariff.rules import (
    read_debts,
    read_energy_content,
    read_purchase,
    read_rounding,
)
from slotmeter.vending.tariff.seasons import period_names, read_calendar

__all__ = ["Reading", "check_tariff", "parse_tariff", "read_tariff", "stored_tariff"]

_TWO_DECIMALS = 2
_CURRENCY = re.compile(r"[A-Z]{3}")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_ZONE = re.compile(r"[A-Za-z0-9+_-]{1,32}(?:/[A-Za-z0-9+_-]{1,32}){0,2}")


@dataclass(frozen=True, slots=True)
class Reading:
    """A document that was read.

    Args:
        document: as JSON-able values, numbers as the texts that were written; what is stored.
        tariff: what it says.
        warnings: what is legal but deserves a look.
    """

    document: Mapping[str, object]
    tariff: Tariff
    warnings: tuple[Problem, ...]


def check_tariff(text: str) -> Reading:
    """Read a tariff from YAML or JSON text.

    Raises:
        TariffProblems: all that is wrong, each with line and column.
    """
    node = read_yaml(text)
    problems = Problems(marks_by_path(node))
    tariff = _read(node, problems)
    return Reading(cast("Mapping[str, object]", plain(node)), tariff, tuple(problems.warnings))


def read_tariff(text: str) -> tuple[dict[str, object], Tariff]:
    """Read a tariff from YAML or JSON text; return what is to be stored, and what it says.

    Raises:
        TariffProblems: all that is wrong, each with line and column.
    """
    reading = check_tariff(text)
    return dict(reading.document), reading.tariff


def parse_tariff(document: object) -> Tariff:
    """Read a tariff from plain values: mappings, lists, texts, whole numbers, booleans.

    Raises:
        TariffProblems: all that is wrong, each with its path.
    """
    return _read(read_plain(document), Problems())


@lru_cache(maxsize=1_000)
def stored_tariff(body: str) -> Tariff:
    """Read a tariff version as the database keeps it: JSON text that was checked when it came in.

    Versions never change, so that each is read once.
    """
    return parse_tariff(json.loads(body))


def _read(node: Node, problems: Problems) -> Tariff:
    if not isinstance(node, Entries):
        raise TariffProblems.of([Problem("", "expected a tariff: keys with values", node.mark)])
    flat = is_flat(node)
    document = Section(node, "", "flat tariff" if flat else "tariff", problems)
    for key in ("tariff", "title", "commodity", "currency"):
        document.require(key)
    commodity = document.choice("commodity", Commodity, Commodity.ELECTRICITY)
    content = None if flat else read_energy_content(document)
    if content is not None and commodity is not Commodity.GAS:
        document.add("energy_content", "only gas is measured by volume and priced by energy")
    units = _units(document, commodity, content)
    if flat:
        tariff = read_flat(document, units, commodity)
    else:
        tariff = _read_whole(document, units, commodity, content)
    problems.raise_any()
    return tariff


def _units(document: Section, commodity: Commodity, content: EnergyContent | None) -> Units:
    currency = document.text("currency") or ""
    if currency and not _CURRENCY.fullmatch(currency):
        document.add("currency", f"expected an ISO 4217 code such as KES, got {excerpt(currency)}")
    by_energy = commodity is Commodity.ELECTRICITY or content is not None
    kind = Energy if by_energy else Volume
    return Units(
        currency=currency,
        coin_decimals=CURRENCY_EXPONENTS.get(currency, _TWO_DECIMALS),
        per_sold_unit=kind.per_sold_unit,
        symbol=kind.sold_symbol,
    )


def _read_whole(
    document: Section, units: Units, commodity: Commodity, content: EnergyContent | None
) -> Tariff:
    code, title = document.text("tariff", 40) or "", document.text("title") or ""
    if code and not _CODE.fullmatch(code):
        document.add("tariff", f"expected letters, digits, '.', '_' and '-', got {excerpt(code)}")
    calendar = read_calendar(document)
    document.require("energy", "it says what a unit costs")
    section = document.part("energy", "energy")
    if section is None:  # which is a problem already; the rest shall be read all the same
        section = Section(Entries({}), "energy", None, Problems())
    periods = period_names(calendar)
    energy = read_energy(section, units, title, periods, price_optional=content is not None)
    if calendar is not None and not any(table.periods for table in energy.tables.values()):
        document.problems.warn("calendar", "no table has prices by period, so it is not used")
    rounding = read_rounding(document, units)
    blocks_max = max((len(table.blocks) for table in energy.tables.values()), default=0)
    has_lifeline = any(table.lifeline for table in energy.tables.values())
    sold = Sold(blocks_max, has_lifeline, energy.counter)
    items = read_items(document, units, sold, rounding.fixed_step is not None)
    check_prices(energy.tables, items.unit_items, items.percent_items, document.problems)
    purchase, too_small = read_purchase(document, units)
    return Tariff(
        code=code,
        title=title,
        commodity=commodity,
        currency=units.currency,
        energy=energy,
        unit_items=items.unit_items,
        fixed_items=items.fixed_items,
        percent_items=items.percent_items,
        free_units=items.free_units,
        purchase=purchase,
        too_small=too_small,
        debt_caps=read_debts(document, units),
        rounding=rounding,
        energy_content=content,
        calendar=calendar,
        average_months=document.integer("average_months", 1, 36) or 12,
        time_zone=_time_zone(document),
        valid_until=document.day("valid_until"),
        prices_since=document.day("prices_since"),
        source=document.text("source", 500) or "",
    )


def _time_zone(document: Section) -> str | None:
    name = document.text("time_zone")
    if name is None:
        return None
    try:
        if _ZONE.fullmatch(name):
            ZoneInfo(name)
            return name
    except (ValueError, KeyError, OSError):
        pass
    document.add(
        "time_zone", f"expected an IANA time zone such as Africa/Nairobi, got {excerpt(name)}"
    )
    return None

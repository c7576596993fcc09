"""Levies, percentages, taxes, fixed charges and free units, as a document says them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from slotmeter.vending.tariff.checks import in_order
from slotmeter.vending.tariff.conditions import read_when
from slotmeter.vending.tariff.fields import AMOUNT, PERCENT, RATE, NumberRule, Section, Units, whole
from slotmeter.vending.tariff.gross import ALL, together
from slotmeter.vending.tariff.keys import RESERVED_CODES
from slotmeter.vending.tariff.model import (
    ALWAYS,
    BlockWindow,
    Collection,
    Condition,
    Counter,
    FixedItem,
    FreeUnits,
    Measure,
    Missed,
    PercentItem,
    Split,
    UnitItem,
    UseBand,
)

__all__ = ["Items", "Sold", "read_items"]


@dataclass(frozen=True, slots=True)
class Sold:
    """What the tables of a tariff have that items may be narrowed to.

    Args:
        blocks_max: the most blocks that a table has.
        has_lifeline: some table has a lifeline.
        counter: of the tariff.
    """

    blocks_max: int
    has_lifeline: bool
    counter: Counter


@dataclass(frozen=True, slots=True)
class Items:
    """All that is added to the price of energy."""

    unit_items: tuple[UnitItem, ...]
    percent_items: tuple[PercentItem, ...]
    fixed_items: tuple[FixedItem, ...]
    free_units: tuple[FreeUnits, ...]


def read_items(document: Section, units: Units, sold: Sold, fixed_step: bool) -> Items:
    """Read the item sections of a document.

    Args:
        document: the whole.
        units: of the tariff.
        sold: what its tables have.
        fixed_step: amounts are rounded to a step, so that they may have more decimals than coins.
    """
    groups = {
        "levies": document.named("levies", "levy"),
        "percentages": document.named("percentages", "percentage"),
        "taxes": document.named("taxes", "tax"),
        "fixed": document.named("fixed", "fixed charge"),
        "free_units": document.named("free_units", "free units"),
    }
    _check_names(groups)
    unit_items = tuple(_levy(code, part, units, sold) for code, part in groups["levies"])
    fixed = [_fixed(code, part, units, sold, fixed_step) for code, part in groups["fixed"]]
    percents = [
        _percent(code, part, units, sold, is_tax=group == "taxes")
        for group in ("percentages", "taxes")
        for code, part in groups[group]
    ]
    paths = {code: part.path for group in groups.values() for code, part in group}
    others = {code: group for group in ("levies", "fixed") for code, _ in groups[group]}
    ordered = in_order(percents, others, paths, document.problems)
    _check_included(ordered, paths, document)
    _check_gross(ordered, paths, document)
    _check_lifeline(ordered, (item.code for item in unit_items), paths, document)
    for (_, part), item in zip(groups["fixed"], fixed, strict=True):
        if part.has("includes_tax") and not item.includes_tax:
            _check_without_tax(item, part, ordered)
    return Items(
        unit_items=unit_items,
        percent_items=ordered,
        fixed_items=tuple(fixed),
        free_units=tuple(_free(code, part, units) for code, part in groups["free_units"]),
    )


def _check_names(groups: Mapping[str, Sequence[tuple[str, Section]]]) -> None:
    seen: dict[str, str] = {}
    for group, parts in groups.items():
        for code, part in parts:
            if code in RESERVED_CODES:
                part.add("", f"{code} has a meaning of its own; take another name")
            elif code in seen:
                part.add("", f"{code} is the name of one of {seen[code]} already")
            seen[code] = group


def _levy(code: str, part: Section, units: Units, sold: Sold) -> UnitItem:
    part.require("per_unit")
    return UnitItem(
        code=code,
        label=part.text("label") or code,
        price=part.number("per_unit", RATE) or Decimal(0),
        blocks=_block_numbers(part, sold.blocks_max),
        when=read_when(part, units),
        lifeline=_on_lifeline(part, sold),
    )


def _block_numbers(part: Section, blocks_max: int) -> frozenset[int] | None:
    if not part.has("blocks"):
        return None
    if not blocks_max:
        part.add("blocks", "no table of this tariff has blocks")
        return None
    rule = whole("the number of a block", 1, blocks_max)
    return frozenset(part.numbers("blocks", rule)) or None


def _on_lifeline(part: Section, sold: Sold) -> bool:
    if part.has("lifeline") and not sold.has_lifeline:
        part.add("lifeline", "no table of this tariff has a lifeline")
        return True
    return part.flag("lifeline", True)


def _check_lifeline(
    items: Iterable[PercentItem], levies: Iterable[str], paths: Mapping[str, str], document: Section
) -> None:
    """Warn of percentages that the lifeline cannot narrow: none of their bases is units."""
    of_units = {"energy", "levies", *levies}
    for item in items:
        if not item.lifeline and of_units.isdisjoint(item.on):
            document.problems.warn(
                f"{paths[item.code]}.lifeline",
                "it is not taken of units but of other items, and of all that these come to; "
                "write lifeline: false there",
            )


def _percent(code: str, part: Section, units: Units, sold: Sold, *, is_tax: bool) -> PercentItem:
    part.require("percent")
    part.require("on", "it says of what the percentage is taken, such as [energy]")
    on = tuple(word for word, _ in part.words("on"))
    blocks = _block_numbers(part, sold.blocks_max)
    lifeline = _on_lifeline(part, sold)
    if not lifeline and "tender" in on:
        part.add("lifeline", "a percentage of the tender does not look at what is bought")
    included = part.flag("included", False)
    if included and "tender" in on:
        part.add("included", "the tender is not a price, so that no percentage is included in it")
    of_gross = part.flag("of_gross", False)
    if of_gross and "tender" in on:
        part.add("of_gross", "the tender is all that is paid, with everything in it")
    return PercentItem(
        code=code,
        label=part.text("label") or code,
        percent=part.number("percent", PERCENT) or Decimal(0),
        on=on,
        is_tax=is_tax,
        blocks=blocks,
        included=included,
        when=read_when(part, units),
        lifeline=lifeline,
        of_gross=of_gross,
        minimum=_end(part, "minimum", units, on),
        maximum=_end(part, "maximum", units, on),
    )


def _end(part: Section, key: str, units: Units, on: Sequence[str]) -> Decimal | None:
    """Read the least, or the most, that a percentage of the tender comes to."""
    amount = part.number(key, units.money)
    if amount is None:
        return None
    if list(on) != ["tender"]:
        part.add(key, "only percentages of the tender have it: on: [tender]")
    percent = part.number("percent", PERCENT)
    if percent is not None and percent < 0:
        part.add(key, "a percentage that is given back has no least and no most")
    low = part.number("minimum", units.money)
    if key == "maximum" and low is not None and low > amount:
        part.add(key, f"expected at least the minimum of {low:f}, got {amount:f}")
    return amount


def _check_gross(items: Iterable[PercentItem], paths: Mapping[str, str], document: Section) -> None:
    """Check that percentages of one gross leave something of it."""
    always = [item for item in items if item.when == ALWAYS]
    for shared, percent in together(always).items():
        if percent >= ALL:
            first = next(item for item in always if item.of_gross and item.shares == shared)
            document.problems.add(
                f"{paths[first.code]}.percent",
                f"nothing of the gross would be left: {percent:f} % of it are taken",
            )


def _check_included(
    items: Iterable[PercentItem], paths: Mapping[str, str], document: Section
) -> None:
    """A price that holds a tax holds the percentages that the tax is taken of."""
    by_code = {item.code: item for item in items}
    for item in by_code.values():
        for base in item.on:
            below = by_code.get(base)
            if item.included and below is not None and not below.included:
                document.problems.add(
                    f"{paths[item.code]}.included",
                    f"the published price holds {item.code}, which is taken of {base}, so that it "
                    f"must hold {base} too: write included: true there, or leave it out here",
                )


def _check_without_tax(item: FixedItem, part: Section, percents: Iterable[PercentItem]) -> None:
    for each in percents:
        if each.included and not {"fixed", item.code}.isdisjoint(each.on):
            part.add(
                "includes_tax",
                f"{each.code} is included in the published amounts that it lies on, of which this "
                "is one; make a second tax for this charge",
            )


# --- fixed charges and free units ---------------------------------------------------------------


def _fixed(code: str, part: Section, units: Units, sold: Sold, fixed_step: bool) -> FixedItem:
    if not part.has("by_connection") and not part.has("by_use"):
        part.require("amount")
    collect = part.choice("every", Collection, Collection.MONTH)
    measure = part.choice("per", Measure, Measure.FLAT)
    is_multiplied = collect is Collection.DAY or measure is not Measure.FLAT
    rule = AMOUNT if is_multiplied or fixed_step else units.money
    lifeline = _on_lifeline(part, sold)
    _check_by_use(part, sold, collect)
    if collect is Collection.PURCHASE:
        for key in ("missed", "months_max"):
            if part.has(key):
                part.add(key, "a charge on every purchase has no periods that could be missed")
    default = Missed.ACCUMULATE if collect is Collection.DAY else Missed.LAPSE
    missed = part.choice("missed", Missed, default)
    if part.has("months_max") and missed is Missed.LAPSE and collect is not Collection.PURCHASE:
        part.add("months_max", "only charges with missed: accumulate have it")
    return FixedItem(
        code=code,
        label=part.text("label") or code,
        amount=part.number("amount", rule) or Decimal(0),
        includes_tax=part.flag("includes_tax", False),
        amounts=_by_connection(part, rule),
        collect=collect,
        missed=missed,
        months_max=part.integer("months_max", 1, 120) or 120,
        measure=measure,
        split=_split(part, units, collect),
        when=_when_in_time(part, units, collect),
        by_use=_bands(part, units, rule),
        lifeline=lifeline,
    )


def _when_in_time(part: Section, units: Units, collect: Collection) -> Condition:
    """Read the condition of what is due by period, or with every purchase."""
    when = read_when(part, units)
    if when.is_by_tender and collect is not Collection.PURCHASE:
        part.add(
            "when", f"tender is of one purchase, and this is due by {collect.value}; leave it out"
        )
    return when


def _by_connection(part: Section, rule: NumberRule) -> dict[str, Decimal] | None:
    sizes = part.part("by_connection", None)
    if sizes is None:
        return None
    if not sizes.count:
        sizes.add("", 'expected sizes with amounts, as {"15 mm": 87.29}')
    if not part.has("amount"):
        part.problems.warn(
            part.path, "connections that are not listed pay nothing; amount says what they pay"
        )
    read = ((size, sizes.number(size, rule)) for size in sizes)
    return {size: amount for size, amount in read if amount is not None}


def _check_by_use(part: Section, sold: Sold, collect: Collection) -> None:
    """Check a charge that depends on the window's total against what else it says."""
    counter = sold.counter
    for key in ("by_use", "lifeline"):
        if not part.has(key):
            continue
        if part.has("split"):
            part.add("split", f"what it is a share of depends on the units: leave {key} or it out")
        if collect is Collection.DAY or (key == "by_use" and collect is not Collection.MONTH):
            part.add("every", f"only charges of a month have {key}")
    if not part.has("by_use"):
        return
    for key in ("amount", "by_connection"):
        if part.has(key):
            part.add(key, "by_use says the amounts; write a second charge for others, with when")
    if counter.window is BlockWindow.ROLLING or counter.months != 1:
        part.add("by_use", "a charge of a month needs a counter whose window is a month")


def _bands(part: Section, units: Units, rule: NumberRule) -> tuple[UseBand, ...]:
    parts = part.parts("by_use", "use band")
    bands: list[UseBand] = []
    before = Decimal(0)
    for number, each in enumerate(parts, 1):
        each.require("amount")
        limit, amount = each.number("to", units.quantity), each.number("amount", rule)
        is_last = number == len(parts)
        if each.has("to") == is_last:
            text = "to is missing: only the last one is without limit"
            each.add("to" if is_last else "", "the last one is without limit" if is_last else text)
        if limit is not None and limit <= before:
            each.add("to", f"limits rise: expected more than {before:f}, got {limit:f}")
        before = before if limit is None else limit
        if amount is not None:
            bands.append(UseBand(None if limit is None else units.base(limit), amount))
    return tuple(bands)


def _split(part: Section, units: Units, collect: Collection) -> Split | None:
    split = part.part("split", "split")
    if split is None:
        return None
    split.require("below")
    below = split.number("below", units.money)
    if below is not None and not below:
        split.add("below", "expected an amount of more than 0")
    if collect is not Collection.MONTH:
        part.add("split", "only charges of a month are split over its purchases")
    return None if below is None else Split(below)


def _free(code: str, part: Section, units: Units) -> FreeUnits:
    part.require("units")
    amount = part.number("units", units.quantity)
    if amount is not None and not amount:
        part.add("units", "expected an amount of more than 0")
    missed = part.choice("missed", Missed, Missed.LAPSE)
    if part.has("months_max") and missed is not Missed.ACCUMULATE:
        part.add("months_max", "only free units with missed: accumulate have it")
    return FreeUnits(
        code=code,
        label=part.text("label") or code,
        units=units.base(amount or Decimal(0)),
        accumulates=missed is Missed.ACCUMULATE,
        months_max=part.integer("months_max", 1, 120) or 12,
        needs_registration=part.flag("registered", True),
        when=_when_in_time(part, units, Collection.MONTH),
    )

"""The part ``energy`` of a document: tables of prices, which of them counts, the block counter."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from slotmeter.vending.tariff.checks import check_uses
from slotmeter.vending.tariff.conditions import read_condition
from slotmeter.vending.tariff.fields import PRICE, Section, Units, known_word
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    BlockWindow,
    Counter,
    Energy,
    Lifeline,
    Missed,
    Table,
    TableRule,
)

__all__ = ["read_energy"]

STANDARD = "standard"
"""What the only table of a tariff is called."""

_WAYS = ("price", "blocks", "periods")
_TABLE_KEYS = ("price", "blocks", "whole", "lifeline", "periods", "advance_price")


def read_energy(
    section: Section,
    units: Units,
    title: str,
    periods: Sequence[str],
    *,
    price_optional: bool = False,
) -> Energy:
    """Read ``energy``.

    Args:
        section: what stands there.
        units: of the tariff.
        title: of the tariff, the label if none is given.
        periods: that the calendar knows.
        price_optional: it may do without a price, because it is for turning volume into energy;
            nothing can be sold by it then.
    """
    label = section.text("label") or title
    if section.has("tables"):
        for key in _TABLE_KEYS:
            if section.has(key):
                section.add(key, f"with tables, {key} belongs into each of them")
        tables = {
            code: read_table(part, code, units, periods)
            for code, part in section.named("tables", "table")
        }
        if not tables:
            section.add("tables", "expected at least one table")
        rules = _rules(section, units, list(tables))
    else:
        if section.has("use"):
            section.add("use", "there is one table only; use chooses among those under tables")
        if price_optional and not any(section.has(key) for key in (*_WAYS, *_TABLE_KEYS)):
            section.problems.warn(
                section.path, "it has no price, so that nothing can be sold by it"
            )
            tables = {STANDARD: Table(STANDARD)}
        else:
            tables = {STANDARD: read_table(section, STANDARD, units, periods)}
        rules = (TableRule(ALWAYS, STANDARD),)
    counter = _counter(section)
    if counter.window is BlockWindow.ROLLING and any(
        each.period_blocks for each in tables.values()
    ):
        section.add("counter", "blocks of a period need a window that begins once; this one rolls")
    return Energy(label, tables, rules, counter)


def _rules(section: Section, units: Units, tables: list[str]) -> tuple[TableRule, ...]:
    if not section.has("use"):
        if len(tables) != 1:
            section.require("use", "it says which table prices whom or when")
            return ()
        return (TableRule(ALWAYS, tables[0]),)
    rules: list[TableRule] = []
    for part in section.parts("use", "use rule"):
        part.require("table")
        table = part.text("table")
        if table is not None and table not in tables:
            part.add("table", known_word(table, tables))
        rules.append(TableRule(read_condition(part, units), table or ""))
    check_uses(rules, section.at("use"), section.problems)
    unused = sorted(set(tables) - {rule.table for rule in rules})
    for code in unused:
        section.problems.warn(f"{section.at('tables')}.{code}", "no rule of use names this table")
    return tuple(rules)


def _counter(section: Section) -> Counter:
    part = section.part("counter", "counter")
    if part is None:
        return Counter()
    window = part.choice("window", BlockWindow, BlockWindow.CALENDAR_MONTH)
    for key, needed in (
        ("start_day", BlockWindow.BILLING_PERIOD),
        ("days", BlockWindow.ROLLING),
    ):
        if part.has(key) and window is not needed:
            part.add(key, f"only a window of {needed.value} has {key}; this one is {window.value}")
        elif window is needed:
            part.require(key, f"a window of {needed.value} needs it")
    months = part.integer("months", 1, 12) or 1
    if 12 % months:
        part.add("months", f"expected 1, 2, 3, 4, 6 or 12, which divide a year, got {months}")
    elif part.has("months") and window is BlockWindow.ROLLING:
        part.add("months", "a rolling window is counted in days")
    missed = part.choice("missed", Missed, Missed.LAPSE)
    if part.has("months_max") and missed is not Missed.ACCUMULATE:
        part.add("months_max", "only counters with missed: accumulate have it")
    if missed is Missed.ACCUMULATE and window is BlockWindow.ROLLING:
        part.add("missed", "a rolling window has no months that could be missed")
    return Counter(
        window=window,
        start_day=part.integer("start_day", 1, 28) or 1,
        days=part.integer("days", 1, 366) or 30,
        counts_free=part.flag("counts_free", False),
        missed=missed,
        months_max=part.integer("months_max", 1, 120) or 12,
        months=months,
    )


# --- one table ----------------------------------------------------------------------------------


def read_table(section: Section, code: str, units: Units, periods: Sequence[str]) -> Table:
    """Read one set of prices; a section may hold other keys beside."""
    ways = [key for key in _WAYS if section.has(key)]
    if len(ways) > 1 or all(section.lacks(key) for key in _WAYS):
        got = " and ".join(ways) if ways else "none of them"
        section.add(ways[1] if ways else "", f"expected price, blocks or periods, got {got}")
    if section.has("periods"):
        return _periods_table(section, code, units, periods)
    if section.has("advance_price"):
        section.add("advance_price", "only tables with periods have it; others sell in advance")
    blocks: tuple[Block, ...]
    if section.has("price"):
        price = section.number("price", PRICE)
        if price is not None and not price:
            section.add("price", "expected a price of more than 0, for money buys units with it")
        if section.has("whole"):
            section.add("whole", "only blocks have it; here is one price")
        blocks = () if price is None else (Block(None, price),)
    else:
        blocks = _blocks(section, units)
    return Table(
        code=code,
        blocks=blocks,
        whole=section.flag("whole", False),
        lifeline=_lifeline(section, units),
    )


def _periods_table(section: Section, code: str, units: Units, periods: Sequence[str]) -> Table:
    for key in ("whole", "lifeline"):
        if section.has(key):
            section.add(key, "prices by period have neither blocks nor a lifeline")
    if not section.has("advance_price"):
        section.problems.warn(
            section.path,
            "without advance_price this table prices use that was measured; it cannot be sold in "
            "advance",
        )
    part = section.part("periods", None)
    blocks = {} if part is None else _period_blocks(part, units, periods)
    return Table(
        code=code,
        periods={name: found[0].price for name, found in blocks.items() if found},
        advance_price=section.number("advance_price", PRICE),
        period_blocks={name: found for name, found in blocks.items() if len(found) > 1},
    )


def _period_blocks(
    part: Section, units: Units, periods: Sequence[str]
) -> dict[str, tuple[Block, ...]]:
    for name in part:
        if name not in periods:
            part.add(name, f"the calendar has no period of this name: {known_word(name, periods)}")
    for name in periods:
        if not part.has(name):
            part.add("", f"the calendar has the period {name}, which has no price here")
    return {name: _of_period(part, name, units) for name in part}


def _of_period(part: Section, name: str, units: Units) -> tuple[Block, ...]:
    """Read a period's price, or its blocks."""
    if not part.is_list(name):
        price = part.number(name, PRICE)
        return () if price is None else (Block(None, price),)
    blocks = _blocks(part, units, name)
    if any(block.whole for block in blocks):
        part.add(name, "blocks of a period have no whole")
    if blocks and blocks[-1].up_to is not None:
        part.add(name, "the last block of a period is without limit")
    return blocks


def _lifeline(section: Section, units: Units) -> Lifeline | None:
    part = section.part("lifeline", "lifeline")
    if part is None:
        return None
    part.require("to")
    limit, price = part.number("to", units.quantity), part.number("price", PRICE)
    if limit is not None and not limit:
        part.add("to", "expected a limit of more than 0")
    blocks: tuple[Block, ...] = ()
    if part.has("blocks"):
        blocks = _lifeline_blocks(part, units, limit)
        price = blocks[0].price if blocks else None
    else:
        part.require("price")
    if limit is None or price is None:
        return None
    return Lifeline(units.base(limit), price, blocks)


def _lifeline_blocks(part: Section, units: Units, limit: Decimal | None) -> tuple[Block, ...]:
    """Read blocks that end where the lifeline does."""
    if part.has("price"):
        part.add("blocks", "expected price or blocks, got price and blocks")
    blocks = _blocks(part, units, is_endless=False)
    if any(block.whole for block in blocks):
        part.add("blocks", "blocks of a lifeline have no whole")
    end = None if limit is None else units.base(limit)
    limits = [block.up_to for block in blocks]
    if end is not None and limits:
        *inner, last = limits
        if last not in (None, end) or any(each is None or each >= end for each in inner):
            part.add("blocks", f"expected the last block to end with the lifeline, at {limit:f}")
    return blocks


def _blocks(
    section: Section, units: Units, key: str = "blocks", *, is_endless: bool = True
) -> tuple[Block, ...]:
    parts = section.parts(key, "block")
    blocks: list[Block] = []
    before: Decimal | None = Decimal(0)
    for number, part in enumerate(parts, 1):
        part.require("price")
        limit = part.number("to", units.quantity)
        price = part.number("price", PRICE)
        is_last = number == len(parts)
        if not part.has("to") and not is_last:
            part.add("", "to is missing: only the last block may be without limit")
        _check_start(part, before, units)
        if before is not None and limit is not None and limit <= before:
            what = "more than 0" if not before else f"more than {before:f}, where the last one ends"
            part.add("to", f"blocks come in order: expected a limit of {what}, got {limit:f}")
        if price is not None and not price and is_last and is_endless and not part.has("to"):
            part.add("price", "expected a price of more than 0: the last block has no limit")
        is_whole = part.flag("whole", False)
        if is_whole and number == 1:
            part.add("whole", "no block is before the first one, so that it changes nothing")
        elif is_whole and section.has("whole"):
            part.add("whole", "whole beside blocks is for all of them; keep one")
        if price is not None:
            blocks.append(Block(None if limit is None else units.base(limit), price, is_whole))
        before = limit
    return tuple(blocks)


def _check_start(part: Section, before: Decimal | None, units: Units) -> None:
    """Check the start of a block, if it is written, against the end of the one before."""
    start = part.number("from", units.quantity)
    if start is None or before is None or start == before:
        return
    kind = "a gap" if start > before else "an overlap"
    part.add(
        "from",
        f"{kind} in the blocks: the one before ends at {before:f}, this begins at {start:f}; "
        f"blocks join, so write from: {before:f} or leave from out",
    )

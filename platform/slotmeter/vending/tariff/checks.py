"""What cannot be seen in one place of a document: names, order, cycles, dates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Final

from slotmeter.vending.tariff.fields import known_word
from slotmeter.vending.tariff.keys import GROUPS
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Condition,
    PercentItem,
    TableRule,
)
from slotmeter.vending.tariff.problems import Problems

__all__ = ["check_uses", "in_order"]

_ALL: Final = Decimal(100)


# --- which table --------------------------------------------------------------------------------


def check_uses(rules: Sequence[TableRule], path: str, problems: Problems) -> None:
    """Check rules for those that are never reached, dates that overlap and dates without price."""
    for number, rule in enumerate(rules[:-1], 1):
        if rule.when == ALWAYS:
            problems.add(
                f"{path}[{number + 1}]",
                "never reached: the rule before it has no condition, so that it always holds",
            )
            return
    groups: dict[Condition, list[tuple[date, date, int]]] = {}
    for number, rule in enumerate(rules, 1):
        dates = _dates(rule.when)
        if dates == (date.min, date.max):
            continue
        groups.setdefault(_without_dates(rule.when), []).append((*dates, number))
    for rest, spans in groups.items():
        spans.sort()
        for (_, end, one), (start, _, other) in pairwise(spans):
            if start < end:
                problems.add(
                    f"{path}[{other}]",
                    f"its dates overlap with those of rule {one} for the same customers",
                )
            elif start > end and not _has_fallback(rules, rest):
                problems.add(
                    f"{path}[{other}]",
                    f"a gap in the dates: from {end} to {start} no rule says a table; add a rule "
                    "without dates at the end",
                )
    if rules and not _has_fallback(rules, ALWAYS):
        problems.warn(
            path,
            "the last rule has a condition: where none holds there is no price and the sale is "
            "refused; add {table: ...} at the end for all others",
        )


def _dates(when: Condition) -> tuple[date, date]:
    return when.from_date or date.min, when.until_date or date.max


def _without_dates(when: Condition) -> Condition:
    return replace(when, from_date=None, until_date=None)


def _has_fallback(rules: Sequence[TableRule], rest: Condition) -> bool:
    return any(rule.when in (ALWAYS, rest) for rule in rules)


# --- percentages --------------------------------------------------------------------------------


def in_order(
    items: Sequence[PercentItem],
    others: Mapping[str, str],
    paths: Mapping[str, str],
    problems: Problems,
) -> tuple[PercentItem, ...]:
    """Return percentages so that each base comes before what is taken of it; else as written.

    Args:
        items: percentages and taxes as written.
        others: codes of per-unit items and fixed charges, with the group that has them.
        paths: of the percentages, by code.
        problems: keeps unknown names, doubled bases and cycles.
    """
    by_code = {item.code: item for item in items}
    known = [*GROUPS, *others, *by_code]
    for item in items:
        _check_bases(item, others, known, paths[item.code], problems)
    _check_tender_left(items, paths, problems)
    done: dict[str, PercentItem] = {}
    for item in items:
        cycle = _visit(item.code, by_code, done, [])
        if cycle:
            problems.add(
                f"{paths[item.code]}.on",
                f"a cycle: {' -> '.join(cycle)}; each is a percentage of the next",
            )
            return tuple(items)
    return tuple(done.values())


def _check_tender_left(
    items: Iterable[PercentItem], paths: Mapping[str, str], problems: Problems
) -> None:
    total = Decimal(0)
    for item in items:
        if item.on == ("tender",):
            total += item.percent
            if total >= _ALL:
                problems.add(
                    f"{paths[item.code]}.percent",
                    f"nothing of the tender would be left: {total:f} % of it are taken",
                )
                return


def _visit(
    code: str, by_code: Mapping[str, PercentItem], done: dict[str, PercentItem], trail: list[str]
) -> list[str]:
    """Put a percentage after its bases; return a cycle if there is one."""
    if code in done or code not in by_code:
        return []
    if code in trail:
        return [*trail[trail.index(code) :], code]
    for base in by_code[code].on:
        cycle = _visit(base, by_code, done, [*trail, code])
        if cycle:
            return cycle
    done[code] = by_code[code]
    return []


def _check_bases(
    item: PercentItem,
    others: Mapping[str, str],
    known: Iterable[str],
    path: str,
    problems: Problems,
) -> None:
    for number, base in enumerate(item.on, 1):
        place = f"{path}.on[{number}]"
        if base not in known:
            problems.add(place, known_word(base, list(known)))
        elif others.get(base) in item.on:
            group = others[base]
            problems.add(place, f"{base} is one of {group}, which is a base here already")
    if "tender" in item.on and len(item.on) > 1:
        problems.add(
            f"{path}.on", "tender is all of the money, so that no other base can stand beside it"
        )

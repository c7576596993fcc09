"""When a part of a tariff applies, as a document says it."""

from __future__ import annotations

from typing import Final

from slotmeter.vending.tariff.fields import Section, Units, whole
from slotmeter.vending.tariff.keys import CONDITION
from slotmeter.vending.tariff.model import ALWAYS, Condition

__all__ = ["read_condition", "read_when"]

_WATTS: Final = Units("", 0, 1_000, "kW")
_MONTH: Final = whole("a month from 1 to 12", 1, 12)


def read_when(section: Section, units: Units) -> Condition:
    """Read the key ``when`` of an item or rule; without it the item always applies."""
    part = section.part("when", "condition")
    if part is None:
        return ALWAYS
    if not part.count:
        part.add("", "expected at least one condition; leave when out for always")
    return read_condition(part, units)


def read_condition(section: Section, units: Units) -> Condition:
    """Read the conditions that stand in a section beside its other keys."""
    if not any(section.has(key) for key in CONDITION):
        return ALWAYS
    first, last = section.day("from"), section.day("until")
    if first is not None and last is not None and first >= last:
        section.add(
            "until", f"expected a day after {first} (the day it ends does not belong), got {last}"
        )
    average = _range(section, "average", units)
    load = _range(section, "load_kw", _WATTS)
    coins = Units(units.currency, 0, 10**units.coin_decimals, units.currency)
    tender = _range(section, "tender", coins)
    if section.has("class") and section.has("class_not"):
        section.add(
            "class_not", "class names those who belong, so that class_not says nothing more"
        )
    months = section.numbers("months", _MONTH)
    return Condition(
        classes=_words(section, "class"),
        from_date=first,
        until_date=last,
        months=frozenset(months) or None,
        average_above=average[0],
        average_up_to=average[1],
        connections=_words(section, "connection"),
        load_above_w=load[0],
        load_up_to_w=load[1],
        channels=_words(section, "channel"),
        vendors=_words(section, "vendor"),
        not_classes=_words(section, "class_not"),
        tender_above=tender[0],
        tender_up_to=tender[1],
    )


def _words(section: Section, key: str) -> frozenset[str] | None:
    return frozenset(word for word, _ in section.words(key)) or None


def _range(section: Section, key: str, units: Units) -> tuple[int | None, int | None]:
    """Return (above, up to) in base units."""
    part = section.part(key, "range")
    if part is None:
        return None, None
    if not part.count:
        part.add("", "expected above or at_least, to or below, or one of each side")
    for one, other in (("above", "at_least"), ("to", "below")):
        if part.has(one) and part.has(other):
            part.add(other, f"{one} and {other} say the same end; keep one")

    def limit(name: str, shift: int) -> int | None:
        value = part.number(name, units.quantity)
        return None if value is None else units.base(value) + shift

    # Amounts are whole base units, or coins, so "at least" is "above" one unit less.
    above = limit("above", 0) if part.has("above") else limit("at_least", -1)
    up_to = limit("to", 0) if part.has("to") else limit("below", -1)
    if above is not None and up_to is not None and above >= up_to:
        part.add("", "nothing lies between these limits")
    return above, up_to

"""Classes by average use: the rules as data, and what they say of an account; pure.

A rules file is YAML::

    commodity: electricity
    months: 3                 # whole local months, the last one before this
    counts_free: true         # free units are part of the average
    rules:                    # the first that holds; limits in kWh or m³ a month
      - {up_to: 30, class: lifeline}
      - {above: 30, up_to: 100, class: dc2}
      - {above: 100, class: dc3}
    also: [dc1]               # accounts of these classes are looked at too

Only accounts without a class, or with one that the file names, are looked at: a shop stays a shop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

import yaml

from slotmeter.errors import Refused
from slotmeter.units import Commodity, commodity_quantity

__all__ = ["AverageRule", "ClassRules", "months_before", "parse_class_rules", "read_class_rules"]

MONTHS_MAX: Final = 36
RULES_MAX: Final = 50
_KEYS: Final = frozenset({"commodity", "months", "counts_free", "rules", "also"})
_RULE_KEYS: Final = frozenset({"above", "up_to", "class"})


@dataclass(frozen=True, slots=True)
class AverageRule:
    """Averages above one limit and up to another belong to a class; Wh or mL, None for no limit."""

    class_code: str
    above: int | None
    up_to: int | None

    def holds(self, units: int, months: int) -> bool:
        """Say whether an average of ``units / months`` falls here; exact, without dividing."""
        return (self.above is None or units > self.above * months) and (
            self.up_to is None or units <= self.up_to * months
        )


@dataclass(frozen=True, slots=True)
class ClassRules:
    """When which class."""

    commodity: Commodity
    months: int
    counts_free: bool
    rules: tuple[AverageRule, ...]
    also: frozenset[str]

    @property
    def looked_at(self) -> frozenset[str]:
        """Classes whose accounts the rules may move."""
        return self.also | {rule.class_code for rule in self.rules}

    def class_of(self, units: int) -> str | None:
        """Return the class for what was bought in all the months; None when no rule holds."""
        for rule in self.rules:
            if rule.holds(units, self.months):
                return rule.class_code
        return None


def months_before(year: int, month: int, count: int) -> tuple[int, int]:
    """Return the year and month that lie a number of months before a month."""
    at = year * 12 + (month - 1) - count
    return at // 12, at % 12 + 1


def read_class_rules(text: str) -> ClassRules:
    """Read a rules file.

    Raises:
        Refused: ``class_rules_invalid`` with the path at fault.
    """
    try:
        # Every scalar as text: a YAML number would become a binary float.
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  makes text and lists only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise _invalid(f"the file cannot be read as YAML{line}", "") from error
    return parse_class_rules(document)


def parse_class_rules(document: object) -> ClassRules:
    """Read rules from plain values: texts, numbers in texts, lists and mappings.

    Raises:
        Refused: ``class_rules_invalid`` with the path at fault.
    """
    if not isinstance(document, Mapping):
        raise _invalid("expected named values, such as `months: 3`", "")
    _only(document, _KEYS, "")
    commodity = document.get("commodity")
    if commodity not in set(Commodity):
        raise _invalid(f"expected one of {', '.join(Commodity)}", "commodity")
    quantity = commodity_quantity(Commodity(commodity))
    rules = document.get("rules")
    if not isinstance(rules, Sequence) or isinstance(rules, str) or not rules:
        raise _invalid("expected a list of rules", "rules")
    if len(rules) > RULES_MAX:
        raise _invalid(f"expected at most {RULES_MAX} rules, got {len(rules)}", "rules")
    return ClassRules(
        commodity=Commodity(commodity),
        months=_months(document.get("months", "3")),
        counts_free=_flag(document.get("counts_free", "true")),
        rules=tuple(
            _rule(rule, f"rules[{at}]", quantity.per_sold_unit)
            for at, rule in enumerate(rules, start=1)
        ),
        also=frozenset(_texts(document.get("also", []), "also")),
    )


def _rule(rule: object, path: str, per_sold_unit: int) -> AverageRule:
    if not isinstance(rule, Mapping):
        raise _invalid("expected a rule such as {up_to: 30, class: lifeline}", path)
    _only(rule, _RULE_KEYS, f"{path}.")
    code = rule.get("class")
    if not isinstance(code, str) or not code:
        raise _invalid("expected the code of a class", f"{path}.class")
    above = _limit(rule.get("above"), f"{path}.above", per_sold_unit)
    up_to = _limit(rule.get("up_to"), f"{path}.up_to", per_sold_unit)
    if above is not None and up_to is not None and above >= up_to:
        raise _invalid("expected above to be less than up_to", path)
    return AverageRule(code, above, up_to)


def _limit(value: object, path: str, per_sold_unit: int) -> int | None:
    if value is None:
        return None
    try:
        limit = Decimal(str(value)) * per_sold_unit
    except InvalidOperation:
        limit = Decimal(-1)
    if not limit.is_finite() or limit < 0 or limit != limit.to_integral_value():
        raise _invalid(f"expected units a month that are not negative, got {value!s:.40}", path)
    return int(limit)


def _months(value: object) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MONTHS_MAX:
        raise _invalid(f"expected 1 to {MONTHS_MAX} months, got {text[:40]}", "months")
    return int(text)


def _flag(value: object) -> bool:
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise _invalid(f"expected true or false, got {value!s:.40}", "counts_free")


def _texts(value: object, path: str) -> Sequence[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _invalid("expected a list of classes", path)
    return [str(each) for each in value]


def _only(section: Mapping[object, object], known: frozenset[str], prefix: str) -> None:
    for key in section:
        if key not in known:
            names = ", ".join(sorted(known))
            raise _invalid(f"is not known here; known are {names}", f"{prefix}{key}")


def _invalid(message: str, path: str) -> Refused:
    return Refused("class_rules_invalid", f"{path} {message}".strip(), field=path or None)

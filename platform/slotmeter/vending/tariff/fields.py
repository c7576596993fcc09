"""Typed values out of one part of a document; each thing that is wrong is kept and reading goes on.

A value that is missing or wrong comes back as None (or the default): the document is refused at the
end, so that it never reaches a tariff.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeVar

from slotmeter.vending.tariff.keys import KEYS
from slotmeter.vending.tariff.marks import Entries, Listing, Node, Scalar
from slotmeter.vending.tariff.problems import Problems, excerpt, near

__all__ = [
    "AMOUNT",
    "PERCENT",
    "PRICE",
    "RATE",
    "NumberRule",
    "Section",
    "Units",
]

ITEMS_MAX: Final = 64
"""Items of one kind, blocks of a table, values of a list."""

CODE: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class NumberRule:
    """What a number may be.

    Args:
        what: for the message, with its article, as ``a price``.
        example: for the message.
        decimals_max: after the point, without closing zeros.
        low: the least value.
        high: the greatest value.
        is_above_low: ``low`` itself is too little.
    """

    what: str
    example: str
    decimals_max: int
    low: Decimal
    high: Decimal
    is_above_low: bool = False

    def problem(self, value: Decimal) -> str | None:
        """Say what is wrong with a number, or None."""
        if value < self.low or (self.is_above_low and value == self.low):
            bound = "more than" if self.is_above_low else "at least"
            return f"expected {self.what} of {bound} {self.low:f}, got {value:f}"
        if value > self.high:
            return f"expected {self.what} of at most {self.high:f}, got {value:f}"
        if decimals_of(value) > self.decimals_max:
            if not self.decimals_max:
                return f"expected {self.what} without decimals, got {value:f}"
            return (
                f"expected {self.what} of at most {self.decimals_max} decimals, got {value:f} "
                f"with {decimals_of(value)}"
            )
        return None


def decimals_of(value: Decimal) -> int:
    """Return how many decimals a number needs."""
    _, point, fraction = f"{value:f}".partition(".")
    return len(fraction.rstrip("0")) if point else 0


_MOST: Final = Decimal(10) ** 12
PRICE: Final = NumberRule("a price", "21.50", 8, Decimal(0), _MOST)
RATE: Final = NumberRule("an amount per unit", "5.71", 8, -_MOST, _MOST)
AMOUNT: Final = NumberRule("an amount", "150.00", 8, Decimal(0), _MOST)
PERCENT: Final = NumberRule("a percentage", "16", 12, Decimal(-100), Decimal(1000), True)


@dataclass(frozen=True, slots=True)
class Units:
    """How numbers of a document become base units and coins.

    Args:
        currency: ISO 4217.
        coin_decimals: of the currency.
        per_sold_unit: base units (Wh, mL) in the unit that prices are for.
        symbol: of that unit.
    """

    currency: str
    coin_decimals: int
    per_sold_unit: int
    symbol: str

    @property
    def money(self) -> NumberRule:
        """An amount that is paid in coins."""
        what = f"an amount in {self.currency}"
        return NumberRule(what, "20", self.coin_decimals, Decimal(0), _MOST)

    @property
    def quantity(self) -> NumberRule:
        """An amount of what is sold."""
        decimals = len(str(self.per_sold_unit)) - 1
        return NumberRule(f"an amount in {self.symbol}", "50", decimals, Decimal(0), _MOST)

    def base(self, value: Decimal) -> int:
        """Return an amount in base units; it was checked to be whole."""
        return int(value * self.per_sold_unit)


class Section:
    """One mapping of a document.

    Args:
        node: what stands there.
        path: where.
        kind: which keys it may have (:data:`~slotmeter.vending.tariff.keys.KEYS`); None for
            mappings whose keys are names that the writer chose.
        problems: keeps what is wrong.
    """

    def __init__(self, node: Node, path: str, kind: str | None, problems: Problems) -> None:
        self.path = path
        self.problems = problems
        self._nodes: dict[str, Node] = {}
        self._without_value: set[str] = set()
        self._is_mapping = isinstance(node, Entries)
        if not isinstance(node, Entries):
            known = f", as {', '.join(KEYS[kind][:4])}" if kind else ""
            problems.add(path, f"expected keys with values{known}, got {_shape(node)}")
            return
        for key, value in node.items.items():
            if kind is not None and key not in KEYS[kind]:
                hint = _key_hint(key, KEYS[kind])
                problems.add(self.at(key), f"{excerpt(key)} is not known here{hint}")
            elif isinstance(value, Scalar) and value.value is None and path:
                text = "has no value; give it one or leave the key out"
                problems.add(self.at(key), f"{excerpt(key)} {text}")
                self._without_value.add(key)
            elif not (isinstance(value, Scalar) and value.value is None):
                self._nodes[key] = value

    def at(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def add(self, key: str, message: str) -> None:
        """Keep a problem of a key; with an empty key, of the section."""
        self.problems.add(self.at(key) if key else self.path, message)

    def has(self, key: str) -> bool:
        """Say whether a key is there and is known here."""
        return key in self._nodes

    def __iter__(self) -> Iterator[str]:
        """Go through the keys in the order of the document."""
        return iter(self._nodes)

    @property
    def count(self) -> int:
        """How many known keys are there."""
        return len(self._nodes)

    def lacks(self, key: str) -> bool:
        """Say whether a key was left out; not so if it is there with nothing that can be used."""
        return self._is_mapping and key not in self._nodes and key not in self._without_value

    def require(self, key: str, reason: str = "") -> None:
        """Keep a problem when a key is missing."""
        if self.lacks(key):
            because = f": {reason}" if reason else ""
            self.problems.add(self.path, f"{key} is missing{because}")

    # --- single values --------------------------------------------------------------------------

    def text(self, key: str, length_max: int = 80) -> str | None:
        """Return a text of one line."""
        node = self._nodes.get(key)
        return None if node is None else self._text(node, self.at(key), length_max)

    def _text(self, node: Node, path: str, length_max: int) -> str | None:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            value = node.value.strip()
            if not value:
                self.problems.add(path, "expected a text, got an empty one")
            elif len(value) > length_max:
                text = f"expected at most {length_max} characters, got {len(value)}"
                self.problems.add(path, text)
            elif not value.isprintable():
                self.problems.add(path, "expected one line of printable characters")
            else:
                return value
        elif isinstance(node, Scalar):
            word = "true" if node.value else "false"
            self.problems.add(path, f'expected a text, got {word}; as a text write "{word}"')
        else:
            self.problems.add(path, f"expected a text, got {_shape(node)}")
        return None

    def code(self, key: str) -> str | None:
        """Return a name as items have it."""
        value = self.text(key, 40)
        return value if value is None or self.check_code(key, value) else None

    def check_code(self, key: str, value: str) -> bool:
        """Say whether a name may be the name of an item; keep the problem if not."""
        if CODE.fullmatch(value) is None:
            wanted = "a lower-case letter, then at most 39 of a-z, 0-9, _ and -"
            self.add(key, f"expected a name ({wanted}), got {excerpt(value)}")
            return False
        return True

    def number(self, key: str, rule: NumberRule) -> Decimal | None:
        """Return a number."""
        node = self._nodes.get(key)
        return None if node is None else self._number(node, self.at(key), rule)

    def _number(self, node: Node, path: str, rule: NumberRule) -> Decimal | None:
        expected = f"expected {rule.what} such as {rule.example}"
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            got = _shape(node) if not isinstance(node, Scalar) else "true or false"
            self.problems.add(path, f"{expected}, got {got}")
            return None
        text = node.value.strip()
        if _NUMBER.fullmatch(text) is None:
            self.problems.add(path, f"{expected}, got {excerpt(text)}{_number_hint(text)}")
            return None
        value = Decimal(text)
        problem = rule.problem(value)
        if problem is not None:
            self.problems.add(path, problem)
            return None
        return value

    def integer(self, key: str, low: int, high: int) -> int | None:
        """Return a whole number within bounds."""
        value = self.number(key, whole("a whole number", low, high))
        return None if value is None else int(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        node = self._nodes.get(key)
        if node is None:
            return default
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        got = excerpt(str(node.value)) if isinstance(node, Scalar) else _shape(node)
        self.add(key, f"expected true or false without quotes, got {got}")
        return default

    def choice(self, key: str, kind: type[_Choice], default: _Choice) -> _Choice:
        """Return one of a closed set of words."""
        value = self.text(key)
        if value is None:
            return default
        words = [member.value for member in kind]
        if value not in words:
            self.add(key, f"expected one of {', '.join(words)}, got {excerpt(value)}")
            return default
        return kind(value)

    def day(self, key: str) -> date | None:
        """Return a date."""
        value = self.text(key)
        return None if value is None else self._date(value, self.at(key))

    def _date(self, value: str, path: str) -> date | None:
        try:
            if _DATE.fullmatch(value):
                return date.fromisoformat(value)
        except ValueError:
            pass
        self.problems.add(path, f"expected a date such as 2026-07-01, got {excerpt(value)}")
        return None

    def is_list(self, key: str) -> bool:
        """Say whether a key has a list."""
        return isinstance(self._nodes.get(key), Listing)

    # --- lists and parts ------------------------------------------------------------------------

    def _items(self, key: str) -> list[tuple[Node, str]]:
        """Return the items of a list with their paths; one value is a list of one."""
        node = self._nodes.get(key)
        if node is None:
            return []
        if not isinstance(node, Listing):
            return [(node, self.at(key))]
        if not node.items:
            self.add(key, "expected at least one value; leave the key out for none")
        if len(node.items) > ITEMS_MAX:
            self.add(key, f"expected at most {ITEMS_MAX} values, got {len(node.items)}")
        return [
            (item, f"{self.at(key)}[{number}]")
            for number, item in enumerate(node.items[:ITEMS_MAX], 1)
        ]

    def words(self, key: str, length_max: int = 40) -> tuple[tuple[str, str], ...]:
        """Return texts with their paths, each once."""
        found: dict[str, str] = {}
        for node, path in self._items(key):
            value = self._text(node, path, length_max)
            if value is None:
                continue
            if value in found:
                self.problems.add(path, f"{excerpt(value)} is listed twice")
            else:
                found[value] = path
        return tuple(found.items())

    def numbers(self, key: str, rule: NumberRule) -> tuple[int, ...]:
        """Return whole numbers."""
        values = (self._number(node, path, rule) for node, path in self._items(key))
        return tuple(int(value) for value in values if value is not None)

    def days(self, key: str) -> tuple[date, ...]:
        """Return dates."""
        values = (self._date(value, path) for value, path in self.words(key))
        return tuple(value for value in values if value is not None)

    def part(self, key: str, kind: str | None) -> Section | None:
        """Return a mapping below this one."""
        node = self._nodes.get(key)
        return None if node is None else Section(node, self.at(key), kind, self.problems)

    def parts(self, key: str, kind: str) -> list[Section]:
        """Return the mappings of a list."""
        return [Section(node, path, kind, self.problems) for node, path in self._items(key)]

    def named(self, key: str, kind: str) -> list[tuple[str, Section]]:
        """Return named mappings in the order of the document."""
        group = self.part(key, None)
        if group is None:
            return []
        if group.count > ITEMS_MAX:
            self.add(key, f"expected at most {ITEMS_MAX} of them, got {group.count}")
        names = [name for name in group if group.check_code(name, name)]
        return [
            (name, Section(group._nodes[name], group.at(name), kind, self.problems))
            for name in names[:ITEMS_MAX]
        ]


def whole(what: str, low: int, high: int) -> NumberRule:
    """Return the rule of a whole number."""
    return NumberRule(what, str(max(low, 1)), 0, Decimal(low), Decimal(high))


def _shape(node: Node) -> str:
    if isinstance(node, Scalar):
        return excerpt(node.value) if isinstance(node.value, str) else str(node.value).lower()
    return "a list" if isinstance(node, Listing) else "named values"


def _key_hint(key: str, known: Sequence[str]) -> str:
    if key.isdigit():
        return "; a comma ends a value here, so write the decimals of a number after a point"
    return near(key, known) or f"; known are {', '.join(known)}"


def _number_hint(text: str) -> str:
    if "," in text:
        return "; write the decimals after a point, and thousands without a mark"
    if text.endswith("%"):
        return "; leave the % out"
    if text.startswith((".", "+")):
        return "; begin with a digit"
    if any(letter.isalpha() for letter in text):
        return "; the unit and the currency do not stand beside the number"
    return ""


def known_word(word: str, known: Sequence[str]) -> str:
    """Return what to say of a name that is not there."""
    listed = ", ".join(known) if known else "none"
    return f"there is no {excerpt(word)} in this tariff{near(word, known)} (there: {listed})"

"""Substitution and permutation tables of STA (EA07) as named, replaceable values.

Two sets come with the code: :data:`PRODUCTION`, which meters in service use, and :data:`SAMPLE`,
which the standard prints and no real meter accepts. A site that has its own set writes it into a
file; the text of that file goes through :func:`parse_table_set`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import yaml

from slotmeter.errors import Refused

__all__ = ["PRODUCTION", "SAMPLE", "TABLE_SETS", "TableSet", "parse_table_set"]

NIBBLE_VALUES: Final = 16
BLOCK_BITS: Final = 64
NAME_CHARACTERS_MAX: Final = 40
TEXT_CHARACTERS_MAX: Final = 20_000
_FIELDS: Final = ("name", "s0", "s1", "p")


def _require_permutation(name: str, values: object, length: int) -> None:
    if (
        not isinstance(values, tuple)
        or any(isinstance(value, bool) or not isinstance(value, int) for value in values)
        or sorted(values) != list(range(length))
    ):
        got = len(values) if isinstance(values, tuple) else 0
        raise Refused(
            "bad_table_set",
            f"{name} must hold each integer from 0 to {length - 1} exactly once, got {got} values",
            field=name,
        )


@dataclass(frozen=True, slots=True)
class TableSet:
    """One set of STA tables.

    Attributes:
        name: how key parameters refer to it.
        s0, s1: substitution of a nibble when its selection bit is 0 or 1; 16 values each.
        p: bit ``i`` of a block goes to bit ``p[i]``; 64 values, bit 0 is the least significant.

    Raises:
        Refused: a table is not a permutation of the right length, or the name is unusable.
    """

    name: str
    s0: tuple[int, ...]
    s1: tuple[int, ...]
    p: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse tables with which a block could not be decrypted again."""
        name = self.name
        if not (isinstance(name, str) and name and len(name) <= NAME_CHARACTERS_MAX):
            raise Refused(
                "bad_table_set",
                f"a table set needs a name of 1 to {NAME_CHARACTERS_MAX} characters",
                field="name",
            )
        _require_permutation("s0", self.s0, NIBBLE_VALUES)
        _require_permutation("s1", self.s1, NIBBLE_VALUES)
        _require_permutation("p", self.p, BLOCK_BITS)

    def __hash__(self) -> int:
        """Hash by name only: it is looked up once per token, and sets with one name are rare."""
        return hash(self.name)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


PRODUCTION: Final = TableSet(
    name="production",
    s0=_numbers("14 10 7 9 12 3 2 5 13 0 15 1 4 8 6 11"),
    s1=_numbers("12 8 2 13 7 6 1 3 11 5 9 15 0 4 10 14"),
    p=_numbers(
        """
        55 42 10 18 24 21 44 35  2 22 56 43 27 58  9 50
         6 36 12 61 37 38 53 16 62  3  7  4 32 20 63 25
        51 52 54 33 49 19 46 29 48 31 23 30 41 28 13  5
        40 60 39 11 15 17  1  0 57 34 59  8 47 14 45 26
        """
    ),
)

SAMPLE: Final = TableSet(
    name="sample",
    s0=_numbers("12 10 8 4 3 15 0 2 14 1 5 13 6 9 7 11"),
    s1=_numbers("6 9 7 4 3 10 12 14 2 13 1 15 0 11 8 5"),
    p=_numbers(
        """
        29 27 34  9 16 62 55  2 40 49 38 25 33 61 30 23
         1 41 21 57 42 15  5 58 19 53 22 17 48 28 24 39
         3 60 36 14 11 52 54 12 31 51 10 26  0 45 37 43
        44  6 59  4  7 35 56 50 13 18 32 47 46 63 20  8
        """
    ),
)

TABLE_SETS: Final = {tables.name: tables for tables in (PRODUCTION, SAMPLE)}
"""The sets that come with the code, by name."""


def parse_table_set(text: str) -> TableSet:
    """Read a site's own table set from JSON or YAML text.

    The text is one mapping with exactly the fields ``name``, ``s0``, ``s1`` (lists of 16 integers)
    and ``p`` (list of 64).

    Raises:
        Refused: ``bad_table_set``: the text cannot be read, a field is missing or unknown, a list
            is not a permutation, or the name is one of ours.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        raise Refused("bad_table_set", f"the text is longer than {TEXT_CHARACTERS_MAX} characters")
    try:
        data = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise Refused("bad_table_set", "the text is neither JSON nor YAML") from error
    if not isinstance(data, dict):
        raise Refused("bad_table_set", "expected a mapping with the fields name, s0, s1 and p")
    for name in _FIELDS:
        if name not in data:
            raise Refused("bad_table_set", f"the field {name} is missing", field=name)
    for name in data:
        if name not in _FIELDS:
            raise Refused("bad_table_set", f"unknown field {name!r}", field=str(name))
    if data["name"] in (PRODUCTION.name, SAMPLE.name):
        raise Refused("bad_table_set", f"the name {data['name']!r} is taken", field="name")
    return TableSet(data["name"], *(_as_tuple(name, data[name]) for name in ("s0", "s1", "p")))


def _as_tuple(name: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, list):
        raise Refused("bad_table_set", f"{name} must be a list of integers", field=name)
    return tuple(values)  # TableSet checks what is in it

"""Moulds: what one sale left, kept as the form of many sales that differ only in known places.

Two sales of one amount, to households that bought alike in the month, leave the same rows but for
ids, times, names, numbers and the token. A mould is made from the rows of one sale that was really
decided, with marks in these places. Filling it gives the rows of another sale and the entries that
seal them, several times faster than deciding and sealing does. That they are the same rows is for
the caller to check, now and then, against rows that were decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final
from zlib import crc32

from slotmeter.ports import SqlValue
from slotmeter.storage.seal.unit_seal import (
    DIGEST_BYTES,
    Kind,
    Layout,
    Seals,
    digest_of,
    encode_row,
    entry_hash,
)

__all__ = ["ENTRY_COLUMNS", "Marks", "Mould", "RecordedUnit", "Rows"]

ENTRY_COLUMNS: Final = ("id", "at_us", "layout", "group_seq", "items", "hash")
ENTRY: Final = ("audit_entry", ENTRY_COLUMNS)

Values = tuple[SqlValue, ...]
Pool = tuple[Any, ...]
Pick = Callable[[Pool], Any]
Key = tuple[str, tuple[str, ...]]
Rows = dict[Key, list[Values]]
"""Rows by their table and the columns that they name."""

LONG_NUMBER: Final = r"(?<!\d)\d{15,}(?!\d)"
"""Only marks as long as times are looked for within texts."""

Groups = Mapping[int, Sequence[Sequence[SqlValue]]]
"""What a unit seals: the values of the rows by the code of their face and kind of change."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands where sales differ, and in which place of a sale's values that is found.

    Args:
        numbers: a number that is nowhere else, and its place; within texts only a
            :data:`LONG_NUMBER`.
        parts: a text that is nowhere else, alone or within texts, and its place.
        wholes: texts that are written anew: how (with ``%``), and from which places.
        sums: numbers that a little was perhaps taken from, and their places.
        sums_span: so little at most.
    """

    numbers: Mapping[int, int]
    parts: Mapping[str, int]
    wholes: Mapping[str, tuple[str, tuple[int, ...]]]
    sums: Mapping[int, int]
    sums_span: int


@dataclass(frozen=True, slots=True)
class RecordedUnit:
    """What one unit of work sealed.

    Args:
        groups: see :data:`Groups`; the first value of each row is its id.
        entry_id: of its entry in the audit.
        at_us: when it was written.
    """

    groups: Groups
    entry_id: int
    at_us: int


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one face and kind: how their values are taken, and what is known of their ids."""

    code: int
    is_final: bool
    is_removal: bool
    picks: tuple[Pick, ...]
    id_places: tuple[int, ...]
    ids: int | list[int] | None


@dataclass(frozen=True, slots=True)
class _Unit:
    """How the entry of one unit is made."""

    entry_place: int
    at_place: int
    groups: tuple[_Group, ...]


class _Places:
    """Finds the place of every value of the rows that a mould is made from.

    Places from 0 are those of a sale's own values, then come sums, then texts; what never differs
    is counted from the end.
    """

    def __init__(self, marks: Marks, own: int) -> None:
        self._marks = marks
        self._own = own
        self._marked = re.compile("|".join((*map(re.escape, marks.parts), LONG_NUMBER)))
        self.sums: list[tuple[int, int]] = []
        self.texts: list[tuple[str, tuple[int, ...]]] = []
        self.constants: list[SqlValue] = []
        self._known: dict[tuple[type, Any], int] = {}

    def find(self, value: SqlValue) -> int | str:
        """Return the place of a value; for texts a name of it that is resolved in the end."""
        if isinstance(value, int) and not isinstance(value, bool):
            place = self._number(value)
            if place is not None:
                return place
        if isinstance(value, str):
            whole = self._marks.wholes.get(value)
            if whole is not None:
                return self._text(value, *whole)
            if value in self._marks.parts:
                return self._marks.parts[value]
            if self._marked.search(value):
                return self._text(value, *self._form(value))
        return self._constant(value)

    def _number(self, value: int) -> int | None:
        place = self._marks.numbers.get(value)
        if place is not None:
            return place
        for mark, of in self._marks.sums.items():
            if 0 <= mark - value <= self._marks.sums_span:
                taken = (of, value - mark)
                if taken not in self.sums:
                    self.sums.append(taken)
                return self._own + self.sums.index(taken)
        return None

    def _form(self, text: str) -> tuple[str, tuple[int, ...]]:
        form, places, end = "", [], 0
        for found in self._marked.finditer(text):
            mark = found.group()
            place = self._marks.parts.get(mark)
            if place is None:
                place = self._number(int(mark))
            if place is None:
                continue  # some other long number, which stays
            form += text[end : found.start()].replace("%", "%%") + "%s"
            places.append(place)
            end = found.end()
        return form + text[end:].replace("%", "%%"), tuple(places)

    def _text(self, value: str, form: str, places: tuple[int, ...]) -> int | str:
        if not places:
            return self._constant(value)
        made = (form, places)
        if made not in self.texts:
            self.texts.append(made)
        return f"text {self.texts.index(made)}"

    def _constant(self, value: SqlValue) -> int:
        key = (type(value), value)
        if key not in self._known:
            self.constants.append(value)
            self._known[key] = -len(self.constants)
        return self._known[key]

    def resolved(self, places: Sequence[int | str]) -> list[int]:
        """Return places as numbers, once every value has been found."""
        first = self._own + len(self.sums)
        return [
            first + int(place.removeprefix("text ")) if isinstance(place, str) else place
            for place in places
        ]


class Mould:
    """The form of sales that differ only where marks were.

    Args:
        rows: of a sale that was decided with marks.
        units: what its units sealed, in their order.
        moved: what each ledger account, by id, was debited with; minor units.
        marks: what was put where sales differ.
        own: how many values a sale has of its own.
        ids: the first so many of these are ids that count on from the first.
        seals: how rows are sealed.
    """

    def __init__(
        self,
        rows: Mapping[Key, Sequence[Values]],
        units: Sequence[RecordedUnit],
        moved: Mapping[int, int],
        marks: Marks,
        *,
        own: int,
        ids: int,
        seals: Seals,
    ) -> None:
        """Take the rows apart."""
        self._layout: Layout = seals.layout
        places = _Places(marks, own)
        taken = {
            key: [[places.find(each) for each in row] for row in of] for key, of in rows.items()
        }
        sealed = [
            {
                code: [[places.find(each) for each in row] for row in of]
                for code, of in unit.groups.items()
            }
            for unit in units
        ]
        self._rows = tuple(
            (key, tuple(_pick(places.resolved(row)) for row in of)) for key, of in taken.items()
        )
        self._units = tuple(
            _Unit(
                marks.numbers[unit.entry_id],
                marks.numbers[unit.at_us],
                tuple(
                    _group(code, [places.resolved(row) for row in of], seals, unit, marks, ids)
                    for code, of in groups.items()
                    if of
                ),
            )
            for unit, groups in zip(units, sealed, strict=True)
        )
        self._sums = tuple(places.sums)
        self._texts = tuple((form, _pick(at)) for form, at in places.texts)
        self._constants = tuple(reversed(places.constants))
        self.used = 0
        """How many sales were made with it."""
        self.moved = {at: minor for at, minor in moved.items() if at not in marks.numbers}
        """What each of these sales debits the same ledger accounts with, by id."""
        self.moved_own = tuple(
            (marks.numbers[at], minor) for at, minor in moved.items() if at in marks.numbers
        )
        """What it debits ledger accounts of its own with, by the place of their id."""

    def fill(self, own: Pool, group_seq: int, into: Rows) -> None:
        """Add the rows of a sale, and the entries that seal them.

        Args:
            own: the values of the sale, by their places.
            group_seq: number of the group of the audit that it is sealed in.
            into: takes them.
        """
        self.used += 1
        if self._sums:
            own += tuple([own[place] + taken for place, taken in self._sums])
        pool = (*own, *[form % pick(own) for form, pick in self._texts], *self._constants)
        for key, picks in self._rows:
            rows = into.get(key)
            if rows is None:
                rows = into[key] = []
            for pick in picks:
                rows.append(pick(pool))
        entries = into.get(ENTRY)
        if entries is None:
            entries = into[ENTRY] = []
        for unit in self._units:
            entries.append(self._entry(unit, pool, group_seq))

    def _entry(self, unit: _Unit, pool: Pool, group_seq: int) -> Values:
        entry_id, at_us = pool[unit.entry_place], pool[unit.at_place]
        final: list[bytes] = []
        items: list[Any] = [b""]
        for group in unit.groups:
            rows = [encode_row(pick(pool)) for pick in group.picks]
            if group.is_final:
                final += rows
                marks = b"".join([crc32(row).to_bytes(4, "big") for row in rows])
            elif group.is_removal:
                marks = b""
            else:
                marks = b"".join([sha256(row).digest()[:DIGEST_BYTES] for row in rows])
            ids = group.ids
            if ids is None:
                ids = _ids_item(entry_id, [pool[place] for place in group.id_places])
            items += (group.code, ids, marks)
        if final:
            items[0] = digest_of(b"".join(final))
        packed = encode_row(items)
        hashed = entry_hash(self._layout.digest, entry_id, at_us, group_seq, packed)
        return (entry_id, at_us, self._layout.number, group_seq, packed, hashed)


def _group(
    code: int,
    rows: Sequence[Sequence[int]],
    seals: Seals,
    unit: RecordedUnit,
    marks: Marks,
    ids: int,
) -> _Group:
    places = tuple(row[0] for row in rows)
    known = None
    if all(0 <= place < ids for place in places):
        # Ids of one sale count on from its first: what lies between them is always the same.
        known = _ids_item(marks.numbers[unit.entry_id], list(places))
    return _Group(
        code=code,
        is_final=code in seals.final,
        is_removal=code & Kind.ADOPT == Kind.DELETE,
        picks=tuple(_pick(row) for row in rows),
        id_places=places,
        ids=known,
    )


def _ids_item(entry_id: int, ids: list[int]) -> int | list[int]:
    """Return ids as items of an entry hold them; see ``seal.unit_seal``."""
    if len(ids) == 1:
        return entry_id - ids[0]
    return [entry_id - ids[0], *(later - before for before, later in pairwise(ids))]


def _pick(places: Sequence[int]) -> Pick:
    """Return what takes the values at some places, as a tuple."""
    if len(places) == 1:
        [place] = places
        return lambda pool: (pool[place],)
    return itemgetter(*places)

"""Gathers what many entries say of rows, by the faces of these rows.

Entries of one *shape* name rows of the same faces, changed in the same ways, as many of each. Most
entries of a database have one of a few shapes, since most are of sales; so the work that depends
on the shape is done once for all its entries, and what is left for each of them is little.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter, sub
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from slotmeter.storage.seal.items import CRC_BYTES, KnownFace, decode_items, ids_of
from slotmeter.storage.seal.reader import Entry
from slotmeter.storage.seal.unit_seal import DIGEST_BYTES, Kind

__all__ = ["Chunk", "Finals", "Gatherer"]

Finals = tuple[tuple[int, int], ...]
"""The final faces of which an entry has rows, in order, and of how many rows."""

_MARK: Final = Struct(f"{DIGEST_BYTES}s")
_ITEMS_AT: Final = 1
_ITEM_VALUES: Final = 3
_UNREADABLE: Final = (msgspec.DecodeError, TypeError, ValueError, IndexError, OverflowError)

_id_of: Final = itemgetter(0)
_packed_of: Final = itemgetter(4)


class _Slot(NamedTuple):
    """One item of a shape: where its ids are, what it is of, and of how many rows."""

    at: int
    base: int
    kind: int
    rows: int
    final: bool


class _Shape(NamedTuple):
    slots: tuple[_Slot, ...]
    finals: Finals


class _Updates(NamedTuple):
    """Rows that entries of one shape changed, newest first."""

    places: Sequence[int]
    row_ids: Sequence[int]
    marks: Sequence[bytes]


@dataclass(slots=True)
class Chunk:
    """What some entries say, newest first.

    Args:
        entries: that can be read.
        shared: of each entry, the digest of its rows of final faces, and which faces these are.
        spans: for each final face the lowest and the highest id, if they were given in order.
        counts: how many rows were inserted, changed or adopted, by face and kind.
        inserted: for each changing face the rows that were inserted, and their marks.
        removed: for each changing face the rows that were removed.
    """

    entries: Sequence[Entry] = ()
    shared: list[tuple[bytes, Finals]] = field(default_factory=list)
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    inserted: dict[int, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    removed: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    _updated: dict[int, list[_Updates]] = field(default_factory=lambda: defaultdict(list))

    @property
    def changing(self) -> set[int]:
        """The changing faces that these entries speak of."""
        return {*self.inserted, *self.removed, *self._updated}

    def note_updates(self, base: int, updates: _Updates) -> None:
        """Take rows that were changed."""
        self._updated[base].append(updates)

    def updated(self, base: int) -> Iterator[Sequence[int]]:
        """Yield the rows of a changing face that were changed."""
        for updates in self._updated.get(base, ()):
            yield updates.row_ids

    def latest(self, base: int) -> dict[int, bytes]:
        """Return the latest mark of each row of a changing face that was not removed since."""
        wanted = dict(self.inserted.get(base, {}))
        found = self._updated.get(base, [])
        # In order of time, so that the last change of a row stays.
        if len(found) == 1:
            wanted.update(zip(reversed(found[0].row_ids), reversed(found[0].marks), strict=True))
        else:
            merged = [each for updates in found for each in zip(*updates, strict=True)]
            for _place, row_id, mark in sorted(merged, reverse=True):
                wanted[row_id] = mark
        for row_id in self.removed.get(base, ()):
            wanted.pop(row_id, None)
        return wanted


class Gatherer:
    """Takes entries apart; knows the shapes that it has met.

    Args:
        faces: by their code.
    """

    def __init__(self, faces: Mapping[int, KnownFace]) -> None:
        """Start without any shape."""
        self._faces = faces
        self._shapes: dict[tuple[int, ...], _Shape] = {}

    def chunk(self, entries: Sequence[Entry]) -> Chunk:
        """Return what entries say, newest first; those that cannot be read are left out.

        The chain names an entry whose content was changed.
        """
        try:
            return self._gather(entries)
        except _UNREADABLE:
            return self._gather([entry for entry in entries if self._is_readable(entry)])

    def _is_readable(self, entry: Entry) -> bool:
        try:
            self._gather((entry,))
        except _UNREADABLE:
            return False
        return True

    def _gather(self, entries: Sequence[Entry]) -> Chunk:
        chunk = Chunk(entries)
        decoded = list(map(decode_items, map(_packed_of, entries)))
        places_of = defaultdict[tuple[int, ...], list[int]](list)
        for at, values in enumerate(decoded):
            places_of[(*values[1::3], *map(len, values[3::3]))].append(at)
        shared: list[tuple[bytes, Finals]] = [(b"", ())] * len(entries)
        for key, places in places_of.items():
            shape = self._shapes.get(key) or self._learn(key)
            columns = tuple(zip(*[decoded[at] for at in places], strict=True))
            ids = [entries[at][0] for at in places]
            if shape.finals:
                finals = shape.finals
                for at, digest in zip(places, columns[0], strict=True):
                    shared[at] = digest, finals
            for slot in shape.slots:
                deltas, marks = columns[slot.at], columns[slot.at + 1]
                if slot.final:
                    _note_final(chunk, slot, ids, deltas)
                else:
                    _note_changing(chunk, slot, places, ids, deltas, marks)
        chunk.shared = shared
        return chunk

    def _learn(self, key: tuple[int, ...]) -> _Shape:
        """Return and keep a shape: the codes of its items, then how long their marks are.

        Raises:
            ValueError: there is nothing of such a shape.
        """
        codes, lengths = key[: len(key) // 2], key[len(key) // 2 :]
        slots, finals = [], []
        for at, (code, length) in enumerate(zip(codes, lengths, strict=True)):
            base, kind = code & ~3, code & 3
            face = self._faces.get(base)
            if face is None:
                continue  # of a layout that cannot be read, which is named
            count, left = divmod(length, CRC_BYTES if face.final else DIGEST_BYTES)
            if left or bool(count) == (kind == Kind.DELETE):
                raise ValueError(f"marks of {length} bytes")
            slots.append(_Slot(_ITEMS_AT + 1 + at * _ITEM_VALUES, base, kind, count, face.final))
            if face.final:
                finals.append((base, count))
        shape = self._shapes[key] = _Shape(tuple(slots), tuple(finals))
        return shape


def _note_final(
    chunk: Chunk, slot: _Slot, ids: Sequence[int], deltas: Sequence[int | list[int]]
) -> None:
    first, last = ids_of(ids[-1], deltas[-1])[0], ids_of(ids[0], deltas[0])[-1]
    known = chunk.spans.get(slot.base, (first, last))
    chunk.spans[slot.base] = min(known[0], first), max(known[1], last)
    chunk.counts[slot.base | slot.kind] += slot.rows * len(ids)


def _note_changing(
    chunk: Chunk,
    slot: _Slot,
    places: Sequence[int],
    ids: Sequence[int],
    deltas: Sequence[Any],
    marks: Sequence[bytes],
) -> None:
    """Note rows of a changing face."""
    base, kind = slot.base, slot.kind
    if kind == Kind.DELETE:
        for entry_id, coded in zip(ids, deltas, strict=True):
            gone = ids_of(entry_id, coded)
            chunk.removed[base].update(gone)
            chunk.counts[base | kind] += len(gone)
        return
    row_ids: list[int]
    if slot.rows == 1:
        row_ids = list(map(sub, ids, deltas))
    else:
        row_ids = [
            row_id
            for entry_id, (first, *later) in zip(ids, deltas, strict=True)
            for row_id in accumulate(later, initial=entry_id - first)
        ]
        marks = [mark for (mark,) in _MARK.iter_unpack(b"".join(marks))]
    chunk.counts[base | kind] += len(row_ids)
    if kind != Kind.UPDATE:
        chunk.inserted[base].update(zip(row_ids, marks, strict=True))
        return
    if slot.rows > 1:
        places = [place for place in places for _ in range(slot.rows)]
    chunk.note_updates(base, _Updates(places, row_ids, marks))

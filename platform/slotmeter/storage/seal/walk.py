"""Compares the rows of the database with what the entries say of them, newest entry first.

Only the latest digest of a row can be compared with it, so the walk remembers the rows of changing
faces that a newer entry has changed, until it meets the entry that inserted them. Rows of final
faces are compared by the one digest that they share; when that differs, their short marks name the
row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from slotmeter.storage.seal.reader import AuditReader, Break, Entry
from slotmeter.storage.seal.unit_seal import DIGEST_BYTES, Kind, Layout, encode_row

__all__ = ["ReadItem", "RowWalk", "inserted_ids", "read_items", "unknown_rows"]

SPAN_PER_ROW_MAX: Final = 200
"""Rows are read as one span of ids while the span has at most so many ids for each of them."""

UNKNOWN_ROWS_MAX: Final = 20
"""At most so many rows of one table that no entry knows are named."""

CRC_BYTES: Final = 4

_decode: Final = msgspec.msgpack.Decoder(list[Any]).decode

Item = tuple[int, Sequence[int], bytes]
"""A face and a kind of change, the ids, and their marks."""


class ReadItem(NamedTuple):
    """What an entry says of some rows, in words."""

    kind: str
    table: str
    face: str
    ids: Sequence[int]


class _Face(NamedTuple):
    name: str
    table: str
    columns: tuple[str, ...]
    final: bool
    first: bool


class _Shared(NamedTuple):
    """The rows of final faces of one entry: their common digest, and which they are, in order."""

    entry_id: int
    digest: bytes
    items: list[Item]


def _faces_of(layouts: Iterable[Layout]) -> dict[int, _Face]:
    """Return all faces by their code: in whichever layouts a code is, it stands for the same."""
    return {
        table.code_of(at, Kind.INSERT): _Face(
            face.name, table.name, ("id", *face.columns), face.final, at == 0
        )
        for layout in layouts
        for table in layout.tables.values()
        for at, face in enumerate(table.faces)
    }


def _items_of(entry_id: int, packed: bytes) -> tuple[bytes, list[Item]]:
    """Return the digest of final rows, and the items; empty if they cannot be read.

    The chain names an entry whose content was changed.
    """
    try:
        digest, *values = _decode(packed)
        found = [
            (code, _ids_of(entry_id, deltas), marks)
            for code, deltas, marks in zip(values[::3], values[1::3], values[2::3], strict=True)
        ]
    except (msgspec.DecodeError, TypeError, ValueError, IndexError):
        return b"", []
    return digest, found


def _ids_of(entry_id: int, deltas: int | list[int]) -> Sequence[int]:
    if isinstance(deltas, int):
        return (entry_id - deltas,)
    return list(accumulate((entry_id - deltas[0], *deltas[1:])))


class RowWalk:
    """Walks entries from the newest to the oldest.

    Args:
        reader: of the database.
        layouts: by number.
    """

    def __init__(self, reader: AuditReader, layouts: Mapping[int, Layout]) -> None:
        """Start with nothing seen."""
        self._reader = reader
        self._faces = _faces_of(layouts.values())
        self._changed: dict[int, set[int]] = defaultdict(set)
        self._removed: dict[int, set[int]] = defaultdict(set)
        self._made: dict[str, int] = defaultdict(int)
        self.rows = 0

    @property
    def made(self) -> dict[str, int]:
        """How many rows of each table were inserted by what was checked and are still there."""
        return dict(self._made)

    def skim(self, entries: Sequence[Entry]) -> None:
        """Go past entries that somebody else checks, newest first."""
        for entry_id, _at_us, _layout, _group, packed, _hash in entries:
            for code, ids, _marks in _items_of(entry_id, packed)[1]:
                base, kind = code & ~3, code & 3
                face = self._faces.get(base)
                if face is None or face.final:
                    continue
                if kind == Kind.DELETE:
                    self._removed[base].update(ids)
                if kind in {Kind.UPDATE, Kind.DELETE}:
                    self._changed[base].update(ids)
                else:
                    self._changed[base].difference_update(ids)
                    self._removed[base].difference_update(ids)

    def check(self, entries: Sequence[Entry]) -> Iterator[Break]:
        """Compare the rows of entries, newest first, with the database."""
        shared: list[_Shared] = []
        changing: dict[int, dict[int, tuple[bytes, int]]] = defaultdict(dict)
        absent: dict[int, dict[int, int]] = defaultdict(dict)
        for entry_id, _at_us, _layout, _group, packed, _hash in entries:
            digest, items = _items_of(entry_id, packed)
            final: list[Item] = []
            for item in items:
                code, ids, _marks = item
                face = self._faces.get(code & ~3)
                if face is None:
                    continue  # of a layout that cannot be read, which is named
                self.rows += len(ids)
                if not face.final:
                    self._take(entry_id, face, item, changing, absent)
                    continue
                final.append((code & ~3, *item[1:]))
                if face.first:
                    self._made[face.table] += len(ids)
            if final:
                shared.append(_Shared(entry_id, digest, final))
        yield from self._check_shared(shared)
        for base, wanted in changing.items():
            yield from self._check_changing(base, wanted)
        for base, gone in absent.items():
            for row in self._read(base, gone):
                yield Break(gone[row[0]], self._faces[base].table, row[0], "it was removed before")

    def never_made(self) -> Iterator[Break]:
        """Yield rows that entries changed though none inserted them; asked at the oldest entry."""
        for base, ids in self._changed.items():
            for row_id in sorted(ids)[:UNKNOWN_ROWS_MAX]:
                problem = "entries changed it, but the one that made it is not there"
                yield Break(None, self._faces[base].table, row_id, problem)

    def _take(
        self,
        entry_id: int,
        face: _Face,
        item: Item,
        changing: dict[int, dict[int, tuple[bytes, int]]],
        absent: dict[int, dict[int, int]],
    ) -> None:
        code, ids, marks = item
        base, kind = code & ~3, code & 3
        changed, removed = self._changed[base], self._removed[base]
        if kind == Kind.DELETE:
            changed.update(ids)
            removed.update(ids)
            absent[base].update((row_id, entry_id) for row_id in ids)
            return
        wanted = changing[base]
        fresh = kind != Kind.UPDATE
        for at, row_id in enumerate(ids):
            if row_id not in changed:
                wanted[row_id] = (marks[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES], entry_id)
                if not fresh:
                    changed.add(row_id)
            elif fresh:
                changed.discard(row_id)
        if fresh and face.first:
            gone = removed.intersection(ids) if removed else ()
            removed.difference_update(gone)
            self._made[face.table] += len(ids) - len(gone)

    def _read(self, base: int, wanted: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        """Yield the wanted rows of a face, and perhaps others."""
        face, ids = self._faces[base], sorted(wanted)
        if ids[-1] - ids[0] <= SPAN_PER_ROW_MAX * len(ids):
            yield from self._reader.rows_between(face.table, face.columns, ids[0], ids[-1])
        else:
            yield from self._reader.rows_of(face.table, face.columns, ids)

    def _check_changing(self, base: int, wanted: dict[int, tuple[bytes, int]]) -> Iterator[Break]:
        if not wanted:
            return
        face = self._faces[base]
        for row in self._read(base, wanted):
            found = wanted.pop(row[0], None)
            if found is not None and sha256(encode_row(row)).digest()[:DIGEST_BYTES] != found[0]:
                yield Break(found[1], face.table, row[0], _differs(face))
        for row_id, (_digest, entry_id) in wanted.items():
            yield Break(entry_id, face.table, row_id, "it is not there any more")

    def _check_shared(self, shared: Sequence[_Shared]) -> Iterator[Break]:
        ids: dict[int, list[int]] = defaultdict(list)
        for each in shared:
            for base, found, _marks in each.items:
                ids[base] += found
        rows = {
            base: {row[0]: encode_row(row) for row in self._read(base, wanted)}
            for base, wanted in ids.items()
        }
        for each in shared:
            try:
                encoded = [
                    rows[base][row_id] for base, wanted, _marks in each.items for row_id in wanted
                ]
            except KeyError:
                yield from self._name_shared(each, rows)
                continue
            if sha256(b"".join(encoded)).digest()[:DIGEST_BYTES] != each.digest:
                yield from self._name_shared(each, rows)

    def _name_shared(
        self, shared: _Shared, rows: Mapping[int, Mapping[int, bytes]]
    ) -> Iterator[Break]:
        """Yield which rows of an entry are at fault, by their marks."""
        named = False
        for base, ids, marks in shared.items:
            face = self._faces[base]
            for at, row_id in enumerate(ids):
                encoded = rows[base].get(row_id)
                mark = marks[at * CRC_BYTES : (at + 1) * CRC_BYTES]
                if encoded is None:
                    named = True
                    yield Break(shared.entry_id, face.table, row_id, "it is not there any more")
                elif crc32(encoded).to_bytes(CRC_BYTES, "big") != mark:
                    named = True
                    yield Break(shared.entry_id, face.table, row_id, _differs(face))
        if not named:
            base, ids, _marks = shared.items[0]
            problem = "it, or another row of this entry, is not what was written"
            yield Break(shared.entry_id, self._faces[base].table, ids[0], problem)


def _differs(face: _Face) -> str:
    names = ", ".join(face.columns[1:])
    return f"it is not what was written (one of {names})"


def read_items(entry: Entry, layouts: Mapping[int, Layout]) -> list[ReadItem]:
    """Return what an entry says, in words; nothing if it cannot be read."""
    faces = _faces_of(layouts.values())
    return [
        ReadItem(Kind(code & 3).name.lower(), face.table, face.name, ids)
        for code, ids, _marks in _items_of(entry[0], entry[4])[1]
        if (face := faces.get(code & ~3)) is not None
    ]


def inserted_ids(
    entries: Iterable[Sequence[Entry]], layouts: Mapping[int, Layout], table: str
) -> Iterator[int]:
    """Yield the id of every row of a table that an entry inserted."""
    faces = _faces_of(layouts.values())
    bases = {base for base, face in faces.items() if face.table == table and face.first}
    for chunk in entries:
        for entry in chunk:
            for code, ids, _marks in _items_of(entry[0], entry[4])[1]:
                if code & ~3 in bases and code & 3 in {Kind.INSERT, Kind.ADOPT}:
                    yield from ids


def unknown_rows(reader: AuditReader, table: str, known: Iterable[int]) -> Iterator[Break]:
    """Yield rows of a table that no entry inserted."""
    found = np.fromiter(reader.ids(table), dtype=np.int64)
    unknown = np.setdiff1d(found, np.fromiter(known, dtype=np.int64))
    for row_id in unknown[:UNKNOWN_ROWS_MAX].tolist():
        yield Break(None, table, row_id, "no entry knows it: it was added by other means")

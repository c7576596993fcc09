"""Compares the rows of the database with what the entries say of them, newest entry first.

Only the latest digest of a row can be compared with it, so the walk remembers the rows of changing
faces that a newer entry has changed, until it meets the entry that inserted them. Rows of final
faces are compared by the one digest that they share; when that differs, their short marks name the
row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate, islice
from operator import itemgetter
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


_SharedRows = tuple[bytes, list[tuple[int, int]], int, bytes]
"""Of one entry: the digest of its rows of final faces, face and count of these, id, content."""


@dataclass(slots=True)
class _Chunk:
    """What some entries say, newest first.

    Args:
        shared: entries that inserted rows of final faces.
        oldest: for each final face the first entry that has it, and its ids as they are coded.
        newest: the last one.
        changing: rows of changing faces to compare: their digest and their entry.
        absent: rows that were removed, and by which entry.
    """

    shared: list[_SharedRows] = field(default_factory=list)
    oldest: dict[int, tuple[int, int | list[int]]] = field(default_factory=dict)
    newest: dict[int, tuple[int, int | list[int]]] = field(default_factory=dict)
    changing: dict[int, dict[int, tuple[bytes, int]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    absent: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))


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
        self._codes = {base | kind: face for base, face in self._faces.items() for kind in Kind}
        self._bases: dict[str, list[int]] = defaultdict(list)
        for base, face in self._faces.items():
            self._bases[face.table].append(base)
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
        chunk = _Chunk()
        codes, counts = self._codes, defaultdict[int, int](int)
        oldest, newest = chunk.oldest, chunk.newest
        for entry_id, _at_us, _layout, _group, packed, _hash in entries:
            shared: list[tuple[int, int]] = []
            try:
                values = iter(_decode(packed))
                digest = next(values)
                for code, deltas, marks in zip(values, values, values, strict=True):
                    face = codes.get(code)
                    if face is None:
                        continue  # of a layout that cannot be read, which is named
                    if face.final:
                        base, count = code & ~3, len(marks) // CRC_BYTES
                        shared.append((base, count))
                        oldest[base] = (entry_id, deltas)
                        if code not in counts:
                            newest.setdefault(base, (entry_id, deltas))
                        counts[code] += count
                    else:
                        counts[code] += self._take(entry_id, face, code, deltas, marks, chunk)
                if shared:
                    chunk.shared.append((digest, shared, entry_id, packed))
            except (msgspec.DecodeError, TypeError, ValueError, StopIteration):
                continue  # the chain names an entry whose content was changed
        for code, count in counts.items():
            face = codes[code]
            self.rows += count
            if face.first and code & 3 in {Kind.INSERT, Kind.ADOPT}:
                self._made[face.table] += count
        yield from self._compare(chunk)

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
        code: int,
        deltas: int | list[int],
        marks: bytes,
        chunk: _Chunk,
    ) -> int:
        """Note rows of a changing face; return how many."""
        if isinstance(deltas, int):
            self._take_one(entry_id, face, code, entry_id - deltas, marks, chunk)
            return 1
        ids = _ids_of(entry_id, deltas)
        for at, row_id in enumerate(ids):
            mark = marks[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]
            self._take_one(entry_id, face, code, row_id, mark, chunk)
        return len(ids)

    def _take_one(
        self, entry_id: int, face: _Face, code: int, row_id: int, mark: bytes, chunk: _Chunk
    ) -> None:
        """Note a row of a changing face; one that a newer entry changed is not compared."""
        base, kind = code & ~3, code & 3
        changed = self._changed[base]
        if kind == Kind.UPDATE:
            if row_id not in changed:
                changed.add(row_id)
                chunk.changing[base][row_id] = (mark, entry_id)
        elif kind == Kind.DELETE:
            changed.add(row_id)
            self._removed[base].add(row_id)
            chunk.absent[base][row_id] = entry_id
        elif row_id not in changed:
            chunk.changing[base][row_id] = (mark, entry_id)
        else:
            changed.discard(row_id)
            if row_id in self._removed[base]:
                self._removed[base].discard(row_id)
                self._made[face.table] -= face.first

    # --- against the database ---------------------------------------------------------------------

    def _compare(self, chunk: _Chunk) -> Iterator[Break]:
        encoded: dict[int, list[bytes]] = {}
        spans: dict[str, tuple[int, int]] = {}
        for base, end in chunk.oldest.items():
            first, last = _ids_of(*end)[0], _ids_of(*chunk.newest[base])[-1]
            table = self._faces[base].table
            known = spans.get(table, (first, last))
            spans[table] = min(known[0], first), max(known[1], last)
        for table, span in spans.items():
            yield from self._read_span(table, span, chunk, encoded)
        if not _all_as_written(chunk.shared, encoded):
            yield from self._name_shared(chunk)
        for base, wanted in chunk.changing.items():
            yield from self._compare_left(base, wanted)
        for base, gone in chunk.absent.items():
            for row in self._read(base, gone):
                if row[0] in gone:
                    problem = "it was removed before"
                    yield Break(gone[row[0]], self._faces[base].table, row[0], problem)

    def _read_span(
        self,
        table: str,
        span: tuple[int, int],
        chunk: _Chunk,
        encoded: dict[int, list[bytes]],
    ) -> Iterator[Break]:
        """Read the rows that entries of a chunk inserted into a table, all their faces at once."""
        bases = [
            base for base in self._bases[table] if base in chunk.oldest or chunk.changing.get(base)
        ]
        columns = [column for base in bases for column in self._faces[base].columns]
        rows = self._reader.rows_between(table, columns, *span)
        start = 0
        for base in bases:
            face = self._faces[base]
            end = start + len(face.columns)
            parts = rows if len(bases) == 1 else map(itemgetter(slice(start, end)), rows)
            start = end
            if face.final:
                encoded[base] = list(map(encode_row, parts))
            else:
                yield from self._compare_rows(base, parts, chunk.changing[base])

    def _compare_rows(
        self, base: int, rows: Iterable[tuple[Any, ...]], wanted: dict[int, tuple[bytes, int]]
    ) -> Iterator[Break]:
        """Compare rows of a changing face; what was compared is wanted no more."""
        take = wanted.pop
        for row in rows:
            found = take(row[0], None)
            if found is not None and sha256(encode_row(row)).digest()[:DIGEST_BYTES] != found[0]:
                face = self._faces[base]
                yield Break(found[1], face.table, row[0], _differs(face))

    def _compare_left(self, base: int, wanted: dict[int, tuple[bytes, int]]) -> Iterator[Break]:
        """Compare rows of a changing face that were inserted before this chunk."""
        if not wanted:
            return
        yield from self._compare_rows(base, self._read(base, list(wanted)), wanted)
        for row_id, (_digest, entry_id) in wanted.items():
            yield Break(entry_id, self._faces[base].table, row_id, "it is not there any more")

    def _read(self, base: int, wanted: Iterable[int]) -> Iterable[tuple[Any, ...]]:
        """Return the wanted rows of a face, and perhaps others."""
        face, ids = self._faces[base], sorted(wanted)
        if ids[-1] - ids[0] <= SPAN_PER_ROW_MAX * len(ids):
            return self._reader.rows_between(face.table, face.columns, ids[0], ids[-1])
        return self._reader.rows_of(face.table, face.columns, ids)

    def _name_shared(self, chunk: _Chunk) -> Iterator[Break]:
        """Look at each entry by its ids and name the rows of final faces that are at fault."""
        entries = [
            _Shared(entry_id, digest, self._finals(entry_id, packed))
            for digest, _shared, entry_id, packed in chunk.shared
        ]
        ids: dict[int, list[int]] = defaultdict(list)
        for each in entries:
            for base, found, _marks in each.items:
                ids[base] += found
        rows = {
            base: {row[0]: encode_row(row) for row in self._read(base, wanted)}
            for base, wanted in ids.items()
        }
        for each in entries:
            found_rows = [
                rows[base].get(row_id, b"") for base, wanted, _ in each.items for row_id in wanted
            ]
            if sha256(b"".join(found_rows)).digest()[:DIGEST_BYTES] != each.digest:
                yield from self._name_rows(each, rows)

    def _finals(self, entry_id: int, packed: bytes) -> list[Item]:
        return [
            (code & ~3, ids, marks)
            for code, ids, marks in _items_of(entry_id, packed)[1]
            if code in self._codes and self._codes[code].final
        ]

    def _name_rows(
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


def _all_as_written(shared: Sequence[_SharedRows], encoded: Mapping[int, list[bytes]]) -> bool:
    """Tell whether rows, taken in the order of their ids, give the digests of all entries.

    The digest covers the ids, so nothing else has to be compared. Entries that did not insert in
    the order of their ids need to be looked at one by one.
    """
    rest = {base: iter(rows) for base, rows in encoded.items()}
    for digest, parts, _entry_id, _packed in reversed(shared):
        rows: list[bytes] = []
        for base, count in parts:
            rows += islice(rest[base], count)
        if sha256(b"".join(rows)).digest()[:DIGEST_BYTES] != digest:
            return False
    return all(next(rows, None) is None for rows in rest.values())


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

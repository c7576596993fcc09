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
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np

from slotmeter.storage.seal.gather import Chunk, Finals, Gatherer
from slotmeter.storage.seal.items import CRC_BYTES, Item, KnownFace, faces_of, items_of
from slotmeter.storage.seal.reader import AuditReader, Break, Entry
from slotmeter.storage.seal.unit_seal import DIGEST_BYTES, Kind, Layout, encode_row

__all__ = ["RowWalk", "unknown_rows"]

SPAN_PER_ROW_MAX: Final = 200
"""Rows are read as one span of ids while the span has at most so many ids for each of them."""

SPAN_MAX: Final = 200_000
"""A span of so many ids is read whatever is in it."""

UNKNOWN_ROWS_MAX: Final = 20
"""At most so many rows of one table that no entry knows are named."""

ID_MAX: Final = 2**63 - 1

FIXARRAY_MAX, ARRAY16_MAX = 15, 65_535
"""How many rows MessagePack counts in 1 and in 3 bytes; more take 5."""

IDS_AT_ONCE: Final = 100_000

PAGE_BITS: Final = 19
PAGE_MASK: Final = (1 << PAGE_BITS) - 1

Rows = list[tuple[Any, ...]]
Ids = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class _Shared(NamedTuple):
    """The rows of final faces of one entry: their common digest, and which they are, in order."""

    entry_id: int
    digest: bytes
    items: list[Item]


class RowWalk:
    """Walks entries from the newest to the oldest.

    Args:
        reader: of the database.
        layouts: by number.
    """

    def __init__(self, reader: AuditReader, layouts: Mapping[int, Layout]) -> None:
        """Start with nothing seen."""
        self._reader = reader
        self._faces = faces_of(layouts.values())
        self._gatherer = Gatherer(self._faces)
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
        chunk = self._gatherer.chunk(entries)
        for base in chunk.changing:
            self._remember(base, chunk)

    def check(self, entries: Sequence[Entry]) -> Iterator[Break]:
        """Compare the rows of entries, newest first, with the database."""
        chunk = self._gatherer.chunk(entries)
        wanted: dict[int, dict[int, bytes]] = {}
        for base in chunk.changing:
            latest = chunk.latest(base)
            for row_id in self._changed[base].intersection(latest):
                del latest[row_id]
            if latest:
                wanted[base] = latest
            back = self._remember(base, chunk)
            if self._faces[base].first:
                self._made[self._faces[base].table] -= back
        for code, count in chunk.counts.items():
            face = self._faces[code & ~3]
            self.rows += count
            if face.first and code & 3 in {Kind.INSERT, Kind.ADOPT}:
                self._made[face.table] += count
        yield from self._compare(chunk, wanted)

    def never_made(self) -> Iterator[Break]:
        """Yield rows that entries changed though none inserted them; asked at the oldest entry."""
        for base, ids in self._changed.items():
            for row_id in sorted(ids)[:UNKNOWN_ROWS_MAX]:
                problem = "entries changed it, but the one that made it is not there"
                yield Break(None, self._faces[base].table, row_id, problem)

    def _remember(self, base: int, chunk: Chunk) -> int:
        """Keep which rows of a changing face were changed; return how many that go were made."""
        changed, removed = self._changed[base], self._removed[base]
        inserted, gone = chunk.inserted.get(base, {}), chunk.removed.get(base, set())
        changed.update(*chunk.updated(base))
        changed |= gone
        changed.difference_update(inserted)
        removed |= gone
        before = len(removed)
        removed.difference_update(inserted)
        return before - len(removed)

    # --- against the database ---------------------------------------------------------------------

    def _compare(self, chunk: Chunk, wanted: dict[int, dict[int, bytes]]) -> Iterator[Break]:
        rows: dict[int, Rows] = {}
        spans: dict[str, tuple[int, int]] = {}
        for base, (first, last) in chunk.spans.items():
            table = self._faces[base].table
            known = spans.get(table, (first, last))
            spans[table] = min(known[0], first), max(known[1], last)
        blame = _Blame(chunk, self._faces)
        for table, (first, last) in spans.items():
            bases = [each for each in self._bases[table] if each in chunk.spans or each in wanted]
            if last - first <= self._span_max(bases, chunk):
                rows |= self._read_faces(table, bases, (first, last))
        for base in [base for base in rows if not self._faces[base].final]:
            yield from self._compare_rows(base, rows.pop(base), wanted[base], blame)
        if not _all_as_written(chunk.shared, rows):
            yield from self._name_shared(chunk)
        for base, left in wanted.items():
            yield from self._compare_left(base, left, blame)
        for base, gone in chunk.removed.items():
            for row in self._read(base, gone):
                if row[0] in gone:
                    entry_id = blame.entry_of(base, row[0])
                    yield Break(entry_id, self._faces[base].table, row[0], "it was removed before")

    def _span_max(self, bases: Sequence[int], chunk: Chunk) -> int:
        """Return how many ids the rows of these faces may span, to be read at once."""
        count = max(
            sum(chunk.counts.get(base | kind, 0) for kind in (Kind.INSERT, Kind.ADOPT))
            for base in bases
        )
        return max(SPAN_MAX, SPAN_PER_ROW_MAX * count)

    def _read_faces(
        self, table: str, bases: Sequence[int], span: tuple[int, int]
    ) -> dict[int, Rows]:
        """Read the rows of a span of ids, some of their faces at once."""
        columns = [column for base in bases for column in self._faces[base].columns]
        rows = self._reader.rows_between(table, columns, *span)
        if len(bases) == 1:
            return {bases[0]: list(rows)}
        found: dict[int, Rows] = {}
        start = 0
        for base in bases:
            end = start + len(self._faces[base].columns)
            found[base] = list(map(itemgetter(slice(start, end)), rows))
            start = end
        return found

    def _compare_rows(
        self, base: int, rows: Iterable[tuple[Any, ...]], wanted: dict[int, bytes], blame: _Blame
    ) -> Iterator[Break]:
        """Compare rows of a changing face; what was compared is wanted no more."""
        take, encode, digest_of = wanted.pop, encode_row, sha256
        for row in rows:
            mark = take(row[0], None)
            if mark is not None and digest_of(encode(row)).digest()[:DIGEST_BYTES] != mark:
                face = self._faces[base]
                yield Break(blame.entry_of(base, row[0]), face.table, row[0], _differs(face))

    def _compare_left(self, base: int, wanted: dict[int, bytes], blame: _Blame) -> Iterator[Break]:
        """Compare rows of a changing face that were inserted before this chunk."""
        if not wanted:
            return
        yield from self._compare_rows(base, self._read(base, list(wanted)), wanted, blame)
        for row_id in wanted:
            entry_id = blame.entry_of(base, row_id)
            yield Break(entry_id, self._faces[base].table, row_id, "it is not there any more")

    def _read(self, base: int, wanted: Iterable[int]) -> Iterable[tuple[Any, ...]]:
        """Return the wanted rows of a face, and perhaps others."""
        face, ids = self._faces[base], sorted(each for each in wanted if 0 <= each <= ID_MAX)
        if not ids:
            return ()
        if ids[-1] - ids[0] <= SPAN_PER_ROW_MAX * len(ids):
            return self._reader.rows_between(face.table, face.columns, ids[0], ids[-1])
        return self._reader.rows_of(face.table, face.columns, ids)

    def _name_shared(self, chunk: Chunk) -> Iterator[Break]:
        """Look at each entry by its ids and name the rows of final faces that are at fault."""
        entries = [
            _Shared(entry[0], digest, self._finals(entry))
            for entry, (digest, finals) in zip(chunk.entries, chunk.shared, strict=True)
            if finals
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

    def _finals(self, entry: Entry) -> list[Item]:
        return [
            (code & ~3, ids, marks)
            for code, ids, marks in items_of(entry[0], entry[4])[1]
            if code & ~3 in self._faces and self._faces[code & ~3].final
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
        if not named and shared.items:
            base, ids, _marks = shared.items[0]
            problem = "it, or another row of this entry, is not what was written"
            yield Break(shared.entry_id, self._faces[base].table, ids[0], problem)


class _Blame:
    """Finds which entry of a chunk spoke last of a row of a changing face."""

    def __init__(self, chunk: Chunk, faces: Mapping[int, KnownFace]) -> None:
        self._chunk = chunk
        self._faces = faces
        self._entries: dict[tuple[int, int], int] | None = None

    def entry_of(self, base: int, row_id: int) -> int | None:
        if self._entries is None:
            self._entries = {
                (code & ~3, each): entry[0]
                for entry in reversed(self._chunk.entries)
                for code, ids, _marks in items_of(entry[0], entry[4])[1]
                if code & ~3 in self._faces and not self._faces[code & ~3].final
                for each in ids
            }
        return self._entries.get((base, row_id))


def _all_as_written(shared: Sequence[tuple[bytes, Finals]], rows: Mapping[int, Rows]) -> bool:
    """Tell whether rows, taken in the order of their ids, give the digests of all entries.

    The digest covers the ids, so nothing else has to be compared. Entries that did not insert in
    the order of their ids need to be looked at one by one.
    """
    rest = {base: iter(found) for base, found in rows.items()}
    try:
        for digest, finals in reversed(shared):
            if not finals:
                continue
            taken: Rows = []
            for base, count in finals:
                taken += islice(rest[base], count)
            if _digest_of_rows(taken) != digest:
                return False
    except KeyError:  # rows too far apart to be read at once
        return False
    return all(next(found, None) is None for found in rest.values())


def _digest_of_rows(rows: Rows) -> bytes:
    """Return the digest of rows one after the other: encoded at once, without their count."""
    encoded = encode_row(rows)
    start = 1 if len(rows) <= FIXARRAY_MAX else 3 if len(rows) <= ARRAY16_MAX else 5
    return sha256(memoryview(encoded)[start:]).digest()[:DIGEST_BYTES]


def _differs(face: KnownFace) -> str:
    names = ", ".join(face.columns[1:])
    return f"it is not what was written (one of {names})"


class _IdSet:
    """Whole numbers that lie close together, a byte for each of them."""

    def __init__(self) -> None:
        self._pages: dict[int, Flags] = {}

    def add(self, ids: Ids) -> None:
        pages = ids >> PAGE_BITS
        for page in np.unique(pages).tolist():
            flags = self._pages.get(page)
            if flags is None:
                flags = self._pages[page] = np.zeros(1 << PAGE_BITS, dtype=np.bool_)
            flags[ids[pages == page] & PAGE_MASK] = True

    def without(self, ids: Ids) -> Ids:
        """Return which of these ids are not in the set."""
        pages = ids >> PAGE_BITS
        known = np.zeros(len(ids), dtype=np.bool_)
        for page in np.unique(pages).tolist():
            flags = self._pages.get(page)
            if flags is not None:
                here = pages == page
                known[here] = flags[ids[here] & PAGE_MASK]
        return ids[~known]


def _batches(ids: Iterable[int]) -> Iterator[Ids]:
    left = (each for each in ids if -ID_MAX <= each <= ID_MAX)
    while batch := list(islice(left, IDS_AT_ONCE)):
        yield np.array(batch, dtype=np.int64)


def unknown_rows(reader: AuditReader, table: str, known: Iterable[int]) -> Iterator[Break]:
    """Yield the first rows of a table that no entry inserted."""
    inserted = _IdSet()
    for ids in _batches(known):
        inserted.add(ids)
    unknown = (
        row_id for ids in _batches(reader.ids(table)) for row_id in inserted.without(ids).tolist()
    )
    for row_id in islice(unknown, UNKNOWN_ROWS_MAX):
        yield Break(None, table, row_id, "no entry knows it: it was added by other means")

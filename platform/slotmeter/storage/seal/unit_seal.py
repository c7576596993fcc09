"""Seals for what one unit of work writes, and for the units that share one commit.

Pure: nothing here reads or writes. A back end tells a :class:`UnitSeal` of every row it inserts,
changes or removes, inserts the *entry* that comes of it as the unit's last statement, and closes
each commit with a :class:`GroupSeal`:

* row: msgpack array of its id and the columns of one face, as they are stored
* items of an entry: msgpack array: 16 bytes of SHA-256 over all rows of final faces (empty without
  any), then for each face and kind of change three values: ``table * 64 + face * 4 + kind``, the
  ids, and the marks. Ids: the entry's id less the first, then each less the one before (one number
  for a single id). Marks: CRC-32 of each row of a final face, which only names a row at fault;
  16 bytes of SHA-256 of each row of a changing face; nothing for removed rows
* entry: SHA-256 over a domain, the layout's digest, id, time, group, and the items
* group: SHA-256 over a domain, its number, time, span of ids, the group before, and its entries
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from itertools import pairwise
from operator import itemgetter
from struct import Struct
from typing import Any, Final
from zlib import crc32

import msgspec

from slotmeter.ports import Insert, NewId, Row, SqlValue

__all__ = [
    "DIGEST_BYTES",
    "GENESIS",
    "Face",
    "GroupSeal",
    "Head",
    "Kind",
    "Layout",
    "SealedEntry",
    "SealedTable",
    "Seals",
    "Touch",
    "UnitSeal",
    "digest_of",
    "encode_row",
    "entry_hash",
    "group_hash",
]

DIGEST_BYTES: Final = 16
GENESIS: Final = bytes(32)
"""The hash before the first group."""

_ENTRY_DOMAIN: Final = b"slotmeter audit entry 1\0"
_GROUP_DOMAIN: Final = b"slotmeter audit group 1\0"
_ENTRY_HEAD: Final = Struct(">qqq")
_GROUP_HEAD: Final = Struct(">qqqqq")
_KIND_BITS: Final = 2
_FACE_BITS: Final = 4

encode_row: Final = msgspec.msgpack.Encoder().encode
"""Encode the id and the values of one face: the canonical form of a row."""


class Kind(IntEnum):
    """What a unit did to a row."""

    INSERT = 0
    UPDATE = 1
    DELETE = 2
    ADOPT = 3


def digest_of(encoded: bytes) -> bytes:
    """Return the digest of a row of a changing face."""
    return sha256(encoded).digest()[:DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Face:
    """Columns that change together.

    Args:
        final: written once with the row, never changed, and the row never removed.
        columns: without the id.
    """

    name: str
    final: bool
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealedTable:
    """How the rows of one table are sealed.

    Args:
        code: of its first face, for kind 0.
        defaults: what the database stores in columns that an insert does not name.
    """

    name: str
    code: int
    faces: tuple[Face, ...]
    defaults: Mapping[str, SqlValue]

    def code_of(self, face: int, kind: Kind) -> int:
        """Return what stands for a face and a kind of change in the items."""
        return self.code | face << _KIND_BITS | kind


@dataclass(frozen=True, slots=True)
class Touch:
    """What an update or a delete has to return for its seals.

    Args:
        columns: in this order, the id first.
        faces: for each face that it touches, its code, what takes the face out of such a row, and
            the code under which a row of the same unit was inserted.
    """

    columns: tuple[str, ...]
    faces: tuple[tuple[int, Callable[[Sequence[Any]], tuple[SqlValue, ...]], int], ...]
    removes: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """What is sealed and how: fixed for good under its number, as stored in ``audit_layout``."""

    number: int
    digest: bytes
    tables: Mapping[str, SealedTable] = field(compare=False)

    def updated(self, table: str, columns: Sequence[str]) -> Touch | None:
        """Return what an update of these columns has to return; None if it touches no seal.

        Raises:
            ValueError: it would change what is final.
        """
        sealed = self.tables.get(table)
        if sealed is None:
            return None
        touched = [
            (at, face)
            for at, face in enumerate(sealed.faces)
            if not set(columns).isdisjoint(face.columns)
        ]
        if not touched:
            return None
        for _at, face in touched:
            if face.final:
                both = sorted(set(columns) & set(face.columns))
                raise ValueError(f"{table}.{', '.join(both)} is sealed for good (see seal.faces)")
        names: list[str] = ["id"]
        faces = []
        for at, face in touched:
            start = len(names)
            names += face.columns
            pick = itemgetter(0, *range(start, len(names)))
            code = sealed.code_of(at, Kind.UPDATE)
            faces.append((code, pick, sealed.code_of(at, Kind.INSERT)))
        return Touch(tuple(names), tuple(faces))

    def removed(self, table: str) -> Touch | None:
        """Return what a delete has to return; None for a table that is not sealed.

        Raises:
            ValueError: rows of this table are never removed.
        """
        sealed = self.tables.get(table)
        if sealed is None:
            return None
        if len(sealed.faces) > 1 or sealed.faces[0].final:
            raise ValueError(f"rows of {table} are never removed (see seal.faces)")
        code = sealed.code_of(0, Kind.DELETE)
        pick = itemgetter(0, 0)
        return Touch(("id",), ((code, pick, sealed.code_of(0, Kind.INSERT)),), removes=True)


Pick = Callable[[Row], tuple[SqlValue, ...]]
Picks = tuple[tuple[int, Pick], ...]
"""The code of each face of a table, and what takes the face out of a row."""


def _pick(columns: Sequence[str], given: tuple[str, ...], defaults: Mapping[str, SqlValue]) -> Pick:
    take = itemgetter("id", *columns)
    absent = {name: defaults[name] for name in columns if name not in given}
    if not absent:
        return take
    return lambda row: take({**absent, **row})


class Seals:
    """Knows how to take the faces out of the rows that are inserted; kept between units."""

    def __init__(self, layout: Layout) -> None:
        """Start with no insert known."""
        self.layout = layout
        self.final = frozenset(
            table.code_of(at, kind)
            for table in layout.tables.values()
            for at, face in enumerate(table.faces)
            for kind in Kind
            if face.final
        )
        self.picks: dict[tuple[str, ...], Picks] = {}

    def learn(self, key: tuple[str, ...]) -> Picks:
        """Return and keep how rows of a table that have these columns are taken apart.

        Args:
            key: the table, then the columns.
        """
        sealed = self.layout.tables.get(key[0])
        found = self.picks[key] = () if sealed is None else _picks_of(sealed, key[1:])
        return found


def _picks_of(sealed: SealedTable, given: tuple[str, ...]) -> Picks:
    return tuple(
        (sealed.code_of(at, Kind.INSERT), _pick(face.columns, given, sealed.defaults))
        for at, face in enumerate(sealed.faces)
    )


class SealedEntry(msgspec.Struct, frozen=True):
    """The entry of one unit: the row to insert, and what its group needs of it."""

    id: int
    hash: bytes
    step: Insert


class UnitSeal:
    """Collects what one unit of work writes."""

    __slots__ = ("_groups", "_seals")

    def __init__(self, seals: Seals) -> None:
        """Start with nothing written."""
        self._seals = seals
        self._groups: dict[int, dict[int, bytes]] = {}

    def inserted(self, table: str, row: Row) -> None:
        """Note a row that is inserted; columns it does not name have their defaults."""
        self.inserted_together(table, (row,))

    def inserted_together(self, table: str, rows: Sequence[Row]) -> None:
        """Note rows that are inserted and name the same columns."""
        groups = self._groups
        key = (table, *rows[0])
        picks = self._seals.picks.get(key)
        if picks is None:
            picks = self._seals.learn(key)
        for code, pick in picks:
            sealed = groups.get(code)
            if sealed is None:
                sealed = groups[code] = {}
            for row in rows:
                values = pick(row)
                sealed[values[0]] = encode_row(values)  # type: ignore[index]  # a whole number

    def touched(self, touch: Touch, rows: Sequence[Sequence[Any]]) -> None:
        """Note rows that an update changed or a delete removed, as they were returned."""
        groups = self._groups
        for code, pick, inserted in touch.faces:
            fresh = groups.get(inserted)
            for row in rows:
                row_id = row[0]
                if touch.removes:
                    self._removed(code, inserted, row_id)
                elif fresh is not None and row_id in fresh:
                    fresh[row_id] = encode_row(pick(row))
                else:
                    groups.setdefault(code, {})[row_id] = encode_row(pick(row))

    def adopted(self, sealed: SealedTable, face: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """Note rows that were there before; each is the id and the values of one face."""
        self._groups.setdefault(sealed.code_of(face, Kind.ADOPT), {}).update(
            {row[0]: encode_row(row) for row in rows}
        )

    def _removed(self, code: int, inserted: int, row_id: int) -> None:
        fresh = self._groups.get(inserted)
        if fresh is not None and fresh.pop(row_id, None) is not None:
            return
        changed = self._groups.get(inserted | Kind.UPDATE)
        if changed is not None:
            changed.pop(row_id, None)
        self._groups.setdefault(code, {})[row_id] = b""

    def entry(self, new_id: NewId, at_us: int, group_seq: int) -> SealedEntry | None:
        """Return the entry of this unit; None if it wrote nothing that is sealed."""
        groups = self._groups
        if not groups:
            return None
        entry_id = new_id()
        is_final = self._seals.final
        final: list[bytes] = []
        items: list[Any] = [b""]
        for code, rows in groups.items():
            if not rows:
                continue
            if code in is_final:
                final += rows.values()
                marks = b"".join([crc32(row).to_bytes(4, "big") for row in rows.values()])
            elif code & 3 == Kind.DELETE:
                marks = b""
            else:
                marks = b"".join([sha256(row).digest()[:DIGEST_BYTES] for row in rows.values()])
            if len(rows) == 1:
                [only] = rows
                items += (code, entry_id - only, marks)
            else:
                items += (code, _deltas(entry_id, list(rows)), marks)
        if len(items) == 1:
            return None
        if final:
            items[0] = digest_of(b"".join(final))
        layout = self._seals.layout
        packed = encode_row(items)
        hashed = entry_hash(layout.digest, entry_id, at_us, group_seq, packed)
        row: dict[str, SqlValue] = {
            "id": entry_id,
            "at_us": at_us,
            "layout": layout.number,
            "group_seq": group_seq,
            "items": packed,
            "hash": hashed,
        }
        return SealedEntry(entry_id, hashed, Insert("audit_entry", row))


def _deltas(entry_id: int, ids: list[int]) -> list[int]:
    return [entry_id - ids[0], *(later - before for before, later in pairwise(ids))]


def entry_hash(layout: bytes, entry_id: int, at_us: int, group_seq: int, items: bytes) -> bytes:
    """Return the hash of an entry."""
    head = _ENTRY_HEAD.pack(entry_id, at_us, group_seq)
    return sha256(b"".join((_ENTRY_DOMAIN, layout, head, items))).digest()


def group_hash(
    seq: int, at_us: int, ids: tuple[int, int], before: bytes, entries: Sequence[bytes]
) -> bytes:
    """Return the hash of a group: it holds the one before, and those of its entries in order."""
    head = _GROUP_HEAD.pack(seq, at_us, *ids, len(entries))
    return sha256(b"".join((_GROUP_DOMAIN, head, before, *entries))).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """The newest group: where the chain goes on."""

    seq: int = 0
    hash: bytes = GENESIS


@dataclass(slots=True)
class GroupSeal:
    """Collects the entries of one commit.

    ``closed_head`` is where the chain goes on once :meth:`group` has closed it.
    """

    head: Head
    closed_head: Head = field(init=False)
    _entries: list[SealedEntry] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Without entries the chain stays where it is."""
        self.closed_head = self.head

    @property
    def seq(self) -> int:
        """The number of this group."""
        return self.head.seq + 1

    def add(self, entry: SealedEntry) -> None:
        """Take an entry, once its unit is written for good within the commit."""
        self._entries.append(entry)

    def group(self, at_us: int) -> Insert | None:
        """Return the row that closes the commit; None if no unit wrote anything sealed."""
        entries = self._entries
        if not entries:
            return None
        ids = (entries[0].id, entries[-1].id)
        hashes = [entry.hash for entry in entries]
        hashed = group_hash(self.seq, at_us, ids, self.head.hash, hashes)
        self.closed_head = Head(self.seq, hashed)
        return Insert(
            "audit_group",
            {
                "seq": self.seq,
                "at_us": at_us,
                "first_entry_id": ids[0],
                "last_entry_id": ids[1],
                "entries": len(entries),
                "prev_hash": self.head.hash,
                "hash": hashed,
            },
        )

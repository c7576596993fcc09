"""What the entries say of rows: faces by their codes, and the items of an entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import msgspec

from slotmeter.storage.seal.reader import Entry
from slotmeter.storage.seal.unit_seal import Kind, Layout

__all__ = [
    "CRC_BYTES",
    "Item",
    "KnownFace",
    "ReadItem",
    "decode_items",
    "faces_of",
    "ids_of",
    "inserted_ids",
    "items_of",
    "read_items",
]

CRC_BYTES: Final = 4
"""Of the mark of a row of a final face."""

decode_items: Final = msgspec.msgpack.Decoder(list[Any]).decode

Item = tuple[int, Sequence[int], bytes]
"""A face and a kind of change, the ids, and their marks."""


class ReadItem(NamedTuple):
    """What an entry says of some rows, in words."""

    kind: str
    table: str
    face: str
    ids: Sequence[int]


class KnownFace(NamedTuple):
    """A face of a table, as rows are read: with their ids.

    ``first`` is set for the face that each row of the table was inserted with.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    final: bool
    first: bool


def faces_of(layouts: Iterable[Layout]) -> dict[int, KnownFace]:
    """Return all faces by their code: in whichever layouts a code is, it stands for the same."""
    return {
        table.code_of(at, Kind.INSERT): KnownFace(
            face.name, table.name, ("id", *face.columns), face.final, at == 0
        )
        for layout in layouts
        for table in layout.tables.values()
        for at, face in enumerate(table.faces)
    }


def items_of(entry_id: int, packed: bytes) -> tuple[bytes, list[Item]]:
    """Return the digest of final rows, and the items; empty if they cannot be read.

    The chain names an entry whose content was changed.
    """
    try:
        digest, *values = decode_items(packed)
        found = [
            (code, ids_of(entry_id, deltas), marks)
            for code, deltas, marks in zip(values[::3], values[1::3], values[2::3], strict=True)
        ]
    except (msgspec.DecodeError, TypeError, ValueError, IndexError):
        return b"", []
    return digest, found


def ids_of(entry_id: int, deltas: int | list[int]) -> Sequence[int]:
    """Return the ids of rows as they are coded in an item."""
    if isinstance(deltas, int):
        return (entry_id - deltas,)
    return list(accumulate((entry_id - deltas[0], *deltas[1:])))


def read_items(entry: Entry, layouts: Mapping[int, Layout]) -> list[ReadItem]:
    """Return what an entry says, in words; nothing if it cannot be read."""
    faces = faces_of(layouts.values())
    return [
        ReadItem(Kind(code & 3).name.lower(), face.table, face.name, ids)
        for code, ids, _marks in items_of(entry[0], entry[4])[1]
        if (face := faces.get(code & ~3)) is not None
    ]


def inserted_ids(
    entries: Iterable[Sequence[Entry]], layouts: Mapping[int, Layout], table: str
) -> Iterator[int]:
    """Yield the id of every row of a table that an entry inserted."""
    faces = faces_of(layouts.values())
    bases = {base for base, face in faces.items() if face.table == table and face.first}
    for chunk in entries:
        for entry in chunk:
            for code, ids, _marks in items_of(entry[0], entry[4])[1]:
                if code & ~3 in bases and code & 3 in {Kind.INSERT, Kind.ADOPT}:
                    yield from ids

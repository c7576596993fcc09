"""The layout of the seals: which columns of which tables, fixed for good under a number.

Each layout is a row of ``audit_layout``, so that a database says itself how its rows were sealed.
When a version of slotmeter brings new tables or columns, the next layout is the one before and
what is new: a new table gets its faces, new columns of an old table a face of their own. What an
entry says therefore never needs an older version to be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table

from slotmeter.ports import Insert, SqlValue
from slotmeter.storage.schema import APPEND_ONLY
from slotmeter.storage.seal.faces import CHANGING, UNSEALED, UNSEALED_COLUMNS
from slotmeter.storage.seal.unit_seal import Face, Layout, SealedTable

__all__ = ["layout_insert", "layout_of", "next_layout", "unsealed_faces"]

_DOMAIN: Final = b"slotmeter audit layout 1\0"
_TABLE_BITS: Final = 6
FACES_MAX: Final = 16


def _default(column: Column[Any]) -> SqlValue:
    default: Any = column.server_default
    if default is None:
        return None
    text = str(default.arg)
    return int(text) if isinstance(column.type, BigInteger | Integer) else text


def _new_faces(table: Table) -> tuple[Face, ...]:
    """Return the faces of a table that was not sealed before."""
    changing = CHANGING.get(table.name, {})
    spoken_for = {name for columns in changing.values() for name in columns}
    left = UNSEALED_COLUMNS.get(table.name, frozenset()) | spoken_for | {"id"}
    rest = tuple(name for name in table.c.keys() if name not in left)  # noqa: SIM118  names only
    final = bool(changing) or table.name in APPEND_ONLY
    faces = [Face("row", final, rest)]
    faces += [Face(name, False, columns) for name, columns in changing.items()]
    return tuple(faces)


def _grown(table: Table, faces: tuple[Face, ...]) -> tuple[Face, ...]:
    """Add a face for columns that the faces of a table do not have yet."""
    known = {name for face in faces for name in face.columns}
    known |= UNSEALED_COLUMNS.get(table.name, frozenset()) | {"id"}
    fresh = tuple(name for name in table.c.keys() if name not in known)  # noqa: SIM118  names only
    if not fresh:
        return faces
    final = table.name in APPEND_ONLY
    return (*faces, Face(f"row{len(faces)}", final, fresh))


def _body(tables: Mapping[str, tuple[Face, ...]]) -> str:
    return json.dumps(
        [
            [name, [[face.name, face.final, list(face.columns)] for face in faces]]
            for name, faces in tables.items()
        ],
        separators=(",", ":"),
    )


def _faces(body: str) -> dict[str, tuple[Face, ...]]:
    return {
        name: tuple(Face(face, final, tuple(columns)) for face, final, columns in faces)
        for name, faces in json.loads(body)
    }


def layout_of(number: int, body: str, metadata: MetaData) -> Layout:
    """Read a layout as it is stored.

    Raises:
        ValueError: it names tables or columns that this version does not have.
    """
    tables = {}
    for at, (name, faces) in enumerate(_faces(body).items()):
        table = metadata.tables.get(name)
        if table is None:
            raise ValueError(f"layout {number} of the audit has a table {name!r}")
        defaults = {column: _default(table.c[column]) for face in faces for column in face.columns}
        tables[name] = SealedTable(name, at << _TABLE_BITS, faces, defaults)
    digest = sha256(_DOMAIN + number.to_bytes(8, "big") + body.encode()).digest()
    return Layout(number, digest, tables)


def next_layout(newest: tuple[int, str] | None, metadata: MetaData) -> tuple[int, str]:
    """Return number and body of the layout that this version's tables need.

    Args:
        newest: number and body of the newest layout of the database; None if it has none.
        metadata: the tables.

    Raises:
        ValueError: a table has no ``id`` that is a whole number, or too many faces.
    """
    number, body = newest or (0, "[]")
    faces = _faces(body)
    for name, table in sorted(metadata.tables.items()):
        if name in UNSEALED:
            continue
        key = table.c.get("id")
        if key is None or not key.primary_key or not isinstance(key.type, BigInteger):
            raise ValueError(f"table {name} has no whole number 'id' as its key; see seal.faces")
        faces[name] = _grown(table, faces[name]) if name in faces else _new_faces(table)
        if len(faces[name]) > FACES_MAX:
            raise ValueError(f"table {name} has more than {FACES_MAX} faces")
    grown = _body(faces)
    return (number, body) if grown == body else (number + 1, grown)


def layout_insert(layout: tuple[int, str], digest: bytes, at_us: int) -> Insert:
    """Return the row that stores a layout."""
    number, body = layout
    return Insert(
        "audit_layout", {"number": number, "at_us": at_us, "body": body, "digest": digest}
    )


def unsealed_faces(before: Layout | None, after: Layout) -> Iterator[tuple[SealedTable, int]]:
    """Yield the faces that a layout has and the one before had not: their rows are to adopt."""
    for table in after.tables.values():
        old = before.tables.get(table.name) if before is not None else None
        known = 0 if old is None else len(old.faces)
        for at in range(known, len(table.faces)):
            yield table, at

"""Reads what checking the audit needs from a SQLite file: ``seal.reader.AuditReader``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import bindparam
from sqlalchemy.dialects import sqlite

from slotmeter.errors import ConfigError
from slotmeter.storage.audit_names import name_from, name_query
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.reader import Checkpoint, Entry, Group
from slotmeter.storage.sqlite_unit import connect

__all__ = ["SqliteAuditReader"]

FETCH_GROUPS: Final = 2_000
CHUNK_ENTRIES_MAX: Final = 2_000
CHUNK_BYTES_MAX: Final = 1024 * 1024
IDS_PER_READ: Final = 500
LOOSE_ENDS_MAX: Final = 20

_ENTRY: Final = "SELECT id, at_us, layout, group_seq, items, hash FROM audit_entry"
_GROUP: Final = (
    "SELECT seq, at_us, first_entry_id, last_entry_id, entries, prev_hash, hash FROM audit_group"
)


def _text(stored: bytes) -> str:
    """Read text that may have been damaged: it shall differ, not fail."""
    return stored.decode("utf-8", errors="backslashreplace")


class SqliteAuditReader:
    """Reads one committed state of a database file."""

    def __init__(self, path: Path) -> None:
        """Open the file for reading and keep to the state that it is in.

        Raises:
            ConfigError: ``audit_missing`` or ``database_unusable``.
        """
        self._connection = connect(path, read_only=True)
        # Mapped pages would count as memory of this process, and are not read any faster.
        self._connection.execute("PRAGMA mmap_size=0")
        self._connection.execute("BEGIN")
        try:
            self._connection.execute("SELECT 1 FROM audit_layout").fetchone()
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise ConfigError(
                "audit_missing",
                f"{path.name} is of a release without an audit; a start of the server upgrades it",
            ) from error
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ConfigError(
                "database_unusable", f"{path.name} is not a slotmeter database: {error}"
            ) from error

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def layouts(self) -> Sequence[tuple[int, str, bytes]]:
        """Return the layouts; see ``AuditReader``."""
        return list(self._rows("SELECT number, body, digest FROM audit_layout ORDER BY number", ()))

    def groups(self, from_seq: int, to_seq: int) -> Iterator[Sequence[Group]]:
        """Yield groups; see ``AuditReader``."""
        query = f"{_GROUP} WHERE seq BETWEEN ? AND ? ORDER BY seq"
        cursor = self._connection.execute(query, (from_seq, to_seq))
        while rows := cursor.fetchmany(FETCH_GROUPS):
            yield [Group(*row) for row in rows]

    def newest_group(self) -> Group | None:
        """Return the newest group; see ``AuditReader``."""
        return self._group(f"{_GROUP} ORDER BY seq DESC LIMIT 1", ())

    def group(self, seq: int) -> Group | None:
        """Return one group; see ``AuditReader``."""
        return self._group(f"{_GROUP} WHERE seq = ?", (seq,))

    def _group(self, query: str, values: tuple[int, ...]) -> Group | None:
        row = self._connection.execute(query, values).fetchone()
        return None if row is None else Group(*row)

    def entries_up(self, first_id: int, last_id: int) -> Iterator[Entry]:
        """Yield entries in order; see ``AuditReader``."""
        query = f"{_ENTRY} WHERE id BETWEEN ? AND ? ORDER BY id"
        yield from self._connection.execute(query, (first_id, last_id))

    def entries_down(self, first_id: int, last_id: int) -> Iterator[Sequence[Entry]]:
        """Yield entries, newest first; see ``AuditReader``."""
        query = f"{_ENTRY} WHERE id BETWEEN ? AND ? ORDER BY id DESC"
        chunk: list[Entry] = []
        size = 0
        for entry in self._connection.execute(query, (first_id, last_id)):
            chunk.append(entry)
            size += len(entry[4])
            if len(chunk) >= CHUNK_ENTRIES_MAX or size >= CHUNK_BYTES_MAX:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def entries_after(self, last_id: int) -> Sequence[int]:
        """Return ids of entries; see ``AuditReader``."""
        query = "SELECT id FROM audit_entry WHERE id > ? ORDER BY id LIMIT ?"
        return [row[0] for row in self._connection.execute(query, (last_id, LOOSE_ENDS_MAX))]

    def rows_between(
        self, table: str, columns: Sequence[str], first_id: int, last_id: int
    ) -> Sequence[tuple[Any, ...]]:
        """Return rows of a span; see ``AuditReader``."""
        names = ", ".join(f'"{name}"' for name in columns)
        query = f'SELECT {names} FROM "{table}" WHERE id BETWEEN ? AND ? ORDER BY id'  # noqa: S608  names are ours
        return self._rows(query, (first_id, last_id))

    def rows_of(
        self, table: str, columns: Sequence[str], ids: Sequence[int]
    ) -> Iterable[tuple[Any, ...]]:
        """Yield rows by their ids; see ``AuditReader``."""
        names = ", ".join(f'"{name}"' for name in columns)
        for start in range(0, len(ids), IDS_PER_READ):
            some = ids[start : start + IDS_PER_READ]
            marks = ",".join("?" * len(some))
            query = f'SELECT {names} FROM "{table}" WHERE id IN ({marks})'  # noqa: S608  names are ours
            yield from self._rows(query, tuple(some))

    def count(self, table: str) -> int:
        """Count rows; see ``AuditReader``."""
        found: int = self._connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608  ours
        return found

    def ids(self, table: str) -> Iterable[int]:
        """Yield ids; see ``AuditReader``."""
        for row in self._connection.execute(f'SELECT id FROM "{table}"'):  # noqa: S608  ours
            yield row[0]

    def checkpoints(self) -> Sequence[Checkpoint]:
        """Return checkpoints; see ``AuditReader``."""
        query = (
            "SELECT id, at_us, seq, hash, public_key, signature FROM audit_checkpoint ORDER BY id"
        )
        return [Checkpoint(*row) for row in self._connection.execute(query)]

    def name_of(self, table: str, row_id: int) -> str:
        """Return what a row is called; see ``AuditReader``."""
        query = name_query(table) if table in METADATA.tables else None
        if query is None or "id" not in METADATA.tables[table].c:
            return ""
        named = query.where(METADATA.tables[table].c.id == bindparam("row_id"))
        text = str(named.compile(dialect=sqlite.dialect(paramstyle="named")))
        row = self._connection.execute(text, {"row_id": row_id}).fetchone()
        if row is None and table == "sale":
            row = self._connection.execute(
                "SELECT reason FROM journal WHERE sale_row_id = ?", (row_id,)
            ).fetchone()
        return "" if row is None else name_from(row)

    def _rows(self, query: str, values: Sequence[int]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            # Text that is no UTF-8 any more: slower, but it can be read and told apart.
            self._connection.text_factory = _text
            return self._connection.execute(query, values).fetchall()

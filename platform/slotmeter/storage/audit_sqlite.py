"""Reads what checking the audit needs from a SQLite file: ``seal.reader.AuditReader``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import bindparam
from sqlalchemy.dialects import sqlite

from slotmeter.errors import ConfigError
from slotmeter.storage.audit_names import name_from, name_query
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.reader import Checkpoint, Entry, Group
from slotmeter.storage.sqlite_unit import BUSY_TIMEOUT_MS, connect

try:
    import apsw
except ModuleNotFoundError:
    apsw = None  # type: ignore[assignment]  # slotmeter[audit] is not installed

__all__ = ["SqliteAuditReader"]

FAILURES: Final = (sqlite3.DatabaseError,) if apsw is None else (sqlite3.DatabaseError, apsw.Error)

FETCH_GROUPS: Final = 2_000
CHUNK_ENTRIES_MAX: Final = 2_000
CHUNK_BYTES_MAX: Final = 1024 * 1024
IDS_PER_READ: Final = 500
CACHE_KIB: Final = 16 * 1024
LOOSE_ENDS_MAX: Final = 20

_ENTRY: Final = "SELECT id, at_us, layout, group_seq, items, hash FROM audit_entry"
_GROUP: Final = (
    "SELECT seq, at_us, first_entry_id, last_entry_id, entries, prev_hash, hash FROM audit_group"
)


def _text(stored: bytes) -> str:
    """Read text that may have been damaged: it shall differ, not fail."""
    return stored.decode("utf-8", errors="backslashreplace")


def _damaged(error: Exception) -> ConfigError:
    return ConfigError(
        "database_damaged",
        f"SQLite cannot read the database ({error}): the file itself is damaged; restore a backup",
    )


def _fast_connection(path: Path) -> Any:
    """Open a file by a driver that hands rows over twice as fast, if it is installed.

    It brings a SQLite of its own. A process must never have a file open by two of them: to close
    one would let go of the locks of the other.
    """
    if apsw is None:
        return connect(path, read_only=True)
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA query_only=ON")
    return connection


class SqliteAuditReader:
    """Reads one committed state of a database file.

    Args:
        path: the file.
        own_process: nothing else in this process has the file open.
    """

    def __init__(self, path: Path, *, own_process: bool = False) -> None:
        """Open the file for reading and keep to the state that it is in.

        Raises:
            ConfigError: ``audit_missing`` or ``database_unusable``.
        """
        # Both drivers have what is used of it here.
        self._connection: Any = (
            _fast_connection(path) if own_process else connect(path, read_only=True)
        )
        self._connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
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
        columns = ("number", "body", "digest")
        return [
            (number, body, digest)
            for number, body, digest in self._rows("audit_layout", columns, "ORDER BY number", ())
        ]

    def groups(self, from_seq: int, to_seq: int) -> Iterator[Sequence[Group]]:
        """Yield groups; see ``AuditReader``."""
        query = f"{_GROUP} WHERE seq BETWEEN ? AND ? ORDER BY seq"
        found = self._each(query, (from_seq, to_seq))
        while rows := list(islice(found, FETCH_GROUPS)):
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
        yield from self._each(query, (first_id, last_id))

    def entries_down(self, first_id: int, last_id: int) -> Iterator[Sequence[Entry]]:
        """Yield entries, newest first; see ``AuditReader``."""
        query = f"{_ENTRY} WHERE id BETWEEN ? AND ? ORDER BY id DESC"
        chunk: list[Entry] = []
        size = 0
        for entry in self._each(query, (first_id, last_id)):
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
        return self._rows(
            table, columns, "WHERE id BETWEEN ? AND ? ORDER BY id", (first_id, last_id)
        )

    def rows_of(
        self, table: str, columns: Sequence[str], ids: Sequence[int]
    ) -> Iterable[tuple[Any, ...]]:
        """Yield rows by their ids; see ``AuditReader``."""
        for start in range(0, len(ids), IDS_PER_READ):
            some = tuple(ids[start : start + IDS_PER_READ])
            yield from self._rows(
                table, columns, f"WHERE id IN ({','.join('?' * len(some))})", some
            )

    def count(self, table: str) -> int:
        """Count rows; see ``AuditReader``."""
        found: int = self._connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608  ours
        return found

    def ids(self, table: str) -> Iterable[int]:
        """Yield ids; see ``AuditReader``."""
        for row in self._each(f'SELECT id FROM "{table}" ORDER BY id', ()):  # noqa: S608  ours
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
        try:
            row = self._connection.execute(text, {"row_id": row_id}).fetchone()
            if row is None and table == "sale":
                row = self._connection.execute(
                    "SELECT reason FROM journal WHERE sale_row_id = ?", (row_id,)
                ).fetchone()
        except (sqlite3.OperationalError, UnicodeDecodeError):
            return ""  # what it was called is no text any more
        return "" if row is None else name_from(row)

    def _rows(
        self, table: str, columns: Sequence[str], where: str, values: Sequence[int]
    ) -> list[tuple[Any, ...]]:
        names = ", ".join(f'"{name}"' for name in columns)
        query = f'SELECT {names} FROM "{table}" {where}'  # noqa: S608  names are ours
        try:
            found: list[tuple[Any, ...]] = self._connection.execute(query, values).fetchall()
        except (sqlite3.OperationalError, UnicodeDecodeError):
            return self._damaged_rows(table, columns, where, values)
        except FAILURES as error:
            raise _damaged(error) from error
        return found

    def _each(self, query: str, values: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(query, values)
        except FAILURES as error:
            raise _damaged(error) from error

    def _damaged_rows(
        self, table: str, columns: Sequence[str], where: str, values: Sequence[int]
    ) -> list[tuple[Any, ...]]:
        """Read text that is no UTF-8 any more: slower, but it can be read and told apart."""
        names = ", ".join(
            f"""CASE typeof("{name}") WHEN 'text' THEN CAST("{name}" AS BLOB) ELSE "{name}" END, """
            f"""typeof("{name}") = 'text'"""
            for name in columns
        )
        query = f'SELECT {names} FROM "{table}" {where}'  # noqa: S608  names are ours
        return [
            tuple(
                _text(value) if is_text else value
                for value, is_text in zip(row[::2], row[1::2], strict=True)
            )
            for row in self._each(query, values)
        ]

"""Reads what checking the audit needs from PostgreSQL: ``seal.reader.AuditReader``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import bindparam
from sqlalchemy.dialects import registry
from sqlalchemy.engine.interfaces import Dialect

from slotmeter.config import DatabaseConfig
from slotmeter.storage.audit_names import name_from, name_query
from slotmeter.storage.postgres_session import FAILURES, LONG_S, connect, meaning_of
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.reader import Checkpoint, Entry, Group

__all__ = ["PostgresAuditReader"]

FETCH_ROWS: Final = 2_000
FETCH_IDS: Final = 50_000
CHUNK_BYTES_MAX: Final = 1024 * 1024
LOOSE_ENDS_MAX: Final = 20

_DIALECT: Final[Dialect] = registry.load("postgresql.asyncpg")()

_ENTRY: Final = "SELECT id, at_us, layout, group_seq, items, hash FROM audit_entry"
_GROUP: Final = (
    "SELECT seq, at_us, first_entry_id, last_entry_id, entries, prev_hash, hash FROM audit_group"
)


class PostgresAuditReader:
    """Reads one committed state of a database, on a session and an event loop of its own.

    Checking is a plain loop over rows, on a process of its own; only the driver is asynchronous.

    Args:
        config: of the database.
        own_process: see ``SqliteAuditReader``; sessions do not disturb each other.
    """

    def __init__(self, config: DatabaseConfig, *, own_process: bool = False) -> None:
        """Open a session and keep to the state that the database is in."""
        self._loop = asyncio.new_event_loop()
        try:
            self._connection: asyncpg.Connection[Any] = self._wait(self._open(config))
        except BaseException:
            self._loop.close()
            raise

    async def _open(self, config: DatabaseConfig) -> asyncpg.Connection[Any]:
        try:
            connection = await connect(config, writes=False)
            await connection.execute(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"
            )
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            await connection.execute("SELECT 1 FROM audit_layout")
        except FAILURES as error:
            raise meaning_of(error) from error
        return connection

    def _wait(self, doing: Any) -> Any:
        return self._loop.run_until_complete(doing)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        found = self._wait(self._connection.fetch(query, *values, timeout=LONG_S))
        return [tuple(row) for row in found]

    def close(self) -> None:
        """Let go of the database."""
        self._wait(self._connection.close())
        self._loop.close()

    def layouts(self) -> Sequence[tuple[int, str, bytes]]:
        """Return the layouts; see ``AuditReader``."""
        rows = self._rows("SELECT number, body, digest FROM audit_layout ORDER BY number")
        return [(number, body, digest) for number, body, digest in rows]

    def groups(self, from_seq: int, to_seq: int) -> Iterator[Sequence[Group]]:
        """Yield groups; see ``AuditReader``."""
        query = f"{_GROUP} WHERE seq BETWEEN $1 AND $2 ORDER BY seq LIMIT {FETCH_ROWS}"
        while rows := self._rows(query, from_seq, to_seq):
            yield [Group(*row) for row in rows]
            from_seq = rows[-1][0] + 1

    def newest_group(self) -> Group | None:
        """Return the newest group; see ``AuditReader``."""
        return self._group(f"{_GROUP} ORDER BY seq DESC LIMIT 1")

    def group(self, seq: int) -> Group | None:
        """Return one group; see ``AuditReader``."""
        return self._group(f"{_GROUP} WHERE seq = $1", seq)

    def _group(self, query: str, *values: int) -> Group | None:
        rows = self._rows(query, *values)
        return Group(*rows[0]) if rows else None

    def entries_up(self, first_id: int, last_id: int) -> Iterator[Entry]:
        """Yield entries in order; see ``AuditReader``."""
        query = f"{_ENTRY} WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT {FETCH_ROWS}"
        while rows := self._rows(query, first_id, last_id):
            for row in rows:
                yield _entry(row)
            first_id = rows[-1][0] + 1

    def entries_down(self, first_id: int, last_id: int) -> Iterator[Sequence[Entry]]:
        """Yield entries, newest first; see ``AuditReader``."""
        query = f"{_ENTRY} WHERE id BETWEEN $1 AND $2 ORDER BY id DESC LIMIT {FETCH_ROWS}"
        while rows := self._rows(query, first_id, last_id):
            chunk: list[Entry] = []
            size = 0
            for row in rows:
                chunk.append(_entry(row))
                size += len(row[4])
                if size >= CHUNK_BYTES_MAX:
                    yield chunk
                    chunk, size = [], 0
            if chunk:
                yield chunk
            last_id = rows[-1][0] - 1

    def entries_after(self, last_id: int) -> Sequence[int]:
        """Return ids of entries; see ``AuditReader``."""
        query = f"SELECT id FROM audit_entry WHERE id > $1 ORDER BY id LIMIT {LOOSE_ENDS_MAX}"  # noqa: S608  a number
        return [row[0] for row in self._rows(query, last_id)]

    def rows_between(
        self, table: str, columns: Sequence[str], first_id: int, last_id: int
    ) -> Sequence[tuple[Any, ...]]:
        """Return rows of a span; see ``AuditReader``."""
        query = f"{_select(table, columns)} WHERE id BETWEEN $1 AND $2 ORDER BY id"
        return self._rows(query, first_id, last_id)

    def rows_of(
        self, table: str, columns: Sequence[str], ids: Sequence[int]
    ) -> Iterable[tuple[Any, ...]]:
        """Return rows by their ids; see ``AuditReader``."""
        return self._rows(f"{_select(table, columns)} WHERE id = ANY($1)", list(ids))

    def count(self, table: str) -> int:
        """Count rows; see ``AuditReader``."""
        found: int = self._rows(f'SELECT count(*) FROM "{table}"')[0][0]  # noqa: S608  ours
        return found

    def ids(self, table: str) -> Iterable[int]:
        """Yield ids; see ``AuditReader``."""
        after = -(2**63)
        query = f'SELECT id FROM "{table}" WHERE id > $1 ORDER BY id LIMIT {FETCH_IDS}'  # noqa: S608  ours
        while rows := self._rows(query, after):
            for row in rows:
                yield row[0]
            after = rows[-1][0]

    def checkpoints(self) -> Sequence[Checkpoint]:
        """Return checkpoints; see ``AuditReader``."""
        query = (
            "SELECT id, at_us, seq, hash, public_key, signature FROM audit_checkpoint ORDER BY id"
        )
        return [Checkpoint(*row) for row in self._rows(query)]

    def name_of(self, table: str, row_id: int) -> str:
        """Return what a row is called; see ``AuditReader``."""
        target = METADATA.tables.get(table)
        query = None if target is None or "id" not in target.c else name_query(table)
        if target is None or query is None:
            return ""
        named = query.where(target.c.id == bindparam("row_id"))
        text = str(named.compile(dialect=_DIALECT))
        rows = self._rows(text, row_id)
        if not rows and table == "sale":
            rows = self._rows("SELECT reason FROM journal WHERE sale_row_id = $1", row_id)
        return name_from(rows[0]) if rows else ""


def _entry(row: tuple[Any, ...]) -> Entry:
    number, at_us, layout, group_seq, items, hashed = row
    return number, at_us, layout, group_seq, items, hashed


def _select(table: str, columns: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    return f'SELECT {names} FROM "{table}"'  # noqa: S608  names are ours

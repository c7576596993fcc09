"""Reads of the catalogue on PostgreSQL for programs that are no servers, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.ports import SqlValue
from slotmeter.storage.dialects.postgresql import Gap, read_in_pieces
from slotmeter.storage.postgres_session import FAILURES, LONG_S, connect, meaning_of
from slotmeter.storage.statements import catalogue

__all__ = ["PostgresSource"]

T = TypeVar("T")


class PostgresSource:
    """A session with an event loop of its own; no loop may run in the thread that uses it.

    Args:
        config: of the database.
        fetch_rows: as many rows are in memory at once.
    """

    def __init__(self, config: DatabaseConfig, fetch_rows: int) -> None:
        """Open the session."""
        self._fetch_rows = fetch_rows
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection[Any] = self._wait(self._open(config))

    @staticmethod
    async def _open(config: DatabaseConfig) -> asyncpg.Connection[Any]:
        connection = await connect(config, writes=False)
        await connection.execute(
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"
        )
        return connection

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(work)
        except FAILURES as error:
            raise meaning_of(error) from error

    def all(self, name: str, params: Mapping[str, SqlValue]) -> list[tuple[Any, ...]]:
        """Return all rows of a read."""
        text, values = _written(name, params)
        found = self._wait(self._connection.fetch(text, *values, timeout=LONG_S))
        return [tuple(row) for row in found]

    def some(self, name: str, params: Mapping[str, SqlValue]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a read, all of one state of the database, some at a time."""
        text, values = _written(name, params)
        transaction = self._connection.transaction(isolation="repeatable_read", readonly=True)
        self._wait(transaction.start())
        try:
            cursor = self._wait(self._cursor(text, values))
            while rows := self._wait(cursor.fetch(self._fetch_rows, timeout=LONG_S)):
                yield [tuple(row) for row in rows]
        finally:
            self._wait(transaction.rollback())

    async def _cursor(self, text: str, values: list[SqlValue]) -> Any:
        return await self._connection.cursor(text, *values, timeout=LONG_S)

    def close(self) -> None:
        """Let go of the server."""
        self._connection.terminate()
        self._runner.close()


def _written(name: str, params: Mapping[str, SqlValue]) -> tuple[str, list[SqlValue]]:
    """Return the text of a read with its arguments in order."""
    names: list[str] = []

    def fill(gap: Gap) -> str:
        if gap.name not in names:
            names.append(gap.name)
        return f"${names.index(gap.name) + 1}"

    text = read_in_pieces(catalogue().reads[name]).text(fill)
    return text, [params[each] for each in names]

"""Sessions that only read: a few, opened as they are needed, opened again when they are lost."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import Unavailable
from slotmeter.ports import Reads, Rows
from slotmeter.storage.postgres_reads import ReadRuns, has_choices, make_reads
from slotmeter.storage.postgres_session import FAILURES, connect, is_lost, meaning_of

__all__ = ["ReadPool"]

TRIES: Final = 2
"""A read changes nothing: when its session was lost it is simply made again."""

LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    OSError,
)

SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class ReadPool:
    """Reads on one server.

    Args:
        config: of the database.
        runs: compiled reads.
        url: another address than that of the config.
    """

    def __init__(self, config: DatabaseConfig, runs: ReadRuns, url: str | None = None) -> None:
        """Open nothing yet."""
        self._config = config
        self._runs = runs
        self._url = url
        self._idle: list[asyncpg.Connection[Any]] = []
        self._free = asyncio.Semaphore(max(1, config.pool_max - 1))

    async def read(self, reads: Reads) -> Rows:
        """Make reads that see one committed state.

        Raises:
            Unavailable: ``database_unavailable`` or ``database_slow``; ``database_busy`` when no
                session became free in the time for one statement.
        """
        await self._wait_for_a_session()
        try:
            for _ in range(TRIES - 1):
                try:
                    return await self._read(reads)
                except LOST:
                    self._close_idle()
            return await self._read(reads)
        except FAILURES as error:
            raise self._said(error) from error
        finally:
            self._free.release()

    async def _wait_for_a_session(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._config.statement_timeout_s):
                await self._free.acquire()
        except TimeoutError as error:
            raise Unavailable(
                "database_busy",
                f"all {max(1, self._config.pool_max - 1)} sessions that read are in use "
                "(database.pool_max); try again",
            ) from error

    def _said(self, error: BaseException) -> Exception:
        if isinstance(error, asyncpg.QueryCanceledError):
            return Unavailable(
                "database_slow",
                f"this took longer than {self._config.statement_timeout_s:g} s "
                "(database.statement_timeout_s); ask for less, or later",
            )
        return meaning_of(error)

    async def _read(self, reads: Reads) -> Rows:
        connection = self._take()
        if connection is None:
            connection = await connect(self._config, url=self._url, writes=False)
        try:
            rows = await self._made(connection, reads)
        except asyncpg.PostgresError as error:
            if is_lost(connection, error) or connection.is_in_transaction():
                connection.terminate()
            else:
                self._idle.append(connection)
            raise
        except BaseException:
            connection.terminate()
            raise
        self._idle.append(connection)
        return rows

    async def _made(self, connection: asyncpg.Connection[Any], reads: Reads) -> Rows:
        if not has_choices(reads):
            return await make_reads(connection, self._runs, reads)
        await connection.execute(SNAPSHOT)
        rows = await make_reads(connection, self._runs, reads)
        await connection.execute("COMMIT")
        return rows

    def _take(self) -> asyncpg.Connection[Any] | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _close_idle(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    async def close(self) -> None:
        """Let go of the server."""
        self._close_idle()

"""One full server for each database on PostgreSQL, by a lock that ends with its session.

The lock of a data folder keeps a second one off on the same machine; this one does so wherever it
runs. Whoever only serves HTTP takes neither.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final, Self

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import ConfigError, SlotmeterError
from slotmeter.storage.postgres_session import FAILURES, connect, place_of, unusable

__all__ = ["SOLE_LOCK", "SoleServer"]

LOG = logging.getLogger("slotmeter.storage")

SOLE_LOCK: Final = 0x736C6F75
"""The advisory lock of the full server."""

WAIT_S: Final = 30.0
"""A server whose machine lost its power is gone for PostgreSQL after so long; see ``GONE``."""

ASK_EVERY_S: Final = 1.0

LOOK_EVERY_S: Final = 10.0
"""A session that was cut off without a word is noticed by asking."""

GONE: Final = """
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3
"""

TAKE: Final = "SELECT pg_try_advisory_lock($1)"


class SoleServer:
    """Holds the lock.

    Args:
        config: of the database.
        connection: open; the lock is its own.
    """

    def __init__(self, config: DatabaseConfig, connection: asyncpg.Connection[Any]) -> None:
        """Hold what :meth:`take` took."""
        self._config = config
        self._connection = connection
        self.displaced = False
        """Whether another full server took over while this one had lost its session."""

    @classmethod
    async def take(cls, config: DatabaseConfig, *, wait_s: float = WAIT_S) -> Self:
        """Take the lock; one that is held may be of a server that is just gone.

        Raises:
            ConfigError: ``database_in_use``, ``database_unusable``.
        """
        try:
            connection = await _opened(config)
            try:
                await _wait_for(connection, config, wait_s)
            except BaseException:
                connection.terminate()
                raise
        except FAILURES as error:
            raise unusable(config, error) from error
        return cls(config, connection)

    async def keep(self) -> None:
        """Take the lock again whenever its session was lost, for as long as the server runs."""
        while True:
            await _until_lost(self._connection, self._config.connect_timeout_s)
            await self._take_again()

    async def _take_again(self) -> None:
        while True:
            try:
                connection = await _opened(self._config)
            except (*FAILURES, SlotmeterError):
                await asyncio.sleep(ASK_EVERY_S)
                continue
            try:
                while not connection.is_closed():
                    if await connection.fetchval(TAKE, SOLE_LOCK):
                        self._connection, self.displaced = connection, False
                        return
                    self._say_displaced()
                    await asyncio.sleep(ASK_EVERY_S)
            except FAILURES:
                connection.terminate()
            except BaseException:
                connection.terminate()
                raise

    def _say_displaced(self) -> None:
        if not self.displaced:
            LOG.error(
                "another full server works on %s now; stop one of the two",
                place_of(self._config.url),
            )
        self.displaced = True

    async def close(self) -> None:
        """Let go of the lock."""
        self._connection.terminate()


async def _opened(config: DatabaseConfig) -> asyncpg.Connection[Any]:
    connection = await connect(config, writes=True)
    try:
        await connection.execute(GONE)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _wait_for(
    connection: asyncpg.Connection[Any], config: DatabaseConfig, wait_s: float
) -> None:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    said = False
    while not await connection.fetchval(TAKE, SOLE_LOCK):
        if loop.time() >= until_s:
            raise ConfigError(
                "database_in_use",
                f"another full server works on {place_of(config.url)}; stop it, or start this one "
                "with --role api",
                field="database.url",
            )
        if not said:
            LOG.warning("another full server works on %s; waiting", place_of(config.url))
        said = True
        await asyncio.sleep(ASK_EVERY_S)


async def _until_lost(connection: asyncpg.Connection[Any], answer_s: float) -> None:
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _connection: lost.set())
    try:
        while not connection.is_closed():
            with suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), LOOK_EVERY_S)
                return
            await connection.execute("SELECT 1", timeout=answer_s)
    except FAILURES:
        connection.terminate()

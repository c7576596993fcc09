"""Wake-ups between processes that share a database: they carry no truth and may be lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import SlotmeterError
from slotmeter.storage.postgres_session import FAILURES, connect

__all__ = ["Wakes"]

CHANNEL: Final = "slotmeter"
LOOK_EVERY_S: Final = 5.0


class Wakes:
    """Tells other processes that something was written, and hears it from them.

    Args:
        config: of the database.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        """Hear nothing yet."""
        self._config = config
        self._own = secrets.token_hex(8)
        self._task: asyncio.Task[None] | None = None

    @property
    def statement(self) -> str:
        """What a transaction runs so that others are woken when it commits."""
        return f"NOTIFY {CHANNEL}, '{self._own}';"

    def listen(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever another process has written, for as long as this one runs."""
        self._task = asyncio.create_task(self._listen(wake), name="listen to PostgreSQL")

    async def _listen(self, wake: Callable[[], None]) -> None:
        def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            if payload != self._own:
                wake()

        while True:
            try:
                connection = await connect(self._config, writes=False)
                try:
                    await connection.add_listener(CHANNEL, heard)
                    await _stay(connection)
                finally:
                    connection.terminate()
            except (*FAILURES, SlotmeterError):
                await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


async def _stay(connection: asyncpg.Connection[Any]) -> None:
    """Stay for as long as the session lasts."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _connection: lost.set())
    await lost.wait()

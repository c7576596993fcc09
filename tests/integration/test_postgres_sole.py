"""Two full servers never work on one PostgreSQL database, wherever they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from slotmeter.config import DatabaseConfig
from slotmeter.errors import ConfigError
from slotmeter.storage import postgres_sole
from slotmeter.storage.postgres_sole import SOLE_LOCK, SoleServer
from slotmeter.testing.postgres_server import PostgresServer

PATIENCE_S = 20.0


@pytest.fixture
def config(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseConfig]:
    monkeypatch.setattr(postgres_sole, "ASK_EVERY_S", 0.05)
    name = postgres.make_database()
    yield DatabaseConfig(url=postgres.url(name), require_durable=False)
    postgres.drop_database(name)


@pytest.fixture
async def sole(config: DatabaseConfig) -> AsyncIterator[SoleServer]:
    taken = await SoleServer.take(config)
    yield taken
    await taken.close()


def _end_its_session(postgres: PostgresServer) -> None:
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks "  # noqa: S608  a number
        f"WHERE locktype = 'advisory' AND objid = {SOLE_LOCK} AND granted"
    )


async def test_a_second_full_server_is_refused_and_told_what_to_do(
    sole: SoleServer, config: DatabaseConfig
) -> None:
    with pytest.raises(ConfigError) as refused:
        await SoleServer.take(config, wait_s=0.2)

    assert refused.value.code == "database_in_use"
    assert "--role api" in refused.value.message
    assert not sole.displaced


async def test_a_server_that_follows_one_that_is_just_gone_waits_for_it(
    sole: SoleServer, config: DatabaseConfig
) -> None:
    waiting = asyncio.create_task(SoleServer.take(config, wait_s=PATIENCE_S))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    await sole.close()

    taken = await waiting

    assert done == set()
    await taken.close()


async def test_a_lock_that_was_lost_is_taken_again(
    sole: SoleServer, config: DatabaseConfig, postgres: PostgresServer
) -> None:
    keeping = asyncio.create_task(sole.keep())
    before = sole._connection
    await asyncio.to_thread(_end_its_session, postgres)
    async with asyncio.timeout(PATIENCE_S):
        while sole._connection is before:  # noqa: ASYNC110  nothing of ours is told
            await asyncio.sleep(0.05)

    with pytest.raises(ConfigError):
        await SoleServer.take(config, wait_s=0.1)
    keeping.cancel()


async def test_a_server_that_was_displaced_says_so_until_the_other_is_gone(
    sole: SoleServer, config: DatabaseConfig, postgres: PostgresServer
) -> None:
    await asyncio.to_thread(_end_its_session, postgres)
    other = await SoleServer.take(config, wait_s=PATIENCE_S)
    keeping = asyncio.create_task(sole.keep())
    await _until(sole, displaced=True)

    await other.close()
    await _until(sole, displaced=False)

    keeping.cancel()


class _Line:
    """A line to a server that can go dead: neither side hears that the other is gone."""

    def __init__(self, port: int) -> None:
        self._to_port = port
        self._dead: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Return the port to connect to."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def go_dead(self) -> None:
        """Forward nothing any more of the connections that there are."""
        self._dead |= self._open

    def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._open |= {writer, back}
        await asyncio.gather(self._forward(reader, back), self._forward(there, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if writer not in self._dead:
                writer.write(data)
        if writer not in self._dead:
            writer.close()


async def test_a_server_whose_line_went_dead_finds_that_another_one_took_over(
    config: DatabaseConfig, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_sole, "LOOK_EVERY_S", 0.1)
    line = _Line(postgres.port)
    port = await line.open()
    far = config.url.replace(f":{postgres.port}/", f":{port}/")
    sole = await SoleServer.take(config.model_copy(update={"url": far, "connect_timeout_s": 1.0}))
    keeping = asyncio.create_task(sole.keep())
    line.go_dead()
    await asyncio.to_thread(_end_its_session, postgres)

    other = await SoleServer.take(config, wait_s=PATIENCE_S)

    await _until(sole, displaced=True)
    keeping.cancel()
    await other.close()
    await sole.close()
    line.close()


async def _until(sole: SoleServer, *, displaced: bool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sole.displaced is not displaced:  # noqa: ASYNC110  nothing of ours is told
            await asyncio.sleep(0.05)

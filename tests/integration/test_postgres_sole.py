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


async def _until(sole: SoleServer, *, displaced: bool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sole.displaced is not displaced:  # noqa: ASYNC110  nothing of ours is told
            await asyncio.sleep(0.05)

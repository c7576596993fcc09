"""The tables on PostgreSQL: brought up to date when the database is opened, checked ever after."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.storage.migrate import HEAD, check_known, migrations, script
from slotmeter.storage.postgres_session import LONG_S, place_of

__all__ = ["bring_up_to_date", "check_revision", "revision"]

LOG = logging.getLogger("slotmeter.storage")


async def revision(connection: asyncpg.Connection[Any]) -> str | None:
    """Return the revision that a database is at, or None for an empty one."""
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return found


async def bring_up_to_date(connection: asyncpg.Connection[Any], config: DatabaseConfig) -> None:
    """Create or upgrade the tables, inside a transaction that holds the writer's lock.

    Raises:
        ConfigError: ``database_newer`` when a later version of slotmeter made the database;
            ``database_unusable`` when it holds something else.
    """
    at = await revision(connection)
    if at == HEAD:
        return
    place = place_of(config.url)
    if at is not None:
        await asyncio.to_thread(check_known, migrations("postgresql"), place, at)
    elif await connection.fetchval("SELECT to_regclass('sale')") is not None:
        raise ConfigError(
            "database_unusable", f"{place} holds tables that are not slotmeter's; take an empty one"
        )
    LOG.info("bringing %s from revision %s to %s", place, at or "none", HEAD)
    await connection.execute("SET LOCAL statement_timeout = 0")
    await connection.execute(await asyncio.to_thread(script, at), timeout=LONG_S)


async def check_revision(connection: asyncpg.Connection[Any], config: DatabaseConfig) -> None:
    """Refuse to write to tables of another version: somebody changed them while we ran.

    Raises:
        Unavailable: ``database_revision``.
    """
    at = await revision(connection)
    if at != HEAD:
        raise Unavailable(
            "database_revision",
            f"{place_of(config.url)} is at revision {at or 'none'} now, and this server needs "
            f"{HEAD}; restart it with the version that fits",
        )

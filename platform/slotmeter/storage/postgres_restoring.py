"""The mark on a database that a restore fills: until it is taken off, no server starts there.

A dump comes in as one transaction, so that it is there whole or not at all; what must follow it (to
remember that the database is a copy) comes after. The mark is a table made before the dump.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import ConfigError, Refused
from slotmeter.storage.postgres_session import FAILURES, connect, place_of, unusable

__all__ = ["MARK", "begin_restore", "end_restore", "refuse_unfinished"]

MARK: Final = "slotmeter_restoring"

IS_THERE: Final = "SELECT to_regclass($1) IS NOT NULL"

OTHERS: Final = """
SELECT count(*) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> $1
"""


async def begin_restore(config: DatabaseConfig, digest: str) -> bool:
    """Mark an empty database as one that is being filled; return whether the dump is in it already.

    Args:
        config: of the database.
        digest: of the dump; a restore that was cut off goes on with the same one only.

    Raises:
        ConfigError: ``database_unusable``.
        Refused: ``database_not_empty``; ``restore_of_another``: another dump is in it.
    """
    connection = await _connected(config)
    try:
        tables = int(await connection.fetchval(OTHERS, MARK))
        if not await connection.fetchval(IS_THERE, MARK):
            if tables:
                raise Refused(
                    "database_not_empty",
                    f"{place_of(config.url)} has {tables} tables already; make an empty database "
                    "and name it in slotmeter.toml of the new folder",
                    field="database.url",
                )
            async with connection.transaction():
                await connection.execute(f"CREATE TABLE {MARK} (digest TEXT NOT NULL)")
                await connection.execute(f"INSERT INTO {MARK} VALUES ($1)", digest)  # noqa: S608  our name
            return False
        if not tables:
            await connection.execute(f"UPDATE {MARK} SET digest = $1", digest)  # noqa: S608  our name
            return False
        if await connection.fetchval(f"SELECT digest FROM {MARK}") != digest:  # noqa: S608  our name
            raise Refused(
                "restore_of_another",
                f"a restore of another backup into {place_of(config.url)} was cut off; go on with "
                "that one, or make the database anew",
                field="database.url",
            )
    except FAILURES as error:
        raise unusable(config, error) from error
    finally:
        connection.terminate()
    return True


async def end_restore(config: DatabaseConfig) -> None:
    """Take the mark off: what is there is whole, and knows that it is a copy.

    Raises:
        ConfigError: ``database_unusable``.
    """
    connection = await _connected(config)
    try:
        await connection.execute(f"DROP TABLE IF EXISTS {MARK}")
    except FAILURES as error:
        raise unusable(config, error) from error
    finally:
        connection.terminate()


async def refuse_unfinished(config: DatabaseConfig) -> None:
    """See that no restore into a database was cut off.

    Raises:
        ConfigError: ``restore_unfinished``, or ``database_unusable``.
    """
    connection = await _connected(config)
    try:
        unfinished = await connection.fetchval(IS_THERE, MARK)
    except FAILURES as error:
        raise unusable(config, error) from error
    finally:
        connection.terminate()
    if unfinished:
        raise ConfigError(
            "restore_unfinished",
            f"a restore into {place_of(config.url)} was cut off before the database knew that it "
            "is a copy, and it could give a token twice; run the same restore again, or make the "
            "database anew",
            field="database.url",
        )


async def _connected(config: DatabaseConfig) -> asyncpg.Connection[Any]:
    try:
        return await connect(config, writes=True)
    except FAILURES as error:
        raise unusable(config, error) from error

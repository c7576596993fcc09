"""The platform's database as the settings name it: a file in the data folder, or PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from slotmeter.config import Config
from slotmeter.errors import ConfigError
from slotmeter.ports import UnitOfWork
from slotmeter.ports.looking import Looks
from slotmeter.storage.data_files import DATABASE_FILE, make_private
from slotmeter.storage.database import Database, DatabaseStats

if TYPE_CHECKING:
    from slotmeter.storage.postgres_replica import ReplicaState
    from slotmeter.storage.postgres_sole import SoleServer

__all__ = ["AnyDatabase", "is_there", "long_looks", "open_database", "open_looks", "sole_server"]


class AnyDatabase(UnitOfWork, Protocol):
    """An open database of either kind."""

    @property
    def stats(self) -> DatabaseStats:
        """What its writer has done."""
        ...

    def when_others_wrote(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` soon after another process has committed; now and then it is not called."""
        ...

    async def close(self) -> None:
        """Finish what waits, commit it and let go."""
        ...


def is_there(config: Config) -> bool:
    """Tell whether there is a database to open; of a server only opening it can tell."""
    return bool(config.database.url) or (config.data.folder / DATABASE_FILE).exists()


async def open_database(config: Config, *, restoring: bool = False) -> AnyDatabase:
    """Open the database, bring its tables up to date, and make it if there is none.

    Args:
        config: names it.
        restoring: we are the restore that fills it; nobody else may open one that is not done.

    Raises:
        ConfigError: why it cannot be used here.
    """
    if not config.database.url:
        path = config.data.folder / DATABASE_FILE
        make_private(path)
        return await Database.open(path)
    try:
        from slotmeter.storage.postgres_database import PostgresDatabase
        from slotmeter.storage.postgres_restoring import refuse_unfinished
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    if not restoring:
        await refuse_unfinished(config.database)
    return await PostgresDatabase.open(config.database)


def _not_installed(error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        "postgresql_not_installed",
        f"database.url names a PostgreSQL server, and {error.name} is not installed; install "
        "slotmeter[postgresql]",
        field="database.url",
    )


async def sole_server(config: Config) -> SoleServer | None:
    """Keep other full servers off a database that they can reach, wherever they run.

    Returns:
        What holds the lock; None for a file, which the lock of its folder is enough for.

    Raises:
        ConfigError: ``database_in_use``, or why the database cannot be used.
    """
    if not config.database.url:
        return None
    try:
        from slotmeter.storage.postgres_sole import SoleServer
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return await SoleServer.take(config.database)


@asynccontextmanager
async def open_looks(
    config: Config, database: AnyDatabase
) -> AsyncIterator[tuple[Looks, ReplicaState | None]]:
    """Give what lists, sums and reports are read by, and what becomes of it where it is a standby.

    That is the standby of ``database.replica_url``, or the database itself.
    """
    if not config.database.replica_url:
        yield database, None
        return
    from slotmeter.storage.postgres_replica import Replica  # its driver may not be here

    replica = Replica(config.database, database)
    try:
        yield replica, replica.state
    finally:
        await replica.close()


def long_looks(config: Config) -> Config:
    """Return where a program that reads for long does it: the standby if it keeps up, or not.

    No event loop may run in the thread that asks.
    """
    if not config.database.replica_url:
        return config
    from slotmeter.storage.postgres_replica import looks_of  # its driver may not be here

    database = asyncio.run(looks_of(config.database))
    return config.model_copy(update={"database": database})

"""Sessions on PostgreSQL: how they are opened, what they demand, and which errors mean what."""

from __future__ import annotations

import asyncio
import logging
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import ConfigError, Conflict, Refused, SlotmeterError, Unavailable
from slotmeter.storage.postgres_hosts import first_of, hosts_of
from slotmeter.storage.postgres_writes import GUARD_STATE

__all__ = [
    "FAILURES",
    "LONG_S",
    "Durability",
    "check_encoding",
    "connect",
    "connect_at_start",
    "durability",
    "is_lost",
    "meaning_of",
    "password_of",
    "place_of",
    "unusable",
]

LOG = logging.getLogger("slotmeter.storage")

STATEMENTS_CACHED: Final = 4_000
IDLE_IN_TRANSACTION_S: Final = 60
"""A process that stands still in the middle of a transaction keeps all others from writing."""

FASTER_COMPRESSION: Final = """
SELECT set_config('default_toast_compression', 'lz4', false) FROM pg_settings
WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
"""
"""Receipts are long texts; servers that were built without lz4 go on as they are."""

GRACE_S: Final = 5.0
"""The server ends a slow statement itself; one that does not answer even then is gone."""

LONG_S: Final = 7 * 86_400.0
"""What work may take that grows with the database: the driver reads ``timeout=None`` as the bound
of the session, which is that of small statements."""

FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also: no server of the address can be written
    OSError,
    TimeoutError,
)
"""What the driver raises: the server's errors, and those of the way to it."""

_COMING_UP: Final = (asyncpg.CannotConnectNowError, TimeoutError)
"""A server that repairs itself after a crash says the first, and one without breath nothing."""

START_PAUSE_S: Final = 0.5

_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)


def place_of(url: str) -> str:
    """Write where a database is, without who uses it."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_lost(connection: asyncpg.Connection[Any], error: BaseException) -> bool:
    """Tell whether a session is of no more use after an error."""
    return connection.is_closed() or isinstance(error, _LOST)


def password_of(name: str) -> str | None:
    """Read the password from its file; None where none is named.

    Raises:
        ConfigError: ``file_exposed``, ``file_unreadable``.
    """
    if not name:
        return None
    file = Path(name)
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise ConfigError(
                "file_exposed",
                f"{file} can be read by others; set its mode to 0600",
                field="database.password_file",
            )
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            "file_unreadable",
            f"{file} cannot be read: {error.strerror}",
            field="database.password_file",
        ) from error


async def connect(
    config: DatabaseConfig, *, url: str | None = None, writes: bool
) -> asyncpg.Connection[Any]:
    """Open a session.

    Of several servers the one is taken that can be written, or that is no standby where nothing is
    to be written: what a standby has may be old, and whoever decides must not know less than what
    was answered.

    Args:
        config: of the database.
        url: another address than that of the config; that of its replica may be of a standby.
        writes: only a server that can be written will do.

    Raises:
        ConfigError: ``file_exposed``, ``file_unreadable``.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError: see ``meaning_of``.
    """
    settings = {
        "application_name": "slotmeter",
        "jit": "off",
        "statement_timeout": str(round(config.statement_timeout_s * 1_000)),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_S * 1_000),
        "DateStyle": "ISO",
        "bytea_output": "hex",
    }
    if writes:
        # The writer finds rows by their keys, and its statements are many: to plan one for each
        # set of values would cost more than the statement.
        settings |= {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
    at = url or config.url
    wanted = "read-write" if writes else "any" if at == config.replica_url else "primary"
    password = password_of(config.password_file)

    async def open_one(of: str) -> asyncpg.Connection[Any]:
        opened: asyncpg.Connection[Any] = await asyncpg.connect(
            of,
            password=password,
            timeout=config.connect_timeout_s,
            command_timeout=config.statement_timeout_s + GRACE_S,
            statement_cache_size=STATEMENTS_CACHED,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            server_settings=settings,
            target_session_attrs=wanted,
        )
        return opened

    connection = await first_of(hosts_of(at), open_one, FAILURES)
    if writes:
        await connection.execute(FASTER_COMPRESSION)
    return connection


async def connect_at_start(config: DatabaseConfig) -> asyncpg.Connection[Any]:
    """Open a session that can write; wait for a server that is coming up, as after a power cut.

    A server that is not there at all is not waited for: that is most often a wrong address. That
    there is a wait is logged once.

    Args:
        config: of the database; ``start_wait_s`` is how long, in seconds, tries are made again.

    Raises:
        ConfigError: ``file_exposed``, ``file_unreadable``.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError: see ``meaning_of``.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + config.start_wait_s
    is_told = False
    while True:
        try:
            return await connect(config, writes=True)
        except _COMING_UP as error:
            if loop.time() >= until_s:
                raise
            if not is_told:
                LOG.warning("waiting for the database %s: %s", place_of(config.url), _said(error))
                is_told = True
        await asyncio.sleep(START_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Durability:
    """What the server says of how well it keeps what is committed."""

    fsync: bool
    synchronous_commit: str
    full_page_writes: bool

    @property
    def holds(self) -> bool:
        """Whether an answer after a commit outlives a loss of power."""
        return self.fsync and self.synchronous_commit != "off"

    @property
    def label(self) -> str:
        """A word for metrics and reports: ``synchronous_commit``, or OFF when nothing is kept."""
        return self.synchronous_commit if self.holds else "OFF"


async def durability(connection: asyncpg.Connection[Any], config: DatabaseConfig) -> Durability:
    """Read the settings back that durability rests on; turn on what a session can turn on.

    Raises:
        ConfigError: ``database_not_durable``.
    """
    if await connection.fetchval("SHOW synchronous_commit") == "off" and config.require_durable:
        LOG.warning("the server has synchronous_commit = off; slotmeter turns it on for itself")
        await connection.execute("SET synchronous_commit = on")
    found = Durability(
        fsync=await connection.fetchval("SHOW fsync") == "on",
        synchronous_commit=await connection.fetchval("SHOW synchronous_commit"),
        full_page_writes=await connection.fetchval("SHOW full_page_writes") == "on",
    )
    if not config.require_durable:
        return found
    if not found.holds:
        raise ConfigError(
            "database_not_durable",
            "the PostgreSQL server runs with fsync = off and may lose sales that were answered; "
            "turn it on in postgresql.conf",
            field="database.url",
        )
    if not found.full_page_writes:
        LOG.warning(
            "the server has full_page_writes = off: a page that is half written when power fails "
            "is lost, unless the file system itself writes pages whole"
        )
    return found


async def check_encoding(connection: asyncpg.Connection[Any]) -> None:
    """Refuse a database that would store or order text differently.

    Raises:
        ConfigError: ``database_unusable``.
    """
    row = await connection.fetchrow(
        "SELECT pg_encoding_to_char(encoding) AS encoding, datcollate, datlocprovider "
        "FROM pg_database WHERE datname = current_database()"
    )
    if row is None or row["encoding"] != "UTF8" or row["datcollate"] not in {"C", "POSIX"}:
        raise ConfigError(
            "database_unusable",
            "expected a database with ENCODING 'UTF8' and LC_COLLATE 'C', which orders codes by "
            "their characters; make one with: CREATE DATABASE slotmeter TEMPLATE template0 "
            "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
            field="database.url",
        )


def unusable(config: DatabaseConfig, error: BaseException) -> ConfigError:
    """Say at the start why there is no database."""
    return ConfigError(
        "database_unusable",
        f"the database {place_of(config.url)} cannot be used ({_said(error)}); check that the "
        "server runs and can be written, and that this user may use the database",
        field="database.url",
    )


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


_TROUBLES: Final = (
    (
        (asyncpg.TooManyConnectionsError,),
        "database_connections",
        "nothing was done: the database server takes no more sessions; raise its max_connections, "
        "or lower database.pool_max of the processes that use it",
    ),
    (
        (asyncpg.DiskFullError,),
        "database_full",
        "nothing was written: the disk of the database server is full; make room and try again",
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError, asyncpg.TargetServerAttributeNotMatched),
        "database_read_only",
        "nothing was written: no server of database.url can be written; try again",
    ),
)
"""What is wrong with the server, its code, and what callers are told."""


def meaning_of(error: BaseException) -> SlotmeterError:
    """Translate what the driver raised for one unit of work, or one read."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate == GUARD_STATE:
        return Conflict("changed_meanwhile", f"{error}; try again")
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return Conflict("changed_meanwhile", f"a row is there already: {error}")
    if isinstance(
        error, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError
    ):
        return Refused("text_unusable", "expected text without NUL characters, got one")
    for kinds, code, said in _TROUBLES:
        if isinstance(error, kinds):
            return Unavailable(code, said)
    return Unavailable("database_unavailable", f"nothing was done: {_said(error)}; try again")

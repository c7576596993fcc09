"""Copies of PostgreSQL databases as of one instant, by PostgreSQL's own programs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.storage.postgres_restoring import refuse_unfinished
from slotmeter.storage.postgres_session import (
    FAILURES,
    LONG_S,
    connect,
    password_of,
    place_of,
    unusable,
)
from slotmeter.storage.snapshots import FIGURES

__all__ = ["dump_postgres", "load_postgres"]

LINES_SAID: Final = 3

HEAD: Final = "SELECT seq, hash FROM audit_group ORDER BY seq DESC LIMIT 1"


async def dump_postgres(
    config: DatabaseConfig, target: Path
) -> tuple[str, int, str, dict[str, int]]:
    """Write a database into a file of pg_dump's own format, as of one instant.

    Returns:
        What is in it: revision, newest group of the audit (0 and "" for none), and figures.

    Raises:
        ConfigError: ``program_missing``: pg_dump is not installed; ``database_unusable``;
            ``restore_unfinished``.
        Unavailable: ``backup_failed``, with what pg_dump said.
    """
    await refuse_unfinished(config)
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = await _connected(config)
    try:
        # The figures and the dump see one state: pg_dump takes over what this session sees.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            figures = await _figures(connection)
            options = ("--format=custom", "--no-owner", f"--snapshot={snapshot}")
            await _run("pg_dump", config, *options, f"--file={target}")
    except FAILURES as error:
        raise Unavailable("backup_failed", f"{place_of(config.url)}: {error}") from error
    finally:
        connection.terminate()
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return figures


async def _connected(config: DatabaseConfig) -> asyncpg.Connection[Any]:
    # pg_dump may work for longer than a session may stand still in a transaction otherwise.
    try:
        connection = await connect(config, writes=False)
        await connection.execute(
            "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0"
        )
    except FAILURES as error:
        raise unusable(config, error) from error
    return connection


async def _figures(
    connection: asyncpg.Connection[Any],
) -> tuple[str, int, str, dict[str, int]]:
    revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    newest = await connection.fetchrow(HEAD)
    counts = {
        table: int(await connection.fetchval(f"SELECT count(*) FROM {table}", timeout=LONG_S))  # noqa: S608  our names
        for table in FIGURES
    }
    seq, found = newest or (0, b"")
    return str(revision), int(seq), bytes(found).hex(), counts


async def load_postgres(config: DatabaseConfig, source: Path) -> None:
    """Read a dump into a database that has nothing but the mark of a restore, whole or not at all.

    Raises:
        ConfigError: ``program_missing``.
        Unavailable: ``restore_failed``.
    """
    options = ("--no-owner", "--exit-on-error", "--single-transaction")
    await _run("pg_restore", config, *options, str(source))


def _environment(config: DatabaseConfig) -> Mapping[str, str]:
    """Return how the programs reach the server; a password is never an argument."""
    environment = {
        **os.environ,
        "PGCONNECT_TIMEOUT": str(max(2, round(config.connect_timeout_s))),
        "PGTARGETSESSIONATTRS": "read-write",
    }
    password = password_of(config.password_file)
    return environment if password is None else {**environment, "PGPASSWORD": password}


async def _run(program: str, config: DatabaseConfig, *arguments: str) -> None:
    if shutil.which(program) is None:
        raise ConfigError(
            "program_missing",
            f"{program} is not installed; install PostgreSQL's client programs of the server's "
            "version",
        )
    process = await asyncio.create_subprocess_exec(
        program,
        f"--dbname={config.url}",  # it never has a password; see the settings
        *arguments,
        env=_environment(config),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        lines = said.decode("utf-8", errors="replace").strip().splitlines()
        failed = "backup_failed" if program == "pg_dump" else "restore_failed"
        raise Unavailable(failed, f"{program}: {' / '.join(lines[:LINES_SAID])}")

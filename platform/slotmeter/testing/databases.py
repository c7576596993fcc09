"""The database of a folder, whichever kind it is, and a look behind the platform's back.

A folder whose ``slotmeter.toml`` names a PostgreSQL database has that; any other has a file. So one
test runs on both: a fixture writes the file, or does not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from slotmeter.config import Config, load
from slotmeter.storage.data_files import DATABASE_FILE
from slotmeter.storage.migrate import migrate
from slotmeter.storage.opening import AnyDatabase, open_database
from slotmeter.testing.postgres_server import waited_for

__all__ = ["Behind", "RowRefused", "empty_file", "name_postgres", "opened_in", "settings_of"]

CONFIG_FILE = "slotmeter.toml"


class RowRefused(Exception):
    """The database itself refused a change: a trigger, a key or a reference."""


def settings_of(folder: Path) -> Config:
    """Return the settings of a folder."""
    file = folder / CONFIG_FILE
    config = load(file) if file.exists() else Config.default(folder)
    return config.model_copy(update={"data": config.data.model_copy(update={"folder": folder})})


def name_postgres(folder: Path, url: str) -> None:
    """Let a folder have a database on PostgreSQL that need not outlive the test."""
    text = f'[database]\nurl = "{url}"\nrequire_durable = false\npool_max = 4\n'
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


@cache
def empty_file() -> bytes:
    """Return a file with all tables and no rows; migrating anew for each test is slow."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / DATABASE_FILE
        migrate(path)
        return path.read_bytes()


@asynccontextmanager
async def opened_in(folder: Path) -> AsyncIterator[AnyDatabase]:
    """Open the database of a folder, which is made if it is not there, and close it at the end."""
    config = settings_of(folder)
    file = folder / DATABASE_FILE
    if not config.database.url and not file.exists():
        file.write_bytes(empty_file())
    database = await open_database(config)
    try:
        yield database
    finally:
        await database.close()


class Behind:
    """Looks into the database of a folder, and changes it, behind the platform's back.

    Parameters are written as ``?``.
    """

    def __init__(self, folder: Path) -> None:
        """Hold the folder."""
        self._folder = folder

    @property
    def url(self) -> str:
        """The address of the database on PostgreSQL; empty for a file."""
        return settings_of(self._folder).database.url

    @property
    def is_postgres(self) -> bool:
        """Whether the folder has its database on PostgreSQL."""
        return bool(settings_of(self._folder).database.url)

    def rows(self, text: str, *values: object) -> list[dict[str, Any]]:
        """Run a statement, and return the rows that it gives by the names of their columns.

        Raises:
            RowRefused: the database refused the change.
        """
        url = settings_of(self._folder).database.url
        if url:
            return waited_for(_on_postgres(url, text, values))
        path = self._folder / DATABASE_FILE
        with closing(sqlite3.connect(path)) as connection, connection:
            try:
                cursor = connection.execute(text, values)
            except sqlite3.IntegrityError as error:
                raise RowRefused(str(error)) from error
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def damage(self, text: str) -> None:
        """Change the database as no program of ours can: without triggers and references."""
        url = settings_of(self._folder).database.url
        if url:
            changed = waited_for(_damaged(url, text))
        else:
            changed = _damaged_file(self._folder / DATABASE_FILE, text)
        assert changed > 0, "the damage was done"

    def insert_alone(self, table: str, row: Mapping[str, object]) -> None:
        """Add a row that refers to nothing."""
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" for _ in row)
        text = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608  our own names
        url = settings_of(self._folder).database.url
        if url:
            waited_for(_on_postgres(url, text, tuple(row.values()), alone=True))
        else:
            self.rows(text, *row.values())

    def values(self, text: str, *values: object) -> list[Any]:
        """Return the first column of what a query finds."""
        return [next(iter(row.values())) for row in self.rows(text, *values)]


def _damaged_file(path: Path, text: str) -> int:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in found.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        return connection.execute(text).rowcount


async def _damaged(url: str, text: str) -> int:
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        await connection.execute("SET session_replication_role = replica")
        return int((await connection.execute(text)).rpartition(" ")[2])
    finally:
        await connection.close()


async def _on_postgres(
    url: str, text: str, values: tuple[object, ...], *, alone: bool = False
) -> list[dict[str, Any]]:
    parts = text.split("?")
    marked = "".join(f"{part}${at + 1}" for at, part in enumerate(parts[:-1])) + parts[-1]
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        if alone:
            await connection.execute("SET session_replication_role = replica")
        rows = await connection.fetch(marked, *values)
        # Sums of whole numbers are numbers of any size there.
        return [
            {key: int(value) if isinstance(value, Decimal) else value for key, value in row.items()}
            for row in rows
        ]
    except asyncpg.IntegrityConstraintViolationError as error:
        raise RowRefused(str(error)) from error
    finally:
        await connection.close()

"""Bring a database to the tables of this version; refuse one that is newer."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from slotmeter.errors import ConfigError
from slotmeter.storage.sqlite_unit import connect

__all__ = ["HEAD", "MIGRATIONS", "migrate", "revision"]

HEAD = "0006"
"""The newest revision in ``migrations/versions``; a test keeps the two equal."""

MIGRATIONS = Path(__file__).parent / "migrations"


def revision(path: Path) -> str | None:
    """Return the revision a database file is at, or None for a new one.

    Raises:
        ConfigError: ``database_unusable``.
    """
    with closing(connect(path)) as connection:
        try:
            tables = connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
            ).fetchone()
            if tables is None:
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                "database_unusable", f"{path.name} is not a slotmeter database: {error}"
            ) from error
        return None if row is None else str(row[0])


def migrate(path: Path) -> None:
    """Create or upgrade the tables.

    Raises:
        ConfigError: ``database_newer`` when a later version of slotmeter made the database.
    """
    at = revision(path)
    if at == HEAD:
        return
    # Alembic is slow to import and needed only here.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["database_path"] = path
    if at is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(at)
        except CommandError as error:
            raise ConfigError(
                "database_newer",
                f"{path.name} was made by a newer slotmeter (revision {at}, this version knows up "
                f"to {HEAD}); start that version, or restore a backup made by this one",
            ) from error
    command.upgrade(config, "head")

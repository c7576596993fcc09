"""Bring a database to the tables of this version; refuse one that is newer."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from slotmeter.errors import ConfigError
from slotmeter.storage.sqlite_unit import connect

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["HEAD", "MIGRATIONS", "check_known", "migrate", "migrations", "revision", "script"]

HEAD: Final = "0008"
"""The newest revision in ``migrations/versions``; a test keeps the two equal."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"

Dialect = Literal["sqlite", "postgresql"]


def migrations(dialect: Dialect) -> Config:
    """Return Alembic's settings for a dialect: where it begins, and what all share from there."""
    # Alembic is slow to import and needed only here.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    places = (MIGRATIONS / f"versions_{dialect}", MIGRATIONS / "versions")
    config.set_main_option("version_locations", "\n".join(map(str, places)))
    return config


def check_known(config: Config, name: str, at: str) -> None:
    """Refuse a revision that this version does not know.

    Raises:
        ConfigError: ``database_newer``.
    """
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        ScriptDirectory.from_config(config).get_revision(at)
    except CommandError as error:
        raise ConfigError(
            "database_newer",
            f"{name} was made by a newer slotmeter (revision {at}, this version knows up "
            f"to {HEAD}); start that version, or restore a backup made by this one",
        ) from error


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


def migrate(path: Path, to: str = "head") -> None:
    """Create or upgrade the tables of a SQLite file.

    Raises:
        ConfigError: ``database_newer`` when a later version of slotmeter made the database.
    """
    at = revision(path)
    if at == HEAD and to == "head":
        return
    from alembic import command

    config = migrations("sqlite")
    config.attributes["database_path"] = path
    if at is not None:
        check_known(config, path.name, at)
    command.upgrade(config, to)


def script(at: str | None, to: str = "head") -> str:
    """Return the statements that bring PostgreSQL from a revision to another.

    They are written rather than run, since Alembic has no way of its own to the driver. A migration
    therefore cannot look into the database: what must be worked out from rows is done when the
    database is opened.

    Args:
        at: the revision that the database is at; None for an empty one.
        to: the revision wanted; ``head``, or one before ``at`` to go back, ``base`` to take all
            away.
    """
    from alembic import command

    config = migrations("postgresql")
    config.output_buffer = written = io.StringIO()
    if at is not None and (to == "base" or (to != "head" and to < at)):
        command.downgrade(config, f"{at}:{to}", sql=True)
        if to == "base":
            written.write("DROP TABLE alembic_version;\n")
    else:
        command.upgrade(config, to if at is None else f"{at}:{to}", sql=True)
    return written.getvalue()

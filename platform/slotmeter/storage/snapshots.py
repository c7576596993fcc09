"""Copies of SQLite databases as of one instant, made while they are written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from slotmeter.errors import Refused, Unavailable

__all__ = ["FIGURES", "copy_sqlite", "damage_of", "figures_of"]

PAGES_PER_STEP: Final = 4_096
FIGURES: Final = ("meter", "sale", "token", "journal", "act")
"""Tables whose rows a manifest counts."""

Steps = Callable[[int, int], None]
"""Told how many pages are copied, and how many there are."""


def copy_sqlite(source: Path, target: Path, steps: Steps) -> None:
    """Copy a SQLite database as of this instant; whoever writes it goes on writing.

    Raises:
        ConfigError: ``database_unusable``.
        Unavailable: ``backup_failed``: the copy cannot be written.
    """
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        # Opened for reading and writing, since a log without its index can be read no other way.
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.execute("PRAGMA query_only=ON")
            # A reader of the log keeps to the state that it began with, so that the copy need not
            # begin again each time a sale is written.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
            reading.backup(
                writing,
                pages=PAGES_PER_STEP,
                progress=lambda _status, left, total: steps(total - left, total),
                sleep=0,
            )
            writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise Unavailable(
            "backup_failed", f"{source.name} cannot be copied to {target.parent}: {error}"
        ) from error
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damage_of(path: Path) -> list[str]:
    """Return what SQLite itself finds wrong with a file; nothing when it is whole."""
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
        ) as connection:
            connection.execute("PRAGMA query_only=ON")
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    except sqlite3.Error as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def figures_of(path: Path) -> tuple[str, int, str, dict[str, int]]:
    """Return a copy's revision, its newest group of the audit (0 and "" for none), and figures.

    Raises:
        Refused: ``backup_damaged``: it is no database of slotmeter.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            newest = None
            if "audit_group" in names:
                newest = connection.execute(
                    "SELECT seq, hash FROM audit_group ORDER BY seq DESC LIMIT 1"
                ).fetchone()
            counts = {
                table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  names are ours
                for table in FIGURES
            }
    except (sqlite3.Error, TypeError) as error:
        raise Refused(
            "backup_damaged", f"{path.name} is no database of slotmeter: {error}"
        ) from error
    seq, found = newest or (0, b"")
    return str(revision), int(seq), bytes(found).hex(), counts

"""Brings a backup back into an empty data folder, checks it, and keeps its tokens apart."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from slotmeter.config import Config, load
from slotmeter.errors import Refused
from slotmeter.ports import Clock
from slotmeter.runtime.backup import CONFIG_FILE
from slotmeter.runtime.backup_folder import (
    DUMP_FILE,
    MANIFEST_FILE,
    Manifest,
    Progress,
    copy_file,
    digest_of,
    free_bytes,
    read_manifest,
)
from slotmeter.services.access import Origin
from slotmeter.services.ledger_check import LedgerVerdict, verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.restored import mark_restored
from slotmeter.storage.data_files import DATABASE_FILE, READINGS_FILE
from slotmeter.storage.migrate import HEAD
from slotmeter.storage.opening import AnyDatabase, open_database
from slotmeter.storage.snapshots import damage_of

__all__ = ["Restored", "check_backup", "mark_and_check", "restore_backup", "settings_of"]

STAGING_FOLDER: Final = ".restoring"
"""Where a database is until it is marked as a copy."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back.

    Args:
        manifest: of the backup; None where the database was there already.
        verdicts: the ledger check of each utility.
        tid_floor_minute: every token from now on has an identifier after this minute since 1993.
    """

    manifest: Manifest | None
    verdicts: tuple[LedgerVerdict, ...]
    tid_floor_minute: int

    @property
    def holds(self) -> bool:
        """True when every ledger agrees with its sales."""
        return all(verdict.holds for verdict in self.verdicts)


def check_backup(source: Path, progress: Progress) -> Manifest:
    """Read a backup through and compare it with its manifest.

    Raises:
        Refused: ``backup_missing``, ``backup_damaged`` (naming the file) or ``backup_newer``.
    """
    manifest = read_manifest(source)
    if manifest.revision > HEAD:
        raise Refused(
            "backup_newer",
            f"the backup has tables of revision {manifest.revision}, this version knows up to "
            f"{HEAD}; restore it with slotmeter {manifest.version} or later",
        )
    wanted = DUMP_FILE if manifest.database == "postgresql" else DATABASE_FILE
    if manifest.file(wanted) is None:
        raise Refused("backup_damaged", f"{MANIFEST_FILE} names no {wanted}")
    for file in manifest.files:
        path = source / file.name
        if not path.is_file():
            raise Refused("backup_damaged", f"{file.name} is missing; take another backup")
        found = digest_of(path, progress)
        if found != file:
            raise Refused(
                "backup_damaged",
                f"{file.name} is not as it was made: expected {file.bytes:,} bytes with SHA-256 "
                f"{file.sha256[:12]}..., got {found.bytes:,} bytes with {found.sha256[:12]}...; "
                "take another backup",
            )
    return manifest


async def restore_backup(
    source: Path,
    config: Config,
    clock: Clock,
    origin: Origin,
    progress: Progress,
    *,
    last_floor: int = 0,
) -> Restored:
    """Bring a backup back.

    Args:
        source: the folder that :func:`backup.make_backup` made.
        config: of the data folder to fill; its database must be empty.
        clock: our time.
        origin: who does it.
        progress: told what is in work.
        last_floor: what another restore of the last day printed as its floor, or 0.

    Raises:
        Refused: ``data_folder_not_empty``, ``database_not_empty``, ``restore_of_another``,
            ``no_room``, ``database_differs`` or what :func:`check_backup` raises; nothing was
            changed.
        SlotmeterError: what came back cannot be used; the folder is as it was. A database on
            PostgreSQL is not used by anybody until a restore of the same backup is through.
    """
    manifest = check_backup(source, progress)
    _check_target(manifest, config)
    is_postgres = manifest.database == "postgresql"
    is_loaded = False
    if is_postgres:
        from slotmeter.storage.postgres_dumps import load_postgres
        from slotmeter.storage.postgres_restoring import begin_restore, end_restore

        is_loaded = await begin_restore(config.database, _digest_in(manifest, DUMP_FILE))
    folder = config.data.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = folder / STAGING_FOLDER
    shutil.rmtree(staging, ignore_errors=True)  # of a restore that was cut off
    staging.mkdir(mode=0o700)
    try:
        for file in manifest.files:
            name = file.name
            if name != DUMP_FILE and not (folder / name).exists():
                await asyncio.to_thread(copy_file, source / name, staging / name, progress)
        if is_postgres:
            if not is_loaded:
                await load_postgres(config.database, source / DUMP_FILE)
            staged = config
        else:
            damage = await asyncio.to_thread(damage_of, staging / DATABASE_FILE)
            if damage:
                raise Refused("backup_damaged", f"{DATABASE_FILE} is damaged: {damage[0]}")
            data = config.data.model_copy(update={"folder": staging})
            staged = config.model_copy(update={"data": data})
        restored = await mark_and_check(
            staged, clock, origin, last_floor=last_floor, manifest=manifest
        )
        # The database last: a server finds either none, or one that knows what it is.
        for path in sorted(staging.iterdir(), key=lambda path: path.name == DATABASE_FILE):
            path.rename(folder / path.name)
        if is_postgres:
            await end_restore(config.database)
        return restored
    finally:
        shutil.rmtree(staging, ignore_errors=True)


async def mark_and_check(
    config: Config,
    clock: Clock,
    origin: Origin,
    *,
    last_floor: int = 0,
    manifest: Manifest | None = None,
) -> Restored:
    """Mark a database that is there as a copy, and hold its ledgers against its sales.

    Args:
        config: names the database.
        clock: our time.
        origin: who does it.
        last_floor: as of :func:`restore_backup`.
        manifest: of the backup that it came from; None if other means brought it back.
    """
    database: AnyDatabase = await open_database(config, restoring=manifest is not None)
    try:
        came_from = "other means" if manifest is None else f"the backup of {manifest.made}"
        # Before anything can be sold: a copy that lacks its floor could give a token twice.
        floor = await mark_restored(database, clock, origin, came_from, last_floor=last_floor)
        registry = Registry(database, clock)
        verdicts = [
            await verify_ledger(database, clock, utility) for utility in await registry.utilities()
        ]
        return Restored(manifest, tuple(verdicts), floor)
    finally:
        await database.close()


def _check_target(manifest: Manifest, config: Config) -> None:
    folder = config.data.folder
    there = [
        name
        for name in (DATABASE_FILE, READINGS_FILE)
        if (folder / name).exists() and not _is_in_place(folder / name, manifest)
    ]
    if there:
        raise Refused(
            "data_folder_not_empty",
            f"{folder} holds {' and '.join(there)} already; restore into another folder",
            field="data",
        )
    kind = "postgresql" if config.database.url else "sqlite"
    if kind != manifest.database:
        raise Refused(
            "database_differs",
            f"the backup is of {manifest.database}, the settings name {kind}; "
            + (
                f"give {CONFIG_FILE} of the new folder a [database] url of an empty database"
                if kind == "sqlite"
                else "take database.url out of the settings"
            ),
            field="database.url",
        )
    needed = sum(file.bytes for file in manifest.files)
    standing = next(each for each in (folder, *folder.parents) if each.exists())
    if free_bytes(standing) < needed:
        raise Refused(
            "no_room",
            f"the backup has {needed / 2**20:,.0f} MiB, {standing} has "
            f"{free_bytes(standing) / 2**20:,.0f} MiB left",
            field="data",
        )


def _digest_in(manifest: Manifest, name: str) -> str:
    """Return the digest that a manifest names for a file; empty when it does not name the file."""
    file = manifest.file(name)
    return "" if file is None else file.sha256


def _is_in_place(path: Path, manifest: Manifest) -> bool:
    """Tell whether a restore that was cut off has put a file in place: the readings, before all
    that PostgreSQL has was done."""
    if path.name != READINGS_FILE or manifest.database != "postgresql":
        return False
    return digest_of(path, lambda *_told: None).sha256 == _digest_in(manifest, path.name)


def settings_of(source: Path, folder: Path) -> Config:
    """Return the settings of a folder to restore into: its own, those of the backup, or none."""
    for file in (folder / CONFIG_FILE, source / CONFIG_FILE):
        if file.exists():
            config = load(file)
            data = config.data.model_copy(update={"folder": folder})
            return config.model_copy(update={"data": data})
    return Config.default(folder)

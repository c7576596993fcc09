"""Makes a backup of a data folder, also while a server sells on it."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Final

from slotmeter import __version__
from slotmeter.config import Config
from slotmeter.errors import ConfigError, Refused, Unavailable
from slotmeter.ports import Clock
from slotmeter.runtime.backup_folder import (
    DUMP_FILE,
    Manifest,
    Progress,
    copy_file,
    digest_of,
    free_bytes,
    partial_of,
    write_manifest,
)
from slotmeter.storage.data_files import DATABASE_FILE, READINGS_FILE
from slotmeter.storage.snapshots import copy_sqlite, damage_of, figures_of

__all__ = ["CONFIG_FILE", "make_backup"]

CONFIG_FILE: Final = "slotmeter.toml"
PAGE_BYTES: Final = 4_096
ROOM_FACTOR: Final = 1.1
"""A copy has the size of the database and of what its log adds."""


async def make_backup(config: Config, clock: Clock, target: Path, progress: Progress) -> Manifest:
    """Copy everything that a utility must not lose into a new folder.

    Args:
        config: of the data folder.
        clock: stamps it.
        target: the folder to make.
        progress: told what is in work.

    Returns:
        What the backup says of itself; it is whole and on disk by then.

    Raises:
        Refused: ``backup_exists``: nothing is written over; ``no_room``: it does not fit.
        ConfigError: ``data_folder_empty``: there is nothing to keep.
        Unavailable: ``backup_failed``.
    """
    _check(config, target)
    partial = partial_of(target)
    if partial.exists():
        shutil.rmtree(partial)  # of a backup that was cut off
    partial.mkdir(mode=0o700, parents=True)
    try:
        facts = await _fill(config, partial, progress)
        files = [
            await asyncio.to_thread(digest_of, path, progress) for path in sorted(partial.iterdir())
        ]
        revision, seq, digest, figures = facts
        manifest = Manifest(
            made=clock.now().isoformat(timespec="seconds"),
            version=__version__,
            database="postgresql" if config.database.url else "sqlite",
            revision=revision,
            audit_seq=seq,
            audit_hash=digest,
            figures=figures,
            files=tuple(files),
        )
        write_manifest(partial, manifest)
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise Unavailable("backup_failed", f"{target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _check(config: Config, target: Path) -> None:
    if target.exists():
        raise Refused(
            "backup_exists", f"{target} is there already; name another folder", field="target"
        )
    folder = config.data.folder
    if not config.database.url and not (folder / DATABASE_FILE).exists():
        raise ConfigError("data_folder_empty", f"there is no {DATABASE_FILE} in {folder}")
    if target.resolve().is_relative_to(folder.resolve()):
        raise Refused(
            "backup_inside",
            "a backup in the data folder is lost with it; name a folder on another disk",
            field="target",
        )
    needed = sum(
        path.stat().st_size for path in folder.glob("*.db*") if not path.name.endswith("-shm")
    )
    standing = next(each for each in (target, *target.parents) if each.exists())
    free = free_bytes(standing)
    if free < needed * ROOM_FACTOR:
        raise Refused(
            "no_room",
            f"the backup needs about {needed * ROOM_FACTOR / 2**20:,.0f} MiB, {standing} has "
            f"{free / 2**20:,.0f} MiB left",
            field="target",
        )


async def _fill(
    config: Config, partial: Path, progress: Progress
) -> tuple[str, int, str, dict[str, int]]:
    folder = config.data.folder
    # The readings first: a charge of the database never rests on a reading that is not there.
    readings = folder / READINGS_FILE
    if readings.exists():
        await _copy(readings, partial / READINGS_FILE, progress)
    settings = folder / CONFIG_FILE
    if settings.exists():
        copy_file(settings, partial / CONFIG_FILE, progress)
    for tables in config.sts.tables:
        copy_file(tables, partial / tables.name, progress)
    if config.database.url:
        from slotmeter.storage.postgres_dumps import dump_postgres  # its driver may not be here

        return await dump_postgres(config.database, partial / DUMP_FILE)
    copied = partial / DATABASE_FILE
    await _copy(folder / DATABASE_FILE, copied, progress)
    damage = await asyncio.to_thread(damage_of, copied)
    if damage:
        raise Unavailable("backup_failed", f"the copy of {DATABASE_FILE} is damaged: {damage[0]}")
    return await asyncio.to_thread(figures_of, copied)


async def _copy(source: Path, target: Path, progress: Progress) -> None:
    def steps(done: int, total: int) -> None:
        progress(f"copying {source.name}", done * PAGE_BYTES, total * PAGE_BYTES)

    await asyncio.to_thread(copy_sqlite, source, target, steps)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

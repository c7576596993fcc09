"""A backup: a folder with the databases as of one instant, and a manifest that vouches for them.

::

    manifest.json    what is in it, how large, and the SHA-256 of each file
    slotmeter.db     the database (or database.dump, made by pg_dump)
    readings.db      the register values, if there are any
    slotmeter.toml   the settings, if there are any

The vault is in the database, wrapped; the master key and API keys are never in a backup. The folder
is made under another name and renamed when it is whole, so that a backup that was cut off is not
taken for one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from slotmeter.errors import Refused

__all__ = [
    "DUMP_FILE",
    "FORMAT",
    "MANIFEST_FILE",
    "BackupFile",
    "Manifest",
    "Progress",
    "copy_file",
    "digest_of",
    "partial_of",
    "read_manifest",
    "write_manifest",
]

MANIFEST_FILE: Final = "manifest.json"
DUMP_FILE: Final = "database.dump"
FORMAT: Final = "slotmeter-backup"
VERSION: Final = 1
BLOCK_BYTES: Final = 4 * 1024 * 1024
MANIFEST_BYTES_MAX: Final = 1024 * 1024

Progress = Callable[[str, int, int], None]
"""Told what is in work, how much of it is done, and how much there is; both in bytes."""


@dataclass(frozen=True, slots=True)
class BackupFile:
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is.

    Args:
        made: when, as ISO 8601 UTC.
        version: of slotmeter that made it.
        database: ``sqlite`` or ``postgresql``.
        revision: of the tables.
        audit_seq: the newest group of the audit chain in it; 0 for none.
        audit_hash: that group's hash in hex.
        figures: rows of the most important tables, for people.
        files: everything in it but the manifest.
    """

    made: str
    version: str
    database: str
    revision: str
    audit_seq: int
    audit_hash: str
    figures: Mapping[str, int]
    files: tuple[BackupFile, ...]

    def file(self, name: str) -> BackupFile | None:
        """Return a file by its name."""
        return next((file for file in self.files if file.name == name), None)


def partial_of(folder: Path) -> Path:
    """Return the name that a backup has until it is whole."""
    return folder.with_name(folder.name + ".partial")


def digest_of(path: Path, progress: Progress) -> BackupFile:
    """Read a file through and return its size and SHA-256."""
    total, done, digest = path.stat().st_size, 0, hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            progress(f"checking {path.name}", done, total)
    return BackupFile(path.name, total, digest.hexdigest())


def copy_file(source: Path, target: Path, progress: Progress) -> None:
    """Copy a file for its owner only, and see that it is on disk.

    Raises:
        FileExistsError: nothing is ever written over.
    """
    total, done = source.stat().st_size, 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        while block := reading.read(BLOCK_BYTES):
            writing.write(block)
            done += len(block)
            progress(f"copying {source.name}", done, total)
        writing.flush()
        os.fsync(writing.fileno())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; the last file of a backup."""
    document = {
        "format": FORMAT,
        "format_version": VERSION,
        "made": manifest.made,
        "slotmeter": manifest.version,
        "database": manifest.database,
        "revision": manifest.revision,
        "audit": {"seq": manifest.audit_seq, "hash": manifest.audit_hash},
        "figures": dict(manifest.figures),
        "files": {
            file.name: {"bytes": file.bytes, "sha256": file.sha256} for file in manifest.files
        },
    }
    path = folder / MANIFEST_FILE
    with path.open("x", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o600)


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup says of itself.

    Raises:
        Refused: ``backup_missing``, ``backup_damaged`` or ``backup_newer``.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        hint = "; it was cut off while it was made" if folder.name.endswith(".partial") else ""
        raise Refused("backup_missing", f"there is no {MANIFEST_FILE} in {folder}{hint}")
    try:
        if path.stat().st_size > MANIFEST_BYTES_MAX:
            raise ValueError("it is too large")
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ValueError("it is no manifest of a backup")
        if document["format_version"] > VERSION:
            raise Refused(
                "backup_newer",
                f"the backup was made by slotmeter {document['slotmeter']}; restore it with that "
                "release or a later one",
            )
        return _manifest(document)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(
            "backup_damaged", f"{path} cannot be understood: {error}; take another backup"
        ) from error


def _manifest(document: Mapping[str, Any]) -> Manifest:
    files = tuple(
        BackupFile(_plain_name(name), int(facts["bytes"]), str(facts["sha256"]))
        for name, facts in document["files"].items()
    )
    return Manifest(
        made=str(document["made"]),
        version=str(document["slotmeter"]),
        database=str(document["database"]),
        revision=str(document["revision"]),
        audit_seq=int(document["audit"]["seq"]),
        audit_hash=str(document["audit"]["hash"]),
        figures={str(name): int(count) for name, count in document["figures"].items()},
        files=files,
    )


def _plain_name(name: str) -> str:
    if name != Path(name).name or name in {"", ".", ".."}:
        raise ValueError(f"{name!r} is no name of a file")
    return name


def free_bytes(folder: Path) -> int:
    """Return how much fits on the disk of a folder."""
    return shutil.disk_usage(folder).free

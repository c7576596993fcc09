"""The vault's files: private, wrapped, replaced as a whole or not at all.

::

    vault.json   {"format", "version", "vault", "keys": {id: {facts..., "nonce", "wrapped"}}}
    vault.lock   held while a process changes vault.json
    master.key   64 hex digits: the AES-256 key that wraps the vending keys
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from slotmeter.errors import ConfigError, Refused
from slotmeter.security.master_keys import (
    MASTER_KEY_FILE,
    create_master_key,
    read_master_key_file,
)
from slotmeter.security.private_files import read_private, write_private
from slotmeter.vending.sts import VendingKey

__all__ = ["VaultFile", "create_vault_file"]

VAULT_FILE: Final = "vault.json"
LOCK_FILE: Final = "vault.lock"
FORMAT: Final = "slotmeter-vault"
VERSION: Final = 1
NONCE_BYTES: Final = 12


def create_vault_file(folder: Path, master_key_file: Path | None = None) -> None:
    """Create folder, master key and an empty vault.

    Raises:
        ConfigError: there is a vault already, or a file cannot be written.
    """
    path = folder / VAULT_FILE
    key_path = master_key_file or folder / MASTER_KEY_FILE
    try:
        folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        if path.exists():
            raise ConfigError("vault_exists", f"there is a vault in {folder} already")
        create_master_key(key_path)
        empty = {"format": FORMAT, "version": VERSION, "vault": secrets.token_hex(16), "keys": {}}
        write_private(path, _as_json(empty))
    except OSError as error:
        raise ConfigError(
            "vault_unwritable", f"no vault can be made in {folder}: {error.strerror}"
        ) from error


def _as_json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


class VaultFile:
    """An open vault: the file and the key that unwraps it."""

    def __init__(self, folder: Path, master_key: bytes) -> None:
        """Keep the key; :meth:`open` reads it from its file."""
        self._path = folder / VAULT_FILE
        self._lock_path = folder / LOCK_FILE
        self._aead = AESGCM(master_key)
        self._seen: tuple[int, int, int] | None = None

    @classmethod
    def open(cls, folder: Path, master_key_file: Path | None = None) -> Self:
        """Open the vault in a folder.

        Raises:
            ConfigError: the master key is missing, readable by others or not a key.
        """
        if not (folder / VAULT_FILE).exists():
            raise ConfigError("vault_missing", f"there is no vault in {folder}; create one first")
        return cls(folder, read_master_key_file(master_key_file or folder / MASTER_KEY_FILE))

    def read(self) -> dict[str, VendingKey]:
        """Unwrap every vending key, by id.

        Raises:
            ConfigError: the file is missing, readable by others, damaged, or of another master key.
        """
        return self._unwrap_all(self._document())

    def changed(self) -> bool:
        """Say whether the file was replaced since it was last read."""
        return self._signature() != self._seen

    def update(
        self, change: Callable[[Mapping[str, VendingKey]], Mapping[str, VendingKey]]
    ) -> dict[str, VendingKey]:
        """Read, change and replace the vault while no other process does.

        Raises:
            ConfigError: as :meth:`read`, or it cannot be written.
        """
        try:
            with self._locked():
                document = self._document()
                before = self._unwrap_all(document)
                keys = dict(change(before))
                if keys != before:
                    document["keys"] = {
                        key_id: self._wrap(document["vault"], key_id, key)
                        for key_id, key in keys.items()
                    }
                    write_private(self._path, _as_json(document))
                    self._seen = self._signature()
                return keys
        except OSError as error:
            raise ConfigError(
                "vault_unwritable", f"the vault {self._path} cannot be written: {error.strerror}"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._lock_path, flags, stat.S_IRUSR | stat.S_IWUSR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _signature(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def _document(self) -> dict[str, Any]:
        self._seen = self._signature()
        content = read_private(self._path, "vault")
        try:
            document = json.loads(content)
        except ValueError as error:
            raise self._damaged("it is not JSON") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise self._damaged("it is not a vault")
        if document.get("version") != VERSION:
            raise ConfigError(
                "vault_version",
                f"the vault {self._path} has version {document.get('version')!r}, expected"
                f" {VERSION}; use the release that wrote it",
            )
        if not isinstance(document.get("vault"), str) or not isinstance(document.get("keys"), dict):
            raise self._damaged("its name or its keys are missing")
        return document

    def _damaged(self, why: str) -> ConfigError:
        return ConfigError(
            "vault_damaged", f"the vault {self._path} is damaged: {why}; restore it from a backup"
        )

    def _unwrap_all(self, document: Mapping[str, Any]) -> dict[str, VendingKey]:
        return {
            key_id: self._unwrap(document["vault"], key_id, entry)
            for key_id, entry in document["keys"].items()
        }

    @staticmethod
    def _bound_to(vault: str, key_id: str, facts: Mapping[str, Any]) -> bytes:
        return json.dumps([vault, key_id, facts], sort_keys=True).encode()

    def _wrap(self, vault: str, key_id: str, key: VendingKey) -> dict[str, Any]:
        facts = asdict(key)
        material = facts.pop("key")
        nonce = secrets.token_bytes(NONCE_BYTES)
        wrapped = self._aead.encrypt(nonce, material, self._bound_to(vault, key_id, facts))
        return {**facts, "nonce": nonce.hex(), "wrapped": wrapped.hex()}

    def _unwrap(self, vault: str, key_id: str, entry: object) -> VendingKey:
        try:
            if not isinstance(entry, dict):
                raise TypeError("an entry is a mapping")
            facts = {name: v for name, v in entry.items() if name not in ("nonce", "wrapped")}
            material = self._aead.decrypt(
                bytes.fromhex(entry["nonce"]),
                bytes.fromhex(entry["wrapped"]),
                self._bound_to(vault, key_id, facts),
            )
            return VendingKey(key=material, **facts)
        except InvalidTag as error:
            raise ConfigError(
                "vault_key_unreadable",
                f"the vending key {key_id!r} in {self._path} cannot be unwrapped: the master key is"
                " another one, or the entry was changed",
            ) from error
        except (KeyError, TypeError, ValueError, Refused) as error:
            raise self._damaged(f"the entry of vending key {key_id!r} cannot be read") from error

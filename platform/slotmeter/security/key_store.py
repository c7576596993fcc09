"""Where a security module finds vending keys: the promise, and what every store must check."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final, Protocol

from slotmeter.errors import Conflict, Refused
from slotmeter.security.vault_file import VaultFile
from slotmeter.vending.sts import VendingKey, VendingKeyInfo, vending_key_check_value

__all__ = ["FileKeys", "KeyStore", "check_key_id", "info_of", "same_or_conflict"]

KEY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeyStore(Protocol):
    """Vending keys by id, wrapped where they lie."""

    @property
    def retired(self) -> frozenset[str]:
        """Ids of keys that are there and must not be used any more."""
        ...

    async def read(self) -> Mapping[str, VendingKey]:
        """Unwrap every key that may be used.

        Raises:
            ConfigError: the store is damaged or of another master key.
        """
        ...

    async def changed(self) -> bool:
        """Say whether anything was changed since it was last read."""
        ...

    async def add(self, key_id: str, key: VendingKey) -> Mapping[str, VendingKey]:
        """Store a key; return all.

        Raises:
            Conflict: ``vending_key_exists``.
        """
        ...


def check_key_id(key_id: str) -> None:
    """Refuse an id that is none.

    Raises:
        Refused: ``bad_key_id``.
    """
    if not KEY_ID.fullmatch(key_id):
        raise Refused(
            "bad_key_id",
            "a vending key id has 1 to 64 letters, digits, dots, dashes or underscores",
            field="key_id",
        )


def info_of(key_id: str, key: VendingKey) -> VendingKeyInfo:
    """Return what may be told of a key."""
    facts = asdict(key)
    del facts["key"]
    return VendingKeyInfo(
        key_id=key_id, check_value=vending_key_check_value(key.key, key.dkga), **facts
    )


def same_or_conflict(key_id: str, present: VendingKey | None, key: VendingKey) -> None:
    """Let a key come again, also with another expiry number; refuse another under its id.

    Raises:
        Conflict: ``vending_key_exists``.
    """
    if present is not None and replace(present, ken=key.ken) != key:
        raise Conflict(
            "vending_key_exists",
            f"the id {key_id!r} is taken by another vending key; give this one a new id",
            field="key_id",
        )


class FileKeys:
    """The keys of a vault file."""

    retired: frozenset[str] = frozenset()

    def __init__(self, vault: VaultFile) -> None:
        """Serve from an open file."""
        self._vault = vault

    async def read(self) -> Mapping[str, VendingKey]:
        """Read the file; see :class:`KeyStore`."""
        return await asyncio.to_thread(self._vault.read)

    async def changed(self) -> bool:
        """Compare the file with what was read; see :class:`KeyStore`."""
        return self._vault.changed()

    async def add(self, key_id: str, key: VendingKey) -> Mapping[str, VendingKey]:
        """Replace the file; see :class:`KeyStore`."""

        def change(keys: Mapping[str, VendingKey]) -> dict[str, VendingKey]:
            same_or_conflict(key_id, keys.get(key_id), key)
            return {**keys, key_id: key}

        return await asyncio.to_thread(self._vault.update, change)

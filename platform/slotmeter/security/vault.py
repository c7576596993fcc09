"""The vault in the database: opened with the master key, it makes tokens, seals digits and signs.

::

    vault_key    one row per key: root (under the master key), then vending keys, the data key that
                 seals tokens, the key of their index and the signing key (all under the root key)

Whoever has the database, or a backup of it, has nothing without the master key. Keys are unwrapped
when the vault is opened and kept in memory, so that a sale never waits for it.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from slotmeter.errors import ConfigError, Conflict
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
    Update,
)
from slotmeter.security.database_keys import DatabaseKeys, VaultKeyWrapping
from slotmeter.security.envelope import ROOT_BYTES, Envelope, root_bound_to
from slotmeter.security.master_keys import MasterKey, wrong_master_key
from slotmeter.security.secret_box import VaultSecretBox
from slotmeter.security.signing import SEED_BYTES, VaultSigner
from slotmeter.security.software import SoftwareSecurityModule
from slotmeter.security.token_safe import VaultTokenSafe
from slotmeter.security.vault_file import VAULT_FILE, VaultFile
from slotmeter.units import epoch_us
from slotmeter.vending.sts import TABLE_SETS, DerivationOptions, TableSet

__all__ = ["TAKEN_OVER_FILE", "Vault", "rewrap_root"]

ROOT: Final = "root"
DATA: Final = "data"
INDEX: Final = "index"
SIGNING: Final = "signing"

ROOT_NAME: Final = "vault-root"
DATA_NAME: Final = "tokens-"
INDEX_NAME: Final = "token-index"
SIGNING_NAME: Final = "signing"
KEY_BYTES: Final = 32
TAKEN_OVER_FILE: Final = "vault.json.taken-over"

_DEFAULT_OPTIONS: Final = DerivationOptions(refuse_even_parity=True)
_LOG = logging.getLogger("slotmeter.security")


@dataclass(frozen=True, slots=True)
class Vault:
    """An open vault.

    Args:
        security: makes tokens with vending keys.
        tokens: seals and opens digits.
        signer: signs checkpoints.
        wrapping: takes what officers bring.
        secrets: seals what integrations and devices keep secret.
    """

    security: SoftwareSecurityModule
    tokens: VaultTokenSafe
    signer: VaultSigner
    wrapping: VaultKeyWrapping
    secrets: VaultSecretBox

    @classmethod
    async def open(
        cls,
        uow: UnitOfWork,
        clock: Clock,
        master: MasterKey,
        *,
        table_sets: Mapping[str, TableSet] = TABLE_SETS,
        options: DerivationOptions = _DEFAULT_OPTIONS,
    ) -> Self:
        """Unwrap everything; a database without a vault gets one.

        Raises:
            ConfigError: ``vault_wrong_master_key``, ``vault_key_unreadable`` or ``vault_missing``.
        """
        rows = await _rows_with_root(uow, clock, master)
        envelope = Envelope(_root_of(rows, master))
        keys = DatabaseKeys(uow, clock, envelope)
        security = SoftwareSecurityModule(
            keys, keys.unwrapped(rows), table_sets=table_sets, options=options
        )
        data = {
            int(name.removeprefix(DATA_NAME)): key
            for name, key in _unwrapped(envelope, rows, DATA).items()
        }
        index = _unwrapped(envelope, rows, INDEX)
        seed = _unwrapped(envelope, rows, SIGNING)
        if not data or not index or not seed:
            raise ConfigError(
                "vault_damaged", "the vault lacks keys of its own; restore it from a backup"
            )
        return cls(
            security=security,
            tokens=VaultTokenSafe(data, index[INDEX_NAME]),
            signer=VaultSigner(seed[SIGNING_NAME]),
            wrapping=VaultKeyWrapping(envelope, options),
            secrets=VaultSecretBox(data),
        )

    async def take_over(self, folder: Path, master_key_file: Path) -> int:
        """Bring the keys of ``vault.json`` in, which earlier releases wrote; do so once.

        Args:
            folder: the data folder; without the file nothing happens.
            master_key_file: what unwraps the file.

        Returns:
            How many keys the file held.

        Raises:
            ConfigError: the file cannot be read, or its master key is another one.
        """
        path = folder / VAULT_FILE
        if not path.exists():
            return 0
        found = VaultFile.open(folder, master_key_file).read()
        for name, key in found.items():
            await self.security.load(name, key)
        os.replace(path, path.with_name(TAKEN_OVER_FILE))
        _LOG.info("the vault in the database has taken over %s keys of %s", len(found), path.name)
        return len(found)

    async def close(self) -> None:
        """Forget the vending keys."""
        await self.security.close()


async def rewrap_root(uow: UnitOfWork, before: MasterKey, after: MasterKey) -> None:
    """Put the vault under another master key: one row changes, all other keys stay as they are.

    Raises:
        ConfigError: ``vault_missing`` or ``vault_wrong_master_key``.
        Conflict: somebody else did so at this moment.
    """
    rows = (await uow.read([Read("vault_keys")]))["vault_keys"]
    if not rows:
        raise ConfigError("vault_missing", "there is no vault in this database")
    root = _root_of(rows, before)
    params: dict[str, SqlValue] = {
        "expected": before.fingerprint,
        "new_wrapped": after.wrap(root, root_bound_to()),
        "new_wrapped_by": after.fingerprint,
    }
    await uow.run([], lambda _rows, _new_id: Changes(None, [Update("vault_root_rewrap", params)]))


async def _rows_with_root(uow: UnitOfWork, clock: Clock, master: MasterKey) -> Sequence[Row]:
    read = [Read("vault_keys")]
    rows = (await uow.read(read))["vault_keys"]
    if rows:
        return rows
    made = _new_vault(master, epoch_us(clock.now()))

    def decide(rows: Rows, new_id: NewId) -> Changes[None]:
        if rows["vault_keys"]:
            return Changes(None)  # another process was faster
        if rows["vault_sealed"]:
            raise ConfigError(
                "vault_missing",
                "this database holds sealed tokens and no vault: its keys were removed; restore "
                "the table vault_key from a backup",
            )
        return Changes(None, [Insert("vault_key", {"id": new_id(), **row}) for row in made])

    try:
        await uow.run([*read, Read("vault_sealed")], decide)
    except Conflict:
        _LOG.debug("another process made the vault at this moment")
    return (await uow.read(read))["vault_keys"]


def _new_vault(master: MasterKey, now_us: int) -> list[dict[str, SqlValue]]:
    root = secrets.token_bytes(ROOT_BYTES)
    envelope = Envelope(root)

    def row(name: str, kind: str, check_value: str, wrapped: bytes, by: str) -> dict[str, SqlValue]:
        return {
            "name": name,
            "kind": kind,
            "check_value": check_value,
            "wrapped": wrapped,
            "wrapped_by": by,
            "state": "active",
            "created_us": now_us,
        }

    seed = secrets.token_bytes(SEED_BYTES)
    inner = [
        (f"{DATA_NAME}1", DATA, "", secrets.token_bytes(KEY_BYTES)),
        (INDEX_NAME, INDEX, "", secrets.token_bytes(KEY_BYTES)),
        (SIGNING_NAME, SIGNING, VaultSigner(seed).public_key.hex(), seed),
    ]
    under_master = master.wrap(root, root_bound_to())
    return [
        row(ROOT_NAME, ROOT, envelope.name, under_master, master.fingerprint),
        *(
            row(name, kind, check, envelope.wrap(material, [kind, name]), envelope.name)
            for name, kind, check, material in inner
        ),
    ]


def _root_of(rows: Sequence[Row], master: MasterKey) -> bytes:
    root = next((row for row in rows if row["kind"] == ROOT), None)
    if root is None:
        raise ConfigError(
            "vault_damaged", "the vault has lost its root key; restore it from a backup"
        )
    if root["wrapped_by"] != master.fingerprint:
        raise wrong_master_key()
    return master.unwrap(root["wrapped"], root_bound_to())


def _unwrapped(envelope: Envelope, rows: Sequence[Row], kind: str) -> dict[str, bytes]:
    return {
        row["name"]: envelope.unwrap(row["wrapped"], [kind, row["name"]], row["name"])
        for row in rows
        if row["kind"] == kind
    }

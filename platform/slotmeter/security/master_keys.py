"""The master key: what unwraps the vault, and where it comes from.

::

    master key  wraps  the root key of the vault  wraps  vending, data, index and signing keys

The master key is the only thing that is not in the database. It comes from a file that only its
owner can read, from a systemd credential, or stays inside a PKCS#11 token
(``security.pkcs11_master_key``). An environment variable is accepted for tests alone.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from slotmeter.config import VaultConfig
from slotmeter.errors import ConfigError
from slotmeter.security.private_files import read_private, write_private

__all__ = [
    "CREDENTIALS_FOLDER",
    "MASTER_KEY_BYTES",
    "MASTER_KEY_FILE",
    "TEST_KEY",
    "TEST_SWITCH",
    "LocalMasterKey",
    "MasterKey",
    "create_master_key",
    "open_master_key",
    "parse_master_key",
    "read_master_key_file",
]

MASTER_KEY_FILE: Final = "master.key"
MASTER_KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
CREDENTIALS_FOLDER: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what ``LoadCredential=`` names; see systemd.exec(5)."""

TEST_SWITCH: Final = "SLOTMETER_ALLOW_TEST_KEYS"
TEST_KEY: Final = "SLOTMETER_TEST_MASTER_KEY"


class MasterKey(Protocol):
    """Wraps the root key of a vault; the key itself may be out of our reach."""

    @property
    def fingerprint(self) -> str:
        """What names the key without telling it."""
        ...

    def wrap(self, material: bytes, bound_to: bytes) -> bytes:
        """Wrap by AES-256-GCM; ``bound_to`` is authenticated along."""
        ...

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """Unwrap what :meth:`wrap` made.

        Raises:
            ConfigError: ``vault_wrong_master_key``.
        """
        ...


def wrong_master_key() -> ConfigError:
    """Return the refusal of a vault that another master key wraps."""
    return ConfigError(
        "vault_wrong_master_key",
        "the vault in this database was made with another master key, or its root key was "
        "changed; bring the master key that belongs to this database",
    )


class LocalMasterKey:
    """A master key in this process."""

    def __init__(self, key: bytes) -> None:
        """Keep 32 bytes."""
        self._aead = AESGCM(key)
        self._fingerprint = hashlib.sha256(b"slotmeter master key" + key).hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits."""
        return self._fingerprint

    def wrap(self, material: bytes, bound_to: bytes) -> bytes:
        """Wrap; the nonce stands in front."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, material, bound_to)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """Unwrap; see :class:`MasterKey`."""
        try:
            return self._aead.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound_to)
        except (InvalidTag, ValueError) as error:
            raise wrong_master_key() from error


def parse_master_key(text: bytes, where: str) -> bytes:
    """Read 64 hex digits.

    Raises:
        ConfigError: ``bad_master_key``; the message tells nothing of what was read.
    """
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise ConfigError(
            "bad_master_key", f"the {where} must hold {2 * MASTER_KEY_BYTES} hex digits"
        )
    return key


def read_master_key_file(path: Path) -> bytes:
    """Read a master key from a file that only its owner can read.

    Raises:
        ConfigError: ``vault_unreadable``, ``vault_not_private`` or ``bad_master_key``.
    """
    return parse_master_key(read_private(path, "master key file"), f"master key file {path}")


def create_master_key(path: Path) -> None:
    """Draw a master key into a new file; one that is there stays.

    Raises:
        ConfigError: ``vault_unwritable``.
    """
    if path.exists():
        return
    try:
        write_private(path, secrets.token_hex(MASTER_KEY_BYTES).encode() + b"\n")
    except OSError as error:
        raise ConfigError(
            "vault_unwritable", f"no master key can be written to {path}: {error.strerror}"
        ) from error


def _credential(name: str, environment: Mapping[str, str]) -> bytes:
    folder = environment.get(CREDENTIALS_FOLDER)
    if not folder:
        raise ConfigError(
            "credential_missing",
            f"there are no systemd credentials: {CREDENTIALS_FOLDER} is not set; give the unit "
            f"LoadCredential={name}:/path/of/the/key",
            field="vault.credential",
        )
    path = Path(folder) / name
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            "credential_missing",
            f"the systemd credential {name} cannot be read: {error.strerror}",
            field="vault.credential",
        ) from error
    return parse_master_key(text, f"systemd credential {name}")


def _of_environment(environment: Mapping[str, str]) -> bytes:
    if environment.get(TEST_SWITCH) != "1":
        raise ConfigError(
            "test_key_refused",
            "a master key from the environment is for tests only: every program that is started "
            "inherits it; use a file, a systemd credential or a PKCS#11 token",
            field="vault.master_key",
        )
    return parse_master_key(environment.get(TEST_KEY, "").encode(), f"variable {TEST_KEY}")


def open_master_key(
    config: VaultConfig, folder: Path, environment: Mapping[str, str] = os.environ
) -> MasterKey:
    """Return the master key that the configuration names; reads files, may open a PKCS#11 token.

    Args:
        config: the section ``[vault]``.
        folder: the data folder, which relative paths start from.
        environment: of this process.

    Raises:
        ConfigError: it is missing, readable by others, or not a key; or the token refuses.
    """
    match config.master_key:
        case "credential":
            return LocalMasterKey(_credential(config.credential, environment))
        case "environment":
            return LocalMasterKey(_of_environment(environment))
        case "pkcs11":
            from slotmeter.security.pkcs11_master_key import open_pkcs11_master_key

            return open_pkcs11_master_key(config, folder)
        case _:
            return LocalMasterKey(read_master_key_file(folder / config.master_key_file))

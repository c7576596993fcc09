"""A master key that never leaves a PKCS#11 token: an HSM, a smart card, or SoftHSM2.

The token holds an AES-256 key that is sensitive and not extractable. It is asked twice in the life
of a process at most: for a fingerprint and for the root key of the vault. The session is closed
after each question, so that a token can be shared and pulled.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from slotmeter.config import VaultConfig
from slotmeter.errors import ConfigError
from slotmeter.security.master_keys import wrong_master_key
from slotmeter.security.private_files import read_private

__all__ = ["Pkcs11MasterKey", "create_pkcs11_master_key", "open_pkcs11_master_key"]

NONCE_BYTES: Final = 12
KEY_BITS: Final = 256
TAG_BITS: Final = 128
_NAMED_BY: Final = b"slotmeter-master"  # one block; what the key makes of it names the key


@dataclass(frozen=True, slots=True)
class Pkcs11MasterKey:
    """Implements ``master_keys.MasterKey`` on a PKCS#11 module.

    Args:
        library: path of the module.
        token: label of the token.
        key: label of the AES-256 key.
        pin: of the token's user.
    """

    library: str
    token: str
    key: str
    pin: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits: a block that the key encrypted."""
        from pkcs11 import Mechanism

        with self._open() as session:
            made = self._found(session).encrypt(_NAMED_BY, mechanism=Mechanism.AES_ECB)
        return bytes(made)[:8].hex()

    def wrap(self, material: bytes, bound_to: bytes) -> bytes:
        """Wrap; the nonce stands in front."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        with self._open() as session:
            made = self._found(session).encrypt(material, **_gcm(nonce, bound_to))
        return nonce + bytes(made)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """Unwrap; see ``MasterKey``."""
        from pkcs11.exceptions import PKCS11Error

        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        with self._open() as session:
            key = self._found(session)
            try:
                return bytes(key.decrypt(sealed, **_gcm(nonce, bound_to)))
            except PKCS11Error as error:
                raise wrong_master_key() from error

    @contextmanager
    def _open(self, *, write: bool = False) -> Iterator[Any]:
        try:
            from pkcs11 import lib
            from pkcs11.exceptions import PKCS11Error
        except ImportError as error:
            raise ConfigError(
                "pkcs11_missing",
                "a master key in a PKCS#11 token needs: pip install 'slotmeter[pkcs11]'",
                field="vault.master_key",
            ) from error
        try:
            token = lib(self.library).get_token(token_label=self.token)
            with token.open(user_pin=self.pin, rw=write) as session:
                yield session
        except (PKCS11Error, RuntimeError) as error:
            raise ConfigError(
                "pkcs11_unavailable",
                f"the PKCS#11 token {self.token!r} in {self.library} cannot be used:"
                f" {type(error).__name__} {error}".rstrip(),
                field="vault.pkcs11_token",
            ) from error

    def _found(self, session: Any) -> Any:
        from pkcs11 import KeyType, ObjectClass
        from pkcs11.exceptions import NoSuchKey

        try:
            return session.get_key(
                object_class=ObjectClass.SECRET_KEY, key_type=KeyType.AES, label=self.key
            )
        except NoSuchKey as error:
            raise ConfigError(
                "pkcs11_key_missing",
                f"the PKCS#11 token {self.token!r} has no AES key {self.key!r}; make one with: "
                "slotmeter vault create-key",
                field="vault.pkcs11_key",
            ) from error


def _gcm(nonce: bytes, bound_to: bytes) -> dict[str, Any]:
    from pkcs11 import GCMParams, Mechanism

    return {
        "mechanism": Mechanism.AES_GCM,
        "mechanism_param": GCMParams(nonce, bound_to, TAG_BITS),
    }


def open_pkcs11_master_key(config: VaultConfig, folder: Path) -> Pkcs11MasterKey:
    """Return the key that the configuration names.

    Raises:
        ConfigError: ``vault_unreadable`` or ``vault_not_private`` for the file with the PIN.
    """
    pin = read_private(folder / config.pkcs11_pin_file, "file with the token's PIN")
    return Pkcs11MasterKey(
        str(config.pkcs11_library),
        config.pkcs11_token,
        config.pkcs11_key,
        pin.decode("utf-8", "replace").strip(),
    )


def create_pkcs11_master_key(key: Pkcs11MasterKey) -> None:
    """Let the token draw the key itself; it can be used there and never be read.

    Raises:
        ConfigError: ``pkcs11_key_exists``, or the token refuses.
    """
    from pkcs11 import Attribute, KeyType, ObjectClass

    with key._open(write=True) as session:
        wanted = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.LABEL: key.key,
        }
        if any(True for _ in session.get_objects(wanted)):
            raise ConfigError(
                "pkcs11_key_exists", f"the token {key.token!r} has a key {key.key!r} already"
            )
        session.generate_key(
            KeyType.AES,
            KEY_BITS,
            label=key.key,
            store=True,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )

"""The envelope: a root key that wraps every other key of the vault, bound to what each one is."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from slotmeter.errors import ConfigError

__all__ = ["ROOT_BYTES", "Envelope", "root_bound_to"]

ROOT_BYTES: Final = 32
NONCE_BYTES: Final = 12


def root_bound_to() -> bytes:
    """Return what the root key is bound to under the master key."""
    return b"slotmeter vault root 1"


class Envelope:
    """Wraps by AES-256-GCM under the root key; what a key is, is authenticated with it."""

    def __init__(self, root: bytes) -> None:
        """Keep the root key."""
        self._aead = AESGCM(root)
        self.name: Final = hashlib.sha256(b"slotmeter vault root" + root).hexdigest()[:16]

    def wrap(self, material: bytes, what: object) -> bytes:
        """Wrap; the nonce stands in front.

        Args:
            material: what is secret.
            what: a JSON-able description; the same is needed to unwrap.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, material, _bound_to(what))

    def unwrap(self, wrapped: bytes, what: object, name: str) -> bytes:
        """Unwrap what :meth:`wrap` made.

        Raises:
            ConfigError: ``vault_key_unreadable``, naming ``name``.
        """
        try:
            return self._aead.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _bound_to(what))
        except (InvalidTag, ValueError) as error:
            raise ConfigError(
                "vault_key_unreadable",
                f"the key {name!r} of the vault cannot be unwrapped: its row was changed, or it "
                "belongs to another vault; restore it from a backup",
            ) from error


def _bound_to(what: object) -> bytes:
    return json.dumps(what, sort_keys=True, separators=(",", ":")).encode()

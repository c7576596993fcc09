"""Signatures by a key of the vault: Ed25519 (RFC 8032)."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from slotmeter.ports import Signature

__all__ = ["SEED_BYTES", "VaultSigner", "verify_signature"]

SEED_BYTES: Final = 32


class VaultSigner:
    """Implements ``ports.Signer``."""

    def __init__(self, seed: bytes) -> None:
        """Build from 32 secret bytes."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """Return the 32 bytes that verify; see ``ports.Signer``."""
        return self._public

    def sign(self, message: bytes) -> Signature:
        """Sign; see ``ports.Signer``."""
        return Signature(self._public, self._key.sign(message))


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a signature is of this message and this key; needs no vault."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True

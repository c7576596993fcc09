"""Sealing secrets of integrations and devices: AES-256-GCM under keys made from the vault's own.

Each data key of the vault gives one key for this purpose (HKDF-SHA-256, RFC 5869), so that what is
sealed here and the digits of tokens never share a key. The nonce is random; the owner is
authenticated with the text, so that a sealed text moved to another row cannot be opened.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from slotmeter.errors import Unavailable

__all__ = ["VaultSecretBox"]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_PURPOSE: Final = b"slotmeter secrets 1"


class VaultSecretBox:
    """Implements ``ports.SecretBox``.

    A sealed text is ``number.base64url(nonce, ciphertext, tag)``; the number names the data key.
    """

    def __init__(self, data_keys: Mapping[int, bytes]) -> None:
        """Make the keys; that of the data key with the highest number seals.

        Args:
            data_keys: 32 bytes each, by number.
        """
        self._aeads = {f"{number}": AESGCM(_derived(key)) for number, key in data_keys.items()}
        self._number = f"{max(data_keys)}"

    def seal(self, owner: str, text: str) -> str:
        """Seal a text; see ``ports.SecretBox``."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._aeads[self._number].encrypt(nonce, text.encode(), _bound_to(owner))
        return f"{self._number}.{urlsafe_b64encode(nonce + sealed).decode('ascii')}"

    def open(self, owner: str, sealed: str) -> str:
        """Return the text; see ``ports.SecretBox``."""
        number, _, rest = sealed.partition(".")
        try:
            raw = urlsafe_b64decode(rest)
            clear = self._aeads[number].decrypt(
                raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(owner)
            )
        except (InvalidTag, KeyError, ValueError) as error:
            raise Unavailable(
                "secret_unreadable",
                f"the secrets of {owner} cannot be opened: another vault sealed them, or their row "
                "was changed; give them anew",
            ) from error
        return clear.decode()


def _derived(key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_PURPOSE).derive(key)


def _bound_to(owner: str) -> bytes:
    return _PURPOSE + b" " + owner.encode()

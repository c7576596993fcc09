"""Sealing the digits of tokens: AES-256-GCM under a data key of the vault, and a keyed index.

The nonce is a part of the keyed hash of the digits. The same digits therefore give the same text,
as they give the same index, and no two different ones share a nonce but by a collision of 96 bits.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from slotmeter.errors import Unavailable
from slotmeter.ports import SealedDigits

__all__ = ["VaultTokenSafe"]

DIGITS: Final = 20
INDEX_BYTES: Final = 16
NONCE_BYTES: Final = 12
_BOUND_TO: Final = b"slotmeter token 1"


class VaultTokenSafe:
    """Implements ``ports.TokenSafe``.

    A sealed text is ``number.base64url(nonce, ciphertext, tag)``; the number names the data key, so
    that a new one can take over without sealing everything again.
    """

    def __init__(self, data_keys: Mapping[int, bytes], index_key: bytes) -> None:
        """Keep the keys; the data key with the highest number seals.

        Args:
            data_keys: 32 bytes each, by number.
            index_key: 32 bytes; one for the life of the database.
        """
        self._aeads = {f"{number}": AESGCM(key) for number, key in data_keys.items()}
        self._number = f"{max(data_keys)}"
        self._sealing = self._aeads[self._number]
        self._index_key = index_key

    def seal(self, digits: str) -> SealedDigits:
        """Seal 20 digits; see ``ports.TokenSafe``."""
        clear = digits.encode("ascii")
        keyed = hmac.digest(self._index_key, clear, "sha256")
        nonce = keyed[INDEX_BYTES : INDEX_BYTES + NONCE_BYTES]
        sealed = urlsafe_b64encode(nonce + self._sealing.encrypt(nonce, clear, _BOUND_TO))
        text = f"{self._number}.{sealed.decode('ascii').rstrip('=')}"
        return SealedDigits(text, keyed[:INDEX_BYTES].hex())

    def open(self, text: str) -> str:
        """Return the digits; see ``ports.TokenSafe``."""
        if len(text) == DIGITS and text.isdecimal():
            return text
        number, _, sealed = text.partition(".")
        try:
            raw = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            clear = self._aeads[number].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _BOUND_TO)
        except (InvalidTag, KeyError, ValueError) as error:
            raise Unavailable(
                "token_unreadable",
                "a stored token cannot be opened: another vault sealed it, or its row was changed",
            ) from error
        return clear.decode("ascii")

    def index(self, digits: str) -> str:
        """Return the keyed index; see ``ports.TokenSafe``."""
        keyed = hmac.digest(self._index_key, digits.encode("ascii"), "sha256")
        return keyed[:INDEX_BYTES].hex()

"""Who holds key material, and what it does for the rest of the platform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slotmeter.vending.sts import (
    IssuedToken,
    KeyParameters,
    TokenRequest,
    VendingKey,
    VendingKeyInfo,
)

__all__ = [
    "KeyFacts",
    "KeyWrapping",
    "SealedDigits",
    "SecretBox",
    "SecurityModule",
    "Signature",
    "Signer",
    "TokenSafe",
    "WrappedKey",
]


class SecurityModule(Protocol):
    """The only holder of key material; software or hardware."""

    async def issue(
        self, key_id: str, parameters: KeyParameters, request: TokenRequest
    ) -> IssuedToken:
        """Make a token. Pure: the same arguments give the same digits, now and after years.

        Raises:
            Refused: ``key_expired`` and the range errors of the engine.
            NotFound: ``vending_key_unknown``.
        """
        ...

    async def change_key(
        self,
        current: tuple[str, KeyParameters],
        new: tuple[str, KeyParameters],
        *,
        three_tokens: bool = False,
    ) -> tuple[IssuedToken, ...]:
        """Make the key change tokens that take a meter from one set of parameters to another."""
        ...

    async def load(self, key_id: str, key: VendingKey) -> VendingKeyInfo:
        """Take in a vending key; it is never readable again."""
        ...

    async def describe(self, key_id: str) -> VendingKeyInfo:
        """Return what may be known of a key: its names and its check value."""
        ...

    async def close(self) -> None:
        """Forget everything held in memory."""
        ...


@dataclass(frozen=True, slots=True)
class SealedDigits:
    """The 20 digits of a token as the database keeps them.

    Args:
        text: sealed; only the vault opens it.
        index: keyed hash of the digits, 32 hex digits: the same digits give the same index.
    """

    text: str
    index: str


class TokenSafe(Protocol):
    """Seals the digits of tokens for the database, and opens them on their way out."""

    def seal(self, digits: str) -> SealedDigits:
        """Seal 20 digits; the same digits give the same text, so that a repeat changes nothing."""
        ...

    def open(self, text: str) -> str:
        """Return the digits of a sealed text.

        Twenty digits are returned as they are: rows from before tokens were sealed hold them until
        they have been sealed as well.

        Raises:
            Unavailable: ``token_unreadable``: sealed by another vault, or changed.
        """
        ...

    def index(self, digits: str) -> str:
        """Return what tokens with these digits are found by; see ``token.digits_index``."""
        ...


class SecretBox(Protocol):
    """Seals what integrations and devices must keep secret: passwords, and keys of devices."""

    def seal(self, owner: str, text: str) -> str:
        """Seal a text for an owner, such as ``entry town``; each time it looks different."""
        ...

    def open(self, owner: str, sealed: str) -> str:
        """Return the text that was sealed for this owner.

        Raises:
            Unavailable: ``secret_unreadable``: sealed by another vault or for another owner, or
                changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """An Ed25519 signature (RFC 8032) and the public key that verifies it."""

    public_key: bytes
    signature: bytes


class Signer(Protocol):
    """Signs with a key that never leaves the vault."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that verify what :meth:`sign` makes."""
        ...

    def sign(self, message: bytes) -> Signature:
        """Sign; the same message gives the same signature."""
        ...


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a vending key is, without the key; as in ``VendingKey``."""

    name: str
    sgc: str
    krn: int
    kt: int
    dkga: str
    base_date: int
    ken: int


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """Key material that only the vault can unwrap, and its check value, which anybody may see."""

    wrapped: bytes = field(repr=False)
    wrapped_by: str
    check_value: str


class KeyWrapping(Protocol):
    """Wraps what officers bring. Pure, so that it can be used inside a unit of work."""

    def wrap_part(self, facts: KeyFacts, part: int, parts: int, material: bytes) -> WrappedKey:
        """Wrap one of several components, or the whole key when ``parts`` is 1.

        Raises:
            Refused: ``bad_vending_key`` or ``vending_key_parity``.
        """
        ...

    def join(self, facts: KeyFacts, parts: Sequence[bytes]) -> WrappedKey:
        """Join wrapped components, in order, into the vending key: their exclusive or.

        Raises:
            Refused: the key cannot be used.
            ConfigError: ``vault_key_unreadable``.
        """
        ...

"""Who holds key material."""

from __future__ import annotations

from typing import Protocol

from slotmeter.vending.sts import (
    IssuedToken,
    KeyParameters,
    TokenRequest,
    VendingKey,
    VendingKeyInfo,
)

__all__ = ["SecurityModule"]


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

"""A safe for tokens with keys that everybody knows: for tests and trials."""

from __future__ import annotations

from slotmeter.security.token_safe import VaultTokenSafe

__all__ = ["sample_safe"]


def sample_safe() -> VaultTokenSafe:
    """Return it; what one seals any other opens."""
    return VaultTokenSafe({1: b"data key for tests".ljust(32)}, b"index key for tests".ljust(32))

"""A safe for tokens and the wrapping of a vault, with keys that everybody knows: for tests."""

from __future__ import annotations

from slotmeter.security.database_keys import VaultKeyWrapping
from slotmeter.security.envelope import Envelope
from slotmeter.security.secret_box import VaultSecretBox
from slotmeter.security.token_safe import VaultTokenSafe
from slotmeter.vending.sts import DerivationOptions

__all__ = ["sample_safe", "sample_secret_box", "sample_wrapping"]


def sample_safe() -> VaultTokenSafe:
    """Return it; what one seals any other opens."""
    return VaultTokenSafe({1: b"data key for tests".ljust(32)}, b"index key for tests".ljust(32))


def sample_secret_box() -> VaultSecretBox:
    """Return one whose key everybody knows; what one seals any other opens."""
    return VaultSecretBox({1: b"data key for tests".ljust(32)})


def sample_wrapping() -> VaultKeyWrapping:
    """Return what wraps keys under a root key that everybody knows."""
    options = DerivationOptions(refuse_even_parity=True)
    return VaultKeyWrapping(Envelope(b"root key for tests".ljust(32)), options)

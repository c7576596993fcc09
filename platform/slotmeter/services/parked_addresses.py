"""Addresses of meters that nothing is heard from, since a node speaks, or spoke last, for them.

Such an address names the device in the tables and nothing on any medium: whoever claims to speak
from there is not believed, and is given nothing.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_parked", "parked_address"]

PARKED: Final = "/"
"""No device can be registered at an address that begins so."""


def parked_address(node_id: int, number: str) -> str:
    """Return the address of a meter that a node speaks for."""
    return f"{PARKED}{node_id}/{number}"


def is_parked(address: str) -> bool:
    """Say whether an address is such a one."""
    return address.startswith(PARKED)

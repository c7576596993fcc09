"""Config entries: one connection through a medium, the states that it goes through, and pauses.

::

    not_loaded ──> setting_up ──> loaded ──────> unloading ──> not_loaded
                     │    ^          (changed, switched off,     │    │
                     │    │           removed, or it broke)      │    └──> retrying
                     │    └──── retrying <── (it may work later) │
                     │    └──── failed   <── (it cannot work) <──┘

``failed`` waits until somebody changes the entry or asks for another try; ``retrying`` tries by
itself, with pauses that grow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = [
    "DRAW_MAX",
    "ENTRY_KEY_CHARACTERS_MAX",
    "PAUSE_MS_FIRST",
    "PAUSE_MS_MAX",
    "Entry",
    "EntrySource",
    "EntryState",
    "EntryStatus",
    "may_follow",
    "retry_pause_ms",
    "valid_entry_key",
]

PAUSE_MS_FIRST: Final = 5_000
"""The pause after the first try that failed; it doubles with every further one."""

PAUSE_MS_MAX: Final = 600_000
"""No pause is longer."""

JITTER_PARTS: Final = 5
"""Up to a fifth of a pause is left out, so that entries that broke together do not try together."""

DRAW_MAX: Final = 1_000
ENTRY_KEY_CHARACTERS_MAX: Final = 32
_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class EntryState(StrEnum):
    """Where an entry stands."""

    NOT_LOADED = "not_loaded"
    """It does not run: it is switched off, or no server runs."""

    SETTING_UP = "setting_up"
    LOADED = "loaded"

    RETRYING = "retrying"
    """Setting up did not work and is tried again after a pause."""

    FAILED = "failed"
    """It cannot work as it is; nothing happens before somebody changes it or asks for a try."""

    UNLOADING = "unloading"


class EntrySource(StrEnum):
    """Where an entry was made; one of a file is changed there only."""

    API = "api"
    CLI = "cli"
    FILE = "file"


_FOLLOWS: Final[Mapping[EntryState, frozenset[EntryState]]] = MappingProxyType(
    {
        EntryState.NOT_LOADED: frozenset({EntryState.SETTING_UP}),
        EntryState.SETTING_UP: frozenset(
            {EntryState.LOADED, EntryState.RETRYING, EntryState.FAILED, EntryState.UNLOADING}
        ),
        EntryState.LOADED: frozenset({EntryState.UNLOADING}),
        EntryState.UNLOADING: frozenset(
            {EntryState.NOT_LOADED, EntryState.RETRYING, EntryState.FAILED}
        ),
        EntryState.RETRYING: frozenset({EntryState.SETTING_UP, EntryState.NOT_LOADED}),
        EntryState.FAILED: frozenset(
            {EntryState.SETTING_UP, EntryState.UNLOADING, EntryState.NOT_LOADED}
        ),
    }
)


def may_follow(before: EntryState, after: EntryState) -> bool:
    """Say whether an entry goes from one state straight to another."""
    return after in _FOLLOWS[before]


def retry_pause_ms(failures: int, draw: int) -> int:
    """Return how long to wait before the next try.

    Args:
        failures: tries that failed one after the other, from 1.
        draw: 0 to ``DRAW_MAX``, from a source that the caller seeds.

    Returns:
        Milliseconds: 4,000 to 5,000 at first, 480,000 to 600,000 in the end.
    """
    if failures < 1 or not 0 <= draw <= DRAW_MAX:
        raise ValueError(f"expected a failure and a draw to {DRAW_MAX}, got {failures}, {draw}")
    # Doubling more often than this is beyond the longest pause anyway.
    whole = min(PAUSE_MS_FIRST << min(failures - 1, 16), PAUSE_MS_MAX)
    return whole - whole * draw // (DRAW_MAX * JITTER_PARTS)


def valid_entry_key(key: str) -> bool:
    """Say whether a text can be the key of an entry: it is a part of paths and of topics."""
    return _KEY.fullmatch(key) is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is wanted of one connection; without its secrets.

    Args:
        id: of its row.
        key: unique and never changed.
        medium: key of the medium.
        title: for people.
        options: what the medium itself must understand.
        enabled: whether it should run.
        source: where it was made.
        changed_us: when it was last changed; another value is another entry to load.
        created_us: when it was made.
        secret_names: names of its secrets.
    """

    id: int
    key: str
    medium: str
    title: str
    options: Mapping[str, object]
    enabled: bool
    source: EntrySource
    changed_us: int
    created_us: int = 0
    secret_names: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """What people call it."""
        return self.title or self.key


@dataclass(frozen=True, slots=True)
class EntryStatus:
    """How an entry does.

    Args:
        state: where it stands.
        reason: why, for people; with the stable code of an error in front where there is one.
        since_us: since when.
        retry_us: when it is tried again, while it retries.
        failures: tries that failed one after the other.
        addresses: where it listens, while it is loaded.
    """

    state: EntryState = EntryState.NOT_LOADED
    reason: str = ""
    since_us: int = 0
    retry_us: int | None = None
    failures: int = 0
    addresses: tuple[str, ...] = field(default=())

"""How often a server searches its memory for garbage."""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["NEW_OBJECTS", "settle"]

NEW_OBJECTS: Final = 50_000
"""So many new objects before the young ones are searched; Python's own 700 are a search for every
hundred frames, which cost a fifth of the time for each."""

_OLDER: Final = (20, 100)


def settle() -> None:
    """Leave what is in memory now out of the search: it lives as long as the server."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *_OLDER)

"""Random bits for tokens, asked of the operating system for many sales at once."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["RandomNibbles"]

BYTES_AT_ONCE: Final = 1_024


class RandomNibbles:
    """The four random bits of a token (IEC 62055-41, RND), from the system's own source.

    A call of the system for each sale makes the event loop give up the interpreter once more.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._waiting = b""
        self._at = 0

    def draw(self) -> int:
        """Return 0 to 15, each as likely as any other, used once."""
        if self._at == len(self._waiting):
            self._waiting = os.urandom(BYTES_AT_ONCE)
            self._at = 0
        self._at += 1
        return self._waiting[self._at - 1] & 0xF

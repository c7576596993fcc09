"""Where time comes from."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Where time comes from; the only source of it."""

    def now(self) -> datetime:
        """Return the present as aware UTC."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards, for time-outs."""
        ...

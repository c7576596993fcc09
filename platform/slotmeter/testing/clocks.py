"""Clocks that stand still until they are told to move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock"]


class FakeClock:
    """A ``ports.Clock`` that a test moves by hand; both of its times move together."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._since = timedelta()

    def now(self) -> datetime:
        """Return the time it was set to."""
        return self._now

    def monotonic_s(self) -> float:
        """Return the seconds it was moved forward in all."""
        return self._since.total_seconds()

    def advance(self, *, seconds: int = 0, hours: int = 0, days: int = 0) -> None:
        """Move forward."""
        by = timedelta(seconds=seconds, hours=hours, days=days)
        self._now += by
        self._since += by

    def set(self, now: datetime) -> None:
        """Set the time of day; the time since the start follows only forward."""
        self._since += max(timedelta(), now - self._now)
        self._now = now

"""How many commands may be handed out through one cell, gateway or concentrator at a time.

A radio cell, a gateway and a concentrator carry few messages to many meters. Without a limit a
thousand meters that come back after an outage would be sent a thousand commands at once, and the
answers that get lost would be asked for again. A bucket of tokens per cell bounds that. Only time
fills it, and only up to a burst: within any span of time no more goes out than a burst and what the
span fills, also beyond a restart of the server, since a bucket is empty when it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slotmeter.units import MINUTE_US

__all__ = ["CELLS_MAX", "CellLimit", "CellLimits"]

CELLS_MAX: Final = 10_000
"""With more buckets than that, full ones are forgotten: they are as good as new."""


@dataclass(frozen=True, slots=True)
class CellLimit:
    """What one cell carries.

    Args:
        per_minute: commands handed out in a minute on the average.
        burst: commands handed out at once, after a pause.
    """

    per_minute: int
    burst: int

    def __post_init__(self) -> None:
        """Refuse a limit that would stop everything."""
        if self.per_minute < 1 or self.burst < 1:
            raise ValueError("expected at least one command a minute, and one at once")

    @property
    def full(self) -> int:
        """What a full bucket holds; one command takes ``MINUTE_US`` of it."""
        return self.burst * MINUTE_US


@dataclass(slots=True)
class _Bucket:
    """What is left in a cell, in parts of a command, and when that was so."""

    left: int
    at_us: int


class CellLimits:
    """The buckets of all cells of one medium."""

    def __init__(self, limit: CellLimit | None, now_us: int = 0) -> None:
        """Start with nothing in any bucket.

        Args:
            limit: of every cell; without one nothing is ever held up.
            now_us: of a clock that never goes back, as all times here.
        """
        self._limit = limit
        self._began_us = now_us
        self._buckets: dict[str, _Bucket] = {}
        self._look_at = CELLS_MAX

    def take(self, cell: str, freely: int, others: int, now_us: int) -> int | None:
        """Take commands off a cell before they go, so that nobody else is given the same room.

        Args:
            cell: which one.
            freely: commands that go in any case; the cell may owe them afterwards.
            others: commands that go as far as there is room.
            now_us: now.

        Returns how many of the others have room; None when there is no limit.
        """
        if self._limit is None:
            return None
        bucket = self._filled(self._limit, cell, now_us)
        bucket.left -= freely * MINUTE_US
        room = min(others, max(0, bucket.left // MINUTE_US))
        bucket.left -= room * MINUTE_US
        return room

    def settle(self, cell: str, taken: int, went: int, now_us: int) -> None:
        """Give back what was taken for commands that did not go, or take what is missing.

        Args:
            cell: which one.
            taken: so many commands were taken off.
            went: so many were handed out.
            now_us: now.
        """
        if self._limit is not None and taken != went:
            bucket = self._filled(self._limit, cell, now_us)
            bucket.left = min(self._limit.full, bucket.left + (taken - went) * MINUTE_US)

    def _filled(self, limit: CellLimit, cell: str, now_us: int) -> _Bucket:
        bucket = self._buckets.get(cell)
        if bucket is None:
            self._forget_full(limit, now_us)
            bucket = self._buckets[cell] = _Bucket(0, self._began_us)
        _fill(bucket, limit, now_us)
        return bucket

    def _forget_full(self, limit: CellLimit, now_us: int) -> None:
        """Make room, now and then; a cell that was just used is never forgotten."""
        if len(self._buckets) < self._look_at:
            return
        for cell, bucket in list(self._buckets.items()):
            _fill(bucket, limit, now_us)
            if bucket.left >= limit.full:
                del self._buckets[cell]
        self._look_at = max(CELLS_MAX, 2 * len(self._buckets))


def _fill(bucket: _Bucket, limit: CellLimit, now_us: int) -> None:
    """Add what has come since the last time: ``per_minute`` commands in each minute."""
    since_us = max(0, now_us - bucket.at_us)
    bucket.left = min(limit.full, bucket.left + since_us * limit.per_minute)
    bucket.at_us = max(bucket.at_us, now_us)

"""How many commands may be handed out through one cell, gateway or concentrator at a time.

A radio cell, a gateway and a concentrator carry few messages to many meters. Without a limit a
thousand meters that come back after an outage would be sent a thousand commands at once, and the
answers that get lost would be asked for again. A bucket of tokens per cell bounds that; it is
filled by time alone, so that what happens hangs on the clock and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slotmeter.units import MINUTE_US

__all__ = ["CELLS_MAX", "CellLimit", "CellLimits"]

CELLS_MAX: Final = 10_000
"""So many cells are remembered; the ones that were not used longest are forgotten, hence full."""


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


@dataclass(slots=True)
class _Bucket:
    """What is left in a cell, in microseconds of its filling, and when that was so."""

    left_us: int
    at_us: int


class CellLimits:
    """The buckets of all cells of one medium."""

    def __init__(self, limit: CellLimit | None) -> None:
        """Start with full buckets; without a limit nothing is ever refused."""
        self._limit = limit
        self._buckets: dict[str, _Bucket] = {}

    def left(self, cell: str, now_us: int) -> int | None:
        """Return how many commands a cell carries now; None when there is no limit."""
        if self._limit is None:
            return None
        return self._filled(self._limit, cell, now_us).left_us // self._each_us(self._limit)

    def spend(self, cell: str, commands: int, now_us: int) -> None:
        """Take commands off a cell. It may go below nothing: giving supply back is not limited."""
        if self._limit is None or not commands:
            return
        bucket = self._filled(self._limit, cell, now_us)
        bucket.left_us -= commands * self._each_us(self._limit)

    def _each_us(self, limit: CellLimit) -> int:
        return MINUTE_US // limit.per_minute

    def _filled(self, limit: CellLimit, cell: str, now_us: int) -> _Bucket:
        full_us = limit.burst * self._each_us(limit)
        bucket = self._buckets.pop(cell, None) or _Bucket(full_us, now_us)
        # A clock that was set back fills nothing and takes nothing.
        bucket.left_us = min(full_us, bucket.left_us + max(0, now_us - bucket.at_us))
        bucket.at_us = now_us
        self._buckets[cell] = bucket  # the newest is last
        if len(self._buckets) > CELLS_MAX:
            del self._buckets[next(iter(self._buckets))]
        return bucket

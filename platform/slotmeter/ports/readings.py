"""Where register values live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

__all__ = ["Aggregate", "ReadingRow", "ReadingStore", "StoreStats"]


class ReadingRow(NamedTuple):
    """One stored value; a tuple, since there are as many of them as of nothing else.

    Args:
        meter_id: the platform's id of the meter.
        register: a name of ``devices.entities.REGISTERS``.
        measured_us: the meter's clock, UTC epoch microseconds.
        value: integer in the register's base unit.
        frame_id: the frame it came from, or 0.
    """

    meter_id: int
    register: str
    measured_us: int
    value: int
    frame_id: int = 0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One bucket of a register: bounds are UTC epoch microseconds, start included, end excluded."""

    start_us: int
    end_us: int
    count: int
    minimum: int
    maximum: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How much a store holds."""

    rows: int
    meters: int
    oldest_us: int | None
    newest_us: int | None


class ReadingStore(Protocol):
    """Where register values live; duplicates and late values are harmless."""

    async def append(self, rows: Sequence[ReadingRow], *, cursor: int | None = None) -> int:
        """Store rows keyed by (meter, register, time) and, in the same commit, the cursor.

        Returns how many rows were new. Durable before it returns.
        """
        ...

    async def cursor(self) -> int:
        """Return the newest cursor that ``append`` was given; 0 at first."""
        ...

    async def go_back(self, position: int) -> None:
        """Take an earlier cursor: the log was set back, and gives numbers again."""
        ...

    async def range(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, limit: int
    ) -> Sequence[ReadingRow]:
        """Return the values with start <= time < end in time order, at most ``limit``."""
        ...

    async def aggregate(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, bucket_us: int
    ) -> Sequence[Aggregate]:
        """Return non-empty buckets aligned to ``start_us``, in time order."""
        ...

    async def last(self, meter_id: int, register: str) -> ReadingRow | None:
        """Return the newest value by the meter's clock."""
        ...

    async def retain(self, before_us: int) -> int:
        """Drop whole days that end at or before the given time; return rows dropped."""
        ...

    async def stats(self) -> StoreStats:
        """Return how much is stored."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of files."""
        ...

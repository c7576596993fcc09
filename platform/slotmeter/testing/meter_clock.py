"""The time that virtual meters live in, apart from the time that protocols run on.

A town at speed 600 lives ten minutes in each real second; time-outs, retries and leases of the
protocol stay on real time. A meter itself has no clock: it is told up to when it has lived.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from slotmeter.errors import Refused

__all__ = ["SPEED_MAX", "ManualClock", "MeterClock", "SpeedClock"]

SPEED_MAX: Final = 100_000
"""Meter seconds per real second; beyond it a day passes within one network round trip."""

_NS_PER_US: Final = 1_000


class MeterClock(Protocol):
    """What time it is for a meter."""

    def now(self) -> datetime:
        """Return the meter's present, aware UTC."""
        ...

    async def sleep_until(self, at: datetime) -> None:
        """Return when ``now()`` has reached ``at``."""
        ...


class SpeedClock:
    """Real time, faster.

    Args:
        start: the meter time at this moment, aware UTC.
        speed: meter seconds per real second, 1 to ``SPEED_MAX``.
        monotonic_ns: nanoseconds that never run backwards; a test gives its own.
    """

    def __init__(
        self,
        start: datetime,
        speed: int = 1,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if not 1 <= speed <= SPEED_MAX:
            raise Refused(
                "bad_speed", f"expected a speed from 1 to {SPEED_MAX}, got {speed}", field="speed"
            )
        self._start = _aware(start)
        self._speed = speed
        self._monotonic_ns = monotonic_ns
        self._zero_ns = monotonic_ns()

    @property
    def speed(self) -> int:
        """Meter seconds per real second."""
        return self._speed

    def now(self) -> datetime:
        """Return the meter's present, aware UTC."""
        elapsed_ns = self._monotonic_ns() - self._zero_ns
        return self._start + timedelta(microseconds=elapsed_ns * self._speed // _NS_PER_US)

    async def sleep_until(self, at: datetime) -> None:
        """Return when ``now()`` has reached ``at``."""
        left = at - self.now()
        if left > timedelta():
            await asyncio.sleep(left.total_seconds() / self._speed)
        if self.now() < at:  # the loop's clock may be a tick ahead of ours
            await self.sleep_until(at)


class ManualClock:
    """Time that stands still until it is moved; for tests."""

    def __init__(self, start: datetime) -> None:
        self._now = _aware(start)
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """Return the meter's present, aware UTC."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move the present forward and return it."""
        if by < timedelta():
            raise Refused("time_runs_back", f"expected a step forward, got {by}", field="by")
        self._now += by
        self._moved.set()
        self._moved = asyncio.Event()
        return self._now

    async def sleep_until(self, at: datetime) -> None:
        """Return when ``now()`` has reached ``at``."""
        while self._now < at:
            await self._moved.wait()


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise Refused("naive_time", "expected an instant with a time zone, got one without")
    return instant.astimezone(UTC)

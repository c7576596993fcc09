"""Wake-ups within one process: they carry no truth and may be lost.

Whoever is woken looks into the database; whoever was not woken looks anyway every few seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

__all__ = [
    "WAKES_WAITING_MAX",
    "Bus",
    "CommandsChanged",
    "CreditChanged",
    "EventsRecorded",
    "FrameLogged",
    "Subscription",
    "Wake",
]

WAKES_WAITING_MAX: Final = 1_000
"""A subscriber that is slower loses the oldest wake-ups."""


@dataclass(frozen=True, slots=True)
class FrameLogged:
    """A frame is in the log."""

    frame_id: int


@dataclass(frozen=True, slots=True)
class CommandsChanged:
    """A device has something new in its queue, or something left it."""

    device_id: int


@dataclass(frozen=True, slots=True)
class CreditChanged:
    """What credit control looks at may have changed for a meter."""

    meter_id: int


@dataclass(frozen=True, slots=True)
class EventsRecorded:
    """There are new events."""


Wake = FrameLogged | CommandsChanged | CreditChanged | EventsRecorded


class Subscription:
    """The wake-ups of some kinds for one listener; use it as a context manager."""

    def __init__(self, bus: Bus, kinds: tuple[type[Wake], ...]) -> None:
        """Listen from now on; made by :meth:`Bus.subscribe`."""
        self._bus = bus
        self._kinds = kinds
        self._waiting: deque[Wake] = deque()
        self._there = asyncio.Event()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        self.close()

    async def next(self, timeout_s: float) -> tuple[Wake, ...]:
        """Return all wake-ups that wait, at once or when the first comes; none on time-out."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._there.wait()
        except TimeoutError:
            return ()
        self._there.clear()
        wakes = tuple(self._waiting)
        self._waiting.clear()
        return wakes

    def close(self) -> None:
        """Stop listening; once is enough."""
        self._bus.forget(self)

    def offer(self, wake: Wake) -> bool:
        """Take a wake-up of a kind that is listened to; return whether an older one was lost."""
        if not isinstance(wake, self._kinds):
            return False
        full = len(self._waiting) >= WAKES_WAITING_MAX
        if full:
            self._waiting.popleft()
        self._waiting.append(wake)
        self._there.set()
        return full


class Bus:
    """Hands wake-ups to the listeners of one event loop.

    Args:
        on_drop: called for every wake-up that a slow listener lost.
    """

    def __init__(self, on_drop: Callable[[], None] = lambda: None) -> None:
        """Start with nobody listening."""
        self._on_drop = on_drop
        self._listeners: list[Subscription] = []

    def subscribe(self, *kinds: type[Wake]) -> Subscription:
        """Listen to some kinds of wake-ups."""
        subscription = Subscription(self, kinds)
        self._listeners.append(subscription)
        return subscription

    def publish(self, wake: Wake) -> None:
        """Wake whoever listens; never waits and never fails."""
        for listener in self._listeners:
            if listener.offer(wake):
                self._on_drop()

    def forget(self, subscription: Subscription) -> None:
        """Stop serving a listener."""
        if subscription in self._listeners:
            self._listeners.remove(subscription)

"""What the consumers of the frame log have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from slotmeter.errors import Unavailable
from slotmeter.services.bus import Bus, FrameLogged

__all__ = ["HANDLER_ATTEMPTS_MAX", "LANE_FRAMES_MAX", "POLL_S", "Attempts", "consume"]

LANE_FRAMES_MAX: Final = 5_000
"""Frames looked at together: the more there are, the more of them fall on the same pages."""

POLL_S: Final = 3.0
"""A consumer that nobody wakes looks into the log this often."""

HANDLER_ATTEMPTS_MAX: Final = 3
"""A frame that makes its handler fail is set aside after this many attempts."""


class Attempts:
    """How often the frame at the head of the log failed in one consumer."""

    def __init__(self) -> None:
        """Start with none."""
        self._frame_id = 0
        self._times = 0

    def note(self, frame_id: int, error: BaseException) -> None:
        """Count a failure; a silent database is not the frame's fault."""
        if not isinstance(error, Unavailable):
            self._times = self._times + 1 if self._frame_id == frame_id else 1
            self._frame_id = frame_id

    def are_over(self, frame_id: int) -> bool:
        """Say whether a frame had all its attempts."""
        return self._frame_id == frame_id and self._times >= HANDLER_ATTEMPTS_MAX


async def consume(bus: Bus, step: Callable[[], Awaitable[int]]) -> None:
    """Take step after step until cancelled; with nothing waiting, wait for frames."""
    with bus.subscribe(FrameLogged) as wakes:
        while True:
            if await step() == 0:
                await wakes.next(POLL_S)

"""The end of the frame log in memory: frames that consumers need not read again.

The log is the truth. What is not here is read there, and what is here was committed there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice, takewhile
from typing import Any, Final, NamedTuple

from slotmeter.ports import ReadingRow

__all__ = ["TAIL_FRAMES_MAX", "TAIL_PAYLOAD_BYTES_MAX", "TAIL_READINGS_MAX", "FrameTail", "Logged"]

TAIL_FRAMES_MAX: Final = 50_000
"""More frames than this are read from the log, the oldest first."""

TAIL_READINGS_MAX: Final = 1_000_000
"""Readings beyond this are read from the log anew, those of the oldest frames first, so that the
tail takes 150 MiB of them at most: a node's frame may have thousands."""

TAIL_PAYLOAD_BYTES_MAX: Final = 512
"""Longer payloads are read from the log, so that the tail takes 25 MiB of them at most."""


class Logged(NamedTuple):
    """A frame of the log."""

    id: int
    medium: str
    address: str
    path: str
    payload: bytes
    received_us: int
    entry_id: int | None = None


class FrameTail:
    """Shared by what writes the log and its two consumers, all on one event loop."""

    def __init__(self) -> None:
        """Start empty: after a start everything is read from the log."""
        self._frames: dict[int, Logged] = {}
        self._readings: dict[int, Sequence[ReadingRow]] = {}
        self._rows = 0
        self._taken = asyncio.Event()
        self.taken_through = 0
        """The newest frame that the consumer of devices is done with."""
        self.strangers: set[tuple[str, str]] = set()
        """Media and addresses that it found nobody registered at, until the log has seen them."""

    def logged(self, frames: Sequence[Logged]) -> None:
        """Keep frames that were committed."""
        self._frames.update(
            [(each.id, each) for each in frames if len(each.payload) <= TAIL_PAYLOAD_BYTES_MAX]
        )
        _trim(self._frames)

    def frame(self, frame_id: int) -> Logged | None:
        """Return a frame, if it is here."""
        return self._frames.get(frame_id)

    def waiting(self, limit: int) -> list[Logged]:
        """Return the oldest frames that the consumer of devices is not done with."""
        return list(islice(self._frames.values(), limit))

    def read(self, limit: int, *, after: int, through: int | None) -> list[int]:
        """Return the oldest frames whose readings wait to be stored."""
        for frame_id in list(takewhile(after.__ge__, self._readings)):
            self._forget(frame_id)
        ids = islice(self._readings, limit)
        return [each for each in ids if through is None or each <= through]

    def took(self, through: int, readings: Sequence[tuple[int, Sequence[ReadingRow]]]) -> None:
        """Note what the consumer of devices is done with, and what it read out of frames."""
        _drop(self._frames, through)
        for frame_id, rows in readings:
            self._forget(frame_id)
            self._readings[frame_id] = rows
            self._rows += len(rows)
        while len(self._readings) > TAIL_FRAMES_MAX or self._rows > TAIL_READINGS_MAX:
            self._forget(next(iter(self._readings)))
        self.taken_through = max(self.taken_through, through)
        self._taken.set()

    def readings(self, frame_id: int) -> Sequence[ReadingRow] | None:
        """Return what was read out of a frame, if it is known here."""
        return self._readings.get(frame_id)

    def stored(self, frame_ids: Sequence[int]) -> None:
        """Forget readings that are stored."""
        for frame_id in frame_ids:
            self._forget(frame_id)

    def _forget(self, frame_id: int) -> None:
        self._rows -= len(self._readings.pop(frame_id, ()))

    async def wait(self, timeout_s: float) -> bool:
        """Wait until the consumer of devices has done more, at most so long; say whether it has."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._taken.wait()
        except TimeoutError:
            return False
        self._taken.clear()
        return True


def _drop(kept: dict[int, Any], through: int) -> None:
    """Forget the oldest, up to and with one."""
    if kept and next(reversed(kept)) <= through:
        kept.clear()
        return
    for frame_id in list(takewhile(through.__ge__, kept)):
        del kept[frame_id]


def _trim(kept: dict[int, Any]) -> None:
    for frame_id in list(islice(kept, max(0, len(kept) - TAIL_FRAMES_MAX))):
        del kept[frame_id]

"""The durable frame log: frames are written to it together, and answered when they are there.

What waits for the log is bounded. A frame for which there is no room is refused, so that its device
keeps it and sends it again; nothing that was taken is ever dropped.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.frames import PAYLOAD_BYTES_MAX, Frame
from slotmeter.errors import Refused, SlotmeterError, Unavailable
from slotmeter.ports import Changes, InsertMany, NewId, Rows, UnitOfWork
from slotmeter.services.bus import Bus, FrameLogged
from slotmeter.services.frame_admission import FrameAdmission, FrameRow
from slotmeter.services.frame_tail import FrameTail, Logged
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.parked_addresses import is_parked
from slotmeter.units import epoch_us

__all__ = [
    "ADDRESS_CHARACTERS_MAX",
    "FRAMES_TOGETHER_MAX",
    "FRAMES_WAITING_MAX",
    "EntryFrames",
    "Frames",
]

FRAMES_WAITING_MAX: Final = 20_000
"""So many frames wait for the log at most; one more is refused with ``log_busy``."""

FRAMES_TOGETHER_MAX: Final = 5_000
"""So many frames share a unit of work, unless they were handed in together."""

ADDRESS_CHARACTERS_MAX: Final = 255

_logged: Final = tuple.__new__  # twice as fast as the class by name

COLUMNS: Final = ("id", "medium", "address", "path", "payload", "received_us", "entry_id")


@dataclass(slots=True, eq=False)
class _Waiting:
    """Frames that were handed in together: their columns but the id, and who waits."""

    rows: Sequence[FrameRow]
    future: asyncio.Future[list[int]]


class Frames:
    """The durable frame log; implements ``ports.Frames``."""

    def __init__(
        self, uow: UnitOfWork, *, metrics: DeviceMetrics, bus: Bus, tail: FrameTail | None = None
    ) -> None:
        """Join the parts; ``tail`` is shared with the consumers, which then need not read."""
        self._uow = uow
        self._metrics = metrics
        self._bus = bus
        self._tail = tail or FrameTail()
        self._admission = FrameAdmission(uow, metrics)
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._writer: asyncio.Task[None] | None = None

    def of_entry(self, entry_id: int) -> EntryFrames:
        """Return the log as one config entry is given it: frames bear where they came by."""
        return EntryFrames(self, entry_id)

    async def hand_in(self, frame: Frame, *, entry_id: int | None = None) -> int:
        """Write a frame to the log and return its id; see ``ports.Frames``.

        Raises:
            Refused: ``payload_too_large``, ``address_too_long``, ``address_unprintable`` or
                ``address_reserved``.
            Unavailable: ``log_busy`` or the log cannot take it now, ``device_unknown`` when it has
                enough of strangers, or ``device_too_busy``.
        """
        if (
            len(frame.payload) > PAYLOAD_BYTES_MAX
            or len(frame.address) > ADDRESS_CHARACTERS_MAX
            or len(frame.path) > ADDRESS_CHARACTERS_MAX
            or is_parked(frame.address)
            or not (frame.address.isprintable() and frame.path.isprintable())
        ):
            wrong = _wrong(frame)
            self._metrics.frames_unfit.labels(wrong.code).inc()
            raise wrong
        received_us = epoch_us(frame.received_at)
        self._forget_strangers()
        await self._admission.admit(frame.medium, frame.address, received_us)
        row = (frame.medium, frame.address, frame.path, frame.payload, received_us, entry_id)
        [frame_id] = await self._enqueue([row])
        return frame_id

    async def hand_in_many(
        self, frames: Sequence[Frame], *, entry_id: int | None = None
    ) -> list[int | SlotmeterError]:
        """Write frames to the log in one unit; see ``ports.Frames``.

        Returns:
            For each frame its id, or why it was not taken (see :meth:`hand_in`).

        Raises:
            Unavailable: none was taken: there is no room, or the log cannot take them now.
        """
        refused: dict[int, SlotmeterError] = {}
        rows: list[FrameRow] = []
        for at, frame in enumerate(frames):
            medium, address, path = frame.medium, frame.address, frame.path
            payload = frame.payload
            if (
                len(payload) > PAYLOAD_BYTES_MAX
                or len(address) > ADDRESS_CHARACTERS_MAX
                or len(path) > ADDRESS_CHARACTERS_MAX
                or is_parked(address)
                or not (address.isprintable() and path.isprintable())
            ):
                refused[at] = wrong = _wrong(frame)
                self._metrics.frames_unfit.labels(wrong.code).inc()
            else:
                received_us = epoch_us(frame.received_at)
                rows.append((medium, address, path, payload, received_us, entry_id))
        self._forget_strangers()
        not_admitted = await self._admission.admit_many(rows)
        if not (refused or not_admitted):
            return [*await self._enqueue(rows)] if rows else []
        places = [at for at in range(len(frames)) if at not in refused]
        refused.update((places[number], error) for number, error in not_admitted.items())
        rows = [row for number, row in enumerate(rows) if number not in not_admitted]
        ids = iter(await self._enqueue(rows) if rows else ())
        return [refused[at] if at in refused else next(ids) for at in range(len(frames))]

    def _forget_strangers(self) -> None:
        """Look addresses up anew that turned out to be nobody's."""
        strangers = self._tail.strangers
        while strangers:
            self._admission.forget(strangers.pop())

    @property
    def waiting(self) -> int:
        """How many frames wait for the log."""
        return self._waiting

    async def warm(self, now_us: int) -> None:
        """Look up all registered devices, so that their first frames need not."""
        await self._admission.warm(now_us)

    async def close(self) -> None:
        """Wait until what was taken is in the log, or refused."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    # --- the queue ------------------------------------------------------------------------------

    async def _enqueue(self, rows: Sequence[FrameRow]) -> list[int]:
        if self._waiting and self._waiting + len(rows) > FRAMES_WAITING_MAX:
            self._metrics.frames_refused.inc(len(rows))
            raise Unavailable(
                "log_busy", f"{self._waiting} frames wait for the log already; send again"
            )
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(rows, future))
        self._waiting += len(rows)
        if self._writer is None or self._writer.done():
            # Whoever hands in may be cancelled meanwhile; what others handed in must not be.
            self._writer = asyncio.create_task(self._write(), name="write the frame log")
        return await future

    async def _write(self) -> None:
        while self._queue:
            together = [self._queue.popleft()]
            frames = len(together[0].rows)
            while self._queue and frames + len(self._queue[0].rows) <= FRAMES_TOGETHER_MAX:
                together.append(self._queue.popleft())
                frames += len(together[-1].rows)
            try:
                await self._write_together(together)
            finally:
                self._waiting -= frames
                for waiting in together:
                    waiting.future.cancel()  # only where nobody was answered: the loop ends

    async def _write_together(self, together: Sequence[_Waiting]) -> None:
        rows = [row for waiting in together for row in waiting.rows]

        def decide(_rows: Rows, new_id: NewId) -> Changes[list[Logged]]:
            logged = [_logged(Logged, (new_id(), *row)) for row in rows]
            return Changes(logged, bulk=[InsertMany("frame", COLUMNS, logged)])

        (result,) = await asyncio.gather(self._uow.run([], decide), return_exceptions=True)
        if isinstance(result, BaseException):
            for waiting in together:
                if not waiting.future.done():
                    waiting.future.set_exception(result)
            return
        self._tail.logged(result)
        for medium, count in Counter(row[0] for row in rows).items():
            self._metrics.frames.labels(medium).inc(count)
        start = 0
        for waiting in together:
            end = start + len(waiting.rows)
            if not waiting.future.done():
                waiting.future.set_result([frame.id for frame in result[start:end]])
            start = end
        self._bus.publish(FrameLogged(result[-1].id))


@dataclass(frozen=True, slots=True)
class EntryFrames:
    """The log as one config entry sees it; implements ``ports.Frames``.

    Args:
        log: takes the frames.
        entry_id: the entry that they come by.
    """

    log: Frames
    entry_id: int

    async def hand_in(self, frame: Frame) -> int:
        """Write a frame to the log and return its id; see ``Frames.hand_in``."""
        return await self.log.hand_in(frame, entry_id=self.entry_id)

    async def hand_in_many(self, frames: Sequence[Frame]) -> Sequence[int | SlotmeterError]:
        """Write frames to the log at once; see ``Frames.hand_in_many``."""
        return await self.log.hand_in_many(frames, entry_id=self.entry_id)


def _wrong(frame: Frame) -> Refused:
    """Say what makes a frame unfit for the log."""
    if is_parked(frame.address):
        return Refused("address_reserved", "a node speaks for the meters whose addresses begin so")
    if len(frame.payload) > PAYLOAD_BYTES_MAX:
        return Refused(
            "payload_too_large",
            f"expected at most {PAYLOAD_BYTES_MAX} bytes, got {len(frame.payload)}",
        )
    if len(frame.address) > ADDRESS_CHARACTERS_MAX or len(frame.path) > ADDRESS_CHARACTERS_MAX:
        return Refused("address_too_long", f"expected at most {ADDRESS_CHARACTERS_MAX} characters")
    # No database keeps all of these, and the frames of others in the same unit would fail as well.
    return Refused("address_unprintable", "expected an address and a path that can be printed")

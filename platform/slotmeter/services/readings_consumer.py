"""Copies register values from the frame log into the readings store, which keeps the cursor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.errors import FrameError, Unavailable
from slotmeter.ports import Read, ReadingRow, ReadingStore, Row, UnitOfWork
from slotmeter.services.bus import Bus
from slotmeter.services.clock_watch import ClockWatch
from slotmeter.services.frame_decoding import decode, reading_rows
from slotmeter.services.frame_tail import FrameTail
from slotmeter.services.log_reading import LANE_FRAMES_MAX, POLL_S, Attempts, consume
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.node_reports import bindings_read, slot_readings, split

__all__ = ["ReadingsConsumer"]

_log = logging.getLogger(__name__)

_READ_TOGETHER: Final = 200

LED_WITHIN_S: Final = 15.0
"""Who leads, and is silent for so long, is not waited for any more."""


class ReadingsConsumer:
    """Copies register values into the readings store; run :meth:`run` as a task."""

    def __init__(
        self,
        uow: UnitOfWork,
        store: ReadingStore,
        *,
        drivers: Mapping[str, Driver],
        metrics: DeviceMetrics,
        bus: Bus,
        tail: FrameTail | None = None,
        clocks: ClockWatch | None = None,
        batch_frames: int = LANE_FRAMES_MAX,
    ) -> None:
        """Join the parts.

        With a ``tail`` this follows the consumer of devices, which has decoded what it finds there.
        """
        self._uow = uow
        self._store = store
        self._drivers = drivers
        self._metrics = metrics
        self._bus = bus
        self._tail = tail
        self._clocks = clocks or ClockWatch(uow)
        self._batch_frames = batch_frames
        self._attempts = Attempts()

    async def run(self) -> None:
        """Consume until cancelled."""
        await self._clocks.load()
        await self.go_back_with_the_log()
        if self._tail is None:
            await consume(self._bus, self.step)
            return
        patience_s = POLL_S
        while True:
            is_led = await self._tail.wait(patience_s)
            patience_s = LED_WITHIN_S if is_led else POLL_S
            # Nobody is waited for: what is not decoded by then is decoded here.
            through = self._tail.taken_through if is_led else None
            while await self.step(through):
                pass

    async def go_back_with_the_log(self) -> None:
        """Find the cursor again when the database was restored to an earlier time.

        The store of readings, in a file of its own, was not: frames that come now are given numbers
        that it believes to have seen, and their readings would be passed over.
        """
        reads = [
            Read("ingest_cursor", {"name": "devices"}, "cursor"),
            Read("lane_newest", {}, "log"),
        ]
        rows = await self._uow.read(reads)
        consumed = rows["cursor"][0]["position"] if rows["cursor"] else 0
        known = await self._store.cursor()
        if known > max(consumed, rows["log"][0]["id"] or 0):
            _log.warning("the readings go back from frame %s of the log to %s", known, consumed)
            await self._store.go_back(consumed)

    async def step(self, through: int | None = None) -> int:
        """Store the readings of the next frames; return how many frames were there.

        Args:
            through: no frame behind this one.

        Raises:
            Exception: whatever the store raised. When the same frames failed
                ``HANDLER_ATTEMPTS_MAX`` times, they are stored one by one, and a frame whose values
                the store does not take is passed over, logged and counted.
        """
        found = await self._found(await self._store.cursor(), through)
        self._metrics.frames_waiting.labels("readings").set(len(found))
        if not found:
            return 0
        readings = await self._readings_of(found)
        if self._attempts.are_over(found[0]):
            for frame_id in found:
                await self._append_or_pass_over(frame_id, readings[frame_id])
        else:
            await self._append(found, readings)
        return len(found)

    async def _found(self, position: int, through: int | None) -> Sequence[int]:
        """Return the next frames of the log."""
        if self._tail is not None:
            known = self._tail.read(self._batch_frames, after=position, through=through)
            if known:
                span = {"after": position, "through": known[-1]}
                count = (await self._uow.read([Read("lane_count", span, "count")]))["count"]
                if count[0]["frames"] == len(known):
                    return known
        params = {"after": position, "limit": self._batch_frames}
        rows = (await self._uow.read([Read("lane_log", params, "frames")]))["frames"]
        return [row["id"] for row in rows if through is None or row["id"] <= through]

    async def _readings_of(self, frame_ids: Sequence[int]) -> Mapping[int, Sequence[ReadingRow]]:
        """Return what was read out of frames, and read out of the log what is not known."""
        known: dict[int, Sequence[ReadingRow]] = {}
        missing: list[int] = []
        for frame_id in frame_ids:
            rows = self._tail.readings(frame_id) if self._tail is not None else None
            if rows is None:
                missing.append(frame_id)
            else:
                known[frame_id] = rows
        wanted = set(missing)
        at = 0
        while at < len(missing):
            params = {"after": missing[at] - 1, "limit": _READ_TOGETHER}
            for row in (await self._uow.read([Read("ingest_frames", params, "frames")]))["frames"]:
                if row["id"] in wanted:
                    known[row["id"]] = await self._decoded(row)
            known.setdefault(missing[at], ())  # dropped from the log since it was listed
            while at < len(missing) and missing[at] in known:
                at += 1
        return known

    async def _decoded(self, row: Row) -> Sequence[ReadingRow]:
        try:
            report = decode(row, self._drivers)
        except FrameError:
            return ()  # the consumer of devices sets it aside and counts it
        bound: Sequence[Row] = ()
        if row["meter_id"] is None:
            bound = (await self._uow.read([bindings_read(row, report)]))["bindings"]
        try:
            if row["meter_id"] is None:
                return slot_readings(row["id"], split(report, bound))
            return reading_rows(row, report, self._clocks.corrections(row["device_id"]))
        except Exception:  # noqa: BLE001  a third party's report may be anything
            # No frame may stop all readings; that of the consumer of devices says what is wrong.
            self._metrics.ignored.labels("readings_not_stored").inc()
            _log.exception("the readings of frame %s are not stored", row["id"])
            return ()

    async def _append(
        self, frame_ids: Sequence[int], readings: Mapping[int, Sequence[ReadingRow]]
    ) -> None:
        rows = [row for frame_id in frame_ids for row in readings[frame_id]]
        (new,) = await asyncio.gather(
            self._store.append(rows, cursor=frame_ids[-1]), return_exceptions=True
        )
        if isinstance(new, BaseException):
            self._attempts.note(frame_ids[0], new)
            raise new
        if self._tail is not None:
            self._tail.stored(frame_ids)
        self._metrics.readings.inc(new)

    async def _append_or_pass_over(self, frame_id: int, rows: Sequence[ReadingRow]) -> None:
        (failed,) = await asyncio.gather(
            self._append([frame_id], {frame_id: rows}), return_exceptions=True
        )
        if not isinstance(failed, BaseException):
            return
        if isinstance(failed, Unavailable):
            raise failed
        # A store that is broken altogether does not take this either, and nothing is passed over.
        await self._store.append([], cursor=frame_id)
        self._metrics.ignored.labels("readings_not_stored").inc()
        _log.error("the readings of frame %s are not stored", frame_id, exc_info=failed)

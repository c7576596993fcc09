"""From the durable frame log to its consumers, each with a cursor in the store that it writes.

A frame is in the log before its device is answered. The consumer of devices moves its cursor in the
same unit as a frame's effects, so a frame takes effect exactly once, whenever the process dies.
What cannot be read is set aside with its cause and never stops the next frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.devices.frames import PAYLOAD_BYTES_MAX, Frame, Report
from slotmeter.errors import FrameError, Refused, Unavailable
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    ReadingRow,
    ReadingStore,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.bus import Bus, CreditChanged, EventsRecorded, FrameLogged
from slotmeter.services.device_effects import (
    SERIAL_MISMATCH,
    ReportDone,
    check_report,
    decide_report,
    report_reads,
    stranger_reads,
    stranger_steps,
)
from slotmeter.services.frame_admission import FrameAdmission
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.report_unit import credible_readings
from slotmeter.units import epoch_us

__all__ = [
    "ADDRESS_CHARACTERS_MAX",
    "BATCH_FRAMES_MAX",
    "HANDLER_ATTEMPTS_MAX",
    "POLL_S",
    "DeviceConsumer",
    "Frames",
    "ReadingsConsumer",
]

BATCH_FRAMES_MAX: Final = 200
"""Frames read at once; their units share commits."""

POLL_S: Final = 3.0
"""A consumer that nobody wakes looks into the log this often."""

HANDLER_ATTEMPTS_MAX: Final = 3
"""A frame that makes its handler fail is set aside after this many attempts."""

ADDRESS_CHARACTERS_MAX: Final = 255
MESSAGE_CHARACTERS_MAX: Final = 300
CURSOR: Final = "devices"

_log = logging.getLogger(__name__)


class Frames:
    """The durable frame log; implements ``ports.Frames``."""

    def __init__(self, uow: UnitOfWork, *, metrics: DeviceMetrics, bus: Bus) -> None:
        """Join the parts."""
        self._uow = uow
        self._metrics = metrics
        self._bus = bus
        self._admission = FrameAdmission(uow, metrics)

    async def hand_in(self, frame: Frame) -> int:
        """Write a frame to the log and return its id; see ``ports.Frames``.

        Raises:
            Refused: ``payload_too_large`` or ``address_too_long``.
            Unavailable: the log cannot take it now, ``device_unknown`` when it has enough of
                strangers, or ``device_too_busy``.
        """
        if len(frame.payload) > PAYLOAD_BYTES_MAX:
            raise Refused(
                "payload_too_large",
                f"expected at most {PAYLOAD_BYTES_MAX} bytes, got {len(frame.payload)}",
            )
        if max(len(frame.address), len(frame.path)) > ADDRESS_CHARACTERS_MAX:
            raise Refused(
                "address_too_long", f"expected at most {ADDRESS_CHARACTERS_MAX} characters"
            )
        received_us = epoch_us(frame.received_at)
        await self._admission.admit(frame.medium, frame.address, received_us)
        row: dict[str, SqlValue] = {
            "medium": frame.medium,
            "address": frame.address,
            "path": frame.path,
            "payload": frame.payload,
            "received_us": received_us,
        }

        def decide(_rows: Rows, new_id: NewId) -> Changes[int]:
            frame_id = new_id()
            return Changes(frame_id, [Insert("frame", {"id": frame_id, **row})])

        frame_id = await self._uow.run([], decide)
        self._metrics.frames.labels(frame.medium).inc()
        self._bus.publish(FrameLogged(frame_id))
        return frame_id


def decode(row: Row, drivers: Mapping[str, Driver]) -> Report:
    """Read a logged frame with its device's driver.

    Raises:
        FrameError: ``device_unknown``, ``driver_missing``, ``driver_failed``,
            ``serial_mismatch``, or what the driver says.
    """
    if row["device_id"] is None:
        raise FrameError("device_unknown", "no device with this address is registered")
    driver = drivers.get(row["driver"])
    if driver is None:
        raise FrameError("driver_missing", f"the driver {row['driver']} is not installed")
    try:
        report = check_report(driver.decode(row["path"], row["payload"]))
    except FrameError:
        raise
    except Exception as error:
        # The border to a third party's code, which may fail in any way on bytes it did not expect.
        raise FrameError(
            "driver_failed", f"the driver {driver.key} failed: {type(error).__name__}"
        ) from error
    if report.serial is not None and report.serial != row["meter_number"]:
        raise FrameError(
            SERIAL_MISMATCH,
            f"the meter says that it is {report.serial}, and its address is registered for "
            f"{row['meter_number']}",
        )
    return report


class _Attempts:
    """How often the frame at the head of the log failed in one consumer."""

    def __init__(self) -> None:
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


async def _consume(bus: Bus, step: Callable[[], Awaitable[int]]) -> None:
    """Take step after step until cancelled; with less than a batch waiting, wait for frames."""
    with bus.subscribe(FrameLogged) as wakes:
        while True:
            if await step() < BATCH_FRAMES_MAX:
                await wakes.next(POLL_S)


async def _frames_after(
    position: int, uow: UnitOfWork, metrics: DeviceMetrics, consumer: str
) -> Sequence[Row]:
    """Read the next batch of the log, and show how many frames of it wait for a consumer."""
    params = {"after": position, "limit": BATCH_FRAMES_MAX}
    found = (await uow.read([Read("ingest_frames", params, "frames")]))["frames"]
    metrics.frames_waiting.labels(consumer).set(len(found))
    return found


@dataclass(frozen=True, slots=True)
class _SetAside:
    """A frame that could not be read."""

    code: str
    is_alarmed: bool = False


class DeviceConsumer:
    """Turns frames into what the platform knows of devices; run :meth:`run` as a task."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        *,
        drivers: Mapping[str, Driver],
        metrics: DeviceMetrics,
        bus: Bus,
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._drivers = drivers
        self._metrics = metrics
        self._bus = bus
        self._attempts = _Attempts()

    async def run(self) -> None:
        """Consume until cancelled."""
        await _consume(self._bus, self.step)

    async def step(self) -> int:
        """Handle the next frames of the log; return how many were there.

        Raises:
            Exception: whatever the handling of a frame raised; frames before it are done. The same
                frame is set aside when it failed ``HANDLER_ATTEMPTS_MAX`` times.
        """
        position = await self._position()
        found = await _frames_after(position, self._uow, self._metrics, CURSOR)
        if not found:
            return 0
        # Units are queued in order and share commits; each is guarded by the one before, so that
        # after a failure nothing behind it takes effect.
        before = [position, *(frame["id"] for frame in found[:-1])]
        results = await asyncio.gather(
            *(self._handle(frame, at) for frame, at in zip(found, before, strict=True)),
            return_exceptions=True,
        )
        for frame, result in zip(found, results, strict=True):
            if isinstance(result, BaseException):
                self._attempts.note(frame["id"], result)
                raise result
            self._count(result)
        return len(found)

    async def _position(self) -> int:
        rows = (await self._uow.read([Read("ingest_cursor", {"name": CURSOR}, "cursor")]))["cursor"]
        if rows:
            position: int = rows[0]["position"]
            return position
        row: dict[str, SqlValue] = {"name": CURSOR, "position": 0, "at_us": self._now_us()}
        return await self._uow.run([], lambda _rows, _new_id: Changes(0, [Insert("cursor", row)]))

    async def _handle(self, frame: Row, before: int) -> ReportDone | _SetAside:
        now_us = self._now_us()
        if self._attempts.are_over(frame["id"]):
            failed = FrameError("handler_failed", "handling the frame failed; see the log")
            return await self._set_aside(frame, before, failed, now_us)
        try:
            report = decode(frame, self._drivers)
        except FrameError as error:
            return await self._set_aside(frame, before, error, now_us)

        def decide(rows: Rows, new_id: NewId) -> Changes[ReportDone]:
            changes = decide_report(frame, report, rows, new_id, now_us=now_us)
            return Changes(changes.result, [*changes.steps, _moved(frame, before, now_us)])

        return await self._uow.run(report_reads(frame, report, now_us), decide)

    async def _set_aside(
        self, frame: Row, before: int, error: FrameError, now_us: int
    ) -> _SetAside:
        message = error.message[:MESSAGE_CHARACTERS_MAX]
        row: dict[str, SqlValue] = {
            "frame_id": frame["id"],
            "code": error.code,
            "message": message,
            "at_us": now_us,
        }
        steps: Sequence[Step] = [Insert("quarantine", row), _moved(frame, before, now_us)]
        if error.code != SERIAL_MISMATCH:
            aside = _SetAside(error.code)
            return await self._uow.run([], lambda _rows, _new_id: Changes(aside, steps))

        def decide(rows: Rows, new_id: NewId) -> Changes[_SetAside]:
            alarmed = stranger_steps(frame, message, rows, new_id, now_us=now_us)
            aside = _SetAside(error.code, is_alarmed=bool(alarmed))
            return Changes(aside, [*alarmed, *steps])

        return await self._uow.run(stranger_reads(frame), decide)

    def _count(self, result: ReportDone | _SetAside) -> None:
        if isinstance(result, _SetAside):
            self._metrics.quarantined.labels(result.code).inc()
            if result.is_alarmed:
                self._metrics.alarms.labels(result.code).inc()
                self._bus.publish(EventsRecorded())
            return
        self._metrics.reports.labels("newest" if result.is_newest else "late").inc()
        for state in result.commands:
            self._metrics.commands.labels(state).inc()
        for code in result.ignored:
            self._metrics.ignored.labels(code).inc()
        for kind in result.alarms:
            self._metrics.alarms.labels(kind).inc()
        if result.charged:
            self._metrics.charges.inc()
        if result.is_platform_credit:
            self._bus.publish(CreditChanged(result.meter_id))
        if result.told:
            self._bus.publish(EventsRecorded())

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


def _moved(frame: Row, before: int, now_us: int) -> Update:
    return Update(
        "ingest_cursor_move",
        {
            "of_name": CURSOR,
            "of_position": before,
            "to_position": frame["id"],
            "to_at_us": now_us,
        },
    )


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
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._store = store
        self._drivers = drivers
        self._metrics = metrics
        self._bus = bus
        self._attempts = _Attempts()

    async def run(self) -> None:
        """Consume until cancelled."""
        await _consume(self._bus, self.step)

    async def step(self) -> int:
        """Store the readings of the next frames; return how many frames were there.

        Raises:
            Exception: whatever the store raised. When the same frames failed
                ``HANDLER_ATTEMPTS_MAX`` times, they are stored one by one, and a frame whose values
                the store does not take is passed over, logged and counted.
        """
        position = await self._store.cursor()
        found = await _frames_after(position, self._uow, self._metrics, "readings")
        if not found:
            return 0
        if self._attempts.are_over(found[0]["id"]):
            for frame in found:
                await self._append_or_pass_over(frame)
        else:
            await self._append(found)
        return len(found)

    async def _append(self, frames: Sequence[Row]) -> None:
        rows = [row for frame in frames for row in self._rows_of(frame)]
        (new,) = await asyncio.gather(
            self._store.append(rows, cursor=frames[-1]["id"]), return_exceptions=True
        )
        if isinstance(new, BaseException):
            self._attempts.note(frames[0]["id"], new)
            raise new
        self._metrics.readings.inc(new)

    async def _append_or_pass_over(self, frame: Row) -> None:
        (failed,) = await asyncio.gather(self._append([frame]), return_exceptions=True)
        if not isinstance(failed, BaseException):
            return
        if isinstance(failed, Unavailable):
            raise failed
        # A store that is broken altogether does not take this either, and nothing is passed over.
        await self._store.append([], cursor=frame["id"])
        self._metrics.ignored.labels("readings_not_stored").inc()
        _log.error("the readings of frame %s are not stored", frame["id"], exc_info=failed)

    def _rows_of(self, frame: Row) -> list[ReadingRow]:
        try:
            report = decode(frame, self._drivers)
        except FrameError:
            return []  # the consumer of devices sets it aside and counts it
        return [
            ReadingRow(
                meter_id=frame["meter_id"],
                register=reading.register,
                measured_us=epoch_us(reading.measured_at),
                value=reading.value,
                frame_id=frame["id"],
            )
            for reading in credible_readings(report, frame["commodity"])
        ]

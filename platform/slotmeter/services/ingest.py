"""From the durable frame log to its consumers, each with a cursor in the store that it writes.

A frame is in the log before its device is answered. The consumer of devices moves its cursor in the
same unit as a frame's effects, so a frame takes effect exactly once, whenever the process dies.
What cannot be read is set aside with its cause and never stops the next frame.

Reports that only carry readings on go through the lane (``fast_lane``), thousands to a unit; every
other frame has a unit of its own. All units follow the order of the log, and each is guarded by the
one before, so that after a failure nothing behind it takes effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from slotmeter.devices.drivers import UNTIMED, Driver
from slotmeter.devices.frames import Report
from slotmeter.errors import Conflict, FrameError
from slotmeter.ports import (
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    ReadingRow,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.bus import Bus, CreditChanged, EventsRecorded
from slotmeter.services.clock_watch import ClockWatch
from slotmeter.services.device_cards import Card, DeviceCards
from slotmeter.services.device_effects import (
    SERIAL_MISMATCH,
    ReportDone,
    decide_report,
    report_reads,
    stranger_reads,
    stranger_steps,
)
from slotmeter.services.fast_lane import LaneRun, heard_steps
from slotmeter.services.frame_decoding import DEVICE_UNKNOWN, decode, decode_bytes, reading_rows
from slotmeter.services.frame_log import ADDRESS_CHARACTERS_MAX, Frames
from slotmeter.services.frame_tail import FrameTail, Logged
from slotmeter.services.log_reading import (
    HANDLER_ATTEMPTS_MAX,
    LANE_FRAMES_MAX,
    POLL_S,
    Attempts,
    consume,
)
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.node_reports import NodeDone, decide_node, node_reads
from slotmeter.services.partial_ids import named_whole
from slotmeter.services.readings_consumer import ReadingsConsumer
from slotmeter.services.slot_alarms import BINDING_DIFFERS
from slotmeter.units import epoch_us

__all__ = [
    "ADDRESS_CHARACTERS_MAX",
    "BATCH_FRAMES_MAX",
    "CURSOR",
    "HANDLER_ATTEMPTS_MAX",
    "LANE_FRAMES_MAX",
    "POLL_S",
    "DeviceConsumer",
    "Frames",
    "ReadingsConsumer",
]

BATCH_FRAMES_MAX: Final = 200
"""Frames with a unit of their own that are handled at once; their units share commits."""

MESSAGE_CHARACTERS_MAX: Final = 300
CURSOR: Final = "devices"


class _Way(IntEnum):
    """How a batch is gone about, the next when one was not possible."""

    BY_CARDS = 0
    BY_FRESH_CARDS = 1
    ONE_BY_ONE = 2


@dataclass(frozen=True, slots=True)
class _SetAside:
    """A frame that could not be read."""

    code: str
    is_alarmed: bool = False


@dataclass(frozen=True, slots=True)
class _Handled:
    """A frame that had a unit of its own.

    Args:
        done: what it did.
        readings: what it says of registers.
    """

    done: ReportDone | NodeDone | _SetAside
    readings: Sequence[ReadingRow] = ()


Part = LaneRun | Logged
"""What one unit is made of."""


@dataclass(slots=True)
class _Plan:
    """The next frames of the log, as units in its order."""

    parts: list[Part] = field(default_factory=list)
    singles: int = 0

    def lane(self, clocks: ClockWatch) -> LaneRun:
        """Return the run that the next report of the lane belongs to."""
        last = self.parts[-1] if self.parts else None
        if not isinstance(last, LaneRun):
            last = LaneRun(clocks)
            self.parts.append(last)
        return last

    def single(self, frame: Logged) -> None:
        """Give a frame a unit of its own."""
        if self.parts and isinstance(self.parts[-1], LaneRun) and not self.parts[-1].frames:
            self.parts.pop()
        self.parts.append(frame)
        self.singles += 1


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
        tail: FrameTail | None = None,
        clocks: ClockWatch | None = None,
    ) -> None:
        """Join the parts; those with a default are shared with the consumer of readings."""
        self._uow = uow
        self._clock = clock
        self._drivers = drivers
        self._metrics = metrics
        self._bus = bus
        self._tail = tail or FrameTail()
        self._attempts = Attempts()
        self.cards = DeviceCards(uow)
        self.clocks = clocks or ClockWatch(uow)
        self._left_at: int | None = None

    async def warm(self) -> None:
        """Look all devices up, so that their first frames need not."""
        await self.cards.warm()

    async def run(self) -> None:
        """Consume until cancelled."""
        await self.clocks.load()
        await consume(self._bus, self.step)

    async def step(self) -> int:
        """Handle the next frames of the log; return how many were there.

        Raises:
            Exception: whatever the handling of a frame raised; frames before it are done. The same
                frame is set aside when it failed ``HANDLER_ATTEMPTS_MAX`` times.
        """
        for way in _Way:
            position, found = await self._found()
            if not found:
                return 0
            if position != self._left_at:
                if self._left_at is not None:
                    self.cards.clear()  # somebody else has moved on: what is remembered is old
                self._left_at = position
                self._tail.took(position, [])
            handled = await self._handle(position, found, way)
            if handled:
                return handled
            self._metrics.lane_retries.inc()
        raise AssertionError("a frame that goes one by one is handled, or raises")

    # --- what is there --------------------------------------------------------------------------

    async def _found(self) -> tuple[int, Sequence[Logged]]:
        """Return the position, and the frames after it."""
        after = From("cursor", "position")
        cursor = Read("ingest_cursor", {"name": CURSOR}, "cursor")
        waiting = self._tail.waiting(LANE_FRAMES_MAX)
        if waiting and self._left_at is not None:
            span: dict[str, SqlValue | From] = {"after": after, "through": waiting[-1].id}
            rows = await self._uow.read([cursor, Read("lane_count", span, "count")])
            is_all = rows["count"] and rows["count"][0]["frames"] == len(waiting)
            if is_all and rows["cursor"][0]["position"] < waiting[0].id:
                return rows["cursor"][0]["position"], waiting
        reads = [cursor, Read("lane_log", {"after": after, "limit": LANE_FRAMES_MAX}, "frames")]
        rows = await self._uow.read(reads)
        if not rows["cursor"]:
            row: dict[str, SqlValue] = {"name": CURSOR, "position": 0, "at_us": self._now_us()}
            await self._uow.run([], lambda _rows, _new_id: Changes(0, [Insert("cursor", row)]))
            rows = await self._uow.read(reads)
        position: int = rows["cursor"][0]["position"]
        ids = [row["id"] for row in rows["frames"]]
        self._metrics.frames_waiting.labels(CURSOR).set(len(ids))
        known = [self._tail.frame(frame_id) for frame_id in ids]
        missing = [frame_id for frame_id, frame in zip(ids, known, strict=True) if frame is None]
        if not missing:
            return position, [frame for frame in known if frame is not None]
        between = {"after": missing[0] - 1, "through": missing[-1]}
        read = (await self._uow.read([Read("lane_frames", between, "frames")]))["frames"]
        logged = {row["id"]: Logged(**row) for row in read}
        found = (frame or logged.get(frame_id) for frame_id, frame in zip(ids, known, strict=True))
        return position, [frame for frame in found if frame is not None]

    async def _plan(self, position: int, found: Sequence[Logged], way: _Way) -> _Plan:
        """Sort frames into units."""
        plan = _Plan()
        keys = [(frame.medium, frame.address) for frame in found]
        if way is _Way.BY_FRESH_CARDS:
            for key in keys:
                self.cards.forget(key)
        if way is not _Way.ONE_BY_ONE:
            await self.cards.fetch(keys, after=position, through=found[-1].id)
        alone: set[tuple[str, str]] = set()
        cards = self.cards.get if way is not _Way.ONE_BY_ONE else _no_card
        for frame, key in zip(found, keys, strict=True):
            card = cards(key)
            if (
                card is not None
                and card.is_plain
                and key not in alone
                and self._laned(plan, frame, card)
            ):
                continue
            if plan.singles == BATCH_FRAMES_MAX:
                break
            alone.add(key)  # what comes after must find what this one does
            plan.single(frame)
        return plan

    def _laned(self, plan: _Plan, frame: Logged, card: Card) -> bool:
        """Put a frame into the lane; say whether it belongs there."""
        driver = self._drivers.get(card.driver)
        if driver is None or self._attempts.are_over(frame.id):
            return False
        try:
            report = driver.decode(frame.path, frame.payload)
            if report.measured_at == UNTIMED:
                report = decode_bytes(driver, frame.path, frame.payload, frame.received_us)
            return plan.lane(self.clocks).take(frame, card, report)
        except Exception:  # noqa: BLE001  a third party's report; its own unit says what is wrong
            return False

    # --- what becomes of it ---------------------------------------------------------------------

    async def _handle(self, position: int, found: Sequence[Logged], way: _Way) -> int:
        """Handle frames; return how many, or 0 when the lane met what it did not know."""
        plan = await self._plan(position, found, way)
        parts = [part for part in plan.parts if not isinstance(part, LaneRun) or part.frames]
        try:
            # Whatever must be looked up is looked up before: units are queued in the log's order.
            rows = await self._rows_of([part for part in parts if isinstance(part, Logged)])
            said = {number: await self._read(row) for number, row in rows.items()}
        except BaseException:
            self._forget(parts)
            raise
        works: list[Coroutine[Any, Any, _Handled | None]] = []
        before = position
        for part in parts:
            if isinstance(part, LaneRun):
                works.append(self._take_lane(part, before))
                before = part.frames[-1].id
            else:
                works.append(self._take(rows[part.id], said[part.id], before))
                before = part.id
        # Units are queued in order and share commits.
        results = await asyncio.gather(*works, return_exceptions=True)
        handled = 0
        for part, result in zip(parts, results, strict=True):
            if isinstance(result, BaseException):
                self._forget(parts)
                if isinstance(part, LaneRun) and isinstance(result, Conflict):
                    return handled
                if isinstance(part, Logged):
                    self._attempts.note(part.id, result)
                raise result
            handled += self._done(part, result)
            self._left_at = part.frames[-1].id if isinstance(part, LaneRun) else part.id
        return handled

    def _forget(self, parts: Sequence[Part]) -> None:
        """Forget the cards that units moved on which may not have taken effect."""
        for part in parts:
            keys = part.keys if isinstance(part, LaneRun) else [(part.medium, part.address)]
            for key in keys:
                self.cards.forget(key)

    def _done(self, part: Part, result: _Handled | None) -> int:
        """Count what a unit did, and let the readings go; return its frames."""
        if isinstance(part, LaneRun):
            late = len(part.frames) - part.newest
            self._metrics.reports.labels("newest").inc(part.newest)
            self._metrics.reports.labels("late").inc(late)
            self._tail.took(part.frames[-1].id, part.readings)
            return len(part.frames)
        assert result is not None, "a frame with a unit of its own has a result"  # noqa: S101  invariant
        self.cards.forget((part.medium, part.address))
        if isinstance(result.done, _SetAside) and result.done.code == DEVICE_UNKNOWN:
            self._tail.strangers.add((part.medium, part.address))
        self._count(result.done)
        self._tail.took(part.id, [(part.id, result.readings)])
        return 1

    async def _rows_of(self, frames: Sequence[Logged]) -> Mapping[int, Row]:
        """Return frames with their devices and meters."""
        found: dict[int, Row] = {}
        for start in range(0, len(frames), BATCH_FRAMES_MAX):
            some = frames[start : start + BATCH_FRAMES_MAX]
            span = some[-1].id - some[0].id + 1
            if span <= 2 * len(some):
                params = {"after": some[0].id - 1, "limit": span}
                reads = [Read("ingest_frames", params, "0")]
            else:
                reads = [Read("ingest_frame", {"id": each.id}, str(each.id)) for each in some]
            for rows in (await self._uow.read(reads)).values():
                found.update((row["id"], row) for row in rows)
        return found

    async def _take_lane(self, run: LaneRun, before: int) -> None:
        """Write a run of the lane.

        Raises:
            Conflict: a device, a policy or the cursor is not as it was.
        """
        now_us = self._now_us()
        moved = _moved(run.frames[-1].id, before, now_us)
        step = run.step()

        def decide(rows: Rows, _new_id: NewId) -> Changes[None]:
            if not run.rests_on(rows["policies"]):
                raise Conflict("changed_meanwhile", "a utility's policy has changed; try again")
            return Changes(None, [moved], bulk=[step])

        await self._uow.run([Read("lane_policies", {}, "policies")], decide)

    async def _read(self, frame: Row) -> Report | FrameError:
        """Return what a frame says, or why it says nothing."""
        if self._attempts.are_over(frame["id"]):
            return FrameError("handler_failed", "handling the frame failed; see the log")
        try:
            report = decode(frame, self._drivers)
        except FrameError as error:
            return error
        return await named_whole(self._uow, frame, report, self._drivers)

    async def _take(self, frame: Row, report: Report | FrameError, before: int) -> _Handled:
        now_us = self._now_us()
        if isinstance(report, FrameError):
            return await self._set_aside(frame, before, report, now_us)
        if frame["meter_id"] is None:
            return await self._take_node(frame, report, before, now_us)
        driver = self._drivers[frame["driver"]]

        def decide(rows: Rows, new_id: NewId) -> Changes[ReportDone]:
            changes = decide_report(frame, report, rows, new_id, now_us=now_us, driver=driver)
            heard = heard_steps(frame, report) if changes.result.is_newest else []
            moved = _moved(frame["id"], before, now_us)
            return Changes(changes.result, [*changes.steps, *heard, moved])

        device_id, measured_us = frame["device_id"], epoch_us(report.measured_at)
        readings = reading_rows(frame, report, self.clocks.corrections(device_id))
        done = await self._uow.run(report_reads(frame, report, now_us), decide)
        if done.is_newest:
            self.clocks.saw(device_id, frame["utility_id"], measured_us, frame["received_us"])
        return _Handled(done, readings)

    async def _take_node(self, frame: Row, report: Report, before: int, now_us: int) -> _Handled:
        driver = self._drivers[frame["driver"]]

        def decide(rows: Rows, new_id: NewId) -> Changes[NodeDone]:
            changes = decide_node(frame, report, rows, new_id, now_us=now_us, driver=driver)
            moved = _moved(frame["id"], before, now_us)
            return Changes(changes.result, [*changes.steps, moved])

        done = await self._uow.run(node_reads(frame, report, now_us), decide)
        return _Handled(done, done.readings)

    async def _set_aside(self, frame: Row, before: int, error: FrameError, now_us: int) -> _Handled:
        message = _printable(error.message[:MESSAGE_CHARACTERS_MAX])
        row: dict[str, SqlValue] = {
            "frame_id": frame["id"],
            "code": _printable(error.code),
            "message": message,
            "at_us": now_us,
        }
        steps: Sequence[Step] = [Insert("quarantine", row), _moved(frame["id"], before, now_us)]
        if error.code != SERIAL_MISMATCH:
            aside = _SetAside(error.code)
            await self._uow.run([], lambda _rows, _new_id: Changes(None, steps))
            return _Handled(aside)

        def decide(rows: Rows, new_id: NewId) -> Changes[_SetAside]:
            alarmed = stranger_steps(frame, message, rows, new_id, now_us=now_us)
            aside = _SetAside(error.code, is_alarmed=bool(alarmed))
            return Changes(aside, [*alarmed, *steps])

        return _Handled(await self._uow.run(stranger_reads(frame), decide))

    def _count_node(self, result: NodeDone) -> None:
        for each in result.done:
            self._count(each)
        if result.aside is not None:
            self._metrics.quarantined.labels(result.aside[0]).inc()
        if result.alarmed:
            self._metrics.alarms.labels(BINDING_DIFFERS).inc()
        if result.told:
            self._bus.publish(EventsRecorded())

    def _count(self, result: ReportDone | NodeDone | _SetAside) -> None:
        if isinstance(result, NodeDone):
            self._count_node(result)
            return
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


def _printable(text: str) -> str:
    """Return what a driver says so that any database keeps it; it may repeat what a meter sent."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _no_card(_key: tuple[str, str]) -> None:
    """Return what is known of a device where nothing is believed."""


def _moved(frame_id: int, before: int, now_us: int) -> Update:
    return Update(
        "ingest_cursor_move",
        {
            "of_name": CURSOR,
            "of_position": before,
            "to_position": frame_id,
            "to_at_us": now_us,
        },
    )

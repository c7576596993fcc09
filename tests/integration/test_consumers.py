"""The consumers as tasks: woken by the log, readings with their own cursor, stopped cleanly."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

import pytest

from slotmeter.ports import Read, ReadingRow
from slotmeter.services.bus import EventsRecorded
from slotmeter.services.ingest import HANDLER_ATTEMPTS_MAX, ReadingsConsumer
from slotmeter.services.tasks import TaskOwner
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.store_contract import ModelReadings


class WatchedReadings(ModelReadings):
    """A store that tells when something was appended."""

    def __init__(self) -> None:
        super().__init__()
        self.appended = asyncio.Event()

    async def append(self, rows: Sequence[ReadingRow], *, cursor: int | None = None) -> int:
        new = await super().append(rows, cursor=cursor)
        self.appended.set()
        return new


@pytest.fixture
def store() -> WatchedReadings:
    return WatchedReadings()


@pytest.fixture
def readings(town: DeviceTown, store: WatchedReadings) -> ReadingsConsumer:
    side = town.side
    return ReadingsConsumer(
        side.uow, store, drivers=side.drivers, metrics=side.metrics, bus=side.bus
    )


async def test_readings_are_stored_with_the_frame_they_came_from(
    town: DeviceTown, store: WatchedReadings, readings: ReadingsConsumer
) -> None:
    meter = await town.utility.add_meter("electricity")
    await town.side.report(meter, {"energy_import": 5, "credit_total": 7})
    taken = await readings.step()

    row = await store.last(meter.id, "energy_import")
    frame_id = town.row("SELECT id FROM frame")["id"]
    assert taken == 1
    assert row is not None
    assert (row.value, row.frame_id, row.measured_us) == (5, frame_id, town.now_us)
    assert await store.cursor() == frame_id
    assert town.side.count("slotmeter_readings_total") == 2


async def test_a_driver_that_fails_on_one_frame_leaves_the_readings_of_all_others(
    town: DeviceTown, store: WatchedReadings, readings: ReadingsConsumer
) -> None:
    meter = await town.utility.add_meter("electricity")
    town.side.script.faults[b"fault"] = struct.error("unpack requires a buffer of 4 bytes")
    await town.side.hand_in(meter, b"fault")
    await town.side.report(meter, {"energy_import": 5}, consume=False)

    await readings.step()

    row = await store.last(meter.id, "energy_import")
    assert row is not None
    assert row.value == 5


async def test_the_register_of_another_commodity_is_not_stored(
    town: DeviceTown, store: WatchedReadings, readings: ReadingsConsumer
) -> None:
    meter = await town.utility.add_meter("water")
    await town.side.report(meter, {"energy_import": 5, "credit_total": 7, "battery": 90})

    await readings.step()

    assert await store.last(meter.id, "energy_import") is None
    assert await store.last(meter.id, "credit_total") is None
    assert await store.last(meter.id, "battery") is not None


class PickyReadings(WatchedReadings):
    """A store that cannot take one value, or nothing at all."""

    refused = 13
    is_broken = False

    async def append(self, rows: Sequence[ReadingRow], *, cursor: int | None = None) -> int:
        if self.is_broken or any(row.value == self.refused for row in rows):
            raise OverflowError("too large to convert")
        return await super().append(rows, cursor=cursor)


@pytest.fixture
def picky(town: DeviceTown) -> tuple[PickyReadings, ReadingsConsumer]:
    side, store = town.side, PickyReadings()
    consumer = ReadingsConsumer(
        side.uow, store, drivers=side.drivers, metrics=side.metrics, bus=side.bus
    )
    return store, consumer


async def test_a_frame_whose_readings_the_store_never_takes_is_passed_over_and_counted(
    town: DeviceTown, picky: tuple[PickyReadings, ReadingsConsumer]
) -> None:
    store, consumer = picky
    meter = await town.utility.add_meter("electricity")
    for value in (5, 13, 21):
        await town.side.report(meter, {"energy_import": value})
        town.side.clock.advance(seconds=1)

    for _ in range(HANDLER_ATTEMPTS_MAX):
        with pytest.raises(OverflowError):
            await consumer.step()
    await consumer.step()

    kept = await store.range(meter.id, "energy_import", 0, 2**62, limit=9)
    assert [row.value for row in kept] == [5, 21]
    assert await store.cursor() == town.row("SELECT max(id) AS id FROM frame")["id"]
    assert town.side.count("slotmeter_ignored_items_total", code="readings_not_stored") == 1


async def test_a_store_that_takes_nothing_passes_no_frame_over(
    town: DeviceTown, picky: tuple[PickyReadings, ReadingsConsumer]
) -> None:
    store, consumer = picky
    meter = await town.utility.add_meter("electricity")
    await town.side.report(meter, {"energy_import": 5})
    store.is_broken = True

    for _ in range(HANDLER_ATTEMPTS_MAX + 2):
        with pytest.raises(OverflowError):
            await consumer.step()
    store.is_broken = False
    await consumer.step()

    assert await store.last(meter.id, "energy_import") is not None


async def test_frames_without_readings_move_the_cursor_too(
    town: DeviceTown, store: WatchedReadings, readings: ReadingsConsumer
) -> None:
    frame_id = await town.side.hand_in("nobody", b"garbage")

    await readings.step()

    assert await store.cursor() == frame_id
    assert await readings.step() == 0


async def test_a_log_longer_than_a_batch_is_read_to_its_end(
    town: DeviceTown, store: WatchedReadings
) -> None:
    side, batch = town.side, 7
    readings = ReadingsConsumer(
        side.uow,
        store,
        drivers=side.drivers,
        metrics=side.metrics,
        bus=side.bus,
        batch_frames=batch,
    )
    meter = await town.utility.add_meter("electricity")
    await asyncio.gather(*(side.hand_in(meter, b"x") for _ in range(batch + 1)))

    assert await readings.step() == batch
    assert await readings.step() == 1


async def test_tasks_are_woken_by_the_log_and_end_with_their_owner(
    town: DeviceTown, store: WatchedReadings, readings: ReadingsConsumer
) -> None:
    meter = await town.utility.add_meter("electricity")
    owner = TaskOwner(town.side.metrics)
    owner.keep("devices", town.side.consumer.run)
    owner.keep("readings", readings.run)
    with town.side.bus.subscribe(EventsRecorded) as wakes:
        await town.side.report(meter, {"energy_import": 5}, tamper=True, consume=False)

        woken = await wakes.next(10)
    async with asyncio.timeout(10):
        await store.appended.wait()
    await owner.stop()

    assert woken == (EventsRecorded(),)
    assert town.row("SELECT register FROM device")["register"] == 5
    assert town.side.count("slotmeter_task_failures_total", task="devices") == 0


async def test_a_task_that_fails_is_started_again_and_goes_on(
    town: DeviceTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = await town.utility.add_meter("electricity")
    await town.side.report(meter, {"energy_import": 5}, tamper=True, consume=False)
    again = asyncio.Event()
    original = town.side.uow.read
    fails = [True]

    async def read(reads: list[Read]) -> object:
        if fails:
            fails.clear()
            raise OSError("the disk is away")
        return await original(reads)

    async def no_pause(_seconds: float) -> None:
        again.set()

    monkeypatch.setattr(town.side.uow, "read", read)
    owner = TaskOwner(town.side.metrics, sleep=no_pause)
    with town.side.bus.subscribe(EventsRecorded) as wakes:
        owner.keep("devices", town.side.consumer.run)

        woken = await wakes.next(10)
    await owner.stop()

    assert again.is_set()
    assert woken == (EventsRecorded(),)
    assert town.side.count("slotmeter_task_failures_total", task="devices") == 1


async def test_the_sweep_runs_and_writes_contacts(
    town: DeviceTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = await town.utility.add_meter("electricity")
    await town.side.take(meter)
    flushed = asyncio.Event()
    original = town.side.contacts.flush

    async def flush() -> int:
        written = await original()
        flushed.set()
        return written

    monkeypatch.setattr(town.side.contacts, "flush", flush)
    task = asyncio.create_task(town.side.sweep.run())
    try:
        async with asyncio.timeout(10):
            await flushed.wait()
    finally:
        task.cancel()

    assert town.row("SELECT last_contact_us AS at FROM device")["at"] == town.now_us

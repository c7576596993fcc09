"""Clocks of meters: estimated from what comes, corrected by, and set."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from slotmeter.devices.commands import CommandKind
from slotmeter.services.clock_setting import ClockSetting
from slotmeter.services.clock_watch import TOGETHER, ClockWatch
from slotmeter.services.frame_tail import FrameTail
from slotmeter.services.ingest import DeviceConsumer, ReadingsConsumer
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.testing.store_contract import ModelReadings
from slotmeter.units import epoch_us

HOUR_US = 3_600_000_000


class Clocked:
    """A town whose consumers know of clocks."""

    def __init__(self, town: DeviceTown) -> None:
        side, tail = town.side, FrameTail()
        parts: dict[str, Any] = {
            "drivers": side.drivers,
            "metrics": side.metrics,
            "bus": side.bus,
        }
        self.town = town
        self.clocks = ClockWatch(side.uow, ClockSetting(side.uow, side.clock, **parts))
        self.store = ModelReadings()
        side.consumer = DeviceConsumer(side.uow, side.clock, **parts, tail=tail, clocks=self.clocks)
        self.readings = ReadingsConsumer(
            side.uow, self.store, **parts, tail=tail, clocks=self.clocks
        )

    async def report(self, meter: SmallMeter, value: int, off: timedelta) -> None:
        """Have a meter report whose clock is off, and let an hour pass."""
        at = self.town.side.clock.now() + off
        await self.town.side.report(meter, {"energy_import": value}, at=at)
        await self.readings.step()
        self.town.side.clock.advance(seconds=3_600)


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter("electricity")


@pytest.mark.both_databases
async def test_a_wrong_clock_is_estimated_and_later_values_are_stored_when_they_were(
    town: DeviceTown, meter: SmallMeter
) -> None:
    clocked = Clocked(town)
    slow = timedelta(minutes=-30)
    for value in range(4):
        await clocked.report(meter, value, slow)
    await clocked.clocks.store()
    before_us = town.now_us
    await clocked.report(meter, 9, slow)

    device = town.row("SELECT clock_offset_us, clock_drift_ppb, measured_us FROM device")
    assert (device["clock_offset_us"], device["clock_drift_ppb"]) == (-HOUR_US // 2, 0)
    assert device["measured_us"] == before_us - HOUR_US // 2  # what the meter said
    last = await clocked.store.last(meter.id, "energy_import")
    assert last is not None
    assert (last.value, last.measured_us) == (9, before_us)


async def test_a_report_that_comes_twice_is_stored_once_though_its_clock_was_found_wrong_between(
    town: DeviceTown, meter: SmallMeter
) -> None:
    clocked = Clocked(town)
    slow = timedelta(minutes=-30)
    for value in range(4):
        await clocked.report(meter, value, slow)
    payload = b"report 4"
    await clocked.clocks.store()
    await town.side.hand_in(meter, payload)
    await town.side.consumer.step()
    await clocked.readings.step()

    stored = await clocked.store.range(meter.id, "energy_import", 0, 2**62, limit=99)
    assert [row.value for row in stored] == [0, 1, 2, 3]


async def test_corrections_outlive_the_process(town: DeviceTown, meter: SmallMeter) -> None:
    clocked = Clocked(town)
    for value in range(4):
        await clocked.report(meter, value, timedelta(minutes=-30))
    await clocked.clocks.store()

    after = ClockWatch(town.side.uow)
    await after.load()

    known = after.corrections(meter.device_id or 0)
    assert known is not None
    assert known.offset_us(epoch_us(town.later())) == -HOUR_US // 2


async def test_many_clocks_are_looked_at_without_holding_up_the_loop(town: DeviceTown) -> None:
    clocks = ClockWatch(town.side.uow)
    for number in range(3 * TOGETHER):
        clocks.saw(number, 1, 0, 0)
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await clocks.store()
    task.cancel()

    assert len(turns) >= 3


async def test_a_meter_is_asked_once_a_day_to_set_its_clock(
    town: DeviceTown, meter: SmallMeter
) -> None:
    clocked = Clocked(town)
    for value in range(8):
        await clocked.report(meter, value, timedelta(minutes=-30, seconds=-20 * value))
        await clocked.clocks.store()

    kinds = [kind for kind, _ in town.states(meter)]
    assert kinds == [CommandKind.SET_CLOCK.value]


async def test_a_clock_that_is_right_is_left_alone(town: DeviceTown, meter: SmallMeter) -> None:
    clocked = Clocked(town)
    for value in range(5):
        await clocked.report(meter, value, timedelta(seconds=-3))
    await clocked.clocks.store()

    assert clocked.clocks.corrections(meter.device_id or 0) is None
    assert town.states(meter) == []
    assert town.row("SELECT clock_offset_us FROM device")["clock_offset_us"] == -3_000_000

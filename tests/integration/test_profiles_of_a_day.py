"""MM-12: profiles of a day of a thousand meters are whole, and what was missed is filled in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from slotmeter.api.meters import gaps_between
from slotmeter.devices.frames import Frame
from slotmeter.services.ingest import ReadingsConsumer
from slotmeter.storage.readings_embedded import EmbeddedReadings
from slotmeter.testing.device_side import DRIVER_KEY, MEDIUM, DeviceTown, device_town
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import DAY_US, HOUR_US
from slotmeter_drivers.slotmeter_json import DRIVER
from slotmeter_rules import RULES

METERS = 1_000
CUT_OFF = 100
"""The first so many meters are without a network for the second and the third quarter."""

HOURS_TOGETHER = 6
REGISTERS = ("energy_import", "power", "voltage", "credit_balance")
"""Billing, demand, instantaneous, and the credit."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedReadings]:
    opened = await EmbeddedReadings.open(tmp_path / "readings.db")
    yield opened
    await opened.close()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[DeviceTown]:
    drivers = {DRIVER_KEY: DRIVER}
    async with device_town(tmp_path, RULES.credit_control, drivers=drivers) as opened:
        yield opened


def values(hour: int) -> dict[str, int]:
    figures = (1_000_000 + 500 * hour, 400 + 10 * hour, 230_000, 90_000 - 500 * hour)
    return dict(zip(REGISTERS, figures, strict=True))


def quarter(begin_s: int, number: int) -> bytes:
    """What a meter says after a quarter of a day: its present, and the five hours before."""
    hours = range(number * HOURS_TOGETHER, (number + 1) * HOURS_TOGETHER)
    *before, last = ({"time": begin_s + hour * 3_600, "readings": values(hour)} for hour in hours)
    return json.dumps(last | {"history": before}).encode()


async def say(town: DeviceTown, meters: Iterable[SmallMeter], payload: bytes) -> None:
    now = town.side.clock.now()
    frames = [Frame(MEDIUM, str(meter.address), "up", payload, now) for meter in meters]
    ends = await town.side.frames.hand_in_many(frames)
    assert all(isinstance(end, int) for end in ends)


@pytest.mark.timeout(900)
async def test_profiles_are_whole_gaps_are_listed_and_late_data_fill_them_once(
    town: DeviceTown, store: EmbeddedReadings
) -> None:
    meters = await asyncio.gather(*(town.utility.add_meter() for _ in range(METERS)))
    side = town.side
    consumer = ReadingsConsumer(
        side.uow, store, drivers=side.drivers, metrics=side.metrics, bus=side.bus
    )
    start_us, begin_s = town.now_us, town.now_us // 1_000_000
    quarters = [quarter(begin_s, number) for number in range(4)]

    async def consume() -> None:
        while await side.consumer.step():
            pass
        while await consumer.step():
            pass

    async def gaps() -> dict[int, list[tuple[int, int]]]:
        found = {}
        for meter in meters:
            buckets = await store.aggregate(
                meter.id, "energy_import", start_us, start_us + DAY_US, bucket_us=HOUR_US
            )
            missing = gaps_between(buckets, start_us, town.now_us, HOUR_US)
            if missing:
                found[meter.id] = missing
        return found

    for number, payload in enumerate(quarters):
        side.clock.advance(hours=HOURS_TOGETHER)
        await say(town, meters[CUT_OFF:] if number in (1, 2) else meters, payload)
    await consume()
    while_missing = await gaps()
    for number in (1, 2, 2, 3):  # what was kept, and twice what had no answer
        side.clock.advance(seconds=60)
        await say(town, meters[:CUT_OFF], quarters[number])
    await consume()
    profile = await store.range(
        meters[0].id, "power", start_us, start_us + DAY_US, limit=10 * METERS
    )
    stats = await store.stats()

    away = [(start_us + 6 * HOUR_US, start_us + 18 * HOUR_US)]
    assert while_missing == {meter.id: away for meter in meters[:CUT_OFF]}
    assert await gaps() == {}
    assert [row.value for row in profile] == [values(hour)["power"] for hour in range(24)]
    assert stats.rows == METERS * 24 * len(REGISTERS)
    assert side.count("slotmeter_quarantined_total", code="bad_json") == 0

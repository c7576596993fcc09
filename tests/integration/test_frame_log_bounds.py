"""What the frame log takes of whom, and how long it keeps it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from slotmeter.errors import Unavailable
from slotmeter.services.frame_admission import (
    KNOWN_FOR_US,
    KNOWN_PER_MINUTE_MAX,
    UNKNOWN_PER_ADDRESS_AND_HOUR_MAX,
    UNKNOWN_PER_HOUR_MAX,
    FrameAdmission,
)
from slotmeter.services.frame_retention import (
    FRAME_DAYS_KEPT,
    PAGE_FRAMES,
    QUARANTINE_DAYS_KEPT,
    FrameRetention,
)
from slotmeter.services.frame_tail import FrameTail
from slotmeter.services.ingest import DeviceConsumer, Frames
from slotmeter.testing.device_side import MEDIUM, DeviceTown
from slotmeter.testing.small_utility import SmallMeter, meter_number
from slotmeter.testing.store_contract import ModelReadings

HOUR_US = 3_600_000_000
DROPPED = "slotmeter_frames_unknown_dropped_total"


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter("electricity")


@pytest.fixture
def admission(town: DeviceTown) -> FrameAdmission:
    return FrameAdmission(town.side.uow, town.side.metrics)


# --- strangers ----------------------------------------------------------------------------------


async def test_of_an_address_that_nobody_registered_a_sample_is_logged(town: DeviceTown) -> None:
    for _ in range(UNKNOWN_PER_ADDRESS_AND_HOUR_MAX):
        await town.side.hand_in("nobody", b"x")
    with pytest.raises(Unavailable) as refused:
        await town.side.hand_in("nobody", b"x")

    assert refused.value.code == "device_unknown"
    assert len(town.rows("SELECT id FROM frame")) == UNKNOWN_PER_ADDRESS_AND_HOUR_MAX
    assert town.side.count(DROPPED) == 1


async def test_made_up_addresses_together_get_no_more_than_a_sample(
    town: DeviceTown, admission: FrameAdmission
) -> None:
    for number in range(UNKNOWN_PER_HOUR_MAX):
        await admission.admit(MEDIUM, f"made-up-{number}", town.now_us)

    with pytest.raises(Unavailable):
        await admission.admit(MEDIUM, "one-more", town.now_us)
    await admission.admit(MEDIUM, "one-more", town.now_us + HOUR_US)
    assert town.side.count(DROPPED) == 1


async def test_strangers_take_nothing_from_registered_devices(
    town: DeviceTown, meter: SmallMeter, admission: FrameAdmission
) -> None:
    for number in range(UNKNOWN_PER_HOUR_MAX):
        await admission.admit(MEDIUM, f"made-up-{number}", town.now_us)

    await admission.admit(MEDIUM, str(meter.address), town.now_us)

    assert town.side.count(DROPPED) == 0


async def test_a_meter_registered_after_it_was_refused_is_taken_at_once(town: DeviceTown) -> None:
    address = meter_number(1)
    for _ in range(UNKNOWN_PER_ADDRESS_AND_HOUR_MAX):
        await town.side.hand_in(address, b"x")
    with pytest.raises(Unavailable):
        await town.side.hand_in(address, b"x")
    meter = await town.utility.add_meter("electricity")

    await town.side.hand_in(meter, b"last")

    assert meter.address == address
    assert town.rows("SELECT id FROM frame WHERE payload = ?", b"last") != []


# --- registered devices -------------------------------------------------------------------------


async def test_a_device_that_sends_without_end_is_asked_to_wait(
    town: DeviceTown, meter: SmallMeter, admission: FrameAdmission
) -> None:
    address = str(meter.address)
    for _ in range(KNOWN_PER_MINUTE_MAX):
        await admission.admit(MEDIUM, address, town.now_us)
    with pytest.raises(Unavailable) as refused:
        await admission.admit(MEDIUM, address, town.now_us)
    await admission.admit(MEDIUM, address, town.now_us + 60_000_000)

    assert refused.value.code == "device_too_busy"
    assert town.side.count("slotmeter_frames_too_many_total") == 1


async def test_a_device_that_was_taken_away_becomes_a_stranger(
    town: DeviceTown, meter: SmallMeter, admission: FrameAdmission, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(meter.address)
    await admission.admit(MEDIUM, address, town.now_us)

    async def nobody(_reads: object) -> dict[str, list[object]]:
        return {"devices": []}

    monkeypatch.setattr(town.side.uow, "read", nobody)
    later_us = town.now_us + KNOWN_FOR_US
    for _ in range(UNKNOWN_PER_ADDRESS_AND_HOUR_MAX):
        await admission.admit(MEDIUM, address, later_us)
    with pytest.raises(Unavailable) as refused:
        await admission.admit(MEDIUM, address, later_us)

    assert refused.value.code == "device_unknown"


async def test_a_device_that_was_taken_away_is_a_stranger_after_one_frame(
    town: DeviceTown, meter: SmallMeter
) -> None:
    side = town.side
    parts: dict[str, Any] = {"metrics": side.metrics, "bus": side.bus, "tail": FrameTail()}
    side.frames = Frames(side.uow, **parts)
    consumer = DeviceConsumer(side.uow, side.clock, drivers=side.drivers, **parts)
    await side.hand_in(meter, b"from where it was")
    await consumer.step()
    town.behind.damage("UPDATE device SET address = 'elsewhere'")
    taken = 0

    with suppress(Unavailable):
        while taken < 10:
            await side.hand_in(meter, b"from where it was")
            taken += 1
            await consumer.step()

    assert taken == 1 + UNKNOWN_PER_ADDRESS_AND_HOUR_MAX


# --- how long ----------------------------------------------------------------------------------


class Sweeping:
    """A log with a consumer of readings that is as far as the test says."""

    def __init__(self, town: DeviceTown) -> None:
        self.town, self.store = town, ModelReadings()
        self.retention = FrameRetention(town.side.uow, self.store, town.side.clock)

    def keep(self, days: int, aside_days: int) -> None:
        """Keep frames for another time from now on."""
        side = self.town.side
        self.retention = FrameRetention(
            side.uow, self.store, side.clock, days_kept=days, aside_days_kept=aside_days
        )

    async def after(self, days: int) -> list[str]:
        """Sweep after so many days; return what is left of the log."""
        self.town.side.clock.advance(days=days)
        await self.retention.sweep()
        rows = self.town.rows("SELECT payload FROM frame ORDER BY id")
        return [row["payload"].decode() for row in rows]


@pytest.fixture
async def sweeping(town: DeviceTown, meter: SmallMeter) -> Sweeping:
    """A log with a frame that took effect, one that nobody can read, and one of a stranger."""
    sweeping = Sweeping(town)
    await town.side.report(meter, {"energy_import": 5})
    await town.side.hand_in(meter, b"garbage")
    await town.side.hand_in("nobody", b"stranger")
    await town.side.consumer.step()
    return sweeping


async def _readings_done(sweeping: Sweeping) -> None:
    newest = sweeping.town.row("SELECT max(id) AS id FROM frame")["id"]
    await sweeping.store.append([], cursor=newest)


async def test_frames_are_kept_for_their_time(sweeping: Sweeping) -> None:
    await _readings_done(sweeping)

    assert await sweeping.after(FRAME_DAYS_KEPT) == ["report 1", "garbage", "stranger"]


async def test_old_frames_are_dropped_but_what_a_driver_could_not_read_is_kept(
    sweeping: Sweeping,
) -> None:
    await _readings_done(sweeping)

    assert await sweeping.after(FRAME_DAYS_KEPT + 1) == ["garbage"]
    codes = sweeping.town.rows("SELECT code FROM quarantine")
    assert codes == [{"code": "not_in_script"}]


async def test_what_could_not_be_read_for_years_is_dropped_too(sweeping: Sweeping) -> None:
    await _readings_done(sweeping)

    assert await sweeping.after(QUARANTINE_DAYS_KEPT + 1) == []


@pytest.mark.parametrize(("days", "aside_days"), [(7, 30), (30, 7)])
async def test_frames_are_kept_as_long_as_is_set_and_those_set_aside_no_shorter(
    sweeping: Sweeping, days: int, aside_days: int
) -> None:
    await _readings_done(sweeping)
    sweeping.keep(days, aside_days)

    assert len(await sweeping.after(days)) == 3
    gone = await sweeping.after(1)
    later = await sweeping.after(max(days, aside_days) - days)

    assert gone == (["garbage"] if aside_days > days else [])
    assert later == []


async def test_what_a_consumer_has_before_it_is_never_dropped(sweeping: Sweeping) -> None:
    assert await sweeping.after(1_000) == ["report 1", "garbage", "stranger"]


async def test_a_sweep_goes_through_more_than_a_page_and_stops_at_young_frames(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sweeping = Sweeping(town)
    for _ in range(3):
        for _ in range(PAGE_FRAMES // 2):
            await town.side.report(meter, consume=False)
        town.side.clock.advance(seconds=61)
    while await town.side.consumer.step():
        pass
    town.side.clock.advance(days=50)
    await town.side.report(meter)
    await _readings_done(sweeping)

    left = await sweeping.after(FRAME_DAYS_KEPT - 49)

    assert left == [f"report {3 * (PAGE_FRAMES // 2) + 1}"]

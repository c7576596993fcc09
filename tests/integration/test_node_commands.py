"""What a node is given for the meters behind it, and what is told when it falls silent."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from slotmeter.devices.commands import CommandOut, CommandResult, Outcome
from slotmeter.ports import SqlValue
from slotmeter.services.offline_alarms import OFFLINE
from slotmeter.services.offline_watch import OfflineWatch
from slotmeter.testing.device_side import DRIVER_KEY, DeviceTown
from slotmeter.testing.meter_box import ADDRESS, MeterBox, hang_box
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import HOUR_US, MINUTE_US

pytestmark = pytest.mark.both_databases

LOOKS = 5
"""The watch over silent devices looks so often an hour; a server's does so a hundred times."""


@pytest.fixture
async def box(town: DeviceTown) -> MeterBox:
    return await hang_box(town)


# --- commands -------------------------------------------------------------------------------------


async def taken(box: MeterBox) -> list[int]:
    """Return the commands that the node is given when it asks."""
    payload = await box.town.side.queue.take(ADDRESS, limit=8)
    return [each["id"] for each in json.loads(payload or b"[]")]


async def test_a_node_is_given_the_commands_of_one_meter_after_another(box: MeterBox) -> None:
    first, second = await box.sell(2, 77), await box.sell(5, 78)
    given = await taken(box)
    again = await taken(box)
    done = CommandResult(first, Outcome.DONE, tid=77, amount=5_000)
    await box.read(changed(box.report(), results=(done,)))

    assert (given, again) == ([first], [])
    assert await taken(box) == [second]


async def test_who_asks_in_the_place_of_a_meter_that_a_node_speaks_for_is_given_nothing(
    box: MeterBox,
) -> None:
    queue = box.town.side.queue
    command_id = await box.sell(5, 77)
    behind = await queue.take(box.parked(5))
    await box.bind({5: None})
    taken_out = await queue.take(box.parked(5))
    await box.bind({5: box.meters[5].number})

    assert (behind, taken_out) == (None, None)
    assert await taken(box) == [command_id]


async def test_a_slot_with_another_meter_is_given_nothing_until_it_is_settled(
    box: MeterBox,
) -> None:
    box.swap(3, 7)
    await box.read()
    held, free = await box.sell(3, 77), await box.sell(5, 78)
    given = await taken(box)
    box.town.behind.rows("UPDATE command SET state = 'expired' WHERE id = ?", free)
    await box.bind()

    assert given == [free]
    assert await taken(box) == [held]


async def test_a_meter_that_may_be_given_nothing_does_not_keep_the_others_in_its_box_from_theirs(
    box: MeterBox,
) -> None:
    # Another meter spoke at its own address, before it was put into the box.
    alarm: dict[str, SqlValue] = {
        **{"meter_id": box.meters[3].id, "kind": "serial_mismatch", "severity": "alarm"},
        **{"text": "", "raised_us": box.town.now_us},
    }
    await box.town.insert("alarm", alarm)
    held, free = await box.sell(3, 77), await box.sell(5, 78)
    given = await taken(box)
    done = CommandResult(free, Outcome.DONE, tid=78, amount=5_000)
    await box.read(changed(box.report(), results=(done,)))

    assert given == [free]
    assert await taken(box) == [held]  # the node has told that it is the right one


async def test_a_command_says_to_a_driver_in_which_slot_its_meter_is(box: MeterBox) -> None:
    sent: list[int | None] = []
    side = box.town.side
    encode = side.script.encode

    def noted(commands: tuple[CommandOut, ...]) -> bytes:
        sent.extend(each.slot for each in commands)
        return encode(commands)

    driver = side.drivers[DRIVER_KEY]
    side.drivers[DRIVER_KEY] = replace(driver, encode=noted)
    await box.sell(5, 77)
    await taken(box)

    assert set(sent) == {5}  # also where it is asked whether it has octets for the command


# --- silence --------------------------------------------------------------------------------------


async def hours(
    box: MeterBox, watch: OfflineWatch, count: int, lively: SmallMeter, *, with_box: bool
) -> None:
    """Let hours go by in which a meter outside the box reports, and the box or not."""
    for _ in range(count):
        if with_box:
            await box.read()
        await box.town.side.report(lively, {"energy_import": box.town.now_us // HOUR_US})
        for _ in range(LOOKS):
            await watch.sweep()
            box.town.side.clock.advance(seconds=3_600 // LOOKS)


async def test_a_box_that_falls_silent_is_one_alarm_and_none_for_its_ten_meters(
    box: MeterBox,
) -> None:
    side = box.town.side
    deaf_us_min = HOUR_US // LOOKS + MINUTE_US
    watch = OfflineWatch(side.uow, side.clock, side.bus, deaf_us_min=deaf_us_min)
    lively = await box.town.utility.add_meter()
    await hours(box, watch, 6, lively, with_box=True)
    await hours(box, watch, 8, lively, with_box=False)
    silent = box.town.rows("SELECT meter_id, subject, cleared_us FROM alarm ORDER BY id")
    await hours(box, watch, 2, lively, with_box=True)

    told = [row["kind"] for row in box.town.rows("SELECT kind FROM event ORDER BY id")]
    assert silent == [{"meter_id": None, "subject": "node:BOX-1", "cleared_us": None}]
    assert told.count(OFFLINE) == 1
    assert told.count(f"{OFFLINE}_cleared") == 1

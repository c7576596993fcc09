"""What goes through one cell, gateway or concentrator, however many ask at once."""

from __future__ import annotations

import asyncio

import pytest

from slotmeter.ports import Caller
from slotmeter.services.cell_limits import CellLimit
from slotmeter.testing.command_town import cut, cuttable
from slotmeter.testing.device_side import DeviceSide, DeviceTown
from slotmeter.testing.small_utility import SmallMeter
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

LIMIT = CellLimit(per_minute=6, burst=3)


@pytest.fixture
async def meters(town: DeviceTown, operator: Caller) -> list[SmallMeter]:
    """Eight meters with a reading to be asked for, behind cells with all their room."""
    meters = [await cuttable(town) for _ in range(8)]
    for meter in meters:
        await ask(town, operator, meter, "read_now")
    town.side.queue.limit_cells(LIMIT)
    town.side.clock.advance(seconds=30)
    return meters


async def ask(town: DeviceTown, operator: Caller, meter: SmallMeter, kind: str) -> None:
    await town.side.requests.request_command(operator, meter.number, kind, "why")


async def handed(town: DeviceTown, meters: list[SmallMeter], cell: str) -> int:
    """Have all meters ask at the same moment; return how many are given something."""
    asked = (town.side.queue.take(str(meter.address), cell=cell) for meter in meters)
    return sum(payload is not None for payload in await asyncio.gather(*asked))


async def test_meters_that_ask_at_once_share_the_room_of_their_cell(
    town: DeviceTown, meters: list[SmallMeter]
) -> None:
    at_once = await handed(town, meters, "north")
    again = await handed(town, meters, "north")
    town.side.clock.advance(seconds=20)
    later = await handed(town, meters, "north")
    elsewhere = await handed(town, meters, "south")

    assert (at_once, again, later, elsewhere) == (3, 0, 2, 3)
    assert town.side.count("slotmeter_commands_deferred_total", code="cell_limit") == 13


async def test_meters_without_a_cell_share_one(town: DeviceTown, meters: list[SmallMeter]) -> None:
    assert await handed(town, meters, "") == 3


async def test_what_is_not_handed_out_stays_in_the_queue(
    town: DeviceTown, meters: list[SmallMeter]
) -> None:
    await handed(town, meters, "north")

    states = [state for meter in meters for _, state in town.states(meter)]
    assert sorted(states) == ["queued"] * 5 + ["sent"] * 3


async def test_a_cell_has_no_more_room_after_a_restart(
    town: DeviceTown, meters: list[SmallMeter]
) -> None:
    before = await handed(town, meters, "north")
    town.side = DeviceSide(town.side.uow, town.side.clock, RULES.credit_control)
    town.side.queue.limit_cells(LIMIT)
    at_once = await handed(town, meters, "north")
    town.side.clock.advance(seconds=10)

    assert (before, at_once, await handed(town, meters, "north")) == (3, 0, 1)


async def test_giving_back_is_never_held_up_and_what_it_takes_is_paid_back(
    town: DeviceTown, operator: Caller, meters: list[SmallMeter]
) -> None:
    for meter in meters:
        await ask(town, operator, meter, "close_relay")
    given = await handed(town, meters, "north")
    others = [await cuttable(town) for _ in range(2)]
    for meter in others:
        await ask(town, operator, meter, "read_now")
    town.side.clock.advance(seconds=50)
    owed = await handed(town, others, "north")
    town.side.clock.advance(seconds=10)

    assert (given, owed, await handed(town, others, "north")) == (8, 0, 1)


async def test_a_cut_that_is_held_in_the_last_moment_takes_no_room(
    town: DeviceTown, operator: Caller, meters: list[SmallMeter]
) -> None:
    other = await cuttable(town)
    await cut(town, operator, other)
    await town.set_policy({"cuts_per_hour": 0})
    held = await handed(town, [other], "north")

    assert (held, town.states(other)) == (0, [("open_relay", "held")])
    assert await handed(town, meters, "north") == 3

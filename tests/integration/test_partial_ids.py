"""Commands to meters that repeat only a part of a command's number, or nothing of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.ports import Caller
from slotmeter.testing.command_town import cuttable
from slotmeter.testing.device_side import DRIVER_KEY, DeviceTown
from slotmeter.testing.small_utility import SmallMeter


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    """A meter with credit, heard just now, whose supply is off."""
    meter = await cuttable(town)
    await town.side.report(meter, {"energy_import": 10}, supply=SupplyState.OFF)
    return meter


def short_numbers(town: DeviceTown, octets: int) -> None:
    """Have the model repeat so many octets of a number."""
    scripted = town.side.drivers[DRIVER_KEY]
    town.side.drivers[DRIVER_KEY] = replace(scripted, command_id_octets=octets)


async def sent(town: DeviceTown, operator: Caller, meter: SmallMeter) -> int:
    """Ask for supply, hand the command out, and return its whole id."""
    await town.side.requests.request_command(operator, meter.number, "close_relay", "why")
    (taken,) = await town.side.take(meter)
    command_id: int = taken["id"]
    return command_id


def state_of(town: DeviceTown, command_id: int) -> str:
    state: str = town.row("SELECT state FROM command WHERE id = ?", command_id)["state"]
    return state


@pytest.mark.parametrize("octets", [0, 1, 8])
async def test_a_command_is_verified_however_little_of_its_number_comes_back(
    town: DeviceTown, operator: Caller, meter: SmallMeter, octets: int
) -> None:
    short_numbers(town, octets)
    command_id = await sent(town, operator, meter)
    town.side.clock.advance(seconds=5)

    done = CommandResult(command_id % (1 << 8 * octets), Outcome.DONE)
    await town.side.report(meter, supply=SupplyState.ON, results=(done,))

    assert state_of(town, command_id) == "verified"


async def test_a_result_repeated_after_the_end_changes_no_other_command(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    short_numbers(town, 1)
    command_id = await sent(town, operator, meter)
    town.side.clock.advance(seconds=5)
    again = (CommandResult(command_id % 256, Outcome.DONE),)
    await town.side.report(meter, supply=SupplyState.ON, results=again)
    before = town.row("SELECT * FROM command WHERE id = ?", command_id)
    town.side.clock.advance(seconds=900)

    await town.side.report(meter, supply=SupplyState.ON, results=again)

    assert town.row("SELECT * FROM command WHERE id = ?", command_id) == before
    assert town.side.count("slotmeter_reports_ignored_total", code="foreign_result") == 0

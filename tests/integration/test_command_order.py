"""After a verified cut nothing older than it is handed out; and the mirror, after giving back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.ports import Caller
from slotmeter.services.command_rows import LEASE_US
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases

ON, OFF = SupplyState.ON, SupplyState.OFF
SHOWN = {"open_relay": OFF, "close_relay": ON}
OPPOSITE = {"open_relay": "close_relay", "close_relay": "open_relay"}
LEASE_S = LEASE_US // 1_000_000


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    """A meter that may be cut: heard just now, warned, its credit known."""
    return await cuttable(town)


@pytest.fixture
async def operator(town: DeviceTown) -> Caller:
    return await town.utility.add_principal("operator", "operator")


async def cuttable(town: DeviceTown) -> SmallMeter:
    meter = await town.utility.add_meter("electricity")
    await town.side.report(meter, {"credit_balance": 5, "credit_total": 5}, supply=ON)
    await town.notice(meter)
    return meter


async def ask(
    town: DeviceTown, caller: Caller, meter: SmallMeter, kind: str, *, safety: bool = False
) -> int:
    asked = await town.side.requests.request_command(
        caller, meter.number, kind, "why", safety=safety
    )
    command_id = asked["id"]
    assert isinstance(command_id, int)
    return command_id


async def answer(town: DeviceTown, meter: SmallMeter, command_id: int, supply: SupplyState) -> None:
    """The meter says that it did a command; its report shows ``supply``."""
    done = CommandResult(command_id, Outcome.DONE)
    await town.side.report(meter, supply=supply, results=(done,))


async def waits(_town: DeviceTown, _meter: SmallMeter, _command_id: int, _kind: str) -> None:
    """The meter was not heard yet."""


async def loses_its_answer(
    town: DeviceTown, meter: SmallMeter, command_id: int, _kind: str
) -> None:
    assert [each["id"] for each in await town.side.take(meter)] == [command_id]


async def is_queued_again(town: DeviceTown, meter: SmallMeter, command_id: int, kind: str) -> None:
    await loses_its_answer(town, meter, command_id, kind)
    town.side.clock.advance(seconds=LEASE_S)
    await town.side.sweep.sweep()


async def is_called_done(town: DeviceTown, meter: SmallMeter, command_id: int, kind: str) -> None:
    """The meter says that it did it, but shows the contrary."""
    await loses_its_answer(town, meter, command_id, kind)
    await answer(town, meter, command_id, SHOWN[OPPOSITE[kind]])


FATES = (waits, loses_its_answer, is_queued_again, is_called_done)
Fate = Callable[[DeviceTown, SmallMeter, int, str], Awaitable[None]]


async def taken_in_an_hour(town: DeviceTown, meter: SmallMeter) -> list[int]:
    """Return what the meter is given while every lease ends and every sweep runs."""
    taken = []
    for _ in range(60):
        town.side.clock.advance(seconds=LEASE_S)
        await town.side.sweep.sweep()
        taken += [each["id"] for each in await town.side.take(meter, limit=16)]
    return taken


@pytest.mark.parametrize("fate", FATES, ids=lambda fate: str(fate.__name__))
@pytest.mark.parametrize("older", ["close_relay", "open_relay"])
async def test_after_a_verified_command_nothing_older_is_handed_out(
    town: DeviceTown, meter: SmallMeter, operator: Caller, older: str, fate: Fate
) -> None:
    newer = OPPOSITE[older]
    old_id = await ask(town, operator, meter, older)
    await fate(town, meter, old_id, older)
    new_id = await ask(town, operator, meter, newer, safety=newer == "open_relay")
    first = [each["id"] for each in await town.side.take(meter, limit=16)]
    await answer(town, meter, new_id, SHOWN[newer])

    later = await taken_in_an_hour(town, meter)

    assert first == [new_id]
    assert town.states(meter) == [(older, "superseded"), (newer, "verified")]
    assert later == []


@pytest.mark.parametrize("fate", FATES, ids=lambda fate: str(fate.__name__))
@pytest.mark.parametrize("by", ["second person", "time"])
async def test_after_a_cut_that_was_held_nothing_older_is_handed_out(
    town: DeviceTown, meter: SmallMeter, operator: Caller, fate: Fate, by: str
) -> None:
    await town.set_policy({"cuts_per_hour": 1})
    await ask(town, operator, await cuttable(town), "open_relay")
    old_id = await ask(town, operator, meter, "close_relay")
    await fate(town, meter, old_id, "close_relay")
    held_id = await ask(town, operator, meter, "open_relay")
    held = town.states(meter)[-1]
    if by == "time":
        town.side.clock.advance(hours=1, seconds=LEASE_S)
        await town.side.sweep.sweep()
    else:
        supervisor = await town.utility.add_principal("supervisor", "supervisor")
        await town.side.requests.confirm(supervisor, held_id, "checked")
    first = [each["id"] for each in await town.side.take(meter, limit=16)]
    await answer(town, meter, held_id, OFF)

    later = await taken_in_an_hour(town, meter)

    assert held == ("open_relay", "held")
    assert first == [held_id]
    assert town.states(meter) == [("close_relay", "superseded"), ("open_relay", "verified")]
    assert later == []


async def test_an_answer_that_comes_late_to_an_overtaken_command_changes_nothing(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    old_id = await ask(town, operator, meter, "close_relay")
    await loses_its_answer(town, meter, old_id, "close_relay")
    new_id = await ask(town, operator, meter, "open_relay")
    await town.side.take(meter)
    both = tuple(CommandResult(each, Outcome.DONE) for each in (old_id, new_id))
    await town.side.report(meter, supply=OFF, results=both)

    assert town.states(meter) == [("close_relay", "superseded"), ("open_relay", "verified")]
    assert await taken_in_an_hour(town, meter) == []

"""Credit at zero when something fails: a cut not done, supply that stays off, a broken meter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.errors import Unavailable
from slotmeter.ports import UnitOfWork
from slotmeter.services.bus import CreditChanged
from slotmeter.testing.credit_town import M3, do, pay, report, use_up, with_credit
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

ON, OFF = SupplyState.ON, SupplyState.OFF


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await with_credit(town, "water")


async def test_supply_that_did_not_come_back_is_given_back_again_within_minutes(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await use_up(town, meter)
    await do(town, meter, M3, OFF)
    await pay(town, meter, 5_000)
    await do(town, meter, M3, OFF)  # called done, but supply stays off
    town.side.clock.advance(seconds=14 * 60)
    await town.side.credit.sweep()
    early = town.states(meter)[1:]
    town.side.clock.advance(seconds=60)
    await town.side.credit.sweep()
    again = town.states(meter)[1:]
    await do(town, meter, M3, ON)

    assert early == [("open_valve", "acknowledged")]
    assert again == [("open_valve", "superseded"), ("open_valve", "queued")]
    assert town.states(meter)[1:] == [("open_valve", "superseded"), ("open_valve", "verified")]


async def by_person(town: DeviceTown, meter: SmallMeter, kind: str) -> int:
    """Have a person ask for a command and the meter take it; return its id."""
    operator = await town.utility.add_principal("operator", "operator")
    await town.side.requests.request_command(operator, meter.number, kind, "unpaid")
    (taken,) = await town.side.take(meter)
    assert taken["kind"] == kind
    command_id = taken["id"]
    assert isinstance(command_id, int)
    return command_id


@pytest.mark.parametrize("said", [Outcome.REJECTED, Outcome.UNSUPPORTED])
async def test_a_payment_gives_back_although_a_person_s_cut_was_not_done_meanwhile(
    town: DeviceTown, meter: SmallMeter, said: Outcome
) -> None:
    await use_up(town, meter)
    await do(town, meter, M3, OFF)
    command_id = await by_person(town, meter, "close_valve")
    await report(town, meter, M3, OFF, results=(CommandResult(command_id, said),))
    await pay(town, meter, 5_000)

    assert town.states(meter) == [
        ("close_valve", "verified"),
        ("close_valve", "failed"),
        ("open_valve", "queued"),
    ]


async def test_a_payment_does_not_undo_a_person_s_cut_that_may_have_been_done(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await use_up(town, meter)
    await do(town, meter, M3, OFF)
    await by_person(town, meter, "close_valve")
    for _ in range(5):
        town.side.clock.advance(seconds=60)
        await town.side.sweep.sweep()
        await town.side.take(meter)
    await pay(town, meter, 5_000)

    assert town.states(meter) == [("close_valve", "verified"), ("close_valve", "failed")]


def failing_for(town: DeviceTown, broken: SmallMeter, error: Exception) -> None:
    """Let looking at one meter fail."""
    original = town.side.uow.read

    async def read(reads: Any) -> Any:
        for each in reads:
            if each.statement == "control_facts" and each.params["meter_id"] == broken.id:
                raise error
        return await original(reads)

    town.side.credit._uow = _Reading(town.side.uow, read)


class _Reading:
    """A unit of work with other reads."""

    def __init__(self, uow: UnitOfWork, read: Any) -> None:
        self.run, self.read = uow.run, read


@pytest.fixture
async def pair(town: DeviceTown) -> tuple[SmallMeter, SmallMeter]:
    """Two meters without credit whose customers were warned, in the order of a sweep."""
    first, second = await with_credit(town, "water"), await with_credit(town, "water")
    for each in (first, second):
        await report(town, each, M3)
    return first, second


async def test_a_meter_that_cannot_be_looked_at_does_not_keep_a_sweep_from_the_next(
    town: DeviceTown, pair: tuple[SmallMeter, SmallMeter]
) -> None:
    failing_for(town, pair[0], ValueError("a row that nobody expected"))

    assert await town.side.credit.sweep() == 2

    assert town.states(pair[0]) == []
    assert town.states(pair[1]) == [("close_valve", "queued")]
    assert town.side.count("slotmeter_credit_failures_total") == 1


async def test_a_meter_that_cannot_be_looked_at_does_not_end_credit_control(
    town: DeviceTown, pair: tuple[SmallMeter, SmallMeter]
) -> None:
    failing_for(town, pair[0], ValueError("a row that nobody expected"))
    task = asyncio.create_task(town.side.credit.run())
    try:
        async with asyncio.timeout(10):
            # The sweep at its start fails once; waking it for this meter fails once more.
            while town.side.count("slotmeter_credit_failures_total") < 2 and not task.done():
                town.side.bus.publish(CreditChanged(pair[0].id))
                await asyncio.sleep(0)

        assert not task.done()
    finally:
        task.cancel()


async def test_a_database_that_does_not_answer_ends_a_sweep(
    town: DeviceTown, pair: tuple[SmallMeter, SmallMeter]
) -> None:
    failing_for(town, pair[0], Unavailable("database_busy", "no"))

    with pytest.raises(Unavailable):
        await town.side.credit.sweep()

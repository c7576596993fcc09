"""A meter that is taken off or swapped: its slot behind a node, and what waited to be sent."""

from __future__ import annotations

from typing import Any

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.errors import Refused
from slotmeter.ports import Caller
from slotmeter.security.software import SoftwareSecurityModule
from slotmeter.services.lifecycle import Lifecycle
from slotmeter.services.meter_swap import MeterSwaps, SwapWish
from slotmeter.services.operations import Asked
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.services.sole_tokens import SoleTokens
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.meter_box import ADDRESS, BOX, MeterBox, hang_box
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import SmallMeter, meter_number

pytestmark = pytest.mark.both_databases

NEW = meter_number(900)
BOUND = (
    "SELECT binding.slot, binding.to_us FROM binding JOIN meter ON meter.id = binding.meter_id"
    " WHERE meter.number = ? ORDER BY binding.id"
)


@pytest.fixture
async def box(town: DeviceTown) -> MeterBox:
    return await hang_box(town)


@pytest.fixture
async def boss(town: DeviceTown) -> Caller:
    return await town.utility.add_principal("Boss", "supervisor")


class NoTokens(SoftwareSecurityModule):
    """Has every key, and makes nothing: nothing was left on the meters here."""

    def __init__(self) -> None:
        """Hold nothing."""

    async def describe(self, key_id: str) -> Any:
        """Say that it is there."""


async def swap(town: DeviceTown, boss: Caller, old: str, **coding: str) -> None:
    side = town.side
    safe = sample_safe()
    tokens = SoleTokens(side.uow, NoTokens(), safe, side.clock, draw_rnd=lambda: 5, tids=ONE_LANE)
    wish = SwapWish(old, NEW, coding=coding)
    await MeterSwaps(side.uow, side.clock, tokens).swap(Asked(boss, "w1", "dark display"), wish)


def sale(town: DeviceTown, sale_row_id: int) -> Any:
    return town.row("SELECT delivery FROM sale WHERE id = ?", sale_row_id)["delivery"]


async def test_a_swap_in_a_box_puts_the_new_meter_into_the_slot_of_the_old_one(
    box: MeterBox,
) -> None:
    town, old = box.town, box.meters[3]
    await box.read()
    at_us = town.now_us
    await swap(town, box.boss, old.number)
    box.hanging[3] = NEW
    box.registers[NEW] = 0
    await box.read()

    assert town.rows(BOUND, old.number) == [{"slot": 3, "to_us": at_us}]
    assert town.rows(BOUND, NEW) == [{"slot": 3, "to_us": None}]
    assert (box.shown()[NEW], box.open_alarms()) == (10, [])
    assert town.rows("SELECT * FROM quarantine") == []


async def test_a_swap_settles_what_the_slot_was_alarmed_for(box: MeterBox) -> None:
    box.hanging[3] = NEW
    box.registers[NEW] = 0
    await box.read()
    alarmed = box.open_alarms()
    await swap(box.town, box.boss, box.meters[3].number)

    assert alarmed == [f"slots:{BOX}:3"]
    assert box.open_alarms() == []


async def test_a_meter_that_speaks_for_itself_is_not_put_behind_a_node_by_a_swap(
    box: MeterBox,
) -> None:
    own = {"medium": "nbiot", "address_on_medium": "ep-9", "driver": "slotmeter_virtual"}
    with pytest.raises(Refused, match=f"slot 3 of node {BOX}") as caught:
        await swap(box.town, box.boss, box.meters[3].number, **own)

    assert caught.value.code == "behind_node"
    await box.bind({3: None})
    await swap(box.town, box.boss, box.meters[3].number, **own)
    assert box.town.rows(BOUND, NEW) == []


async def test_a_meter_that_is_taken_off_leaves_its_slot(box: MeterBox) -> None:
    town, meter = box.town, box.meters[3]
    lives = Lifecycle(town.side.uow, town.side.clock)
    await lives.take_off(box.boss, meter.number, place="van 3", reason="moved away")

    assert town.rows(BOUND, meter.number) == [{"slot": 3, "to_us": town.now_us}]
    device = town.row("SELECT node_id, slot FROM device WHERE meter_id = ?", meter.id)
    assert device == {"node_id": None, "slot": None}


async def test_what_waited_for_a_meter_does_not_follow_it_to_the_next_household(
    town: DeviceTown, boss: Caller
) -> None:
    meter = await town.utility.add_meter()
    first, _ = await town.sell_token(meter, 50, tid=9)
    second, _ = await town.sell_token(meter, 60, tid=10)
    (sent,) = await town.side.take(meter)
    lives = Lifecycle(town.side.uow, town.side.clock)
    await lives.take_off(boss, meter.number, place="van 3", reason="moved away")
    states = town.states(meter)
    await lives.record(boss, meter.number, "stored", place="depot", reason="routine")
    await lives.install(boss, meter.number, "S0001", reason="back")

    assert states == [("load_token", "superseded"), ("load_token", "superseded")]
    assert await town.side.take(meter) == []
    assert (sale(town, first), sale(town, second)) == ("failed", "failed")
    # What was on its way may have been taken all the same: then its sale tells so.
    done = CommandResult(sent["id"], Outcome.DONE, 9, 50)
    await town.side.report(meter, results=(done,))
    assert (sale(town, first), sale(town, second)) == ("accepted", "failed")


async def test_what_waited_for_a_swapped_meter_is_not_sent_to_the_workshop(
    box: MeterBox,
) -> None:
    command_id = await box.sell(3, 77)
    await swap(box.town, box.boss, box.meters[3].number)

    sold = box.town.row("SELECT state FROM command WHERE id = ?", command_id)
    assert sold == {"state": "superseded"}
    assert await box.town.side.queue.take(ADDRESS) is None


async def test_a_swap_of_a_meter_behind_no_node_binds_nothing(
    town: DeviceTown, boss: Caller
) -> None:
    meter: SmallMeter = await town.utility.add_meter(online=False)
    await swap(town, boss, meter.number)

    assert town.rows("SELECT * FROM binding") == []

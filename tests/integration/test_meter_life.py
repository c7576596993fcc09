"""The life of meters: at any date the place and the state of each is known, on both databases."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import Caller
from slotmeter.services.lifecycle import Lifecycle
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases


@pytest.fixture
def lives(town: DeviceTown) -> Lifecycle:
    return Lifecycle(town.side.uow, town.side.clock)


@pytest.fixture
async def boss(town: DeviceTown) -> Caller:
    return await town.utility.add_principal("Boss", "supervisor")


@pytest.fixture
async def hung(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter()


async def taken_off(lives: Lifecycle, boss: Caller, town: DeviceTown, meter: SmallMeter) -> None:
    town.side.clock.advance(seconds=3600)
    await lives.take_off(boss, meter.number, place="van 3", reason="customer moved away")


async def test_an_installed_meter_is_where_its_installation_says(
    town: DeviceTown, lives: Lifecycle, hung: SmallMeter
) -> None:
    life = await lives.life(town.utility.utility_id, hung.number)

    assert (life.state, life.place) == ("installed", "S0001")


async def test_a_whole_life_is_told_newest_first_and_known_at_every_date(
    town: DeviceTown, lives: Lifecycle, boss: Caller, hung: SmallMeter
) -> None:
    clock, number = town.side.clock, hung.number
    await taken_off(lives, boss, town, hung)
    for state, place in (("stored", "depot"), ("repaired", "workshop")):
        clock.advance(seconds=3600)
        await lives.record(boss, number, state, place=place, reason="routine")
    clock.advance(seconds=3600)
    await lives.install(boss, number, "S0001", reason="back")
    await taken_off(lives, boss, town, hung)
    clock.advance(seconds=3600)
    await lives.record(boss, number, "scrapped", place="recycler", reason="worn out")

    utility_id, now = town.utility.utility_id, clock.now()
    seen = [
        (await lives.life(utility_id, number, at=now - timedelta(hours=back, minutes=-1)))
        for back in range(6, -1, -1)
    ]
    events = await lives.history(utility_id, number)
    expected = [
        ("installed", "S0001"),
        ("swapped", "van 3"),
        ("stored", "depot"),
        ("repaired", "workshop"),
        ("installed", "S0001"),
        ("swapped", "van 3"),
        ("scrapped", "recycler"),
    ]
    assert [(each.state, each.place) for each in seen] == expected
    assert [(each.state, each.place) for each in reversed(events)] == expected
    assert [each.by for each in events] == ["Boss"] * 6 + [None]


async def test_what_happens_to_a_meter_is_an_act_with_before_and_after(
    town: DeviceTown, lives: Lifecycle, boss: Caller, hung: SmallMeter
) -> None:
    await taken_off(lives, boss, town, hung)

    row = town.row("SELECT what, subject, data FROM act WHERE what = 'meter.swapped'")
    data = json.loads(row["data"])
    assert row["subject"] == hung.number
    assert (data["before"]["state"], data["after"]["state"]) == ("installed", "swapped")
    assert (data["before"]["place"], data["after"]["place"]) == ("S0001", "van 3")


async def test_a_clock_that_goes_on_meanwhile_does_not_put_the_present_into_the_future(
    town: DeviceTown, boss: Caller, hung: SmallMeter
) -> None:
    class Ticking(FakeClock):
        """Goes on at each look, as a real one does."""

        def now(self) -> datetime:
            self.advance(seconds=1)
            return super().now()

    lives = Lifecycle(town.side.uow, Ticking(town.side.clock.now()))
    await lives.take_off(boss, hung.number, place="van 3", reason="moved")

    life = await lives.record(boss, hung.number, "stored", place="depot", reason="kept")

    assert life.state == "stored"


@pytest.mark.parametrize("state", ["stored", "repaired", "scrapped"])
async def test_a_meter_that_hangs_is_neither_stored_nor_repaired_nor_scrapped(
    lives: Lifecycle, boss: Caller, hung: SmallMeter, state: str
) -> None:
    with pytest.raises(Conflict, match="next it can be swapped") as caught:
        await lives.record(boss, hung.number, state, place="depot", reason="try")

    assert caught.value.code == "life_step_impossible"


async def test_a_scrapped_meter_comes_back_by_no_way(
    town: DeviceTown, lives: Lifecycle, boss: Caller, hung: SmallMeter
) -> None:
    await taken_off(lives, boss, town, hung)
    await lives.record(boss, hung.number, "scrapped", place="recycler", reason="burnt")

    for again in (
        lives.record(boss, hung.number, "stored", place="depot", reason="try"),
        lives.install(boss, hung.number, "S0001", reason="try"),
    ):
        with pytest.raises(Conflict) as caught:
            await again
        assert caught.value.code == "life_step_impossible"
    assert town.row("SELECT state FROM meter WHERE id = ?", hung.id)["state"] == "removed"


async def test_what_was_before_the_newest_event_is_not_recorded_any_more(
    town: DeviceTown, lives: Lifecycle, boss: Caller, hung: SmallMeter
) -> None:
    await taken_off(lives, boss, town, hung)
    now = town.side.clock.now()

    codes = []
    for at in (now - timedelta(minutes=5), now + timedelta(minutes=5)):
        with pytest.raises(Refused) as caught:
            await lives.record(boss, hung.number, "stored", place="depot", reason="try", at=at)
        codes.append(caught.value.code)

    assert codes == ["life_out_of_order", "time_in_future"]


async def test_a_meter_is_hung_only_where_none_hangs_and_its_commodity_is_used(
    town: DeviceTown, lives: Lifecycle, boss: Caller, hung: SmallMeter
) -> None:
    water = await town.utility.add_meter("water")
    other = await town.utility.add_meter()
    await taken_off(lives, boss, town, hung)
    await lives.take_off(boss, water.number, place="van", reason="moved")
    await lives.record(boss, hung.number, "stored", place="depot", reason="kept")

    with pytest.raises(Conflict, match=other.number) as taken:
        await lives.install(boss, hung.number, "S0003", reason="try")
    with pytest.raises(Refused) as differs:
        await lives.install(boss, hung.number, "S0002", reason="try")
    with pytest.raises(NotFound) as unknown:
        await lives.install(boss, hung.number, "S9999", reason="try")

    assert taken.value.code == "supply_point_taken"
    assert differs.value.code == "commodity_differs"
    assert unknown.value.code == "supply_point_unknown"


async def test_meters_are_listed_and_counted_as_they_were_at_a_date(
    town: DeviceTown, lives: Lifecycle, boss: Caller
) -> None:
    meters = [await town.utility.add_meter() for _ in range(5)]
    utility_id, before = town.utility.utility_id, town.side.clock.now()
    for meter in meters[:2]:
        await taken_off(lives, boss, town, meter)
    await lives.record(boss, meters[0].number, "stored", place="depot", reason="kept")

    first = await lives.lives(utility_id, limit=3)
    rest = await lives.lives(utility_id, after=first.next or "", limit=3)
    swapped = await lives.lives(utility_id, state="swapped")
    assert [each.meter for each in (*first.rows, *rest.rows)] == [each.number for each in meters]
    assert [each.meter for each in swapped.rows] == [meters[1].number]
    assert await lives.counts(utility_id) == {"installed": 3, "stored": 1, "swapped": 1}
    assert await lives.counts(utility_id, at=before) == {"installed": 5}
    with pytest.raises(NotFound):
        await lives.life(utility_id, meters[0].number, at=before - timedelta(days=1))

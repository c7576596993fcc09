"""Areas in levels: made, changed, emptied and removed, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import Caller
from slotmeter.services.areas import AreaName, Areas, parse_area
from slotmeter.testing.device_side import DeviceTown

pytestmark = pytest.mark.both_databases

NORTH, DMA, FEEDER, TRAFO = (
    AreaName("region", "north"),
    AreaName("dma", "D12"),
    AreaName("feeder", "F1"),
    AreaName("transformer", "T7"),
)


@pytest.fixture
def areas(town: DeviceTown) -> Areas:
    return Areas(town.side.uow, town.side.clock)


@pytest.fixture
async def boss(town: DeviceTown) -> Caller:
    return await town.utility.add_principal("Boss", "supervisor")


async def furnish(areas: Areas, boss: Caller) -> None:
    for at, above in ((NORTH, None), (DMA, NORTH), (FEEDER, NORTH), (TRAFO, FEEDER)):
        await areas.put(boss, at, name=f"Area {at.code}", above=above, reason="new network")


def acts(town: DeviceTown) -> list[dict[str, Any]]:
    rows = town.rows("SELECT what, subject, data FROM act WHERE what LIKE 'area.%' ORDER BY id")
    return [{**row, "data": json.loads(row["data"])} for row in rows]


async def test_an_area_says_what_is_above_it_from_the_top(
    town: DeviceTown, areas: Areas, boss: Caller
) -> None:
    await furnish(areas, boss)

    trafo = await areas.area(town.utility.utility_id, TRAFO)

    assert trafo.path == (NORTH, FEEDER)
    assert (await areas.area(town.utility.utility_id, NORTH)).areas == 2


async def test_the_same_put_again_is_no_act(town: DeviceTown, areas: Areas, boss: Caller) -> None:
    await furnish(areas, boss)
    await areas.put(boss, NORTH, name="Area north", above=None, reason="again")

    assert len(acts(town)) == 4


async def test_a_change_keeps_what_was_before(town: DeviceTown, areas: Areas, boss: Caller) -> None:
    await furnish(areas, boss)
    await areas.put(boss, TRAFO, name="Area T7", above=NORTH, reason="fed anew")

    assert acts(town)[-1] == {
        "what": "area.put",
        "subject": "transformer/T7",
        "data": {"before": {"above": "feeder/F1"}, "after": {"above": "region/north"}},
    }


async def test_areas_come_in_pages_by_level_and_code(
    town: DeviceTown, areas: Areas, boss: Caller
) -> None:
    await furnish(areas, boss)
    utility_id = town.utility.utility_id
    found, after = [], ""
    while True:
        page = await areas.areas(utility_id, after=after, limit=3)
        found += [f"{row['level']}/{row['code']}" for row in page.rows]
        if page.next is None:
            break
        after = page.next

    below = await areas.areas(utility_id, above=NORTH)
    assert found == ["dma/D12", "feeder/F1", "region/north", "transformer/T7"]
    assert [row["code"] for row in below.rows] == ["D12", "F1"]
    assert [row["code"] for row in (await areas.areas(utility_id, level="dma")).rows] == ["D12"]


@pytest.mark.parametrize(
    ("at", "above", "code"),
    [
        (NORTH, DMA, "area_above_wrong"),
        (AreaName("region", "south"), NORTH, None),
        (NORTH, NORTH, "area_in_itself"),
        (AreaName("street", "x"), None, "level_unknown"),
        (AreaName("dma", "no blanks"), None, "area_code_malformed"),
    ],
)
async def test_an_area_is_where_its_level_may_be(
    areas: Areas, boss: Caller, at: AreaName, above: AreaName | None, code: str | None
) -> None:
    await furnish(areas, boss)
    got = None
    try:
        await areas.put(boss, at, name="x", above=above, reason="try")
    except Refused as error:
        got = error.code

    assert got == code


async def test_an_area_does_not_come_below_one_of_its_own(areas: Areas, boss: Caller) -> None:
    await furnish(areas, boss)
    await areas.put(boss, AreaName("other", "top"), name="top", above=None, reason="new")
    await areas.put(boss, NORTH, name="North", above=AreaName("other", "top"), reason="new")

    with pytest.raises(Refused) as caught:
        await areas.put(boss, AreaName("other", "top"), name="top", above=TRAFO, reason="try")

    assert caught.value.code == "area_in_itself"


async def test_areas_are_not_stacked_without_end(areas: Areas, boss: Caller) -> None:
    above = None
    for number in range(8):
        at = AreaName("other", f"a{number}")
        await areas.put(boss, at, name="x", above=above, reason="deep")
        above = at

    with pytest.raises(Refused) as caught:
        await areas.put(boss, AreaName("other", "a8"), name="x", above=above, reason="deeper")
    await areas.put(boss, AreaName("other", "b"), name="x", above=None, reason="top")
    with pytest.raises(Refused) as moved:
        await areas.put(
            boss, AreaName("other", "a0"), name="x", above=AreaName("other", "b"), reason="move"
        )

    assert (caught.value.code, moved.value.code) == ("area_too_deep", "area_too_deep")


async def test_supply_points_are_taken_in_once_and_listed_in_pages(
    town: DeviceTown, areas: Areas, boss: Caller
) -> None:
    await furnish(areas, boss)
    meters = [await town.utility.add_meter() for _ in range(4)]
    utility_id = town.utility.utility_id
    points = [f"S{number:04d}" for number in range(1, 5)]

    first = await areas.take_in(boss, points, TRAFO, reason="fed by it")
    again = await areas.take_in(boss, points[:2], TRAFO, reason="fed by it")
    out = await areas.take_in(boss, points[3:], None, reason="elsewhere")

    page = await areas.points(utility_id, TRAFO, limit=2)
    rest = await areas.points(utility_id, TRAFO, after=page.next or "", limit=2)
    assert (first, again, out) == (4, 0, 1)
    assert [row["number"] for row in (*page.rows, *rest.rows)] == points[:3]
    assert page.rows[0]["meter"] == meters[0].number
    assert acts(town)[-1]["data"] == {
        "before": {"S0004": "transformer/T7"},
        "after": {"S0004": None},
    }


async def test_an_unknown_supply_point_keeps_all_others_out(
    town: DeviceTown, areas: Areas, boss: Caller
) -> None:
    await furnish(areas, boss)
    await town.utility.add_meter()

    with pytest.raises(NotFound) as caught:
        await areas.take_in(boss, ["S0001", "nowhere"], TRAFO, reason="try")

    assert caught.value.code == "supply_point_unknown"
    assert (await areas.area(town.utility.utility_id, TRAFO)).supply_points == 0


async def test_only_an_empty_area_is_removed(town: DeviceTown, areas: Areas, boss: Caller) -> None:
    await furnish(areas, boss)
    await town.utility.add_meter()
    await areas.take_in(boss, ["S0001"], TRAFO, reason="in")

    for at in (NORTH, TRAFO):
        with pytest.raises(Conflict) as caught:
            await areas.remove(boss, at, reason="gone")
        assert caught.value.code == "area_not_empty"
    await areas.remove(boss, DMA, reason="merged")

    with pytest.raises(NotFound):
        await areas.area(town.utility.utility_id, DMA)
    assert acts(town)[-1]["data"]["after"] is None


@pytest.mark.usefixtures("town")
def test_a_name_without_its_level_is_refused_with_an_example() -> None:
    with pytest.raises(Refused, match="region/north") as caught:
        parse_area("north")

    assert caught.value.code == "area_malformed"

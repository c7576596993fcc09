"""One meter moved between bearers keeps history and queue; keypads belong to one meter each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slotmeter.devices.drivers import Driver
from slotmeter.devices.frames import Frame, Reading, Report
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import Caller, Changes, Insert, NewId, Rows, SqlValue
from slotmeter.services.bearers import Bearers, BearerWish
from slotmeter.services.bindings import Bindings, NewNode
from slotmeter.services.keypads import Keypads
from slotmeter.testing.device_side import DRIVER_KEY, MEDIUM, DeviceTown

pytestmark = pytest.mark.both_databases

OTHER = "ip"
MOVED = BearerWish(OTHER, "thing-7")


@pytest.fixture
def drivers(town: DeviceTown) -> dict[str, Driver]:
    driver = replace(town.side.script.driver(), media=(OTHER,))
    town.side.drivers[DRIVER_KEY] = driver
    return town.side.drivers


@pytest.fixture
def bearers(town: DeviceTown, drivers: dict[str, Driver]) -> Bearers:
    return Bearers(town.side.uow, town.side.clock, drivers)


@pytest.fixture
async def boss(town: DeviceTown) -> Caller:
    return await town.utility.add_principal("Boss", "supervisor")


async def test_a_moved_meter_keeps_its_device_its_register_and_what_waits_for_it(
    town: DeviceTown, bearers: Bearers, boss: Caller
) -> None:
    meter = await town.utility.add_meter()
    await town.side.report(meter, {"energy_import": 500})
    _, command_id = await town.sell_token(meter, 5_000, tid=77)
    town.side.clock.advance(seconds=60)
    await bearers.change(boss, meter.number, MOVED, reason="new modem")

    device = town.row("SELECT * FROM device WHERE meter_id = ?", meter.id)
    command = town.row("SELECT * FROM command WHERE id = ?", command_id)
    page = await bearers.bearers(town.utility.utility_id, meter.number)
    assert (device["id"], device["medium"], device["address"]) == (
        meter.device_id,
        OTHER,
        "thing-7",
    )
    assert (device["register"], command["state"]) == (500, "queued")
    assert [(row["medium"], row["to_us"] is None) for row in page.rows] == [
        (OTHER, True),
        (MEDIUM, False),
    ]
    assert page.rows[1]["to_us"] == page.rows[0]["from_us"] == town.now_us


async def test_frames_from_the_old_address_are_a_strangers_after_the_move(
    town: DeviceTown, bearers: Bearers, boss: Caller
) -> None:
    meter = await town.utility.add_meter()
    await town.side.report(meter, {"energy_import": 500})
    await bearers.change(boss, meter.number, MOVED, reason="new modem")
    await town.side.report(meter, {"energy_import": 900})

    assert town.row("SELECT register FROM device")["register"] == 500
    assert [row["code"] for row in town.rows("SELECT code FROM quarantine")] == ["device_unknown"]


async def entry(town: DeviceTown, key: str, medium: str) -> int:
    """Write a config entry; return its id."""

    def decide(_rows: Rows, new_id: NewId) -> Changes[int]:
        row: dict[str, SqlValue] = {"id": new_id(), "key": key, "medium": medium, "title": key}
        row |= {"options": "{}", "enabled": 1, "source": "api"}
        row |= {"created_us": town.now_us, "changed_us": town.now_us}
        return Changes(int(str(row["id"])), [Insert("integration_entry", row)])

    return await town.side.uow.run([], decide)


async def test_a_device_belongs_to_the_entry_that_its_frames_come_by_before_and_after_a_move(
    town: DeviceTown, bearers: Bearers, boss: Caller
) -> None:
    meter = await town.utility.add_meter()
    seen = []

    async def speak(entry_id: int, medium: str, address: str) -> None:
        town.side.clock.advance(seconds=60)
        now = town.side.clock.now()
        payload = now.isoformat().encode()
        town.side.script.reports[payload] = Report(now, (Reading("energy_import", 500, now),))
        log = town.side.frames.of_entry(entry_id)
        await log.hand_in(Frame(medium, address, "m", payload, now))
        await town.side.consumer.step()
        seen.append(town.row("SELECT entry_id FROM device")["entry_id"])

    first, second = await entry(town, "one", MEDIUM), await entry(town, "two", OTHER)
    await speak(first, MEDIUM, str(meter.address))
    await bearers.change(boss, meter.number, MOVED, reason="new modem")
    between = town.row("SELECT entry_id FROM device")["entry_id"]
    await speak(second, OTHER, "thing-7")

    assert (seen, between) == ([first, second], None)


async def test_a_move_is_an_act_with_before_and_after_and_an_event(
    town: DeviceTown, bearers: Bearers, boss: Caller
) -> None:
    meter = await town.utility.add_meter()
    for _ in range(2):
        await bearers.change(boss, meter.number, MOVED, reason="new modem")

    [act] = town.rows("SELECT subject, data FROM act WHERE what = 'device.bearer'")
    assert act["subject"] == meter.number
    assert json.loads(act["data"]) == {
        "before": {"medium": MEDIUM, "address": meter.address},
        "after": {"medium": OTHER, "address": "thing-7"},
    }
    assert town.events(meter) == ["bearer_changed"]


async def test_a_move_that_cannot_be_is_refused(
    town: DeviceTown, bearers: Bearers, boss: Caller
) -> None:
    one, other = [await town.utility.add_meter() for _ in range(2)]
    mute = await town.utility.add_meter(online=False)
    codes = []
    for number, wish in (
        (one.number, BearerWish(MEDIUM, str(other.address))),
        (one.number, BearerWish("pigeon", "coop")),
        (one.number, BearerWish(OTHER, "x", "no_such_driver")),
        (one.number, BearerWish(OTHER, "with blanks")),
        (mute.number, MOVED),
    ):
        with pytest.raises((Conflict, NotFound, Refused)) as caught:
            await bearers.change(boss, number, wish, reason="try")
        codes.append(caught.value.code)

    assert codes == [
        "address_taken",
        "driver_not_carried",
        "driver_unknown",
        "address_malformed",
        "meter_unknown",
    ]


async def test_a_node_moves_with_all_that_is_behind_it(
    town: DeviceTown, bearers: Bearers, boss: Caller, drivers: dict[str, Driver]
) -> None:
    bindings = Bindings(town.side.uow, town.side.clock, drivers)
    meter = await town.utility.add_meter(online=False)
    await bindings.add_node(boss, NewNode("BOX-1", MEDIUM, "box", DRIVER_KEY), reason="new")
    await bindings.bind(boss, "BOX-1", {0: meter.number}, reason="new")
    with pytest.raises(Conflict) as caught:
        await bearers.change(boss, meter.number, MOVED, reason="try")
    await bearers.change_node(boss, "BOX-1", BearerWish(OTHER, "box-9"), reason="new modem")

    media = {row["medium"] for row in town.rows("SELECT medium FROM device")}
    page = await bearers.bearers_of_node(town.utility.utility_id, "BOX-1")
    of_meter = await bearers.bearers(town.utility.utility_id, meter.number)
    assert caught.value.code == "behind_node"
    assert media == {OTHER}
    assert [row["medium"] for row in page.rows] == [OTHER, MEDIUM]
    assert of_meter.rows == []


# --- keypads --------------------------------------------------------------------------------------


@pytest.fixture
def keypads(town: DeviceTown) -> Keypads:
    return Keypads(town.side.uow, town.side.clock)


async def test_a_keypad_takes_the_place_of_the_one_before(
    town: DeviceTown, keypads: Keypads, boss: Caller
) -> None:
    meter, utility_id = await town.utility.add_meter(), town.utility.utility_id
    for serial in ("KP-1", "KP-2", "KP-2"):
        await keypads.give(boss, meter.number, serial, reason="broken")

    page = await keypads.keypads(utility_id, meter.number)
    assert [(row["serial"], row["to_us"] is None) for row in page.rows] == [
        ("KP-2", True),
        ("KP-1", False),
    ]
    assert await keypads.meter_of(utility_id, "KP-2") == meter.number
    with pytest.raises(NotFound):
        await keypads.meter_of(utility_id, "KP-1")
    assert len(town.rows("SELECT * FROM act WHERE what = 'meter.keypad'")) == 2


async def test_a_keypad_leaves_its_meter_only_when_that_is_said(
    town: DeviceTown, keypads: Keypads, boss: Caller
) -> None:
    one, other = [await town.utility.add_meter() for _ in range(2)]
    await keypads.give(boss, one.number, "KP-1", reason="new")

    with pytest.raises(Conflict, match=one.number) as caught:
        await keypads.give(boss, other.number, "KP-1", reason="try")
    await keypads.give(boss, other.number, "KP-1", reason="moved", is_moved=True)
    await keypads.give(boss, other.number, None, reason="lost")

    rows = town.rows("SELECT data FROM act WHERE what = 'meter.keypad' ORDER BY id")
    assert caught.value.code == "keypad_elsewhere"
    assert json.loads(rows[1]["data"]) == {
        "before": {"keypad": None},
        "after": {"keypad": "KP-1"},
        "taken_from": one.number,
    }
    assert town.rows("SELECT * FROM keypad WHERE to_us IS NULL") == []

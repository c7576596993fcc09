"""Boxes with many meters: who is in which slot, and what a node says of them, on both databases."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slotmeter.devices.commands import CommandOut, CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import Frame, Reading, Report, SlotReport
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import Caller, ReadingRow
from slotmeter.services.bindings import Bindings, NewNode
from slotmeter.services.ingest import ReadingsConsumer
from slotmeter.services.keypads import Keypads
from slotmeter.services.slot_alarms import BINDING_DIFFERS
from slotmeter.testing.device_side import MEDIUM, DeviceTown
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases

BOX, ADDRESS, DRIVER = "BOX-1", "box-1", "slotmeter_virtual"
NEW = NewNode(BOX, MEDIUM, ADDRESS, DRIVER)


class Box:
    """Ten meters in one box, as they really hang: slot by slot."""

    def __init__(self, town: DeviceTown, boss: Caller, meters: list[SmallMeter]) -> None:
        self.town, self.boss, self.meters = town, boss, meters
        self.bindings = Bindings(town.side.uow, town.side.clock, town.side.drivers)
        self.hanging = {slot: meter.number for slot, meter in enumerate(meters)}
        self.frames = 0
        self.registers = {meter.number: 1_000 * at for at, meter in enumerate(meters, start=1)}

    async def bind(self, places: dict[int, str | None] | None = None, **more: Any) -> None:
        """Say which meters are in which slots; as they hang, unless told otherwise."""
        wanted = self.hanging if places is None else places
        await self.bindings.bind(self.boss, BOX, wanted, reason="as they hang", **more)

    def swap(self, one: int, other: int) -> None:
        """Change the places of two meters in the box, and tell nobody."""
        self.hanging[one], self.hanging[other] = self.hanging[other], self.hanging[one]

    def report(self, **told: Any) -> Report:
        """Return what the box reads in its slots now."""
        now = self.town.side.clock.now()
        slots = tuple(
            SlotReport(
                slot,
                number,
                (Reading("energy_import", self.registers[number], now),),
                SupplyState.ON,
                tamper=False,
            )
            for slot, number in self.hanging.items()
        )
        return replace(Report(measured_at=now, serial=BOX, slots=slots), **told)

    async def read(self, report: Report | None = None) -> int:
        """Have the box report, a minute later and 10 Wh on each meter; return the frame's id."""
        self.town.side.clock.advance(seconds=60)
        self.registers = {number: value + 10 for number, value in self.registers.items()}
        self.frames += 1
        payload = f"box {self.frames}".encode()
        self.town.side.script.reports[payload] = report or self.report()
        now = self.town.side.clock.now()
        frame_id = await self.town.side.frames.hand_in(Frame(MEDIUM, ADDRESS, "m", payload, now))
        await self.town.side.consumer.step()
        return frame_id

    def shown(self) -> dict[str, int | None]:
        """Return the register that the platform shows of each meter."""
        rows = self.town.rows(
            "SELECT meter.number, device.register FROM device"
            " JOIN meter ON meter.id = device.meter_id"
        )
        return {row["number"]: row["register"] for row in rows}

    def alarms(self) -> list[dict[str, Any]]:
        """Return alarms of slots, the oldest first."""
        return self.town.rows(
            "SELECT subject, text, cleared_us FROM alarm WHERE kind = ? ORDER BY id",
            BINDING_DIFFERS,
        )

    def open_alarms(self) -> list[str]:
        """Return what is alarmed now."""
        return [row["subject"] for row in self.alarms() if row["cleared_us"] is None]


@pytest.fixture
async def box(town: DeviceTown) -> Box:
    boss = await town.utility.add_principal("Boss", "supervisor")
    meters = [await town.utility.add_meter(online=False) for _ in range(10)]
    made = Box(town, boss, meters)
    await made.bindings.add_node(boss, NEW, reason="new box")
    await made.bind()
    return made


# --- what a node says -----------------------------------------------------------------------------


async def test_each_slot_counts_for_the_meter_that_is_bound_to_it(box: Box) -> None:
    await box.read()

    assert box.shown() == box.registers
    assert box.open_alarms() == []


async def test_ten_meters_with_ten_keypads_and_a_swap_of_two_is_detected_at_the_next_read(
    box: Box,
) -> None:
    keypads = Keypads(box.town.side.uow, box.town.side.clock)
    for slot, meter in enumerate(box.meters):
        await keypads.give(box.boss, meter.number, f"KP-{slot}", reason="new box")
    await box.read()
    before = box.shown()
    box.swap(3, 7)
    for _ in range(3):
        frame_id = await box.read()

    swapped = {box.meters[3].number, box.meters[7].number}
    after = box.shown()
    [alarm] = box.alarms()
    quarantined = box.town.row("SELECT * FROM quarantine WHERE frame_id = ?", frame_id)
    utility_id = box.town.utility.utility_id
    assert alarm["subject"] == "slots:BOX-1:3+7"
    assert alarm["text"] == (
        f"Node BOX-1: slot 3 holds {box.meters[7].number}, bound is {box.meters[3].number}; "
        f"slot 7 holds {box.meters[3].number}, bound is {box.meters[7].number}"
    )
    assert {number for number in after if after[number] == before[number]} == swapped
    assert quarantined["code"] == BINDING_DIFFERS
    for slot, meter in enumerate(box.meters):
        assert await keypads.meter_of(utility_id, f"KP-{slot}") == meter.number
    told = [box.town.events(meter).count(BINDING_DIFFERS) for meter in box.meters]
    assert told == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0]


async def test_the_alarm_clears_once_when_the_meters_hang_as_they_should(box: Box) -> None:
    box.swap(3, 7)
    await box.read()
    box.swap(3, 7)
    for _ in range(2):
        await box.read()

    kinds = box.town.rows("SELECT kind FROM event WHERE kind LIKE 'binding_differs%' ORDER BY id")
    assert box.open_alarms() == []
    assert [row["kind"] for row in kinds] == [BINDING_DIFFERS] * 2 + [f"{BINDING_DIFFERS}_cleared"]


async def test_binding_as_they_hang_clears_the_alarm_and_the_next_read_counts(box: Box) -> None:
    box.swap(3, 7)
    await box.read()
    await box.bind()
    cleared = box.open_alarms()
    await box.read()

    assert cleared == []
    assert box.open_alarms() == []
    assert None not in box.shown().values()
    assert len(box.alarms()) == 1


async def test_a_circle_of_three_is_one_alarm_and_two_pairs_are_two(box: Box) -> None:
    box.swap(0, 1)
    box.swap(1, 2)
    box.swap(5, 6)
    await box.read()

    assert sorted(box.open_alarms()) == ["slots:BOX-1:0+1+2", "slots:BOX-1:5+6"]


async def test_a_meter_that_nobody_bound_is_one_alarm_of_its_slot(box: Box) -> None:
    stranger = await box.town.utility.add_meter(online=False)
    box.hanging[4] = stranger.number
    box.registers[stranger.number] = 77
    for _ in range(2):
        await box.read()

    assert box.open_alarms() == ["slots:BOX-1:4"]
    assert stranger.number not in box.shown()


async def test_slots_that_were_swapped_once_more_are_another_alarm(box: Box) -> None:
    box.swap(3, 7)
    await box.read()
    box.swap(3, 8)
    await box.read()

    assert [row["cleared_us"] is None for row in box.alarms()] == [False, True]
    assert box.open_alarms() == ["slots:BOX-1:3+7+8"]


async def test_a_slot_that_nobody_bound_sets_the_frame_aside_and_is_no_alarm(box: Box) -> None:
    await box.bind({9: None})
    frame_id = await box.read()

    row = box.town.row("SELECT code, message FROM quarantine WHERE frame_id = ?", frame_id)
    assert row["code"] == "slot_unbound"
    assert "slot 9" in row["message"]
    assert box.open_alarms() == []


async def test_late_data_count_for_the_meter_that_was_bound_then(box: Box) -> None:
    late, registers = box.report(), dict(box.registers)
    box.town.side.clock.advance(seconds=3_600)
    box.swap(3, 7)
    await box.bind()
    await box.read(late)

    assert box.open_alarms() == []
    assert box.shown() == registers


async def test_a_frame_that_is_replayed_after_binding_since_then_counts_and_alarms_nobody(
    box: Box,
) -> None:
    swapped_at = box.town.side.clock.now()
    box.swap(3, 7)
    first = box.report()
    await box.read(first)
    box.town.side.clock.advance(seconds=3_600)
    await box.bind(at=swapped_at)
    await box.read()
    payload = box.town.row("SELECT payload FROM frame ORDER BY id LIMIT 1")["payload"]
    box.town.side.script.reports[bytes(payload)] = first
    frame = Frame(MEDIUM, ADDRESS, "m", bytes(payload), box.town.side.clock.now())
    frame_id = await box.town.side.frames.hand_in(frame)
    await box.town.side.consumer.step()

    assert box.town.rows("SELECT * FROM quarantine WHERE frame_id = ?", frame_id) == []
    assert box.open_alarms() == []
    assert len(box.alarms()) == 1


async def test_a_late_frame_of_before_the_binding_is_set_aside_and_alarms_nobody(box: Box) -> None:
    box.swap(3, 7)
    late = box.report()
    box.town.side.clock.advance(seconds=3_600)
    await box.bind()
    await box.read()
    frame_id = await box.read(late)

    row = box.town.row("SELECT code FROM quarantine WHERE frame_id = ?", frame_id)
    assert row["code"] == BINDING_DIFFERS
    assert box.alarms() == []


async def test_the_readings_of_slots_that_fit_go_to_the_store_and_no_others(box: Box) -> None:
    stored: list[ReadingRow] = []

    class Store:
        async def cursor(self) -> int:
            return 0

        async def append(self, rows: list[ReadingRow], *, cursor: int) -> int:
            stored.extend(rows)
            return len(rows)

    side = box.town.side
    box.swap(3, 7)
    frame_id = await box.read()
    parts: dict[str, Any] = {"metrics": side.metrics, "bus": side.bus}
    store: Any = Store()
    await ReadingsConsumer(side.uow, store, drivers=side.drivers, **parts).step()

    fitting = {meter.id for slot, meter in enumerate(box.meters) if slot not in {3, 7}}
    assert {row.meter_id for row in stored} == fitting
    assert {row.frame_id for row in stored} == {frame_id}


async def test_a_node_that_is_another_one_counts_for_nothing(box: Box) -> None:
    frame_id = await box.read(replace(box.report(), serial="BOX-2"))

    row = box.town.row("SELECT code FROM quarantine WHERE frame_id = ?", frame_id)
    assert row["code"] == "node_differs"
    assert set(box.shown().values()) == {None}


async def test_what_comes_from_the_address_of_a_meter_behind_a_node_is_a_strangers(
    box: Box,
) -> None:
    row = box.town.row("SELECT address FROM device WHERE meter_id = ?", box.meters[0].id)

    frame_id = await box.town.side.hand_in(row["address"], b"I am the meter")
    await box.town.side.consumer.step()

    aside = box.town.row("SELECT code FROM quarantine WHERE frame_id = ?", frame_id)
    assert aside["code"] == "device_unknown"


async def test_what_a_node_says_of_a_command_is_for_the_meter_it_was_sent_to(box: Box) -> None:
    side = box.town.side
    device = box.town.row("SELECT id FROM device WHERE meter_id = ?", box.meters[2].id)
    meter = replace(box.meters[2], device_id=device["id"])
    _, command_id = await box.town.sell_token(meter, 5_000, tid=77)
    box.town.behind.rows("UPDATE command SET state = 'sent', attempts = 1 WHERE id = ?", command_id)
    result = CommandResult(command_id, Outcome.DONE, tid=77, amount=5_000)

    await box.read(replace(box.report(), results=(result,)))

    states = [row["state"] for row in box.town.rows("SELECT state FROM command")]
    assert states == ["acknowledged"]
    assert side.count("slotmeter_reports_ignored_total", code="foreign_result") == 0


# --- who is bound where ---------------------------------------------------------------------------


async def test_bindings_are_dated_and_listed_the_newest_first(box: Box) -> None:
    box.town.side.clock.advance(seconds=60)
    box.swap(3, 7)
    await box.bind()
    utility_id = box.town.utility.utility_id

    page = await box.bindings.history(utility_id, BOX, limit=5)
    of_meter = await box.bindings.history_of_meter(utility_id, box.meters[3].number)
    node = await box.bindings.node(utility_id, BOX)
    assert [row["to_us"] is None for row in page.rows[:2]] == [True, True]
    assert page.next is not None
    assert [(row["slot"], row["to_us"] is None) for row in of_meter.rows] == [
        (7, True),
        (3, False),
    ]
    assert [row["meter"] for row in node.bindings] == [box.hanging[slot] for slot in range(10)]


async def test_binding_is_an_act_that_names_only_the_slots_that_changed(box: Box) -> None:
    box.swap(3, 7)
    await box.bind()
    await box.bind()

    rows = box.town.rows("SELECT data FROM act WHERE what = 'node.bind' ORDER BY id")
    data = json.loads(rows[-1]["data"])
    one, other = box.meters[3].number, box.meters[7].number
    assert len(rows) == 2
    assert (data["before"], data["after"]) == ({"3": one, "7": other}, {"3": other, "7": one})


async def test_a_meter_with_a_radio_of_its_own_keeps_its_device_behind_a_node(box: Box) -> None:
    online = await box.town.utility.add_meter()
    box.town.side.clock.advance(seconds=60)
    await box.bind({9: online.number})

    device = box.town.row("SELECT * FROM device WHERE meter_id = ?", online.id)
    bearer = box.town.row("SELECT * FROM bearer WHERE device_id = ?", online.device_id)
    left = box.town.row("SELECT node_id, slot FROM device WHERE meter_id = ?", box.meters[9].id)
    assert (device["id"], device["slot"]) == (online.device_id, 9)
    assert (bearer["address"], bearer["to_us"]) == (online.number, box.town.now_us)
    assert left == {"node_id": None, "slot": None}


@pytest.mark.parametrize(
    ("places", "code"),
    [
        ({}, "slots_missing"),
        ({256: "x"}, "slot_out_of_range"),
        ({1: "07000000013", 2: "07000000013"}, "meter_twice"),
    ],
)
async def test_places_that_cannot_be_are_refused(
    box: Box, places: dict[int, str | None], code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await box.bind(places)

    assert caught.value.code == code


async def test_nothing_is_bound_before_what_is_settled_nor_ahead_of_time(box: Box) -> None:
    now = box.town.side.clock.now()
    box.swap(3, 7)
    codes = []
    for at in (now - timedelta(days=1), now + timedelta(days=1)):
        with pytest.raises(Refused) as caught:
            await box.bind(at=at)
        codes.append(caught.value.code)

    assert codes == ["binding_out_of_order", "time_in_future"]


async def test_an_unknown_meter_or_node_changes_nothing(box: Box) -> None:
    with pytest.raises(NotFound) as meter:
        await box.bind({0: "no such"})
    with pytest.raises(NotFound) as node:
        await box.bindings.bind(box.boss, "BOX-9", {0: None}, reason="try")

    assert (meter.value.code, node.value.code) == ("meter_unknown", "node_unknown")


async def test_a_node_is_registered_once_at_an_address_of_its_own(box: Box) -> None:
    utility_id = box.town.utility.utility_id
    again = await box.bindings.add_node(box.boss, NEW, reason="again")
    online = await box.town.utility.add_meter()

    with pytest.raises(Conflict) as other:
        await box.bindings.add_node(box.boss, replace(NEW, address="box-9"), reason="try")
    there = NewNode("BOX-2", MEDIUM, str(online.address), DRIVER)
    with pytest.raises(Conflict) as taken:
        await box.bindings.add_node(box.boss, there, reason="try")
    by_pigeon = NewNode("BOX-2", "pigeon", "coop", DRIVER)
    with pytest.raises(Refused) as carried:
        await box.bindings.add_node(box.boss, by_pigeon, reason="try")

    page = await box.bindings.nodes(utility_id)
    assert (again.serial, len(page.rows), page.rows[0]["meters"]) == (BOX, 1, 10)
    assert other.value.code == "node_exists"
    assert (taken.value.code, carried.value.code) == ("address_taken", "driver_not_carried")


# --- what a node is given -------------------------------------------------------------------------


async def told(box: Box, slot: int, tid: int) -> int:
    """Sell a token to the meter of a slot; return the command."""
    meter = box.meters[slot]
    device = box.town.row("SELECT id FROM device WHERE meter_id = ?", meter.id)
    bound = replace(meter, device_id=device["id"])
    _, command_id = await box.town.sell_token(bound, 5_000, tid=tid)
    return command_id


async def taken(box: Box) -> list[int]:
    """Return the commands that the node is given when it asks."""
    payload = await box.town.side.queue.take(ADDRESS, limit=8)
    return [each["id"] for each in json.loads(payload or b"[]")]


async def test_a_node_is_given_the_commands_of_one_meter_after_another(box: Box) -> None:
    first, second = await told(box, 2, 77), await told(box, 5, 78)
    given = await taken(box)
    again = await taken(box)
    done = CommandResult(first, Outcome.DONE, tid=77, amount=5_000)
    await box.read(replace(box.report(), results=(done,)))

    assert (given, again) == ([first], [])
    assert await taken(box) == [second]


async def test_a_slot_with_another_meter_is_given_nothing_until_it_is_settled(box: Box) -> None:
    box.swap(3, 7)
    await box.read()
    held, free = await told(box, 3, 77), await told(box, 5, 78)
    given = await taken(box)
    box.town.behind.rows("UPDATE command SET state = 'expired' WHERE id = ?", free)
    await box.bind()

    assert given == [free]
    assert await taken(box) == [held]


async def test_a_command_says_to_a_driver_in_which_slot_its_meter_is(box: Box) -> None:
    sent: list[int | None] = []
    side = box.town.side
    encode = side.script.encode

    def noted(commands: tuple[CommandOut, ...]) -> bytes:
        sent.extend(each.slot for each in commands)
        return encode(commands)

    driver = side.drivers[DRIVER]
    side.drivers[DRIVER] = replace(driver, encode=noted)
    await told(box, 5, 77)
    await taken(box)

    assert sent == [5]


async def test_a_meter_that_goes_to_another_slot_leaves_its_own_empty(box: Box) -> None:
    number = box.meters[2].number
    await box.bind({9: number})

    node = await box.bindings.node(box.town.utility.utility_id, BOX)
    data = json.loads(
        box.town.rows("SELECT data FROM act WHERE what = 'node.bind' ORDER BY id")[-1]["data"]
    )
    assert 2 not in {row["slot"] for row in node.bindings}
    assert data["after"] == {"2": None, "9": number}
    assert data["before"] == {"2": number, "9": box.meters[9].number}

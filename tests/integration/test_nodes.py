"""Boxes with many meters: who is in which slot, and what a node says of them, on both databases."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as changed

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.frames import Frame
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import ReadingRow
from slotmeter.services.bindings import NewNode
from slotmeter.services.ingest import ReadingsConsumer
from slotmeter.services.keypads import Keypads
from slotmeter.services.slot_alarms import BINDING_DIFFERS
from slotmeter.testing.device_side import DRIVER_KEY, MEDIUM, DeviceTown
from slotmeter.testing.meter_box import ADDRESS, BOX, NEW_BOX, MeterBox, hang_box

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def box(town: DeviceTown) -> MeterBox:
    return await hang_box(town)


# --- what a node says -----------------------------------------------------------------------------


async def test_each_slot_counts_for_the_meter_that_is_bound_to_it(box: MeterBox) -> None:
    await box.read()

    assert box.shown() == box.registers
    assert box.open_alarms() == []


async def test_ten_meters_with_ten_keypads_and_a_swap_of_two_is_detected_at_the_next_read(
    box: MeterBox,
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


async def test_the_alarm_clears_once_when_the_meters_hang_as_they_should(box: MeterBox) -> None:
    box.swap(3, 7)
    await box.read()
    box.swap(3, 7)
    for _ in range(2):
        await box.read()

    kinds = box.town.rows("SELECT kind FROM event WHERE kind LIKE 'binding_differs%' ORDER BY id")
    assert box.open_alarms() == []
    assert [row["kind"] for row in kinds] == [BINDING_DIFFERS] * 2 + [f"{BINDING_DIFFERS}_cleared"]


async def test_binding_as_they_hang_clears_the_alarm_and_the_next_read_counts(
    box: MeterBox,
) -> None:
    box.swap(3, 7)
    await box.read()
    await box.bind()
    cleared = box.open_alarms()
    await box.read()

    assert cleared == []
    assert box.open_alarms() == []
    assert None not in box.shown().values()
    assert len(box.alarms()) == 1


async def test_a_circle_of_three_is_one_alarm_and_two_pairs_are_two(box: MeterBox) -> None:
    box.swap(0, 1)
    box.swap(1, 2)
    box.swap(5, 6)
    await box.read()

    assert sorted(box.open_alarms()) == ["slots:BOX-1:0+1+2", "slots:BOX-1:5+6"]


async def test_a_meter_that_nobody_bound_is_one_alarm_of_its_slot(box: MeterBox) -> None:
    stranger = await box.town.utility.add_meter(online=False)
    box.hanging[4] = stranger.number
    box.registers[stranger.number] = 77
    for _ in range(2):
        await box.read()

    assert box.open_alarms() == ["slots:BOX-1:4"]
    assert stranger.number not in box.shown()


async def test_slots_that_were_swapped_once_more_are_another_alarm(box: MeterBox) -> None:
    box.swap(3, 7)
    await box.read()
    box.swap(3, 8)
    await box.read()

    assert [row["cleared_us"] is None for row in box.alarms()] == [False, True]
    assert box.open_alarms() == ["slots:BOX-1:3+7+8"]


async def test_a_slot_that_nobody_bound_sets_the_frame_aside_and_is_no_alarm(box: MeterBox) -> None:
    await box.bind({9: None})
    frame_id = await box.read()

    row = box.town.row("SELECT code, message FROM quarantine WHERE frame_id = ?", frame_id)
    assert row["code"] == "slot_unbound"
    assert "slot 9" in row["message"]
    assert box.open_alarms() == []


async def test_late_data_count_for_the_meter_that_was_bound_then(box: MeterBox) -> None:
    late, registers = box.report(), dict(box.registers)
    box.town.side.clock.advance(seconds=3_600)
    box.swap(3, 7)
    await box.bind()
    await box.read(late)

    assert box.open_alarms() == []
    assert box.shown() == registers


async def test_a_frame_that_is_replayed_after_binding_since_then_counts_and_alarms_nobody(
    box: MeterBox,
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


async def test_a_late_frame_of_before_the_binding_is_set_aside_and_alarms_nobody(
    box: MeterBox,
) -> None:
    box.swap(3, 7)
    late = box.report()
    box.town.side.clock.advance(seconds=3_600)
    await box.bind()
    await box.read()
    frame_id = await box.read(late)

    row = box.town.row("SELECT code FROM quarantine WHERE frame_id = ?", frame_id)
    assert row["code"] == BINDING_DIFFERS
    assert box.alarms() == []


async def test_the_readings_of_slots_that_fit_go_to_the_store_and_no_others(box: MeterBox) -> None:
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


async def test_a_node_that_is_another_one_counts_for_nothing(box: MeterBox) -> None:
    frame_id = await box.read(changed(box.report(), serial="BOX-2"))

    row = box.town.row("SELECT code FROM quarantine WHERE frame_id = ?", frame_id)
    assert row["code"] == "node_differs"
    assert set(box.shown().values()) == {None}


async def test_who_says_to_be_a_meter_that_a_node_speaks_or_spoke_for_is_refused(
    box: MeterBox,
) -> None:
    behind, taken_out = box.parked(0), box.parked(9)
    await box.bind({9: None})
    now = box.town.side.clock.now()
    frames = [Frame(MEDIUM, address, "m", b"I am it", now) for address in (behind, taken_out)]
    codes = []
    for frame in frames:
        with pytest.raises(Refused) as caught:
            await box.town.side.frames.hand_in(frame)
        codes.append(caught.value.code)
    together = await box.town.side.frames.hand_in_many(frames)

    assert codes == ["address_reserved", "address_reserved"]
    assert [each.code for each in together if isinstance(each, Refused)] == codes
    assert box.town.rows("SELECT id FROM frame") == []


async def test_what_a_node_says_of_a_command_is_for_the_meter_it_was_sent_to(box: MeterBox) -> None:
    side = box.town.side
    device = box.town.row("SELECT id FROM device WHERE meter_id = ?", box.meters[2].id)
    meter = replace(box.meters[2], device_id=device["id"])
    _, command_id = await box.town.sell_token(meter, 5_000, tid=77)
    box.town.behind.rows("UPDATE command SET state = 'sent', attempts = 1 WHERE id = ?", command_id)
    result = CommandResult(command_id, Outcome.DONE, tid=77, amount=5_000)

    await box.read(changed(box.report(), results=(result,)))

    states = [row["state"] for row in box.town.rows("SELECT state FROM command")]
    assert states == ["acknowledged"]
    assert side.count("slotmeter_reports_ignored_total", code="foreign_result") == 0


# --- who is bound where ---------------------------------------------------------------------------


async def test_bindings_are_dated_and_listed_the_newest_first(box: MeterBox) -> None:
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


async def test_binding_is_an_act_that_names_only_the_slots_that_changed(box: MeterBox) -> None:
    box.swap(3, 7)
    await box.bind()
    await box.bind()

    rows = box.town.rows("SELECT data FROM act WHERE what = 'node.bind' ORDER BY id")
    data = json.loads(rows[-1]["data"])
    one, other = box.meters[3].number, box.meters[7].number
    assert len(rows) == 2
    assert (data["before"], data["after"]) == ({"3": one, "7": other}, {"3": other, "7": one})


async def test_a_meter_with_a_radio_of_its_own_keeps_its_device_behind_a_node(
    box: MeterBox,
) -> None:
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
    box: MeterBox, places: dict[int, str | None], code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await box.bind(places)

    assert caught.value.code == code


async def test_nothing_is_bound_before_what_is_settled_nor_ahead_of_time(box: MeterBox) -> None:
    now = box.town.side.clock.now()
    box.swap(3, 7)
    codes = []
    for at in (now - timedelta(days=1), now + timedelta(days=1)):
        with pytest.raises(Refused) as caught:
            await box.bind(at=at)
        codes.append(caught.value.code)

    assert codes == ["binding_out_of_order", "time_in_future"]


async def test_an_unknown_meter_or_node_changes_nothing(box: MeterBox) -> None:
    with pytest.raises(NotFound) as meter:
        await box.bind({0: "no such"})
    with pytest.raises(NotFound) as node:
        await box.bindings.bind(box.boss, "BOX-9", {0: None}, reason="try")

    assert (meter.value.code, node.value.code) == ("meter_unknown", "node_unknown")


async def test_a_node_is_registered_once_at_an_address_of_its_own(box: MeterBox) -> None:
    utility_id = box.town.utility.utility_id
    again = await box.bindings.add_node(box.boss, NEW_BOX, reason="again")
    online = await box.town.utility.add_meter()

    with pytest.raises(Conflict) as other:
        await box.bindings.add_node(box.boss, replace(NEW_BOX, address="box-9"), reason="try")
    there = NewNode("BOX-2", MEDIUM, str(online.address), DRIVER_KEY)
    with pytest.raises(Conflict) as taken:
        await box.bindings.add_node(box.boss, there, reason="try")
    by_pigeon = NewNode("BOX-2", "pigeon", "coop", DRIVER_KEY)
    with pytest.raises(Refused) as carried:
        await box.bindings.add_node(box.boss, by_pigeon, reason="try")

    page = await box.bindings.nodes(utility_id)
    assert (again.serial, len(page.rows), page.rows[0]["meters"]) == (BOX, 1, 10)
    assert other.value.code == "node_exists"
    assert (taken.value.code, carried.value.code) == ("address_taken", "driver_not_carried")


async def test_a_meter_that_goes_to_another_slot_leaves_its_own_empty(box: MeterBox) -> None:
    number = box.meters[2].number
    await box.bind({9: number})

    node = await box.bindings.node(box.town.utility.utility_id, BOX)
    data = json.loads(
        box.town.rows("SELECT data FROM act WHERE what = 'node.bind' ORDER BY id")[-1]["data"]
    )
    assert 2 not in {row["slot"] for row in node.bindings}
    assert data["after"] == {"2": None, "9": number}
    assert data["before"] == {"2": number, "9": box.meters[9].number}

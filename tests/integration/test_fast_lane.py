"""Plain reports by the thousand: what the lane writes is what each report alone would write."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import Frame, Reading, Report
from slotmeter.errors import Conflict, FrameError, Refused, Unavailable
from slotmeter.ports import Changes, Insert, InsertMany, SqlValue, UpdateMany
from slotmeter.services import frame_log, frame_tail, ingest
from slotmeter.services.fast_lane import LaneRun
from slotmeter.services.frame_tail import FrameTail
from slotmeter.services.ingest import DeviceConsumer, Frames, ReadingsConsumer
from slotmeter.testing.device_side import MEDIUM, DeviceTown, device_town
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.testing.store_contract import ModelReadings
from slotmeter_rules import RULES

RETRIES = "slotmeter_lane_retries_total"


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter("electricity")


def device(town: DeviceTown, meter: SmallMeter) -> dict[str, Any]:
    return town.row("SELECT * FROM device WHERE meter_id = ?", meter.id)


def units(town: DeviceTown) -> int:
    done: int = town.side.uow.stats.units  # type: ignore[attr-defined]  # of both back ends
    return done


async def some_days(town: DeviceTown, seed: int) -> list[dict[str, Any]]:
    """Let three meters report plainly, late, twice, and now and then something special."""
    draw = random.Random(seed)
    meters = [await town.utility.add_meter(each) for each in ("electricity", "water", "gas")]
    for round_ in range(12):
        for _ in range(draw.randint(1, 9)):
            meter = draw.choice(meters)
            own = "energy_import" if meter.commodity == "electricity" else "volume"
            readings = {own: 1_000 + round_, "battery": draw.randint(1, 100)}
            if draw.random() < 0.3:
                readings["credit_balance"] = draw.randint(0, 9)
            if draw.random() < 0.2:
                readings["credit_total"] = draw.choice((0, 7))
            told: dict[str, Any] = {"readings": readings}
            told["at"] = town.later(minutes=-draw.choice((0, 0, 1, 90)))
            if draw.random() < 0.5:
                told["serial"] = meter.number
            if draw.random() < 0.5:
                told["supply"] = draw.choice((SupplyState.ON, SupplyState.ON, SupplyState.OFF))
            if draw.random() < 0.2:
                told["tamper"] = draw.random() < 0.3
            await town.side.report(meter, consume=False, **told)
        while await town.side.consumer.step():
            pass
        town.side.clock.advance(seconds=draw.randint(1, 4_000))
    seen = town.rows("SELECT * FROM device ORDER BY id")
    alarms = town.rows("SELECT meter_id, kind, cleared_us FROM alarm ORDER BY id")
    events = town.rows("SELECT meter_id, kind, at_us, text FROM event ORDER BY id")
    return [*seen, *alarms, *events]


@pytest.mark.parametrize("seed", range(4))
async def test_the_lane_writes_what_a_unit_for_each_report_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    found, laned = [], 0
    take = LaneRun.take

    def count(run: LaneRun, *told: Any) -> bool:
        nonlocal laned
        taken = take(run, *told)
        laned += taken
        return taken

    for name, way in (("lane", count), ("alone", lambda *_: False)):
        (tmp_path / name).mkdir()
        with monkeypatch.context() as staged:
            staged.setattr(LaneRun, "take", way)
            async with device_town(tmp_path / name, RULES.credit_control) as town:
                found.append(await some_days(town, seed))

    assert laned > 10
    assert found[0] == found[1]


@pytest.mark.both_databases
async def test_reports_of_many_devices_are_one_unit(town: DeviceTown) -> None:
    meters = [await town.utility.add_meter("electricity") for _ in range(30)]
    for number, meter in enumerate(meters):
        await town.side.report(meter, {"energy_import": number}, consume=False)
    before = units(town)

    handled = await town.side.consumer.step()

    assert handled == 30
    assert units(town) - before <= 2  # the cursor's row, and all reports
    found = town.rows("SELECT register FROM device ORDER BY id")
    assert [row["register"] for row in found] == list(range(30))


@pytest.mark.both_databases
async def test_what_came_up_since_a_device_was_looked_at_is_not_passed_over(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 5}, serial=meter.number)
    alarm: dict[str, SqlValue] = {
        "meter_id": meter.id,
        "kind": "serial_mismatch",
        "severity": "alarm",
        "text": "another meter speaks",
        "raised_us": town.now_us,
        "cleared_us": None,
    }
    await town.insert("alarm", alarm)

    await town.side.report(meter, {"energy_import": 6}, serial=meter.number)

    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] is not None
    assert device(town, meter)["register"] == 6
    assert town.side.count(RETRIES) == 1


async def test_a_driver_that_was_changed_since_reads_the_next_frame(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 5})
    town.behind.damage("UPDATE device SET driver = 'another'")

    await town.side.report(meter, {"energy_import": 6})

    assert town.row("SELECT code FROM quarantine")["code"] == "driver_missing"
    assert device(town, meter)["register"] == 5


async def test_a_policy_that_was_changed_since_decides_how_far_a_clock_may_be_ahead(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 5})
    await town.set_policy({"clock_ahead_hours_max": 0})

    await town.side.report(meter, {"energy_import": 6}, at=town.later(minutes=30))

    assert town.row("SELECT kind FROM alarm")["kind"] == "clock_ahead"


async def test_a_special_report_between_plain_ones_keeps_its_place(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 1}, supply=SupplyState.ON)
    for value, supply in ((2, SupplyState.ON), (3, SupplyState.OFF), (4, SupplyState.OFF)):
        town.side.clock.advance(seconds=60)
        await town.side.report(meter, {"energy_import": value}, supply=supply, consume=False)
    while await town.side.consumer.step():
        pass

    found = device(town, meter)
    assert (found["register"], found["supply"]) == (4, "off")
    assert town.events(meter) == ["supply_cut"]


# --- the log ------------------------------------------------------------------------------------


@pytest.mark.both_databases
async def test_frames_handed_in_together_are_answered_each_for_itself(
    town: DeviceTown, meter: SmallMeter
) -> None:
    now = town.side.clock.now()
    address = str(meter.address)
    frames = [
        Frame(MEDIUM, address, "m", b"one", now),
        Frame(MEDIUM, "a" * 300, "m", b"far too long", now),
        *(Frame(MEDIUM, "nobody", "m", b"stranger", now) for _ in range(4)),
        Frame(MEDIUM, address, "m", b"two", now),
    ]

    answers = await town.side.frames.hand_in_many(frames)

    logged = town.rows("SELECT id, payload FROM frame ORDER BY id")
    assert [row["payload"] for row in logged] == [b"one", *[b"stranger"] * 3, b"two"]
    assert [each for each in answers if isinstance(each, int)] == [row["id"] for row in logged]
    assert isinstance(answers[1], Refused)
    assert isinstance(answers[5], Unavailable)


@pytest.mark.both_databases
async def test_an_address_that_no_database_keeps_fails_for_itself_alone(
    town: DeviceTown, meter: SmallMeter
) -> None:
    now = town.side.clock.now()
    places = [(str(meter.address), "m"), ("a\0b", "m"), ("a\ud800", "m"), ("a", "m\n")]
    frames = [Frame(MEDIUM, address, path, b"x", now) for address, path in places]

    good, *bad = await town.side.frames.hand_in_many(frames)
    with pytest.raises(Refused, match="can be printed"):
        await town.side.frames.hand_in(frames[1])

    assert isinstance(good, int)
    assert [getattr(each, "code", None) for each in bad] == ["address_unprintable"] * 3


@pytest.mark.both_databases
async def test_what_a_driver_says_in_characters_that_no_database_keeps_is_kept_without_them(
    town: DeviceTown, meter: SmallMeter
) -> None:
    town.side.script.faults[b"odd"] = FrameError("odd\0", "the meter says 'a\0b\ud800c\n'")
    await town.side.hand_in(meter, b"odd")

    assert await town.side.consumer.step() == 1

    row = town.row("SELECT code, message FROM quarantine")
    assert row["code"] == "odd\ufffd"
    assert row["message"] == "the meter says 'a\ufffdb\ufffdc\ufffd'"


async def test_a_frame_for_which_the_log_has_no_room_is_refused(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_log, "FRAMES_WAITING_MAX", 3)
    now = town.side.clock.now()
    frames = [Frame(MEDIUM, str(meter.address), "m", b"x", now) for _ in range(3)]
    await town.side.hand_in(meter, b"known now")

    first = asyncio.create_task(town.side.frames.hand_in_many(frames))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refused:
        await town.side.hand_in(meter, b"one too many")
    await first

    assert refused.value.code == "log_busy"
    assert town.side.count("slotmeter_frames_refused_total") == 1
    await town.side.hand_in(meter, b"room again")


async def test_who_gives_up_waiting_takes_nobody_else_s_frame_along(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.hand_in(meter, b"known now")
    waiting = [asyncio.create_task(town.side.hand_in(meter, b"x")) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(each, int) for each in answers[1:])
    assert len(town.rows("SELECT id FROM frame")) == 6


# --- the tail -----------------------------------------------------------------------------------


class Joined:
    """A log with its consumers, as a server has them."""

    def __init__(self, town: DeviceTown, store: ModelReadings) -> None:
        side, tail = town.side, FrameTail()
        parts: dict[str, Any] = {"metrics": side.metrics, "bus": side.bus, "tail": tail}
        drivers = side.drivers
        self.town = town
        self.frames = side.frames = Frames(side.uow, **parts)
        self.devices = side.consumer = DeviceConsumer(
            side.uow, side.clock, drivers=drivers, **parts
        )
        self.readings = ReadingsConsumer(side.uow, store, drivers=drivers, **parts)
        self.read_alone = {**parts, "drivers": drivers, "tail": None}
        self.tail = tail


async def test_a_frame_is_decoded_once_for_both_consumers(
    town: DeviceTown, meter: SmallMeter
) -> None:
    store = ModelReadings()
    joined = Joined(town, store)
    await town.side.report(meter, {"energy_import": 5})
    town.side.clock.advance(seconds=60)
    await town.side.report(meter, {"energy_import": 6}, consume=False)
    await joined.devices.step()
    town.side.script.reports.clear()  # whoever decodes now finds nothing

    await joined.readings.step()

    stored = await store.range(meter.id, "energy_import", 0, 2**62, limit=9)
    assert [row.value for row in stored] == [5, 6]


async def test_times_without_a_zone_stop_neither_effects_nor_readings(
    town: DeviceTown, meter: SmallMeter
) -> None:
    store = ModelReadings()
    joined = Joined(town, store)
    at = town.side.clock.now()
    naive = Reading("energy_import", 4, at.replace(tzinfo=None))
    town.side.script.reports[b"naive"] = Report(at, (naive,), None, None)
    await town.side.hand_in(meter, b"naive")
    town.side.clock.advance(seconds=60)
    await town.side.report(meter, {"energy_import": 6}, consume=False)

    handled = await joined.devices.step()
    await ReadingsConsumer(town.side.uow, store, **joined.read_alone).step()

    stored = await store.range(meter.id, "energy_import", 0, 2**62, limit=9)
    assert handled == 2
    assert [row.value for row in stored] == [6]
    assert town.row("SELECT code FROM quarantine")["code"] == "time_without_zone"


async def test_the_tail_keeps_so_many_readings_and_the_rest_is_read_from_the_log(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_tail, "TAIL_READINGS_MAX", 2)
    store = ModelReadings()
    joined = Joined(town, store)
    for value in range(5):
        town.side.clock.advance(seconds=60)
        await town.side.report(meter, {"energy_import": value}, consume=False)
    await joined.devices.step()
    ids = [row["id"] for row in town.rows("SELECT id FROM frame ORDER BY id")]
    kept = [each for each in ids if joined.tail.readings(each) is not None]

    await joined.readings.step()

    stored = await store.range(meter.id, "energy_import", 0, 2**62, limit=9)
    assert kept == ids[-2:]
    assert [row.value for row in stored] == [0, 1, 2, 3, 4]


async def test_after_a_restart_everything_is_stored_once(
    town: DeviceTown, meter: SmallMeter
) -> None:
    store = ModelReadings()
    before = Joined(town, store)
    for value in range(4):
        town.side.clock.advance(seconds=60)
        await town.side.report(meter, {"energy_import": value}, consume=False)
        if value == 1:
            await before.devices.step()
            await before.readings.step()
    await before.devices.step()  # and then the process dies
    after = Joined(town, store)
    while await after.devices.step():
        pass
    await after.readings.step()

    stored = await store.range(meter.id, "energy_import", 0, 2**62, limit=9)
    assert [row.value for row in stored] == [0, 1, 2, 3]
    assert device(town, meter)["register"] == 3


@pytest.mark.both_databases
async def test_readings_go_back_with_a_log_that_was_set_back(
    town: DeviceTown, meter: SmallMeter
) -> None:
    store = ModelReadings()
    joined = Joined(town, store)
    await town.side.report(meter, {"energy_import": 1}, consume=False)
    await joined.devices.step()
    await joined.readings.step()
    right = await store.cursor()
    await joined.readings.go_back_with_the_log()
    untouched = await store.cursor()
    await store.append([], cursor=right + 1_000)  # of the days that the restore took away

    await joined.readings.go_back_with_the_log()
    town.side.clock.advance(seconds=60)
    await town.side.report(meter, {"energy_import": 2}, consume=False)
    await joined.devices.step()
    await joined.readings.step()

    stored = await store.range(meter.id, "energy_import", 0, 2**62, limit=9)
    assert untouched == right
    assert [row.value for row in stored] == [1, 2]


async def test_what_another_process_logged_is_found_beside_what_is_known(
    town: DeviceTown, meter: SmallMeter
) -> None:
    joined = Joined(town, ModelReadings())
    other = Frames(town.side.uow, metrics=town.side.metrics, bus=town.side.bus)
    await town.side.report(meter, {"energy_import": 1})
    town.side.clock.advance(seconds=60)
    payload = await town.side.report(meter, {"energy_import": 2}, consume=False)
    await other.hand_in(Frame(MEDIUM, str(meter.address), "m", b"garbage", town.side.clock.now()))
    await joined.frames.hand_in(
        Frame(MEDIUM, str(meter.address), "m", payload, town.side.clock.now())
    )

    while await joined.devices.step():
        pass

    assert [row["code"] for row in town.rows("SELECT code FROM quarantine")] == ["not_in_script"]
    assert device(town, meter)["register"] == 2


# --- bulk steps -----------------------------------------------------------------------------------


@pytest.mark.both_databases
async def test_a_bulk_update_that_misses_a_row_writes_nothing(
    town: DeviceTown, meter: SmallMeter
) -> None:
    columns = ("of_name", "of_position", "to_position", "to_at_us")
    await town.side.consumer.step()
    rows: list[tuple[SqlValue, ...]] = [("devices", 0, 7, 1), ("nobody", 0, 7, 1)]
    moved = UpdateMany("ingest_cursor_move", columns, rows)

    with pytest.raises(Conflict):
        await town.side.uow.run([], lambda _rows, _new_id: Changes(None, bulk=[moved]))

    assert town.row("SELECT position FROM cursor WHERE name = 'devices'")["position"] == 0


@pytest.mark.both_databases
@pytest.mark.parametrize("count", [1, 33, 1_100])
async def test_rows_changed_together_are_each_given_their_own_values(
    town: DeviceTown, count: int
) -> None:
    names = [f"cursor {number}" for number in range(count)]
    new = InsertMany("cursor", ("name", "position", "at_us"), [(each, 5, 0) for each in names])
    columns = ("to_position", "of_name", "of_position", "to_at_us")
    rows = [(number, each, 5, number + 1) for number, each in enumerate(names)]
    moved = UpdateMany("ingest_cursor_move", columns, rows)

    await town.side.uow.run([], lambda _rows, _new_id: Changes(None, bulk=[new, moved]))

    found = town.rows("SELECT position, at_us FROM cursor WHERE name <> 'devices' ORDER BY at_us")
    assert found == [{"position": number, "at_us": number + 1} for number in range(count)]


@pytest.mark.both_databases
@pytest.mark.parametrize("count", [1, 999, 1_001])
async def test_rows_inserted_together_are_all_there(town: DeviceTown, count: int) -> None:
    columns = ("received_us", "id", "medium", "address", "path", "payload")
    rows: list[tuple[SqlValue, ...]] = [
        (number, 10_000_000 + number, MEDIUM, "a", "p", b"\x00") for number in range(count)
    ]

    await town.side.uow.run(
        [], lambda _rows, _new_id: Changes(None, bulk=[InsertMany("frame", columns, rows)])
    )

    found = town.rows("SELECT id, received_us FROM frame ORDER BY id")
    assert [row["received_us"] for row in found] == list(range(count))
    assert found[-1]["id"] == 10_000_000 + count - 1


async def test_sealed_rows_are_not_inserted_in_bulk(town: DeviceTown) -> None:
    row = InsertMany("act", ("id",), [(1,)])

    with pytest.raises(ValueError, match="sealed"):
        await town.side.uow.run([], lambda _rows, _new_id: Changes(None, bulk=[row]))


async def test_a_unit_may_write_steps_beside_bulk(town: DeviceTown) -> None:
    columns = ("id", "medium", "address", "path", "payload", "received_us")
    bulk = InsertMany("frame", columns, [(77, MEDIUM, "a", "p", b"", 1)])
    aside: dict[str, SqlValue] = {"frame_id": 77, "code": "x", "message": "", "at_us": 1}

    await town.side.uow.run(
        [], lambda _rows, _new_id: Changes(None, [Insert("quarantine", aside)], bulk=[bulk])
    )

    assert town.row("SELECT code FROM quarantine")["code"] == "x"


async def test_a_frame_that_fails_in_the_lane_s_place_is_set_aside_by_itself(
    town: DeviceTown, meter: SmallMeter
) -> None:
    town.side.script.faults[b"fault"] = ValueError("no")
    await town.side.report(meter, {"energy_import": 1}, consume=False)
    await town.side.hand_in(meter, b"fault")
    await town.side.report(meter, {"energy_import": 3}, consume=False)

    handled = await town.side.consumer.step()

    assert handled == 3
    assert ingest.BATCH_FRAMES_MAX > 3
    assert town.row("SELECT code FROM quarantine")["code"] == "driver_failed"
    assert device(town, meter)["register"] == 3

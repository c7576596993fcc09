"""Frames become states, events, notices and alarms of devices: each exactly once."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import (
    ITEMS_MAX,
    PAYLOAD_BYTES_MAX,
    DeviceEvent,
    DeviceEventKind,
    Frame,
)
from slotmeter.errors import Refused, Unavailable
from slotmeter.ports import Changes, Update
from slotmeter.services.ingest import HANDLER_ATTEMPTS_MAX
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import epoch_us

ON, OFF, ARMED = SupplyState.ON, SupplyState.OFF, SupplyState.ARMED


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter("electricity")


def device(town: DeviceTown, meter: SmallMeter) -> dict[str, Any]:
    return town.row("SELECT * FROM device WHERE meter_id = ?", meter.id)


def event(kind: DeviceEventKind, at: datetime) -> DeviceEvent:
    return DeviceEvent(kind, at)


# --- the log ------------------------------------------------------------------------------------


async def test_a_frame_is_in_the_log_before_it_is_looked_at(
    town: DeviceTown, meter: SmallMeter
) -> None:
    frame_id = await town.side.hand_in(meter, b"\x00\xff")

    row = town.row("SELECT * FROM frame")
    assert (row["id"], row["payload"], row["address"]) == (frame_id, b"\x00\xff", meter.address)
    assert town.side.count("slotmeter_frames_total", medium="nbiot") == 1


@pytest.mark.parametrize(
    ("address", "payload", "code"),
    [
        ("a", b"x" * (PAYLOAD_BYTES_MAX + 1), "payload_too_large"),
        ("a" * 256, b"x", "address_too_long"),
    ],
)
async def test_the_log_has_limits(
    town: DeviceTown, address: str, payload: bytes, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await town.side.hand_in(address, payload)

    assert refused.value.code == code
    assert town.rows("SELECT * FROM frame") == []


async def test_what_cannot_be_read_is_set_aside_and_the_next_frame_is_taken(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.hand_in(meter, b"garbage")
    await town.side.hand_in("nobody", b"garbage")
    town.side.script.faults[b"fault"] = IndexError("index out of range")
    await town.side.hand_in(meter, b"fault")
    await town.side.report(meter, {"energy_import": 5})

    codes = [row["code"] for row in town.rows("SELECT code FROM quarantine ORDER BY frame_id")]
    assert codes == ["not_in_script", "device_unknown", "driver_failed"]
    assert device(town, meter)["register"] == 5
    assert town.side.count("slotmeter_quarantined_total", code="device_unknown") == 1


class OddFault(Exception):
    """What nobody knows of in advance."""


@pytest.mark.parametrize("fault", [struct.error("short"), cbor2.CBORDecodeError("bad"), OddFault()])
async def test_whatever_a_driver_raises_its_frame_is_set_aside_and_the_next_is_taken(
    town: DeviceTown, meter: SmallMeter, fault: Exception
) -> None:
    town.side.script.faults[b"fault"] = fault
    await town.side.hand_in(meter, b"fault")
    await town.side.report(meter, {"energy_import": 5})

    assert town.row("SELECT code FROM quarantine")["code"] == "driver_failed"
    assert device(town, meter)["register"] == 5


async def test_a_frame_of_a_driver_that_is_not_installed_is_set_aside(
    town: DeviceTown, meter: SmallMeter
) -> None:
    town.side.drivers.clear()

    await town.side.report(meter)

    assert town.row("SELECT code FROM quarantine")["code"] == "driver_missing"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"readings": {"energy_import": 2**63}}, "number_out_of_range"),
        ({"at": datetime(1970, 1, 2, tzinfo=UTC)}, "clock_not_set"),
        (
            {"results": tuple(CommandResult(n, Outcome.DONE) for n in range(ITEMS_MAX + 1))},
            "too_many_items",
        ),
    ],
)
async def test_what_no_meter_can_mean_is_set_aside(
    town: DeviceTown, meter: SmallMeter, told: dict[str, Any], code: str
) -> None:
    await town.side.report(meter, **told)

    assert town.row("SELECT code FROM quarantine")["code"] == code


async def test_a_consumer_goes_on_where_its_cursor_stands(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 5})

    handled = await town.side.consumer.step()

    assert handled == 0
    assert town.row("SELECT position FROM cursor WHERE name = 'devices'") == {
        "position": town.row("SELECT max(id) AS position FROM frame")["position"]
    }


async def test_a_frame_whose_handling_keeps_failing_is_set_aside_and_the_next_is_taken(
    town: DeviceTown, meter: SmallMeter
) -> None:
    # A segment by a tariff that nobody can read: deciding fails, decoding does not.
    held = await town.utility.add_meter("water", credit_mode="platform")
    await town.side.report(held, {"volume": 1})
    body = town.row("SELECT tariff_version_id AS id FROM meter_charge")
    await _spoil_segment(town, body["id"])
    await town.side.report(held, {"volume": 9}, consume=False)
    await town.side.report(meter, {"energy_import": 5}, consume=False)

    for _ in range(HANDLER_ATTEMPTS_MAX):
        with pytest.raises(Refused):
            await town.side.consumer.step()
    await town.side.consumer.step()

    assert town.row("SELECT code FROM quarantine")["code"] == "handler_failed"
    assert device(town, meter)["register"] == 5


async def _spoil_segment(town: DeviceTown, version_id: int) -> None:
    with closing(sqlite3.connect(town.path)) as connection:
        connection.execute("UPDATE tariff_version SET body = '{}' WHERE id = ?", (version_id,))
        connection.commit()


async def test_what_somebody_else_has_taken_meanwhile_is_not_taken_again(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.side.report(meter, {"energy_import": 5})
    payload = await town.side.report(meter, {"energy_import": 9}, consume=False)
    frame = town.row("SELECT id FROM frame WHERE payload = ?", payload)
    original = town.side.uow.read

    async def read_then_lose_the_race(reads: Any) -> Any:
        rows = await original(reads)
        if reads[-1].statement == "lane_log":
            position = town.row("SELECT position FROM cursor WHERE name = 'devices'")
            step = Update(
                "ingest_cursor_move",
                {
                    "of_name": "devices",
                    "of_position": position["position"],
                    "to_position": frame["id"],
                    "to_at_us": 0,
                },
            )
            await town.side.uow.run([], lambda _rows, _new_id: Changes(None, [step]))
        return rows

    monkeypatch.setattr(town.side.uow, "read", read_then_lose_the_race)
    handled = await town.side.consumer.step()

    assert handled == 0
    assert device(town, meter)["register"] == 5


async def test_a_database_that_does_not_answer_sets_no_frame_aside(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.side.report(meter, {"energy_import": 5}, consume=False)
    await town.side.consumer.step()
    await town.side.report(meter, {"energy_import": 7}, consume=False)

    async def fail(_reads: Any, _decide: Any) -> Any:
        raise Unavailable("database_unavailable", "no")

    with monkeypatch.context() as staged:
        staged.setattr(town.side.uow, "run", fail)
        for _ in range(HANDLER_ATTEMPTS_MAX + 1):
            with pytest.raises(Unavailable):
                await town.side.consumer.step()
    await town.side.consumer.step()

    assert town.rows("SELECT * FROM quarantine") == []
    assert device(town, meter)["register"] == 7


async def test_swapped_addresses_charge_neither_household_and_alarm_both(town: DeviceTown) -> None:
    one, two = [await town.utility.add_meter("water", credit_mode="platform") for _ in range(2)]
    for meter, serial in ((one, one.number), (two, two.number)):
        await town.side.report(meter, {"volume": 1_000}, serial=serial)
    for meter, serial in ((one, two.number), (two, one.number)):
        await town.side.report(meter, {"volume": 9_000_000}, serial=serial)

    codes = [row["code"] for row in town.rows("SELECT code FROM quarantine")]
    assert codes == ["serial_mismatch"] * 2
    assert {row["register"] for row in town.rows("SELECT register FROM meter_charge")} == {1_000}
    assert {town.balance(one), town.balance(two)} == {0}
    alarmed = town.rows("SELECT meter_id FROM alarm WHERE kind = 'serial_mismatch'")
    assert {row["meter_id"] for row in alarmed} == {one.id, two.id}
    assert town.side.count("slotmeter_alarms_total", kind="serial_mismatch") == 2


async def test_a_wrong_serial_is_alarmed_once_until_the_right_meter_speaks(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, serial="62000000017")
    await town.side.report(meter, serial="62000000017")
    raised = town.row("SELECT kind, cleared_us FROM alarm")
    await town.side.report(meter, serial=meter.number)

    assert raised == {"kind": "serial_mismatch", "cleared_us": None}
    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] == town.now_us
    assert town.events(meter) == ["serial_mismatch", "serial_mismatch_cleared"]


async def test_a_driver_that_knows_no_serial_is_believed_by_the_address(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 5}, serial=None)

    assert device(town, meter)["register"] == 5


# --- the device ---------------------------------------------------------------------------------


async def test_the_newest_report_is_the_device_s_state(town: DeviceTown, meter: SmallMeter) -> None:
    await town.side.report(
        meter,
        {"energy_import": 500, "credit_balance": 90, "credit_total": 100},
        supply=ON,
        tamper=False,
    )

    row = device(town, meter)
    assert (row["register"], row["credit_balance"], row["credit_total"]) == (500, 90, 100)
    assert (row["supply"], row["tamper"], row["measured_us"]) == ("on", 0, town.now_us)
    assert row["last_contact_us"] == row["received_us"] == town.now_us


async def test_a_late_report_does_not_roll_back_a_newer_one(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 500}, supply=OFF)
    newer = device(town, meter)
    town.side.clock.advance(seconds=60)
    await town.side.report(
        meter, {"energy_import": 400}, supply=ON, at=town.later(hours=-5), tamper=True
    )

    after = device(town, meter)
    assert after["last_contact_us"] == town.now_us
    assert {**after, "last_contact_us": 0} == {**newer, "last_contact_us": 0}
    assert town.side.count("slotmeter_reports_total", age="late") == 1


async def test_one_report_of_a_fast_clock_does_not_freeze_a_meter(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 1}, at=datetime(2080, 1, 1, tzinfo=UTC))
    raised = town.row("SELECT kind, cleared_us FROM alarm")
    town.side.clock.advance(seconds=900)
    await town.side.report(meter, {"energy_import": 2}, supply=OFF)

    row = device(town, meter)
    assert raised == {"kind": "clock_ahead", "cleared_us": None}
    assert (row["register"], row["supply"], row["measured_us"]) == (2, "off", town.now_us)
    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] == town.now_us


async def test_a_report_from_before_the_clock_went_wrong_is_late(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 9}, at=datetime(2080, 1, 1, tzinfo=UTC))
    await town.side.report(meter, {"energy_import": 2}, at=town.later(hours=-2))

    assert device(town, meter)["register"] == 9


async def test_a_clock_that_is_set_back_by_years_but_is_still_ahead_does_not_freeze_a_meter(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 1}, at=datetime(2080, 1, 1, tzinfo=UTC))
    await town.side.report(meter, {"energy_import": 2}, at=datetime(2079, 1, 1, tzinfo=UTC))

    assert device(town, meter)["register"] == 2
    assert town.events(meter) == ["clock_ahead"]


async def test_frames_out_of_order_stay_late_while_a_clock_is_ahead(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 9}, at=town.later(days=20))
    await town.side.report(meter, {"energy_import": 2}, at=town.later(days=20, minutes=-15))

    assert device(town, meter)["register"] == 9


async def test_a_utility_may_believe_clocks_that_run_far_ahead(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.set_policy({"clock_ahead_hours_max": 24 * 40})
    await town.side.report(meter, {"energy_import": 9}, at=town.later(days=30))
    await town.side.report(meter, {"energy_import": 2}, at=town.later(days=1))

    assert device(town, meter)["register"] == 9
    assert town.rows("SELECT * FROM alarm") == []


async def test_a_report_without_a_value_keeps_the_one_before(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"energy_import": 500}, supply=ON, tamper=True)
    await town.side.report(meter, at=town.later(seconds=1))

    row = device(town, meter)
    assert (row["register"], row["supply"], row["tamper"]) == (500, "on", 1)


async def test_tamper_raises_one_alarm_until_it_is_cleared(
    town: DeviceTown, meter: SmallMeter
) -> None:
    tampered = event(DeviceEventKind.TAMPER, town.side.clock.now())
    await town.side.report(meter, tamper=True, events=(tampered,))
    await town.side.report(meter, tamper=True, events=(tampered,))
    raised = town.row("SELECT * FROM alarm")
    await town.side.report(meter, tamper=False)

    assert (raised["kind"], raised["cleared_us"]) == ("tamper", None)
    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] == town.now_us
    assert town.events(meter) == ["tamper", "tamper_cleared"]


async def test_tamper_that_came_and_went_between_two_reports_is_on_record(
    town: DeviceTown, meter: SmallMeter
) -> None:
    happened = (
        event(DeviceEventKind.TAMPER_CLEARED, town.later(seconds=9)),
        event(DeviceEventKind.TAMPER, town.side.clock.now()),
    )
    await town.side.report(meter, tamper=False, events=happened)

    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] is not None
    assert town.events(meter) == ["tamper", "tamper_cleared"]


async def test_a_warning_on_the_display_is_a_notice_on_display_and_page_once(
    town: DeviceTown, meter: SmallMeter
) -> None:
    warning = event(DeviceEventKind.LOW_CREDIT, town.side.clock.now())
    await town.side.report(meter, events=(warning,))
    await town.side.report(meter, events=(warning,))

    routes = [row["route"] for row in town.rows("SELECT route FROM notice ORDER BY id")]
    assert routes == ["display", "page"]
    assert town.events(meter) == ["low_credit"]


async def test_a_notice_carries_our_time_and_not_the_meter_s(
    town: DeviceTown, meter: SmallMeter
) -> None:
    ahead = event(DeviceEventKind.CREDIT_USED_UP, town.later(days=300))
    await town.side.report(meter, events=(ahead,))

    assert {row["at_us"] for row in town.rows("SELECT at_us FROM notice")} == {town.now_us}


async def test_a_meter_that_cut_itself_at_zero_tells_the_cause(
    town: DeviceTown, meter: SmallMeter
) -> None:
    now = town.side.clock.now()
    await town.side.report(meter, {"credit_balance": 10}, supply=ON)
    cut = (event(DeviceEventKind.CREDIT_USED_UP, now), event(DeviceEventKind.SUPPLY_CUT, now))
    await town.side.report(meter, {"credit_balance": 0}, supply=OFF, events=cut)
    restored = event(DeviceEventKind.SUPPLY_RESTORED, town.later(seconds=5))
    await town.side.report(meter, {"credit_balance": 9}, supply=ON, events=(restored,))

    assert town.events(meter) == ["credit_used_up", "supply_cut", "supply_restored"]
    data = town.row("SELECT data FROM event WHERE kind = 'supply_cut'")["data"]
    assert '"cause":"credit_used_up"' in data


@pytest.mark.parametrize(("tamper", "cause"), [(True, "tamper"), (False, "meter"), (None, "meter")])
async def test_a_meter_that_cut_itself_for_another_cause_tells_that(
    town: DeviceTown, meter: SmallMeter, tamper: bool | None, cause: str
) -> None:
    cut = event(DeviceEventKind.SUPPLY_CUT, town.side.clock.now())
    await town.side.report(meter, {"credit_balance": 5}, supply=OFF, tamper=tamper, events=(cut,))

    data = town.row("SELECT data FROM event WHERE kind = 'supply_cut'")["data"]
    assert f'"cause":"{cause}"' in data


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (ON, OFF, "supply_cut"),
        (OFF, ON, "supply_restored"),
        (OFF, ARMED, "supply_armed"),
    ],
)
async def test_a_change_of_supply_that_nothing_explains_is_told(
    town: DeviceTown, meter: SmallMeter, before: SupplyState, after: SupplyState, kind: str
) -> None:
    await town.side.report(meter, supply=before)
    await town.side.report(meter, supply=after)
    await town.side.report(meter, supply=after)

    assert town.events(meter) == [kind]


async def test_supply_that_becomes_unknown_is_not_told_as_a_change(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, supply=ON)
    await town.side.report(meter, supply=SupplyState.UNKNOWN)

    assert town.events(meter) == []


async def test_a_restart_is_told(town: DeviceTown, meter: SmallMeter) -> None:
    restarted = event(DeviceEventKind.RESTARTED, town.side.clock.now())
    await town.side.report(meter, events=(restarted,))

    assert town.events(meter) == ["restarted"]


async def test_frames_of_many_meters_in_one_batch_all_take_effect(town: DeviceTown) -> None:
    meters = [await town.utility.add_meter("water", credit_mode="platform") for _ in range(20)]
    for value in (0, 1_000_000, 2_000_000):
        for each in meters:
            await town.side.report(each, {"volume": value}, consume=False)
            town.side.clock.advance(seconds=1)

    handled = await town.side.consumer.step()

    assert handled == 60
    assert {town.balance(each) for each in meters} == {-4_640}


async def test_a_frame_carries_the_time_it_came(town: DeviceTown, meter: SmallMeter) -> None:
    at = datetime(2026, 5, 5, 5, 5, 5, 123_456, tzinfo=UTC)
    frame = Frame("nbiot", str(meter.address), "m", b"x", at)

    await town.side.frames.hand_in(frame)

    assert town.row("SELECT received_us FROM frame")["received_us"] == epoch_us(at)
    assert at - datetime(1970, 1, 1, tzinfo=UTC) == timedelta(microseconds=epoch_us(at))

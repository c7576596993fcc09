"""Frames become devices' states, deliveries, notices, alarms and charges: each exactly once."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import (
    PAYLOAD_BYTES_MAX,
    DeviceEvent,
    DeviceEventKind,
    Frame,
    TokenEntry,
)
from slotmeter.errors import Conflict, Refused, Unavailable
from slotmeter.ports import Changes, Update
from slotmeter.services.device_effects import ITEMS_MAX
from slotmeter.services.ingest import HANDLER_ATTEMPTS_MAX
from slotmeter.testing.device_side import DeviceTown, device_town
from slotmeter.testing.small_utility import SmallMeter, tariff_document
from slotmeter.units import epoch_us
from slotmeter_rules import RULES

ON, OFF, ARMED = SupplyState.ON, SupplyState.OFF, SupplyState.ARMED


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[DeviceTown]:
    async with device_town(tmp_path, RULES.credit_control) as opened:
        yield opened


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


async def test_a_cursor_that_somebody_else_moved_stops_the_consumer(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.side.report(meter, {"energy_import": 5})
    payload = await town.side.report(meter, {"energy_import": 9}, consume=False)
    frame = town.row("SELECT id FROM frame WHERE payload = ?", payload)
    original = town.side.uow.read

    async def read_then_lose_the_race(reads: Any) -> Any:
        rows = await original(reads)
        if reads[0].statement == "ingest_frames":
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
    with pytest.raises(Conflict):
        await town.side.consumer.step()

    assert device(town, meter)["register"] == 5


async def test_a_database_that_does_not_answer_sets_no_frame_aside(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.side.report(meter, {"energy_import": 5}, consume=False)
    await town.side.consumer._position()

    async def fail(_reads: Any, _decide: Any) -> Any:
        raise Unavailable("database_unavailable", "no")

    with monkeypatch.context() as staged:
        staged.setattr(town.side.uow, "run", fail)
        for _ in range(HANDLER_ATTEMPTS_MAX + 1):
            with pytest.raises(Unavailable):
                await town.side.consumer.step()
    await town.side.consumer.step()

    assert town.rows("SELECT * FROM quarantine") == []
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


# --- delivery -----------------------------------------------------------------------------------


def sale(town: DeviceTown, sale_row_id: int) -> dict[str, Any]:
    return town.row("SELECT * FROM sale WHERE id = ?", sale_row_id)


async def test_a_token_goes_sent_accepted_verified(town: DeviceTown, meter: SmallMeter) -> None:
    await town.side.report(meter, {"credit_total": 100})
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    town.side.clock.advance(seconds=1)
    (taken,) = await town.side.take(meter)
    sent_us = town.now_us
    town.side.clock.advance(seconds=1)
    done = CommandResult(command_id, Outcome.DONE, tid=9, amount=50)
    await town.side.report(meter, {"credit_total": 150}, results=(done,))

    row = sale(town, sale_row_id)
    assert taken == {"id": command_id, "kind": "load_token", "token": f"{9:020d}"}
    assert row["delivery"] == "verified"
    assert (row["sent_us"], row["accepted_us"]) == (sent_us, town.now_us)
    assert row["verified_us"] == town.now_us
    assert town.states(meter) == [("load_token", "verified")]
    assert town.row("SELECT accepted_by FROM token")["accepted_by"] == "delivery"
    assert town.events(meter) == ["token_sent", "token_accepted", "token_verified"]


async def test_a_token_whose_credit_did_not_rise_is_accepted_and_alarmed(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"credit_total": 100})
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    done = CommandResult(command_id, Outcome.DONE, tid=9, amount=50)
    await town.side.report(meter, {"credit_total": 100}, results=(done,))
    alarm = town.row("SELECT * FROM alarm")
    state = sale(town, sale_row_id)["delivery"]
    await town.side.report(meter, {"credit_total": 150})

    assert (alarm["kind"], alarm["cleared_us"]) == ("credit_mismatch", None)
    assert state == "accepted"
    assert sale(town, sale_row_id)["delivery"] == "verified"
    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] is not None


async def test_credit_that_rises_without_a_sale_is_alarmed(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"credit_total": 100})
    await town.side.report(meter, {"credit_total": 170})
    await town.side.report(meter, {"credit_total": 170})

    assert [row["kind"] for row in town.rows("SELECT kind FROM alarm")] == ["credit_mismatch"]
    assert device(town, meter)["credit_proven"] == 100


async def test_a_repeated_result_changes_nothing(town: DeviceTown, meter: SmallMeter) -> None:
    await town.side.report(meter, {"credit_total": 0})
    _, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    done = CommandResult(command_id, Outcome.DONE, tid=9, amount=50)
    await town.side.report(meter, {"credit_total": 50}, results=(done,))
    before = (town.rows("SELECT * FROM sale"), town.events(meter))
    await town.side.report(meter, {"credit_total": 50}, results=(done, done))

    assert (town.rows("SELECT * FROM sale"), town.events(meter)) == before
    assert town.rows("SELECT * FROM alarm") == []
    assert town.side.count("slotmeter_ignored_items_total", code="repeated_result") == 2


async def test_a_typed_token_makes_the_later_delivery_already_used_and_credits_once(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"credit_total": 0})
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    typed = TokenEntry(Outcome.DONE, 9, 50, town.side.clock.now())
    await town.side.report(meter, {"credit_total": 50}, entries=(typed,))
    after_typing = sale(town, sale_row_id)
    await town.side.take(meter)
    used = CommandResult(command_id, Outcome.ALREADY_USED, tid=9)
    await town.side.report(meter, {"credit_total": 50}, entries=(typed,), results=(used,))

    assert (after_typing["delivery"], after_typing["verified_us"]) == ("pending", town.now_us)
    assert sale(town, sale_row_id)["delivery"] == "already_used"
    assert town.row("SELECT accepted_by FROM token")["accepted_by"] == "keypad"
    assert town.states(meter) == [("load_token", "failed")]
    assert town.rows("SELECT * FROM alarm") == []
    assert town.events(meter).count("token_accepted") == 1


async def test_a_typed_token_and_its_delivery_may_come_in_one_report(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"credit_total": 0})
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    typed = TokenEntry(Outcome.DONE, 9, 50, town.side.clock.now())
    used = CommandResult(command_id, Outcome.ALREADY_USED, tid=9)
    await town.side.report(meter, {"credit_total": 50}, entries=(typed,), results=(used,))

    row = sale(town, sale_row_id)
    assert (row["delivery"], row["verified_us"]) == ("already_used", town.now_us)


async def test_a_token_that_the_meter_refuses_fails_its_delivery(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    await town.side.report(meter, results=(CommandResult(command_id, Outcome.OLD_TOKEN),))

    assert sale(town, sale_row_id)["delivery"] == "failed"
    assert town.row("SELECT state, result FROM command") == {
        "state": "failed",
        "result": "old_token",
    }


async def test_a_typed_token_after_a_failed_delivery_ends_it_well(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    await town.side.report(meter, results=(CommandResult(command_id, Outcome.REJECTED),))
    typed = TokenEntry(Outcome.DONE, 9, 50, town.side.clock.now())
    await town.side.report(meter, entries=(typed,))

    assert sale(town, sale_row_id)["delivery"] == "already_used"


async def test_a_result_that_comes_after_its_lease_still_counts(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    town.side.clock.advance(seconds=61)
    await town.side.sweep.sweep()
    put_back = town.states(meter)
    await town.side.report(meter, results=(CommandResult(command_id, Outcome.DONE, 9, 50),))

    assert put_back == [("load_token", "queued")]
    assert town.states(meter) == [("load_token", "acknowledged")]
    assert sale(town, sale_row_id)["delivery"] == "accepted"


async def test_a_result_that_comes_after_its_command_was_given_up_still_credits_the_sale(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"credit_total": 0})
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    town.side.clock.advance(days=31)
    await town.side.sweep.sweep()
    given_up = sale(town, sale_row_id)["delivery"]
    done = CommandResult(command_id, Outcome.DONE, 9, 50)
    await town.side.report(meter, {"credit_total": 50}, results=(done, done))

    assert given_up == "failed"
    assert town.states(meter) == [("load_token", "expired")]
    assert sale(town, sale_row_id)["delivery"] == "verified"


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.ALREADY_USED])
async def test_a_result_for_another_meter_s_command_is_ignored_and_counted(
    town: DeviceTown, meter: SmallMeter, outcome: Outcome
) -> None:
    thief = await town.utility.add_meter("electricity")
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    await town.side.report(thief, results=(CommandResult(command_id, outcome, 9, 50),))

    assert sale(town, sale_row_id)["delivery"] == "sent"
    assert town.states(meter) == [("load_token", "sent")]
    assert town.side.count("slotmeter_ignored_items_total", code="foreign_result") == 1


async def test_a_result_for_a_command_that_never_was_is_ignored(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, results=(CommandResult(999_999, Outcome.DONE),))

    assert town.side.count("slotmeter_ignored_items_total", code="foreign_result") == 1


async def test_a_typed_token_that_the_meter_refused_is_told_once(
    town: DeviceTown, meter: SmallMeter
) -> None:
    typed = TokenEntry(Outcome.REJECTED, None, 0, town.side.clock.now())
    await town.side.report(meter, entries=(typed,))
    await town.side.report(meter, entries=(typed,))

    assert town.events(meter) == ["token_entered"]


async def test_a_token_of_another_meter_typed_here_accepts_nothing(
    town: DeviceTown, meter: SmallMeter
) -> None:
    other = await town.utility.add_meter("electricity")
    sale_row_id, _ = await town.sell_token(other, 50, tid=9)
    typed = TokenEntry(Outcome.DONE, 9, 50, town.side.clock.now())
    await town.side.report(meter, entries=(typed,))

    assert sale(town, sale_row_id)["accepted_us"] is None


async def test_a_key_change_that_waits_for_its_next_part_is_acknowledged(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    await town.side.report(meter, results=(CommandResult(command_id, Outcome.WAITING),))

    assert town.states(meter) == [("load_token", "acknowledged")]
    assert sale(town, sale_row_id)["delivery"] == "sent"


async def test_one_report_may_carry_several_tokens(town: DeviceTown, meter: SmallMeter) -> None:
    await town.side.report(meter, {"credit_total": 0})
    first, one = await town.sell_token(meter, 50, tid=9)
    second, two = await town.sell_token(meter, 30, tid=10)
    taken = await town.side.take(meter, limit=5)
    results = (CommandResult(one, Outcome.DONE, 9), CommandResult(two, Outcome.DONE, 10))
    await town.side.report(meter, {"credit_total": 80}, results=results)

    assert [each["id"] for each in taken] == [one, two]
    assert {sale(town, first)["delivery"], sale(town, second)["delivery"]} == {"verified"}


# --- charging -----------------------------------------------------------------------------------


async def test_platform_held_credit_follows_the_register(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("water", credit_mode="platform")
    await town.pay(meter, 10_000)
    await town.side.report(meter, {"volume": 1_000_000})
    at_first = town.balance(meter)
    await town.side.report(meter, {"volume": 3_000_000})

    # 2 m³ at 20.00 and 16 % tax.
    assert at_first == 10_000
    assert town.balance(meter) == 10_000 - 4_640
    assert town.row("SELECT sum(amount_minor) AS sum FROM posting")["sum"] == 0
    journal = town.row("SELECT * FROM journal WHERE kind = 'consumption'")
    assert journal["frame_id"] == town.row("SELECT max(id) AS id FROM frame")["id"]
    assert town.side.count("slotmeter_charges_total") == 1


async def test_meter_held_credit_is_never_charged(town: DeviceTown, meter: SmallMeter) -> None:
    await town.side.report(meter, {"energy_import": 1_000})
    await town.side.report(meter, {"energy_import": 9_000})

    assert town.rows("SELECT * FROM meter_charge") == []
    assert town.rows("SELECT * FROM journal") == []


async def test_a_register_that_goes_backwards_is_alarmed_until_it_counts_on(
    town: DeviceTown,
) -> None:
    meter = await town.utility.add_meter("gas", credit_mode="platform")
    await town.side.report(meter, {"volume": 1_000_000})
    await town.side.report(meter, {"volume": 500_000})
    await town.side.report(meter, {"volume": 600_000})
    raised = town.row("SELECT * FROM alarm")
    await town.side.report(meter, {"volume": 2_000_000})

    assert (raised["kind"], raised["cleared_us"]) == ("register_backwards", None)
    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] is not None
    assert town.balance(meter) == -2_320


async def test_a_late_report_is_not_charged(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("water", credit_mode="platform")
    await town.side.report(meter, {"volume": 1_000_000})
    await town.side.report(meter, {"volume": 900_000}, at=town.later(hours=-1))

    assert town.rows("SELECT * FROM alarm") == []
    assert town.balance(meter) == 0


async def test_a_new_price_counts_from_the_register_at_which_it_was_first_seen(
    town: DeviceTown,
) -> None:
    meter = await town.utility.add_meter("water", credit_mode="platform")
    await town.side.report(meter, {"volume": 0})
    dearer = tariff_document("water", price="40.00", tax=None)
    await town.utility.add_tariff(dearer, version=2, valid_from_us=town.now_us + 3_600_000_000)
    await town.side.report(meter, {"volume": 1_000_000})
    town.side.clock.advance(hours=2)
    await town.side.report(meter, {"volume": 2_000_000})
    await town.side.report(meter, {"volume": 3_000_000})

    assert town.balance(meter) == -(2_320 + 2_320 + 4_000)
    segments = town.rows("SELECT start_register, to_us FROM meter_charge ORDER BY id")
    assert [row["start_register"] for row in segments] == [0, 2_000_000]
    assert [row["to_us"] is None for row in segments] == [False, True]


async def test_a_report_without_a_register_charges_nothing(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("water", credit_mode="platform")
    await town.side.report(meter, supply=ON)

    assert town.rows("SELECT * FROM meter_charge") == []


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

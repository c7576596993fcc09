"""Credit at zero where the platform holds it: warned, cut, given back, never stranded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from slotmeter.devices.commands import CommandKind, CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.errors import Unavailable
from slotmeter.ports import Caller, CreditView, SupplyWish, Wish
from slotmeter.services.bus import CreditChanged
from slotmeter.testing.credit_town import M3, do, pay, report, use_up, with_credit
from slotmeter.testing.device_side import DeviceTown, Script, device_town
from slotmeter.testing.small_utility import SmallMeter
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

ON, OFF = SupplyState.ON, SupplyState.OFF


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await with_credit(town, "water")


async def test_the_whole_way_down_and_back_is_on_record_with_causes(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await report(town, meter, M3 * 4 // 5)  # 4.64 left
    low = town.events(meter)
    await report(town, meter, M3)
    cut_kind = await do(town, meter, M3, OFF)
    cut_events = town.events(meter)
    await pay(town, meter, 5_000)
    restore_kind = await do(town, meter, M3, ON)

    assert low == ["low_credit"]
    assert (cut_kind, restore_kind) == ("close_valve", "open_valve")
    assert cut_events == ["low_credit", "command_queued", "supply_cut"]
    assert town.events(meter) == [*cut_events, "command_queued", "supply_restored"]
    assert town.states(meter) == [("close_valve", "verified"), ("open_valve", "verified")]
    texts = [row["text"] for row in town.rows("SELECT text FROM event WHERE kind LIKE 'supply%'")]
    assert "rule: the credit is used up" in texts[0]
    assert "rule: there is credit again" in texts[1]


async def test_nobody_is_cut_before_a_notice_is_on_record(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await report(town, meter, 2 * M3)
    warned = (town.events(meter), town.states(meter))
    await report(town, meter, 2 * M3)

    assert warned == (["credit_used_up"], [])
    assert town.states(meter) == [("close_valve", "queued")]
    routes = {row["route"] for row in town.rows("SELECT route FROM notice")}
    assert routes == {"display", "page"}


async def test_looking_again_and_again_says_nothing_new(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await use_up(town, meter)
    before = (town.events(meter), town.states(meter))
    for _ in range(3):
        await town.side.credit.evaluate_credit(meter.id)
        await town.side.credit.sweep()

    assert (town.events(meter), town.states(meter)) == before


async def test_a_payment_before_the_cut_was_sent_takes_it_back(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await use_up(town, meter)
    await pay(town, meter, 5_000)

    states = town.states(meter)
    assert states == [("close_valve", "superseded"), ("open_valve", "queued")]
    assert [each["kind"] for each in await town.side.take(meter)] == ["open_valve"]


async def test_a_payment_that_nobody_looked_at_stops_the_cut_when_it_is_taken(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await use_up(town, meter)
    await town.pay(meter, 5_000)
    await town.notice(meter)

    assert await town.side.take(meter) == []
    assert town.states(meter) == [("close_valve", "superseded")]


async def test_a_payment_while_the_cut_is_on_its_way_gives_back_after_it(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await use_up(town, meter)
    (sent,) = await town.side.take(meter)
    await pay(town, meter, 5_000)
    done = CommandResult(sent["id"], Outcome.DONE)
    await report(town, meter, M3, OFF, results=(done,))

    assert await do(town, meter, M3, ON) == "open_valve"


async def test_a_meter_that_was_cut_but_whose_answer_was_lost_is_given_back(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await use_up(town, meter)
    await town.side.take(meter)
    town.side.clock.advance(hours=2)
    await town.side.sweep.sweep()
    lost = town.states(meter)
    await report(town, meter, M3, OFF)
    await pay(town, meter, 5_000)

    assert lost == [("close_valve", "expired")]
    assert town.states(meter)[-1] == ("open_valve", "queued")


async def test_a_payment_that_does_not_reach_zero_gives_nothing_back(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await report(town, meter, 3 * M3)
    await report(town, meter, 3 * M3)
    await do(town, meter, 3 * M3, OFF)
    await pay(town, meter, 100)

    assert town.balance(meter) < 0
    assert town.states(meter) == [("close_valve", "verified")]


async def test_a_person_s_cut_is_not_undone_by_a_payment(
    town: DeviceTown, meter: SmallMeter
) -> None:
    operator = await town.utility.add_principal("operator", "operator")
    await report(town, meter, M3 * 4 // 5)
    await town.side.requests.request_command(operator, meter.number, "close_valve", "leak")
    await do(town, meter, M3 * 4 // 5, OFF)
    await pay(town, meter, 5_000)

    assert town.states(meter) == [("close_valve", "verified")]


async def test_electricity_is_cut_and_given_back_by_its_relay(town: DeviceTown) -> None:
    meter = await with_credit(town, "electricity")
    await report(town, meter, 1_000)
    await report(town, meter, 1_000)
    cut_kind = await do(town, meter, 1_000, OFF)
    await pay(town, meter, 5_000)

    assert (cut_kind, await do(town, meter, 1_000, ON)) == ("open_relay", "close_relay")


async def test_gas_stays_shut_after_payment_and_staff_are_told_once(town: DeviceTown) -> None:
    meter = await with_credit(town, "gas")
    await use_up(town, meter)
    await do(town, meter, M3, OFF)
    await pay(town, meter, 5_000)
    for _ in range(3):
        await town.side.credit.sweep()

    assert town.states(meter) == [("close_valve", "verified"), ("open_valve", "refused")]
    assert town.events(meter).count("command_refused") == 1
    assert await town.side.take(meter) == []


async def test_gas_whose_cut_was_not_sent_yet_stays_open_after_payment(town: DeviceTown) -> None:
    meter = await with_credit(town, "gas")
    await use_up(town, meter)
    await pay(town, meter, 5_000)

    assert town.states(meter)[0] == ("close_valve", "superseded")
    assert await town.side.take(meter) == []


async def test_gas_that_is_cut_again_is_told_again(town: DeviceTown) -> None:
    meter = await with_credit(town, "gas")
    await use_up(town, meter)
    await do(town, meter, M3, OFF)
    await pay(town, meter, 2_320)
    await report(town, meter, M3, ON)  # somebody at the site opened it
    await report(town, meter, 3 * M3)
    await report(town, meter, 3 * M3)
    await do(town, meter, 3 * M3, OFF)
    await pay(town, meter, 5_000)

    assert [state for kind, state in town.states(meter) if kind == "open_valve"] == [
        "refused",
        "refused",
    ]


async def test_a_refused_cut_is_shown_once_a_day_and_not_at_every_look(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.set_policy("{")
    await use_up(town, meter)
    for _ in range(3):
        await town.side.credit.sweep()
    within_a_day = town.states(meter)
    town.side.clock.advance(days=1)
    await report(town, meter, M3)

    assert within_a_day == [("close_valve", "refused")]
    assert town.states(meter) == [("close_valve", "refused")] * 2


async def test_a_critical_account_is_refused_and_keeps_its_supply(town: DeviceTown) -> None:
    until_us = town.now_us + 10**12
    meter = await town.utility.add_meter(
        "water", credit_mode="platform", critical_until_us=until_us
    )
    await report(town, meter, 0)
    await use_up(town, meter)

    assert town.states(meter) == [("close_valve", "refused")]
    assert "critical_account" in town.row("SELECT hold FROM command")["hold"]


async def test_a_cut_in_protected_hours_waits_and_a_payment_meanwhile_ends_it(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.set_policy(
        {
            "protected_hours": [
                {"days": ["mon", "tue"], "from": "18:00", "to": "08:00"},
            ]
        }
    )
    town.side.clock.set(datetime.fromisoformat("2026-03-03T18:30:00+03:00"))
    await use_up(town, meter)
    at_night = town.states(meter)
    await pay(town, meter, 5_000)

    assert at_night == [("close_valve", "held")]
    assert town.states(meter)[0] == ("close_valve", "superseded")


async def test_a_cut_in_protected_hours_comes_when_they_end(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.set_policy({"protected_hours": [{"days": ["tue"], "from": "18:00", "to": "08:00"}]})
    town.side.clock.set(datetime.fromisoformat("2026-03-03T18:30:00+03:00"))
    await use_up(town, meter)
    town.side.clock.set(datetime.fromisoformat("2026-03-04T08:00:01+03:00"))
    await town.side.sweep.sweep()

    assert await do(town, meter, M3, OFF) == "close_valve"


async def test_meters_of_one_account_share_its_credit(town: DeviceTown) -> None:
    meter = await with_credit(town, "water")
    second = await town.utility.add_meter("electricity", credit_mode="platform")
    await _move_to_account_of(town, second, meter)
    await town.side.report(second, {"energy_import": 0}, supply=ON)
    await use_up(town, meter)
    cut = (town.states(meter), town.states(second))
    await pay(town, meter, 5_000)

    assert cut == ([("close_valve", "queued")], [("open_relay", "queued")])
    assert town.states(second)[-1] == ("close_relay", "queued")


async def _move_to_account_of(town: DeviceTown, meter: SmallMeter, other: SmallMeter) -> None:
    town.rows(
        "UPDATE supply_point SET account_id ="
        " (SELECT account_id FROM supply_point WHERE id = ?) WHERE id = ?",
        other.supply_point_id,
        meter.supply_point_id,
    )


async def test_a_sweep_makes_good_what_a_crash_left_undone(
    town: DeviceTown, meter: SmallMeter
) -> None:
    # The reading took effect; the process died before anybody looked at the credit.
    await town.side.report(meter, {"volume": 2 * M3}, supply=ON)
    looked = await town.side.credit.sweep()
    await town.side.credit.sweep()

    assert looked == 1
    assert town.states(meter) == [("close_valve", "queued")]


async def test_a_sweep_goes_through_more_meters_than_it_reads_at_once(
    town: DeviceTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.services.credit.SWEEP_METERS", 2)
    meters = [await town.utility.add_meter("water", credit_mode="platform") for _ in range(5)]
    for each in meters:
        await town.side.report(each, {"volume": 0}, supply=ON)

    assert await town.side.credit.sweep() == 5
    assert len(town.rows("SELECT DISTINCT meter_id FROM notice")) == 5


async def test_meters_that_hold_their_credit_are_left_alone(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("electricity")
    await town.side.report(meter, {"credit_balance": 0}, supply=ON)
    await town.side.credit.after_payment(meter.id)
    await town.side.credit.evaluate_credit(10**6)

    assert await town.side.credit.sweep() == 0
    assert town.events(meter) == []


async def test_a_meter_without_a_device_is_left_alone(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("water", credit_mode="platform", online=False)

    await town.side.credit.after_payment(meter.id)

    assert town.events(meter) == []


async def test_what_a_meter_cannot_do_is_not_asked_of_it(tmp_path: Path) -> None:
    script = Script(commands=frozenset({CommandKind.READ_NOW}))
    async with device_town(tmp_path, RULES.credit_control, script) as town:
        meter = await with_credit(town, "water")
        await use_up(town, meter)

        assert town.states(meter) == []
        assert town.events(meter) == ["credit_used_up"]


async def test_a_payment_stands_although_looking_at_it_failed(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_meter_id: int) -> None:
        raise Unavailable("database_busy", "no")

    monkeypatch.setattr(town.side.credit, "evaluate_credit", fail)
    with town.side.bus.subscribe(CreditChanged) as wakes:
        await town.side.credit.after_payment(meter.id)

        assert await wakes.next(1) == (CreditChanged(meter.id),)


async def test_credit_control_runs_when_it_is_woken(town: DeviceTown, meter: SmallMeter) -> None:
    await report(town, meter, 2 * M3)  # warned
    seen = asyncio.Event()
    original = town.side.credit._rule

    def rule(view: CreditView) -> SupplyWish:
        wish = original(view)
        if wish.wish is Wish.NOTHING and view.cut_pending:
            seen.set()
        return wish

    town.side.credit._rule = rule
    task = asyncio.create_task(town.side.credit.run())
    try:
        async with asyncio.timeout(10):
            while not seen.is_set():
                town.side.bus.publish(CreditChanged(meter.id))
                await asyncio.sleep(0)
    finally:
        task.cancel()

    assert town.states(meter) == [("close_valve", "queued")]


async def test_what_changed_between_look_and_decision_is_decided_anew(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await report(town, meter, 2 * M3)  # warned; the next look would cut
    original = town.side.uow.read

    async def read_and_then_it_is_paid(reads: Any) -> Any:
        rows = await original(reads)
        if any(read.statement == "control_facts" for read in reads):
            monkeypatch.setattr(town.side.uow, "read", original)
            await town.pay(meter, 50_000)
        return rows

    monkeypatch.setattr(town.side.uow, "read", read_and_then_it_is_paid)
    await town.side.credit.evaluate_credit(meter.id)

    assert town.states(meter) == []


async def test_a_program_that_asks_is_named_in_the_act(town: DeviceTown, meter: SmallMeter) -> None:
    robot = await town.utility.add_principal("robot", "operator", kind="service")
    await town.side.requests.request_command(_from(robot), meter.number, "read_now", "why")

    assert town.row("SELECT address FROM act")["address"] == "10.0.0.9"


def _from(caller: Caller) -> Caller:
    return replace(caller, address="10.0.0.9")


async def test_a_meter_that_was_taken_down_is_left_alone(
    town: DeviceTown, meter: SmallMeter
) -> None:
    town.rows("UPDATE installation SET to_us = from_us WHERE meter_id = ?", meter.id)
    await report(town, meter, 9 * M3)
    await report(town, meter, 9 * M3)

    assert town.states(meter) == []
    assert await town.side.credit.sweep() == 0

"""Commands that people ask for, the limit of cuts and the second person, protected hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from slotmeter.devices.commands import CommandKind, CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.errors import NotAllowed, NotFound, Refused
from slotmeter.ports import Caller
from slotmeter.services.bus import CommandsChanged, EventsRecorded
from slotmeter.testing.command_town import cut, cuttable, log_of
from slotmeter.testing.device_side import DeviceTown, Script, device_town
from slotmeter.testing.small_utility import SmallMeter
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

ON, OFF = SupplyState.ON, SupplyState.OFF
NIGHTS = {
    "protected_hours": [
        {
            "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
            "from": "18:00",
            "to": "08:00",
        }
    ]
}


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    """A meter that may be cut: heard just now, warned, its credit known."""
    return await cuttable(town)


@pytest.fixture
async def supervisor(town: DeviceTown) -> Caller:
    return await town.utility.add_principal("supervisor", "supervisor")


def codes(command: dict[str, Any]) -> list[str]:
    return [cause["code"] for cause in command["causes"]]


# --- what people ask ----------------------------------------------------------------------------


async def test_an_operator_s_cut_goes_out_and_is_verified_by_the_meter_s_own_report(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    command = await cut(town, operator, meter)
    (taken,) = await town.side.take(meter)
    done = CommandResult(command["id"], Outcome.DONE)
    await town.side.report(meter, supply=ON, results=(done,))
    not_yet = town.states(meter)
    await town.side.report(meter, supply=OFF)

    assert taken == {"id": command["id"], "kind": "open_relay", "token": None}
    assert not_yet == [("open_relay", "acknowledged")]
    assert log_of(town, command) == ["queued", "sent", "acknowledged", "verified"]
    assert town.events(meter) == ["command_queued", "supply_cut"]
    data = town.row("SELECT text FROM event WHERE kind = 'supply_cut'")
    assert "person: unpaid" in data["text"]


async def test_every_request_is_an_act_with_who_and_why(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    await cut(town, operator, meter)

    act = town.row("SELECT * FROM act")
    assert (act["what"], act["subject"]) == ("command.request", f"meter:{meter.number}")
    assert (act["principal_id"], act["reason"]) == (operator.principal.id, "unpaid")


async def test_a_request_wakes_whoever_listens(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    with town.side.bus.subscribe(CommandsChanged, EventsRecorded) as wakes:
        await cut(town, operator, meter)

        woken = await wakes.next(1)

    assert woken == (CommandsChanged(meter.device_id or 0), EventsRecorded())


async def test_the_same_request_again_is_the_same_command(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    first = await cut(town, operator, meter)
    again = await cut(town, operator, meter)

    assert again["id"] == first["id"]
    assert len(town.states(meter)) == 1
    assert len(town.rows("SELECT * FROM act")) == 2


async def test_a_refused_cut_is_a_command_with_all_its_causes(
    town: DeviceTown, operator: Caller
) -> None:
    silent = await town.utility.add_meter("electricity")

    command = await cut(town, operator, silent)

    assert command["state"] == "refused"
    assert codes(command) == ["stale_reading", "unknown_balance", "no_notice"]
    assert town.events(silent) == ["command_refused"]
    assert await town.side.take(silent) == []
    refused = town.side.count("slotmeter_cuts_refused_total", code="no_notice")
    assert refused == 1


async def test_a_critical_account_is_never_cut(town: DeviceTown, operator: Caller) -> None:
    until_us = town.now_us + 86_400_000_000
    meter = await town.utility.add_meter("electricity", critical_until_us=until_us)
    await town.side.report(meter, {"credit_balance": 0}, supply=ON)
    await town.notice(meter)

    assert codes(await cut(town, operator, meter)) == ["critical_account"]


async def test_a_notice_before_the_last_payment_does_not_count(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    town.side.clock.advance(seconds=1)
    await town.sale(meter, 100, "none")

    assert codes(await cut(town, operator, meter)) == ["no_notice"]


async def test_a_person_may_state_safety_and_it_is_on_record(
    town: DeviceTown, operator: Caller
) -> None:
    silent = await town.utility.add_meter("gas")

    command = await cut(town, operator, silent, safety=True)

    assert command["state"] == "queued"
    assert len(await town.side.take(silent)) == 1
    assert '"safety":true' in town.row("SELECT data FROM act")["data"]


async def test_a_program_cannot_state_safety(town: DeviceTown) -> None:
    robot = await town.utility.add_principal("robot", "operator", kind="service")
    silent = await town.utility.add_meter("gas")

    with pytest.raises(NotAllowed) as refused:
        await cut(town, robot, silent, safety=True)

    assert refused.value.code == "person_needed"
    assert town.states(silent) == []


async def test_a_program_cuts_nobody_who_has_credit_left(
    town: DeviceTown, meter: SmallMeter
) -> None:
    robot = await town.utility.add_principal("robot", "operator", kind="service")

    command = await cut(town, robot, meter)

    assert (command["state"], codes(command)) == ("refused", ["credit_left"])


async def test_a_program_s_cut_is_taken_back_when_there_is_credit_before_it_is_sent(
    town: DeviceTown, meter: SmallMeter
) -> None:
    robot = await town.utility.add_principal("robot", "operator", kind="service")
    await town.side.report(meter, {"credit_balance": 0}, supply=ON)
    command = await cut(town, robot, meter)
    await town.side.report(meter, {"credit_balance": 7}, supply=ON)

    assert (command["state"], command["cause"]) == ("queued", "service")
    assert await town.side.take(meter) == []
    assert town.states(meter) == [("open_relay", "superseded")]


async def test_safety_is_for_cuts_only(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    with pytest.raises(Refused) as refused:
        await town.side.requests.request_command(
            operator, meter.number, "close_relay", "why", safety=True
        )

    assert refused.value.code == "safety_is_for_cuts"


async def test_gas_is_not_opened_from_afar(town: DeviceTown, operator: Caller) -> None:
    meter = await cuttable(town, "gas")

    command = await town.side.requests.request_command(operator, meter.number, "open_valve", "paid")

    assert command["state"] == "refused"
    assert codes(command) == ["gas_needs_person_at_site"]


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        ("close_valve", "why", "kind_does_not_fit"),
        ("load_token", "why", "kind_unknown"),
        ("explode", "why", "kind_unknown"),
        ("read_now", "  ", "reason_missing"),
        ("read_now", "x" * 201, "reason_too_long"),
    ],
)
async def test_a_request_that_cannot_be_meant_is_refused(
    town: DeviceTown, meter: SmallMeter, operator: Caller, kind: str, reason: str, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await town.side.requests.request_command(operator, meter.number, kind, reason)

    assert refused.value.code == code
    assert town.states(meter) == []


async def test_a_meter_that_is_not_there_is_unknown(town: DeviceTown, operator: Caller) -> None:
    with pytest.raises(NotFound):
        await town.side.requests.request_command(operator, "000", "read_now", "why")


async def test_a_meter_that_nothing_reaches_takes_no_commands(
    town: DeviceTown, operator: Caller
) -> None:
    meter = await town.utility.add_meter("electricity", online=False)

    with pytest.raises(Refused) as refused:
        await town.side.requests.request_command(operator, meter.number, "read_now", "why")

    assert refused.value.code == "meter_not_connected"


async def test_a_command_that_the_driver_does_not_know_is_refused(
    tmp_path: Path, script: Script
) -> None:
    script.commands = frozenset({CommandKind.LOAD_TOKEN})
    async with device_town(tmp_path, RULES.credit_control, script) as town:
        meter = await town.utility.add_meter("electricity")
        operator = await town.utility.add_principal("operator", "operator")
        with pytest.raises(Refused) as refused:
            await town.side.requests.request_command(operator, meter.number, "read_now", "why")

    assert refused.value.code == "kind_unsupported"


async def test_a_right_is_needed_to_ask_and_another_to_confirm(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    with pytest.raises(NotAllowed):
        await cut(town, town.seller, meter)
    with pytest.raises(NotAllowed):
        await town.side.requests.confirm(operator, 1, "why")


async def test_a_meter_of_another_utility_is_unknown(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    stranger = replace(operator, principal=replace(operator.principal, utility_id=10**6))

    with pytest.raises(NotFound):
        await cut(town, stranger, meter)


# --- the limit of cuts and the second person ----------------------------------------------------


@pytest.fixture
async def held(town: DeviceTown, meter: SmallMeter, operator: Caller) -> dict[str, Any]:
    """A cut beyond the one that this utility allows in an hour."""
    await town.set_policy({"cuts_per_hour": 1})
    await cut(town, operator, await cuttable(town))
    return await cut(town, operator, meter)


async def test_more_cuts_than_the_hour_allows_wait_for_a_second_person(
    town: DeviceTown, meter: SmallMeter, held: dict[str, Any], supervisor: Caller
) -> None:
    waiting = await town.side.take(meter)
    confirmed = await town.side.requests.confirm(supervisor, held["id"], "checked the list")

    assert (held["state"], codes(held)) == ("held", ["cut_limit"])
    assert waiting == []
    assert (confirmed["state"], confirmed["confirmed"]) == ("queued", True)
    assert len(await town.side.take(meter)) == 1
    assert log_of(town, held) == ["held", "queued", "sent"]
    acts = [row["what"] for row in town.rows("SELECT what FROM act ORDER BY id")]
    assert acts[-1] == "command.confirm"


async def test_who_asked_cannot_agree(
    town: DeviceTown, held: dict[str, Any], operator: Caller, supervisor: Caller
) -> None:
    same = replace(
        operator, principal=replace(operator.principal, rights=supervisor.principal.rights)
    )

    with pytest.raises(NotAllowed) as refused:
        await town.side.requests.confirm(same, held["id"], "why")

    assert refused.value.code == "second_person_needed"


async def test_a_program_cannot_agree(town: DeviceTown, held: dict[str, Any]) -> None:
    robot = await town.utility.add_principal("robot", "supervisor", kind="service")

    with pytest.raises(NotAllowed) as refused:
        await town.side.requests.confirm(robot, held["id"], "why")

    assert refused.value.code == "person_needed"


async def test_a_command_is_agreed_to_once(
    town: DeviceTown, held: dict[str, Any], supervisor: Caller
) -> None:
    await town.side.requests.confirm(supervisor, held["id"], "why")

    with pytest.raises(Refused) as refused:
        await town.side.requests.confirm(supervisor, held["id"], "why")

    assert refused.value.code == "nothing_to_confirm"


async def test_a_command_that_is_not_there_cannot_be_agreed_to(
    town: DeviceTown, supervisor: Caller
) -> None:
    with pytest.raises(NotFound):
        await town.side.requests.confirm(supervisor, 999, "why")


async def test_a_confirmed_cut_does_not_use_up_the_hour_of_others(
    town: DeviceTown, meter: SmallMeter, held: dict[str, Any], supervisor: Caller, operator: Caller
) -> None:
    await town.set_policy({"cuts_per_hour": 2})
    await town.side.requests.confirm(supervisor, held["id"], "why")

    third = await cut(town, operator, await cuttable(town))

    assert third["state"] == "queued"


async def test_a_cut_beyond_the_hour_goes_by_itself_when_the_hour_has_passed(
    town: DeviceTown, meter: SmallMeter, held: dict[str, Any]
) -> None:
    town.side.clock.advance(seconds=61)
    await town.side.sweep.sweep()
    within = town.states(meter)
    town.side.clock.advance(hours=1)
    await town.side.sweep.sweep()

    assert within == [("open_relay", "held")]
    assert town.states(meter) == [("open_relay", "queued")]


# --- protected hours ----------------------------------------------------------------------------


async def test_a_cut_at_night_waits_for_the_morning(town: DeviceTown, operator: Caller) -> None:
    await town.set_policy(NIGHTS)
    evening = datetime.fromisoformat("2026-03-03T18:30:00+03:00")  # Nairobi
    town.side.clock.set(evening)
    meter = await cuttable(town)
    command = await cut(town, operator, meter)
    town.side.clock.set(datetime.fromisoformat("2026-03-04T07:59:00+03:00"))
    await town.side.sweep.sweep()
    early = town.states(meter)
    town.side.clock.set(datetime.fromisoformat("2026-03-04T08:00:00+03:00"))
    await town.side.sweep.sweep()

    assert command["causes"][0]["until"] == "2026-03-04T05:00:00.000000Z"
    assert early == [("open_relay", "held")]
    assert town.states(meter) == [("open_relay", "queued")]


async def test_a_cut_queued_by_day_is_held_when_it_is_taken_at_night(
    town: DeviceTown, operator: Caller
) -> None:
    await town.set_policy(NIGHTS)
    town.side.clock.set(datetime.fromisoformat("2026-03-03T17:59:00+03:00"))
    meter = await cuttable(town)
    command = await cut(town, operator, meter)
    town.side.clock.set(datetime.fromisoformat("2026-03-03T18:00:00+03:00"))
    taken = await town.side.take(meter)

    assert command["state"] == "queued"
    assert taken == []
    assert town.states(meter) == [("open_relay", "held")]


async def test_a_held_cut_whose_reading_grew_old_is_refused_in_the_end(
    town: DeviceTown, operator: Caller
) -> None:
    await town.set_policy({"holidays": ["2026-03-03", "2026-03-04"]})
    town.side.clock.set(datetime.fromisoformat("2026-03-03T10:00:00+03:00"))
    meter = await cuttable(town)
    await cut(town, operator, meter)
    town.side.clock.set(datetime.fromisoformat("2026-03-05T00:00:00+03:00"))
    await town.side.sweep.sweep()

    assert town.states(meter) == [("open_relay", "refused")]
    assert "stale_reading" in town.row("SELECT hold FROM command")["hold"]


async def test_a_policy_that_cannot_be_read_lets_nobody_be_cut(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    await town.set_policy("{")

    assert codes(await cut(town, operator, meter)) == ["policy_unreadable"]


async def test_a_meter_that_belongs_to_no_account_is_not_cut(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    _change(town, "UPDATE installation SET to_us = from_us WHERE meter_id = ?", meter)

    assert codes(await cut(town, operator, meter)) == ["meter_not_installed"]


async def test_a_meter_that_was_removed_takes_no_commands(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    _change(town, "UPDATE meter SET state = 'removed' WHERE id = ?", meter)

    with pytest.raises(Refused) as refused:
        await cut(town, operator, meter)

    assert refused.value.code == "meter_removed"


def _change(town: DeviceTown, sql: str, meter: SmallMeter) -> None:
    town.rows(sql, meter.id)

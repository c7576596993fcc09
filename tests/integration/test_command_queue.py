"""What media take from the command queue, and what time does to what waits in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slotmeter.devices.commands import CommandKind, CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.ports import Caller, Changes, Update
from slotmeter.services.command_rows import ATTEMPTS_MAX
from slotmeter.testing.command_town import cut, cuttable, log_of
from slotmeter.testing.device_side import DeviceTown, Script, device_town
from slotmeter.testing.small_utility import SmallMeter
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

ON, OFF = SupplyState.ON, SupplyState.OFF


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    """A meter that may be cut: heard just now, warned, its credit known."""
    return await cuttable(town)


async def ask(town: DeviceTown, caller: Caller, meter: SmallMeter, kind: str) -> dict[str, Any]:
    return await town.side.requests.request_command(caller, meter.number, kind, "why")


# --- what media take ----------------------------------------------------------------------------


async def test_an_unknown_device_is_given_nothing(town: DeviceTown) -> None:
    assert await town.side.queue.take("nobody") is None


async def test_a_poll_with_nothing_due_writes_nothing(
    town: DeviceTown, meter: SmallMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise AssertionError("a poll with nothing due made a commit")

    monkeypatch.setattr(town.side.uow, "run", fail)

    assert await town.side.queue.take(str(meter.address)) is None


async def test_contacts_are_written_together_and_at_most_once_a_minute(
    town: DeviceTown, meter: SmallMeter
) -> None:
    other = await cuttable(town)
    town.side.clock.advance(seconds=61)
    for each in (meter, other, meter):
        await town.side.take(each)
    first = await town.side.contacts.flush()
    town.side.clock.advance(seconds=30)
    await town.side.take(meter)
    within = await town.side.contacts.flush()
    town.side.clock.advance(seconds=31)
    await town.side.take(meter)

    assert (first, within, await town.side.contacts.flush()) == (2, 0, 1)
    row = town.row("SELECT last_contact_us FROM device WHERE meter_id = ?", meter.id)
    assert row["last_contact_us"] == town.now_us


async def test_a_contact_never_goes_back_in_time(town: DeviceTown, meter: SmallMeter) -> None:
    town.side.contacts.heard(meter.device_id or 0, town.now_us - 5)
    await town.side.contacts.flush()

    row = town.row("SELECT last_contact_us FROM device WHERE meter_id = ?", meter.id)
    assert row["last_contact_us"] == town.now_us


async def test_giving_back_goes_before_tokens_and_tokens_before_reading(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    await ask(town, operator, meter, "read_now")
    await town.sell_token(meter, 50, tid=9)
    await ask(town, operator, meter, "close_relay")

    taken = await town.side.take(meter, limit=3)

    assert [each["kind"] for each in taken] == ["close_relay", "load_token", "read_now"]


async def test_a_device_takes_no_more_than_it_asked_for(
    town: DeviceTown, meter: SmallMeter
) -> None:
    for tid in (7, 8, 9):
        await town.sell_token(meter, 50, tid=tid)

    assert len(await town.side.take(meter, limit=2)) == 2


async def test_nothing_goes_to_a_device_while_a_message_to_it_is_in_flight(
    town: DeviceTown, meter: SmallMeter
) -> None:
    ids = [(await town.sell_token(meter, 50, tid=tid))[1] for tid in (7, 8, 9)]
    await town.side.take(meter, limit=2)
    in_flight = await town.side.take(meter, limit=2)
    await town.side.report(meter, results=(CommandResult(ids[0], Outcome.DONE, 7),))
    half_answered = await town.side.take(meter)
    await town.side.report(meter, results=(CommandResult(ids[1], Outcome.DONE, 8),))
    answered = await town.side.take(meter)

    assert (in_flight, half_answered) == ([], [])
    assert [each["id"] for each in answered] == [ids[2]]


async def test_meters_behind_one_node_share_the_one_message_in_flight(town: DeviceTown) -> None:
    first, second = [await town.utility.add_meter("electricity") for _ in range(2)]
    _, one = await town.sell_token(first, 50, tid=7)
    _, two = await town.sell_token(second, 50, tid=8)
    # The first is a meter and the node of the second at once.
    town.rows("UPDATE device SET node_id = ? WHERE meter_id = ?", first.device_id, second.id)
    taken = await town.side.take(first)
    meanwhile = await town.side.take(second)
    await town.side.report(first, results=(CommandResult(one, Outcome.DONE, 7),))

    assert [each["id"] for each in taken] == [one]
    assert meanwhile == []
    assert [each["id"] for each in await town.side.take(second)] == [two]


async def test_a_reading_that_was_asked_for_is_verified_by_the_report(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    command = await ask(town, operator, meter, "read_now")
    await town.side.take(meter)
    done = CommandResult(command["id"], Outcome.DONE)
    await town.side.report(meter, {"energy_import": 7}, results=(done,))

    assert log_of(town, command) == ["queued", "sent", "acknowledged", "verified"]


async def test_a_command_that_the_meter_does_not_do_fails_with_its_word(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    command = await cut(town, operator, meter)
    await town.side.take(meter)
    await town.side.report(meter, results=(CommandResult(command["id"], Outcome.REJECTED),))

    assert town.row("SELECT state, result FROM command") == {
        "state": "failed",
        "result": "rejected",
    }
    assert "command_failed" in town.events(meter)


async def test_a_device_whose_driver_is_gone_waits(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    await cut(town, operator, meter)
    town.side.drivers.clear()

    assert await town.side.take(meter) == []
    assert town.states(meter) == [("open_relay", "queued")]
    assert town.side.count("slotmeter_commands_deferred_total", code="driver_missing") == 1


async def test_a_token_that_the_driver_cannot_carry_is_refused_and_its_sale_told(
    tmp_path: Path, script: Script
) -> None:
    script.commands = frozenset({CommandKind.READ_NOW})
    async with device_town(tmp_path, RULES.credit_control, script) as town:
        meter = await town.utility.add_meter("electricity")
        await town.sell_token(meter, 50, tid=9)

        assert await town.side.take(meter) == []
        assert town.states(meter) == [("load_token", "refused")]
        assert town.row("SELECT delivery FROM sale")["delivery"] == "failed"


async def test_a_restoring_command_waits_for_supply_to_come_back(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    command = await ask(town, operator, meter, "close_relay")
    await town.side.take(meter)
    done = CommandResult(command["id"], Outcome.DONE)
    await town.side.report(meter, supply=OFF, results=(done,))
    waiting = town.states(meter)
    await town.side.report(meter, supply=ON)

    assert waiting == [("close_relay", "acknowledged")]
    assert town.states(meter) == [("close_relay", "verified")]
    assert town.events(meter)[-1] == "supply_restored"


async def test_a_cut_that_came_between_look_and_lease_waits_its_turn(
    town: DeviceTown, meter: SmallMeter, operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.sell_token(meter, 50, tid=9)
    original = town.side.uow.read

    async def read_and_then_a_cut_is_queued(reads: Any) -> Any:
        rows = await original(reads)
        monkeypatch.setattr(town.side.uow, "read", original)
        await cut(town, operator, meter)
        return rows

    monkeypatch.setattr(town.side.uow, "read", read_and_then_a_cut_is_queued)

    (load,) = await town.side.take(meter, limit=5)
    await town.side.report(meter, results=(CommandResult(load["id"], Outcome.DONE, 9),))

    assert load["kind"] == "load_token"
    assert [each["kind"] for each in await town.side.take(meter, limit=5)] == ["open_relay"]


# --- what time does -----------------------------------------------------------------------------


async def test_a_command_without_an_answer_is_sent_again(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    first_us = town.now_us
    town.side.clock.advance(seconds=59)
    await town.side.sweep.sweep()
    too_early = await town.side.take(meter)
    town.side.clock.advance(seconds=1)
    await town.side.sweep.sweep(old_too=False)
    again = await town.side.take(meter)

    assert too_early == []
    assert [each["id"] for each in again] == [command_id]
    assert town.row("SELECT attempts FROM command")["attempts"] == 2
    row = town.row("SELECT sent_us, delivery FROM sale WHERE id = ?", sale_row_id)
    assert row == {"sent_us": first_us, "delivery": "sent"}
    assert town.events(meter).count("token_sent") == 1


async def test_a_command_that_was_tried_enough_has_failed(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    await town.side.requests.request_command(operator, meter.number, "read_now", "why")
    for _ in range(ATTEMPTS_MAX[CommandKind.READ_NOW]):
        await town.side.take(meter)
        town.side.clock.advance(seconds=60)
        await town.side.sweep.sweep()

    assert town.row("SELECT state, result FROM command") == {
        "state": "failed",
        "result": "no_answer",
    }
    assert town.events(meter)[-1] == "command_failed"


async def test_a_cut_that_finds_no_meter_within_the_hour_expires(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    await cut(town, operator, meter)
    town.side.clock.advance(hours=1)
    taken = await town.side.take(meter)
    await town.side.sweep.sweep()

    assert taken == []
    assert town.states(meter) == [("open_relay", "expired")]


async def test_a_token_that_was_typed_has_arrived_although_its_command_expires(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sale_row_id, _ = await town.sell_token(meter, 50, tid=9)
    await _mark_typed(town)
    town.side.clock.advance(days=31)
    await town.side.sweep.sweep()

    row = town.row("SELECT delivery FROM sale WHERE id = ?", sale_row_id)
    assert row["delivery"] == "already_used"


async def _mark_typed(town: DeviceTown) -> None:
    token = town.row("SELECT id, utility_id FROM token")
    step = Update(
        "ingest_token_accept",
        {
            "of_utility": token["utility_id"],
            "of_token": token["id"],
            "to_accepted_by": "keypad",
            "to_accepted_us": town.now_us,
        },
    )
    await town.side.uow.run([], lambda _rows, _new_id: Changes(None, [step]))


async def test_what_the_meter_called_done_but_never_showed_has_failed(
    town: DeviceTown, meter: SmallMeter, operator: Caller
) -> None:
    command = await cut(town, operator, meter)
    await town.side.take(meter)
    done = CommandResult(command["id"], Outcome.DONE)
    await town.side.report(meter, supply=ON, results=(done,))
    town.side.clock.advance(days=1)
    await town.side.sweep.sweep()

    assert town.row("SELECT state, result FROM command") == {
        "state": "failed",
        "result": "unproven",
    }


async def test_a_sweep_with_nothing_to_do_moves_nothing(town: DeviceTown) -> None:
    assert await town.side.sweep.sweep() == 0

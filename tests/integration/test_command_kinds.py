"""Commands that set something: what they say, when they are verified, what replaces them."""

from __future__ import annotations

from typing import Any

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.errors import Refused
from slotmeter.ports import Caller
from slotmeter.services.cell_limits import CellLimit
from slotmeter.services.intents import NOT_AS_ASKED, REPEATS_MAX
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases

ON, OFF = SupplyState.ON, SupplyState.OFF


@pytest.fixture
async def operator(town: DeviceTown) -> Caller:
    return await town.utility.add_principal("operator", "operator")


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await cuttable(town, "electricity")


@pytest.fixture
async def valve(town: DeviceTown) -> SmallMeter:
    return await cuttable(town, "water")


async def cuttable(town: DeviceTown, commodity: str) -> SmallMeter:
    meter = await town.utility.add_meter(commodity)
    await town.side.report(meter, {"credit_balance": 5, "credit_total": 5}, supply=ON)
    await town.notice(meter)
    return meter


async def ask(
    town: DeviceTown, operator: Caller, meter: SmallMeter, kind: str, **says: Any
) -> dict[str, Any]:
    return await town.side.requests.request_command(operator, meter.number, kind, "why", **says)


async def do(town: DeviceTown, meter: SmallMeter, **shows: Any) -> dict[str, Any]:
    """The meter takes what is due, does it, and reports what it shows then."""
    (taken,) = await town.side.take(meter)
    await answer(town, meter, taken["id"], **shows)
    return taken


async def answer(town: DeviceTown, meter: SmallMeter, command_id: int, **shows: Any) -> None:
    town.side.clock.advance(seconds=1)
    done = CommandResult(command_id, Outcome.DONE)
    await town.side.report(meter, shows.pop("readings", {}), results=(done,), **shows)


# --- what they may say --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "says", "code"),
    [
        ("set_load_limit", {}, "value_wrong"),
        ("set_load_limit", {"value": -1}, "value_wrong"),
        ("set_load_limit", {"value": 299}, "load_limit_too_low"),
        ("set_load_limit", {"value": 300, "text": "x"}, "text_wrong"),
        ("set_clock", {"value": 5}, "value_wrong"),
        ("set_tariff", {}, "text_wrong"),
        ("set_tariff", {"text": "night"}, "text_wrong"),
        ("set_credit_mode", {"text": "free"}, "text_wrong"),
        ("read_now", {"value": 0}, "value_wrong"),
    ],
)
async def test_a_command_that_says_what_its_kind_does_not_is_refused(
    town: DeviceTown, operator: Caller, meter: SmallMeter, kind: str, says: Any, code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await ask(town, operator, meter, kind, **says)

    assert caught.value.code == code
    assert town.states(meter) == []


@pytest.mark.parametrize("value", [-1, 101, None])
async def test_a_valve_opens_by_1_to_100_percent(
    town: DeviceTown, operator: Caller, valve: SmallMeter, value: int | None
) -> None:
    with pytest.raises(Refused, match="1 to 100"):
        await ask(town, operator, valve, "set_valve", value=value)


async def test_a_valve_set_to_nothing_is_a_cut_and_passes_the_gate(
    town: DeviceTown, operator: Caller, valve: SmallMeter
) -> None:
    town.side.clock.advance(hours=25)
    made = await ask(town, operator, valve, "set_valve", value=0)

    assert (made["kind"], made["state"]) == ("close_valve", "refused")
    assert "stale_reading" in str(made["causes"])


async def test_a_gas_valve_is_not_opened_a_little_either(
    town: DeviceTown, operator: Caller
) -> None:
    gas = await cuttable(town, "gas")
    made = await ask(town, operator, gas, "set_valve", value=1)

    assert made["state"] == "refused"
    assert "gas_needs_person_at_site" in str(made["causes"])


async def test_a_meter_without_credit_is_not_put_on_prepaid(
    town: DeviceTown, operator: Caller
) -> None:
    empty = await town.utility.add_meter("electricity")
    await town.side.report(empty, {"credit_balance": 0, "credit_total": 5}, supply=ON)
    with pytest.raises(Refused) as caught:
        await ask(town, operator, empty, "set_credit_mode", text="prepaid")

    assert caught.value.code == "credit_mode_would_cut"
    assert (await ask(town, operator, empty, "set_credit_mode", text="postpaid"))["state"] == (
        "queued"
    )


async def test_prepaid_that_was_asked_with_credit_is_not_handed_out_when_the_credit_is_gone(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    await ask(town, operator, meter, "set_credit_mode", text="prepaid")
    town.side.clock.advance(seconds=60)
    await town.side.report(meter, {"credit_balance": 0, "credit_total": 5}, supply=ON)

    assert await town.side.take(meter) == []
    assert town.states(meter) == [("set_credit_mode", "refused")]
    assert "credit_mode_would_cut" in town.row("SELECT hold FROM command")["hold"]


# --- the meter's own report ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "says", "wrong", "right"),
    [
        ("set_load_limit", {"value": 3_000}, {"load_limit": 2_000}, {"load_limit": 3_000}),
        ("set_tariff", {"text": "4"}, {"tariff": 3}, {"tariff": 4}),
        ("set_credit_mode", {"text": "postpaid"}, {"credit_mode": 0}, {"credit_mode": 1}),
    ],
)
async def test_a_setting_is_verified_when_the_meter_shows_it_and_not_before(
    town: DeviceTown, operator: Caller, meter: SmallMeter, kind: str, says: Any, wrong: Any,
    right: Any,
) -> None:  # fmt: skip
    await ask(town, operator, meter, kind, **says)
    await do(town, meter, readings=wrong)
    before = town.states(meter)
    town.side.clock.advance(seconds=1)
    await town.side.report(meter, right)

    assert before == [(kind, "acknowledged")]
    assert town.states(meter) == [(kind, "verified")]


async def test_a_reading_that_was_asked_for_is_verified_by_readings_and_not_by_an_answer(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    await ask(town, operator, meter, "read_now")
    await do(town, meter)
    answered = town.states(meter)
    town.side.clock.advance(seconds=1)
    await town.side.report(meter, {"energy_import": 7})

    assert answered == [("read_now", "acknowledged")]
    assert town.states(meter) == [("read_now", "verified")]


async def test_a_clock_is_given_the_time_of_its_handing_out_and_proven_by_it(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    await town.side.report(meter, at=town.later(seconds=600), supply=ON)
    await ask(town, operator, meter, "set_clock")
    town.side.clock.advance(seconds=30)
    (taken,) = await town.side.take(meter)
    given_us = town.now_us
    # Its clock was ten minutes ahead: now its reports look older than the last one.
    await answer(town, meter, taken["id"], supply=OFF)

    assert taken["value"] == given_us // 1_000_000
    assert town.states(meter) == [("set_clock", "verified")]
    assert town.row("SELECT supply FROM device WHERE meter_id = ?", meter.id)["supply"] == "off"


# --- what takes their place ---------------------------------------------------------------------


async def test_a_newer_setting_takes_the_place_of_an_older_one_and_the_same_is_not_doubled(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    first = await ask(town, operator, meter, "set_load_limit", value=3_000)
    again = await ask(town, operator, meter, "set_load_limit", value=3_000)
    await ask(town, operator, meter, "set_tariff", text="2")
    await ask(town, operator, meter, "set_load_limit", value=5_000)

    assert again["id"] == first["id"]
    assert town.states(meter) == [
        ("set_load_limit", "superseded"),
        ("set_tariff", "queued"),
        ("set_load_limit", "queued"),
    ]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (("set_valve", 30), ("close_valve", None)),
        (("close_valve", None), ("set_valve", 30)),
        (("open_valve", None), ("set_valve", 30)),
        (("set_valve", 30), ("open_valve", None)),
        (("set_valve", 30), ("set_valve", 60)),
    ],
)
async def test_the_newest_word_on_a_valve_counts(
    town: DeviceTown, operator: Caller, valve: SmallMeter, older: Any, newer: Any
) -> None:
    for kind, value in (older, newer):
        await ask(town, operator, valve, kind, value=value)

    assert town.states(valve) == [(older[0], "superseded"), (newer[0], "queued")]


# --- contacts and cells -------------------------------------------------------------------------


async def test_a_command_waits_for_the_contact_that_is_expected_and_goes_with_it(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    expected_us = town.now_us + 3_600_000_000
    town.rows("UPDATE device SET expected_us = ? WHERE meter_id = ?", expected_us, meter.id)
    made = await ask(town, operator, meter, "read_now")
    sale = await town.sell_token(meter, 50, tid=9)
    before = town.states(meter)
    await town.side.sweep.sweep()
    waiting = town.states(meter)
    town.side.clock.advance(seconds=3_601)
    await town.side.sweep.sweep()

    assert (made["state"], made["expected_at"]) == ("waiting", "2026-01-01T01:00:00.000000Z")
    assert before == [("read_now", "waiting"), ("load_token", "queued")]
    assert waiting == [("read_now", "waiting"), ("load_token", "waiting")]
    assert town.states(meter) == [("read_now", "expired"), ("load_token", "queued")]
    assert [each["id"] for each in await town.side.take(meter)] == [sale[1]]


async def test_a_cell_that_is_full_hands_out_nothing_but_giving_back(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    other = await cuttable(town, "electricity")
    town.side.queue.limit_cells(CellLimit(per_minute=1, burst=1))
    town.side.clock.advance(seconds=60)  # a cell begins with nothing
    await ask(town, operator, meter, "read_now")
    await ask(town, operator, other, "read_now")
    first = await town.side.queue.take(str(meter.address), cell="north")
    full = await town.side.queue.take(str(other.address), cell="north")
    elsewhere = await town.side.queue.take(str(other.address), cell="south")
    third = await cuttable(town, "electricity")
    await ask(town, operator, third, "close_relay")
    giving = await town.side.queue.take(str(third.address), cell="north")

    assert first is not None
    assert full is None
    assert elsewhere is not None
    assert giving is not None
    cells = town.rows("SELECT cell FROM command ORDER BY id")
    assert [row["cell"] for row in cells] == ["north", "south", "north"]


# --- late copies --------------------------------------------------------------------------------


async def test_supply_that_an_old_cut_took_after_it_was_given_back_is_given_back_again(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    await ask(town, operator, meter, "open_relay")
    await town.side.take(meter)  # and the network keeps it
    await ask(town, operator, meter, "close_relay")
    await do(town, meter, supply=ON)
    town.side.clock.advance(seconds=100)
    await town.side.report(meter, supply=OFF)

    assert town.states(meter) == [
        ("open_relay", "superseded"),
        ("close_relay", "verified"),
        ("close_relay", "queued"),
    ]


async def test_a_meter_that_cuts_by_itself_is_left_alone(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    await ask(town, operator, meter, "close_relay")
    await do(town, meter, supply=ON)
    town.side.clock.advance(seconds=100)
    await town.side.report(meter, supply=OFF)

    assert town.states(meter) == [("close_relay", "verified")]


async def test_a_cut_that_an_old_giving_back_undid_passes_the_gate_again(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    await ask(town, operator, meter, "close_relay")
    await town.side.take(meter)
    await ask(town, operator, meter, "open_relay")
    await do(town, meter, supply=OFF)
    await town.set_policy({"cuts_per_hour": 0})
    town.side.clock.advance(seconds=100)
    await town.side.report(meter, supply=ON)

    assert town.states(meter)[1:] == [("open_relay", "verified"), ("open_relay", "held")]


async def test_a_setting_that_an_old_one_undid_is_set_again_and_a_person_told_in_the_end(
    town: DeviceTown, operator: Caller, meter: SmallMeter
) -> None:
    await ask(town, operator, meter, "set_load_limit", value=3_000)
    await town.side.take(meter)
    await ask(town, operator, meter, "set_load_limit", value=5_000)
    await do(town, meter, readings={"load_limit": 5_000})
    for _ in range(REPEATS_MAX):
        town.side.clock.advance(seconds=10)
        await town.side.report(meter, {"load_limit": 3_000})
        await do(town, meter, readings={"load_limit": 5_000})
    made = len(town.states(meter))
    town.side.clock.advance(seconds=10)
    await town.side.report(meter, {"load_limit": 3_000})

    assert made == 2 + REPEATS_MAX
    assert len(town.states(meter)) == made
    assert NOT_AS_ASKED in town.events(meter)


# --- credit -------------------------------------------------------------------------------------


async def test_a_token_whose_first_answer_was_lost_is_proven_by_the_credit(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    for _ in range(2):
        await town.side.take(meter)
        town.side.clock.advance(seconds=60)
        await town.side.sweep.sweep()
    used = CommandResult(command_id, Outcome.ALREADY_USED, 9)
    await town.side.report(meter, {"credit_total": 55}, results=(used,))

    assert town.states(meter) == [("load_token", "verified")]
    assert town.row("SELECT delivery FROM sale WHERE id = ?", sale_row_id)["delivery"] == "verified"


async def test_a_token_that_was_doubled_on_its_way_leaves_no_credit_unexplained(
    town: DeviceTown, meter: SmallMeter
) -> None:
    _, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    # The first copy was taken, and its result overwritten by that of the second.
    used = CommandResult(command_id, Outcome.ALREADY_USED, 9)
    await town.side.report(meter, {"credit_total": 55}, results=(used,))

    assert town.states(meter) == [("load_token", "superseded")]
    assert town.row("SELECT delivery FROM sale")["delivery"] == "already_used"
    assert town.row("SELECT state FROM token")["state"] == "accepted"
    assert town.rows("SELECT kind FROM alarm WHERE cleared_us IS NULL") == []


async def test_credit_that_does_not_rise_in_time_is_an_exception_until_it_does(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.set_policy({"credit_proof_hours": 2})
    _, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    await answer(town, meter, command_id, readings={"credit_total": 5})
    town.side.clock.advance(hours=2)
    await town.side.sweep.sweep()
    raised = town.rows("SELECT kind FROM alarm WHERE cleared_us IS NULL ORDER BY kind")
    await town.side.report(meter, {"credit_total": 55})

    assert [row["kind"] for row in raised] == ["credit_mismatch", "credit_unproven"]
    assert town.rows("SELECT kind FROM alarm WHERE cleared_us IS NULL") == []
    assert town.states(meter) == [("load_token", "verified")]

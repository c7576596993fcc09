"""What reports prove of sales, and what registers cost: each exactly once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import Entity, SupplyState
from slotmeter.devices.frames import (
    TokenEntry,
)
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter, tariff_document

pytestmark = pytest.mark.both_databases

ON = SupplyState.ON


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter("electricity")


def device(town: DeviceTown, meter: SmallMeter) -> dict[str, Any]:
    return town.row("SELECT * FROM device WHERE meter_id = ?", meter.id)


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


async def test_a_token_within_the_baseline_leaves_later_tokens_to_be_proven(
    town: DeviceTown, meter: SmallMeter
) -> None:
    first, one = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    told = (CommandResult(one, Outcome.DONE, tid=9, amount=50),)
    await town.side.report(meter, {"credit_total": 700}, results=told)
    town.side.clock.advance(seconds=1)
    await town.side.report(meter, {"credit_total": 700})
    second, two = await town.sell_token(meter, 30, tid=10)
    await town.side.take(meter)
    told = (CommandResult(two, Outcome.DONE, tid=10, amount=30),)
    await town.side.report(meter, {"credit_total": 730}, results=told)

    assert town.rows("SELECT * FROM alarm") == []
    assert [sale(town, each)["delivery"] for each in (first, second)] == ["accepted", "verified"]
    assert device(town, meter)["credit_proven"] == 730


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
    assert town.states(meter) == [("load_token", "superseded")]
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


async def test_a_given_up_token_that_the_meter_calls_used_has_arrived(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"credit_total": 0})
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    for _ in range(2):  # the answer to the first delivery is lost, that to the second comes late
        await town.side.take(meter)
        town.side.clock.advance(seconds=60)
        await town.side.sweep.sweep()
    town.side.clock.advance(days=31)
    await town.side.sweep.sweep()
    given_up = sale(town, sale_row_id)["delivery"]
    used = CommandResult(command_id, Outcome.ALREADY_USED, 9)
    await town.side.report(meter, {"credit_total": 50}, results=(used,))

    assert given_up == "failed"
    assert sale(town, sale_row_id)["delivery"] == "verified"
    assert town.row("SELECT accepted_by FROM token")["accepted_by"] == "delivery"
    assert town.rows("SELECT kind FROM alarm WHERE cleared_us IS NULL") == []


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


async def test_a_cut_that_was_given_up_but_done_is_told_with_its_cause(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, supply=ON)
    command_id = await town.insert(
        "command",
        {
            **{"meter_id": meter.id, "device_id": meter.device_id, "kind": "open_relay"},
            **{"cause": "rule", "reason": "no credit", "priority": 5, "state": "superseded"},
            **{"attempts": 1, "not_before_us": 0, "expires_us": 0, "created_us": 0},
        },
    )
    done = CommandResult(command_id, Outcome.DONE)
    await town.side.report(meter, supply=SupplyState.OFF, results=(done,))
    await town.side.report(meter, supply=SupplyState.OFF, results=(done,))

    assert town.events(meter) == ["supply_cut"]
    assert '"cause":"rule"' in town.row("SELECT data FROM event")["data"]
    assert town.states(meter) == [("open_relay", "superseded")]


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


async def test_what_stepped_prices_round_is_booked_at_every_report(town: DeviceTown) -> None:
    stepped = {
        "tariff": "stepped",
        "title": "Stepped",
        "commodity": "electricity",
        "currency": "KES",
        "energy": {"label": "Energy", "price": "20.1234567"},
        "taxes": {"vat": {"label": "VAT", "percent": "16", "on": ["energy"]}},
        "rounding": {"price_step": "0.01"},
    }
    await town.utility.add_tariff(stepped)
    meter = await town.utility.add_meter(credit_mode="platform", tariff="stepped")
    await town.pay(meter, 1_000_000)
    for register in (0, 100_000, 150_000):
        town.side.clock.advance(days=1)
        await town.side.report(meter, {"energy_import": register})

    # 23.3432097 is 23.34 with VAT: 150 of them, though energy and VAT alone come to 48 cents more.
    assert town.balance(meter) == 1_000_000 - 350_100
    rounding = town.row("SELECT balance_minor FROM ledger_account WHERE code = 'rounding'")
    assert rounding == {"balance_minor": 48}


async def test_meter_held_credit_is_never_charged(town: DeviceTown, meter: SmallMeter) -> None:
    await town.side.report(meter, {"energy_import": 1_000})
    await town.side.report(meter, {"energy_import": 9_000})

    assert town.rows("SELECT * FROM meter_charge") == []
    assert town.rows("SELECT * FROM journal") == []


async def test_a_register_that_rolls_over_is_charged_for_what_it_counted(town: DeviceTown) -> None:
    ((key, driver),) = town.side.drivers.items()
    one_digit = Entity("volume", "m³", wrap=10_000_000)
    town.side.drivers[key] = replace(driver, entities=(one_digit,))
    meter = await town.utility.add_meter("water", credit_mode="platform")
    await town.side.report(meter, {"volume": 9_000_000})
    await town.side.report(meter, {"volume": 1_000_000})

    (charge,) = town.rows("SELECT start_register, register, charged_minor FROM meter_charge")
    assert (charge["start_register"], charge["register"]) == (9_000_000, 11_000_000)
    assert town.balance(meter) == -charge["charged_minor"] < 0
    assert device(town, meter)["register"] == 1_000_000
    assert town.rows("SELECT * FROM alarm") == []


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


async def test_a_register_that_no_use_explains_is_alarmed_and_charged_to_nobody(
    town: DeviceTown,
) -> None:
    meter = await town.utility.add_meter("water", credit_mode="platform")
    await town.side.report(meter, {"volume": 1_000_000})
    segment = town.row("SELECT register, charged_minor, charged_us FROM meter_charge")
    town.side.clock.advance(seconds=900)
    await town.side.report(meter, {"volume": 2**52})
    town.side.clock.advance(days=30)
    await town.side.report(meter, {"volume": 2**52})
    raised = town.row("SELECT kind, cleared_us FROM alarm")
    untouched = town.row("SELECT register, charged_minor, charged_us FROM meter_charge")
    await town.side.report(meter, {"volume": 2_000_000})

    assert raised == {"kind": "implausible_register", "cleared_us": None}
    assert untouched == segment
    assert town.balance(meter) == -2_320
    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] is not None
    assert town.row("SELECT doubted_register AS at FROM meter_charge")["at"] is None


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


@pytest.mark.parametrize(
    ("commodity", "own", "other"),
    [
        ("water", "volume", "energy_import"),
        ("gas", "volume", "energy_import"),
        ("electricity", "energy_import", "volume"),
    ],
)
async def test_the_register_of_another_commodity_is_alarmed_and_never_charged(
    town: DeviceTown, commodity: str, own: str, other: str
) -> None:
    meter = await town.utility.add_meter(commodity, credit_mode="platform")
    await town.side.report(meter, {own: 1_000})
    await town.side.report(meter, {other: 9_000})
    raised = town.row("SELECT kind, cleared_us FROM alarm")
    register = device(town, meter)["register"]
    await town.side.report(meter, {own: 1_500})

    assert raised == {"kind": "wrong_register", "cleared_us": None}
    assert register == 1_000
    assert town.row("SELECT cleared_us FROM alarm")["cleared_us"] is not None
    assert town.row("SELECT register FROM meter_charge")["register"] == 1_500


async def test_credit_in_the_unit_of_another_commodity_proves_nothing(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("water")
    await town.side.report(meter, {"volume": 5, "credit_total": 100})
    await town.side.report(meter, {"energy_import": 5, "credit_total": 170})

    assert [row["kind"] for row in town.rows("SELECT kind FROM alarm")] == ["wrong_register"]
    assert device(town, meter)["credit_total"] == 100


async def test_a_report_without_a_register_charges_nothing(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("water", credit_mode="platform")
    await town.side.report(meter, supply=ON)

    assert town.rows("SELECT * FROM meter_charge") == []


async def test_a_refusal_that_comes_after_its_command_was_given_up_is_ignored(
    town: DeviceTown, meter: SmallMeter
) -> None:
    sale_row_id, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    town.side.clock.advance(days=31)
    await town.side.sweep.sweep()
    await town.side.report(meter, results=(CommandResult(command_id, Outcome.OLD_TOKEN),))

    assert sale(town, sale_row_id)["delivery"] == "failed"
    assert town.side.count("slotmeter_ignored_items_total", code="repeated_result") == 1

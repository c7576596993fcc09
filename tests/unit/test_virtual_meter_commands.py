"""The virtual meter and the platform: commands, news until it is acknowledged, state on disk."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from slotmeter.devices.commands import CommandKind, CommandOut, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEventKind
from slotmeter.errors import Refused
from slotmeter.testing import CreditMode, Household, VirtualMeter
from slotmeter.testing.sample_meters import (
    MAKER,
    START,
    cut_kind,
    holder,
    kinds,
    obedient,
    restore_kind,
)
from slotmeter.units import Commodity

COMMODITIES = list(Commodity)


# --- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("commodity", ["electricity", "water"])
def test_a_platform_held_meter_obeys_cut_and_restore(commodity: str) -> None:
    meter = obedient(commodity)

    cut = meter.execute(CommandOut(1, cut_kind(commodity)))
    off = meter.supply
    meter.run_to(START + timedelta(days=1))
    back = meter.execute(CommandOut(2, restore_kind(commodity)))

    assert (cut.outcome, off, meter.register) == (Outcome.DONE, SupplyState.OFF, 0)
    assert (back.outcome, meter.supply) == (Outcome.DONE, SupplyState.ON)


def test_a_platform_held_meter_never_cuts_itself() -> None:
    meter = obedient("water")

    meter.run_to(START + timedelta(days=60))

    assert (meter.supply, meter.credit, meter.has_news) == (SupplyState.ON, None, False)


@pytest.mark.parametrize("credit", [0, 10_000_000])
def test_a_gas_valve_is_never_opened_from_afar(credit: int) -> None:
    meter = holder("gas", credit)
    meter.execute(CommandOut(1, CommandKind.CLOSE_VALVE))

    result = meter.execute(CommandOut(2, CommandKind.OPEN_VALVE))

    assert result.outcome is (Outcome.UNSUPPORTED if credit else Outcome.REJECTED)
    assert meter.supply is (SupplyState.ARMED if credit else SupplyState.OFF)


def test_credit_does_not_undo_a_cut_by_the_utility() -> None:
    meter = holder("electricity", 5_000)
    meter.execute(CommandOut(1, CommandKind.OPEN_RELAY))

    meter.type_token(MAKER.credit(meter, 100, at=START))

    assert meter.supply is SupplyState.OFF
    assert "OFF" in meter.display


@pytest.mark.parametrize("commodity", ["electricity", "water", "gas"])
def test_a_meter_without_credit_is_not_restored_by_command(commodity: str) -> None:
    meter = holder(commodity, 0)

    result = meter.execute(CommandOut(1, restore_kind(commodity)))

    assert (result.outcome, meter.supply) == (Outcome.REJECTED, SupplyState.OFF)


@pytest.mark.parametrize(
    ("commodity", "kind"),
    [
        ("electricity", CommandKind.CLOSE_VALVE),
        ("water", CommandKind.OPEN_RELAY),
        ("gas", CommandKind.CLOSE_RELAY),
    ],
)
def test_a_command_for_another_kind_of_meter_is_not_supported(
    commodity: str, kind: CommandKind
) -> None:
    meter = holder(commodity, 9_000_000)

    result = meter.execute(CommandOut(1, kind))

    assert (result.outcome, meter.supply) == (Outcome.UNSUPPORTED, SupplyState.ON)


def test_a_command_that_comes_again_acts_once_and_answers_the_same() -> None:
    meter = holder()
    load = CommandOut(9, CommandKind.LOAD_TOKEN, MAKER.credit(meter, 100, at=START))
    first = meter.execute(load)

    again = meter.execute(load)

    assert again == first
    assert (first.outcome, first.amount, meter.credit_total) == (Outcome.DONE, 10_000, 10_000)


def test_a_late_repeat_of_a_cut_does_not_undo_the_restoration_that_followed() -> None:
    meter = obedient("electricity")
    meter.execute(CommandOut(1, CommandKind.OPEN_RELAY))
    meter.execute(CommandOut(2, CommandKind.CLOSE_RELAY))

    meter.execute(CommandOut(1, CommandKind.OPEN_RELAY))

    assert meter.supply is SupplyState.ON


# --- news ---------------------------------------------------------------------------------------


def test_news_is_repeated_until_the_report_that_carried_it_was_acknowledged() -> None:
    meter = holder()
    meter.open_cover()
    lost, second = meter.report(), meter.report()
    meter.restart()

    meter.acknowledge(second)

    assert lost.events == second.events
    assert second.sequence == lost.sequence + 1
    assert kinds(meter) == [DeviceEventKind.RESTARTED]


def test_what_does_not_fit_one_report_follows_in_the_next() -> None:
    meter = holder()
    for number in range(20):
        meter.execute(CommandOut(number, CommandKind.READ_NOW))
    first = meter.report()
    meter.acknowledge(first)

    second = meter.report()

    told = [result.command_id for report in (first, second) for result in report.results]
    assert told == list(range(20))


def test_news_without_end_loses_the_oldest_and_says_so() -> None:
    meter = holder()
    for _ in range(100):
        meter.restart()

    assert meter.news_lost == 4


# --- state --------------------------------------------------------------------------------------


@pytest.mark.parametrize("commodity", COMMODITIES)
def test_a_meter_goes_on_after_its_state_went_through_json(commodity: Commodity) -> None:
    meter = holder(commodity, 900_000)
    digits = MAKER.credit(meter, 100, at=START)
    meter.execute(CommandOut(3, CommandKind.LOAD_TOKEN, digits))
    meter.run_to(START + timedelta(hours=5))
    meter.open_cover()

    revived = VirtualMeter.from_dict(json.loads(json.dumps(meter.to_dict())))

    assert revived.to_dict() == meter.to_dict()
    assert revived.type_token(digits).outcome is Outcome.ALREADY_USED
    for each in (meter, revived):
        each.run_to(START + timedelta(days=2))
    assert revived.register == meter.register


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"number": ""}, "bad_meter_number"),
        ({"number": "12 34"}, "bad_meter_number"),
        ({"opening_credit": 1}, "bad_opening_credit"),
        ({"credit_mode": "meter"}, "meter_needs_keys"),
        ({"decoder_key": MAKER.decoder_key(MAKER.number(1))}, "meter_takes_no_keys"),
    ],
)
def test_a_meter_that_could_not_exist_is_refused(changes: dict[str, Any], code: str) -> None:
    plan: dict[str, Any] = {
        "number": "1",
        "commodity": "water",
        "credit_mode": CreditMode.PLATFORM,
        "household": Household(seed=1),
        "made_at": START,
    }

    with pytest.raises(Refused) as refusal:
        VirtualMeter.create(**{**plan, **changes})

    assert refusal.value.code == code


def test_a_report_never_shows_a_key_or_a_token() -> None:
    meter = holder()
    digits = MAKER.credit(meter, 100, at=START)
    meter.type_token(digits)

    said = repr(meter.report())

    assert digits not in said
    assert MAKER.decoder_key(meter.number).key.hex() not in said

"""The virtual meter: credit, supply, tokens, commands and news, by the meter's own time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices.commands import CommandKind, CommandOut, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEventKind
from slotmeter.errors import Refused
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

HOUR = timedelta(hours=1)
COMMODITIES = list(Commodity)
BASE_UNITS = {Commodity.ELECTRICITY: 100, Commodity.WATER: 100_000, Commodity.GAS: 100_000}


# --- time and use -------------------------------------------------------------------------------


@given(
    commodity=st.sampled_from(COMMODITIES),
    steps_s=st.lists(st.integers(1, 40_000), min_size=1, max_size=8),
    credit=st.integers(0, 30_000_000),
)
def test_living_in_many_steps_gives_the_same_as_living_in_one(
    commodity: Commodity, steps_s: list[int], credit: int
) -> None:
    stepwise, at_once = holder(commodity, credit), holder(commodity, credit)
    for second in range(len(steps_s)):
        stepwise.run_to(START + timedelta(seconds=sum(steps_s[: second + 1])))

    at_once.run_to(START + timedelta(seconds=sum(steps_s)))

    assert stepwise.to_dict() == at_once.to_dict()


def test_larger_households_use_more() -> None:
    used = []
    for people in (1, 3, 6):
        meter = MAKER.meter(17, "water", made_at=START, opening_credit=10**9, people=people)
        meter.run_to(START + timedelta(days=7))
        used.append(meter.register)

    assert used == sorted(used)
    assert used[2] > 2 * used[0]


@pytest.mark.parametrize(
    ("commodity", "low", "high"),
    [("electricity", 5_000, 12_000), ("water", 250_000, 500_000), ("gas", 1_500_000, 3_500_000)],
)
def test_three_people_use_a_plausible_amount_in_a_day(commodity: str, low: int, high: int) -> None:
    meter = holder(commodity, 10**9)

    meter.run_to(START + timedelta(days=30))

    assert low < meter.register // 30 < high


def test_a_meters_time_does_not_run_back() -> None:
    meter = holder()
    meter.run_to(START + HOUR)

    with pytest.raises(ValueError, match="does not run back"):
        meter.run_to(START)


# --- credit, exactly ----------------------------------------------------------------------------

acts = st.one_of(
    st.tuples(st.just("live"), st.integers(1, 100_000)),
    st.tuples(st.just("token"), st.integers(1, 300)),
    st.tuples(st.just("again"), st.just(0)),
    st.tuples(st.just("clear"), st.just(0)),
    st.tuples(st.just("cut"), st.just(0)),
    st.tuples(st.just("restore"), st.just(0)),
    st.tuples(st.just("confirm"), st.just(0)),
)


@given(
    commodity=st.sampled_from(COMMODITIES),
    opening=st.integers(0, 20_000_000),
    plan=st.lists(acts, max_size=25),
)
def test_opening_credit_plus_accepted_minus_cleared_minus_used_is_what_is_left(
    commodity: Commodity, opening: int, plan: list[tuple[str, int]]
) -> None:
    meter, accepted, last = holder(commodity, opening), 0, ""
    for number, (act, amount) in enumerate(plan):
        before, was_on = meter.register, meter.supply is SupplyState.ON
        token_minute = START + timedelta(minutes=number + 2)
        match act:
            case "live":
                meter.run_to(meter.at + timedelta(seconds=amount))
                assert was_on or meter.register == before
            case "token":
                last = MAKER.credit(meter, amount, at=token_minute)
                accepted += meter.type_token(last).amount
                assert meter.credit_total == accepted
            case "again":
                assert last == "" or meter.type_token(last).amount == 0
            case "clear":
                meter.type_token(MAKER.clear_credit(meter, at=token_minute))
            case "cut":
                meter.execute(CommandOut(number, cut_kind(commodity)))
            case "restore":
                meter.execute(CommandOut(number, restore_kind(commodity)))
            case "confirm":
                meter.confirm_at_site()

    assert meter.credit is not None
    assert meter.credit >= 0
    assert opening + accepted - meter.credit_cleared - meter.register == meter.credit
    assert meter.supply is not SupplyState.ON or meter.credit > 0


def test_credit_runs_out_at_an_exact_moment_and_not_one_unit_later() -> None:
    meter = holder("electricity", 1_000)

    meter.run_to(START + timedelta(days=1))

    events = {event.kind: event.at for event in meter.report().events}
    cut_at = events[DeviceEventKind.SUPPLY_CUT]
    assert (meter.credit, meter.register, meter.supply) == (0, 1_000, SupplyState.OFF)
    assert START < cut_at == events[DeviceEventKind.CREDIT_USED_UP] < START + timedelta(days=1)
    just_before = holder("electricity", 1_000)
    just_before.run_to(cut_at - timedelta(microseconds=1))
    assert (just_before.credit, just_before.supply) == (1, SupplyState.ON)


def test_the_warning_comes_before_the_cut_and_shows_on_the_display() -> None:
    meter = holder("electricity", 8_000)
    while not meter.has_news:
        meter.run_to(meter.at + timedelta(minutes=1))

    assert kinds(meter) == [DeviceEventKind.LOW_CREDIT]
    assert "LOW CREDIT" in meter.display
    assert meter.supply is SupplyState.ON


@pytest.mark.parametrize("commodity", ["electricity", "water"])
def test_credit_brings_electricity_and_water_back_by_itself(commodity: str) -> None:
    meter = holder(commodity, 0)

    meter.type_token(MAKER.credit(meter, 100, at=START))

    assert meter.supply is SupplyState.ON
    assert kinds(meter) == [DeviceEventKind.SUPPLY_RESTORED]


def test_credit_only_arms_a_gas_meter_until_somebody_confirms_at_the_site() -> None:
    meter = holder("gas", 0)
    meter.type_token(MAKER.credit(meter, 100, at=START))
    meter.run_to(START + timedelta(days=1))
    armed, used, shown = meter.supply, meter.register, meter.display

    confirmed = meter.confirm_at_site()

    assert (armed, used) == (SupplyState.ARMED, 0)
    assert "PRESS TO OPEN" in shown
    assert confirmed
    assert meter.supply is SupplyState.ON


@pytest.mark.parametrize(
    ("commodity", "credit", "shown"),
    [
        ("electricity", 42_309, "CREDIT 42.30 kWh"),
        ("electricity", 9, "CREDIT 0.00 kWh"),
        ("water", 1_234_999, "CREDIT 1.234 m³"),
    ],
)
def test_the_display_never_shows_more_than_there_is(
    commodity: str, credit: int, shown: str
) -> None:
    assert holder(commodity, credit).display.splitlines()[0] == shown


def test_the_display_shows_what_was_accepted_for_half_a_minute() -> None:
    meter = holder()
    meter.type_token(MAKER.credit(meter, 123, at=START))
    at_once = meter.display.splitlines()[-1]

    meter.run_to(START + timedelta(seconds=31))

    assert at_once == "ACCEPTED 12.30 kWh"
    assert "ACCEPTED" not in meter.display


# --- tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("commodity", COMMODITIES)
def test_a_token_adds_its_amount_once(commodity: Commodity) -> None:
    meter = holder(commodity, 0)
    digits = MAKER.credit(meter, 123, at=START)

    first, second = meter.type_token(digits), meter.type_token(digits)

    assert (first.outcome, first.amount) == (Outcome.DONE, 123 * BASE_UNITS[commodity])
    assert (second.outcome, second.amount, second.tid) == (Outcome.ALREADY_USED, 0, first.tid)
    assert meter.credit == 123 * BASE_UNITS[commodity]


def test_a_token_typed_by_hand_is_already_used_when_it_is_delivered_later() -> None:
    meter = holder()
    digits = MAKER.credit(meter, 100, at=START)
    meter.type_token(digits)

    result = meter.execute(CommandOut(5, CommandKind.LOAD_TOKEN, digits))

    assert (result.outcome, result.amount) == (Outcome.ALREADY_USED, None)
    assert meter.credit_total == 10_000


def test_a_token_for_another_meter_is_rejected() -> None:
    meter, other = holder(), MAKER.meter(18, "electricity", made_at=START)

    entry = meter.type_token(MAKER.credit(other, 100, at=START))

    assert (entry.outcome, meter.credit) == (Outcome.REJECTED, 0)
    assert "REJECTED" in meter.display


def test_a_token_from_before_the_meter_was_made_is_old() -> None:
    meter = holder()

    entry = meter.type_token(MAKER.credit(meter, 100, at=START - timedelta(days=400)))

    assert entry.outcome is Outcome.OLD_TOKEN


@pytest.mark.parametrize("typed", ["", "1", "x" * 20, "1" * 21, "٣" * 20])
def test_digits_that_are_no_token_are_rejected(typed: str) -> None:
    assert holder().type_token(typed).outcome is Outcome.REJECTED


def test_people_may_type_groups_of_four() -> None:
    meter = holder()
    digits = MAKER.credit(meter, 5, at=START)
    grouped = " ".join(digits[i : i + 4] for i in range(0, 20, 4))

    assert meter.type_token(grouped).outcome is Outcome.DONE


def test_a_key_change_waits_for_its_second_token_however_long() -> None:
    meter = holder()
    first, second = MAKER.key_change(meter, ti=2)
    waiting = meter.type_token(first)
    meter.run_to(START + timedelta(days=1))

    done = meter.type_token(second)

    assert (waiting.outcome, done.outcome) == (Outcome.WAITING, Outcome.DONE)
    assert meter.type_token(MAKER.credit(meter, 5, at=START)).outcome is Outcome.REJECTED


def test_a_meter_without_keypad_refuses_to_be_typed_on() -> None:
    with pytest.raises(Refused, match="takes no tokens"):
        obedient("water").type_token("1" * 20)


# --- tamper -------------------------------------------------------------------------------------


def test_the_tamper_condition_outlives_the_open_cover_and_a_token_clears_it() -> None:
    meter = holder()
    meter.open_cover()
    meter.close_cover()
    tampered, shown = meter.tamper, meter.display

    meter.type_token(MAKER.clear_tamper(meter, at=START))

    assert tampered
    assert "TAMPER" in shown
    assert not meter.tamper
    assert kinds(meter) == [DeviceEventKind.TAMPER, DeviceEventKind.TAMPER_CLEARED]


def test_tamper_cannot_be_cleared_while_the_cover_is_open() -> None:
    meter = obedient("electricity")
    meter.open_cover()

    assert not meter.clear_tamper()
    assert meter.tamper

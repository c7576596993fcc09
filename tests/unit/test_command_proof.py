"""What a report must show before a command counts as verified."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slotmeter.devices import octets
from slotmeter.devices.commands import CREDIT_MODES, CommandKind, CommandOut
from slotmeter.devices.driver_checks import problems_of
from slotmeter.devices.entities import REGISTERS, SupplyState
from slotmeter.services.command_proof import CLOCK_US_MAX, Shown, shown_by
from slotmeter.units import Commodity

NOTHING = Shown(supply=None, tamper=None, readings={}, measured_us=0, received_us=10**15)
ON, OFF, ARMED = SupplyState.ON, SupplyState.OFF, SupplyState.ARMED


def is_proven(
    kind: str, *, value: int | None = None, text: str | None = None, **shows: Any
) -> bool:
    command = {"kind": kind, "value": value, "text": text}
    return shown_by(command, replace(NOTHING, **shows)) is not None


@pytest.mark.parametrize("kind", [kind for kind in CommandKind if kind != CommandKind.LOAD_TOKEN])
def test_a_report_that_tells_nothing_proves_nothing(kind: CommandKind) -> None:
    assert not is_proven(kind.value, value=1, text="1")


@pytest.mark.parametrize(
    ("kind", "proofs"),
    [
        ("open_relay", {OFF}),
        ("close_valve", {OFF}),
        ("close_relay", {ON, ARMED}),
        ("open_valve", {ON, ARMED}),
    ],
)
def test_supply_is_proven_by_its_state(kind: str, proofs: set[SupplyState]) -> None:
    assert {each for each in SupplyState if is_proven(kind, supply=each)} == proofs


def test_a_valve_is_proven_where_it_stands() -> None:
    found = [is_proven("set_valve", value=40, readings={"valve_position": at}) for at in range(101)]

    assert [at for at, proven in enumerate(found) if proven] == [38, 39, 40, 41, 42]


def test_a_load_limit_is_proven_by_its_register_also_when_it_is_none() -> None:
    assert is_proven("set_load_limit", value=0, readings={"load_limit": 0})
    assert not is_proven("set_load_limit", value=3_000, readings={"load_limit": 3_001})


def test_a_tariff_is_proven_by_its_number() -> None:
    assert is_proven("set_tariff", text="07", readings={"tariff": 7})
    assert not is_proven("set_tariff", text="7", readings={"tariff": 8})


def test_a_credit_mode_is_proven_by_its_place_in_the_list() -> None:
    assert is_proven("set_credit_mode", text="prepaid", readings={"credit_mode": 0})
    assert is_proven("set_credit_mode", text="postpaid", readings={"credit_mode": 1})
    assert not is_proven("set_credit_mode", text="postpaid", readings={"credit_mode": 0})
    assert not is_proven("set_credit_mode", text="postpaid", readings={"credit_mode": 9})


@pytest.mark.parametrize("text", CREDIT_MODES)
def test_a_credit_mode_is_proven_by_the_number_that_the_vocabulary_has_for_it(text: str) -> None:
    number = REGISTERS["credit_mode"].amount(text)

    assert is_proven("set_credit_mode", text=text, readings={"credit_mode": number})


# A meter whose numbers are not the platform's: 1 is prepaid, and tariff 1 is 0x11.
OWN_NUMBERS = octets.driver(
    octets.frame(
        3,
        octets.Mark(0, b"S"),
        octets.Field("credit_mode", 1, 1, "code", codes={1: "prepaid", 0: "postpaid"}),
        octets.Field("tariff", 2, 1, "code", codes={0x11: 1, 0x12: 2}),
    ),
    octets.CommandLayout(
        {
            CommandKind.SET_CREDIT_MODE: (1, octets.Word({"prepaid": 1, "postpaid": 0})),
            CommandKind.SET_TARIFF: (2, octets.Word({"1": 0x11, "2": 0x12})),
        }
    ),
    key="own_numbers",
    maker="Acme",
    model="Own",
    medium="ip",
    commodities=frozenset({Commodity.WATER}),
    examples=(
        octets.Example("set", "m", b"S\x01\x12", {"credit_mode": "prepaid", "tariff": "2 code"}),
    ),
)


@pytest.mark.parametrize(
    ("kind", "text", "other"),
    [
        (CommandKind.SET_CREDIT_MODE, "prepaid", "postpaid"),
        (CommandKind.SET_CREDIT_MODE, "postpaid", "prepaid"),
        (CommandKind.SET_TARIFF, "1", "2"),
        (CommandKind.SET_TARIFF, "2", "1"),
    ],
)
def test_a_meter_with_numbers_of_its_own_proves_what_it_was_told_and_nothing_else(
    kind: CommandKind, text: str, other: str
) -> None:
    _, told = OWN_NUMBERS.encode((CommandOut(1, kind, text=text),))
    state = {CommandKind.SET_CREDIT_MODE: 0, CommandKind.SET_TARIFF: 0x11, kind: told}

    report = OWN_NUMBERS.decode("m", b"S" + bytes(state.values()))

    readings = {each.register: each.value for each in report.readings}
    assert is_proven(kind.value, text=text, readings=readings)
    assert not is_proven(kind.value, text=other, readings=readings)


def test_a_driver_whose_examples_show_no_setting_that_it_is_told_is_refused() -> None:
    silent = replace(
        OWN_NUMBERS,
        examples=(octets.Example("set", "m", b"S\x01\x12", {}),),
    )

    texts = [problem.text for problem in problems_of(silent)]

    assert problems_of(OWN_NUMBERS) == ()
    assert "set_credit_mode is verified by credit_mode, and no example states it" in texts
    assert "set_tariff is verified by tariff, and no example states it" in texts


@pytest.mark.parametrize(
    ("off_us", "proven"),
    [(0, True), (CLOCK_US_MAX, True), (-CLOCK_US_MAX, True), (CLOCK_US_MAX + 1, False)],
)
def test_a_clock_is_proven_by_the_time_of_the_report(off_us: int, proven: bool) -> None:
    assert is_proven("set_clock", measured_us=10**15 + off_us) is proven


def test_a_tamper_condition_is_gone_when_the_meter_says_so() -> None:
    assert is_proven("clear_tamper", tamper=False)
    assert not is_proven("clear_tamper", tamper=True)

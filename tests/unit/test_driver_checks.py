"""Every rule of drivers refuses what it is there for, and says what it expected and got."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest

from slotmeter.devices import octets
from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult, Outcome
from slotmeter.devices.driver_checks import problems_of
from slotmeter.devices.drivers import CommandExample, Driver, Example
from slotmeter.devices.entities import Entity, SupplyState
from slotmeter.devices.frames import (
    DeviceEvent,
    DeviceEventKind,
    Reading,
    Report,
    SlotReport,
    TokenEntry,
)
from slotmeter.errors import FrameError, Refused
from slotmeter.units import Commodity

AT = datetime(2026, 9, 21, 12, 0, tzinfo=UTC)
FIVE = Example("five", "m", b"B\x05", {"battery": "5 %"})
LAYOUT = octets.CommandLayout(
    {
        CommandKind.READ_NOW: 1,
        CommandKind.SET_LOAD_LIMIT: (2, octets.Amount(2)),
        CommandKind.SET_CREDIT_MODE: (3, octets.Word({"prepaid": 1, "postpaid": 0})),
        CommandKind.LOAD_TOKEN: (4, octets.Digits()),
    },
    id_octets=1,
)
GOOD = octets.driver(
    octets.frame(2, octets.Mark(0, b"B"), octets.Field("battery", 1, 1, "%")),
    LAYOUT,
    key="good",
    maker="Acme",
    model="Good",
    medium="ip",
    commodities=frozenset({Commodity.ELECTRICITY}),
    examples=(FIVE,),
    command_examples=(CommandExample("read", (CommandOut(5, CommandKind.READ_NOW),), b"\x01\x05"),),
)


def with_(**changes: Any) -> Driver:
    return replace(GOOD, **changes)


def saying(*readings: Reading, **more: Any) -> Driver:
    """A driver that reads the same in every frame."""
    report = Report(more.pop("measured_at", AT), readings, **more)
    return with_(decode=lambda _path, _payload: report, claims=None)


def texts(driver: Driver, rule: str) -> list[str]:
    return [problem.text for problem in problems_of(driver) if problem.rule == rule]


def test_a_good_driver_has_no_problem() -> None:
    assert problems_of(GOOD) == ()
    assert problems_of(with_(commands=frozenset(), decode_command=None, command_examples=())) == ()


# --- what it says of itself ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"maker": " "}, "maker and model are what people look for; one is empty"),
        ({"media": ("NB IoT",)}, "the medium 'NB IoT' is not a key"),
        ({"media": ("ip",)}, "a medium is named twice"),
        ({"commodities": frozenset()}, "it has no commodity"),
        ({"registers": (), "entities": ()}, "it has no register"),
        ({"registers": ("battery", "battery")}, "a register is named twice"),
        ({"command_id_octets": 9}, "a command's id has 0 to 8 octets, not 9"),
        ({"registers": ("battery", "volume")}, "volume is not a register of electricity"),
        ({"entities": (Entity("battery"), Entity("battery"))}, "an entity is described twice"),
        ({"entities": (Entity("battery", "kWh"),)}, "battery is counted in %, and 'kWh' is Wh"),
        ({"entities": (Entity("power"),)}, "the entity power is not among its registers"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_refused(
    changes: dict[str, Any], complaint: str
) -> None:
    assert complaint in texts(with_(**changes), "declaration")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("key", "Acme W1", "the key 'Acme W1' is not a lower-case identifier"),
        ("examples", (), "it has no example"),
        ("registers", ("no_such",), "no_such is not in the vocabulary"),
    ],
)
def test_a_driver_that_was_changed_after_it_was_made_is_refused_as_well(
    name: str, value: object, complaint: str
) -> None:
    driver = with_()
    object.__setattr__(driver, name, value)

    assert any(text.startswith(complaint) for text in texts(driver, "declaration"))


# --- examples -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "complaint"),
    [
        (replace(FIVE, values={"battery": "5"}), "'5'"),
        (replace(FIVE, values={"no_such": 5}), "no_such is not in the vocabulary"),
        (replace(FIVE, payload=b"C\x05"), "is refused: wrong_mark"),
        (replace(FIVE, values={"battery": "6 %"}), "battery: stated 6 %, decoded 5 %"),
        (replace(FIVE, values={}), "battery: stated nothing, decoded 5 %"),
        (replace(FIVE, values={"battery": 5, "power": 1}), "power: stated 1 W, decoded nothing"),
        (replace(FIVE, supply=SupplyState.ON), "supply: stated on, decoded None"),
        (replace(FIVE, measured_at=AT), "measured_at: stated 2026-09-21"),
    ],
)
def test_an_example_that_does_not_come_out_is_refused(example: Example, complaint: str) -> None:
    found = texts(with_(examples=(example,)), "examples")

    assert any(complaint in text for text in found), found


def test_a_register_of_an_example_that_nobody_knows_is_named_and_not_counted() -> None:
    found = texts(saying(Reading("no_such", 1, AT)), "examples")

    assert "example 'five': no_such: stated nothing, decoded a value" in found


def test_a_value_between_two_steps_of_the_meter_is_refused() -> None:
    driver = replace(
        saying(Reading("energy_import", 1_234, AT)),
        registers=("energy_import",),
        entities=(Entity("energy_import", "0.01 kWh"),),
        examples=(replace(FIVE, values={"energy_import": 1_234}),),
    )

    assert texts(driver, "examples") == [
        "example 'five': energy_import: 1234 is no number of 0.01 kWh, in which the model counts"
    ]
    # Of a unit that is wrong itself only the declaration speaks.
    wrong = replace(driver, entities=(Entity("energy_import", "10 L"),))
    assert texts(wrong, "examples") == []


def test_an_example_that_its_driver_does_not_claim_is_refused() -> None:
    assert texts(with_(claims=lambda _path, _payload: False), "examples") == [
        "example 'five' is not claimed"
    ]


# --- frames -------------------------------------------------------------------------------------


def one(register: str, value: Any) -> Driver:
    return saying(Reading(register, value, AT))


LOCAL = AT.astimezone(timezone(timedelta(hours=3)))


@pytest.mark.parametrize(
    ("driver", "complaint"),
    [
        (with_(decode=lambda _path, _payload: None), "decode gave NoneType, expected a Report"),
        (with_(decode=lambda _path, payload: payload[0]), "decode raised IndexError: index out"),
        (with_(claims=lambda _path, _payload: 1), "claims gave int, expected a bool"),
        (one("power", 1), "power is not among its registers"),
        (one("battery", True), "battery: True is not an integer of 64 bits"),
        (one("battery", 1.5), "battery: 1.5 is not an integer of 64 bits"),
        (one("battery", 1 << 63), f"battery: {1 << 63} is not an integer of 64 bits"),
        (one("battery", 101), "battery: 101 is not within 0 and 100"),
        (saying(slots=(SlotReport(0, readings=(Reading("power", 1, AT),)),)), "power is not among"),
        (
            saying(*(Reading("battery", 1, AT),) * 65),
            "65 readings, results or events in one report",
        ),
        (saying(slots=tuple(SlotReport(n) for n in range(257))), "257 slots in one report; 256"),
        (saying(measured_at=AT.replace(tzinfo=None)), "a time has no zone"),
        (saying(measured_at=LOCAL), "a time is not in UTC"),
        (saying(entries=(TokenEntry(Outcome.DONE, 1, 1, LOCAL),)), "a time is not in UTC"),
        (saying(events=(DeviceEvent(DeviceEventKind.TAMPER, LOCAL),)), "a time is not in UTC"),
        (saying(results=(CommandResult(-1, Outcome.DONE),)), "a result's command id is -1"),
        (saying(results=(CommandResult(1, "done"),)), "an outcome is not an Outcome"),  # type: ignore[arg-type]  # the point
    ],
)
def test_a_frame_that_is_read_wrongly_is_refused(driver: Driver, complaint: str) -> None:
    (found,) = texts(driver, "decode")

    assert found.startswith("an empty frame: ")
    assert complaint in found


def test_a_driver_that_reads_otherwise_the_second_time_is_refused() -> None:
    moments = count()

    def by_the_clock(_path: str, _payload: bytes) -> Report:
        return Report(AT + timedelta(seconds=next(moments)))

    assert texts(with_(decode=by_the_clock), "decode") == [
        "an empty frame: decode gave something else the second time"
    ]


def test_whatever_a_driver_s_own_code_raises_is_a_problem_and_not_a_crash() -> None:
    def broken(_commands: tuple[CommandOut, ...]) -> bytes:
        raise RuntimeError

    assert texts(with_(encode=broken), "commands") == ["raises RuntimeError"]


# --- commands -----------------------------------------------------------------------------------


def encoding(change: Callable[[bytes], object]) -> Driver:
    return with_(encode=lambda commands: change(LAYOUT.encode(commands)))


def reading_back(change: Callable[[CommandOut], CommandOut]) -> Driver:
    return with_(decode_command=lambda payload: tuple(map(change, LAYOUT.decode(payload))))


def refuses(_payload: bytes) -> tuple[CommandOut, ...]:
    raise FrameError("wrong_length", "too short")


def takes_no_limit(commands: tuple[CommandOut, ...]) -> bytes:
    if any(each.kind is CommandKind.SET_LOAD_LIMIT for each in commands):
        raise Refused("command_unsupported", "no limit")
    return LAYOUT.encode(commands)


@pytest.mark.parametrize(
    ("driver", "complaint"),
    [
        (with_(decode_command=None), "it has commands and no decode_command"),
        (
            with_(encode=takes_no_limit),
            "set_load_limit is among its commands, and encode takes none",
        ),
        (encoding(lambda payload: payload.hex()), "encode gave str, expected bytes"),
        (with_(decode_command=refuses), "decode_command refuses what encode wrote: wrong_length"),
        (
            with_(decode_command=lambda _payload: ()),
            "load_token (id 1) with the token: encoded, it reads as no command",
        ),
        (
            reading_back(lambda each: replace(each, value=1 if each.value else each.value)),
            "set_load_limit (id 7) 1000: encoded, it reads as set_load_limit (id 7) 1",
        ),
        (
            reading_back(lambda each: replace(each, text="prepaid" if each.text else None)),
            "'postpaid': encoded, it reads as set_credit_mode",
        ),
        (
            reading_back(lambda each: replace(each, token="0" * 20 if each.token else None)),
            "with the token: encoded, it reads as load_token (id 1) with another token",
        ),
        (
            with_(commodities=frozenset({Commodity.WATER})),
            "set_load_limit: nothing that it meters has such a part",
        ),
        (
            with_(
                command_examples=(
                    CommandExample("open", (CommandOut(1, CommandKind.OPEN_RELAY),), b""),
                )
            ),
            "example 'open': open_relay is not among its commands",
        ),
        (
            with_(
                command_examples=(
                    CommandExample("read", (CommandOut(5, CommandKind.READ_NOW),), b"\x02"),
                )
            ),
            "example 'read': stated 02, got 0105",
        ),
    ],
)
def test_a_command_that_does_not_say_what_was_meant_is_refused(
    driver: Driver, complaint: str
) -> None:
    found = texts(driver, "commands")

    assert any(complaint in text for text in found), found


def test_an_encoder_that_writes_otherwise_the_second_time_is_refused() -> None:
    times = count()
    driver = encoding(lambda payload: payload + bytes((next(times) % 256,)))

    assert any("encode gave something else the second time" in t for t in texts(driver, "commands"))


def test_a_decoder_that_makes_something_else_of_noise_is_refused() -> None:
    def careless(payload: bytes) -> tuple[Any, ...]:
        try:
            return LAYOUT.decode(payload)
        except FrameError:
            return ("nothing",)

    assert texts(with_(decode_command=careless), "commands") == [
        "decode_command gave something that is no CommandOut"
    ]


# --- commands to meters behind a node -----------------------------------------------------------

NODE = replace(
    saying(slots=(SlotReport(1, readings=(Reading("battery", 5, AT),)),)),
    examples=(replace(FIVE, values={}),),
)


def test_a_node_whose_octets_do_not_name_the_meter_is_refused() -> None:
    def forgets(commands: tuple[CommandOut, ...]) -> bytes:
        return LAYOUT.encode(tuple(replace(each, slot=None) for each in commands))

    assert texts(NODE, "commands") == []  # it refuses commands to slots, which is honest
    found = texts(replace(NODE, encode=forgets), "commands")
    assert "read_now (id 2) in slot 1: encoded, it reads as read_now (id 2)" in found

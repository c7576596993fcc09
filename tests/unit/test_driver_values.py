"""What a driver adds to its decode: media, times of receipt, commands known by part of their id."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from slotmeter.devices import octets
from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.drivers import UNTIMED, Driver, Example
from slotmeter.devices.entities import Entity
from slotmeter.devices.frames import (
    DeviceEvent,
    DeviceEventKind,
    Reading,
    Report,
    SlotReport,
    TokenEntry,
)
from slotmeter.units import Commodity

AT = datetime(2026, 9, 21, 12, 0, tzinfo=UTC)
RECEIVED = datetime(2026, 9, 21, 12, 30, tzinfo=UTC)
PLAIN = octets.driver(
    octets.frame(2, octets.Mark(0, b"B"), octets.Field("battery", 1, 1, "%")),
    key="plain",
    maker="Acme",
    model="Plain",
    medium="nbiot",
    media=("ip",),
    commodities=frozenset(Commodity),
    examples=(Example("5 %", "m", b"B\x05", {"battery": "5 %"}),),
)


def saying(report: Report) -> Driver:
    return replace(PLAIN, decode=lambda _path, _payload: report)


def test_a_driver_is_carried_by_its_medium_and_by_those_it_also_speaks() -> None:
    carried = {key: PLAIN.carried_by(key) for key in ("nbiot", "ip", "lorawan")}

    assert carried == {"nbiot": True, "ip": True, "lorawan": False}


def test_registers_are_those_of_the_entities() -> None:
    assert PLAIN.registers == ("battery",)


def test_a_register_without_an_entity_is_the_plain_one() -> None:
    assert PLAIN.entity("battery") == Entity("battery", "%")
    assert PLAIN.entity("volume") == Entity("volume")


def test_a_frame_is_recognised_by_what_the_driver_claims() -> None:
    assert PLAIN.recognises("m", b"B\x05")
    assert not PLAIN.recognises("m", b"C\x05")


def test_without_claims_a_frame_that_can_be_read_is_recognised() -> None:
    driver = replace(PLAIN, claims=None)

    assert driver.recognises("m", b"B\x05")
    assert not driver.recognises("m", b"B")


def test_a_frame_without_a_time_is_of_the_moment_it_was_received() -> None:
    report = saying(
        Report(
            measured_at=UNTIMED,
            readings=(Reading("volume", 1, UNTIMED), Reading("volume", 0, AT)),
            entries=(TokenEntry(Outcome.DONE, None, 0, UNTIMED),),
            events=(DeviceEvent(DeviceEventKind.TAMPER, UNTIMED),),
            slots=(SlotReport(1, readings=(Reading("volume", 2, UNTIMED),)),),
        )
    ).read("m", b"", RECEIVED)

    assert report.measured_at == RECEIVED
    assert [each.measured_at for each in report.readings] == [RECEIVED, AT]
    assert (report.entries[0].at, report.events[0].at) == (RECEIVED, RECEIVED)
    assert report.slots[0].readings[0].measured_at == RECEIVED


def test_a_frame_with_a_time_keeps_it() -> None:
    said = Report(AT, (Reading("volume", 1, AT),))

    assert saying(said).read("m", b"", RECEIVED) is said


@pytest.mark.parametrize(
    ("id_octets", "echoed", "sent", "known"),
    [
        (8, 0x1234, [0x1234], 0x1234),
        (2, 0x1234, [0x551234], 0x551234),
        (8, 0x1234, [], 0x1234),  # whoever's it is, it is named whole
        (2, 0x1234, [0x551234, 0x661234], None),  # either could be meant
        (2, 0x9999, [0x551234], None),
        (0, 0, [0x551234], 0x551234),
        (0, 0, [], None),
    ],
)
def test_a_result_finds_the_command_in_flight_that_it_can_mean(
    id_octets: int, echoed: int, sent: list[int], known: int | None
) -> None:
    driver = replace(PLAIN, command_id_octets=id_octets)
    report = Report(AT, results=(CommandResult(echoed, Outcome.DONE),))

    found = driver.in_flight(report, sent)

    named = () if known is None else (CommandResult(known, Outcome.DONE),)
    assert found.results == named


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"key": "Acme W1"}, "lower-case identifier"),
        ({"registers": ("no_such",)}, "unknown registers"),
        ({"examples": ()}, "at least one example"),
    ],
)
def test_a_driver_that_nobody_could_find_is_refused(
    changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(PLAIN, **changes)  # type: ignore[arg-type]  # the point of the test

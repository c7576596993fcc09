"""Labels that are scanned, and drivers that are recognised by what a device sends."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from slotmeter.devices.drivers import Driver, Example
from slotmeter.devices.frames import Reading, Report
from slotmeter.errors import FrameError
from slotmeter.services.driver_recognition import Heard, Scan, best_drivers, by_address, recognise
from slotmeter.units import Commodity
from slotmeter_drivers.slotmeter_virtual import DRIVER as VIRTUAL

AT = datetime(2026, 11, 21, 8, tzinfo=UTC)
NUMBER = "62000000017"


def heard(payload: bytes, frame_id: int = 1, *, path: str = "m", address: str = "a-1") -> Heard:
    return Heard(frame_id, "nbiot", address, path, payload, 0)


def octets(key: str, decode: Callable[[str, bytes], Report], example: bytes) -> Driver:
    """A driver of a meter that sends bare octets."""
    return Driver(
        key=key,
        maker="test",
        model=key,
        medium="nbiot",
        commodities=frozenset({Commodity.WATER}),
        registers=("volume",),
        decode=decode,
        encode=lambda _commands: b"",
        commands=frozenset(),
        examples=(Example("one", "5", example, {"volume": 1}),),
    )


def four_octets(_path: str, payload: bytes) -> Report:
    if len(payload) < 4:
        raise FrameError("too_short", f"expected 4 bytes, got {len(payload)}")
    (volume,) = struct.unpack_from(">I", payload)
    return Report(AT, (Reading("volume", volume, AT),))


def failing(_path: str, payload: bytes) -> Report:
    raise IndexError(len(payload))


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (NUMBER, NUMBER),
        (f"  {NUMBER}\n", NUMBER),
        (f"S{NUMBER}", NUMBER),
        (f"SN:{NUMBER};IMEI:867400041234567;FW:2.1", NUMBER),
        ("SN:1;IMEI:867400041234567", "urn:imei:867400041234567"),
        ("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122:S123456", "aabbccddeeff0011"),
        ("AA-BB-CC-DD-EE-FF-00-11", "aabbccddeeff0011"),
        (NUMBER, f"ep-{NUMBER}"),
    ],
)
def test_a_label_names_the_device_whatever_else_it_holds(label: str, shown: str) -> None:
    assert Scan.of(label).names(shown)


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (NUMBER, "60000000125"),
        (NUMBER, f"{NUMBER}0"),
        ("METER", "METER"),
        ("12345", "12345"),
        ("", ""),
        ("FW:2.1;YEAR:2026", "2026"),
    ],
)
def test_a_label_names_nothing_else(label: str, shown: str) -> None:
    assert not Scan.of(label).names(shown)


def test_further_numbers_of_a_meter_are_looked_for_as_well() -> None:
    assert Scan.of("867400041234567", NUMBER).names(NUMBER)


# --- drivers --------------------------------------------------------------------------------------


def test_the_driver_whose_meter_gives_its_serial_is_the_likeliest() -> None:
    lax = octets("lax", four_octets, b"\x00" * 4)

    found = recognise([heard(VIRTUAL.examples[0].payload)], [lax, VIRTUAL])

    assert [each.driver.key for each in found] == ["slotmeter_virtual", "lax"]
    assert found[0].serial == NUMBER
    assert len(best_drivers(found)) == 1


def test_a_driver_that_fails_in_any_way_reads_nothing() -> None:
    assert recognise([heard(b"1234")], [octets("bad", failing, b"")]) == []


def test_of_two_that_read_a_frame_the_one_with_such_an_example_is_taken() -> None:
    frame = heard(b"\x00\x00\x00\x07\x01", path="5")
    alike = octets("alike", four_octets, b"\x00" * 5)
    other = octets("other", four_octets, b"\x00" * 4)

    found = recognise([frame], [other, alike])

    assert [each.driver.key for each in best_drivers(found)] == ["alike"]


def test_two_that_cannot_be_told_apart_are_both_given() -> None:
    drivers = [octets(key, four_octets, b"\x00" * 4) for key in ("one", "two")]

    found = recognise([heard(b"1234", path="5")], drivers)

    assert {each.driver.key for each in best_drivers(found)} == {"one", "two"}


def test_a_driver_of_another_commodity_or_medium_is_not_tried() -> None:
    payload = b"1234"
    water = octets("water", four_octets, payload)
    elsewhere = replace(water, key="elsewhere", medium="lorawan")

    assert recognise([heard(payload)], [water, elsewhere], commodity=Commodity.GAS) == []
    assert [each.driver.key for each in recognise([heard(payload)], [water, elsewhere])] == [
        "water"
    ]


def test_frames_in_which_two_meters_speak_are_not_of_one_device() -> None:
    frames = [heard(VIRTUAL.examples[at].payload, at) for at in (0, 1)]

    assert recognise(frames, [VIRTUAL]) == []


def test_frames_are_gathered_by_who_sent_them_with_the_newest_first() -> None:
    frames = [heard(b"1", 1), heard(b"2", 3), heard(b"3", 2, address="b-1")]

    found = by_address(frames)

    assert [each.frame_id for each in found["nbiot", "a-1"]] == [3, 1]
    assert list(found) == [("nbiot", "a-1"), ("nbiot", "b-1")]


def test_nothing_heard_is_nothing_recognised() -> None:
    assert recognise([], [VIRTUAL]) == []

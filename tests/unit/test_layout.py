"""Frames of octets at fixed places: every part, and what each refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices import octets
from slotmeter.devices.checksums import Checksum, checksum, checksum_octets
from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.drivers import UNTIMED
from slotmeter.devices.entities import Entity, SupplyState
from slotmeter.devices.frames import Report
from slotmeter.errors import FrameError
from slotmeter.vending.sts.pan import drn_valid

NOON = datetime(2026, 9, 21, 12, 0, tzinfo=UTC)
NOON_OCTETS = bytes.fromhex("6ab11c40")
STATES = {0: SupplyState.OFF, 1: SupplyState.ON, 2: SupplyState.ARMED}


def read(payload: bytes, *parts: octets.Part, order: octets.Order = "big") -> Report:
    return octets.frame(len(payload), *parts, order=order).decode("m", payload)


def values(report: Report) -> dict[str, int]:
    return {each.register: each.value for each in report.readings}


def refusal(payload: bytes, *parts: octets.Part) -> str:
    with pytest.raises(FrameError) as error:
        read(payload, *parts)
    return error.value.code


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "payload", "value"),
    [
        (octets.Field("volume", 0, 2, "10 L"), "0102", 2_580_000),
        (octets.Field("volume", 0, 2, "10 L", order="little"), "0102", 5_130_000),
        (octets.Field("volume", 1, 3, "L", bcd=True), "ff123456", 123_456_000),
        (octets.Field("volume", 0, 2, "L", bcd=True, order="little"), "3412", 1_234_000),
        (octets.Field("flow", 0, 2, "L/h", signed=True), "fffe", -2_000),
        (octets.Field("temperature", 0, 1, "0.5 °C", signed=True), "f9", 269_650),
        (octets.Field("energy_import", 0, 2, "1/1600 kWh"), "0003", 1),
        (octets.Field("leak", 0, 1, "flag", mask=0x04), "06", 1),
        (octets.Field("leak", 0, 1, "flag", mask=0x04), "02", 0),
        (octets.Field("battery", 0, 1, "%", mask=0x7F), "e1", 97),
        (octets.Field("energy_import", 0, 8, "Wh"), "7fffffffffffffff", (1 << 63) - 1),
        (octets.Field("credit_mode", 0, 1, "code", codes={1: "prepaid", 0: "postpaid"}), "00", 1),
        (octets.Field("tariff", 0, 1, "code", codes={0x11: 1, 0x12: 2}), "12", 2),
        (octets.Field("leak", 0, 1, "flag", mask=0x30, codes={0: 0, 1: 1, 2: 1}), "20", 1),
    ],
)
def test_a_field_gives_base_units(field: octets.Field, payload: str, value: int) -> None:
    report = read(bytes.fromhex(payload), field)

    assert values(report) == {field.register: value}


def test_a_count_that_stands_for_no_value_gives_none() -> None:
    report = read(b"\xff\x05", octets.Field("battery", 0, 1, "%", absent=0xFF))

    assert report.readings == ()


@pytest.mark.parametrize(
    ("field", "payload", "code"),
    [
        (octets.Field("battery", 0, 1, "%"), "65", "out_of_range"),
        (octets.Field("volume", 0, 1, "L", signed=True), "ff", "out_of_range"),
        (octets.Field("energy_import", 0, 8, "Wh"), "8000000000000000", "out_of_range"),
        (octets.Field("volume", 0, 2, "L", bcd=True), "12a4", "not_decimal"),
        (octets.Field("tariff", 0, 1, "code", codes={0x11: 1}), "01", "unknown_code"),
        (octets.Field("credit_mode", 0, 1, "code"), "02", "out_of_range"),
    ],
)
def test_a_number_that_no_meter_means_is_refused(
    field: octets.Field, payload: str, code: str
) -> None:
    assert refusal(bytes.fromhex(payload), field) == code


@pytest.mark.parametrize(
    ("register", "unit", "complaint"),
    [
        ("energy_import", "10 L", "counted in Wh"),
        ("no_such", "L", "not in the vocabulary"),
        ("volume", "bucket", "not a unit"),
    ],
)
def test_a_field_that_cannot_be_is_refused_when_it_is_written(
    register: str, unit: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        octets.Field(register, 0, 4, unit)


@pytest.mark.parametrize(
    ("register", "unit", "codes", "complaint"),
    [
        ("volume", "L", {1: 2}, "volume is an amount"),
        ("credit_total_money", "minor", {1: 2}, "is an amount"),
        ("credit_balance", "Wh", {1: 2}, "is an amount"),
        ("credit_mode", "code", {1: "free"}, "one of prepaid, postpaid, got 'free'"),
        ("tariff", "code", {1: "night"}, "one of no words"),
    ],
)
def test_codes_that_mean_nothing_here_are_refused_when_they_are_written(
    register: str, unit: str, codes: dict[int, int | str], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        octets.Field(register, 0, 1, unit, codes=codes)


@pytest.mark.parametrize(
    ("field", "entity"),
    [
        (
            octets.Field("volume", 0, 4, "L", mask=0x0FFFFFF0),
            Entity("volume", "L", wrap=(1 << 24) * 1_000),
        ),
        (
            octets.Field("volume", 0, 4, "10 L"),
            Entity("volume", "10 L", wrap=(1 << 32) * 10_000),
        ),
        (octets.Field("volume", 0, 3, "L", bcd=True), Entity("volume", "L", wrap=10**6 * 1_000)),
        (octets.Field("volume", 0, 4, "L", wrap=10**6), Entity("volume", "L", wrap=10**9)),
        (octets.Field("energy_import", 0, 8, "Wh"), Entity("energy_import", "Wh")),
        (octets.Field("flow", 0, 2, "L/h"), Entity("flow", "L/h")),
    ],
)
def test_a_field_tells_where_its_register_rolls_over(field: octets.Field, entity: Entity) -> None:
    assert field.entities == (entity,)


@given(count=st.integers(0, (1 << 32) - 1), order=st.sampled_from(["big", "little"]))
def test_any_count_comes_out_in_either_order(count: int, order: octets.Order) -> None:
    report = read(count.to_bytes(4, order), octets.Field("volume", 0, 4, "L"), order=order)

    assert values(report) == {"volume": count * 1_000}


# --- marks and checks ---------------------------------------------------------------------------


def test_a_frame_with_another_mark_is_refused() -> None:
    assert refusal(b"W2\0", octets.Mark(0, b"W1")) == "wrong_mark"


@pytest.mark.parametrize("kind", Checksum)
@pytest.mark.parametrize("order", ["big", "little"])
def test_a_frame_with_its_check_is_read_and_with_a_bit_changed_refused(
    kind: Checksum, order: octets.Order
) -> None:
    content = b"\x12\x34\x56"
    check = checksum(kind, content).to_bytes(checksum_octets(kind), order)
    part = octets.Check(kind, 3, order=order)

    assert read(content + check, part) == Report(UNTIMED)
    assert refusal(b"\x13\x34\x56" + check, part) == "wrong_check"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Checksum.SUM8, 0xDD),
        (Checksum.XOR8, 0x31),
        (Checksum.CRC16_MODBUS, 0x4B37),
        (Checksum.CRC16_CCITT_FALSE, 0x29B1),
        (Checksum.CRC16_XMODEM, 0x31C3),
        (Checksum.CRC16_X25, 0x906E),
        (Checksum.CRC16_EN13757, 0xC2B7),
        (Checksum.CRC32, 0xCBF43926),
    ],
)
def test_checks_have_the_check_values_of_the_catalogue(kind: Checksum, value: int) -> None:
    assert checksum(kind, b"123456789") == value


# --- times --------------------------------------------------------------------------------------


def test_a_clock_dates_all_readings_wherever_it_stands() -> None:
    report = read(b"\x05" + NOON_OCTETS, octets.Field("battery", 0, 1, "%"), octets.Clock(1))

    assert report.measured_at == NOON
    assert [each.measured_at for each in report.readings] == [NOON]


def test_a_clock_may_begin_in_another_year_and_zone() -> None:
    local = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=3)
    since = local.astimezone(tz=None)

    report = read(b"\0\0\0\x3c", octets.Clock(0, since=since))

    assert report.measured_at == local + timedelta(seconds=60)
    assert report.measured_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("payload", ["00000000", "ffffffff"])
def test_a_clock_that_was_never_set_is_refused(payload: str) -> None:
    assert refusal(bytes.fromhex(payload), octets.Clock(0)) == "clock_not_set"


def test_a_clock_of_eight_octets_cannot_leave_the_calendar() -> None:
    assert refusal(b"\xff" * 8, octets.Clock(0, 8)) == "clock_not_set"


def test_a_clock_of_digits_is_read_in_its_own_time() -> None:
    there = bytes.fromhex("260921150000")
    part = octets.CalendarClock(0, ahead_minutes=180)

    assert read(there, part).measured_at == NOON
    turned = octets.CalendarClock(0, is_reversed=True, ahead_minutes=180)
    assert read(there[::-1], turned).measured_at == NOON


@pytest.mark.parametrize(
    ("payload", "code"), [("261321150000", "clock_not_set"), ("2609211500ff", "not_decimal")]
)
def test_a_clock_of_digits_that_shows_no_date_is_refused(payload: str, code: str) -> None:
    assert refusal(bytes.fromhex(payload), octets.CalendarClock(0)) == code


def test_a_frame_without_a_clock_is_untimed() -> None:
    assert read(b"\x05", octets.Field("battery", 0, 1, "%")).measured_at == UNTIMED


def test_a_series_goes_back_from_the_last_full_step() -> None:
    ten_past = (int(NOON.timestamp()) + 600).to_bytes(4, "big")
    series = octets.Series(octets.Field("volume_interval", 4, 1, "L", absent=255), 3, 3_600)

    report = read(ten_past + b"\x07\xff\x09", octets.Clock(0), series)

    hour = timedelta(hours=1)
    assert [(each.value, each.measured_at) for each in report.readings] == [
        (9_000, NOON - 2 * hour),
        (7_000, NOON),
    ]


def test_a_series_may_begin_with_the_oldest() -> None:
    field = octets.Field("volume_interval", 4, 1, "L")
    series = octets.Series(field, 2, 3_600, newest_first=False)

    report = read(NOON_OCTETS + b"\x07\x09", octets.Clock(0), series)

    assert [each.value for each in report.readings] == [7_000, 9_000]
    assert report.readings[-1].measured_at == NOON


def test_a_series_without_a_time_is_refused() -> None:
    series = octets.Series(octets.Field("volume_interval", 0, 1, "L"), 2, 3_600)

    assert refusal(b"\x07\x09", series) == "clock_not_set"


# --- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "payload", "serial"),
    [
        (octets.Serial(0, 4), "00431877", "00431877"),
        (octets.Serial(0, 4, form="number"), "0000007b", "123"),
        (octets.Serial(0, 2, form="number", digits=8), "007b", "00000123"),
        (octets.Serial(0, 8, form="ascii"), "4142313200000000", "AB12"),
        (octets.Serial(0, 4, maker_code="07"), "31415926", "07314159265"),
        (octets.Serial(0, 4, maker_code="07", order="little"), "26594131", "07314159265"),
        (octets.Serial(0, 4, form="number", maker_code="0061"), "0000007b", "0061000001232"),
    ],
)
def test_a_serial_is_read_in_each_form(part: octets.Serial, payload: str, serial: str) -> None:
    assert read(bytes.fromhex(payload), part).serial == serial


@pytest.mark.parametrize(
    ("part", "payload", "code"),
    [
        (octets.Serial(0, 2), "12f4", "not_decimal"),
        (octets.Serial(0, 2, form="ascii"), "4101", "wrong_serial"),
        (octets.Serial(0, 2, form="ascii"), "0000", "wrong_serial"),
        (octets.Serial(0, 2, form="ascii", maker_code="07"), "4142", "wrong_serial"),
        (octets.Serial(0, 4, form="number", maker_code="07"), "05f5e100", "wrong_serial"),
        (octets.Supply(0, STATES), "0301", "unknown_state"),
        (octets.Result(0, {1: Outcome.DONE}), "0700", "unknown_outcome"),
    ],
)
def test_a_state_that_the_sheet_does_not_know_is_refused(
    part: octets.Part, payload: str, code: str
) -> None:
    assert refusal(bytes.fromhex(payload), part) == code


def test_supply_is_read_under_its_mask() -> None:
    part = octets.Supply(0, STATES, mask=0x06)

    assert read(b"\xf5", part).supply is SupplyState.ARMED
    assert read(b"\xf3", part).supply is SupplyState.ON


def test_any_bit_of_tampering_is_tampering() -> None:
    parts = (octets.Tamper(0, 0x30), octets.Tamper(1, 0x01))

    assert read(b"\x10\x00", *parts).tamper is True
    assert read(b"\x00\x01", *parts).tamper is True
    assert read(b"\x0f\xfe", *parts).tamper is False


def test_a_result_names_its_command() -> None:
    part = octets.Result(2, {1: Outcome.DONE}, id_offset=0, id_octets=2)

    assert read(b"\x01\x02\x01", part).results == (CommandResult(258, Outcome.DONE),)
    assert read(b"\x01\x02\x00", part).results == ()


def test_a_result_may_be_a_few_bits_of_an_octet() -> None:
    part = octets.Result(0, {1: Outcome.DONE, 2: Outcome.REJECTED}, id_offset=1, mask=0xC0)

    assert read(b"\xbf\x09", part).results == (CommandResult(9, Outcome.REJECTED),)
    assert read(b"\x3f\x09", part).results == ()


def test_a_meter_number_that_is_put_together_is_one_that_can_be_registered() -> None:
    for serial in range(0, 10**8, 7_654_321):
        part = octets.Serial(0, 4, maker_code="07")

        assert drn_valid(str(read(bytes.fromhex(f"{serial:08}"), part).serial))


def test_a_code_of_a_maker_has_two_or_four_digits() -> None:
    with pytest.raises(ValueError, match="2 or 4 digits"):
        octets.Serial(0, 4, maker_code="070")


def test_a_check_that_does_not_fit_says_what_would() -> None:
    with pytest.raises(FrameError, match="octets 0 to 1 is 0x3, and the frame says 0x7"):
        read(b"\x01\x02\x07", octets.Check(Checksum.SUM8, 2))


def test_a_result_without_a_number_is_of_the_command_in_flight() -> None:
    report = read(b"\x00", octets.Result(0, {0: Outcome.DONE}))

    assert report.results == (CommandResult(0, Outcome.DONE),)


# --- meters behind a node -----------------------------------------------------------------------

PLACES = octets.Slots(
    4,
    count=3,
    octets=3,
    first=1,
    empty=0xFF,
    parts=(octets.Serial(0, 2), octets.Field("energy_import", 2, 1, "kWh")),
)


def test_each_place_of_a_node_tells_of_its_meter() -> None:
    report = read(NOON_OCTETS + bytes.fromhex("123405ffffff567806"), octets.Clock(0), PLACES)

    told = [
        (s.slot, s.serial, s.readings[0].value, s.readings[0].measured_at) for s in report.slots
    ]
    assert told == [(1, "1234", 5_000, NOON), (3, "5678", 6_000, NOON)]
    assert report.readings == ()


def test_a_place_that_cannot_be_read_refuses_the_frame() -> None:
    payload = NOON_OCTETS + bytes.fromhex("12f405ffffff567806")

    assert refusal(payload, octets.Clock(0), PLACES) == "not_decimal"


# --- frames -------------------------------------------------------------------------------------

WATER = octets.frame(3, octets.Mark(0, b"W"), octets.Field("volume", 1, 2, "L"))
ALARM = octets.frame(3, octets.Mark(0, b"A"), octets.Tamper(1))
HOURLY = octets.frame(2, octets.Field("flow", 0, 2, "L/h"), path="hourly")


@pytest.mark.parametrize("payload", ["", "57", "5700", "57000000"])
def test_a_frame_of_another_length_is_refused(payload: str) -> None:
    with pytest.raises(FrameError, match="expected 3 octets"):
        WATER.decode("m", bytes.fromhex(payload))


def test_octets_that_newer_meters_add_are_passed_over_where_the_sheet_says_so() -> None:
    frame = octets.frame(1, octets.Field("battery", 0, 1, "%"), more=True)

    assert values(frame.decode("m", b"\x05\x99")) == {"battery": 5}


def test_a_part_outside_of_the_frame_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="volume ends with octet 3, after the 3 octets"):
        octets.frame(3, octets.Field("volume", 0, 4, "L"))


def test_a_clock_after_what_needs_it_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="clock before"):
        octets.frame(20, PLACES, octets.Clock(16))


def test_a_choice_reads_each_kind_of_frame_by_its_own_layout() -> None:
    choice = octets.Choice(WATER, ALARM, HOURLY)

    assert values(choice.decode("m", b"W\0\x05")) == {"volume": 5_000}
    assert choice.decode("m", b"A\x01\0").tamper is True
    assert values(choice.decode("hourly", b"\0\x05")) == {"flow": 5_000}
    assert [entity.name for entity in choice.entities] == ["volume", "flow"]


def test_a_choice_refuses_and_does_not_claim_what_is_of_no_layout() -> None:
    choice = octets.Choice(WATER, ALARM, HOURLY)

    with pytest.raises(FrameError) as error:
        choice.decode("m", b"X\0\0")

    assert error.value.code == "unknown_frame"
    assert not choice.claims("m", b"X\0\0")
    assert choice.claims("m", b"A\0\0")


def test_a_choice_says_what_is_wrong_with_a_frame_of_its_own() -> None:
    choice = octets.Choice(
        octets.frame(2, octets.Mark(0, b"B"), octets.Field("battery", 1, 1, "%")), WATER
    )

    with pytest.raises(FrameError) as error:
        choice.decode("m", b"B\xf0")

    assert error.value.code == "out_of_range"

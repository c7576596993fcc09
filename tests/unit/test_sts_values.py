"""Amounts, meter numbers and token identifiers, by example and property."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.vending.sts import (
    BASE_DATES,
    KEPT_TIDS,
    TID_MAX,
    check_drn,
    check_pan,
    check_tid,
    currency_e5_of,
    decode_currency,
    decode_units,
    drn_of_pan,
    encode_currency,
    encode_units,
    instant_of_tid,
    is_reserved,
    keep_tid_minute,
    manufacturer_of_pan,
    minute_1993_of,
    minute_1993_of_tid,
    minute_1993_of_us,
    next_tid_minute,
    pan_of_drn,
    pan_valid,
    tid_expired,
    tid_of_minute,
    units_of,
)
from slotmeter.vending.sts.amounts import CURRENCY_E5_MAX, UNITS_MAX


def refused(code: str) -> pytest.RaisesExc[Refused]:
    return pytest.RaisesExc(Refused, check=lambda error: error.code == code)


# --- amounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "field", "value"),
    [
        (0, 0, 0),
        (16383, 0x3FFF, 16383),
        (16384, 0x4000, 16384),
        (16385, 0x4001, 16394),
        (180214, 0x7FFF, 180214),
        (180215, 0x8000, 180224),
        (180223, 0x8000, 180224),
        (1818524, 0xBFFF, 1818524),
        (1818525, 0xC000, 1818624),
        (1818623, 0xC000, 1818624),
        (18201624, 0xFFFF, 18201624),
    ],
)
def test_units_are_coded_as_the_standard_says(units: int, field: int, value: int) -> None:
    assert encode_units(units) == field
    assert decode_units(field) == value


@given(st.integers(0, UNITS_MAX))
def test_coded_units_are_the_smallest_that_are_enough(units: int) -> None:
    field = encode_units(units)

    assert decode_units(field) >= units
    assert field == 0 or decode_units(field - 1) < units


@pytest.mark.parametrize(
    ("units", "code"), [(-1, "amount_negative"), (UNITS_MAX + 1, "amount_too_large")]
)
def test_units_out_of_range_are_refused(units: int, code: str) -> None:
    with refused(code):
        encode_units(units)


@pytest.mark.parametrize(
    ("quantity", "units"),
    [("0", 0), ("0.1", 1), ("0.100000000000000000001", 2), ("12.34", 124), ("1E+3", 10_000)],
)
def test_a_quantity_is_rounded_up_to_tenths(quantity: str, units: int) -> None:
    assert units_of(Decimal(quantity)) == units


@pytest.mark.parametrize(
    ("quantity", "code"),
    [("-0.1", "amount_negative"), ("NaN", "amount_not_finite"), ("Infinity", "amount_not_finite")],
)
def test_a_quantity_that_is_none_is_refused(quantity: str, code: str) -> None:
    with refused(code):
        units_of(Decimal(quantity))


@pytest.mark.parametrize(
    ("amount", "field"),
    [
        (0, 0x00000),
        (1, 0x060AA),
        (16383, 0x178E3),
        (16384, 0x178E4),
        (180224, 0x1BF4A),
        (1818624, 0x1FFEE),
        (18202624, 0x23FFF),
        (182042624, 0x28000),
        (1820442624, 0x2C000),
        (18204442624, 0x30000),
        (-1, 0x860A9),
        (-180224, 0x9BF49),
        (182044444442624, 0x40000),
        (-182044444442624, 0xBFFFF),
    ],
)
def test_currency_is_coded_as_the_standard_says(amount: int, field: int) -> None:
    assert encode_currency(amount * 100_000) == field


@given(st.fractions(0, CURRENCY_E5_MAX, max_denominator=1000))
def test_currency_credit_is_the_smallest_that_is_enough(amount_e5: Fraction) -> None:
    field = encode_currency(amount_e5)

    assert decode_currency(field) >= amount_e5
    assert field == 0 or decode_currency(field - 1) < amount_e5


@given(st.fractions(-CURRENCY_E5_MAX, 0, max_denominator=1000))
def test_a_debit_is_the_largest_that_is_not_more(amount_e5: Fraction) -> None:
    field = encode_currency(amount_e5)

    assert 0 >= decode_currency(field) >= amount_e5
    assert field & 0x7FFFF == 0x7FFFF or decode_currency((field | 1 << 19) + 1) < amount_e5


def test_currency_above_the_largest_field_is_refused() -> None:
    assert encode_currency(CURRENCY_E5_MAX) == 0x7FFFF
    with refused("amount_too_large"):
        encode_currency(CURRENCY_E5_MAX + 1)


def test_an_amount_of_currency_is_taken_exactly() -> None:
    assert currency_e5_of(Decimal("0.000015")) == Fraction(3, 2)
    with refused("amount_not_finite"):
        currency_e5_of(Decimal("Infinity"))


# --- meter numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drn", "pan", "manufacturer"),
    [
        ("00000000000", "600727000000000009", 0),
        ("11111111115", "600727111111111153", 11),
        ("0100000000008", "000001000000000082", 100),
    ],
)
def test_a_pan_is_made_from_a_drn_and_back(drn: str, pan: str, manufacturer: int) -> None:
    assert pan_of_drn(drn) == pan
    assert drn_of_pan(pan) == drn
    assert manufacturer_of_pan(pan) == manufacturer


@pytest.mark.parametrize(
    ("drn", "code"),
    [
        ("12345678904", "wrong_check_digit"),
        ("11111111113", "wrong_check_digit"),
        ("1111111111", "bad_drn"),
        ("111111111115", "bad_drn"),
        ("1111111111x", "bad_drn"),
        ("\u0661" * 11, "bad_drn"),
        ("", "bad_drn"),
    ],
)
def test_a_wrong_drn_is_refused(drn: str, code: str) -> None:
    with refused(code):
        check_drn(drn)


@pytest.mark.parametrize(
    ("pan", "code"),
    [
        ("600727000000000008", "wrong_check_digit"),
        ("60072700000000000", "bad_pan"),
        ("6007270000000000090", "bad_pan"),
        ("123456000000000009", "bad_pan"),
        ("600727000000000017", "wrong_check_digit"),
    ],
    ids=["digit", "short", "long", "issuer", "inner digit"],
)
def test_a_wrong_pan_is_refused(pan: str, code: str) -> None:
    assert not pan_valid(pan)
    with refused(code):
        check_pan(pan)


@given(st.integers(0, 17), st.integers(1, 9))
def test_any_wrong_digit_of_a_pan_is_noticed(place: int, step: int) -> None:
    pan = "600727111111111153"
    wrong = pan[:place] + str((int(pan[place]) + step) % 10) + pan[place + 1 :]

    assert not pan_valid(wrong)


# --- token identifiers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_date", "last"),
    [(1993, "2024-11-24T20:15"), (2014, "2045-11-24T20:15"), (2035, "2066-11-24T20:15")],
)
def test_a_base_date_lasts_to_the_published_minute(base_date: int, last: str) -> None:
    instant = datetime.fromisoformat(f"{last}+00:00")
    minute = minute_1993_of(instant)

    assert tid_of_minute(minute, base_date) == TID_MAX
    assert instant_of_tid(TID_MAX, base_date) == instant
    with refused("after_last_tid"):
        tid_of_minute(minute + 1, base_date)


def test_nothing_is_issued_before_the_base_date() -> None:
    first = minute_1993_of(datetime(2014, 1, 1, tzinfo=UTC))

    assert tid_of_minute(first, 2014) == 0
    with refused("before_base_date"):
        tid_of_minute(first - 1, 2014)


@given(st.integers(0, TID_MAX), st.sampled_from(BASE_DATES))
def test_a_minute_is_one_identifier_under_one_base_date(tid: int, base_date: int) -> None:
    assert tid_of_minute(minute_1993_of_tid(tid, base_date), base_date) == tid


@given(st.integers(-(10**15), 10**16))
def test_a_minute_in_microseconds_is_that_of_the_calendar(epoch_us: int) -> None:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=epoch_us)

    assert minute_1993_of_us(epoch_us) == minute_1993_of(instant)


def test_a_local_time_counts_as_its_utc() -> None:
    nairobi = timezone(timedelta(hours=3))

    assert minute_1993_of(datetime(1993, 1, 1, 3, 1, 59, tzinfo=nairobi)) == 1


def test_a_time_without_zone_is_refused() -> None:
    with refused("naive_time"):
        minute_1993_of(datetime(2020, 1, 1))  # noqa: DTZ001  # the very thing to refuse


@pytest.mark.parametrize("base_date", [1992, 0, 35])
def test_an_unknown_base_date_is_refused(base_date: int) -> None:
    with refused("bad_base_date"):
        tid_of_minute(1, base_date)


@pytest.mark.parametrize("tid", [-1, TID_MAX + 1, True, "5", None])
def test_what_is_not_24_bits_is_no_identifier(tid: int) -> None:
    with refused("tid_out_of_range"):
        check_tid(tid)


@pytest.mark.parametrize(
    ("ken", "base_date", "last"), [(170, 1993, "2014-04-23T09:35"), (170, 2014, "2035-04-23T09:35")]
)
def test_a_key_expires_after_the_minute_that_its_number_says(
    ken: int, base_date: int, last: str
) -> None:
    minute = minute_1993_of(datetime.fromisoformat(f"{last}+00:00"))

    assert tid_of_minute(minute, base_date, ken) == 0xAAFFFF
    with refused("key_expired"):
        tid_of_minute(minute + 1, base_date, ken)


@given(st.integers(0, TID_MAX))
def test_key_expiry_number_255_never_expires(tid: int) -> None:
    assert not tid_expired(tid, 255)
    assert tid_of_minute(minute_1993_of_tid(tid, 2014), 2014, 255) == tid


def test_three_tokens_in_one_minute_take_three_minutes() -> None:
    kept: tuple[int, ...] = ()
    given_minutes = []
    for _ in range(3):
        minute = next_tid_minute(5_000_000, kept)
        kept = keep_tid_minute(kept, minute)
        given_minutes.append(minute)

    assert given_minutes == [5_000_000, 5_000_001, 5_000_002]


def test_the_reserved_minute_goes_to_special_tokens_only() -> None:
    reserved = 1440 * 3000 + 1

    assert is_reserved(reserved)
    assert next_tid_minute(reserved, ()) == reserved + 1
    assert next_tid_minute(reserved - 1, (reserved - 1,)) == reserved + 1
    assert next_tid_minute(reserved, (), special=True) == reserved
    assert next_tid_minute(reserved + 700, (), special=True) == reserved
    assert next_tid_minute(reserved + 700, (reserved,), special=True) == reserved + 1440
    assert next_tid_minute(reserved, (reserved + 5,), special=True) == reserved + 1440
    assert next_tid_minute(reserved, (reserved - 9, reserved), special=True) == reserved + 1440


def test_a_clock_that_jumped_back_gives_no_minute_that_the_meter_forgot() -> None:
    kept = tuple(range(6_000_000, 6_000_050))

    assert next_tid_minute(5_000_000, kept) == 6_000_050


@given(
    st.integers(0, 20_000_000),
    st.lists(st.integers(0, 20_000_000), max_size=60),
    st.integers(1, 7),
    st.data(),
)
def test_no_minute_is_given_twice_whatever_the_clock_does(
    now: int, earlier: list[int], lanes: int, data: st.DataObject
) -> None:
    lane = data.draw(st.integers(0, lanes - 1))
    kept: tuple[int, ...] = ()
    for minute in earlier:
        kept = keep_tid_minute(kept, minute)
    given_minutes = set()
    for _ in range(KEPT_TIDS + 10):
        clock = now + data.draw(st.integers(-3, 3))
        minute = next_tid_minute(clock, kept, lane, lanes)

        assert minute not in given_minutes
        assert minute not in kept
        assert minute % lanes == lane
        assert not is_reserved(minute)
        assert minute >= clock or minute > min(kept)
        given_minutes.add(minute)
        kept = keep_tid_minute(kept, minute)
    assert len(kept) == KEPT_TIDS
    assert list(kept) == sorted(kept)


@given(st.integers(0, 20_000_000), st.integers(1, 12), st.data())
def test_special_minutes_keep_to_their_lane_or_are_refused(
    now: int, lanes: int, data: st.DataObject
) -> None:
    lane = data.draw(st.integers(0, lanes - 1))
    in_lane = any((1440 * day + 1) % lanes == lane for day in range(lanes))
    if not in_lane:
        with refused("special_minute_not_in_lane"):
            next_tid_minute(now, (), lane, lanes, special=True)
        return

    minute = next_tid_minute(now, (), lane, lanes, special=True)

    assert is_reserved(minute)
    assert minute % lanes == lane


@pytest.mark.parametrize(("lane", "lanes"), [(0, 0), (1, 1), (-1, 2)])
def test_a_lane_that_is_none_is_refused(lane: int, lanes: int) -> None:
    with refused("bad_lane"):
        next_tid_minute(1, (), lane, lanes)

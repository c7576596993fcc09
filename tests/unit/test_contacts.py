"""Learning how often a device reports, and when its silence is an alarm."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices.contacts import (
    LEARNED_AFTER,
    SILENCE_US_MIN,
    UNLEARNED_SILENCE_US,
    WINDOW_CONTACTS,
    ContactRecord,
    Silence,
    heard,
)
from slotmeter.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US

NEVER = ContactRecord()
START_US = 1_700_000_000 * SECOND_US


def after(*gaps_us: int, record: ContactRecord = NEVER) -> ContactRecord:
    """A device that was heard at the start, and then again after each gap."""
    first_us = record.last_us or START_US
    for at_us in accumulate(gaps_us, initial=first_us):
        record = heard(record, at_us)
    return record


def hourly(contacts: int = 20) -> ContactRecord:
    return after(*[HOUR_US] * (contacts - 1))


def test_a_device_that_was_never_heard_is_expected_at_no_time() -> None:
    assert NEVER.expected_us is None
    assert NEVER.success_permille(START_US) is None


def test_after_its_first_contact_a_device_is_expected_within_a_day() -> None:
    assert after().expected_us == START_US + DAY_US


def test_the_interval_is_that_of_the_contacts() -> None:
    record = after(HOUR_US)

    assert record.interval_us == HOUR_US
    assert record.expected_us == START_US + 2 * HOUR_US


@pytest.mark.parametrize("interval_us", [3 * SECOND_US, 40 * SECOND_US, 15 * MINUTE_US, 7 * DAY_US])
def test_an_interval_is_learned_within_a_tenth_whatever_it_is(interval_us: int) -> None:
    noise = random.Random(5)
    gaps = [interval_us + noise.randrange(-interval_us // 20, interval_us // 20 + 1)
            for _ in range(60)]  # fmt: skip

    record = after(*gaps)

    assert record.interval_us is not None
    assert abs(record.interval_us - interval_us) <= interval_us // 10


def test_frames_of_one_session_are_one_contact() -> None:
    record = heard(hourly(), START_US + 20 * HOUR_US)
    later = heard(record, START_US + 20 * HOUR_US + 9 * SECOND_US)

    assert later == record


def test_a_lively_first_minute_does_not_make_an_hourly_device_a_fast_one() -> None:
    record = after(*[5 * SECOND_US] * 8, HOUR_US, HOUR_US, HOUR_US)

    assert record.interval_us is not None
    assert record.interval_us >= HOUR_US


def test_a_frame_that_comes_late_changes_nothing() -> None:
    assert heard(hourly(), START_US + HOUR_US) == hourly()


def test_a_missed_report_is_counted_and_hardly_moves_the_interval() -> None:
    record = after(2 * HOUR_US, record=hourly())

    assert record.missed == 1
    assert record.interval_us is not None
    assert record.interval_us <= HOUR_US * 5 // 4


def test_a_device_that_becomes_slower_is_no_alarm_after_three_of_its_new_days() -> None:
    record = after(*[DAY_US] * 3, record=hourly())

    assert record.silence_us_max > DAY_US


def test_a_device_that_becomes_faster_is_followed() -> None:
    daily = after(*[DAY_US] * 10)

    record = after(*[HOUR_US] * 40, record=daily)

    assert record.interval_us is not None
    assert record.interval_us <= 2 * HOUR_US


def test_the_success_rate_is_that_of_expected_contacts() -> None:
    record = after(*[HOUR_US, HOUR_US, HOUR_US, 2 * HOUR_US] * 20)

    rate = record.success_permille(record.last_us or 0)

    assert rate is not None
    assert 700 <= rate <= 850


def test_contacts_that_are_overdue_lower_the_success_rate_before_the_device_speaks_again() -> None:
    record = hourly(20)
    last_us = record.last_us or 0

    assert record.success_permille(last_us + HOUR_US) == 1000
    assert record.success_permille(last_us + 20 * HOUR_US) == 20 * 1000 // 39


def test_old_contacts_fade_from_the_success_rate() -> None:
    lossy = after(*[3 * HOUR_US, HOUR_US] * 30)

    record = after(*[HOUR_US] * 2 * WINDOW_CONTACTS, record=lossy)

    rate = record.success_permille(record.last_us or 0)
    assert lossy.missed > 20
    assert rate is not None
    assert rate >= 950


def test_silence_is_an_alarm_after_three_intervals_and_not_before() -> None:
    record = hourly()
    last_us = record.last_us or 0

    assert not Silence(record, last_us + 3 * HOUR_US).is_alarm
    assert Silence(record, last_us + 3 * HOUR_US + 1).is_alarm


def test_a_device_that_reports_every_few_seconds_may_be_silent_for_a_while() -> None:
    record = after(*[60 * SECOND_US] * 40)
    last_us = record.last_us or 0

    assert record.silence_us_max == SILENCE_US_MIN
    assert not Silence(record, last_us + SILENCE_US_MIN).is_alarm


def test_a_device_that_is_hardly_known_may_be_silent_for_a_day_and_its_jitter() -> None:
    record = after(5 * MINUTE_US)
    assert record.contacts < LEARNED_AFTER

    assert record.silence_us_max == UNLEARNED_SILENCE_US


def test_a_device_that_was_never_heard_is_no_alarm() -> None:
    assert not Silence(NEVER, START_US + 100 * DAY_US).is_alarm


def test_a_device_behind_a_node_that_is_offline_is_no_alarm() -> None:
    record = hourly()
    long_after_us = (record.last_us or 0) + 30 * DAY_US

    assert not Silence(record, long_after_us, is_node_offline=True).is_alarm


def test_a_device_behind_a_node_is_judged_as_far_as_the_node_was_heard() -> None:
    record = hourly()
    last_us = record.last_us or 0

    assert not Silence(record, alive_us=last_us + HOUR_US).is_alarm
    assert Silence(record, alive_us=last_us + 4 * HOUR_US).is_alarm


@given(st.lists(st.integers(1, 40 * DAY_US), max_size=400))
def test_whatever_comes_the_record_stays_within_its_bounds(gaps_us: list[int]) -> None:
    record = after(*gaps_us)
    last_us = record.last_us or 0

    assert 0 < record.contacts + record.missed <= WINDOW_CONTACTS + WINDOW_CONTACTS // 2
    assert record.interval_us is None or 0 < record.interval_us <= 41 * DAY_US
    assert (record.expected_us or 0) > last_us
    rate = record.success_permille(last_us + 40 * DAY_US)
    assert rate is None or 0 <= rate <= 1000


@given(st.integers(SECOND_US, 30 * DAY_US), st.integers(LEARNED_AFTER, 40))
def test_a_regular_device_is_never_an_alarm_while_it_reports(interval_us: int, times: int) -> None:
    record = NEVER
    for number in range(times):
        at_us = START_US + number * interval_us
        assert not Silence(record, at_us).is_alarm or record.contacts == 1
        record = heard(record, at_us)

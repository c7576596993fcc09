"""What is seen of a clock, and the times that are corrected by it."""

from __future__ import annotations

import random

import pytest

from slotmeter.services.clock_drift import (
    CORRECTED_FROM_US,
    SAMPLE_EVERY_US,
    SAMPLES_MAX,
    ClockFit,
    Corrections,
    Samples,
    adopt,
    fit,
)
from slotmeter.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US

NOW_US = 1_800_000_000_000_000


def seen(offset_us: int, drift_ppb: int = 0, wrong: tuple[int, ...] = ()) -> Samples:
    """Return samples of a clock an hour apart; those in ``wrong`` were two hours under way."""
    samples = Samples()
    for number in range(SAMPLES_MAX):
        at_us = NOW_US + number * HOUR_US
        ahead_us = offset_us + drift_ppb * number * HOUR_US // 10**9
        samples.note(at_us, ahead_us - (2 * HOUR_US if number in wrong else SECOND_US))
    return samples


def test_an_offset_is_found() -> None:
    found = fit(seen(5 * MINUTE_US).pairs())

    assert found is not None
    assert found.offset_us == 5 * MINUTE_US - SECOND_US
    assert found.drift_ppb == 0


def test_a_drift_is_found_with_the_offset_of_now() -> None:
    found = fit(seen(0, drift_ppb=100_000).pairs())

    assert found is not None
    assert abs(found.drift_ppb - 100_000) < 100
    assert abs(found.offset_us - (7 * HOUR_US // 10_000 - SECOND_US)) < SECOND_US // 10


@pytest.mark.parametrize("wrong", [(0,), (3, 4), (0, 7)])
def test_reports_that_were_long_under_way_do_not_count(wrong: tuple[int, ...]) -> None:
    found = fit(seen(5 * MINUTE_US, wrong=wrong).pairs())

    assert found is not None
    assert abs(found.offset_us - 5 * MINUTE_US) <= 2 * SECOND_US


def test_one_late_report_says_nothing() -> None:
    samples = Samples()
    samples.note(NOW_US, -DAY_US)

    assert fit(samples.pairs()) is None


@pytest.mark.parametrize("pace", [600, 3, -1])
def test_a_clock_that_goes_at_a_pace_of_its_own_is_left_alone(pace: int) -> None:
    samples = seen(0, drift_ppb=(pace - 1) * 10**9)

    assert fit(samples.pairs()) is None


def test_of_the_reports_of_one_sample_the_quickest_counts() -> None:
    samples = Samples()
    for ahead_us in (-9, -2, -5):
        samples.note(NOW_US, ahead_us)

    assert samples.pairs() == [(NOW_US, -2)]


def test_samples_are_bounded() -> None:
    samples = Samples()
    for number in range(100):
        samples.note(NOW_US + number * SAMPLE_EVERY_US, number)

    assert [ahead for _, ahead in samples.pairs()] == list(range(100 - SAMPLES_MAX, 100))


# --- corrections ----------------------------------------------------------------------------------


def off(offset_us: int) -> ClockFit:
    return ClockFit(offset_us, 0, NOW_US)


def test_a_clock_that_is_right_is_taken_at_its_word() -> None:
    known = Corrections()

    assert adopt(known, off(CORRECTED_FROM_US - 1), NOW_US) is known
    assert known.true_us(NOW_US, NOW_US) == NOW_US


def test_what_comes_after_is_corrected_and_what_came_before_is_not() -> None:
    after = adopt(Corrections(), off(HOUR_US), NOW_US)

    assert after.offset_us(NOW_US) == 0
    assert after.offset_us(NOW_US + 1) == HOUR_US
    assert after.true_us(NOW_US - 5, NOW_US + 1) == NOW_US - 5 - HOUR_US


def test_an_offset_that_hardly_moved_is_the_same() -> None:
    known = adopt(Corrections(), off(HOUR_US), NOW_US)

    assert adopt(known, off(HOUR_US + 5 * SECOND_US), NOW_US + DAY_US) is known


def test_a_clock_that_is_right_again_is_corrected_no_more() -> None:
    known = adopt(Corrections(), off(HOUR_US), NOW_US)
    after = adopt(known, off(0), NOW_US + DAY_US)

    assert after.offset_us(NOW_US + DAY_US) == HOUR_US
    assert after.offset_us(NOW_US + DAY_US + 1) == 0


def test_what_a_clock_says_again_after_it_was_set_back_is_of_the_clock_as_it_is_now() -> None:
    known = adopt(Corrections(), off(DAY_US), NOW_US)
    after = adopt(known, off(0), NOW_US - HOUR_US)

    assert after.offset_us(NOW_US + HOUR_US) == 0


def test_a_time_of_a_clock_is_corrected_alike_however_often_it_comes() -> None:
    draw, known, said = random.Random(1), Corrections(), dict[int, int]()
    clock_us = NOW_US
    for _ in range(300):
        clock_us += draw.randint(1, HOUR_US)
        said[clock_us] = known.offset_us(clock_us)
        if draw.random() < 0.3:
            known = adopt(known, off(draw.randint(-DAY_US, DAY_US)), clock_us)
        again_us = draw.choice(list(said)[-40:])
        assert known.offset_us(again_us) == said[again_us]

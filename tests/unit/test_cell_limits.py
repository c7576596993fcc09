"""What one cell, gateway or concentrator carries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.services.cell_limits import CELLS_MAX, CellLimit, CellLimits
from slotmeter.units import MINUTE_US, SECOND_US

LIMIT = CellLimit(per_minute=6, burst=3)
FULL_US = 30 * SECOND_US
"""After so long a bucket is full."""

Asked = tuple[int, int, int, int]
"""A pause in seconds, commands that go in any case, others, and how many of those go."""


def used_up() -> CellLimits:
    """Return limits with nothing left in cell "a" at ``FULL_US``."""
    limits = CellLimits(LIMIT)
    assert limits.take("a", 0, 99, FULL_US) == 3
    return limits


def test_without_a_limit_nothing_is_counted() -> None:
    limits = CellLimits(None)

    assert [limits.take("a", 0, 1_000, 0), limits.take("a", 0, 1_000, 0)] == [None, None]


def test_a_cell_that_nothing_went_through_yet_has_no_room_until_time_makes_some() -> None:
    limits = CellLimits(LIMIT, 7)

    assert [limits.take("a", 0, 9, 7 + at_s * SECOND_US) for at_s in (0, 9, 10, 600)] == [
        *(0, 0, 1, 3)
    ]


@pytest.mark.parametrize(("after_s", "room"), [(0, 0), (9, 0), (10, 1), (20, 2), (600, 3)])
def test_a_cell_carries_its_burst_and_then_what_time_gives(after_s: int, room: int) -> None:
    assert used_up().take("a", 0, 9, FULL_US + after_s * SECOND_US) == room


def test_cells_do_not_share() -> None:
    assert used_up().take("b", 0, 9, FULL_US) == 3


def test_what_went_in_any_case_is_paid_back_first() -> None:
    limits = CellLimits(LIMIT)
    limits.take("a", 9, 0, FULL_US)

    assert limits.take("a", 0, 9, FULL_US + MINUTE_US) == 0
    assert limits.take("a", 0, 9, FULL_US + MINUTE_US + 10 * SECOND_US) == 1


def test_what_did_not_go_is_given_back() -> None:
    limits = used_up()
    limits.settle("a", taken=3, went=1, now_us=FULL_US)

    assert limits.take("a", 0, 9, FULL_US) == 2


def test_no_cell_holds_more_than_its_burst_however_much_is_given_back() -> None:
    limits = used_up()
    limits.settle("a", taken=3, went=0, now_us=2 * FULL_US)

    assert limits.take("a", 0, 9, 2 * FULL_US) == 3


def test_cells_with_less_than_all_their_room_are_never_forgotten() -> None:
    limits = used_up()
    for number in range(3 * CELLS_MAX):
        limits.take(str(number), 0, 1, FULL_US)

    assert limits.take("a", 0, 9, FULL_US) == 0
    assert limits.take("0", 0, 9, FULL_US) == 2


def test_cells_that_have_all_their_room_are_forgotten_when_there_are_many() -> None:
    limits = CellLimits(LIMIT)
    for number in range(5 * CELLS_MAX):
        limits.take(str(number), 0, 1, FULL_US + number * SECOND_US)

    assert len(limits._buckets) <= CELLS_MAX


@given(st.lists(st.tuples(*(st.integers(0, most) for most in (40, 2, 5, 5))), max_size=40))
def test_within_no_span_of_time_goes_more_than_a_burst_and_what_the_span_fills(
    asked: list[Asked],
) -> None:
    limits, now_us, went = CellLimits(LIMIT), 0, []
    for pause_s, freely, others, of_these in asked:
        now_us += pause_s * SECOND_US
        room = limits.take("a", freely, others, now_us) or 0
        limits.settle("a", freely + room, freely + min(room, of_these), now_us)
        went.append((now_us, min(room, of_these)))

    for first, (from_us, _) in enumerate(went):
        so_far = 0
        for to_us, count in went[first:]:
            so_far += count
            assert so_far * MINUTE_US <= LIMIT.full + (to_us - from_us) * LIMIT.per_minute


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (1, 0)])
def test_a_limit_that_would_stop_everything_is_refused(per_minute: int, burst: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        CellLimit(per_minute, burst)

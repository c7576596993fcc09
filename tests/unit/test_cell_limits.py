"""What one cell, gateway or concentrator carries."""

from __future__ import annotations

import pytest

from slotmeter.services.cell_limits import CELLS_MAX, CellLimit, CellLimits
from slotmeter.units import MINUTE_US, SECOND_US

LIMIT = CellLimit(per_minute=6, burst=3)


def test_without_a_limit_nothing_is_counted() -> None:
    limits = CellLimits(None)
    limits.spend("a", 1_000, 0)

    assert limits.left("a", 0) is None


def test_a_cell_carries_its_burst_and_then_what_time_gives() -> None:
    limits = CellLimits(LIMIT)
    limits.spend("a", 3, 0)

    assert [limits.left("a", at_s * SECOND_US) for at_s in (0, 9, 10, 20, 600)] == [0, 0, 1, 2, 3]


def test_cells_do_not_share() -> None:
    limits = CellLimits(LIMIT)
    limits.spend("a", 3, 0)

    assert limits.left("b", 0) == 3


def test_what_was_spent_beyond_the_limit_is_paid_back_first() -> None:
    limits = CellLimits(LIMIT)
    limits.spend("a", 9, 0)

    assert limits.left("a", MINUTE_US) == 0
    assert limits.left("a", MINUTE_US + 10 * SECOND_US) == 1


def test_a_clock_that_was_set_back_gives_nothing() -> None:
    limits = CellLimits(LIMIT)
    limits.spend("a", 3, MINUTE_US)

    assert limits.left("a", 0) == 0


def test_the_cells_that_were_not_used_longest_are_forgotten() -> None:
    limits = CellLimits(LIMIT)
    for number in range(CELLS_MAX + 1):
        limits.spend(str(number), 3, 0)

    assert limits.left("0", 0) == 3
    assert limits.left(str(CELLS_MAX), 0) == 0


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (1, 0)])
def test_a_limit_that_would_stop_everything_is_refused(per_minute: int, burst: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        CellLimit(per_minute, burst)

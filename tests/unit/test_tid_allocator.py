"""Leaving out minutes that are over changes nothing about which identifier comes next."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from slotmeter.services.tid_allocator import TidAllocator
from slotmeter.vending.sts import KEPT_TIDS, KeyParameters, is_reserved, minute_1993_of_us

PARAMETERS = KeyParameters(pan="600727000000000009", sgc="123457", krn=1, kt=2, ti=1)
NOW_US = 29_000_000 * 60_000_000
PRESENT = minute_1993_of_us(NOW_US)


@given(st.sets(st.integers(PRESENT - 100, PRESENT + 100), max_size=120))
def test_the_first_free_minute_comes_next_whether_or_not_what_is_over_is_told(
    used: set[int],
) -> None:
    recent = sorted((each for each in used if each >= PRESENT), reverse=True)[:KEPT_TIDS]
    told = (recent, sorted(used, reverse=True)[:KEPT_TIDS])

    found = {TidAllocator().next(NOW_US, kept, PARAMETERS).minute for kept in told}

    # A memory that is full of minutes to come has forgotten what lay below them.
    start = min(recent) + 1 if len(recent) == KEPT_TIDS else PRESENT
    free = (minute for minute in itertools.count(start) if minute not in used)
    assert found == {next(minute for minute in free if not is_reserved(minute))}

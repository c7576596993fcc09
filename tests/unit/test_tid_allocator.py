"""Leaving out minutes that are over changes nothing about which identifier comes next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slotmeter.services.tid_allocator import TidAllocator
from slotmeter.vending.sts import KEPT_TIDS, KeyParameters, minute_1993_of_us, next_tid_minute

PARAMETERS = KeyParameters(pan="600727000000000009", sgc="123457", krn=1, kt=2, ti=1)
NOW_US = 29_000_000 * 60_000_000
PRESENT = minute_1993_of_us(NOW_US)


@given(st.sets(st.integers(PRESENT - 100, PRESENT + 100), max_size=120))
def test_the_next_identifier_is_the_same_with_and_without_what_is_over(used: set[int]) -> None:
    kept = sorted(used, reverse=True)[:KEPT_TIDS]
    recent = sorted((each for each in used if each >= PRESENT), reverse=True)[:KEPT_TIDS]

    found = TidAllocator().next(NOW_US, recent, PARAMETERS)

    assert found.minute == next_tid_minute(PRESENT, kept or (PRESENT - 1,))
    assert found.minute not in used

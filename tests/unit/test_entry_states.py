"""States of config entries, their pauses and their keys."""

from __future__ import annotations

import pytest

from slotmeter.devices.entries import (
    EntryState,
    may_follow,
    retry_pause_ms,
    valid_entry_key,
)

S = EntryState


def test_pauses_double_from_five_seconds_to_ten_minutes() -> None:
    pauses = [retry_pause_ms(failures, 0) for failures in range(1, 10)]

    assert pauses == [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 600_000, 600_000]


@pytest.mark.parametrize("failures", [1, 2, 8, 100, 10**9])
def test_a_draw_shortens_a_pause_by_a_fifth_at_most(failures: int) -> None:
    whole = retry_pause_ms(failures, 0)

    assert retry_pause_ms(failures, 1_000) == whole - whole // 5
    assert whole - whole // 5 < retry_pause_ms(failures, 500) < whole <= 600_000


@pytest.mark.parametrize(("failures", "draw"), [(0, 0), (-1, 0), (1, -1), (1, 1_001)])
def test_a_pause_of_nothing_that_can_be_is_refused(failures: int, draw: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        retry_pause_ms(failures, draw)


def test_an_entry_that_failed_is_loaded_only_by_setting_it_up_again() -> None:
    into_loaded = {before for before in S if may_follow(before, S.LOADED)}

    assert into_loaded == {S.SETTING_UP}


def test_a_loaded_entry_is_never_left_but_by_unloading() -> None:
    assert {after for after in S if may_follow(S.LOADED, after)} == {S.UNLOADING}


def test_every_state_can_be_reached_and_left() -> None:
    assert {after for before in S for after in S if may_follow(before, after)} == set(S)
    assert all(any(may_follow(before, after) for after in S) for before in S)


@pytest.mark.parametrize("key", ["a", "nbiot", "town-2", "a_b", "a" * 32])
def test_keys_that_can_be(key: str) -> None:
    assert valid_entry_key(key)


@pytest.mark.parametrize("key", ["", "A", "2a", "a b", "a/b", "a.b", "a" * 33, "a\n", "ä"])
def test_keys_that_cannot_be(key: str) -> None:
    assert not valid_entry_key(key)

"""Meter time: faster than real time, or standing still until it is moved."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from slotmeter.errors import Refused
from slotmeter.testing import Household, ManualClock, SpeedClock
from slotmeter.units import Commodity

START = datetime(2026, 9, 21, 6, 0, tzinfo=UTC)


class Nanoseconds:
    """A monotonic counter that a test moves."""

    def __init__(self) -> None:
        self.value = 5_000

    def __call__(self) -> int:
        return self.value


def test_meter_time_runs_at_its_speed_from_its_start() -> None:
    counter = Nanoseconds()
    clock = SpeedClock(START, 600, monotonic_ns=counter)
    before = clock.now()

    counter.value += 1_500_000_000

    assert (before, clock.now()) == (START, START + timedelta(minutes=15))


async def test_sleeping_until_a_time_returns_when_it_is_reached() -> None:
    clock = SpeedClock(START, 100_000)

    await clock.sleep_until(START + timedelta(minutes=1))

    assert clock.now() >= START + timedelta(minutes=1)


async def test_a_manual_clock_wakes_a_sleeper_only_at_its_time() -> None:
    clock = ManualClock(START)
    sleeper = asyncio.create_task(clock.sleep_until(START + timedelta(seconds=10)))
    await asyncio.sleep(0)
    clock.advance(timedelta(seconds=9))
    await asyncio.sleep(0)
    too_early = sleeper.done()

    clock.advance(timedelta(seconds=1))
    await asyncio.wait_for(sleeper, timeout=5)

    assert not too_early


@pytest.mark.parametrize("speed", [0, -1, 100_001])
def test_an_impossible_speed_is_refused(speed: int) -> None:
    with pytest.raises(Refused, match="expected a speed"):
        SpeedClock(START, speed)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(Refused, match="time zone"):
        ManualClock(START.replace(tzinfo=None))


def test_a_manual_clock_does_not_run_back() -> None:
    with pytest.raises(Refused, match="expected a step forward"):
        ManualClock(START).advance(timedelta(seconds=-1))


@pytest.mark.parametrize("commodity", list(Commodity))
def test_one_seed_is_one_household_and_another_is_another(commodity: Commodity) -> None:
    def day(seed: int) -> list[int]:
        household = Household(seed)
        return [household.rate_per_hour(commodity, slot * 900_000_000) for slot in range(96)]

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_the_evening_follows_local_time() -> None:
    midnight_us = 1_790_035_200_000_000 // 86_400_000_000 * 86_400_000_000
    here, three_hours_east = Household(1), Household(1, utc_offset_minutes=180)

    def evening(household: Household) -> int:
        hours = range(96)
        rates = [
            household.rate_per_hour(Commodity.ELECTRICITY, midnight_us + slot * 900_000_000)
            for slot in hours
        ]
        return sum(slot * rate for slot, rate in zip(hours, rates, strict=True)) // sum(rates)

    assert evening(three_hours_east) < evening(here)


@pytest.mark.parametrize("people", [0, -1, 21])
def test_a_household_of_nobody_or_of_a_crowd_is_refused(people: int) -> None:
    with pytest.raises(Refused, match="people"):
        Household(1, people)


def test_an_offset_beyond_the_worlds_time_zones_is_refused() -> None:
    with pytest.raises(Refused, match="14 hours"):
        Household(1, utc_offset_minutes=15 * 60)

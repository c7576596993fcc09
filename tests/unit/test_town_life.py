"""What a household of the town does in front of its meter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from slotmeter.testing.meter_clock import ManualClock
from slotmeter.testing.simulators import MeterLink
from slotmeter.testing.till import Till
from slotmeter.testing.token_maker import TokenMaker
from slotmeter.testing.town import Habit, Home, Town, plan_town
from slotmeter.testing.town_life import TownLife, _Household

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OPENED_S = 10.0


@pytest.fixture
def link() -> MeterLink:
    meter = TokenMaker().meter(1, "electricity", made_at=NOW, opening_credit=500)
    return MeterLink(meter, meter.number, ManualClock(NOW))


@pytest.fixture
def household(link: MeterLink) -> _Household:
    """One that has credit and nothing to buy, and whose cover somebody opens."""
    planned = plan_town(1, 1).homes[0]
    home: Home = replace(
        planned,
        number=link.meter.number,
        habit=Habit.LATE,
        offline_from_s=None,
        tamper_at_s=OPENED_S,
    )
    till = Till("http://127.0.0.1:9", "", name="nobody")
    return _Household(home, link, TownLife(Town(1, (home,)), {home.number: link}, till, speed=1))


async def test_a_cover_stays_open_long_enough_for_the_alarm_to_be_seen(
    household: _Household, link: MeterLink
) -> None:
    await household.look(OPENED_S)
    await household.look(OPENED_S + 29)

    assert link.meter.tamper
    assert not link.clear_tamper(), "an open cover cannot be cleared"


async def test_somebody_looks_after_an_opened_cover_in_the_end(
    household: _Household, link: MeterLink
) -> None:
    await household.look(OPENED_S)
    await household.look(OPENED_S + 33)

    assert not link.meter.tamper

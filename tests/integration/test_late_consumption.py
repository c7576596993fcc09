"""What meters report once the books of that day are closed goes to the open period, with why."""

from __future__ import annotations

from datetime import timedelta

import pytest

from slotmeter.ports import Row
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.period_close import Periods
from slotmeter.services.registry import Registry
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    """A meter whose credit we hold, with money, and charged up to its first report."""
    meter = await town.utility.add_meter("electricity", credit_mode="platform")
    await town.pay(meter, 500_00)
    await town.side.report(meter, {"energy_import": 1_000})
    return meter


async def close_yesterday(town: DeviceTown) -> Row:
    """Wait for the next day and close the books through this one."""
    boss = await town.utility.add_principal("Boss", "supervisor")
    town.side.clock.advance(days=1)
    closing = Periods(town.side.uow, town.side.clock)
    yesterday = (town.side.clock.now() - timedelta(days=1)).date()
    row, _ = await closing.close(Asked(boss, "c1", "the day is over"), yesterday)
    return row


def booked(town: DeviceTown) -> list[tuple[int, str]]:
    found = town.rows("SELECT at_us, reason FROM journal WHERE kind = 'consumption' ORDER BY id")
    return [(row["at_us"], row["reason"]) for row in found]


async def broken(town: DeviceTown) -> list[str]:
    utility = await Registry(town.side.uow, town.side.clock).utility("small")
    verdict = await verify_ledger(town.side.uow, town.side.clock, utility)
    return [each.sentence for each in verdict.sentences if not each.holds]


async def test_use_of_a_closed_day_is_booked_in_the_open_period_and_says_why(
    town: DeviceTown, meter: SmallMeter
) -> None:
    measured_at = town.side.clock.now() + timedelta(hours=1)
    period = await close_yesterday(town)

    await town.side.report(meter, {"energy_import": 3_000}, at=measured_at)

    [(at_us, reason)] = booked(town)
    assert at_us == town.now_us >= period["to_us"]
    assert f"(late: measured at {measured_at:%Y-%m-%dT%H:%M}" in reason
    assert "whose books were closed)" in reason
    assert await broken(town) == []


async def test_a_frame_that_waited_over_the_close_is_booked_once_in_the_open_period(
    town: DeviceTown, meter: SmallMeter
) -> None:
    town.side.clock.advance(hours=1)
    await town.side.report(meter, {"energy_import": 3_000}, consume=False)
    period = await close_yesterday(town)

    await town.side.consumer.step()
    await town.side.consumer.step()

    [(at_us, reason)] = booked(town)
    assert at_us >= period["to_us"]
    assert "late: measured at" in reason
    assert await broken(town) == []


async def test_use_of_the_open_period_is_not_called_late(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await close_yesterday(town)

    await town.side.report(meter, {"energy_import": 3_000})

    [(_, reason)] = booked(town)
    assert "late" not in reason


async def test_a_clock_that_went_back_books_use_in_the_open_period(
    town: DeviceTown, meter: SmallMeter
) -> None:
    period = await close_yesterday(town)
    town.side.clock.advance(days=-1, hours=2)

    await town.side.report(meter, {"energy_import": 3_000})

    [(at_us, reason)] = booked(town)
    assert at_us == period["to_us"]
    assert reason.count("late") == 1
    assert await broken(town) == []

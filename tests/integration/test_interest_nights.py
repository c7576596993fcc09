"""Interest that the running server books: once a local day, whoever stops and starts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from slotmeter.services.debt_terms import InterestWish
from slotmeter.services.interest_nights import CHECK_EVERY_S, InterestNights
from slotmeter.services.metrics import InterestMetrics
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter

# The shop keeps the days of Nairobi, three hours before UTC, and opens on 2026-11-21.
BEFORE_MIDNIGHT = datetime(2026, 11, 21, 20, 59, tzinfo=UTC)
AFTER_MIDNIGHT = datetime(2026, 11, 21, 21, 1, tzinfo=UTC)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def meter(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter("electricity")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def nights(office: DebtOffice, registry: CollectorRegistry) -> InterestNights:
    return server_of(office, registry)


def server_of(office: DebtOffice, registry: CollectorRegistry) -> InterestNights:
    return InterestNights(office.shop.database, office.shop.clock, InterestMetrics(registry))


async def owe(office: DebtOffice, meter: SmallMeter) -> str:
    debt = await office.owe(meter, "1000.00", interest=InterestWish("3", "month"))
    return str(debt["number"])


async def test_a_day_is_booked_when_it_is_over_where_the_utility_is(
    office: DebtOffice, meter: SmallMeter, nights: InterestNights
) -> None:
    number = await owe(office, meter)
    office.shop.clock.set(BEFORE_MIDNIGHT)
    before = await nights.check()
    office.shop.clock.set(AFTER_MIDNIGHT)

    after = await nights.check()

    # A thirtieth of 3 % for the one day.
    assert (before, after) == (0, 1)
    assert await office.left(number) == 100_100


async def test_looking_again_on_the_same_day_books_nothing(
    office: DebtOffice, meter: SmallMeter, nights: InterestNights
) -> None:
    number = await owe(office, meter)
    office.shop.clock.set(AFTER_MIDNIGHT)
    booked = [await nights.check()]
    office.shop.clock.advance(seconds=int(CHECK_EVERY_S))

    booked.append(await nights.check())

    assert booked == [1, 0]
    assert await office.left(number) == 100_100


async def test_a_server_that_starts_again_books_only_the_days_that_were_missed(
    office: DebtOffice, meter: SmallMeter, nights: InterestNights
) -> None:
    number = await owe(office, meter)
    office.shop.clock.set(AFTER_MIDNIGHT)
    await nights.check()
    again = await server_of(office, CollectorRegistry()).check()
    office.shop.clock.advance(days=5)

    missed = await server_of(office, CollectorRegistry()).check()

    assert (again, missed) == (0, 1)
    assert await office.left(number) == 100_000 + 6 * 100


async def test_what_a_person_posted_is_not_booked_at_night(
    office: DebtOffice, meter: SmallMeter, nights: InterestNights
) -> None:
    number = await owe(office, meter)
    office.shop.clock.set(AFTER_MIDNIGHT)
    yesterday = BEFORE_MIDNIGHT.date()
    await office.interest.post(office.origin, office.books, yesterday, reason="by hand")

    assert await nights.check() == 0
    assert await office.left(number) == 100_100


async def test_the_act_names_the_server(
    office: DebtOffice, meter: SmallMeter, nights: InterestNights
) -> None:
    await owe(office, meter)
    office.shop.clock.set(AFTER_MIDNIGHT)

    await nights.check()

    addresses = office.shop.column("SELECT address FROM act WHERE what = 'debt.interest'")
    assert addresses == ["local:server"]


async def test_what_was_booked_is_counted(
    office: DebtOffice,
    meter: SmallMeter,
    nights: InterestNights,
    registry: CollectorRegistry,
) -> None:
    await owe(office, meter)
    office.shop.clock.set(AFTER_MIDNIGHT)

    await nights.check()

    days = (BEFORE_MIDNIGHT - datetime(1970, 1, 1, tzinfo=UTC)).days
    (code,) = office.shop.column("SELECT code FROM utility")
    assert registry.get_sample_value("slotmeter_interest_debts_total") == 1
    through = registry.get_sample_value("slotmeter_interest_through_day", {"utility": code})
    assert through == days


async def test_the_task_looks_again_after_each_pause_until_it_is_cancelled(
    office: DebtOffice, meter: SmallMeter
) -> None:
    number = await owe(office, meter)
    pauses: list[float] = []

    async def a_day(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 4:
            raise asyncio.CancelledError
        office.shop.clock.advance(days=1)

    metrics = InterestMetrics(CollectorRegistry())
    nights = InterestNights(office.shop.database, office.shop.clock, metrics, sleep=a_day)

    with pytest.raises(asyncio.CancelledError):
        await nights.run()

    assert pauses == [CHECK_EVERY_S] * 4
    assert await office.left(number) == 100_000 + 3 * 100

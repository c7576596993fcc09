"""Interest by date in a real database: posted once for each day, in one entry for many debts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

from slotmeter.errors import Refused
from slotmeter.services.debt_terms import InterestWish
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def meter(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter("electricity")


async def test_interest_posted_twice_is_posted_once(office: DebtOffice, meter: SmallMeter) -> None:
    debt = await office.owe(meter, "1000.00", interest=InterestWish("3", "month"))
    office.shop.clock.advance(seconds=30 * 86_400)
    through = date(2026, 11, 30)

    posted = [
        await office.interest.post(office.origin, office.books, through, reason="monthly")
        for _ in range(2)
    ]

    # Ten days of November, the day it was made included, at a thirtieth of 3 % each.
    assert [each.total_minor for each in posted] == [1000, 0]
    assert await office.left(debt["number"]) == 101_000
    assert await office.shop.ledger("income:interest") == {"income:interest": -1000}


async def test_many_debts_share_one_entry_that_balances(
    office: DebtOffice, meter: SmallMeter
) -> None:
    for _ in range(53):
        await office.owe(meter, "1000.00", interest=InterestWish("3", "month"))
    office.shop.clock.advance(seconds=30 * 86_400)

    posted = await office.interest.post(
        office.origin, office.books, date(2026, 11, 30), reason="monthly"
    )

    assert (posted.debts, posted.bearing, posted.total_minor) == (53, 53, 53_000)
    assert await office.shop.ledger("income:interest") == {"income:interest": -53_000}


async def test_interest_is_not_posted_for_a_day_that_is_not_over(office: DebtOffice) -> None:
    with pytest.raises(Refused) as caught:
        await office.interest.post(office.origin, office.books, date(2026, 11, 21), reason="early")
    assert caught.value.code == "day_not_over"

"""What a debt bears once a sale that had repaid some of it is taken back: as if never repaid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

from slotmeter.ports import Caller
from slotmeter.services.debt_terms import InterestWish, PlanWish
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.vending.debt_plans import Shape

pytestmark = pytest.mark.both_databases

DAY_S = 86_400
HALF = PlanWish(shape=Shape.PERCENT, percent="50")
THREE_A_MONTH = InterestWish("3", "month")


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def boss(office: DebtOffice) -> Caller:
    return await office.shop.utility.add_principal("Boss", "supervisor")


async def owing(office: DebtOffice) -> tuple[SmallMeter, str]:
    """A meter whose account owes 1,000.00 from 21 November on, and the debt's number."""
    meter = await office.shop.utility.add_meter(online=False)
    debt = await office.owe(meter, "1000.00", interest=THREE_A_MONTH, plan=HALF)
    return meter, debt["number"]


async def post(office: DebtOffice, through: date) -> int:
    done = await office.interest.post(office.origin, office.books, through, reason="monthly")
    return done.total_minor


async def take_back(office: DebtOffice, boss: Caller, receipt: str) -> None:
    reversals = Reversals(office.shop.database, office.shop.clock)
    await reversals.reverse(Asked(boss, f"q{receipt}", "wrong"), ReversalWish(receipt, "customer"))


async def broken(office: DebtOffice) -> list[str]:
    utility = await Registry(office.shop.database, office.shop.clock).utility("small")
    verdict = await verify_ledger(office.shop.database, office.shop.clock, utility)
    return [each.sentence for each in verdict.sentences if not each.holds]


async def test_interest_of_days_between_payment_and_reversal_is_posted_afterwards(
    office: DebtOffice, boss: Caller
) -> None:
    meter, number = await owing(office)
    sale = await office.shop.sell(meter.number, "1000.00")
    office.shop.clock.advance(seconds=10 * DAY_S)
    # Ten days of November at a thirtieth of 3 % of the 500.00 that are left.
    assert await post(office, date(2026, 11, 30)) == 5_00

    await take_back(office, boss, sale.receipt_number)
    office.shop.clock.advance(seconds=31 * DAY_S)
    posted = await post(office, date(2026, 12, 31))

    # The other 5.00 of November, and 30.00 of December, of 1,000.00.
    assert posted == 5_00 + 30_00
    assert await office.left(number) == 1_000_00 + 40_00
    assert await broken(office) == []


async def test_a_debt_that_was_paid_off_bears_again_once_its_payment_is_taken_back(
    office: DebtOffice, boss: Caller
) -> None:
    meter, number = await owing(office)
    sale = await office.shop.sell(meter.number, "2000.00")
    closed = (await office.debts.debt(office.books, number))["state"]
    office.shop.clock.advance(seconds=10 * DAY_S)
    while_closed = await post(office, date(2026, 11, 30))

    await take_back(office, boss, sale.receipt_number)
    reopened = await office.debts.debt(office.books, number)
    caught_up = await post(office, date(2026, 11, 30))

    assert (closed, while_closed) == ("closed", 0)
    assert (reopened["state"], reopened["balance_minor"]) == ("open", 1_000_00)
    assert caught_up == 10_00
    assert await broken(office) == []


async def test_interest_that_a_payment_had_repaid_is_owed_again_and_not_posted_twice(
    office: DebtOffice, boss: Caller
) -> None:
    meter, number = await owing(office)
    office.shop.clock.advance(seconds=10 * DAY_S)
    before = await post(office, date(2026, 11, 30))
    sale = await office.shop.sell(meter.number, "2020.00")

    await take_back(office, boss, sale.receipt_number)
    again = await post(office, date(2026, 11, 30))

    assert (before, again) == (10_00, 0)
    assert await office.left(number) == 1_010_00
    assert await broken(office) == []


async def test_one_who_paid_and_had_it_taken_back_owes_what_one_who_never_paid_owes(
    office: DebtOffice, boss: Caller
) -> None:
    paid, number = await owing(office)
    _, never = await owing(office)
    receipts = []
    for at in range(3):
        office.shop.clock.advance(seconds=5 * DAY_S)
        sale = await office.shop.sell(paid.number, "300.00", f"s{at}")
        receipts.append(sale.receipt_number)
    await post(office, date(2026, 11, 30))

    for receipt in reversed(receipts):
        await take_back(office, boss, receipt)
        office.shop.clock.advance(seconds=7 * DAY_S)
    await post(office, date(2026, 12, 24))

    assert await office.left(number) == await office.left(never) > 1_000_00
    assert await broken(office) == []

"""``ledger verify`` holds the ledger against debts, and names each kind of damage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.testing.debt_office import DebtOffice, open_debt_office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    """An office with one debt that is owed, one written off, and a sale without debts."""
    async with open_debt_office(tmp_path) as opened:
        meter = await opened.shop.utility.add_meter("electricity")
        await opened.shop.sell(meter.number)
        await opened.owe(meter, "300.00")
        gone = await opened.owe(meter, "40.00", "fine")
        await opened.debts.cancel(opened.origin, opened.books, gone["number"], reason="gone")
        yield opened


async def broken(office: DebtOffice) -> set[str]:
    """The sentences that do not hold."""
    database, clock = office.shop.database, office.shop.clock
    verdict = await verify_ledger(database, clock, await Registry(database, clock).utility(None))
    return {each.name for each in verdict.sentences if not each.holds}


async def test_honest_debts_hold(office: DebtOffice) -> None:
    assert await broken(office) == set()


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE debt SET state = 'closed' WHERE number = 'D00000001'", "debts_owed"),
        ("UPDATE debt SET state = 'open' WHERE number = 'D00000002'", "debts_owed"),
        (
            "UPDATE ledger_account SET balance_minor = -1 WHERE code = 'debt:D00000001'",
            "debts_owed",
        ),
        (
            "INSERT INTO debt_taken (id, utility_id, debt_id, sale_row_id, minor, at_us) "
            "SELECT 1, d.utility_id, d.id, s.id, 5, 0 FROM debt d, sale s LIMIT 1",
            "debts_repaid",
        ),
    ],
)
async def test_damage_to_debts_is_named(office: DebtOffice, statement: str, name: str) -> None:
    office.shop.sql(statement)

    assert name in await broken(office)

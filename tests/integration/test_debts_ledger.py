"""``ledger verify`` holds the ledger against debts, and names each kind of damage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from slotmeter.services.debt_terms import PlanWish
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.testing.databases import RowRefused
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases


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
            "INSERT INTO debt_taken (id, utility_id, debt_id, sale_row_id, minor, at_us) "
            "SELECT 1, d.utility_id, d.id, s.id, 5, 0 FROM debt d, sale s LIMIT 1",
            "debts_repaid",
        ),
    ],
)
async def test_damage_to_debts_is_named(office: DebtOffice, statement: str, name: str) -> None:
    office.shop.sql(statement)

    assert name in await broken(office)


async def test_the_database_itself_lets_no_debt_below_zero(office: DebtOffice) -> None:
    with pytest.raises(RowRefused, match="never below zero"):
        office.shop.sql("UPDATE ledger_account SET balance_minor = -1 WHERE code LIKE 'debt:%'")


async def test_a_debt_below_zero_is_named_also_where_the_trigger_was_taken_away(
    office: DebtOffice,
) -> None:
    office.shop.behind.damage(
        "UPDATE ledger_account SET balance_minor = -1 WHERE code = 'debt:D00000001'",
    )

    assert "debts_owed" in await broken(office)


# --- the tax within a debt ------------------------------------------------------------------------


async def moved(office: DebtOffice, meter: SmallMeter, how: str | None, **more: Any) -> Any:
    """What a debt of 116.00 with 16 % tax within it, and its end, moved; codes without numbers."""
    owed = await office.owe(meter, "116.00", "fine", tax_percent="16", **more)
    if how is not None:
        await office.debts.cancel(
            office.origin, office.books, owed["number"], how=how, reason="test"
        )
    rows = office.shop.rows_of(
        "SELECT CASE WHEN code LIKE 'debt:%' THEN 'debt' ELSE code END AS code,"
        " sum(amount_minor) AS minor FROM posting p JOIN ledger_account l"
        " ON l.id = p.ledger_account_id WHERE p.journal_id IN (SELECT p2.journal_id FROM posting p2"
        " JOIN debt d ON d.ledger_account_id = p2.ledger_account_id WHERE d.number = ?)"
        " GROUP BY 1 ORDER BY 1",
        owed["number"],
    )
    assert await broken(office) == set()
    return {row["code"]: row["minor"] for row in rows if row["minor"]}


@pytest.mark.parametrize(
    ("how", "more", "expected"),
    [
        (None, {}, {"debt": 11600, "income:debt:fine": -10000, "tax:vat": -1600}),
        (None, {"tax": "levy2"}, {"debt": 11600, "income:debt:fine": -10000, "tax:levy2": -1600}),
        (None, {"source": "taken_over"}, {"debt": 11600, "opening": -11600}),
        ("write_off", {}, {"income:debt:fine": -10000, "write_off": 10000}),
        ("write_off", {"source": "taken_over"}, {"opening": -11600, "write_off": 11600}),
        ("mistake", {}, {}),
    ],
)
async def test_the_tax_within_a_debt_is_owed_when_it_is_made_and_until_it_is_given_up(
    office: DebtOffice, how: str | None, more: dict[str, Any], expected: dict[str, int]
) -> None:
    meter = await office.shop.utility.add_meter("electricity")

    assert await moved(office, meter, how, **more) == expected


async def test_a_write_off_gives_up_the_tax_of_what_was_not_repaid(office: DebtOffice) -> None:
    meter = await office.shop.utility.add_meter("electricity")
    plan = PlanWish("instalments", amount="58.00", every="purchase")
    owed = await office.owe(meter, "116.00", "fine", tax_percent="16", plan=plan)

    await office.shop.sell(meter.number, "500.00", "half")
    await office.debts.cancel(office.origin, office.books, owed["number"], reason="gone")

    (row,) = office.shop.rows_of(
        "SELECT sum(amount_minor) AS minor FROM posting p JOIN journal j ON j.id = p.journal_id"
        " JOIN ledger_account l ON l.id = p.ledger_account_id"
        " WHERE code = 'tax:vat' AND j.kind = 'write_off'"
    )
    assert row["minor"] == 800
    assert await broken(office) == set()

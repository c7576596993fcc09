"""Trial balance, closed periods and the journal, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from slotmeter.errors import Refused
from slotmeter.ports import Caller, Row
from slotmeter.services.journal_export import JournalExport, Totals
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.period_close import Periods
from slotmeter.services.registry import Registry
from slotmeter.services.trial_balance import TrialBalance, TrialBalances
from slotmeter.testing.databases import RowRefused
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.units import epoch_us

YESTERDAY = date(2026, 11, 20)
TODAY = date(2026, 11, 21)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    """A shop that sold twice on one day, with a debt; it is the next day now."""
    async with open_debt_office(tmp_path) as opened:
        meter = await opened.shop.utility.add_meter(online=False)
        await opened.owe(meter, "30.00")
        await opened.shop.sell(meter.number)
        await opened.shop.sell(meter.number, sale_id="s2")
        opened.shop.clock.advance(seconds=86_400)
        yield opened


@pytest.fixture
async def boss(office: DebtOffice) -> Caller:
    return await office.shop.utility.add_principal("Boss", "supervisor")


async def close(office: DebtOffice, boss: Caller, through: date = TODAY) -> tuple[Row, bool]:
    periods = Periods(office.shop.database, office.shop.clock)
    return await periods.close(Asked(boss, "c1", "end of day"), through)


async def balance(office: DebtOffice, **times: int) -> TrialBalance:
    return await TrialBalances(office.shop.database, office.shop.clock).balance(
        office.books, **times
    )


async def broken(office: DebtOffice) -> list[str]:
    shop = office.shop
    utility = await Registry(shop.database, shop.clock).utility("small")
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    return [each.name for each in verdict.sentences if not each.holds]


async def test_the_trial_balance_sums_to_zero_and_says_what_the_accounts_hold(
    office: DebtOffice,
) -> None:
    found = await balance(office)

    assert found.differences == {}
    assert {line.code: line.closing_minor for line in found.lines} == {
        "debt": 0,
        "income:electricity": -17_400,
        "opening": -3_000,
        "rounding": found.lines[-3].closing_minor,
        "tax:VAT": found.lines[-2].closing_minor,
        "till:head": 23_200,
    }


async def test_the_trial_balance_of_an_instant_knows_nothing_of_what_came_later(
    office: DebtOffice,
) -> None:
    opened = epoch_us(datetime(2026, 11, 21, 9, 30, tzinfo=UTC))

    found = await balance(office, to_us=opened)

    assert found.lines == ()


async def test_a_balance_of_a_time_carries_what_came_before(office: DebtOffice) -> None:
    later = epoch_us(office.shop.clock.now())

    found = await balance(office, from_us=later)

    [till] = [line for line in found.lines if line.code == "till:head"]
    assert (till.opening_minor, till.debits_minor, till.closing_minor) == (23_200, 0, 23_200)


async def test_a_closed_period_gives_the_same_balances_as_all_postings(
    office: DebtOffice, boss: Caller
) -> None:
    later = epoch_us(office.shop.clock.now())
    before = await balance(office, from_us=later)

    await close(office, boss)

    assert await balance(office, from_us=later) == before


async def test_closing_says_what_was_in_the_period(office: DebtOffice, boss: Caller) -> None:
    period, is_new = await close(office, boss)

    assert is_new
    assert (period["through_day"], period["journals"]) == ("2026-11-21", 3)
    assert len(period["digest"]) == 64
    assert await broken(office) == []


async def test_closing_again_changes_nothing(office: DebtOffice, boss: Caller) -> None:
    first, _ = await close(office, boss)

    again, is_new = await close(office, boss)

    assert (again, is_new) == (first, False)


async def test_a_day_that_is_not_over_cannot_be_closed(office: DebtOffice, boss: Caller) -> None:
    with pytest.raises(Refused) as caught:
        await close(office, boss, TODAY + timedelta(days=1))

    assert caught.value.code == "period_not_over"


async def test_a_day_within_a_closed_period_cannot_be_closed(
    office: DebtOffice, boss: Caller
) -> None:
    await close(office, boss)

    with pytest.raises(Refused) as caught:
        await close(office, boss, YESTERDAY)

    assert caught.value.code == "period_closed"


async def test_the_database_lets_no_journal_into_a_closed_period(
    office: DebtOffice, boss: Caller
) -> None:
    await close(office, boss)

    with pytest.raises(RowRefused, match="closed"):
        office.shop.sql(
            "INSERT INTO journal (id, utility_id, kind, at_us, reason)"
            " SELECT 1, utility_id, 'sale', at_us, 'late' FROM journal LIMIT 1"
        )


async def test_a_sale_by_a_clock_that_went_back_is_booked_in_the_open_period(
    office: DebtOffice, boss: Caller
) -> None:
    period, _ = await close(office, boss)
    meter = next(iter(office.shop.utility.meters))
    office.shop.clock.advance(seconds=-86_400)

    await office.shop.sell(meter, sale_id="s3")

    [row] = office.shop.rows_of("SELECT at_us, reason FROM journal ORDER BY id DESC LIMIT 1")
    assert row["at_us"] == period["to_us"]
    assert "late: the books of 2026-11-21" in row["reason"]
    assert await broken(office) == []


async def test_a_past_that_was_changed_behind_our_back_is_named(
    office: DebtOffice, boss: Caller
) -> None:
    await close(office, boss)
    office.shop.sql("DROP TRIGGER posting_append_only_update")
    office.shop.sql(
        "UPDATE posting SET amount_minor = -amount_minor WHERE journal_id ="
        " (SELECT id FROM journal WHERE kind = 'sale' LIMIT 1)"
    )

    assert "periods" in await broken(office)


async def test_a_period_row_is_never_changed(office: DebtOffice, boss: Caller) -> None:
    await close(office, boss)

    with pytest.raises(RowRefused, match="append-only"):
        office.shop.sql("UPDATE accounting_period SET digest = ''")


async def test_a_period_begins_where_the_one_before_ended(office: DebtOffice, boss: Caller) -> None:
    one, _ = await close(office, boss)
    meter = next(iter(office.shop.utility.meters))
    await office.shop.sell(meter, sale_id="s3")
    office.shop.clock.advance(seconds=86_400)

    two, _ = await close(office, boss, TODAY + timedelta(days=1))

    assert two["from_us"] == one["to_us"]
    assert two["journals"] == 1
    assert await broken(office) == []


async def test_accounts_are_listed_by_family(office: DebtOffice) -> None:
    balances = TrialBalances(office.shop.database, office.shop.clock)

    debts = await balances.accounts(office.books, family="debt")
    first = await balances.accounts(office.books, limit=2)
    rest = await balances.accounts(office.books, after=str(first.next))

    assert [row["code"] for row in debts.rows] == ["debt:D00000001"]
    codes = [row["code"] for row in (*first.rows, *rest.rows)]
    assert codes == sorted(codes)
    assert len(codes) == 6


async def test_the_export_has_every_posting_once_and_its_totals(office: DebtOffice) -> None:
    export, totals = JournalExport(office.shop.database), Totals()
    to_us = epoch_us(office.shop.clock.now())

    rows = [row async for row in export.rows(office.books, 0, to_us, totals)]

    assert len(rows) == office.shop.column("SELECT count(*) FROM posting")[0]
    assert totals.journals == 3
    assert totals.debits == totals.credits
    assert totals.debits["KES"] == sum(max(0, row["amount_minor"]) for row in rows)


async def test_the_export_by_pages_is_the_export_at_once(office: DebtOffice) -> None:
    export = JournalExport(office.shop.database)
    to_us = epoch_us(office.shop.clock.now())
    whole = await export.page(office.books, 0, to_us)

    found, after = list[Row](), ""
    while True:
        page = await export.page(office.books, 0, to_us, after=after, limit=2)
        found += page.rows
        if page.next is None:
            break
        after = page.next

    assert found == list(whole.rows)


@pytest.mark.parametrize("cursor", ["x", "1", "1.", ".1", "1.2.3"])
async def test_a_cursor_that_is_none_is_refused(office: DebtOffice, cursor: str) -> None:
    with pytest.raises(Refused) as caught:
        await JournalExport(office.shop.database).page(office.books, 0, 1, after=cursor)

    assert caught.value.code == "bad_cursor"

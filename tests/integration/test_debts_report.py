"""DB-05: collection and arrears by area and month add up to the ledger, to the cent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slotmeter.services.debt_reports import ArrearsReport, ArrearsRow
from slotmeter.services.debt_terms import InterestWish
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


async def meter_in(office: DebtOffice, area: str) -> SmallMeter:
    meter = await office.shop.utility.add_meter("electricity")
    office.shop.sql("UPDATE supply_point SET area = ? WHERE id = ?", area, meter.supply_point_id)
    return meter


def of_areas(report: ArrearsReport) -> dict[str, tuple[int, int]]:
    """What was billed and what is outstanding, by area."""
    return {row.area: (row.billed_minor, row.outstanding_minor) for row in report.rows}


def adds_up(row: ArrearsRow) -> bool:
    moved = row.billed_minor + row.interest_minor - row.collected_minor - row.written_off_minor
    return row.before_minor + moved + row.other_minor == row.outstanding_minor


async def ledger_sum(office: DebtOffice) -> int:
    page = await office.debts.debts(office.books, limit=500)
    codes = [f"debt:{row['number']}" for row in page.rows]
    total = 0
    for start in range(0, len(codes), 8):
        total += sum((await office.shop.ledger(*codes[start : start + 8])).values())
    return total


async def test_areas_are_told_apart_by_as_much_of_their_path_as_is_asked(
    office: DebtOffice,
) -> None:
    for area, amount in (("North/A", "1.00"), ("North/B", "2.00"), ("South/C", "4.00")):
        await office.owe(await meter_in(office, area), amount)

    whole = await office.reports.arrears(office.books)
    regions = await office.reports.arrears(office.books, level=1)
    together = await office.reports.arrears(office.books, level=0)

    assert of_areas(whole) == {"North/A": (100, 100), "North/B": (200, 200), "South/C": (400, 400)}
    assert of_areas(regions) == {"North": (300, 300), "South": (400, 400)}
    assert of_areas(together) == {"": (700, 700)}


async def test_a_month_begins_where_the_one_before_ended(office: DebtOffice) -> None:
    meter = await meter_in(office, "North")
    await office.owe(meter, "100.00", interest=InterestWish("3", "month"))
    gone = await office.owe(meter, "7.00")
    office.shop.clock.advance(seconds=20 * 86_400)  # 11 December
    await office.interest.post(office.origin, office.books, date(2026, 11, 30), reason="monthly")
    await office.debts.cancel(office.origin, office.books, gone["number"], reason="gone")
    await office.owe(meter, "5.00")

    november, december, january = [
        (await office.reports.arrears(office.books, month=month)).total
        for month in ("2026-11", "2026-12", "2027-01")
    ]

    assert (november.before_minor, november.billed_minor, november.outstanding_minor) == (
        *(0, 10_700),
        10_700,
    )
    assert (december.before_minor, december.billed_minor) == (10_700, 500)
    assert (december.interest_minor, december.written_off_minor) == (100, 700)
    assert january.before_minor == january.outstanding_minor == december.outstanding_minor
    assert all(adds_up(row) and row.other_minor == 0 for row in (november, december, january))


async def test_the_month_turns_at_local_midnight(office: DebtOffice) -> None:
    meter = await meter_in(office, "North")
    office.shop.clock.advance(seconds=9 * 86_400 + 41_399)  # 30 November 23:59:59 in Nairobi
    await office.owe(meter, "1.00")
    office.shop.clock.advance(seconds=1)
    await office.owe(meter, "2.00")

    billed = [
        (await office.reports.arrears(office.books, month=month)).total.billed_minor
        for month in ("2026-11", "2026-12")
    ]

    assert billed == [100, 200]


async def test_a_debt_taken_back_was_never_billed(office: DebtOffice) -> None:
    debt = await office.owe(await meter_in(office, "North"), "7.00", "fine")
    await office.debts.cancel(
        office.origin, office.books, debt["number"], how="mistake", reason="wrong"
    )

    total = (await office.reports.arrears(office.books)).total

    assert (total.billed_minor, total.written_off_minor, total.outstanding_minor) == (0, 0, 0)


async def test_kinds_are_told_apart_when_asked(office: DebtOffice) -> None:
    meter = await meter_in(office, "North")
    for kind in ("fine", "loan", "fine"):
        await office.owe(meter, "1.00", kind)

    report = await office.reports.arrears(office.books, by_kind=True)

    assert [(row.kind, row.debts, row.outstanding_minor) for row in report.rows] == [
        ("fine", 2, 200),
        ("loan", 1, 100),
    ]


async def test_an_account_without_a_supply_point_lies_nowhere(office: DebtOffice) -> None:
    meter = await meter_in(office, "North")
    await office.owe(meter, "1.00")
    other = await meter_in(office, "South")
    office.shop.sql(
        "UPDATE supply_point SET account_id = (SELECT account_id FROM supply_point WHERE id = ?) "
        "WHERE id = ?",
        other.supply_point_id,
        meter.supply_point_id,
    )

    assert of_areas(await office.reports.arrears(office.books)) == {"": (100, 100)}


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    acts=st.lists(
        st.tuples(
            st.sampled_from(["owe", "cancel", "mistake", "interest", "wait"]),
            st.integers(1, 99_999),
            st.sampled_from(["North/A", "North/B", "South"]),
        ),
        max_size=12,
    )
)
async def test_whatever_happens_the_report_adds_up_to_the_ledger(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int, str]]
) -> None:
    async with open_debt_office(tmp_path_factory.mktemp("office")) as office:
        meters = {area: await meter_in(office, area) for area in ("North/A", "North/B", "South")}
        for act, number, area in acts:
            if act == "owe":
                amount = f"{number // 100}.{number % 100:02}"
                await office.owe(meters[area], amount, interest=InterestWish("2.5", "month"))
            elif act == "wait":
                office.shop.clock.advance(seconds=number % 40 * 86_400)
            elif act == "interest":
                yesterday = date.fromordinal(office.interest.today(office.books).toordinal() - 1)
                await office.interest.post(office.origin, office.books, yesterday, reason="test")
            else:
                await _end_one(office, act, number)

        report = await office.reports.arrears(office.books, level=1)

        assert report.total.outstanding_minor == await ledger_sum(office)
        assert all(adds_up(row) and not row.other_minor for row in (*report.rows, report.total))
        assert sum(row.outstanding_minor for row in report.rows) == report.total.outstanding_minor


async def _end_one(office: DebtOffice, act: str, number: int) -> None:
    open_ones = (await office.debts.debts(office.books, state="open", limit=500)).rows
    untouched = [row for row in open_ones if row["balance_minor"] == row["amount_minor"]]
    choice = untouched if act == "mistake" else open_ones
    if choice:
        how = "mistake" if act == "mistake" else "write_off"
        debt = choice[number % len(choice)]
        await office.debts.cancel(
            office.origin, office.books, debt["number"], how=how, reason="test"
        )

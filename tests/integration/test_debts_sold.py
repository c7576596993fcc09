"""DB-01 to DB-05 and PP-01 through real sales: taken once, closed at zero, and added up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Conflict, Refused
from slotmeter.services.debt_terms import InterestWish, PlanWish
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SellRequest
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases

CAPPED = {
    "tariff": "capped",
    "title": "Capped",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "price": "20.00"},
    "debts": {"cap": "50"},
}


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        await opened.shop.utility.add_tariff(CAPPED)
        yield opened
        assert await broken(opened) == set()


@pytest.fixture
async def meter(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter("electricity")


@pytest.fixture
async def capped(office: DebtOffice) -> SmallMeter:
    """A meter whose tariff lets debts take half of a purchase."""
    return await office.shop.utility.add_meter("electricity", tariff="capped")


async def broken(office: DebtOffice) -> set[str]:
    """The sentences about the ledger that do not hold."""
    database, clock = office.shop.database, office.shop.clock
    verdict = await verify_ledger(database, clock, await Registry(database, clock).utility(None))
    return {each.name for each in verdict.sentences if not each.holds}


async def lines(office: DebtOffice, receipt_number: str) -> list[Any]:
    """The lines of a receipt that are about debts."""
    receipt = await office.shop.selling.receipt(office.shop.till, receipt_number)
    return [line for line in receipt.lines if line.kind == "debt"]


async def test_a_one_off_debt_is_taken_by_the_next_sale_and_closes_at_zero(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "300.00")

    first = await office.shop.sell(meter.number, "416.00", "s1")
    second = await office.shop.sell(meter.number, "116.00", "s2")

    (line,) = await lines(office, first.receipt_number)
    seen = await office.debts.debt(office.books, debt["number"])
    assert (line.amount_minor, line.left_minor) == (30_000, 0)
    assert (first.units, second.units) == ("5.0", "5.0")
    assert (seen["state"], seen["balance_minor"]) == ("closed", 0)
    assert await lines(office, second.receipt_number) == []


async def test_the_receipt_shows_the_tax_within_what_is_repaid_of_a_debt(
    office: DebtOffice, meter: SmallMeter
) -> None:
    await office.owe(meter, "116.00", "fine", tax_percent="16")
    await office.owe(meter, "50.00")

    sale = await office.shop.sell(meter.number, "416.00", "s1")

    receipt = await office.shop.selling.receipt(office.shop.till, sale.receipt_number)
    shown = json.loads(json.dumps(receipt.document()))["debts"]
    assert [(debt["taken"], debt["tax"]) for debt in shown] == [
        ("50.00", None),
        ("116.00", "16.00"),
    ]


async def test_a_share_of_each_purchase_is_taken_until_it_is_paid(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "70.00", plan=PlanWish("percent", percent="30"))

    taken = []
    for at in range(4):
        sale = await office.shop.sell(meter.number, "100.00", f"s{at}")
        taken.append([line.amount_minor for line in await lines(office, sale.receipt_number)])

    assert taken == [[3_000], [3_000], [1_000], []]
    assert await office.left(debt["number"]) == 0


async def test_the_cap_of_the_tariff_leaves_energy(office: DebtOffice, capped: SmallMeter) -> None:
    for kind in ("fine", "arrears", "loan"):
        await office.owe(capped, "30.00", kind)

    sale = await office.shop.sell(capped.number, "100.00")

    found = [(line.code, line.amount_minor) for line in await lines(office, sale.receipt_number)]
    assert found == [("arrears", 3_000), ("loan", 2_000)]


async def test_emergency_credit_is_repaid_first(office: DebtOffice, capped: SmallMeter) -> None:
    await office.owe(capped, "200.00")
    await office.owe(capped, "10.00", "emergency_credit")

    sale = await office.shop.sell(capped.number, "100.00")

    found = [(line.code, line.amount_minor) for line in await lines(office, sale.receipt_number)]
    assert found == [("emergency_credit", 1_000), ("arrears", 4_000)]


async def test_missed_instalments_add_up_over_real_months(
    office: DebtOffice, meter: SmallMeter
) -> None:
    plan = PlanWish("instalments", amount="20.00", every="month", first=date(2026, 12, 1))
    debt = await office.owe(meter, "240.00", "loan", plan=plan)

    left = []
    for at, days in enumerate((0, 15, 90, 1)):
        office.shop.clock.advance(seconds=days * 86_400)
        await office.shop.sell(meter.number, "500.00", f"s{at}")
        left.append(await office.left(debt["number"]))

    # 21 November; 6 December; 6 March: January, February and March; the day after.
    assert left == [24_000, 22_000, 16_000, 16_000]


async def test_a_sale_between_its_commits_has_taken_its_part_already(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "300.00")
    await office.shop.first_commit_only(SellRequest("s1", meter.number, "400.00"))

    second = await office.shop.sell(meter.number, "116.00", "s2")
    with pytest.raises(Conflict) as caught:
        await office.debts.cancel(office.origin, office.books, debt["number"], reason="gone")
    await office.shop.selling.recover()

    seen = await office.debts.debt(office.books, debt["number"])
    assert (second.units, caught.value.code) == ("5.0", "debt_in_sale")
    assert (seen["state"], seen["balance_minor"]) == ("closed", 0)


async def test_a_sale_that_is_voided_took_nothing_of_a_debt(
    office: DebtOffice, meter: SmallMeter
) -> None:
    plan = PlanWish("instalments", amount="20.00", every="month")
    debt = await office.owe(meter, "240.00", "loan", plan=plan)
    office.shop.code_meter(meter, table_set="nosuch")
    with pytest.raises(Refused) as caught:
        await office.shop.sell(meter.number, "136.00", "s1")
    office.shop.code_meter(meter)

    sale = await office.shop.sell(meter.number, "136.00", "s2")

    taken = [line.amount_minor for line in await lines(office, sale.receipt_number)]
    assert (caught.value.code, taken) == ("token_cannot_be_made", [2_000])
    assert await office.left(debt["number"]) == 22_000


async def test_tills_that_sell_at_once_never_take_a_debt_below_zero(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "300.00", plan=PlanWish("percent", percent="50"))

    await asyncio.gather(*(office.shop.sell(meter.number, "100.00", f"s{at}") for at in range(12)))

    seen = await office.debts.debt(office.books, debt["number"])
    assert (seen["state"], seen["balance_minor"]) == ("closed", 0)


async def test_a_suspended_debt_is_not_taken(office: DebtOffice, meter: SmallMeter) -> None:
    debt = await office.owe(meter, "300.00")
    await office.debts.suspend(office.origin, office.books, debt["number"], reason="ill")

    sale = await office.shop.sell(meter.number, "116.00")

    assert (sale.units, await office.left(debt["number"])) == ("5.0", 30_000)


async def test_what_was_repaid_bears_no_interest(office: DebtOffice, meter: SmallMeter) -> None:
    plan = PlanWish("instalments", amount="500.00")
    terms = InterestWish("3", "month", date(2026, 12, 1))
    debt = await office.owe(meter, "1000.00", "loan", plan=plan, interest=terms)
    office.shop.clock.advance(seconds=25 * 86_400)  # 16 December
    await office.shop.sell(meter.number, "616.00")
    office.shop.clock.advance(seconds=20 * 86_400)

    await office.interest.post(office.origin, office.books, date(2026, 12, 31), reason="monthly")

    # 15 days on 1000.00 and 16 on 500.00, at 3 % for 31 days: 690.00 / 31 = 22.258
    assert await office.left(debt["number"]) == 50_000 + 2_226


async def test_collected_money_is_in_the_report_of_its_month(
    office: DebtOffice, meter: SmallMeter
) -> None:
    await office.owe(meter, "300.00", plan=PlanWish("percent", percent="30"))
    await office.shop.sell(meter.number, "100.00", "s1")
    office.shop.clock.advance(seconds=20 * 86_400)
    await office.shop.sell(meter.number, "200.00", "s2")

    november = (await office.reports.arrears(office.books, month="2026-11")).total
    december = (await office.reports.arrears(office.books, month="2026-12")).total

    assert (november.billed_minor, november.collected_minor) == (30_000, 3_000)
    assert (december.before_minor, december.collected_minor) == (27_000, 6_000)
    assert (december.outstanding_minor, december.other_minor) == (21_000, 0)


async def test_a_blocked_account_buys_nothing_until_it_is_released(
    office: DebtOffice, meter: SmallMeter
) -> None:
    who = (office.origin, office.books, meter.account_number)
    await office.blocks.block(*who, reason="no arrangement")
    with pytest.raises(Refused) as caught:
        await office.shop.sell(meter.number)
    await office.blocks.release(*who, reason="arranged")

    sale = await office.shop.sell(meter.number)

    assert "no arrangement" in caught.value.message
    assert sale.units == "5.0"


async def test_the_history_of_a_debt_names_the_receipts_that_repaid_it(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "30.00")
    sale = await office.shop.sell(meter.number, "146.00")

    history = await office.debts.history(office.books, debt["number"])

    assert [(row["receipt_number"], row["amount_minor"]) for row in history.movements] == [
        (sale.receipt_number, -3_000),
        (None, 3_000),
    ]

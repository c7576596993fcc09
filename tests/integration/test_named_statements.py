"""What an operator must be able to show, as docs/reference/statements.md lists it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.ports import Caller
from slotmeter.services.float_accounts import FloatAccounts
from slotmeter.services.journal_export import JournalExport, Totals
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.device_side import DeviceTown
from slotmeter.units import epoch_us

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "statements.md"
MONTHS = 13


def test_each_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]

    assert len(named) > 20
    assert missing == []


async def test_credit_that_rises_by_five_without_a_sale_is_told_with_meter_amount_and_time(
    town: DeviceTown,
) -> None:
    meter = await town.utility.add_meter("electricity")
    await town.side.report(meter, {"credit_total": 100_000})
    town.side.clock.advance(hours=1)

    await town.side.report(meter, {"credit_total": 105_000})

    [alarm] = town.rows("SELECT kind, meter_id, raised_us FROM alarm")
    [event] = town.rows("SELECT meter_id, data, at_us FROM event WHERE kind = 'credit_mismatch'")
    assert alarm == {"kind": "credit_mismatch", "meter_id": meter.id, "raised_us": town.now_us}
    assert event["at_us"] == town.now_us
    assert (event["meter_id"], json.loads(event["data"])["unexplained"]) == (meter.id, 5_000)


async def test_the_credit_of_a_meter_over_a_year_says_who_when_by_which_route_and_how_much(
    api: ApiTown,
) -> None:
    await api.join("eye", "admin")
    for name in ("day till", "night till"):
        await api.join(name, "vendor")
    meter = await api.utility.add_meter()
    for at in range(MONTHS):
        body = {"sale_id": f"s{at}", "meter": meter.number, "tendered": f"{100 + at}.00"}
        who = "night till" if at % 2 else "day till"
        reply = await api.post("/api/v1/sales", who, json=body | {"channel": "till"})
        assert reply.status == 201
        api.clock.advance(days=30)

    history = await year_of(api, meter.number)

    newest_first = [
        ("night till" if at % 2 else "day till", "till", "pending", f"{100 + at}.00")
        for at in range(MONTHS - 1, 0, -1)
    ]
    assert [
        (row["sold_by"], row["channel"], row["delivery"]["state"], row["tendered"])
        for row in history
    ] == newest_first
    assert [row["sold_at"] for row in history] == sorted(
        (row["sold_at"] for row in history), reverse=True
    )


async def year_of(api: ApiTown, meter: str) -> list[dict[str, Any]]:
    """Return the sales of twelve times thirty days, page by page."""
    start = api.clock.now() - timedelta(days=12 * 30)
    span = f"meter={meter}&from={start:%Y-%m-%dT%H:%M:%SZ}&limit=5"
    rows: list[dict[str, Any]] = []
    place = ""
    while True:
        page = (await api.get(f"/api/v1/sales?{span}{place}", "eye")).json
        rows += page["items"]
        if page["next"] is None:
            return rows
        place = f"&before={page['next']}"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.mark.both_databases
async def test_sales_tokens_ledger_and_bank_of_an_exported_month_agree(office: DebtOffice) -> None:
    shop = office.shop
    boss: Caller = await shop.utility.add_principal("Boss", "supervisor")
    floats = FloatAccounts(shop.database, shop.clock)
    meters = [await shop.utility.add_meter(online=False) for _ in range(3)]
    receipts = []
    for day in range(12):
        meter = meters[day % 3]
        sale = await shop.sell(meter.number, f"{200 + day}.50", f"s{day}")
        receipts.append(sale.receipt_number)
        asked = Asked(boss, f"d{day}", "slip")
        await floats.pay_in(asked, "head", f"{200 + day}.50", f"SLIP {day}")
        shop.clock.advance(days=1)
    reversals = Reversals(shop.database, shop.clock)
    wish = ReversalWish(receipts[4], "the customer", paid_by="bank")
    await reversals.reverse(Asked(boss, "r", "wrong"), wish)
    from_us = epoch_us(datetime(2026, 11, 1, tzinfo=UTC))
    to_us = epoch_us(shop.clock.now()) + 1

    totals = Totals()
    export = JournalExport(shop.database)
    rows = [row async for row in export.rows(office.books, from_us, to_us, totals)]

    moved: dict[str, int] = {}
    for row in rows:
        moved[row["code"]] = moved.get(row["code"], 0) + row["amount_minor"]
    standing = "SELECT sum(tender_minor) AS sum FROM sale WHERE state = 'issued'"
    issued = "SELECT count(*) FROM token WHERE state = 'issued'"
    utility = await Registry(shop.database, shop.clock).utility("small")
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    assert totals.debits == totals.credits
    assert moved["till:head"] == 0
    assert moved["bank"] == int(shop.column(standing)[0])
    assert shop.column(issued) == [len(receipts) - 1]
    assert [each.sentence for each in verdict.sentences if not each.holds] == []

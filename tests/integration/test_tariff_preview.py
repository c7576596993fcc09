"""Last month's sales under a draft: priced in order, compared, kept, and nothing booked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slotmeter.testing.api_town import ApiTown
from slotmeter.units import epoch_us

DRAFTS = "/api/v1/tariff-drafts"
BOOKED = ("sale", "charge", "journal", "posting", "token", "event")
FLAT = """\
tariff: {code}
title: Homes
commodity: electricity
currency: KES
energy: {{label: Energy, price: {price}}}
taxes: {{vat: {{label: VAT, percent: 16, on: [energy]}}}}
"""
BLOCKS = """\
tariff: domestic-electricity
title: Homes
commodity: electricity
currency: KES
energy: {label: Energy, blocks: [{to: 10, price: 10}, {price: 40}]}
fixed: {service: {label: Service, amount: 50, every: month}}
"""


class Month:
    """Sales of two accounts in November, looked at in December."""

    def __init__(self, api: ApiTown) -> None:
        self.api = api
        self.accounts: list[str] = []

    async def preview(self, source: str, **wanted: Any) -> Any:
        made = await self.api.post(DRAFTS, "clerk", json={"source": source, "reason": "new"})
        path = f"{DRAFTS}/{made.json['id']}/preview"
        return await self.api.post(path, "clerk", json={"reason": "for the board", **wanted})

    def booked(self) -> dict[str, int]:
        return {
            table: self.api.sql(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608  our own names
            for table in BOOKED
        }


@pytest.fixture
async def month(api: ApiTown) -> Month:
    """Account one bought for 116 twice and for 232, account two for 348, at 20.00 and 16 % tax."""
    found = Month(api)
    await api.join("clerk", "office")
    await api.join("till", "vendor")
    meters = [await api.utility.add_meter(), await api.utility.add_meter()]
    found.accounts = [meter.account_number for meter in meters]
    for at, (which, tendered) in enumerate(((0, "116"), (1, "348"), (0, "116"), (0, "232"))):
        body = {"sale_id": f"s{at}", "meter": meters[which].number, "tendered": tendered}
        sold = await api.post("/api/v1/sales", "till", json=body)
        assert sold.status == 201
        api.clock.advance(seconds=3_600)
    api.clock.advance(days=20)
    return found


async def test_half_the_price_gives_twice_the_units(month: Month) -> None:
    made = (await month.preview(FLAT.format(code="domestic-electricity", price="10.00"))).json

    assert (made["month"], made["sales"], made["buyers"]) == ("2026-11", 4, 2)
    assert (made["tender"], made["units_old"], made["units_new"]) == ("812.00", "35.0", "70.0")
    assert [each["account"] for each in made["winners"]] == [month.accounts[0], month.accounts[1]]
    assert made["losers"] == []


async def test_the_same_price_changes_nothing(month: Month) -> None:
    made = (await month.preview(FLAT.format(code="domestic-electricity", price="20.00"))).json

    assert made["units_old"] == made["units_new"]
    assert (made["winners"], made["losers"], made["refused"]) == ([], [], {})
    by_account = {each["account"]: (each["old"], each["new"]) for each in made["by_account"]}
    assert by_account["income:electricity"] == ("700.00", "700.00")


async def test_blocks_follow_the_new_units_and_a_monthly_charge_is_taken_once(
    month: Month,
) -> None:
    made = (await month.preview(BLOCKS)).json

    # Account one: 116 pays the charge of 50 and 6.6 kWh at 10; the next 116 buy 3.4 kWh at 10 and
    # 2.0 at 40; 232 buy 5.8 at 40. Account two: 348 less 50 buys 10 at 10 and 4.9 at 40.
    by_account = {each["account"]: each["new"] for each in made["by_account"]}
    assert by_account["income:charge:service"] == "100.00"
    assert made["units_new"] == "32.7"
    [one] = [each for each in made["losers"] if each["account"] == month.accounts[0]]
    assert (one["sales"], one["units_old"], one["units_new"]) == (3, "20.0", "17.8")


async def test_cheap_units_of_months_missed_before_count_for_every_purchase_of_the_month(
    month: Month,
) -> None:
    source = BLOCKS.replace("{price: 40}]", "{price: 40}], counter: {missed: accumulate}")
    source = source[: source.index("fixed:")]
    since_us = epoch_us(datetime(2026, 8, 20, tzinfo=UTC))
    month.api.sql(f"UPDATE supply_point SET created_us = {since_us}")  # noqa: S608  our own

    missed_two = (await month.preview(source)).json

    # September and October are missed: 30 kWh at 10. Account one buys 11.6, 11.6 and then 6.8 at 10
    # and 4.1 at 40; account two 30 at 10 and 1.2 at 40.
    assert missed_two["units_new"] == "65.3"


async def test_a_purchase_before_the_month_ends_the_months_that_are_missed(month: Month) -> None:
    source = BLOCKS.replace("{price: 40}]", "{price: 40}], counter: {missed: accumulate}")
    source = source[: source.index("fixed:")]
    since_us = epoch_us(datetime(2026, 8, 20, tzinfo=UTC))
    october_us = epoch_us(datetime(2026, 10, 20, tzinfo=UTC))
    month.api.sql(f"UPDATE supply_point SET created_us = {since_us}")  # noqa: S608  our own
    month.api.sql(f"UPDATE sale SET sold_us = {october_us} WHERE sale_id = 's0'")  # noqa: S608  a number of ours

    made = (await month.preview(source)).json

    # Account one, which bought in October: 10 kWh at 10 and 0.4 at 40, then 5.8 at 40. Account two
    # missed September and October: 30 at 10 and 1.2 at 40.
    assert made["units_new"] == "47.4"


async def test_sales_that_would_be_refused_are_counted_by_their_reason(month: Month) -> None:
    source = FLAT.format(code="domestic-electricity", price="20.00")

    made = (await month.preview(source + "purchase: {minimum: 200}\n")).json

    assert made["refused"] == {"below_minimum": 2}
    assert made["refused_tender"] == "232.00"
    assert made["sales"] == 2


async def test_a_new_tariff_is_previewed_on_the_sales_of_another(month: Month) -> None:
    source = FLAT.format(code="brand-new", price="10.00")

    alone = await month.preview(source)
    borrowed = await month.preview(source, sales_of="domestic-electricity")

    assert (alone.status, alone.code) == (422, "no_sales_to_preview")
    assert borrowed.json["units_new"] == "70.0"


async def test_another_month_can_be_asked_for(month: Month) -> None:
    source = FLAT.format(code="domestic-electricity", price="10.00")

    reply = await month.preview(source, month="2026-10")

    assert reply.code == "no_sales_to_preview"


async def test_a_preview_books_nothing(month: Month) -> None:
    before = month.booked()

    await month.preview(BLOCKS)

    assert month.booked() == before


async def test_a_preview_is_kept_until_the_draft_is_edited(month: Month) -> None:
    source = FLAT.format(code="domestic-electricity", price="10.00")
    made = (await month.preview(source)).json
    [(draft_id,)] = month.api.sql("SELECT id FROM tariff_draft")
    path = f"{DRAFTS}/{draft_id}"

    kept = await month.api.get(f"{path}/preview", "clerk")
    edit = {"source": source, "revision": 1, "reason": "again"}
    await month.api.call("PUT", path, "clerk", json=edit)
    gone = await month.api.get(f"{path}/preview", "clerk")

    assert kept.json == made
    assert kept.json["revision"] == 1
    assert (gone.status, gone.code) == (404, "preview_unknown")

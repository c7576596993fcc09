"""Prices that count from before their version, on a real database: corrected once, and stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.ports import Caller
from slotmeter.runtime.repricing import verify_sales
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.services.selling import SellRequest
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import epoch_us

pytestmark = pytest.mark.both_databases

OLD: dict[str, Any] = {
    "tariff": "gh",
    "title": "Residential",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "price": "1.00"},
    "taxes": {"vat": {"label": "VAT", "percent": "10", "on": ["energy"]}},
    "free_units": {"basic": {"units": "20", "registered": False}},
}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        await opened.utility.add_tariff({**OLD, "free_units": {}})
        yield opened


async def cheaper(shop: Shop, price: str = "0.80") -> None:
    """Put new prices in force in two days; they count from today."""
    since = f"{shop.clock.now():%Y-%m-%d}"
    shop.clock.set(shop.clock.now() + timedelta(days=2))
    new = {**OLD, "free_units": {}, "energy": {"label": "Energy", "price": price}}
    await shop.utility.add_tariff(
        {**new, "prices_since": since}, version=2, valid_from_us=epoch_us(shop.clock.now())
    )
    shop.clock.set(shop.clock.now() + timedelta(hours=1))


async def corrected(shop: Shop, receipt_number: str) -> list[tuple[str, int]]:
    receipt = await shop.selling.receipt(shop.till, receipt_number)
    return [(e.label, e.amount_minor) for e in receipt.lines if e.kind == "correction"]


async def assert_books_and_prices_hold(shop: Shop) -> None:
    utility = await Registry(shop.database, shop.clock).utility(None)
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    assert [each for each in verdict.sentences if not each.holds] == []
    found = await asyncio.to_thread(
        verify_sales, shop.place, shop.utility.utility_id, from_us=0, to_us=2**62
    )
    assert found.repriced.different == 0


async def take_back(shop: Shop, boss: Caller, receipt: str) -> None:
    reversals = Reversals(shop.database, shop.clock)
    asked = Asked(boss, f"r-{receipt}", "sold for the wrong customer")
    await reversals.reverse(asked, ReversalWish(receipt, declared="the customer"))


async def sold_before(shop: Shop, *, online: bool = True) -> tuple[SmallMeter, str]:
    """Sell 100 units for 110.00 at the old prices."""
    meter = await shop.utility.add_meter(tariff="gh", online=online)
    sale = await shop.sell(meter.number, "110.00", "before")
    assert sale.units == "100.0"
    return meter, sale.receipt_number


async def test_the_next_purchase_gets_the_difference_back_and_the_one_after_it_does_not(
    shop: Shop,
) -> None:
    meter, _ = await sold_before(shop)
    await cheaper(shop)

    second = await shop.sell(meter.number, "66.00", "second")
    third = await shop.sell(meter.number, "66.00", "third")

    assert await corrected(shop, second.receipt_number) == [("Energy", -20_00), ("VAT", -2_00)]
    assert await corrected(shop, third.receipt_number) == []
    assert (second.units, third.units) == ("100.0", "75.0")
    await assert_books_and_prices_hold(shop)


async def test_what_was_sold_before_the_day_stays_as_it_was(shop: Shop) -> None:
    meter, _ = await sold_before(shop)
    shop.clock.set(shop.clock.now() + timedelta(days=1))
    await cheaper(shop)

    sale = await shop.sell(meter.number, "66.00", "second")

    assert await corrected(shop, sale.receipt_number) == []


async def test_two_tills_at_the_same_instant_correct_once(shop: Shop) -> None:
    other = await shop.utility.add_principal("Till 2", "vendor")
    meter, _ = await sold_before(shop)
    await cheaper(shop)

    sales = await asyncio.gather(
        *(
            shop.selling.sell(till, SellRequest(f"{at}", meter.number, "66.00"))
            for at, till in enumerate((shop.till, other))
        )
    )

    assert sorted(view.units for view, _ in sales) == ["100.0", "75.0"]
    await assert_books_and_prices_hold(shop)


async def test_a_corrected_sale_is_taken_back_after_the_one_that_corrected_it(shop: Shop) -> None:
    boss = await shop.utility.add_principal("Boss", "supervisor")
    meter, first = await sold_before(shop, online=False)
    await cheaper(shop)
    second = await shop.sell(meter.number, "66.00", "second")

    with pytest.raises(Refused) as refused:
        await take_back(shop, boss, first)
    await take_back(shop, boss, second.receipt_number)
    third = await shop.sell(meter.number, "66.00", "third")

    assert refused.value.code == "later_sale_rests_on_it"
    assert second.receipt_number in refused.value.message
    assert third.units == "100.0"  # it corrects what the second did
    await assert_books_and_prices_hold(shop)


async def test_a_sale_that_was_taken_back_is_not_corrected(shop: Shop) -> None:
    boss = await shop.utility.add_principal("Boss", "supervisor")
    meter, first = await sold_before(shop, online=False)
    await take_back(shop, boss, first)
    await cheaper(shop)

    assert (await shop.sell(meter.number, "66.00", "second")).units == "75.0"


async def test_money_on_a_meter_is_priced_when_it_is_used_and_nothing_is_corrected(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter(tariff="gh")
    shop.sql("UPDATE meter SET transfer = 'currency' WHERE id = ?", meter.id)
    await shop.sell(meter.number, "110.00", "before")
    await cheaper(shop)

    sale = await shop.sell(meter.number, "66.00", "second")

    assert await corrected(shop, sale.receipt_number) == []


async def test_free_units_alone_leave_the_correction_to_the_next_purchase(shop: Shop) -> None:
    meter, _ = await sold_before(shop)
    since = f"{shop.clock.now():%Y-%m-%d}"
    new = {**OLD, "energy": {"label": "Energy", "price": "0.80"}, "prices_since": since}
    shop.clock.set(shop.clock.now() + timedelta(hours=1))
    await shop.utility.add_tariff(new, version=2, valid_from_us=epoch_us(shop.clock.now()))

    claim = SellRequest("claim", meter.number, "0", claim_free=True)
    await shop.selling.sell(shop.till, claim)
    sale = await shop.sell(meter.number, "66.00", "second")

    assert await corrected(shop, sale.receipt_number) == [("Energy", -20_00), ("VAT", -2_00)]
    await assert_books_and_prices_hold(shop)

"""Charges by the month's use on a real database: risen once, and priced again alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slotmeter.runtime.repricing import verify_sales
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SellRequest
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.units import epoch_us

BY_USE: dict[str, Any] = {
    "tariff": "by-use",
    "title": "By use",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "price": "1"},
    "fixed": {
        "service": {
            "label": "Service charge",
            "by_use": [{"to": "30", "amount": "2.13"}, {"amount": "10.73"}],
        }
    },
}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        await opened.utility.add_tariff(BY_USE)
        yield opened


async def assert_books_and_prices_hold(shop: Shop) -> None:
    utility = await Registry(shop.database, shop.clock).utility(None)
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    assert [each for each in verdict.sentences if not each.holds] == []
    found = verify_sales(shop.path, shop.utility.utility_id, from_us=0, to_us=2**62)
    assert found.repriced.different == 0


async def test_the_row_of_a_month_rises_with_its_use_and_a_new_month_begins_low(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter(tariff="by-use")

    units = [(await shop.sell(meter.number, "22.13", "a")).units]
    units.append((await shop.sell(meter.number, "28.60", "b")).units)
    units.append((await shop.sell(meter.number, "20.00", "c")).units)
    shop.clock.set(datetime(2027, 1, 15, 9, tzinfo=UTC))
    units.append((await shop.sell(meter.number, "22.13", "d")).units)

    assert units == ["20.0", "20.0", "20.0", "20.0"]
    rows = shop.rows_of("SELECT due_minor, taken_minor FROM charge ORDER BY period")
    assert [tuple(row.values()) for row in rows] == [(1073, 1073), (213, 213)]
    await assert_books_and_prices_hold(shop)


async def test_two_tills_at_the_same_instant_take_the_rise_of_a_charge_once(shop: Shop) -> None:
    other = await shop.utility.add_principal("Till 2", "vendor")
    meters = [await shop.utility.add_meter(tariff="by-use") for _ in range(20)]
    for meter in meters:
        await shop.sell(meter.number, "22.13", f"first-{meter.number}")

    await asyncio.gather(
        *(
            shop.selling.sell(till, SellRequest(f"{at}-{meter.number}", meter.number, "40.00"))
            for meter in meters
            for at, till in enumerate((shop.till, other))
        )
    )

    assert set(shop.column("SELECT taken_minor FROM charge")) == {1073}
    assert await shop.ledger("income:charge:service") == {"income:charge:service": -20 * 1073}
    await assert_books_and_prices_hold(shop)


async def test_where_the_ledger_holds_the_credit_a_purchase_pays_for_the_use_so_far(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter(tariff="by-use", credit_mode="platform")

    await shop.sell(meter.number, "50.00", "a")
    first = shop.column("SELECT taken_minor FROM charge")
    now_us = epoch_us(shop.clock.now())
    shop.sql(
        "INSERT INTO meter_charge (id, utility_id, meter_id, account_id, tariff_version_id,"
        " start_register, register, charged_minor, taxed_minor, charged_us, measured_us, from_us)"
        " SELECT 1, utility_id, ?, account_id, tariff_version_id, 5000, 36000, 0, 0, ?, ?, ?"
        " FROM sale",
        meter.id,
        *[now_us] * 3,
    )
    await shop.sell(meter.number, "50.00", "b")

    assert first == [213]
    assert shop.column("SELECT taken_minor FROM charge") == [1073]
    await assert_books_and_prices_hold(shop)

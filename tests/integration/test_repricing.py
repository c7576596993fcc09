"""Stored sales follow from their tariffs, and a sale that does not is found."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from slotmeter.runtime import repricing
from slotmeter.runtime.repricing import Verified, verify_sales
from slotmeter.storage.migrate import migrate
from slotmeter.testing.shop import SERVICE_CHARGE, Shop, open_shop
from slotmeter.testing.small_utility import tariff_document
from slotmeter.units import epoch_us

EVER_US = 2**62
FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop that has sold for every kind of meter, twice to each."""
    async with open_shop(tmp_path) as opened:
        await opened.utility.add_tariff(
            tariff_document("gas", tariff="gas-with-charge", fixed_charge=SERVICE_CHARGE)
        )
        meters = [
            await opened.utility.add_meter(),
            await opened.utility.add_meter("gas", tariff="gas-with-charge"),
            await opened.utility.add_meter("water", credit_mode="platform"),
        ]
        for at, meter in enumerate(meters):
            await opened.sell(meter.number, "116.00", f"first-{at}")
            opened.clock.advance(seconds=120)
            await opened.sell(meter.number, "250.55", f"second-{at}")
        yield opened


def verify(shop: Shop) -> Verified:
    return verify_sales(shop.path, shop.utility.utility_id, from_us=0, to_us=EVER_US)


async def test_every_sale_follows_from_its_tariff(shop: Shop) -> None:
    found = verify(shop).repriced

    assert found.differences == []
    assert (found.sales, found.different) == (6, 0)
    assert found.tender_minor == 3 * (11_600 + 25_055)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE sale SET units = units + 100 WHERE receipt_number = 'R00000002'",
        "UPDATE sale SET tender_minor = tender_minor + 1 WHERE receipt_number = 'R00000002'",
        "UPDATE sale SET priced = replace(priced, 'tax:VAT', 'tax:GST') "
        "WHERE receipt_number = 'R00000002'",
    ],
)
async def test_a_sale_that_was_changed_is_named(shop: Shop, damage: str) -> None:
    shop.sql(damage)

    found = verify(shop).repriced

    assert found.different == 1
    assert {each.receipt_number for each in found.differences} == {"R00000002"}


async def test_only_sales_of_the_time_asked_for_are_looked_at(shop: Shop) -> None:
    now_us = epoch_us(shop.clock.now())

    found = verify_sales(
        shop.path, shop.utility.utility_id, from_us=now_us, to_us=now_us + 1
    ).repriced

    assert found.sales == 1


async def test_a_voided_sale_is_passed_over(shop: Shop) -> None:
    shop.sql("UPDATE sale SET state = 'voided', units = 0 WHERE receipt_number = 'R00000002'")

    found = verify(shop).repriced

    assert (found.sales, found.voided, found.different) == (5, 1, 0)


async def test_two_processes_find_the_same_as_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repricing, "ALONE_SALES_MAX", 0)
    shop.sql("UPDATE sale SET units = units + 100 WHERE receipt_number = 'R00000002'")
    reports: list[tuple[int, int]] = []

    found = verify_sales(
        shop.path,
        shop.utility.utility_id,
        from_us=0,
        to_us=EVER_US,
        progress=lambda done, total: reports.append((done, total)),
    )

    assert (found.processes, found.repriced.sales, found.repriced.different) == (2, 6, 1)
    assert reports[-1] == (6, 6)


async def test_a_sale_that_began_from_another_block_counter_is_named(shop: Shop) -> None:
    blocks = {"label": "Energy", "blocks": [{"to": "5", "price": "10"}, {"price": "20"}]}
    document = {
        "tariff": "blocks",
        "title": "Blocks",
        "commodity": "electricity",
        "currency": "KES",
        "energy": blocks,
    }
    await shop.utility.add_tariff(document)
    meter = await shop.utility.add_meter(tariff="blocks")
    for at in range(3):
        await shop.sell(meter.number, "30.00", f"blocks-{at}")
        shop.clock.advance(seconds=60)
    before = verify(shop).repriced
    shop.sql(
        "UPDATE sale SET situation = json_set(situation, '$.prior_units', 4000), units = 3000, "
        "counted_units = 3000 WHERE sale_id = 'blocks-1'"
    )

    found = verify(shop).repriced

    assert (before.sales, before.different) == (9, 0)
    assert {each.what for each in found.differences} >= {"block counter before it"}


async def test_the_sales_of_the_first_release_follow_from_its_price_lists(tmp_path: Path) -> None:
    path = tmp_path / "slotmeter.db"
    shutil.copy(FIXTURES / "revision_0001.sqlite3", path)
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        [(utility_id, sales)] = connection.execute(
            "SELECT utility_id, count(*) FROM sale WHERE state != 'voided' GROUP BY utility_id"
        ).fetchall()

    found = verify_sales(path, utility_id, from_us=0, to_us=EVER_US).repriced

    assert found.differences == []
    assert found.first_release == found.sales == sales > 0

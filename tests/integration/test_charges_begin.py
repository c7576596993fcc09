"""Since when a charge that adds up is due: never for months in which it was not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import epoch_us

OLD: dict[str, Any] = {"label": "Old", "amount": "30", "missed": "accumulate"}
NEW: dict[str, Any] = {"label": "New", "amount": "20", "missed": "accumulate"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


def at(month: int, day: int) -> datetime:
    return datetime(2027, month, day, tzinfo=UTC)


async def version(shop: Shop, number: int, since: datetime | None = None, **fixed: Any) -> None:
    document = {
        "tariff": "homes",
        "title": "Homes",
        "commodity": "electricity",
        "currency": "KES",
        "energy": {"label": "Energy", "price": "10"},
    }
    since_us = None if since is None else epoch_us(since)
    parts = document | ({"fixed": fixed} if fixed else {})
    await shop.utility.add_tariff(parts, version=number, valid_from_us=since_us)


def taken(shop: Shop) -> list[str]:
    rows = shop.rows_of("SELECT code, period FROM charge ORDER BY code, period")
    return [f"{row['code']} {row['period']}" for row in rows]


async def bought(shop: Shop, meter: SmallMeter, sale_id: str, when: datetime) -> None:
    shop.clock.set(when)
    await shop.sell(meter.number, "500", sale_id)


async def test_a_new_charge_beside_an_old_one_is_due_from_its_own_version_on(shop: Shop) -> None:
    await version(shop, 1, old=OLD)
    meter = await shop.utility.add_meter(tariff="homes")
    await version(shop, 2, at(2, 1), old=OLD, new=NEW)
    await version(shop, 3, at(3, 1), old=OLD | {"amount": "31"}, new=NEW)

    await bought(shop, meter, "a", at(3, 20))

    old = [f"old {month}" for month in ("2026-11", "2026-12", "2027-01", "2027-02", "2027-03")]
    assert taken(shop) == ["new 2027-02", "new 2027-03", *old]


async def test_a_withdrawn_version_does_not_begin_a_charge(shop: Shop) -> None:
    await version(shop, 1, old=OLD)
    await version(shop, 2, at(1, 1), old=OLD, new=NEW)
    shop.sql("UPDATE tariff_version SET withdrawn_us = 1 WHERE version = 2")
    await version(shop, 3, at(3, 1), old=OLD, new=NEW)
    meter = await shop.utility.add_meter(tariff="homes")

    await bought(shop, meter, "a", at(3, 20))

    assert [each for each in taken(shop) if each.startswith("new")] == ["new 2027-03"]


async def test_a_charge_that_was_gone_for_a_version_begins_anew(shop: Shop) -> None:
    await version(shop, 1, old=OLD, new=NEW)
    await version(shop, 2, at(1, 1), old=OLD)
    await version(shop, 3, at(3, 1), old=OLD, new=NEW)
    meter = await shop.utility.add_meter(tariff="homes")

    await bought(shop, meter, "a", at(3, 20))

    assert [each for each in taken(shop) if each.startswith("new")] == ["new 2027-03"]


async def test_months_that_lapsed_are_not_due_once_a_version_lets_them_add_up(
    shop: Shop,
) -> None:
    await version(shop, 1, old=OLD, new=NEW | {"missed": "lapse"})
    await version(shop, 2, at(3, 1), old=OLD, new=NEW)
    meter = await shop.utility.add_meter(tariff="homes")

    await bought(shop, meter, "a", at(3, 20))

    assert [each for each in taken(shop) if each.startswith("new")] == ["new 2027-03"]


async def test_a_charge_by_day_is_due_from_its_own_version_on(shop: Shop) -> None:
    await version(shop, 1, old=OLD)
    meter = await shop.utility.add_meter(tariff="homes")
    await bought(shop, meter, "a", at(1, 10))
    await version(shop, 2, at(1, 18), old=OLD, daily={"label": "D", "amount": "1", "every": "day"})

    await bought(shop, meter, "b", at(1, 20))

    days = [each for each in taken(shop) if each.startswith("daily")]
    assert days == ["daily 2027-01-18", "daily 2027-01-19", "daily 2027-01-20"]


async def test_a_charge_of_a_class_is_due_since_the_account_is_in_it(shop: Shop) -> None:
    await version(shop, 1, old=OLD, new=NEW | {"when": {"class": ["shop"]}})
    meter = await shop.utility.add_meter(tariff="homes")
    shop.sql(
        "INSERT INTO account_class SELECT 1, ?, id, 'shop', ?, '', ?, 0 FROM account"
        " WHERE number = ?",
        shop.utility.utility_id,
        epoch_us(at(2, 10)),
        shop.till.principal.id,
        meter.account_number,
    )

    await bought(shop, meter, "a", at(3, 20))

    due = [each for each in taken(shop) if each.startswith("new")]
    assert due == ["new 2027-02", "new 2027-03"]


async def test_a_month_missed_after_a_version_changed_nothing_of_a_charge_stays_due(
    shop: Shop,
) -> None:
    await version(shop, 1, old=OLD)
    meter = await shop.utility.add_meter(tariff="homes")
    await bought(shop, meter, "a", at(1, 10))
    await version(shop, 2, at(3, 1), old=OLD | {"amount": "40"})

    await bought(shop, meter, "b", at(3, 20))

    assert taken(shop)[-2:] == ["old 2027-02", "old 2027-03"]

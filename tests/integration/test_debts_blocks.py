"""Accounts that may not buy: since when, why, who, and who let them again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from slotmeter.errors import Conflict, Refused
from slotmeter.services.access import Origin
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def meter(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter("electricity")


async def test_a_block_says_why_since_when_and_by_whom(
    office: DebtOffice, meter: SmallMeter
) -> None:
    await office.blocks.block(
        office.origin, office.books, meter.account_number, reason="no arrangement"
    )
    office.shop.clock.advance(seconds=60)
    block = await office.blocks.release(
        office.origin, office.books, meter.account_number, reason="arranged"
    )

    assert (block["reason"], block["blocked_by"]) == ("no arrangement", "Clerk")
    assert (block["release_reason"], block["released_by"]) == ("arranged", "Clerk")
    assert timedelta(microseconds=block["released_us"] - block["from_us"]) == timedelta(minutes=1)
    assert [len(office.acts(what)) for what in ("account.block", "account.release")] == [1, 1]


async def test_an_account_is_blocked_once_at_a_time(office: DebtOffice, meter: SmallMeter) -> None:
    who = (office.origin, office.books, meter.account_number)
    await office.blocks.block(*who, reason="first")

    with pytest.raises(Conflict) as caught:
        await office.blocks.block(*who, reason="second")
    assert caught.value.code == "account_blocked_already"


async def test_an_account_that_is_not_blocked_cannot_be_released(
    office: DebtOffice, meter: SmallMeter
) -> None:
    with pytest.raises(Refused) as caught:
        await office.blocks.release(
            office.origin, office.books, meter.account_number, reason="none"
        )
    assert caught.value.code == "account_not_blocked"


async def test_nobody_in_particular_cannot_block(office: DebtOffice, meter: SmallMeter) -> None:
    with pytest.raises(Refused) as caught:
        await office.blocks.block(
            Origin("local:test", "test"), office.books, meter.account_number, reason="x"
        )
    assert caught.value.code == "actor_missing"


async def test_blocks_that_were_released_stay_in_the_list(
    office: DebtOffice, meter: SmallMeter
) -> None:
    who = (office.origin, office.books, meter.account_number)
    await office.blocks.block(*who, reason="first")
    await office.blocks.release(*who, reason="paid")

    now = await office.blocks.blocks(office.books, limit=5)
    ever = await office.blocks.blocks(
        office.books, account=meter.account_number, only_open=False, limit=5
    )

    assert (len(now.rows), len(ever.rows)) == (0, 1)

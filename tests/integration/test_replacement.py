"""Sales for the wrong meter, made good in one unit of work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.errors import Refused
from slotmeter.ports import Caller, Row
from slotmeter.services.float_accounts import FloatAccounts
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.replacement import Replacements, ReplacementWish
from slotmeter.services.sale_views import SaleView
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def boss(office: DebtOffice) -> Caller:
    return await office.shop.utility.add_principal("Boss", "supervisor")


@pytest.fixture
async def wrong(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter(online=False)


@pytest.fixture
async def right(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter(online=False)


async def replace(
    office: DebtOffice, boss: Caller, receipt: str, meter: str, request_id: str = "p1"
) -> tuple[Row, SaleView, bool]:
    shop = office.shop
    replacements = Replacements(shop.database, shop.clock, shop.selling)
    wish = ReplacementWish(receipt, meter, declared="the customer, at the counter")
    return await replacements.replace(Asked(boss, request_id, "typed the wrong number"), wish)


async def broken(office: DebtOffice) -> list[str]:
    shop = office.shop
    utility = await Registry(shop.database, shop.clock).utility("small")
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    return [each.name for each in verdict.sentences if not each.holds]


async def test_the_right_meter_gets_a_token_for_the_same_money(
    office: DebtOffice, boss: Caller, wrong: SmallMeter, right: SmallMeter
) -> None:
    sale = await office.shop.sell(wrong.number)

    operation, new, is_new = await replace(office, boss, sale.receipt_number, right.number)

    assert is_new
    assert (new.meter, new.tendered, new.quantity) == (right.number, "116.00", sale.quantity)
    assert new.token not in (None, sale.token)
    assert operation["new_receipt_number"] == new.receipt_number
    assert await office.shop.ledger("till:head") == {"till:head": 11_600}
    assert await broken(office) == []


async def test_the_old_token_is_withdrawn(
    office: DebtOffice, boss: Caller, wrong: SmallMeter, right: SmallMeter
) -> None:
    sale = await office.shop.sell(wrong.number)

    await replace(office, boss, sale.receipt_number, right.number)

    states = office.shop.column("SELECT state FROM token ORDER BY id")
    assert states == ["withdrawn", "issued"]


async def test_the_same_request_replaces_once(
    office: DebtOffice, boss: Caller, wrong: SmallMeter, right: SmallMeter
) -> None:
    sale = await office.shop.sell(wrong.number)
    first = await replace(office, boss, sale.receipt_number, right.number)

    again = await replace(office, boss, sale.receipt_number, right.number)

    assert again[:2] == first[:2]
    assert not again[2]
    assert office.shop.column("SELECT count(*) FROM sale") == [2]


async def test_a_sale_is_replaced_by_one_request_only(
    office: DebtOffice, boss: Caller, wrong: SmallMeter, right: SmallMeter
) -> None:
    sale = await office.shop.sell(wrong.number)
    await replace(office, boss, sale.receipt_number, right.number)

    with pytest.raises(Refused) as caught:
        await replace(office, boss, sale.receipt_number, right.number, "p2")

    assert caught.value.code == "reversed_already"


async def test_what_the_right_meter_cannot_buy_is_not_taken_back_from_the_wrong_one(
    office: DebtOffice, boss: Caller, wrong: SmallMeter, right: SmallMeter
) -> None:
    sale = await office.shop.sell(wrong.number)
    office.shop.sql("UPDATE meter SET state = 'blocked' WHERE id = ?", right.id)

    with pytest.raises(Refused) as caught:
        await replace(office, boss, sale.receipt_number, right.number)

    assert caught.value.code == "meter_blocked"
    assert office.shop.column("SELECT state FROM sale") == ["issued"]


async def test_a_meter_of_the_same_account_is_sold_to_anew(
    office: DebtOffice, boss: Caller, wrong: SmallMeter
) -> None:
    sale = await office.shop.sell(wrong.number)

    with pytest.raises(Refused) as caught:
        await replace(office, boss, sale.receipt_number, wrong.number)

    assert caught.value.code == "same_account"


async def test_a_till_at_its_limit_can_replace(
    office: DebtOffice, boss: Caller, wrong: SmallMeter, right: SmallMeter
) -> None:
    floats = FloatAccounts(office.shop.database, office.shop.clock)
    await floats.set_limit(Asked(boss, "l1", "test"), "head", "116.00")
    sale = await office.shop.sell(wrong.number)

    _, new, _ = await replace(office, boss, sale.receipt_number, right.number)

    assert new.state == "issued"
    assert await broken(office) == []


async def test_the_debt_of_the_wrong_customer_is_owed_again_and_the_right_one_repaid(
    office: DebtOffice, boss: Caller, wrong: SmallMeter, right: SmallMeter
) -> None:
    theirs, ours = await office.owe(wrong, "20.00"), await office.owe(right, "30.00")
    sale = await office.shop.sell(wrong.number)

    await replace(office, boss, sale.receipt_number, right.number)

    assert await office.left(theirs["number"]) == 20_00
    assert await office.left(ours["number"]) == 0
    assert await broken(office) == []

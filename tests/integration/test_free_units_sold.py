"""Free units: a token of their own, once a month, with a purchase or for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.errors import Refused
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SellRequest
from slotmeter.testing.device_side import DeviceSide
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import epoch_us
from slotmeter.vending.sts import ResultCode
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

BLOCKS: dict[str, Any] = {
    "tariff": "blocks",
    "title": "Blocks",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "blocks": [{"to": "50", "price": "2"}, {"price": "10"}]},
}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


async def assert_ledger_holds(shop: Shop) -> None:
    utility = await Registry(shop.database, shop.clock).utility(None)
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    assert [each for each in verdict.sentences if not each.holds] == []


def account_of(shop: Shop, meter: SmallMeter) -> int:
    (account,) = shop.column("SELECT id FROM account WHERE number = ?", meter.account_number)
    return int(account)


async def free_meter(shop: Shop, *, online: bool = False, **changes: Any) -> SmallMeter:
    free = {"label": "Free basic electricity", "units": "50", **changes}
    await shop.utility.add_tariff({**BLOCKS, "free_units": {"fbe": free}})
    meter = await shop.utility.add_meter(tariff="blocks", online=online)
    shop.sql(
        "INSERT INTO free_registration VALUES (1, ?, ?, 'fbe', ?, NULL, 'letter', ?, 0, NULL)",
        shop.utility.utility_id,
        account_of(shop, meter),
        epoch_us(shop.clock.now()),
        shop.till.principal.id,
    )
    return meter


def claim(meter: SmallMeter, sale_id: str = "free", tendered: str = "0") -> SellRequest:
    return SellRequest(sale_id, meter.number, tendered, claim_free=True)


async def test_free_units_come_first_by_a_token_of_their_own(shop: Shop) -> None:
    meter = await free_meter(shop)

    sale = await shop.sell(meter.number, "100")

    free, paid = sale.tokens
    assert (free.purpose, free.quantity, free.period) == ("free", 50_000, "2026-11")
    assert (paid.purpose, paid.digits, paid.quantity) == ("credit", sale.token, 50_000)
    machine = shop.sts_meter(meter.number)
    results = [machine.enter(each.digits or "").code for each in sale.tokens]
    assert results == [ResultCode.ACCEPT] * 2
    receipt = await shop.selling.receipt(shop.till, sale.receipt_number)
    assert [token.purpose for token in receipt.typing_order] == ["free", "credit"]
    assert await shop.selling.sale(shop.till, "s1") == sale
    await assert_ledger_holds(shop)


async def test_free_units_are_given_for_nothing_and_once_a_month(shop: Shop) -> None:
    meter = await free_meter(shop)

    sale, _ = await shop.selling.sell(shop.till, claim(meter))
    again, made = await shop.selling.sell(shop.till, claim(meter))
    with pytest.raises(Refused) as caught:
        await shop.selling.sell(shop.till, claim(meter, "other"))
    shop.clock.set(datetime(2026, 12, 1, tzinfo=UTC))
    december, _ = await shop.selling.sell(shop.till, claim(meter, "december"))

    assert (again, made) == (sale, False)
    assert (sale.token, sale.quantity, sale.tendered) == (None, 0, "0.00")
    assert caught.value.code == "no_free_units_due"
    assert december.tokens[0].period == "2026-12"
    assert await shop.ledger("till:head") == {}
    await assert_ledger_holds(shop)


async def test_free_units_are_never_sold(shop: Shop) -> None:
    meter = await free_meter(shop)

    with pytest.raises(Refused) as caught:
        await shop.selling.sell(shop.till, claim(meter, tendered="5"))

    assert caught.value.code == "free_units_cost_nothing"


@pytest.mark.parametrize(
    ("change", "why"),
    [("transfer = 'currency'", "is filled with money"), ("credit_mode = 'platform'", "keeps no")],
)
async def test_a_registered_household_is_told_when_its_meter_cannot_take_free_units(
    shop: Shop, change: str, why: str
) -> None:
    meter = await free_meter(shop)
    shop.sql(f"UPDATE meter SET {change} WHERE id = ?", meter.id)  # noqa: S608  our own words

    with pytest.raises(Refused) as caught:
        await shop.selling.sell(shop.till, claim(meter))

    assert caught.value.code == "free_units_need_a_units_meter"
    assert why in caught.value.message


async def test_a_household_that_is_not_registered_is_not_told_of_its_meter(shop: Shop) -> None:
    meter = await free_meter(shop)
    shop.sql("UPDATE meter SET transfer = 'currency' WHERE id = ?", meter.id)
    shop.sql("DELETE FROM free_registration")

    with pytest.raises(Refused) as caught:
        await shop.selling.sell(shop.till, claim(meter))

    assert caught.value.code == "no_free_units_due"


async def test_each_supply_point_of_a_registered_account_collects(shop: Shop) -> None:
    meter = await free_meter(shop)
    second = await shop.utility.add_meter(tariff="blocks", online=False)
    shop.sql(
        "UPDATE supply_point SET account_id = ? WHERE id = ?",
        account_of(shop, meter),
        second.supply_point_id,
    )

    sales = [
        await shop.selling.sell(shop.till, claim(each, each.number)) for each in (meter, second)
    ]

    assert [[token.period for token in sale.tokens] for sale, _ in sales] == [["2026-11"]] * 2


async def test_free_units_kept_over_months_come_by_one_token_each(shop: Shop) -> None:
    meter = await free_meter(shop, missed="accumulate", months_max=1)
    shop.clock.set(datetime(2027, 3, 5, tzinfo=UTC))

    sale, _ = await shop.selling.sell(shop.till, claim(meter))

    assert [token.period for token in sale.tokens] == ["2027-02", "2027-03"]
    assert len({token.digits for token in sale.tokens}) == 2


async def test_a_sale_with_free_units_that_was_cut_off_comes_out_with_the_same_digits(
    shop: Shop,
) -> None:
    meter = await free_meter(shop)
    await shop.first_commit_only(SellRequest("s1", meter.number, "100"))
    with pytest.raises(Refused):
        await shop.selling.sell(shop.till, claim(meter))
    reserved = shop.column("SELECT tid FROM token ORDER BY id")
    shop.clock.advance(seconds=90_000)

    recovered = await shop.selling.recover()

    sale = await shop.selling.sale(shop.till, "s1")
    machine = shop.sts_meter(meter.number)
    assert recovered.completed == 1
    assert [machine.enter(token.digits or "").tid for token in sale.tokens] == reserved
    assert await shop.selling.sell(shop.till, SellRequest("s1", meter.number, "100")) == (
        sale,
        False,
    )
    await assert_ledger_holds(shop)


async def test_a_voided_sale_gives_its_free_units_back(shop: Shop) -> None:
    meter = await free_meter(shop)
    shop.code_meter(meter, table_set="nosuch")
    with pytest.raises(Refused):
        await shop.sell(meter.number, "100")
    shop.code_meter(meter)

    sale, _ = await shop.selling.sell(shop.till, claim(meter))

    assert [token.purpose for token in sale.tokens] == ["free"]
    await assert_ledger_holds(shop)


async def test_free_units_of_a_month_are_given_once_though_two_tills_ask_at_once(
    shop: Shop,
) -> None:
    other = await shop.utility.add_principal("Till 2", "vendor")
    meter = await free_meter(shop)

    answers = await asyncio.gather(
        *(
            shop.selling.sell(till, SellRequest(f"s{at}", meter.number, "100"))
            for at in range(10)
            for till in (shop.till, other)
        )
    )

    purposes = [token.purpose for sale, _ in answers for token in sale.tokens]
    assert (purposes.count("free"), purposes.count("credit")) == (1, 20)
    await assert_ledger_holds(shop)


async def test_a_blocked_account_buys_nothing_but_collects_its_free_units(shop: Shop) -> None:
    meter = await free_meter(shop)
    shop.sql(
        "INSERT INTO account_block VALUES (1, ?, ?, 'tampering', ?, 0, NULL, NULL, NULL)",
        shop.utility.utility_id,
        account_of(shop, meter),
        shop.till.principal.id,
    )

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number, "100")
    sale, _ = await shop.selling.sell(shop.till, claim(meter))

    assert (caught.value.code, caught.value.details) == (
        "account_blocked",
        {"reason": "tampering"},
    )
    assert [token.purpose for token in sale.tokens] == ["free"]


# --- to the meter -------------------------------------------------------------------------------


async def test_both_tokens_go_to_an_online_meter_and_the_paid_one_tells_of_the_delivery(
    shop: Shop,
) -> None:
    side = DeviceSide(shop.database, shop.clock, RULES.credit_control)
    meter = await free_meter(shop, online=True)
    await side.report(meter, {"credit_total": 0})
    sale = await shop.sell(meter.number, "100")

    async def delivery() -> str:
        return (await shop.selling.sale(shop.till, "s1")).delivery

    taken = await side.take(meter, limit=2)
    shop.clock.advance(seconds=1)
    await side.report(
        meter, {"credit_total": 50_000}, results=(CommandResult(taken[0]["id"], Outcome.DONE),)
    )
    after_free = await delivery()
    shop.clock.advance(seconds=1)
    await side.report(
        meter, {"credit_total": 100_000}, results=(CommandResult(taken[1]["id"], Outcome.DONE),)
    )

    assert [each["token"] for each in taken] == [token.digits for token in sale.tokens]
    assert (after_free, await delivery()) == ("sent", "verified")
    assert shop.column("SELECT state FROM token ORDER BY id") == ["verified", "accepted"]
    assert shop.column("SELECT state FROM command ORDER BY id") == ["verified", "verified"]
    assert shop.column("SELECT kind FROM alarm") == []


async def test_free_units_alone_tell_of_their_own_delivery(shop: Shop) -> None:
    side = DeviceSide(shop.database, shop.clock, RULES.credit_control)
    meter = await free_meter(shop, online=True)
    await side.report(meter, {"credit_total": 0})
    await shop.selling.sell(shop.till, claim(meter))

    (taken,) = await side.take(meter, limit=2)
    shop.clock.advance(seconds=1)
    done = CommandResult(taken["id"], Outcome.DONE)
    await side.report(meter, {"credit_total": 50_000}, results=(done,))

    assert (await shop.selling.sale(shop.till, "free")).delivery == "verified"

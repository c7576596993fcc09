"""Sales that stop between their commits, or whose token cannot be made: no sale or a whole one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import NotFound, Refused, SlotmeterError, Unavailable
from slotmeter.services.selling import Recovered, Selling, SellRequest
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import SERVICE_CHARGE, SHOP_OPENS_AT, Shop, open_shop
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY, tariff_document
from slotmeter.units import epoch_us
from slotmeter.vending.sts import ResultCode

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


def with_module(shop: Shop, module: Any) -> Selling:
    """The same shop, whose tokens another security module makes."""
    return Selling(
        shop.database,
        module,
        shop.clock,
        safe=sample_safe(),
        draw_rnd=lambda: 1,
        after_payment=shop.selling._after_payment,
        on_issued=lambda: None,
    )


async def test_a_sale_cut_off_between_its_commits_comes_out_the_same_whatever_changed(
    shop: Shop,
) -> None:
    cut_off, control = [await shop.utility.add_meter("electricity") for _ in range(2)]
    request = SellRequest("s1", cut_off.number, "116.00")
    await shop.first_commit_only(request)
    expected, _ = await shop.selling.sell(
        shop.till, SellRequest("control", control.number, "116.00")
    )

    shop.clock.advance(seconds=3600)
    await shop.utility.add_tariff(tariff_document("electricity", price="99.00"), version=2)
    changed = {"sgc": "654321", "krn": 2, "ti": 7}

    assert cut_off.parameters is not None
    recoded = json.dumps(cut_off.parameters.to_dict() | changed)
    shop.sql("UPDATE meter SET parameters = ? WHERE id = ?", recoded, cut_off.id)
    recovered = await shop.selling.recover()

    sale = await shop.selling.sale(shop.till, "s1")
    receipt = await shop.selling.receipt(shop.till, sale.receipt_number)
    assert recovered.completed == 1
    assert sale.quantity == expected.quantity
    assert receipt.sold_us == epoch_us(SHOP_OPENS_AT)
    assert (receipt.supply_group_code, receipt.tariff_version) == ("123457", 1)
    assert sale.token is not None
    assert shop.sts_meter(cut_off.number).enter(sale.token).code is ResultCode.ACCEPT
    assert await shop.selling.recover() == Recovered(0, 0)


async def test_a_retry_completes_a_sale_that_stopped_between_its_commits(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    request = SellRequest("s1", meter.number, "116.00")
    await shop.first_commit_only(request)

    sale, made = await shop.selling.sell(shop.till, request)

    assert (sale.state, made) == ("issued", False)
    assert await shop.ledger("till:head") == {"till:head": 11600}


async def test_retries_at_one_instant_complete_a_sale_once(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    request = SellRequest("s1", meter.number, "116.00")

    answers = await asyncio.gather(*(shop.selling.sell(shop.till, request) for _ in range(20)))

    assert len({sale.token for sale, _ in answers}) == 1
    assert sum(made for _, made in answers) == 1
    assert await shop.ledger("till:head") == {"till:head": 11600}


async def test_a_token_that_is_refused_for_good_voids_the_sale_and_gives_all_back(
    shop: Shop,
) -> None:
    document = tariff_document("electricity", tariff="with-charge", fixed_charge=SERVICE_CHARGE)
    await shop.utility.add_tariff(document)
    meter = await shop.utility.add_meter("electricity", tariff="with-charge")
    assert meter.parameters is not None
    shop.code_meter(meter, table_set="nosuch")

    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await shop.sell(meter.number)
        assert caught.value.code == "token_cannot_be_made"
        assert caught.value.details == {"cause": "unknown_table_set"}
    shop.code_meter(meter)
    sale = await shop.sell(meter.number, sale_id="s2")

    till = (await shop.rows("till_of_branch", branch_id=shop.utility.branch_id))[0]
    charges = await shop.rows(
        "charges_of_point", supply_point_id=meter.supply_point_id, from_period="2026-11"
    )
    assert (await shop.selling.sale(shop.till, "s1")).state == "voided"
    assert sale.receipt_number == "R00000002"
    assert (till["balance_minor"], till["reserved_minor"]) == (11600, 0)
    assert [row["taken_minor"] for row in charges] == [5000]


async def test_a_voided_sale_gives_back_every_day_of_a_charge_by_day(shop: Shop) -> None:
    document = {
        "tariff": "by-day",
        "title": "By day",
        "commodity": "electricity",
        "currency": "KES",
        "energy": {"label": "Energy", "price": "20"},
        "fixed": {"service": {"label": "Service", "amount": "5", "every": "day"}},
    }
    await shop.utility.add_tariff(document)
    meter = await shop.utility.add_meter("electricity", tariff="by-day")
    await shop.sell(meter.number, "100.00", sale_id="s0")
    shop.clock.advance(days=10)
    shop.code_meter(meter, table_set="nosuch")
    with pytest.raises(Refused):
        await shop.sell(meter.number, "100.00", sale_id="s1")
    shop.code_meter(meter)

    sale = await shop.sell(meter.number, "100.00", sale_id="s2")

    receipt = await shop.selling.receipt(shop.till, sale.receipt_number)
    charges = [line.amount_minor for line in receipt.lines if line.kind == "charge"]
    assert charges == [5000]
    assert await shop.ledger("income:charge:service") == {"income:charge:service": -5500}


async def test_a_vending_key_that_has_expired_sells_nothing_whatever_the_meter_row_says(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.security.load(KEY_ID, replace(VENDING_KEY, ken=10))

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number)

    assert caught.value.details == {"cause": "key_expired"}


@pytest.mark.parametrize(
    ("change", "code"), [({"kt": 1}, "credit_under_default_key"), ({"ken": 1}, "key_expired")]
)
async def test_what_the_meter_would_refuse_is_refused_before_anything_is_written(
    shop: Shop, change: dict[str, Any], code: str
) -> None:
    meter = await shop.utility.add_meter("electricity")
    shop.code_meter(meter, **change)

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number)

    assert caught.value.code == code
    with pytest.raises(NotFound):
        await shop.selling.sale(shop.till, "s1")


async def test_recovery_voids_what_is_refused_for_good_gives_all_back_and_goes_on(
    shop: Shop,
) -> None:
    document = tariff_document("electricity", tariff="with-charge", fixed_charge=SERVICE_CHARGE)
    await shop.utility.add_tariff(document)
    bad, good = [await shop.utility.add_meter(tariff="with-charge") for _ in range(2)]
    shop.code_meter(bad, table_set="nosuch")
    await shop.first_commit_only(SellRequest("bad", bad.number, "116.00"))
    await shop.first_commit_only(SellRequest("good", good.number, "116.00"))

    recovered = await shop.selling.recover()
    again = await shop.selling.recover()

    till = (await shop.rows("till_of_branch", branch_id=shop.utility.branch_id))[0]
    charges = await shop.rows(
        "charges_of_point", supply_point_id=bad.supply_point_id, from_period="2026-11"
    )
    assert (recovered, again) == (Recovered(completed=1, voided=1), Recovered(0, 0))
    assert (await shop.selling.sale(shop.till, "good")).state == "issued"
    assert (await shop.selling.sale(shop.till, "bad")).state == "voided"
    assert (till["balance_minor"], till["reserved_minor"]) == (11600, 0)
    assert [row["taken_minor"] for row in charges] == [0]
    assert shop.column("SELECT meter_id FROM event WHERE kind = 'sale_voided'") == [bad.id]


async def test_recovery_keeps_a_sale_whose_vending_key_is_missing(shop: Shop) -> None:
    meter = await shop.utility.add_meter()
    await shop.first_commit_only(SellRequest("s1", meter.number, "116.00"))
    shop.sql("UPDATE token SET key_id = 'lost'")

    with pytest.raises(Unavailable, match="1 sales stay pending"):
        await shop.selling.recover()

    assert (await shop.selling.sale(shop.till, "s1")).state == "pending"


async def test_recovery_never_voids_a_sale_of_which_a_token_may_have_been_shown(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter("electricity")
    shop.code_meter(meter, table_set="nosuch")
    await shop.first_commit_only(SellRequest("s1", meter.number, "116.00"))
    shop.sql("UPDATE token SET digits = '12345678901234567890', state = 'issued'")

    with pytest.raises(Unavailable) as caught:
        await shop.selling.recover()

    assert caught.value.code == "recovery_incomplete"
    assert (await shop.selling.sale(shop.till, "s1")).state == "pending"


async def test_a_sale_whose_token_cannot_be_made_now_stays_pending_beside_the_others(
    shop: Shop,
) -> None:
    asleep, awake = [await shop.utility.add_meter("electricity") for _ in range(2)]
    await shop.first_commit_only(SellRequest("asleep", asleep.number, "116.00"))
    await shop.first_commit_only(SellRequest("awake", awake.number, "116.00"))

    class Dozing:
        async def issue(self, key_id: Any, parameters: Any, request: Any) -> Any:
            if parameters == asleep.parameters:
                raise Unavailable("module_asleep", "no answer")
            return await shop.security.issue(key_id, parameters, request)

    with pytest.raises(Unavailable) as caught:
        await with_module(shop, Dozing()).recover()

    assert caught.value.code == "recovery_incomplete"
    assert (await shop.selling.sale(shop.till, "awake")).state == "issued"
    assert (await shop.selling.sale(shop.till, "asleep")).state == "pending"


async def test_recovery_leaves_alone_what_is_being_sold_at_this_moment(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.first_commit_only(SellRequest("s1", meter.number, "116.00"))

    young = await shop.selling.recover(age_s=30)
    shop.clock.advance(seconds=31)
    old = await shop.selling.recover(age_s=30)

    assert (young.completed, old.completed) == (0, 1)


async def test_a_sale_is_delivered_as_its_receipt_says_though_the_device_came_later(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter("electricity", online=False)
    other = await shop.utility.add_meter("electricity")
    await shop.first_commit_only(SellRequest("s1", meter.number, "116.00"))
    shop.sql("UPDATE device SET meter_id = ? WHERE id = ?", meter.id, other.device_id)

    await shop.selling.recover()

    pending = await shop.rows(
        "control_pending", utility_id=shop.utility.utility_id, meter_id=meter.id
    )
    assert (await shop.selling.sale(shop.till, "s1")).delivery == "keypad"
    assert list(pending) == []


async def test_a_token_that_cannot_be_made_keeps_the_sale_for_a_retry(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")

    class Broken:
        async def issue(self, *_: object) -> Any:
            raise SlotmeterError("module_asleep", "no answer")

    broken = with_module(shop, Broken())
    request = SellRequest("s1", meter.number, "116.00")

    with pytest.raises(Unavailable) as caught:
        await broken.sell(shop.till, request)
    sale, made = await shop.selling.sell(shop.till, request)

    assert caught.value.code == "token_not_made"
    assert (sale.state, made) == ("issued", False)

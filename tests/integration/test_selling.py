"""Sales on a real database: priced once, booked once, each to its own seller."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.services.selling import SellRequest
from slotmeter.testing.shop import SERVICE_CHARGE, SHOP_OPENS_AT, Shop, open_shop
from slotmeter.testing.small_utility import meter_number, tariff_document
from slotmeter.units import epoch_us
from slotmeter.vending.receipts import render_html, render_text
from slotmeter.vending.sts import ResultCode

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


async def test_a_sale_gives_a_token_that_its_meter_accepts_once(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")

    sale = await shop.sell(meter.number)

    assert sale.token is not None
    assert (sale.units, sale.unit) == ("5.0", "kWh")
    machine = shop.sts_meter(meter.number)
    assert machine.enter(sale.token).code is ResultCode.ACCEPT
    assert machine.enter(sale.token).code is ResultCode.USED_ERROR


async def test_the_same_request_again_is_the_same_sale(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    request = SellRequest("s1", meter.number, "116.00")

    first, made = await shop.selling.sell(shop.till, request)
    shop.clock.advance(seconds=90)
    again, made_again = await shop.selling.sell(shop.till, request)

    assert (made, made_again) == (True, False)
    assert again == first


async def test_the_same_sale_id_for_another_amount_is_a_conflict(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.sell(meter.number, "116.00")

    with pytest.raises(Conflict) as caught:
        await shop.sell(meter.number, "117.00")
    assert (caught.value.code, caught.value.field) == ("sale_id_reused", "sale_id")


async def test_two_sellers_may_use_one_sale_id_and_see_only_their_own(shop: Shop) -> None:
    first, second = [await shop.utility.add_meter("electricity") for _ in range(2)]
    other = await shop.utility.add_principal("Till 2", "vendor")

    mine = await shop.sell(first.number)
    theirs, made = await shop.selling.sell(other, SellRequest("s1", second.number, "58.00"))

    assert made
    assert (await shop.selling.sale(shop.till, "s1")).meter == mine.meter == first.number
    assert (await shop.selling.sale(other, "s1")).meter == theirs.meter == second.number
    with pytest.raises(NotFound):
        await shop.selling.receipt(other, mine.receipt_number)


async def test_two_hundred_sales_at_once_to_one_meter_have_two_hundred_identifiers(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter("electricity")

    sales = await asyncio.gather(*(shop.sell(meter.number, sale_id=f"s{n}") for n in range(200)))

    machine = shop.sts_meter(meter.number)
    results = [machine.enter(sale.token or "") for sale in sales]
    assert len({result.tid for result in results}) == 200
    assert len({sale.token for sale in sales}) == 200


async def test_a_sale_that_is_run_again_takes_the_price_that_is_in_force_by_then(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter("electricity")
    now_us = epoch_us(shop.clock.now())
    begin = shop.selling.begin(shop.till, SellRequest("s1", meter.number, "116.00"), now_us)
    await shop.database.read(begin.reads())  # as by a unit whose transaction was taken back
    dearer = tariff_document("electricity", price="40.00")
    version_id = await shop.utility.add_tariff(dearer, version=2)

    begun = await shop.database.run(begin.reads(), begin.decide)

    assert begun.sale["tariff_version_id"] == version_id
    assert begun.sale["units"] == 2_500


async def test_the_entry_of_a_sale_balances_and_is_what_the_receipt_says(shop: Shop) -> None:
    await shop.utility.add_tariff(
        tariff_document("electricity", tariff="with-charge", fixed_charge=SERVICE_CHARGE)
    )
    meter = await shop.utility.add_meter("electricity", tariff="with-charge")

    await shop.sell(meter.number, "200.00")

    ledger = await shop.ledger(
        "till:head", "income:electricity", "tax:VAT", "income:charge:service", "rounding"
    )
    # 50.00 charge + 8.00 tax; 142.00 left = 122.41 net + 19.59 tax; 6.1 kWh x 20 = 122.00
    assert ledger == {
        "till:head": 20000,
        "income:charge:service": -5000,
        "tax:VAT": -(800 + 1959),
        "income:electricity": -12200,
        "rounding": -41,
    }
    assert sum(ledger.values()) == 0


async def test_the_monthly_charge_is_taken_once_a_month_in_the_utilitys_time_zone(
    shop: Shop,
) -> None:
    await shop.utility.add_tariff(
        tariff_document("water", tariff="with-charge", fixed_charge=SERVICE_CHARGE)
    )
    meter = await shop.utility.add_meter("water", tariff="with-charge")

    first = await shop.sell(meter.number, sale_id="a")
    second = await shop.sell(meter.number, sale_id="b")
    # 21:30 UTC on 30 November is already December in Nairobi.
    shop.clock.set(datetime(2026, 11, 30, 21, 30, tzinfo=UTC))
    december = await shop.sell(meter.number, sale_id="c")

    assert [first.units, second.units, december.units] == ["2.5", "5.0", "2.5"]


async def test_two_tills_at_one_instant_take_the_charge_once(shop: Shop) -> None:
    await shop.utility.add_tariff(
        tariff_document("water", tariff="with-charge", fixed_charge=SERVICE_CHARGE)
    )
    meter = await shop.utility.add_meter("water", tariff="with-charge")

    await asyncio.gather(*(shop.sell(meter.number, sale_id=f"s{n}") for n in range(8)))

    assert (await shop.ledger("income:charge:service")) == {"income:charge:service": -5000}


async def test_a_charge_that_rises_within_the_month_is_taken_up_to_the_new_amount(
    shop: Shop,
) -> None:
    document = tariff_document("water", tariff="with-charge", fixed_charge=SERVICE_CHARGE)
    await shop.utility.add_tariff(document)
    meter = await shop.utility.add_meter("water", tariff="with-charge")
    await shop.sell(meter.number, sale_id="a")
    dearer = {**document, "fixed_charge": {**SERVICE_CHARGE, "amount": "60.00"}}
    await shop.utility.add_tariff(dearer, version=2)

    await shop.sell(meter.number, sale_id="b")
    await shop.sell(meter.number, sale_id="c")

    rows = await shop.rows(
        "charges_of_point", supply_point_id=meter.supply_point_id, from_period="2026-11"
    )
    assert (await shop.ledger("income:charge:service")) == {"income:charge:service": -6000}
    assert [row["taken_minor"] for row in rows] == [6000]


async def test_platform_held_credit_goes_to_the_account_and_needs_no_token(shop: Shop) -> None:
    meter = await shop.utility.add_meter("water", credit_mode="platform")

    sale = await shop.sell(meter.number, "116.00")

    assert sale.token is None
    assert (await shop.ledger("customer:A0001")) == {"customer:A0001": -11600}
    assert shop.paid_meters == [meter.id]


async def test_a_till_may_not_owe_more_than_its_limit(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.sell(meter.number, "116.00", "s1")
    shop.sql("UPDATE ledger_account SET limit_minor = 20000 WHERE code = 'till:head'")

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number, "116.00", "s2")
    assert caught.value.code == "float_exhausted"
    assert caught.value.details == {"left": "84.00"}


@pytest.mark.parametrize(
    ("tendered", "code"),
    [
        ("0", "amount_not_positive"),
        ("-5.00", "amount_not_positive"),
        ("1.001", "amount_too_precise"),
        ("ten", "amount_malformed"),
        ("9.99", "below_minimum"),
        ("50000.01", "above_maximum"),
        ("1" * 13, "amount_too_large"),
    ],
)
async def test_a_wrong_amount_is_refused_with_its_field_and_changes_nothing(
    shop: Shop, tendered: str, code: str
) -> None:
    meter = await shop.utility.add_meter("electricity")

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number, tendered)

    assert (caught.value.code, caught.value.field) == (code, "tendered")
    assert await shop.ledger("till:head") == {}


async def test_the_meters_own_maximum_is_kept(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity", purchase_max_minor=10000)

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number, "100.01")
    assert caught.value.code == "above_maximum"


async def test_an_unknown_meter_and_a_wrong_check_digit_are_told_apart(shop: Shop) -> None:
    good = meter_number(999)
    bad = good[:-1] + str((int(good[-1]) + 1) % 10)

    with pytest.raises(NotFound) as unknown:
        await shop.sell(good)
    with pytest.raises(Refused) as wrong:
        await shop.sell(bad)

    assert unknown.value.code == "meter_unknown"
    assert wrong.value.field == "meter"
    assert wrong.value.code != "meter_unknown"


async def test_without_a_price_in_force_nothing_is_sold(shop: Shop) -> None:
    await shop.utility.add_tariff(
        tariff_document("gas", tariff="later"), valid_from_us=epoch_us(SHOP_OPENS_AT) + 1
    )
    meter = await shop.utility.add_meter("gas", tariff="later")

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number)
    assert caught.value.code == "no_price_in_force"


async def test_a_tender_below_the_charges_is_refused_and_says_what_is_needed(shop: Shop) -> None:
    await shop.utility.add_tariff(
        tariff_document("water", tariff="with-charge", fixed_charge=SERVICE_CHARGE)
    )
    meter = await shop.utility.add_meter("water", tariff="with-charge")

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number, "58.00")

    assert caught.value.code == "tender_too_small"
    needed = str(caught.value.details["needed"])
    assert (await shop.sell(meter.number, needed, "enough")).units == "0.1"


async def test_a_quote_promises_what_the_sale_gives_and_writes_nothing(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")

    quote = await shop.selling.quote(shop.till, meter.number, "116.00")
    before = await shop.ledger("till:head")
    sale = await shop.sell(meter.number, "116.00")

    assert before == {}
    assert quote.quantity == sale.quantity
    assert quote.customer == "A**** O*****"


async def test_an_online_meter_gets_a_command_and_a_keypad_meter_does_not(shop: Shop) -> None:
    online = await shop.utility.add_meter("electricity")
    keypad = await shop.utility.add_meter("electricity", online=False)

    delivered = await shop.sell(online.number, sale_id="a")
    typed = await shop.sell(keypad.number, sale_id="b")

    pending = await shop.rows(
        "control_pending", utility_id=shop.utility.utility_id, meter_id=online.id
    )
    assert (delivered.delivery, typed.delivery) == ("pending", "keypad")
    assert [row["kind"] for row in pending] == ["load_token"]
    assert (
        await shop.rows("control_pending", utility_id=shop.utility.utility_id, meter_id=keypad.id)
        == []
    )


async def test_a_receipt_prints_as_text_and_as_a_page_with_everything_on_it(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    sale = await shop.sell(meter.number)
    receipt = await shop.selling.receipt(shop.till, sale.receipt_number)
    grouped = " ".join((sale.token or "")[at : at + 4] for at in range(0, 20, 4))

    for mm, width in ((58, 32), (80, 48)):
        text = render_text(receipt, mm)
        assert max(len(line) for line in text.splitlines()) <= width
        assert grouped in text
        assert "Delivery pending" in " ".join(text.split())
    page = re.sub(r"</?span>", "", render_html(receipt))

    for wanted in (grouped, "P051234567X", "Small Town Utilities", "SGC 123457 KRN 1 TI 01"):
        assert wanted in page


async def test_a_blocked_or_removed_meter_may_not_buy(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")

    for state, code in (("blocked", "meter_blocked"), ("removed", "meter_removed")):
        shop.sql("UPDATE meter SET state = ? WHERE id = ?", state, meter.id)
        with pytest.raises(Refused) as caught:
            await shop.sell(meter.number)
        assert caught.value.code == code

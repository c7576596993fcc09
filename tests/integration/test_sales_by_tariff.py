"""Sales through the tariff language on a real database: what the buyer is decides what is taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.runtime.repricing import verify_sales
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SellRequest
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter, tariff_document
from slotmeter.units import epoch_us
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.sts.amounts import decode_currency, encode_currency
from slotmeter.vending.tariff.reader import stored_tariff

pytestmark = pytest.mark.both_databases

SERVICE = {"code": "service", "label": "Service charge", "amount": "50.00", "taxed": True}
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


async def units(shop: Shop, meter: SmallMeter, tendered: str, sale_id: str) -> str:
    return (await shop.sell(meter.number, tendered, sale_id)).units


async def lines(shop: Shop, receipt_number: str) -> dict[str, int]:
    receipt = await shop.selling.receipt(shop.till, receipt_number)
    return {f"{line.kind}:{line.code}": line.amount_minor for line in receipt.lines}


def account_of(shop: Shop, meter: SmallMeter) -> int:
    (account,) = shop.column("SELECT id FROM account WHERE number = ?", meter.account_number)
    return int(account)


def put_in_class(shop: Shop, meter: SmallMeter, code: str) -> None:
    """Put a meter's account into a class, an hour from now."""
    shop.sql(
        "INSERT INTO account_class VALUES (1, ?, ?, ?, ?, '', ?, 0)",
        shop.utility.utility_id,
        account_of(shop, meter),
        code,
        epoch_us(shop.clock.now()) + 3_600_000_000,
        shop.till.principal.id,
    )


# --- at one instant -----------------------------------------------------------------------------


async def test_two_tills_at_the_same_instant_take_a_monthly_charge_once_500_times(
    shop: Shop,
) -> None:
    other = await shop.utility.add_principal("Till 2", "vendor")
    await shop.utility.add_tariff(
        tariff_document("water", tariff="with-charge", fixed_charge=SERVICE)
    )
    meters = [
        await shop.utility.add_meter("water", tariff="with-charge", credit_mode="platform")
        for _ in range(100)
    ]

    for month in (1, 2, 3, 4, 5):
        shop.clock.set(datetime(2027, month, 1, 9, tzinfo=UTC))
        await asyncio.gather(
            *(
                shop.selling.sell(till, SellRequest(f"{month}-{meter.number}", meter.number, "100"))
                for meter in meters
                for till in (shop.till, other)
            )
        )

    taken = shop.column("SELECT taken_minor FROM charge")
    assert len(taken) == 500
    assert set(taken) == {5000}
    assert await shop.ledger("income:charge:service") == {"income:charge:service": -500 * 5000}
    await assert_ledger_holds(shop)


# --- units or money on the token ----------------------------------------------------------------


async def test_a_token_of_units_and_one_of_money_book_the_same(shop: Shop) -> None:
    document = {
        **BLOCKS,
        "levies": {"fuel": {"label": "Fuel", "per_unit": "0.57"}},
        "taxes": {"vat": {"label": "VAT", "percent": "16", "on": ["energy", "fuel", "service"]}},
        "fixed": {"service": {"label": "Service", "amount": "20"}},
    }
    await shop.utility.add_tariff(document)
    by_units, by_money = [await shop.utility.add_meter(tariff="blocks") for _ in range(2)]
    shop.sql("UPDATE meter SET transfer = 'currency' WHERE id = ?", by_money.id)

    first = await shop.sell(by_units.number, "100.00", "a")
    second = await shop.sell(by_money.number, "100.00", "b")

    booked, same = [
        shop.rows_of(
            "SELECT code, sum(amount_minor) AS minor FROM posting p JOIN journal j"
            " ON j.id = p.journal_id JOIN sale s ON s.id = j.sale_row_id JOIN ledger_account l"
            " ON l.id = p.ledger_account_id WHERE s.sale_id = ? GROUP BY code ORDER BY code",
            sale_id,
        )
        for sale_id in ("a", "b")
    ]
    earned = {row["code"]: -row["minor"] for row in booked}
    assert booked == same
    assert earned.keys() >= {"income:electricity", "levy:fuel", "tax:vat"}
    assert first.quantity == second.quantity
    money = second.transfer_minor
    paid_e5 = earned["income:electricity"] * 1000
    carried_e5 = -decode_currency(encode_currency(-paid_e5))
    assert (first.transfer_minor, money) == (None, carried_e5 // 1000)
    requests = [json.loads(text) for text in shop.column("SELECT request FROM token ORDER BY id")]
    assert [(each["subclass"], each["value"]) for each in requests] == [
        (0, first.quantity // 100),
        (4, carried_e5),
    ]
    assert second.tokens[0].minor == money
    await assert_ledger_holds(shop)


# --- blocks, classes, charges -------------------------------------------------------------------


async def test_blocks_count_what_was_bought_in_the_month_and_start_again_with_it(
    shop: Shop,
) -> None:
    await shop.utility.add_tariff(BLOCKS)
    meter = await shop.utility.add_meter(tariff="blocks")

    bought = [await units(shop, meter, "80", "a"), await units(shop, meter, "80", "b")]
    # 21:30 UTC on 30 November is already December in Nairobi.
    shop.clock.set(datetime(2026, 11, 30, 21, 30, tzinfo=UTC))
    bought.append(await units(shop, meter, "80", "c"))

    # 40 at 2; 10 at 2 and 6 at 10; 40 at 2 again.
    assert bought == ["40.0", "16.0", "40.0"]


async def test_a_voided_sale_counts_in_no_block(shop: Shop) -> None:
    await shop.utility.add_tariff(BLOCKS)
    meter = await shop.utility.add_meter(tariff="blocks")
    shop.code_meter(meter, table_set="nosuch")
    with pytest.raises(Refused):
        await shop.sell(meter.number, "80", "a")
    shop.code_meter(meter)

    assert await units(shop, meter, "100", "b") == "50.0"


async def test_a_lifeline_that_is_crossed_takes_its_price_back(shop: Shop) -> None:
    lifeline = {"label": "Energy", "price": "10", "lifeline": {"to": "30", "price": "1"}}
    await shop.utility.add_tariff({**BLOCKS, "energy": lifeline})
    meter = await shop.utility.add_meter(tariff="blocks")

    cheap = await shop.sell(meter.number, "20", "a")
    crossing = await shop.sell(meter.number, "380", "b")
    after = await shop.sell(meter.number, "100", "c")

    # 20 at 1; then 20 at 10 and the 20 before at 9 more; then 10 at 10.
    assert [sale.units for sale in (cheap, crossing, after)] == ["20.0", "20.0", "10.0"]
    assert (await lines(shop, crossing.receipt_number))["correction:energy"] == 18_000
    assert shop.column("SELECT lifeline_units FROM sale ORDER BY id") == [20_000, -20_000, 0]


async def test_a_lifeline_takes_back_no_price_that_was_never_paid(shop: Shop) -> None:
    dear = {"label": "Energy", "price": "100", "lifeline": {"to": "30", "price": "50"}}
    await shop.utility.add_tariff({**BLOCKS, "energy": dear})
    meter = await shop.utility.add_meter(tariff="blocks")
    await shop.sell(meter.number, "1000", "a")
    shop.clock.advance(hours=1)
    cheaper = {**dear, "lifeline": {"to": "30", "price": "10"}}
    now_us = epoch_us(shop.clock.now())
    await shop.utility.add_tariff({**BLOCKS, "energy": cheaper}, version=2, valid_from_us=now_us)

    # The 20 kWh of before were 50 each: no 90 each are due for them on top.
    assert await units(shop, meter, "2000", "b") == "20.0"


async def test_a_new_class_takes_back_the_price_that_was_paid_under_the_old_one(
    shop: Shop,
) -> None:
    energy = {
        "label": "Energy",
        "tables": {
            "poor": {"price": "6", "lifeline": {"to": "50", "price": "1"}},
            "others": {"price": "10", "lifeline": {"to": "30", "price": "4"}},
        },
        "use": [{"class": ["indigent"], "table": "poor"}, {"table": "others"}],
    }
    await shop.utility.add_tariff({**BLOCKS, "energy": energy})
    meter = await shop.utility.add_meter(tariff="blocks")
    await shop.sell(meter.number, "80", "a")
    put_in_class(shop, meter, "indigent")
    shop.clock.advance(seconds=3600)

    crossing = await shop.sell(meter.number, "340", "b")

    # 20 at 4; then 40 at 6 and the 20 before at 2 more, whatever the new class pays at first.
    assert crossing.units == "50.0"
    assert (await lines(shop, crossing.receipt_number))["correction:energy"] == 4_000
    found = await asyncio.to_thread(
        verify_sales, shop.place, shop.utility.utility_id, from_us=0, to_us=2**62
    )
    assert (found.repriced.sales, found.repriced.different) == (2, 0)
    await assert_ledger_holds(shop)


async def test_the_class_of_the_moment_chooses_the_prices(shop: Shop) -> None:
    energy = {
        "label": "Energy",
        "tables": {"poor": {"price": "2"}, "others": {"price": "10"}},
        "use": [{"class": ["indigent"], "table": "poor"}, {"table": "others"}],
    }
    await shop.utility.add_tariff({**BLOCKS, "energy": energy})
    meter = await shop.utility.add_meter(tariff="blocks")
    put_in_class(shop, meter, "indigent")

    before = await units(shop, meter, "100", "a")
    shop.clock.advance(seconds=3600)
    after = await units(shop, meter, "100", "b")

    assert (before, after) == ("10.0", "50.0")


async def test_missed_months_add_up_and_a_small_tender_says_what_is_missing(shop: Shop) -> None:
    fixed = {"service": {"label": "Service", "amount": "30", "missed": "accumulate"}}
    await shop.utility.add_tariff({**BLOCKS, "energy": {"price": "10"}, "fixed": fixed})
    meter = await shop.utility.add_meter(tariff="blocks")

    await shop.sell(meter.number, "100", "a")
    shop.clock.set(datetime(2027, 2, 10, tzinfo=UTC))
    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number, "90", "b")
    await shop.sell(meter.number, "190", "c")

    assert (caught.value.code, caught.value.details["needed"]) == ("tender_too_small", "91.00")
    periods = shop.column("SELECT period FROM charge WHERE taken_minor = 3000 ORDER BY period")
    assert periods == ["2026-11", "2026-12", "2027-01", "2027-02"]
    await assert_ledger_holds(shop)


async def test_cheap_units_of_missed_months_are_there_for_every_purchase_of_the_month(
    shop: Shop,
) -> None:
    blocks = [{"to": "15", "price": "10"}, {"price": "100"}]
    counter = {"missed": "accumulate", "months_max": "6"}
    energy = {"blocks": blocks, "counter": counter}
    await shop.utility.add_tariff({**BLOCKS, "energy": energy})
    one, other = [await shop.utility.add_meter(tariff="blocks") for _ in range(2)]
    shop.clock.set(datetime(2027, 1, 20, tzinfo=UTC))

    at_once = await units(shop, one, "300", "a")
    in_parts = [await units(shop, other, "100", sale_id) for sale_id in "bcd"]

    # Nothing was bought in December: 15 more kWh at 10.
    assert at_once == "30.0"
    assert in_parts == ["10.0", "10.0", "10.0"]


async def test_a_charge_that_a_later_version_brings_is_not_taken_for_months_before(
    shop: Shop,
) -> None:
    await shop.utility.add_tariff({**BLOCKS, "energy": {"price": "10"}})
    meter = await shop.utility.add_meter(tariff="blocks")
    await shop.sell(meter.number, "100", "a")
    fixed = {"service": {"label": "Service", "amount": "30", "missed": "accumulate"}}
    shop.clock.set(datetime(2027, 1, 15, tzinfo=UTC))
    dearer = {**BLOCKS, "energy": {"price": "10"}, "fixed": fixed}
    await shop.utility.add_tariff(dearer, version=2, valid_from_us=epoch_us(shop.clock.now()))

    await shop.sell(meter.number, "160", "b")

    assert shop.column("SELECT period FROM charge") == ["2027-01"]


async def test_a_withdrawn_version_begins_no_charge(shop: Shop) -> None:
    fixed = {"service": {"label": "Service", "amount": "30", "missed": "accumulate"}}
    document = {**BLOCKS, "energy": {"price": "10"}, "fixed": fixed}
    december, march = (
        epoch_us(datetime(*day, tzinfo=UTC)) for day in ((2026, 12, 1), (2027, 3, 1))
    )
    withdrawn = await shop.utility.add_tariff(document, valid_from_us=december)
    shop.sql("UPDATE tariff_version SET withdrawn_us = 1 WHERE id = ?", withdrawn)
    await shop.utility.add_tariff(document, version=2, valid_from_us=march)
    meter = await shop.utility.add_meter(tariff="blocks")
    shop.clock.set(datetime(2027, 3, 5, tzinfo=UTC))

    await shop.sell(meter.number, "100", "a")

    assert shop.column("SELECT period FROM charge") == ["2027-03"]


async def test_small_purchases_share_a_charge_until_enough_was_tendered(shop: Shop) -> None:
    split = {"label": "Service", "amount": "200", "split": {"below": "400"}}
    await shop.utility.add_tariff({**BLOCKS, "energy": {"price": "2"}, "fixed": {"service": split}})
    meter = await shop.utility.add_meter(tariff="blocks")

    bought = [await units(shop, meter, "100", sale_id) for sale_id in "abcdef"]

    assert bought == ["25.0"] * 4 + ["50.0"] * 2
    assert shop.column("SELECT taken_minor FROM charge") == [20_000]
    await assert_ledger_holds(shop)


async def test_money_beyond_the_charges_that_buys_nothing_is_kept_for_the_next_purchase(
    shop: Shop,
) -> None:
    document = {
        **BLOCKS,
        "energy": {"price": "500"},
        "fixed": {"service": {"label": "Service", "amount": "30"}},
        "purchase": {"too_small": "pay_charges"},
    }
    await shop.utility.add_tariff(document)
    meter = await shop.utility.add_meter(tariff="blocks")

    nothing = await shop.sell(meter.number, "40", "a")
    something = await shop.sell(meter.number, "50", "b")

    assert (nothing.token, nothing.tokens, nothing.delivery) == (None, (), "none")
    assert (await lines(shop, nothing.receipt_number))["kept:kept"] == 1000
    assert something.units == "0.1"
    assert (await lines(shop, something.receipt_number))["kept:used"] == -1000
    assert sum(shop.column("SELECT kept_minor FROM sale")) == -(
        await shop.ledger("advance:A0001")
    ).get("advance:A0001", 0)
    await assert_ledger_holds(shop)


async def test_one_entry_moves_more_accounts_than_one_read_finds(shop: Shop) -> None:
    levies = {f"levy{at}": {"label": f"Levy {at}", "per_unit": "0.10"} for at in range(20)}
    await shop.utility.add_tariff({**BLOCKS, "levies": levies})
    meter = await shop.utility.add_meter(tariff="blocks")

    await shop.sell(meter.number, "100", "a")
    await shop.sell(meter.number, "100", "b")

    counts = shop.column("SELECT count(*) FROM posting GROUP BY journal_id")
    assert min(counts) >= 22
    await assert_ledger_holds(shop)


# --- prices that change, and that are not there -------------------------------------------------


async def test_a_tariff_that_changes_while_sales_are_made_prices_each_by_the_version_it_names(
    shop: Shop,
) -> None:
    await shop.utility.add_tariff(BLOCKS)
    meters = [await shop.utility.add_meter(tariff="blocks") for _ in range(20)]
    dearer = {**BLOCKS, "energy": {"price": "25"}}

    sales = [
        shop.sell(meter.number, "150", f"{round_}-{at}")
        for round_ in range(3)
        for at, meter in enumerate(meters)
    ]
    sales.insert(30, shop.utility.add_tariff(dearer, version=2))  # type: ignore[arg-type]  # among the sales
    await asyncio.gather(*sales)

    stored = shop.rows_of(
        "SELECT s.priced, s.situation, s.units, s.tender_minor, v.body, v.version FROM sale s"
        " JOIN tariff_version v ON v.id = s.tariff_version_id"
    )
    assert {row["version"] for row in stored} == {1, 2}
    for row in stored:
        situation = Situation.from_dict(json.loads(row["situation"]))
        again = price_tender(stored_tariff(row["body"]), situation, row["tender_minor"])
        amounts = [line["amount_minor"] for line in json.loads(row["priced"])]
        assert (again.units, [line.amount_minor for line in again.lines]) == (row["units"], amounts)


async def test_without_a_price_in_force_an_alarm_is_raised_once_and_cleared_by_the_next_sale(
    shop: Shop,
) -> None:
    await shop.utility.add_tariff({**BLOCKS, "valid_until": "2026-11-23"})
    meter = await shop.utility.add_meter(tariff="blocks")
    await shop.sell(meter.number, "100", "a")
    shop.clock.set(datetime(2026, 11, 24, tzinfo=UTC))

    for attempt in range(3):
        with pytest.raises(Refused) as caught:
            await shop.sell(meter.number, "100", f"b{attempt}")
        assert caught.value.code == "no_price_in_force"
    with pytest.raises(Refused):
        await shop.selling.quote(shop.till, meter.number, "100")
    raised = shop.rows_of("SELECT kind, severity, cleared_us FROM alarm")
    await shop.utility.add_tariff(BLOCKS, version=2, valid_from_us=epoch_us(shop.clock.now()))
    await shop.sell(meter.number, "100", "c")

    assert raised == [{"kind": "no_price_in_force", "severity": "alarm", "cleared_us": None}]
    assert shop.column("SELECT count(*) FROM alarm WHERE cleared_us IS NULL") == [0]
    kinds = shop.column("SELECT kind FROM event WHERE kind LIKE 'no_price%' ORDER BY id")
    assert kinds == ["no_price_in_force", "no_price_in_force_cleared"]


# --- who may not buy ----------------------------------------------------------------------------


async def test_an_account_that_pays_afterwards_buys_nothing_in_advance(shop: Shop) -> None:
    await shop.utility.add_tariff(BLOCKS)
    meter = await shop.utility.add_meter(tariff="blocks")
    later_us = epoch_us(shop.clock.now()) + 60_000_000
    for at, (terms, from_us) in enumerate((("postpaid", 0), ("prepaid", later_us)), 1):
        shop.sql(
            "INSERT INTO account_terms VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL, '', ?, 0)",
            at,
            shop.utility.utility_id,
            account_of(shop, meter),
            terms,
            from_us,
            shop.till.principal.id,
        )

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number, "100", "a")
    shop.clock.advance(seconds=60)

    assert caught.value.code == "account_postpaid"
    assert await units(shop, meter, "100", "b") == "50.0"

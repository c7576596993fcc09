"""Sales on a real database: priced once, booked once, repaired after a crash."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Conflict, NotFound, Refused, SlotmeterError, Unavailable
from slotmeter.ports import Caller, Changes, NewId, Read, Row, Rows
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.services.sale_begin import begin_reads, begin_sale
from slotmeter.services.selling import SaleView, Selling, SellRequest
from slotmeter.storage.database import Database
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.small_utility import (
    KEY_ID,
    VENDING_KEY,
    SmallMeter,
    SmallUtility,
    meter_number,
    tariff_document,
)
from slotmeter.units import epoch_us
from slotmeter.vending.receipts import render_html, render_text
from slotmeter.vending.sts import Register, ResultCode, derive_decoder_key
from slotmeter.vending.sts.meter import StsMeter
from slotmeter.vending.sts.meter_state import MeterConfig

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SERVICE_CHARGE = {"code": "service", "label": "Service charge", "amount": "50.00", "taxed": True}


@dataclass
class Shop:
    """A small utility with somebody at the till."""

    path: Path
    database: Database
    utility: SmallUtility
    selling: Selling
    clock: FakeClock
    security: SoftwareSecurityModule
    till: Caller
    paid_meters: list[int] = field(default_factory=list)

    async def sell(self, meter: str, tendered: str = "116.00", sale_id: str = "s1") -> SaleView:
        view, _ = await self.selling.sell(self.till, SellRequest(sale_id, meter, tendered))
        return view

    async def rows(self, statement: str, **params: Any) -> Sequence[Row]:
        return (await self.database.read([Read(statement, params)]))[statement]

    def sql(self, text: str, *values: object) -> None:
        """Change a row behind the platform's back."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(text, values)

    def code_meter(self, meter: SmallMeter, **changes: Any) -> None:
        """Change how the platform thinks a meter is coded; without changes, as it was."""
        assert meter.parameters is not None
        parameters = json.dumps(meter.parameters.to_dict() | changes)
        self.sql("UPDATE meter SET parameters = ? WHERE id = ?", parameters, meter.id)

    async def ledger(self, *codes: str) -> dict[str, int]:
        params: dict[str, Any] = {"utility_id": self.utility.utility_id}
        params |= {f"code{at}": code for at, code in enumerate(codes)}
        params |= {f"code{at}": None for at in range(len(codes), 8)}
        rows = await self.rows("ledger_accounts", **params)
        return {row["code"]: row["balance_minor"] for row in rows}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    database = await Database.open(tmp_path / "slotmeter.db")
    create_vault(tmp_path)
    security = SoftwareSecurityModule.open(tmp_path)
    await security.load(KEY_ID, VENDING_KEY)
    clock = FakeClock(NOW)
    utility = await SmallUtility(database, epoch_us(NOW)).make()
    for commodity in ("electricity", "water", "gas"):
        await utility.add_tariff(tariff_document(commodity))
    paid: list[int] = []

    async def after_payment(meter_id: int) -> None:
        paid.append(meter_id)

    selling = Selling(
        database,
        security,
        clock,
        draw_rnd=lambda: 5,
        after_payment=after_payment,
        on_issued=lambda: None,
    )
    till = await utility.add_principal("Till 1", "vendor")
    yield Shop(tmp_path / "slotmeter.db", database, utility, selling, clock, security, till, paid)
    await security.close()
    await database.close()


def sts_meter(shop: Shop, number: str) -> StsMeter:
    parameters = shop.utility.meters[number].parameters
    assert parameters is not None
    key = derive_decoder_key(VENDING_KEY.key, parameters)
    register = Register[shop.utility.meters[number].commodity.upper()]
    config = MeterConfig(parameters.pan, frozenset({register}))
    return StsMeter.made(config, parameters, key, made_tid=1)


async def test_a_sale_gives_a_token_that_its_meter_accepts_once(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")

    sale = await shop.sell(meter.number)

    assert sale.token is not None
    assert (sale.units, sale.unit) == ("5.0", "kWh")
    machine = sts_meter(shop, meter.number)
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

    machine = sts_meter(shop, meter.number)
    results = [machine.enter(sale.token or "") for sale in sales]
    assert len({result.tid for result in results}) == 200
    assert len({sale.token for sale in sales}) == 200


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
        "charges_of_period", supply_point_id=meter.supply_point_id, period="2026-11"
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
        tariff_document("gas", tariff="later"), valid_from_us=epoch_us(NOW) + 1
    )
    meter = await shop.utility.add_meter("gas", tariff="later")

    with pytest.raises(Refused) as caught:
        await shop.sell(meter.number)
    assert caught.value.code == "no_tariff_in_force"


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


async def _first_commit_only(shop: Shop, request: SellRequest) -> None:
    now_us = epoch_us(shop.clock.now())

    def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
        return begin_sale(shop.till, request, rows, new_id, now_us=now_us, rnd=7)

    await shop.database.run(begin_reads(shop.till.principal, request, now_us), decide)


async def test_a_sale_cut_off_between_its_commits_comes_out_the_same_whatever_changed(
    shop: Shop,
) -> None:
    cut_off, control = [await shop.utility.add_meter("electricity") for _ in range(2)]
    request = SellRequest("s1", cut_off.number, "116.00")
    await _first_commit_only(shop, request)
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
    assert recovered == 1
    assert sale.quantity == expected.quantity
    assert receipt.sold_us == epoch_us(NOW)
    assert (receipt.supply_group_code, receipt.tariff_version) == ("123457", 1)
    assert sale.token is not None
    assert sts_meter(shop, cut_off.number).enter(sale.token).code is ResultCode.ACCEPT
    assert await shop.selling.recover() == 0


async def test_a_retry_completes_a_sale_that_stopped_between_its_commits(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    request = SellRequest("s1", meter.number, "116.00")
    await _first_commit_only(shop, request)

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
        "charges_of_period", supply_point_id=meter.supply_point_id, period="2026-11"
    )
    assert (await shop.selling.sale(shop.till, "s1")).state == "voided"
    assert sale.receipt_number == "R00000002"
    assert (till["balance_minor"], till["reserved_minor"]) == (11600, 0)
    assert [row["taken_minor"] for row in charges] == [5000]


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


async def test_one_sale_that_cannot_be_completed_does_not_stop_the_others(shop: Shop) -> None:
    bad, good = [await shop.utility.add_meter("electricity") for _ in range(2)]
    shop.code_meter(bad, table_set="nosuch")
    await _first_commit_only(shop, SellRequest("bad", bad.number, "116.00"))
    await _first_commit_only(shop, SellRequest("good", good.number, "116.00"))

    with pytest.raises(Unavailable) as caught:
        await shop.selling.recover()

    assert caught.value.code == "recovery_incomplete"
    assert (await shop.selling.sale(shop.till, "good")).state == "issued"
    assert (await shop.selling.sale(shop.till, "bad")).state == "pending"


async def test_recovery_leaves_alone_what_is_being_sold_at_this_moment(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await _first_commit_only(shop, SellRequest("s1", meter.number, "116.00"))

    young = await shop.selling.recover(age_s=30)
    shop.clock.advance(seconds=31)
    old = await shop.selling.recover(age_s=30)

    assert (young, old) == (0, 1)


async def test_a_sale_is_delivered_as_its_receipt_says_though_the_device_came_later(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter("electricity", online=False)
    other = await shop.utility.add_meter("electricity")
    await _first_commit_only(shop, SellRequest("s1", meter.number, "116.00"))
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

    broken = Selling(
        shop.database,
        Broken(),  # type: ignore[arg-type]  # only issue() is reached
        shop.clock,
        draw_rnd=lambda: 1,
        after_payment=shop.selling._after_payment,
        on_issued=lambda: None,
    )
    request = SellRequest("s1", meter.number, "116.00")

    with pytest.raises(Unavailable) as caught:
        await broken.sell(shop.till, request)
    sale, made = await shop.selling.sell(shop.till, request)

    assert caught.value.code == "token_not_made"
    assert (sale.state, made) == ("issued", False)


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
    page = render_html(receipt)

    for wanted in (grouped, "P051234567X", "Small Town Utilities", "SGC 123457 KRN 1 TI 01"):
        assert wanted in page


async def test_a_blocked_or_removed_meter_may_not_buy(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")

    for state, code in (("blocked", "meter_blocked"), ("removed", "meter_removed")):
        shop.sql("UPDATE meter SET state = ? WHERE id = ?", state, meter.id)
        with pytest.raises(Refused) as caught:
            await shop.sell(meter.number)
        assert caught.value.code == code

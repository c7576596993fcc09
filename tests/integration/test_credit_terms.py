"""From prepaid to postpaid and back: settled at a register, moved once, the ledger in balance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Conflict, NotFound, Refused, SlotmeterError
from slotmeter.ports import Caller, Changes, NewId, Rows
from slotmeter.services.charging import Metered, charge_steps, charging_reads
from slotmeter.services.credit_terms import CreditTerms
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.settlement_document import settlement_text
from slotmeter.services.settlement_meters import MeterReading
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import Commodity, epoch_us
from slotmeter.vending.accounts import Terms

pytestmark = pytest.mark.both_databases


class Office:
    """A shop with a clerk who may change terms."""

    def __init__(self, shop: Shop, clerk: Caller) -> None:
        self.shop = shop
        self.clerk = clerk
        self.terms = CreditTerms(shop.database, shop.clock)

    async def to(self, terms: Terms, meter: SmallMeter, *, ago_s: int = 0, **read: Any) -> Any:
        """Change the terms with one reading, a minute after whatever happened before."""
        self.shop.clock.advance(seconds=60)
        readings = [MeterReading(meter.number, **read)] if read else []
        return await self.terms.switch(
            self.clerk,
            meter.account_number,
            terms,
            readings,
            at=self.shop.clock.now() - timedelta(seconds=ago_s),
            reason="asked for",
        )

    async def report(self, meter: SmallMeter, register: int) -> None:
        """Charge what a meter that reports has used."""
        self.shop.clock.advance(seconds=3_600)
        now_us = epoch_us(self.shop.clock.now())
        metered = Metered(
            utility_id=self.shop.utility.utility_id,
            meter_id=meter.id,
            meter_number=meter.number,
            register=register,
            frame_id=1,
            now_us=now_us,
            commodity=Commodity(meter.commodity),
            measured_us=now_us,
        )

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            return Changes(None, charge_steps(metered, rows, new_id).steps)

        reads = charging_reads(metered.utility_id, meter.id, meter.commodity, now_us)
        await self.shop.database.run(reads, decide)

    async def holds(self, meter: SmallMeter) -> dict[str, int]:
        """What the customer has, owes and keeps; debit positive."""
        number = meter.account_number
        codes = [f"{kind}:{number}" for kind in ("customer", "receivable", "advance")]
        found = await self.shop.ledger(*codes)
        return {code.partition(":")[0]: minor for code, minor in found.items() if minor}

    async def broken(self) -> list[str]:
        utility = await Registry(self.shop.database, self.shop.clock).utility(None)
        verdict = await verify_ledger(self.shop.database, self.shop.clock, utility)
        return [each.sentence for each in verdict.sentences if not each.holds]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with open_shop(tmp_path) as shop:
        yield Office(shop, await shop.utility.add_principal("clerk", "office"))


@pytest.fixture
async def online(office: Office) -> SmallMeter:
    """A meter whose credit the platform holds: 232 paid, 5 kWh used for 116, all at 23.20."""
    meter = await office.shop.utility.add_meter(credit_mode="platform")
    await office.report(meter, 1_000)
    await office.shop.sell(meter.number, "232.00", "first")
    await office.report(meter, 6_000)
    return meter


@pytest.fixture
async def keypad(office: Office) -> SmallMeter:
    """A meter that holds its own credit: 5 kWh bought, and then 10."""
    meter = await office.shop.utility.add_meter(online=False)
    await office.shop.sell(meter.number, "116.00", "first")
    office.shop.clock.advance(seconds=60)
    await office.shop.sell(meter.number, "232.00", "second")
    return meter


# --- the platform holds the credit ----------------------------------------------------------------


async def test_what_is_left_stands_to_the_customers_good(
    office: Office, online: SmallMeter
) -> None:
    document = await office.to(Terms.POSTPAID, online, register=7_000)

    assert await office.holds(online) == {"receivable": -9_280}
    assert document["before"] == {"credit": "92.80", "owed": "0.00"}
    assert document["after"] == {"credit": "0.00", "owed": "-92.80"}
    assert await office.broken() == []


async def test_without_a_reading_the_register_charged_last_counts(
    office: Office, online: SmallMeter
) -> None:
    document = await office.to(Terms.POSTPAID, online)

    assert document["meters"][0]["register"] == "6.0"
    assert await office.holds(online) == {"receivable": -11_600}


async def test_there_and_back_on_one_day_gives_back_what_was_not_used(
    office: Office, online: SmallMeter
) -> None:
    await office.to(Terms.POSTPAID, online, register=7_000)
    await office.report(online, 9_000)
    document = await office.to(Terms.PREPAID, online, register=10_000)

    assert await office.holds(online) == {"customer": -2_320}
    assert document["after"] == {"credit": "23.20", "owed": "0.00"}
    assert await office.broken() == []


async def test_use_beyond_the_credit_is_owed_and_not_taken_from_the_next_purchase(
    office: Office, online: SmallMeter
) -> None:
    await office.to(Terms.POSTPAID, online, register=7_000)
    document = await office.to(Terms.PREPAID, online, register=12_000)
    office.shop.clock.advance(seconds=60)
    await office.shop.sell(online.number, "116.00", "again")

    assert document["after"] == {"credit": "0.00", "owed": "23.20"}
    assert await office.holds(online) == {"receivable": 2_320, "customer": -11_600}


async def test_nothing_is_sold_in_advance_to_who_pays_afterwards(
    office: Office, online: SmallMeter
) -> None:
    await office.to(Terms.POSTPAID, online, register=7_000)

    with pytest.raises(Refused) as refused:
        await office.shop.sell(online.number, "116.00", "again")

    assert refused.value.code == "account_postpaid"


async def test_a_register_below_what_was_charged_is_refused_and_changes_nothing(
    office: Office, online: SmallMeter
) -> None:
    with pytest.raises(Refused) as refused:
        await office.to(Terms.POSTPAID, online, register=5_000)

    assert refused.value.code == "register_passed"
    assert refused.value.details == {"charged_register": 6_000}
    assert await office.holds(online) == {"customer": -11_600}


# --- the meter holds the credit -------------------------------------------------------------------


async def test_units_left_are_worth_what_they_cost_by_the_newest_purchases(
    office: Office, keypad: SmallMeter
) -> None:
    document = await office.to(Terms.POSTPAID, keypad, register=3_000, credit_left=12_000)

    [meter] = document["meters"]
    assert [(part["left"], part["amount"]) for part in meter["parts"]] == [
        ("10.0", "232.00"),
        ("2.0", "46.40"),
    ]
    assert meter["credit_to_clear"] is True
    assert await office.holds(keypad) == {"receivable": -27_840}
    assert await office.broken() == []


async def test_the_income_and_the_tax_of_units_left_go_back(
    office: Office, keypad: SmallMeter
) -> None:
    before = await office.shop.ledger("income:electricity", "tax:VAT")

    await office.to(Terms.POSTPAID, keypad, register=3_000, credit_left=12_000)

    after = await office.shop.ledger("income:electricity", "tax:VAT")
    assert after["income:electricity"] - before["income:electricity"] == 24_000
    assert after["tax:VAT"] - before["tax:VAT"] == 3_840


async def test_more_left_than_was_bought_is_refused(office: Office, keypad: SmallMeter) -> None:
    with pytest.raises(Refused) as refused:
        await office.to(Terms.POSTPAID, keypad, register=3_000, credit_left=15_100)

    assert refused.value.code == "credit_exceeds_purchases"
    assert refused.value.details == {"explained": 15_000, "left": 15_100}


async def test_credit_is_moved_once(office: Office, keypad: SmallMeter) -> None:
    await office.to(Terms.POSTPAID, keypad, register=3_000, credit_left=12_000)
    await office.to(Terms.PREPAID, keypad, register=3_000)

    with pytest.raises(Refused) as refused:
        await office.to(Terms.POSTPAID, keypad, register=3_000, credit_left=12_000)

    assert refused.value.code == "credit_exceeds_purchases"


async def test_use_since_the_switch_is_owed_and_the_rest_is_kept_for_the_next_purchase(
    office: Office, keypad: SmallMeter
) -> None:
    await office.to(Terms.POSTPAID, keypad, register=3_000, credit_left=12_000)
    document = await office.to(Terms.PREPAID, keypad, register=5_000)
    held = await office.holds(keypad)
    office.shop.clock.advance(seconds=60)
    sale = await office.shop.sell(keypad.number, "116.00", "again")

    assert document["meters"][0]["used"] == "2.0"
    assert document["meters"][0]["amount"] == "46.40"
    assert held == {"advance": -23_200}
    assert sale.quantity == 15_000
    assert await office.broken() == []


async def test_how_much_is_left_on_the_meter_must_be_said(
    office: Office, keypad: SmallMeter
) -> None:
    with pytest.raises(Refused) as refused:
        await office.to(Terms.POSTPAID, keypad, register=3_000)

    assert refused.value.code == "credit_left_missing"


# --- when -----------------------------------------------------------------------------------------


async def test_a_settlement_may_be_of_an_instant_that_has_passed(
    office: Office, online: SmallMeter
) -> None:
    office.shop.clock.advance(seconds=7_200)

    document = await office.to(Terms.POSTPAID, online, ago_s=3_600, register=7_000)
    now = await office.terms.terms(office.shop.utility.utility_id, online.account_number)

    assert document["at"] == "2026-11-21T12:31:00.000000Z"
    assert now.terms is Terms.POSTPAID


@pytest.mark.parametrize(("ago_s", "code"), [(-60, "at_in_the_future"), (86_400, "sold_since")])
async def test_an_instant_that_cannot_be_is_refused(
    office: Office, online: SmallMeter, ago_s: int, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await office.to(Terms.POSTPAID, online, ago_s=ago_s, register=7_000)

    assert refused.value.code == code


async def test_the_same_terms_again_are_refused(office: Office, online: SmallMeter) -> None:
    with pytest.raises(Conflict) as refused:
        await office.to(Terms.PREPAID, online, register=7_000)

    assert refused.value.code == "terms_already"


async def test_a_switch_before_the_one_before_is_refused(
    office: Office, online: SmallMeter
) -> None:
    await office.to(Terms.POSTPAID, online, register=7_000)

    with pytest.raises(Refused) as refused:
        await office.to(Terms.PREPAID, online, ago_s=3_000, register=7_000)

    assert refused.value.code == "at_before_last_change"


async def test_an_account_that_does_not_exist_is_unknown(office: Office) -> None:
    with pytest.raises(NotFound):
        await office.terms.switch(office.clerk, "nobody", Terms.POSTPAID, [], at=None, reason="x")


@pytest.mark.parametrize(
    ("readings", "code"),
    [
        ([], "reading_missing"),
        ([MeterReading("07999999999", 1)], "meter_not_of_account"),
    ],
)
async def test_readings_must_be_of_the_meters_of_the_account(
    office: Office, keypad: SmallMeter, readings: list[MeterReading], code: str
) -> None:
    with pytest.raises(SlotmeterError) as refused:
        await office.terms.switch(
            office.clerk, keypad.account_number, Terms.POSTPAID, readings, at=None, reason="x"
        )

    assert refused.value.code == code


# --- what remains ---------------------------------------------------------------------------------


async def test_every_change_is_kept_with_its_settlement_and_recorded(
    office: Office, online: SmallMeter
) -> None:
    await office.to(Terms.POSTPAID, online, register=7_000)
    await office.to(Terms.PREPAID, online, register=7_000)

    now = await office.terms.terms(office.shop.utility.utility_id, online.account_number)
    acts = office.shop.column("SELECT what FROM act ORDER BY id")

    assert [row["terms"] for row in now.history] == ["prepaid", "postpaid"]
    assert [each for each in acts if each.startswith("terms.")] == [
        "terms.postpaid",
        "terms.prepaid",
    ]


async def test_the_printed_settlement_fits_a_slip_and_names_every_amount(
    office: Office, keypad: SmallMeter
) -> None:
    text = settlement_text(
        await office.to(Terms.POSTPAID, keypad, register=3_000, credit_left=12_000)
    )

    assert max(map(len, text.splitlines())) <= 42
    for said in ("232.00", "46.40", "-278.40 KES", "is to be cleared", "asked for"):
        assert said in text

"""Taking sales back: every posting turned round, and the customer as if it had never been."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Conflict, NotAllowed, NotFound, Refused
from slotmeter.ports import Caller, Row
from slotmeter.services.debt_terms import PlanWish
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.services.sale_begin import SellRequest
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.shop import SERVICE_CHARGE
from slotmeter.testing.small_utility import tariff_document

DECLARED = "the customer, at the counter"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def boss(office: DebtOffice) -> Caller:
    return await office.shop.utility.add_principal("Boss", "supervisor")


async def take_back(
    office: DebtOffice, caller: Caller, receipt: str, request_id: str = "r1", **wish: Any
) -> tuple[Row, bool]:
    asked = Asked(caller, request_id, "sold for the wrong customer")
    reversals = Reversals(office.shop.database, office.shop.clock)
    return await reversals.reverse(asked, ReversalWish(receipt, **{"declared": DECLARED} | wish))


async def broken(office: DebtOffice) -> list[str]:
    """Return the sentences about the ledger that do not hold."""
    shop = office.shop
    utility = await Registry(shop.database, shop.clock).utility("small")
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    return [each.sentence for each in verdict.sentences if not each.holds]


async def test_a_reversed_sale_leaves_nothing_in_the_books(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)

    operation, is_new = await take_back(office, boss, sale.receipt_number)

    balances = await office.shop.ledger("till:head", "income:electricity", "tax:VAT")
    assert is_new
    assert operation["number"] == "K00000001"
    assert set(balances.values()) == {0}
    assert await broken(office) == []


async def test_the_sale_itself_stays_with_its_receipt_and_its_tokens(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)

    await take_back(office, boss, sale.receipt_number)
    again = await office.shop.selling.sale(office.shop.till, "s1")

    assert again.state == "reversed"
    assert again.token == sale.token
    states = office.shop.column("SELECT state FROM token")
    assert states == ["withdrawn"]


async def test_selling_again_under_the_id_of_a_reversed_sale_sells_nothing(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)
    await take_back(office, boss, sale.receipt_number)

    again, created = await office.shop.selling.sell(
        office.shop.till, SellRequest("s1", meter.number, "116.00")
    )

    assert not created
    assert again.state == "reversed"


async def test_the_same_request_takes_back_once(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)
    first, _ = await take_back(office, boss, sale.receipt_number)

    second, is_new = await take_back(office, boss, sale.receipt_number)

    assert not is_new
    assert second == first
    assert office.shop.column("SELECT count(*) FROM journal WHERE kind = 'sale_reversal'") == [1]


async def test_a_sale_is_not_taken_back_by_two_requests(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)
    await take_back(office, boss, sale.receipt_number)

    with pytest.raises(Refused) as caught:
        await take_back(office, boss, sale.receipt_number, "r2")

    assert caught.value.code == "reversed_already"


async def test_a_request_id_is_one_request(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    one = await office.shop.sell(meter.number)
    two = await office.shop.sell(meter.number, sale_id="s2")
    await take_back(office, boss, one.receipt_number)

    with pytest.raises(Conflict) as caught:
        await take_back(office, boss, two.receipt_number)

    assert caught.value.code == "request_id_reused"


async def test_the_block_counter_is_as_if_the_sale_had_never_been(
    office: DebtOffice, boss: Caller
) -> None:
    shop = office.shop
    blocks = [{"to": "30", "price": "10.00"}, {"price": "40.00"}]
    document = tariff_document("electricity", tariff="stepped", price=None, energy=None)
    document |= {"energy": {"label": "Energy", "blocks": blocks}}
    del document["tax"], document["purchase"]
    await shop.utility.add_tariff(document)
    meter = await shop.utility.add_meter(online=False, tariff="stepped")
    before = await shop.selling.quote(shop.till, meter.number, "700.00")
    sale = await shop.sell(meter.number, "300.00")

    await take_back(office, boss, sale.receipt_number)

    after = await shop.selling.quote(shop.till, meter.number, "700.00")
    assert before.quantity == 40_000
    assert (after.quantity, after.lines) == (before.quantity, before.lines)


async def test_the_monthly_charge_is_due_again(office: DebtOffice, boss: Caller) -> None:
    shop = office.shop
    await shop.utility.add_tariff(
        tariff_document("electricity", tariff="charged", fixed_charge=SERVICE_CHARGE)
    )
    meter = await shop.utility.add_meter(online=False, tariff="charged")
    before = await shop.selling.quote(shop.till, meter.number, "232.00")
    sale = await shop.sell(meter.number, "232.00")

    await take_back(office, boss, sale.receipt_number)

    after = await shop.selling.quote(shop.till, meter.number, "232.00")
    assert after.lines == before.lines
    assert await broken(office) == []


async def test_what_was_repaid_of_a_debt_is_owed_again(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    debt = await office.owe(meter, "30.00")
    sale = await office.shop.sell(meter.number, "116.00")
    closed = await office.debts.debt(office.books, debt["number"])

    await take_back(office, boss, sale.receipt_number)

    after = await office.debts.debt(office.books, debt["number"])
    assert (closed["state"], closed["balance_minor"]) == ("closed", 0)
    assert (after["state"], after["balance_minor"]) == ("open", 30_00)
    assert await broken(office) == []


async def test_an_instalment_that_was_taken_back_is_due_again(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    plan = PlanWish("instalments", amount="20.00", every="month")
    await office.owe(meter, "100.00", plan=plan)
    before = await office.shop.selling.quote(office.shop.till, meter.number, "116.00")
    sale = await office.shop.sell(meter.number, "116.00")

    await take_back(office, boss, sale.receipt_number)

    after = await office.shop.selling.quote(office.shop.till, meter.number, "116.00")
    assert after.lines == before.lines


async def test_a_clerk_cannot_take_a_declaration_for_a_report(office: DebtOffice) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)

    with pytest.raises(NotAllowed) as caught:
        await take_back(office, office.clerk, sale.receipt_number)

    assert "sale.correct" in caught.value.message


async def test_without_a_report_or_a_declaration_nothing_is_taken_back(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)

    with pytest.raises(Refused) as caught:
        await take_back(office, boss, sale.receipt_number, declared="")

    assert caught.value.code == "token_maybe_used"


async def test_a_token_that_the_meter_took_is_not_taken_back(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)
    office.shop.sql("UPDATE token SET state = 'accepted', accepted_us = 1, accepted_by = 'keypad'")

    with pytest.raises(Refused) as caught:
        await take_back(office, boss, sale.receipt_number)

    assert caught.value.code == "token_used"


async def test_a_delivery_that_has_not_begun_is_stopped(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter()
    sale = await office.shop.sell(meter.number)

    await take_back(office, boss, sale.receipt_number)

    assert office.shop.column("SELECT state FROM command") == ["superseded"]
    assert office.shop.column("SELECT delivery FROM sale") == ["failed"]


async def test_a_token_on_its_way_is_waited_for(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter()
    sale = await office.shop.sell(meter.number)
    office.shop.sql("UPDATE command SET state = 'sent'")

    with pytest.raises(Conflict) as caught:
        await take_back(office, boss, sale.receipt_number)

    assert caught.value.code == "delivery_running"


async def test_a_report_since_the_sale_with_all_credit_explained_needs_no_declaration(
    office: DebtOffice,
) -> None:
    meter = await office.shop.utility.add_meter()
    sale = await office.shop.sell(meter.number)
    office.shop.sql(
        "UPDATE device SET credit_total = 7, credit_proven = 7, received_us = ?",
        sale.issued_us + 1 if sale.issued_us else 0,
    )

    operation, _ = await take_back(office, office.clerk, sale.receipt_number, declared="")

    assert '"evidence":"meter"' in operation["detail"]


async def test_a_report_from_before_the_token_was_handed_out_does_not_tell_that_it_was_not_taken(
    office: DebtOffice,
) -> None:
    meter = await office.shop.utility.add_meter()
    sale = await office.shop.sell(meter.number)
    sent_us = (sale.issued_us or 0) + 3_600_000_000
    office.shop.sql("UPDATE command SET attempts = 1, sent_us = ?", sent_us)
    explained = "UPDATE device SET credit_total = 7, credit_proven = 7, received_us = ?"
    office.shop.sql(explained, sent_us + 30_000_000)
    with pytest.raises(Refused) as caught:
        await take_back(office, office.clerk, sale.receipt_number, declared="")
    office.shop.sql(explained, sent_us + 61_000_000)

    operation, _ = await take_back(office, office.clerk, sale.receipt_number, declared="")

    assert caught.value.code == "token_maybe_used"
    assert '"evidence":"meter"' in operation["detail"]


async def test_credit_that_the_platform_holds_goes_back_while_it_is_there(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(credit_mode="platform")
    sale = await office.shop.sell(meter.number)

    operation, _ = await take_back(office, boss, sale.receipt_number, declared="")

    assert '"evidence":"ledger"' in operation["detail"]
    assert await office.shop.ledger(f"customer:{meter.account_number}") == {
        f"customer:{meter.account_number}": 0
    }
    assert await broken(office) == []


async def test_the_bank_can_pay_what_the_till_keeps(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    sale = await office.shop.sell(meter.number)

    await take_back(office, boss, sale.receipt_number, paid_by="bank")

    assert await office.shop.ledger("till:head", "bank") == {"till:head": 11_600, "bank": -11_600}
    assert await broken(office) == []


async def test_an_unknown_receipt_cannot_be_taken_back(office: DebtOffice, boss: Caller) -> None:
    with pytest.raises(NotFound) as caught:
        await take_back(office, boss, "R00000099")

    assert caught.value.code == "receipt_unknown"


@pytest.mark.parametrize("reason", ["", "   "])
async def test_nothing_is_taken_back_without_a_reason(
    office: DebtOffice, boss: Caller, reason: str
) -> None:
    reversals = Reversals(office.shop.database, office.shop.clock)

    with pytest.raises(Refused) as caught:
        await reversals.reverse(Asked(boss, "r1", reason), ReversalWish("R00000001"))

    assert caught.value.code == "reason_missing"

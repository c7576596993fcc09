"""The float of sellers, their commission, and refunds, on a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import Caller, Row
from slotmeter.services.commission import Commissions, PlanWish
from slotmeter.services.float_accounts import FloatAccounts, float_left
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked, Operations
from slotmeter.services.refunds import Refunds, RefundWish
from slotmeter.services.registry import Registry
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import tariff_document

TODAY = date(2026, 11, 21)
TWO_PERCENT = PlanWish("sale", [("0", "2")])
SETTLED = PlanWish("settlement", [("0", "5")], per_sale="1.00")


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def boss(office: DebtOffice) -> Caller:
    return await office.shop.utility.add_principal("Boss", "supervisor")


def floats(office: DebtOffice) -> FloatAccounts:
    return FloatAccounts(office.shop.database, office.shop.clock)


def commissions(office: DebtOffice) -> Commissions:
    return Commissions(office.shop.database, office.shop.clock)


def asked(caller: Caller, request_id: str = "q1") -> Asked:
    return Asked(caller, request_id, "because")


async def pay_in(
    office: DebtOffice, boss: Caller, amount: str = "100.00", request_id: str = "q1", **more: Any
) -> tuple[Row, bool]:
    slip = more.get("reference", "SLIP 4711")
    return await floats(office).pay_in(
        asked(boss, request_id), more.get("branch", "head"), amount, slip
    )


async def broken(office: DebtOffice) -> list[str]:
    shop = office.shop
    utility = await Registry(shop.database, shop.clock).utility("small")
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    return [each.name for each in verdict.sentences if not each.holds]


# --- float ----------------------------------------------------------------------------------------


async def test_paying_in_moves_money_from_the_till_to_the_bank(
    office: DebtOffice, boss: Caller
) -> None:
    operation, is_new = await pay_in(office, boss)

    assert is_new
    assert operation["kind"] == "pay_in"
    assert await office.shop.ledger("till:head", "bank") == {"till:head": -10_000, "bank": 10_000}
    assert await broken(office) == []


async def test_the_same_request_pays_in_once(office: DebtOffice, boss: Caller) -> None:
    first, _ = await pay_in(office, boss)

    again, is_new = await pay_in(office, boss)

    assert (again, is_new) == (first, False)
    assert await office.shop.ledger("bank") == {"bank": 10_000}


async def test_a_slip_counts_once_whoever_brings_it(office: DebtOffice, boss: Caller) -> None:
    await pay_in(office, boss)

    with pytest.raises(Conflict) as caught:
        await pay_in(office, office.clerk, request_id="q2")

    assert caught.value.code == "slip_used"
    assert "K00000001" in caught.value.message


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"amount": "0"}, "amount_not_positive"),
        ({"amount": "-1"}, "amount_not_positive"),
        ({"amount": "1.234"}, "amount_too_precise"),
        ({"reference": ""}, "bad_reference"),
        ({"reference": "two\nlines"}, "bad_reference"),
        ({"reference": "x" * 65}, "bad_reference"),
        ({"request_id": ""}, "request_id_malformed"),
    ],
)
async def test_what_cannot_be_paid_in_is_refused(
    office: DebtOffice, boss: Caller, wrong: dict[str, str], code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await pay_in(office, boss, **wrong)

    assert caught.value.code == code
    assert office.shop.column("SELECT count(*) FROM journal") == [0]


async def test_a_branch_that_is_not_there_is_said(office: DebtOffice, boss: Caller) -> None:
    with pytest.raises(NotFound) as caught:
        await pay_in(office, boss, branch="nowhere")

    assert caught.value.code == "branch_unknown"


async def test_a_limit_of_zero_lets_a_seller_sell_what_was_paid_in_and_no_more(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await floats(office).set_limit(asked(boss), "head", "0")
    await pay_in(office, boss, "116.00", "q2")
    await office.shop.sell(meter.number)

    with pytest.raises(Refused) as caught:
        await office.shop.sell(meter.number, sale_id="s2")

    assert caught.value.code == "float_exhausted"


async def test_a_limit_is_an_act_that_says_what_it_was_before(
    office: DebtOffice, boss: Caller
) -> None:
    await floats(office).set_limit(asked(boss), "head", "500.00")
    await floats(office).set_limit(asked(boss, "q2"), "head", None)

    acts = office.acts("ledger.limit")
    found = [
        {name: json.loads(data).get(name) for name in ("before", "after")} for _, _, data in acts
    ]
    assert found == [{"before": None, "after": "500.00"}, {"before": "500.00", "after": None}]


async def test_the_list_of_floats_says_what_is_left(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await floats(office).set_limit(asked(boss), "head", "200.00")
    await office.shop.sell(meter.number)

    [row] = (await floats(office).floats(office.books)).rows

    assert (row["branch"], row["balance_minor"], float_left(row)) == ("head", 11_600, 8_400)


async def test_a_limit_below_zero_is_refused(office: DebtOffice, boss: Caller) -> None:
    with pytest.raises(Refused) as caught:
        await floats(office).set_limit(asked(boss), "head", "-1")

    assert caught.value.code == "amount_negative"


# --- commission -----------------------------------------------------------------------------------


async def test_commission_with_each_sale_lowers_what_the_till_owes(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await commissions(office).set_plan(asked(boss), "head", TWO_PERCENT)

    await office.shop.sell(meter.number)

    assert await office.shop.ledger("till:head", "commission:head") == {
        "till:head": 11_600 - 232,
        "commission:head": 232,
    }
    assert await broken(office) == []


async def test_a_sale_that_is_taken_back_takes_its_commission_back(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await commissions(office).set_plan(asked(boss), "head", TWO_PERCENT)
    sale = await office.shop.sell(meter.number)

    await Reversals(office.shop.database, office.shop.clock).reverse(
        asked(boss), ReversalWish(sale.receipt_number, declared="the customer")
    )

    assert await office.shop.ledger("till:head", "commission:head") == {
        "till:head": 0,
        "commission:head": 0,
    }
    assert await broken(office) == []


async def test_a_plan_that_begins_later_earns_nothing_yet(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await commissions(office).set_plan(asked(boss), "head", TWO_PERCENT, starts=date(2026, 12, 1))

    await office.shop.sell(meter.number)

    assert await office.shop.ledger("commission:head") == {}


async def test_a_settlement_books_what_all_sales_since_the_last_one_earned(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await commissions(office).set_plan(asked(boss), "head", SETTLED)
    for at in range(3):
        await office.shop.sell(meter.number, sale_id=f"s{at}")
    office.shop.clock.advance(days=1)

    operation, is_new = await commissions(office).settle(asked(boss), "head", TODAY)

    # 5 % of 348.00 and 1.00 for each of three sales
    assert is_new
    assert operation["amount_minor"] == 17_40 + 3_00
    assert await office.shop.ledger("commission:head") == {"commission:head": 20_40}
    assert await broken(office) == []


async def test_a_settlement_pays_no_sale_twice(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await commissions(office).set_plan(asked(boss), "head", SETTLED)
    await office.shop.sell(meter.number)
    office.shop.clock.advance(days=1)
    await commissions(office).settle(asked(boss), "head", TODAY)
    await office.shop.sell(meter.number, sale_id="s2")
    office.shop.clock.advance(days=1)

    second, _ = await commissions(office).settle(asked(boss, "q2"), "head", date(2026, 11, 22))

    assert second["amount_minor"] == 6_80


async def test_a_sale_taken_back_after_its_settlement_costs_at_the_next(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await commissions(office).set_plan(asked(boss), "head", SETTLED)
    sale = await office.shop.sell(meter.number)
    office.shop.clock.advance(days=1)
    await commissions(office).settle(asked(boss), "head", TODAY)
    await Reversals(office.shop.database, office.shop.clock).reverse(
        asked(boss, "q2"), ReversalWish(sale.receipt_number, declared="the customer")
    )
    office.shop.clock.advance(days=1)

    second, _ = await commissions(office).settle(asked(boss, "q3"), "head", date(2026, 11, 22))

    assert second["amount_minor"] == -6_80
    assert await office.shop.ledger("commission:head") == {"commission:head": 0}


async def test_a_day_is_settled_once(office: DebtOffice, boss: Caller) -> None:
    await commissions(office).set_plan(asked(boss), "head", SETTLED)
    office.shop.clock.advance(days=1)
    await commissions(office).settle(asked(boss), "head", TODAY)

    with pytest.raises(Refused) as caught:
        await commissions(office).settle(asked(boss, "q2"), "head", TODAY)

    assert caught.value.code == "settled_already"


async def test_the_same_request_settles_once(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(online=False)
    await commissions(office).set_plan(asked(boss), "head", SETTLED)
    await office.shop.sell(meter.number)
    office.shop.clock.advance(days=1)
    first, _ = await commissions(office).settle(asked(boss), "head", TODAY)

    again, is_new = await commissions(office).settle(asked(boss), "head", TODAY)

    assert (again, is_new) == (first, False)


@pytest.mark.parametrize(
    "wish",
    [
        PlanWish("monthly"),
        PlanWish("sale", [("10", "2")]),
        PlanWish("sale", [("0", "2"), ("0", "3")]),
        PlanWish("sale", [("0", "2"), ("50", "3"), ("20", "1")]),
        PlanWish("sale", per_unit={"heat": "1"}),
        PlanWish("sale", per_unit={"water": "-1"}),
        PlanWish("sale", per_unit={"water": "0.1234567"}),
        PlanWish("sale", per_sale="-1"),
        PlanWish("sale", [(f"{at}", "1") for at in range(21)]),
    ],
)
async def test_a_plan_that_cannot_be_is_refused(
    office: DebtOffice, boss: Caller, wish: PlanWish
) -> None:
    with pytest.raises(Refused) as caught:
        await commissions(office).set_plan(asked(boss), "head", wish)

    assert caught.value.code == "bad_commission"


async def test_plans_are_listed_with_who_set_them(office: DebtOffice, boss: Caller) -> None:
    await commissions(office).set_plan(asked(boss), "head", TWO_PERCENT)
    await commissions(office).set_plan(asked(boss), "head", None)

    page = await commissions(office).plans(office.books)

    assert [(row["branch"], row["set_by"], row["body"] is None) for row in page.rows] == [
        ("head", "Boss", True),
        ("head", "Boss", False),
    ]


# --- refunds --------------------------------------------------------------------------------------


async def refund(
    office: DebtOffice, boss: Caller, account: str, amount: str, **more: str
) -> tuple[Row, bool]:
    refunds = Refunds(office.shop.database, office.shop.clock)
    return await refunds.refund(asked(boss, "f1"), RefundWish(account, amount, **more))


async def test_credit_that_the_platform_holds_is_given_back(
    office: DebtOffice, boss: Caller
) -> None:
    meter = await office.shop.utility.add_meter(credit_mode="platform")
    await office.shop.sell(meter.number)

    await refund(office, boss, meter.account_number, "50.00", held_as="credit", paid_by="bank")

    customer = f"customer:{meter.account_number}"
    assert await office.shop.ledger("bank", customer) == {"bank": -5_000, customer: -6_600}
    assert await broken(office) == []


async def test_no_more_is_given_back_than_is_held(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(credit_mode="platform")
    await office.shop.sell(meter.number)

    with pytest.raises(Refused) as caught:
        await refund(office, boss, meter.account_number, "116.01", held_as="credit")

    assert caught.value.code == "not_so_much_held"
    assert caught.value.details == {"held": "116.00"}


async def test_money_kept_for_the_next_purchase_is_given_back_out_of_the_till(
    office: DebtOffice, boss: Caller
) -> None:
    purchase = {"minimum": "10.00", "maximum": "50000.00"}
    document = tariff_document("electricity", tariff="keeping", purchase=purchase)
    await office.shop.utility.add_tariff(document)
    meter = await office.shop.utility.add_meter(online=False, tariff="keeping")
    kept = f"advance:{meter.account_number}"
    office.shop.sql(
        "INSERT INTO ledger_account (id, utility_id, code, kind, currency, balance_minor,"
        " reserved_minor) VALUES (1, ?, ?, 'liability', 'KES', -500, 0)",
        office.shop.utility.utility_id,
        kept,
    )

    await refund(office, boss, meter.account_number, "5.00")

    assert await office.shop.ledger(kept, "till:head") == {kept: 0, "till:head": -500}


async def test_a_refund_is_looked_up_by_its_number(office: DebtOffice, boss: Caller) -> None:
    meter = await office.shop.utility.add_meter(credit_mode="platform")
    await office.shop.sell(meter.number)
    made, _ = await refund(office, boss, meter.account_number, "1.00", held_as="credit")

    found = await Operations(office.shop.database).operation(
        office.books.utility_id, made["number"]
    )

    assert found == made
    assert (found["done_by"], found["account"]) == ("Boss", meter.account_number)


async def test_an_account_that_is_not_there_is_said(office: DebtOffice, boss: Caller) -> None:
    with pytest.raises(NotFound) as caught:
        await refund(office, boss, "A9999", "1.00")

    assert caught.value.code == "account_unknown"

"""Who gets which prices; limits, debts and tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, BUYS_AT_US, VAT_15, line_of, small_tariff
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.limits import check_currency
from slotmeter.vending.pricing.situation import ChargeState, DebtState, Situation
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Condition,
    DebtCap,
    FixedItem,
    PurchaseRule,
    Split,
    Table,
    TableRule,
    Tariff,
)


def refusal(sold: Tariff, situation: Situation, tender: int) -> Refused:
    with pytest.raises(Refused) as refused:
        price_tender(sold, situation, tender)
    return refused.value


JOHANNESBURG = small_tariff(
    fixed_items=(FixedItem("service", "Service", Decimal(200), split=Split(Decimal(400))),),
    percent_items=(VAT_15,),
)


# --- which table --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        (Condition(classes=frozenset({"a"})), {"customer_class": "a"}, {}),
        (Condition(not_classes=frozenset({"a"})), {}, {"customer_class": "a"}),
        (Condition(average_above=30_000, average_up_to=100_000), {"average_units": 30_001}, {}),
        (Condition(average_up_to=100_000), {"average_units": 100_000}, {"average_units": 100_001}),
        (Condition(connections=frozenset({"15 mm"})), {"connection": "15 mm"}, {}),
        (Condition(load_above_w=1_000), {"load_w": 1_001}, {"load_w": 1_000}),
        (Condition(channels=frozenset({"web"})), {"channel": "web"}, {}),
        (Condition(vendors=frozenset({"B1"})), {"vendor": "B1"}, {"vendor": "B2"}),
        (Condition(months=frozenset({5})), {}, {"at_us": BUYS_AT_US + 4 * 86_400_000_000}),
    ],
)
def test_the_first_rule_that_holds_says_the_prices(
    when: Condition, yes: dict[str, Any], no: dict[str, Any]
) -> None:
    cheap = Table("cheap", (Block(None, Decimal(1)),))
    sold = small_tariff(
        tables={"cheap": cheap},
        rules=(TableRule(when, "cheap"), TableRule(ALWAYS, "standard")),
    )

    assert price_tender(sold, replace(BUYER, **yes), 10_00).units == 10_000
    assert price_tender(sold, replace(BUYER, **no), 10_00).units == 5_000


def test_dates_follow_the_time_zone_of_the_situation() -> None:
    cheap = Table("cheap", (Block(None, Decimal(1)),))
    until = Condition(until_date=date(2026, 5, 29))
    sold = small_tariff(tables={"cheap": cheap}, rules=(TableRule(until, "cheap"),))

    assert price_tender(sold, BUYER, 10_00).units == 10_000
    refused = refusal(sold, replace(BUYER, time_zone="Asia/Tokyo"), 10_00)
    assert refused.code == "no_price_in_force"


def test_a_tariff_that_ended_has_no_price() -> None:
    sold = replace(small_tariff(), valid_until=date(2026, 5, 28))

    assert refusal(sold, BUYER, 10_00).code == "no_price_in_force"


def test_prices_by_time_of_use_are_not_sold_in_advance_without_a_price_for_it() -> None:
    periods = {"peak": Decimal(3), "off": Decimal(1)}
    sold = small_tariff(table=Table("standard", periods=periods))
    in_advance = small_tariff(table=Table("standard", periods=periods, advance_price=Decimal(2)))

    assert refusal(sold, BUYER, 10_00).code == "no_price_in_advance"
    assert price_tender(in_advance, BUYER, 10_00).units == 5_000
    assert price_tender(sold, replace(BUYER, is_meter_credit=False), 10_00).units == 0


# --- limits, debts, tokens ----------------------------------------------------------------------


def test_every_limit_whose_condition_holds_binds() -> None:
    sold = small_tariff(
        purchase=(
            PurchaseRule(Decimal(20), Decimal(5000)),
            PurchaseRule(Decimal(50), None, Condition(channels=frozenset({"web"}))),
        )
    )

    assert refusal(sold, BUYER, 19_99).code == "below_minimum"
    assert price_tender(sold, BUYER, 20_00).units == 10_000
    assert refusal(sold, replace(BUYER, channel="web"), 49_99).code == "below_minimum"
    assert refusal(sold, BUYER, 5_000_01).code == "above_maximum"
    assert refusal(sold, replace(BUYER, meter_max_minor=30_00), 30_01).code == "above_maximum"
    assert refusal(sold, BUYER, 0).code == "amount_not_positive"


def test_money_of_another_currency_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        check_currency(small_tariff(), "USD")
    assert refused.value.code == "currency_mismatch"


def test_debts_are_taken_by_priority_within_the_cap() -> None:
    debts = (
        DebtState(3, "fine", "Fine", 3, 100_00, number="D00000003"),
        DebtState(1, "arrears", "Arrears", 1, 30_00, number="D00000001"),
        DebtState(2, "loan", "Loan", 2, 500_00, due_minor=15_00, number="D00000002"),
    )
    sold = small_tariff(debt_caps=(DebtCap(Decimal(50)),))

    priced = price_tender(sold, replace(BUYER, debts=debts), 100_00)

    taken = [(each.item, each.amount_minor, each.account) for each in priced.lines[:3]]
    assert taken == [
        (1, 30_00, "debt:D00000001"),
        (2, 15_00, "debt:D00000002"),
        (3, 5_00, "debt:D00000003"),
    ]
    assert priced.units == 25_000


def test_emergency_credit_goes_first_and_passes_the_cap() -> None:
    debts = (
        DebtState(1, "arrears", "Arrears", 1, 100_00),
        DebtState(2, "emergency_credit", "Emergency", 9, 60_00, bypasses_cap=True),
    )
    sold = small_tariff(debt_caps=(DebtCap(Decimal(50)),))

    priced = price_tender(sold, replace(BUYER, debts=debts), 100_00)

    assert [(each.debt_id, each.minor) for each in priced.debts] == [(2, 60_00)]
    assert priced.units == 20_000


def test_a_large_token_carries_the_next_value_it_can_hold() -> None:
    sold = small_tariff((None, "1.00"))

    priced = price_tender(sold, BUYER, 2_000_35)

    assert priced.units == 2_001_200 - 800
    assert line_of(priced, "energy").quantity == priced.units
    assert sum(each.amount_minor for each in priced.lines) == 2_000_35


def test_credit_that_the_platform_holds_pays_what_is_due_and_keeps_the_rest() -> None:
    charges = (ChargeState("service", "2026-05"),)
    sold = replace(JOHANNESBURG, fixed_items=(FixedItem("service", "Service", Decimal(10)),))
    situation = replace(BUYER, charges=charges, is_meter_credit=False)

    priced = price_tender(sold, situation, 100_00)

    credit = line_of(priced, "credit")
    assert (credit.amount_minor, credit.account) == (88_50, "customer:A00000001")
    assert priced.units == 0
    assert priced.charges[0].net_minor == 10_00

"""Free units, gas by energy, units to money, and what comes after a purchase."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from msgspec import structs

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, VAT_15, line_of, small_tariff
from slotmeter.units import Commodity, Rounding
from slotmeter.vending.pricing.engine import free_given, price_tender, price_units
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import ChargeState, DebtState, FreeState, Situation
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Collection,
    Condition,
    Counter,
    EnergyContent,
    FixedItem,
    FreeUnits,
    Missed,
    RoundingRules,
    Split,
    Table,
    TableRule,
    Tariff,
    TooSmall,
)


def refusal(sold: Tariff, situation: Situation, tender: int) -> Refused:
    with pytest.raises(Refused) as refused:
        price_tender(sold, situation, tender)
    return refused.value


JOHANNESBURG = small_tariff(
    fixed_items=(FixedItem("service", "Service", Decimal(200), split=Split(Decimal(400))),),
    percent_items=(VAT_15,),
)


# --- free units and gas -------------------------------------------------------------------------

FREE = FreeUnits("fbe", "Free basic electricity", 50_000)


def test_free_units_are_given_beside_the_purchase_for_each_open_month() -> None:
    sold = small_tariff((20_000, "1.00"), (None, "2.00"), free_units=(FREE,))
    situation = replace(BUYER, free=(FreeState("fbe", ("2026-04", "2026-05")),))

    priced = price_tender(sold, situation, 20_00)

    assert [(each.period, each.units) for each in priced.free] == [
        ("2026-04", 50_000),
        ("2026-05", 50_000),
    ]
    assert priced.counted_units == priced.units == 20_000
    assert free_given(sold, situation) == priced.free


def test_free_units_that_count_take_the_first_places_of_the_blocks() -> None:
    sold = small_tariff(
        (50_000, "1.00"), (None, "2.00"), free_units=(FREE,), counter=Counter(counts_free=True)
    )
    situation = replace(BUYER, free=(FreeState("fbe", ("2026-05",)),))

    priced = price_tender(sold, situation, 20_00)

    assert priced.units == 10_000
    assert priced.counted_units == 60_000


def test_gas_is_priced_by_energy_and_delivered_by_volume() -> None:
    content = EnergyContent(Decimal("1.02264"), Decimal("39.5"))
    sold = small_tariff(
        (None, "0.10"), commodity=Commodity.GAS, currency="GBP", energy_content=content
    )

    priced = price_tender(sold, BUYER, 20_00)

    energy = line_of(priced, "energy")
    assert priced.units == 17_800_000
    assert priced.counted_units == energy.quantity == 199_727
    assert energy.amount_minor == 19_97
    assert priced.calorific_value == "39.5"


def test_currencies_with_no_and_with_three_decimals_add_up() -> None:
    for currency, tender in (("UGX", 20_000), ("KWD", 20_000)):
        price = "747.5" if currency == "UGX" else "0.747"
        sold = small_tariff((None, price), percent_items=(VAT_15,), currency=currency)

        priced = price_tender(sold, BUYER, tender)

        assert sum(each.amount_minor for each in priced.lines) == tender
        assert recompute(sold, priced) == []


def test_a_wrong_line_does_not_recompute() -> None:
    priced = price_tender(JOHANNESBURG, BUYER, 100_00)
    wrong = [structs.replace(each, amount_minor=each.amount_minor + 2) for each in priced.lines]

    for at in range(len(wrong)):
        lines = (*priced.lines[:at], wrong[at], *priced.lines[at + 1 :])
        assert recompute(JOHANNESBURG, replace(priced, lines=lines))


def test_units_are_rounded_in_the_direction_that_the_tariff_says() -> None:
    expected = {
        Rounding.DOWN: 16_600,
        Rounding.CEILING: 16_700,
        Rounding.HALF_UP: 16_700,
    }
    for rounding, units in expected.items():
        sold = small_tariff((None, "3.00"), rounding=RoundingRules(units=rounding))

        assert price_tender(sold, BUYER, 50_00).units == units


# --- units to money, and what comes after -------------------------------------------------------


def test_units_are_priced_with_the_debts_that_their_tender_repays() -> None:
    debts = (DebtState(1, "arrears", "Arrears", 1, 900_00, percent="30"),)
    situation = replace(BUYER, debts=debts)

    priced = price_units(small_tariff(), situation, 35_000)

    assert priced.tender_minor == 100_00
    assert [(each.debt_id, each.minor) for each in priced.debts] == [(1, 30_00)]
    assert price_tender(small_tariff(), situation, 100_00).units == 35_000


def test_units_cannot_be_paid_for_where_a_debt_takes_every_coin() -> None:
    debts = (DebtState(1, "arrears", "Arrears", 1, 10**17),)

    with pytest.raises(Refused) as refused:
        price_units(small_tariff(), replace(BUYER, debts=debts), 1_000)
    assert refused.value.code == "no_price_for_units"


def test_no_units_have_no_price() -> None:
    with pytest.raises(Refused) as refused:
        price_units(small_tariff(), BUYER, 0)
    assert refused.value.code == "units_not_positive"


def test_charges_of_days_are_rounded_with_their_tax_where_said() -> None:
    daily = FixedItem("day", "Day", Decimal("6.58"), collect=Collection.DAY)
    vat = replace(VAT_15, percent=Decimal(14))
    rules = RoundingRules(fixed_step=Decimal("0.01"), price_step=Decimal("0.0001"))
    sold = small_tariff(
        (None, "0.7997"), fixed_items=(daily,), percent_items=(vat,), rounding=rules
    )
    charges = tuple(ChargeState("day", f"2026-05-{day}") for day in range(10, 20))

    priced = price_units(sold, replace(BUYER, charges=charges), 100_000)

    assert priced.tender_minor == 10 * 7_50 + 91_17


def test_the_first_of_next_month_uses_the_prices_of_that_day() -> None:
    dear = Table("dear", (Block(None, Decimal(4)),))
    from_june = Condition(from_date=date(2026, 6, 1))
    sold = small_tariff(
        tables={"dear": dear},
        rules=(TableRule(from_june, "dear"), TableRule(ALWAYS, "standard")),
    )

    priced = price_tender(sold, BUYER, 100_00)

    assert (priced.units, priced.outlook.first_of_month_units) == (50_000, 25_000)


def test_the_first_of_next_month_pays_one_month_and_what_is_left_of_debts() -> None:
    fee = FixedItem("fee", "Fee", Decimal(10), missed=Missed.ACCUMULATE)
    charges = tuple(ChargeState("fee", f"2026-0{month}") for month in (3, 4, 5))
    debts = (DebtState(1, "loan", "Loan", 1, 50_00, due_minor=30_00),)
    sold = small_tariff(fixed_items=(fee,))

    priced = price_tender(sold, replace(BUYER, charges=charges, debts=debts), 100_00)

    assert priced.units == 20_000
    assert priced.outlook.first_of_month_units == 35_000


def test_there_is_no_first_of_next_month_when_the_tariff_ends_before() -> None:
    sold = replace(small_tariff(), valid_until=date(2026, 6, 1))

    assert price_tender(sold, BUYER, 100_00).outlook.first_of_month_units is None


def test_a_flat_price_has_no_block_to_be_in() -> None:
    outlook = price_tender(small_tariff(percent_items=(VAT_15,)), BUYER, 100_00).outlook

    assert (outlook.block, outlook.left_in_block, outlook.next_price) == (None, None, "2.3")


def test_small_change_beside_paid_charges_is_kept() -> None:
    fee = FixedItem("fee", "Fee", Decimal(10))
    sold = small_tariff(fixed_items=(fee,), too_small=TooSmall.PAY_CHARGES)
    charges = (ChargeState("fee", "2026-05"),)

    priced = price_tender(sold, replace(BUYER, charges=charges), 10_05)

    assert line_of(priced, "charge").left_minor == 0
    assert (priced.kept_minor, line_of(priced, "kept").amount_minor) == (5, 5)
    assert priced.units == 0


def test_what_is_paid_towards_charges_is_refused_where_there_are_none() -> None:
    sold = small_tariff(too_small=TooSmall.PAY_CHARGES)

    assert refusal(sold, BUYER, 1).code == "tender_too_small"

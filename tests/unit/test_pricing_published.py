"""Published purchases, line by line; sources stand with the cases in the tariff vector file."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from slotmeter.errors import Refused
from slotmeter.units import Commodity, Rounding
from slotmeter.vending.pricing.engine import block_rates, price_tender, price_units, use_cost
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import ChargeState, DebtState, Situation, Transfer
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Counter,
    Energy,
    FixedItem,
    PercentItem,
    PercentOf,
    RoundingRules,
    Table,
    TableRule,
    Tariff,
    UnitItem,
)

NOVEMBER = 1_542_844_800_000_000  # 2018-11-22T00:00:00Z


def energy(*blocks: tuple[int | None, str]) -> Energy:
    table = Table("standard", tuple(Block(up_to, Decimal(price)) for up_to, price in blocks))
    return Energy("Energy", {"standard": table}, (TableRule(ALWAYS, "standard"),), Counter())


def levy(code: str, price: str) -> UnitItem:
    return UnitItem(code, code, Decimal(price))


KENYA = Tariff(
    code="ke",
    title="Kenya Power domestic DC",
    commodity=Commodity.ELECTRICITY,
    currency="KES",
    energy=energy((50_000, "2.50"), (1_500_000, "13.68"), (None, "20.57")),
    unit_items=(
        levy("fuel", "5.71"),
        levy("forex", "0.17"),
        levy("warma", "0.05"),
        levy("inflation", "0.18"),
        levy("erc", "0.03"),
    ),
    fixed_items=(FixedItem("monthly", "Fixed charge", Decimal(150)),),
    percent_items=(
        PercentItem("rep", "Rural levy", Decimal(5), ("energy",)),
        PercentItem("vat", "VAT", Decimal(16), ("fixed", "energy", "fuel", "forex"), is_tax=True),
    ),
    rounding=RoundingRules(units=Rounding.HALF_UP, percent_of=PercentOf.EXACT),
)
FIRST = Situation(NOVEMBER, "Africa/Nairobi", charges=(ChargeState("monthly", "2018-11"),))


def amounts(priced: Priced) -> dict[str, int]:
    return {line.code: line.amount_minor for line in priced.lines}


def test_kenyas_first_purchase_of_the_month_comes_out_line_by_line() -> None:
    priced = price_tender(KENYA, FIRST, 500_00)

    assert priced.units == 32_300
    assert amounts(priced) == {
        "monthly": 150_00,
        "block1": 80_75,
        "fuel": 184_43,
        "forex": 5_49,
        "warma": 1_62,
        "inflation": 5_81,
        "erc": 97,
        "rep": 4_04,
        "vat": 67_31,
        "rounding": -42,
    }


def test_kenyas_second_purchase_crosses_into_the_second_block() -> None:
    priced = price_tender(KENYA, Situation(NOVEMBER, "Africa/Nairobi", prior_units=32_300), 500_00)

    lines = {line.code: line for line in priced.lines}
    assert priced.units == 31_300
    assert (lines["block1"].quantity, lines["block2"].quantity) == (17_700, 13_600)
    assert (lines["block1"].amount_minor, lines["block2"].amount_minor) == (44_25, 186_05)
    assert (lines["rep"].amount_minor, lines["vat"].amount_minor) == (11_51, 66_29)
    assert priced.outlook.block == 2
    assert priced.outlook.left_in_block == 1_436_400


def test_the_outlook_says_what_the_same_money_buys_on_the_first() -> None:
    late = Situation(NOVEMBER, "Africa/Nairobi", prior_units=400_000)

    priced = price_tender(KENYA, late, 500_00)

    assert priced.units == 21_200
    assert priced.outlook.first_of_month_units == 32_300
    assert priced.outlook.next_price == "23.6336"


def test_a_share_of_the_tender_goes_to_the_debt_before_all_else() -> None:
    owing = Situation(
        NOVEMBER,
        "Africa/Nairobi",
        charges=FIRST.charges,
        debts=(DebtState(7, "arrears", "Arrears", 1, 100_00, percent="30"),),
    )

    priced = price_tender(KENYA, owing, 500_00)

    debt = priced.lines[0]
    assert (debt.kind, debt.amount_minor, debt.left_minor, debt.item) == ("debt", 100_00, 0, 7)
    assert sum(line.amount_minor for line in priced.lines) == 500_00


def test_a_tender_below_the_charges_is_refused_with_the_exact_amount_needed() -> None:
    with pytest.raises(Refused) as refused:
        price_tender(KENYA, FIRST, 100_00)

    needed = str(refused.value.details["needed"])
    enough = int(Decimal(needed) * 100)
    assert refused.value.code == "tender_too_small"
    assert price_tender(KENYA, FIRST, enough).units > 0
    with pytest.raises(Refused):
        price_tender(KENYA, FIRST, enough - 1)


def test_a_currency_token_is_sold_by_the_same_lines_as_a_token_of_units() -> None:
    in_units = price_tender(KENYA, FIRST, 100_000)
    in_money = price_tender(
        KENYA,
        Situation(NOVEMBER, "Africa/Nairobi", charges=FIRST.charges, transfer=Transfer.CURRENCY),
        100_000,
    )

    *lines, left = in_money.lines
    whole = [
        replace(line, amount_minor=line.base_minor, base_minor=None)
        if line.kind == "energy" and line.base_minor is not None
        else line
        for line in lines
    ]
    assert whole == list(in_units.lines)
    assert (left.kind, left.code, left.amount_minor) == ("rounding", "token", 3)
    assert in_units.transfer_minor is None
    paid = sum(line.amount_minor for line in in_units.lines if line.kind == "energy")
    assert in_money.transfer_minor == paid - 3


def test_units_cost_what_buys_them() -> None:
    priced = price_units(KENYA, FIRST, 120_000)

    assert price_tender(KENYA, FIRST, priced.tender_minor).units == 120_000


def test_units_used_cost_energy_levies_and_taxes_but_no_fixed_charge() -> None:
    net, tax = use_cost(KENYA, FIRST, 50_000)

    assert net == 125_00 + 285_50 + 8_50 + 2_50 + 9_00 + 1_50 + 6_25
    assert tax == 67_04


def test_the_price_of_a_block_has_all_that_lies_on_it() -> None:
    first, second, third = block_rates(KENYA, FIRST)

    assert (first.price, first.all_in) == ("2.50", Decimal("10.1058"))
    assert (second.up_to, second.all_in) == (1_500_000, Decimal("23.6336"))
    assert third.up_to is None

"""Fixed charges: by month, day, load and connection, shared, and too much for a tender."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, VAT_15, line_of, small_tariff
from slotmeter.vending.pricing.engine import price_tender, price_units
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.model import (
    Collection,
    FixedItem,
    Measure,
    Missed,
    Split,
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


def test_small_purchases_share_a_charge_until_its_limit_was_tendered() -> None:
    taken = tendered = 0
    each = []
    for _ in range(5):
        charges = (ChargeState("service", "2026-05", taken, tendered),)
        priced = price_tender(JOHANNESBURG, replace(BUYER, charges=charges), 100_00)
        now = sum(part.net_minor for part in priced.charges)
        each.append(now)
        taken += now
        tendered += 100_00

    assert each == [50_00, 50_00, 50_00, 50_00, 0]


def test_a_large_purchase_pays_the_whole_charge_at_once() -> None:
    charges = (ChargeState("service", "2026-05"),)

    priced = price_tender(JOHANNESBURG, replace(BUYER, charges=charges), 400_00)

    assert line_of(priced, "charge").amount_minor == 200_00
    assert line_of(priced, "charge").left_minor == 0


def test_months_that_add_up_are_lines_of_their_own() -> None:
    sold = small_tariff(
        fixed_items=(FixedItem("fee", "Fee", Decimal(10), missed=Missed.ACCUMULATE),)
    )
    charges = tuple(ChargeState("fee", f"2026-0{month}") for month in (3, 4, 5))

    priced = price_tender(sold, replace(BUYER, charges=charges), 100_00)

    periods = [each.period for each in priced.lines if each.kind == "charge"]
    assert periods == ["2026-03", "2026-04", "2026-05"]
    assert priced.units == 35_000


def test_days_are_one_line_and_taken_day_by_day() -> None:
    sold = small_tariff(
        fixed_items=(FixedItem("day", "Daily", Decimal("6.58"), collect=Collection.DAY),)
    )
    charges = tuple(ChargeState("day", f"2026-05-{day}") for day in (26, 27, 28))

    priced = price_tender(sold, replace(BUYER, charges=charges), 100_00)

    charge = line_of(priced, "charge")
    assert (charge.period, charge.rate) == ("2026-05-26/2026-05-28", "6.58")
    assert charge.amount_minor == 3 * 6_58
    assert [part.period for part in priced.charges] == ["2026-05-26", "2026-05-27", "2026-05-28"]


def test_a_charge_per_kw_follows_the_sanctioned_load() -> None:
    sold = small_tariff(
        fixed_items=(FixedItem("demand", "Demand", Decimal(42), measure=Measure.LOAD_KW),)
    )
    charges = (ChargeState("demand", "2026-05"),)

    priced = price_tender(sold, replace(BUYER, charges=charges, load_w=2_500), 200_00)

    assert line_of(priced, "charge").amount_minor == 105_00
    assert refusal(sold, replace(BUYER, charges=charges), 200_00).code == "load_unknown"


def test_a_charge_by_connection_uses_the_amount_of_its_size() -> None:
    sizes = {"15 mm": Decimal("87.29"), "20 mm": Decimal("155.87")}
    sold = small_tariff(fixed_items=(FixedItem("pipe", "Pipe", Decimal(0), amounts=sizes),))
    charges = (ChargeState("pipe", "2026-05"),)

    priced = price_tender(sold, replace(BUYER, charges=charges, connection="20 mm"), 200_00)

    assert line_of(priced, "charge").amount_minor == 155_87


def test_an_amount_that_includes_its_tax_is_divided() -> None:
    sold = small_tariff(
        fixed_items=(FixedItem("service", "Service", Decimal("417.72"), includes_tax=True),),
        percent_items=(VAT_15,),
    )
    charges = (ChargeState("service", "2026-05"),)

    priced = price_units(sold, replace(BUYER, charges=charges), 1_000)

    assert line_of(priced, "charge").amount_minor == 363_23
    assert priced.tender_minor == 417_71 + 2_30


def test_a_charge_of_every_purchase_needs_no_state() -> None:
    fee = FixedItem("fee", "Fee", Decimal(3), collect=Collection.PURCHASE)
    sold = small_tariff(fixed_items=(fee,))

    priced = price_tender(sold, BUYER, 103_00)

    assert (line_of(priced, "charge").amount_minor, priced.units) == (3_00, 50_000)
    assert priced.charges == ()


def test_a_tender_too_small_can_be_taken_towards_the_charges() -> None:
    sold = replace(
        JOHANNESBURG,
        fixed_items=(FixedItem("service", "Service", Decimal(200)),),
        too_small=TooSmall.PAY_CHARGES,
    )
    charges = (ChargeState("service", "2026-05"),)

    priced = price_tender(sold, replace(BUYER, charges=charges), 115_00)

    assert (line_of(priced, "charge").amount_minor, line_of(priced, "tax").amount_minor) == (
        100_00,
        15_00,
    )
    assert priced.charges[0].net_minor == 100_00
    assert line_of(priced, "charge").left_minor == 100_00
    assert priced.units == 0


def test_a_refused_small_tender_names_the_charges_and_what_is_missing() -> None:
    charges = (ChargeState("service", "2026-05"),)
    sold = replace(JOHANNESBURG, fixed_items=(FixedItem("service", "Service", Decimal(200)),))

    refused = refusal(sold, replace(BUYER, charges=charges), 100_00)

    assert refused.code == "tender_too_small"
    assert refused.details["needed"] == "230.23"
    assert refused.details["missing"] == "130.23"
    assert refused.details["charges"] == [
        {"code": "service", "label": "Service", "period": "2026-05", "amount": "230.00"}
    ]

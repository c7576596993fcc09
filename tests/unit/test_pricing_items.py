"""Single items of a tariff, each in the smallest tariff that has it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.units import Commodity, Rounding
from slotmeter.vending.pricing.engine import block_rates, free_given, price_tender, price_units
from slotmeter.vending.pricing.limits import check_currency
from slotmeter.vending.pricing.priced import Priced, PricedLine
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import ChargeState, DebtState, FreeState, Situation
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Collection,
    Condition,
    Counter,
    DebtCap,
    Energy,
    EnergyContent,
    FixedItem,
    FreeUnits,
    Lifeline,
    Measure,
    Missed,
    PercentItem,
    PurchaseRule,
    RoundingRules,
    Split,
    Table,
    TableRule,
    Tariff,
    TooSmall,
    UnitItem,
)

AT_US = 1_780_000_000_000_000  # 2026-05-28T20:26:40Z, 23:26 in Nairobi
HERE = Situation(AT_US, "Africa/Nairobi", account_number="A00000001")
VAT = PercentItem("vat", "VAT", Decimal(15), ("energy", "fixed"), is_tax=True)


def tariff(*blocks: tuple[int | None, str], table: Table | None = None, **more: Any) -> Tariff:
    prices = tuple(Block(up_to, Decimal(price)) for up_to, price in blocks)
    table = table or Table("standard", prices or (Block(None, Decimal(2)),))
    counter = more.pop("counter", Counter())
    rules = more.pop("rules", (TableRule(ALWAYS, table.code),))
    tables = {table.code: table, **more.pop("tables", {})}
    return Tariff(
        code="t",
        title="T",
        commodity=more.pop("commodity", Commodity.ELECTRICITY),
        currency=more.pop("currency", "ZAR"),
        energy=Energy("Energy", tables, rules, counter),
        **more,
    )


def line(priced: Priced, kind: str, code: str | None = None) -> PricedLine:
    (found,) = (each for each in priced.lines if each.kind == kind and code in (None, each.code))
    return found


def refusal(sold: Tariff, situation: Situation, tender: int) -> Refused:
    with pytest.raises(Refused) as refused:
        price_tender(sold, situation, tender)
    return refused.value


# --- fixed charges --------------------------------------------------------------------------------


JOHANNESBURG = tariff(
    fixed_items=(FixedItem("service", "Service", Decimal(200), split=Split(Decimal(400))),),
    percent_items=(VAT,),
)


def test_small_purchases_share_a_charge_until_its_limit_was_tendered() -> None:
    taken = tendered = 0
    each = []
    for _ in range(5):
        charges = (ChargeState("service", "2026-05", taken, tendered),)
        priced = price_tender(JOHANNESBURG, replace(HERE, charges=charges), 100_00)
        now = sum(part.net_minor for part in priced.charges)
        each.append(now)
        taken += now
        tendered += 100_00

    assert each == [50_00, 50_00, 50_00, 50_00, 0]


def test_a_large_purchase_pays_the_whole_charge_at_once() -> None:
    charges = (ChargeState("service", "2026-05"),)

    priced = price_tender(JOHANNESBURG, replace(HERE, charges=charges), 400_00)

    assert line(priced, "charge").amount_minor == 200_00
    assert line(priced, "charge").left_minor == 0


def test_months_that_add_up_are_lines_of_their_own() -> None:
    sold = tariff(fixed_items=(FixedItem("fee", "Fee", Decimal(10), missed=Missed.ACCUMULATE),))
    charges = tuple(ChargeState("fee", f"2026-0{month}") for month in (3, 4, 5))

    priced = price_tender(sold, replace(HERE, charges=charges), 100_00)

    periods = [each.period for each in priced.lines if each.kind == "charge"]
    assert periods == ["2026-03", "2026-04", "2026-05"]
    assert priced.units == 35_000


def test_days_are_one_line_and_taken_day_by_day() -> None:
    sold = tariff(fixed_items=(FixedItem("day", "Daily", Decimal("6.58"), collect=Collection.DAY),))
    charges = tuple(ChargeState("day", f"2026-05-{day}") for day in (26, 27, 28))

    priced = price_tender(sold, replace(HERE, charges=charges), 100_00)

    charge = line(priced, "charge")
    assert (charge.period, charge.rate) == ("2026-05-26/2026-05-28", "6.58")
    assert charge.amount_minor == 3 * 6_58
    assert [part.period for part in priced.charges] == ["2026-05-26", "2026-05-27", "2026-05-28"]


def test_a_charge_per_kw_follows_the_sanctioned_load() -> None:
    sold = tariff(
        fixed_items=(FixedItem("demand", "Demand", Decimal(42), measure=Measure.LOAD_KW),)
    )
    charges = (ChargeState("demand", "2026-05"),)

    priced = price_tender(sold, replace(HERE, charges=charges, load_w=2_500), 200_00)

    assert line(priced, "charge").amount_minor == 105_00
    assert refusal(sold, replace(HERE, charges=charges), 200_00).code == "load_unknown"


def test_a_charge_by_connection_uses_the_amount_of_its_size() -> None:
    sizes = {"15 mm": Decimal("87.29"), "20 mm": Decimal("155.87")}
    sold = tariff(fixed_items=(FixedItem("pipe", "Pipe", Decimal(0), amounts=sizes),))
    charges = (ChargeState("pipe", "2026-05"),)

    priced = price_tender(sold, replace(HERE, charges=charges, connection="20 mm"), 200_00)

    assert line(priced, "charge").amount_minor == 155_87


def test_an_amount_that_includes_its_tax_is_divided() -> None:
    sold = tariff(
        fixed_items=(FixedItem("service", "Service", Decimal("417.72"), includes_tax=True),),
        percent_items=(VAT,),
    )
    charges = (ChargeState("service", "2026-05"),)

    priced = price_units(sold, replace(HERE, charges=charges), 1_000)

    assert line(priced, "charge").amount_minor == 363_23
    assert priced.tender_minor == 417_71 + 2_30


def test_a_charge_of_every_purchase_needs_no_state() -> None:
    fee = FixedItem("fee", "Fee", Decimal(3), collect=Collection.PURCHASE)
    sold = tariff(fixed_items=(fee,))

    priced = price_tender(sold, HERE, 103_00)

    assert (line(priced, "charge").amount_minor, priced.units) == (3_00, 50_000)
    assert priced.charges == ()


def test_a_tender_too_small_can_be_taken_towards_the_charges() -> None:
    sold = replace(
        JOHANNESBURG,
        fixed_items=(FixedItem("service", "Service", Decimal(200)),),
        too_small=TooSmall.PAY_CHARGES,
    )
    charges = (ChargeState("service", "2026-05"),)

    priced = price_tender(sold, replace(HERE, charges=charges), 115_00)

    assert (line(priced, "charge").amount_minor, line(priced, "tax").amount_minor) == (
        100_00,
        15_00,
    )
    assert priced.charges[0].net_minor == 100_00
    assert line(priced, "charge").left_minor == 100_00
    assert priced.units == 0


def test_a_refused_small_tender_names_the_charges_and_what_is_missing() -> None:
    charges = (ChargeState("service", "2026-05"),)
    sold = replace(JOHANNESBURG, fixed_items=(FixedItem("service", "Service", Decimal(200)),))

    refused = refusal(sold, replace(HERE, charges=charges), 100_00)

    assert refused.code == "tender_too_small"
    assert refused.details["needed"] == "230.23"
    assert refused.details["missing"] == "130.23"
    assert refused.details["charges"] == [
        {"code": "service", "label": "Service", "period": "2026-05", "amount": "230.00"}
    ]


# --- lifeline and prices for the whole window -----------------------------------------------------

GHANA = tariff(
    table=Table(
        "standard",
        (Block(300_000, Decimal("1.00")), Block(None, Decimal("1.50"))),
        lifeline=Lifeline(30_000, Decimal("0.40")),
    )
)


def test_a_lifeline_holds_while_the_total_stays_below_its_limit() -> None:
    priced = price_tender(GHANA, HERE, 8_00)

    assert priced.units == 20_000
    assert line(priced, "energy").code == "lifeline"
    assert priced.lifeline_units == 20_000
    assert priced.outlook.left_in_block == 10_000


def test_crossing_a_lifeline_reprices_what_was_bought_before() -> None:
    after = replace(HERE, prior_units=20_000, prior_lifeline_units=20_000)

    priced = price_tender(GHANA, after, 52_00)

    correction = line(priced, "correction")
    assert (correction.amount_minor, correction.quantity) == (12_00, 20_000)
    assert priced.units == 40_000
    assert priced.lifeline_units == -20_000
    assert recompute(GHANA, priced) == []


def test_money_in_the_jump_of_a_lifeline_is_kept_for_the_next_purchase() -> None:
    priced = price_tender(GHANA, HERE, 20_00)

    kept = line(priced, "kept")
    assert priced.units == 30_000
    assert (kept.amount_minor, kept.account) == (8_00, "advance:A00000001")
    assert priced.kept_minor == 8_00


def test_kept_money_is_used_first() -> None:
    after = replace(HERE, prior_units=30_000, prior_lifeline_units=30_000, advance_minor=8_00)

    priced = price_tender(GHANA, after, 60_00)

    assert line(priced, "kept", "used").amount_minor == -8_00
    assert line(priced, "correction").amount_minor == 18_00
    assert priced.units == 50_000
    assert priced.kept_minor == 0


def test_at_the_limit_too_little_for_the_correction_is_refused_with_what_is_needed() -> None:
    after = replace(HERE, prior_units=30_000, prior_lifeline_units=30_000)

    refused = refusal(GHANA, after, 10_00)

    assert refused.details["needed"] == "18.10"


def test_one_purchase_and_two_across_a_lifeline_cost_the_same() -> None:
    once = price_tender(GHANA, HERE, 60_00)
    first = price_tender(GHANA, HERE, 8_00)
    after = replace(HERE, prior_units=20_000, prior_lifeline_units=first.lifeline_units)
    second = price_tender(GHANA, after, 52_00)

    assert once.units == first.units + second.units


def test_a_price_for_the_whole_window_corrects_what_came_before() -> None:
    table = Table("standard", (Block(50_000, Decimal(4)), Block(None, Decimal(6))), whole=True)
    levy = UnitItem("high", "High use", Decimal(1), frozenset({2}))
    sold = tariff(table=table, unit_items=(levy,))
    after = replace(HERE, prior_units=40_000, prior_lifeline_units=40_000)

    priced = price_units(sold, after, 20_000)

    corrections = {e.code: e.amount_minor for e in priced.lines if e.kind == "correction"}
    assert corrections == {"energy": 80_00, "high": 40_00}
    assert priced.tender_minor == 20 * 7_00 + 120_00


def test_a_falling_price_for_the_whole_window_gives_money_back() -> None:
    table = Table("standard", (Block(50_000, Decimal(4)), Block(None, Decimal(3))), whole=True)
    after = replace(HERE, prior_units=40_000, prior_lifeline_units=40_000)

    priced = price_tender(tariff(table=table), after, 40_00)

    assert line(priced, "correction").amount_minor == -40_00
    assert priced.units == 26_600


# --- blocks ---------------------------------------------------------------------------------------


def test_a_cheaper_block_in_the_middle_is_priced_as_published() -> None:
    uganda = tariff(
        (15_000, "250"), (80_000, "747.5"), (150_000, "412"), (None, "747.5"), currency="UGX"
    )

    priced = price_units(uganda, HERE, 160_000)

    parts = [each.amount_minor for each in priced.lines if each.kind == "energy"]
    assert parts == [3_750, 48_588, 28_840, 7_475]
    assert price_tender(uganda, HERE, priced.tender_minor).units == 160_000


def test_a_levy_on_some_blocks_lies_on_their_units_only() -> None:
    levy = UnitItem("surcharge", "Surcharge", Decimal("0.06"), frozenset({2, 3}))
    sold = tariff((500_000, "1.20"), (None, "1.40"), unit_items=(levy,))

    priced = price_units(sold, HERE, 600_000)

    assert line(priced, "levy").quantity == 100_000
    assert line(priced, "levy").amount_minor == 6_00


def test_beyond_the_last_block_the_largest_tender_is_named() -> None:
    sold = tariff((100_000, "1.00"), (200_000, "2.00"))

    refused = refusal(sold, HERE, 400_00)

    assert refused.code == "no_price_for_units"
    largest = int(Decimal(str(refused.details["largest"])) * 100)
    assert price_tender(sold, HERE, largest).units == 200_000
    assert refusal(sold, HERE, largest + 1).code == "no_price_for_units"


def test_units_beyond_the_last_block_have_no_price() -> None:
    sold = tariff((100_000, "1.00"))

    with pytest.raises(Refused) as refused:
        price_units(sold, HERE, 100_001)
    assert (refused.value.code, refused.value.field) == ("no_price_for_units", "units")


def test_first_blocks_of_missed_months_make_the_first_block_longer() -> None:
    counter = Counter(missed=Missed.ACCUMULATE, months_max=3)
    sold = tariff((15_000, "1.00"), (None, "3.00"), counter=counter)

    priced = price_tender(sold, replace(HERE, missed_windows=2), 60_00)

    cheap = line(priced, "energy", "block1")
    assert cheap.quantity == 45_000
    assert priced.units == 50_000


def test_block_prices_with_tax_are_rounded_before_they_are_multiplied_where_said() -> None:
    vat = replace(VAT, percent=Decimal(14), on=("energy",))
    rules = RoundingRules(price_step=Decimal("0.01"))
    water = tariff(
        (6_000_000, "26.25"),
        (10_500_000, "46.00"),
        percent_items=(vat,),
        rounding=rules,
        commodity=Commodity.WATER,
    )

    priced = price_units(water, HERE, 6_000_000)

    energy = line(priced, "energy")
    assert priced.tender_minor == 179_58
    assert (energy.gross_rate, energy.gross_minor) == ("29.93", 179_58)
    assert [each.all_in for each in block_rates(water, HERE)] == [
        Decimal("29.93"),
        Decimal("52.44"),
    ]
    assert line(priced, "rounding").amount_minor == 179_58 - 157_50 - 22_05


# --- percentages ----------------------------------------------------------------------------------


def test_a_percentage_of_the_tender_is_taken_before_units() -> None:
    ppj = PercentItem("ppj", "Street lighting", Decimal(3), ("tender",))
    rules = RoundingRules(unit_step=Decimal("0.01"))
    sold = tariff((None, "1444.70"), percent_items=(ppj,), currency="IDR", rounding=rules)

    priced = price_tender(sold, replace(HERE, sts_grid=False), 50_000_00)

    assert line(priced, "levy").amount_minor == 1_500_00
    assert priced.units == 33_570


def test_tax_lies_on_excise() -> None:
    excise = PercentItem("excise", "Excise", Decimal(3), ("energy",))
    vat = PercentItem("vat", "VAT", Decimal(16), ("energy", "excise"), is_tax=True)
    sold = tariff((None, "1.00"), percent_items=(excise, vat), currency="ZMW")

    priced = price_units(sold, HERE, 100_000)

    assert line(priced, "levy").amount_minor == 3_00
    assert (line(priced, "tax").amount_minor, line(priced, "tax").base_minor) == (16_48, 103_00)


def test_a_rebate_is_a_negative_line() -> None:
    rebate = PercentItem("rebate", "Rebate", Decimal("-0.5"), ("energy",))
    sold = tariff((None, "10.00"), percent_items=(rebate,), currency="BDT")

    priced = price_units(sold, HERE, 100_000)

    assert line(priced, "levy").amount_minor == -5_00
    assert priced.tender_minor == 995_00


def test_a_tax_that_prices_include_is_the_remainder() -> None:
    vat = replace(VAT, included=True, on=("energy",))
    sold = tariff((None, "2.41"), percent_items=(vat,))

    priced = price_units(sold, HERE, 10_000)

    energy = line(priced, "energy")
    assert priced.tender_minor == 24_10
    assert (energy.amount_minor, energy.gross_minor, energy.rate) == (20_96, 24_10, None)
    assert line(priced, "tax").amount_minor == 3_14


def test_a_levy_for_a_class_lies_on_that_class_only() -> None:
    levy = UnitItem("l", "L", Decimal(1), when=Condition(classes=frozenset({"shop"})))
    sold = tariff((None, "1.00"), unit_items=(levy,))

    assert price_tender(sold, HERE, 100_00).units == 100_000
    assert price_tender(sold, replace(HERE, customer_class="shop"), 100_00).units == 50_000


# --- which table ----------------------------------------------------------------------------------


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
        (Condition(months=frozenset({5})), {}, {"at_us": AT_US + 4 * 86_400_000_000}),
    ],
)
def test_the_first_rule_that_holds_says_the_prices(
    when: Condition, yes: dict[str, Any], no: dict[str, Any]
) -> None:
    cheap = Table("cheap", (Block(None, Decimal(1)),))
    sold = tariff(
        tables={"cheap": cheap},
        rules=(TableRule(when, "cheap"), TableRule(ALWAYS, "standard")),
    )

    assert price_tender(sold, replace(HERE, **yes), 10_00).units == 10_000
    assert price_tender(sold, replace(HERE, **no), 10_00).units == 5_000


def test_dates_follow_the_time_zone_of_the_situation() -> None:
    from datetime import date

    cheap = Table("cheap", (Block(None, Decimal(1)),))
    until = Condition(until_date=date(2026, 5, 29))
    sold = tariff(tables={"cheap": cheap}, rules=(TableRule(until, "cheap"),))

    assert price_tender(sold, HERE, 10_00).units == 10_000
    refused = refusal(sold, replace(HERE, time_zone="Asia/Tokyo"), 10_00)
    assert refused.code == "no_price_in_force"


def test_a_tariff_that_ended_has_no_price() -> None:
    from datetime import date

    sold = replace(tariff(), valid_until=date(2026, 5, 28))

    assert refusal(sold, HERE, 10_00).code == "no_price_in_force"


def test_prices_by_time_of_use_are_not_sold_in_advance_without_a_price_for_it() -> None:
    periods = {"peak": Decimal(3), "off": Decimal(1)}
    sold = tariff(table=Table("standard", periods=periods))
    in_advance = tariff(table=Table("standard", periods=periods, advance_price=Decimal(2)))

    assert refusal(sold, HERE, 10_00).code == "no_price_in_advance"
    assert price_tender(in_advance, HERE, 10_00).units == 5_000
    assert price_tender(sold, replace(HERE, is_meter_credit=False), 10_00).units == 0


# --- limits, debts, tokens ------------------------------------------------------------------------


def test_every_limit_whose_condition_holds_binds() -> None:
    sold = tariff(
        purchase=(
            PurchaseRule(Decimal(20), Decimal(5000)),
            PurchaseRule(Decimal(50), None, Condition(channels=frozenset({"web"}))),
        )
    )

    assert refusal(sold, HERE, 19_99).code == "below_minimum"
    assert price_tender(sold, HERE, 20_00).units == 10_000
    assert refusal(sold, replace(HERE, channel="web"), 49_99).code == "below_minimum"
    assert refusal(sold, HERE, 5_000_01).code == "above_maximum"
    assert refusal(sold, replace(HERE, meter_max_minor=30_00), 30_01).code == "above_maximum"
    assert refusal(sold, HERE, 0).code == "amount_not_positive"


def test_money_of_another_currency_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        check_currency(tariff(), "USD")
    assert refused.value.code == "currency_mismatch"


def test_debts_are_taken_by_priority_within_the_cap() -> None:
    debts = (
        DebtState(3, "fine", "Fine", 3, 100_00, number="D00000003"),
        DebtState(1, "arrears", "Arrears", 1, 30_00, number="D00000001"),
        DebtState(2, "loan", "Loan", 2, 500_00, due_minor=15_00, number="D00000002"),
    )
    sold = tariff(debt_caps=(DebtCap(Decimal(50)),))

    priced = price_tender(sold, replace(HERE, debts=debts), 100_00)

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
    sold = tariff(debt_caps=(DebtCap(Decimal(50)),))

    priced = price_tender(sold, replace(HERE, debts=debts), 100_00)

    assert [(each.debt_id, each.minor) for each in priced.debts] == [(2, 60_00)]
    assert priced.units == 20_000


def test_a_large_token_carries_the_next_value_it_can_hold() -> None:
    sold = tariff((None, "1.00"))

    priced = price_tender(sold, HERE, 2_000_35)

    assert priced.units == 2_001_200 - 800
    assert line(priced, "energy").quantity == priced.units
    assert sum(each.amount_minor for each in priced.lines) == 2_000_35


def test_credit_that_the_platform_holds_pays_what_is_due_and_keeps_the_rest() -> None:
    charges = (ChargeState("service", "2026-05"),)
    sold = replace(JOHANNESBURG, fixed_items=(FixedItem("service", "Service", Decimal(10)),))
    situation = replace(HERE, charges=charges, is_meter_credit=False)

    priced = price_tender(sold, situation, 100_00)

    credit = line(priced, "credit")
    assert (credit.amount_minor, credit.account) == (88_50, "customer:A00000001")
    assert priced.units == 0
    assert priced.charges[0].net_minor == 10_00


# --- free units and gas ---------------------------------------------------------------------------

FREE = FreeUnits("fbe", "Free basic electricity", 50_000)


def test_free_units_are_given_beside_the_purchase_for_each_open_month() -> None:
    sold = tariff((20_000, "1.00"), (None, "2.00"), free_units=(FREE,))
    situation = replace(HERE, free=(FreeState("fbe", ("2026-04", "2026-05")),))

    priced = price_tender(sold, situation, 20_00)

    assert [(each.period, each.units) for each in priced.free] == [
        ("2026-04", 50_000),
        ("2026-05", 50_000),
    ]
    assert priced.counted_units == priced.units == 20_000
    assert free_given(sold, situation) == priced.free


def test_free_units_that_count_take_the_first_places_of_the_blocks() -> None:
    sold = tariff(
        (50_000, "1.00"), (None, "2.00"), free_units=(FREE,), counter=Counter(counts_free=True)
    )
    situation = replace(HERE, free=(FreeState("fbe", ("2026-05",)),))

    priced = price_tender(sold, situation, 20_00)

    assert priced.units == 10_000
    assert priced.counted_units == 60_000


def test_gas_is_priced_by_energy_and_delivered_by_volume() -> None:
    content = EnergyContent(Decimal("1.02264"), Decimal("39.5"))
    sold = tariff((None, "0.10"), commodity=Commodity.GAS, currency="GBP", energy_content=content)

    priced = price_tender(sold, HERE, 20_00)

    energy = line(priced, "energy")
    assert priced.units == 17_800_000
    assert priced.counted_units == energy.quantity == 199_727
    assert energy.amount_minor == 19_97
    assert priced.calorific_value == "39.5"


def test_currencies_with_no_and_with_three_decimals_add_up() -> None:
    for currency, tender in (("UGX", 20_000), ("KWD", 20_000)):
        price = "747.5" if currency == "UGX" else "0.747"
        sold = tariff((None, price), percent_items=(VAT,), currency=currency)

        priced = price_tender(sold, HERE, tender)

        assert sum(each.amount_minor for each in priced.lines) == tender
        assert recompute(sold, priced) == []


def test_a_wrong_line_does_not_recompute() -> None:
    priced = price_tender(JOHANNESBURG, HERE, 100_00)
    wrong = [replace(each, amount_minor=each.amount_minor + 2) for each in priced.lines]

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
        sold = tariff((None, "3.00"), rounding=RoundingRules(units=rounding))

        assert price_tender(sold, HERE, 50_00).units == units

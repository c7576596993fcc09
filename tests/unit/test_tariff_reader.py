"""Tariff documents become the values that pricing works with."""

from __future__ import annotations

import json
from datetime import date, time
from decimal import Decimal

import pytest

from slotmeter.units import Commodity, Rounding
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    BlockWindow,
    Collection,
    Condition,
    Counter,
    DebtCap,
    FixedItem,
    Lifeline,
    Measure,
    Missed,
    PercentItem,
    PercentOf,
    PurchaseRule,
    RoundingRules,
    Split,
    SplitBy,
    TableRule,
    Tariff,
    TooSmall,
    UnitItem,
)
from slotmeter.vending.tariff.reader import (
    check_tariff,
    parse_tariff,
    read_tariff,
    stored_tariff,
)

HEAD = """
tariff: test
title: Test tariff
commodity: electricity
currency: KES
"""


def tariff_of(rest: str, head: str = HEAD) -> Tariff:
    return read_tariff(head + rest)[1]


FLAT_PRICE = "energy: {price: 2}\n"


def with_item(rest: str) -> Tariff:
    return tariff_of(FLAT_PRICE + rest)


# --- numbers and texts --------------------------------------------------------------------------


def test_a_number_without_quotes_keeps_every_digit() -> None:
    document, tariff = read_tariff(HEAD + "energy: {price: 21.50000001}")

    assert tariff.energy.tables["standard"].blocks == (Block(None, Decimal("21.50000001")),)
    assert document["energy"] == {"price": "21.50000001"}


def test_quotes_around_a_number_change_nothing() -> None:
    assert tariff_of('energy: {price: "2.5"}') == tariff_of("energy: {price: 2.5}")


def test_words_that_other_readers_take_for_booleans_are_texts() -> None:
    tariff = check_tariff(
        HEAD.replace("Test tariff", "No")
        + "energy: {price: 2}\ntaxes: {vat: {label: Yes, percent: 16, on: [energy]}}"
    ).tariff

    assert tariff.title == "No"
    assert tariff.percent_items[0].label == "Yes"


def test_json_is_read_as_well() -> None:
    document, tariff = read_tariff(HEAD + "energy: {blocks: [{to: 5, price: 2}, {price: 3}]}")

    assert read_tariff(json.dumps(document))[1] == tariff


def test_what_is_stored_says_the_same_when_it_is_read_again() -> None:
    document, tariff = read_tariff(HEAD + "energy: {price: 2}\nfixed: {fee: {amount: 10}}")

    assert stored_tariff(json.dumps(document)) == tariff
    assert parse_tariff(document) == tariff


def test_an_alias_stands_for_what_its_anchor_marks() -> None:
    tariff = tariff_of(
        "energy:\n"
        "  tables:\n"
        "    one: &prices {blocks: [{to: 5, price: 2}, {price: 3}]}\n"
        "    two: *prices\n"
        "  use: [{class: a, table: one}, {table: two}]\n"
    )

    assert tariff.energy.tables["one"].blocks == tariff.energy.tables["two"].blocks


def test_a_section_that_is_left_empty_is_as_if_it_were_not_there() -> None:
    assert with_item("taxes:\nlevies: null\n") == with_item("")


# --- energy -------------------------------------------------------------------------------------


def test_limits_of_blocks_become_base_units() -> None:
    tariff = tariff_of("energy: {blocks: [{to: 50, price: 2.50}, {to: 1500.5, price: 1}]}")

    assert tariff.energy.tables["standard"].blocks == (
        Block(50_000, Decimal("2.50")),
        Block(1_500_500, Decimal(1)),
    )


@pytest.mark.parametrize(
    ("head", "base"),
    [("commodity: water", 6_000_000), ("commodity: gas", 6_000_000)],
)
def test_volume_is_counted_in_millilitres(head: str, base: int) -> None:
    tariff = tariff_of(
        "energy: {blocks: [{to: 6, price: 1}, {price: 2}]}",
        HEAD.replace("commodity: electricity", head),
    )

    assert tariff.energy.tables["standard"].blocks[0].up_to == base


def test_gas_with_an_energy_content_is_priced_per_kwh() -> None:
    tariff = tariff_of(
        "energy: {blocks: [{to: 6, price: 1}, {price: 2}]}\n"
        "energy_content: {correction: 1.02264, calorific_value: 39.5, volume_step: 0.01}",
        HEAD.replace("electricity", "gas"),
    )

    assert tariff.commodity is Commodity.GAS
    assert tariff.energy.tables["standard"].blocks[0].up_to == 6_000
    assert tariff.energy_content is not None
    assert tariff.energy_content.imperial_unit_m3 == Decimal("2.83")
    assert tariff.energy_content.volume_step == Decimal("0.01")


def test_a_block_may_say_where_it_begins() -> None:
    assert tariff_of(
        "energy: {blocks: [{from: 0, to: 50, price: 2}, {from: 50, price: 3}]}"
    ) == tariff_of("energy: {blocks: [{to: 50, price: 2}, {price: 3}]}")


def test_a_lifeline_stands_beside_the_blocks() -> None:
    table = tariff_of(
        "energy: {lifeline: {to: 30, price: 0.41}, blocks: [{to: 300, price: 0.9}, {price: 1.2}]}"
    ).energy.tables["standard"]

    assert table.lifeline == Lifeline(30_000, Decimal("0.41"))
    assert len(table.blocks) == 2


def test_one_table_needs_no_rule() -> None:
    energy = tariff_of("energy: {tables: {only: {price: 2}}}").energy

    assert energy.rules == (TableRule(ALWAYS, "only"),)


def test_rules_say_which_table_counts() -> None:
    energy = tariff_of(
        "average_months: 3\n"
        "energy:\n"
        "  tables: {a: {price: 1}, b: {price: 2}, c: {price: 3}, d: {price: 4}}\n"
        "  use:\n"
        "    - {class: [indigent, pensioner], table: a}\n"
        "    - {average: {above: 30, to: 100}, table: b}\n"
        "    - {from: 2018-02-01, until: 2018-07-01, months: [2, 3], table: c}\n"
        "    - {load_kw: {at_least: 5, below: 10}, connection: 15 mm, table: c}\n"
        "    - {channel: [web], vendor: [branch-1], class_not: [farm], table: c}\n"
        "    - {table: d}\n"
    ).energy

    assert [rule.when for rule in energy.rules] == [
        Condition(classes=frozenset({"indigent", "pensioner"})),
        Condition(average_above=30_000, average_up_to=100_000),
        Condition(
            from_date=date(2018, 2, 1), until_date=date(2018, 7, 1), months=frozenset({2, 3})
        ),
        Condition(load_above_w=4_999, load_up_to_w=9_999, connections=frozenset({"15 mm"})),
        Condition(
            channels=frozenset({"web"}),
            vendors=frozenset({"branch-1"}),
            not_classes=frozenset({"farm"}),
        ),
        ALWAYS,
    ]
    assert energy.rules[-1].table == "d"


@pytest.mark.parametrize(
    ("written", "counter"),
    [
        ("{}", Counter()),
        ("{window: billing_period, start_day: 15}", Counter(BlockWindow.BILLING_PERIOD, 15)),
        ("{window: rolling, days: 28}", Counter(BlockWindow.ROLLING, days=28)),
        ("{months: 2, counts_free: true}", Counter(months=2, counts_free=True)),
        (
            "{missed: accumulate, months_max: 6}",
            Counter(missed=Missed.ACCUMULATE, months_max=6),
        ),
    ],
)
def test_the_counter_is_as_written(written: str, counter: Counter) -> None:
    assert tariff_of(f"energy: {{price: 2, counter: {written}}}").energy.counter == counter


# --- items --------------------------------------------------------------------------------------


def test_a_levy_may_lie_on_some_blocks_only_and_may_be_negative() -> None:
    tariff = tariff_of(
        "energy: {blocks: [{to: 5, price: 2}, {to: 9, price: 3}, {price: 4}]}\n"
        "levies: {fuel: {label: Fuel, per_unit: -0.57, blocks: [2, 3]}}\n"
    )

    assert tariff.unit_items == (
        UnitItem("fuel", "Fuel", Decimal("-0.57"), blocks=frozenset({2, 3})),
    )


def test_percentages_come_after_their_bases_and_else_stay_as_written() -> None:
    tariff = with_item(
        "percentages:\n"
        "  b: {percent: 3, on: [vat]}\n"
        "  a: {percent: 5, on: [energy]}\n"
        "taxes:\n"
        "  vat: {label: VAT, percent: 16, on: [energy, excise]}\n"
        "  excise: {percent: 10, on: [energy]}\n"
    )

    assert [item.code for item in tariff.percent_items] == ["excise", "vat", "b", "a"]
    assert tariff.percent_items[1] == PercentItem(
        "vat", "VAT", Decimal(16), ("energy", "excise"), is_tax=True
    )
    assert tariff.percent_items[3].label == "a"


def test_a_percentage_may_be_a_rebate() -> None:
    tariff = with_item("percentages: {rebate: {percent: -0.5, on: [energy]}}")

    assert tariff.percent_items[0].percent == Decimal("-0.5")


@pytest.mark.parametrize(
    ("written", "item"),
    [
        ("amount: 150", FixedItem("fee", "fee", Decimal(150))),
        (
            "label: Rent, amount: 40, per: load_kw, missed: accumulate, months_max: 6",
            FixedItem(
                "fee",
                "Rent",
                Decimal(40),
                missed=Missed.ACCUMULATE,
                months_max=6,
                measure=Measure.LOAD_KW,
            ),
        ),
        (
            "amount: 6.5812, every: day",
            FixedItem(
                "fee",
                "fee",
                Decimal("6.5812"),
                collect=Collection.DAY,
                missed=Missed.ACCUMULATE,
            ),
        ),
        (
            "amount: 230, includes_tax: true, split: {below: 400}",
            FixedItem("fee", "fee", Decimal(230), includes_tax=True, split=Split(Decimal(400))),
        ),
        (
            'amount: 1, by_connection: {15 mm: 87.29, "20 mm": 155.87}',
            FixedItem(
                "fee",
                "fee",
                Decimal(1),
                amounts={"15 mm": Decimal("87.29"), "20 mm": Decimal("155.87")},
            ),
        ),
        (
            "amount: 3, every: purchase, when: {class_not: [indigent]}",
            FixedItem(
                "fee",
                "fee",
                Decimal(3),
                collect=Collection.PURCHASE,
                when=Condition(not_classes=frozenset({"indigent"})),
            ),
        ),
    ],
)
def test_a_fixed_charge_is_as_written(written: str, item: FixedItem) -> None:
    assert with_item(f"fixed: {{fee: {{{written}}}}}").fixed_items == (item,)


def test_free_units_are_for_the_registered_unless_it_says_otherwise() -> None:
    tariff = with_item(
        "free_units: {fbe: {label: Free, units: 50}, "
        "all: {units: 5.5, registered: false, missed: accumulate, months_max: 3}}"
    )

    fbe, all_ = tariff.free_units
    assert (fbe.units, fbe.needs_registration, fbe.accumulates) == (50_000, True, False)
    assert (all_.units, all_.needs_registration, all_.accumulates) == (5_500, False, True)
    assert all_.months_max == 3


# --- rules --------------------------------------------------------------------------------------


def test_limits_of_a_purchase_are_those_for_all_and_those_for_some() -> None:
    tariff = with_item(
        "purchase: {minimum: 20, maximum: 5000, too_small: pay_charges, "
        "rules: [{minimum: 100, when: {channel: [web]}}]}"
    )

    assert tariff.too_small is TooSmall.PAY_CHARGES
    assert tariff.purchase == (
        PurchaseRule(Decimal(20), Decimal(5000)),
        PurchaseRule(Decimal(100), None, Condition(channels=frozenset({"web"}))),
    )


def test_the_cap_of_a_class_comes_before_the_cap_for_all() -> None:
    tariff = with_item("debts: {cap: 50, rules: [{cap: 90, when: {class: [late]}}]}")

    assert tariff.debt_caps == (
        DebtCap(Decimal(90), Condition(classes=frozenset({"late"}))),
        DebtCap(Decimal(50)),
    )


def test_rounding_is_as_written() -> None:
    tariff = with_item(
        "rounding: {unit_step: 1, units: half_up, lines: half_even, percent_of: exact, "
        "price_step: 0.0001, fixed_step: 0.01, split_by: units}"
    )

    assert tariff.rounding == RoundingRules(
        unit_step=Decimal(1),
        units=Rounding.HALF_UP,
        lines=Rounding.HALF_EVEN,
        percent_of=PercentOf.EXACT,
        price_step=Decimal("0.0001"),
        fixed_step=Decimal("0.01"),
        split_by=SplitBy.UNITS,
    )


def test_nothing_said_of_rounding_is_the_usual_rounding() -> None:
    assert with_item("").rounding == RoundingRules()


@pytest.mark.parametrize(("currency", "amount"), [("UGX", "3360"), ("KWD", "0.125")])
def test_amounts_have_the_decimals_of_their_currency(currency: str, amount: str) -> None:
    tariff = tariff_of(
        f"{FLAT_PRICE}fixed: {{fee: {{amount: {amount}}}}}", HEAD.replace("KES", currency)
    )

    assert tariff.fixed_items[0].amount == Decimal(amount)


def test_the_whole_has_its_zone_its_end_and_its_source() -> None:
    tariff = with_item("time_zone: Africa/Kampala\nvalid_until: 2027-07-01\nsource: Gazette 7\n")

    assert tariff.time_zone == "Africa/Kampala"
    assert tariff.valid_until == date(2027, 7, 1)
    assert tariff.source == "Gazette 7"
    assert tariff.average_months == 12


# --- calendars ----------------------------------------------------------------------------------

TIME_OF_USE = """
energy:
  tables:
    tou: {periods: {off_peak: 1.2, peak: 4.5}, advance_price: 2.4}
calendar:
  seasons: {high: {from: 06-01, to: 08-31}, low: {from: 09-01, to: 05-31}}
  days:
    - {seasons: [high], weekdays: [monday-friday], hours: {00:00: off_peak, 06:00: peak}}
    - {seasons: [low], weekdays: [monday-friday], hours: {"00:00": off_peak, "07:30": peak}}
    - {weekdays: [saturday, sunday], holidays: true, hours: {00:00: off_peak}}
  holidays: {country: ZA, dates: [2026-05-02], through: 2027}
"""


def test_a_calendar_has_seasons_days_and_holidays() -> None:
    calendar = tariff_of(TIME_OF_USE).calendar

    assert calendar is not None
    assert [(season.code, season.first, season.last) for season in calendar.seasons] == [
        ("high", (6, 1), (8, 31)),
        ("low", (9, 1), (5, 31)),
    ]
    assert calendar.days[1].spans == ((time(0, 0), "off_peak"), (time(7, 30), "peak"))
    assert calendar.days[1].weekdays == frozenset(range(5))
    assert calendar.days[2].seasons == frozenset()
    assert calendar.days[2].holidays
    assert calendar.holidays is not None
    assert calendar.holidays.country == "ZA"
    assert calendar.holidays.dates == frozenset({date(2026, 5, 2)})
    assert calendar.holidays.through == 2027


def test_a_table_has_a_price_for_each_period_and_one_in_advance() -> None:
    table = tariff_of(TIME_OF_USE).energy.tables["tou"]

    assert table.periods == {"off_peak": Decimal("1.2"), "peak": Decimal("4.5")}
    assert table.advance_price == Decimal("2.4")
    assert table.blocks == ()


def test_a_season_may_come_twice_a_year() -> None:
    calendar = tariff_of(
        TIME_OF_USE.replace(
            "low: {from: 09-01, to: 05-31}",
            "low: [{from: 09-01, to: 12-31}, {from: 01-01, to: 05-31}]",
        )
    ).calendar

    assert calendar is not None
    assert [season.code for season in calendar.seasons] == ["high", "low", "low"]

"""Items, calendars and warnings: what is wrong with them is said, with its place."""

from __future__ import annotations

import pytest

from slotmeter.testing.small_tariff import TIME_OF_USE
from slotmeter.vending.tariff.problems import TariffProblems
from slotmeter.vending.tariff.reader import check_tariff, read_tariff

HEAD = """
tariff: test
title: Test tariff
commodity: electricity
currency: KES
"""
PRICE = "energy: {price: 2}\n"
BLOCKS = "energy: {blocks: [{to: 5, price: 2}, {price: 3}]}\n"
LIFELINE = "energy: {price: 2, lifeline: {to: 30, price: 0.4}}\n"


def expect_among(rest: str, path: str, words: str) -> None:
    with pytest.raises(TariffProblems) as refused:
        read_tariff(HEAD + rest)
    found = [(problem["path"], problem["message"]) for problem in refused.value.problems]
    assert [each for each in found if each[0] == path and words in str(each[1])], found


# --- items --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "path", "words"),
    [
        (PRICE + "levies: {fuel: {}}", "levies.fuel", "per_unit is missing"),
        (PRICE + "levies: {Fuel: {per_unit: 1}}", "levies.Fuel", "a lower-case letter"),
        (PRICE + "levies: {energy: {per_unit: 1}}", "levies.energy", "a meaning of its own"),
        (PRICE + "levies: {a: {per_unit: 1, blocks: [2]}}", "levies.a.blocks[1]", "at most 1"),
        (BLOCKS + "levies: {a: {per_unit: 1, blocks: [3]}}", "levies.a.blocks[1]", "at most 2"),
        (BLOCKS + "levies: {a: {per_unit: 1, blocks: [0]}}", "levies.a.blocks[1]", "at least 1"),
        (PRICE + "levies: {a: {per_unit: 1, when: {}}}", "levies.a.when", "at least one condition"),
        (PRICE + "levies: {a: {per_unit: 1, when: }}", "levies.a.when", "has no value"),
        (
            PRICE + "levies: {a: {per_unit: 1}}\ntaxes: {a: {percent: 1, on: [energy]}}",
            "taxes.a",
            "one of levies already",
        ),
        (PRICE + "taxes: {vat: {percent: 16}}", "taxes.vat", "on is missing"),
        (PRICE + "taxes: {vat: {on: [energy]}}", "taxes.vat", "percent is missing"),
        (PRICE + "taxes: {vat: {percent: -100, on: [energy]}}", "taxes.vat.percent", "more than"),
        (PRICE + "taxes: {vat: {percent: 1, on: [enrgy]}}", "taxes.vat.on[1]", '"energy"'),
        (PRICE + "taxes: {vat: {percent: 1, on: [vat]}}", "taxes.vat.on", "vat -> vat"),
        (
            PRICE + "taxes: {a: {percent: 1, on: [b]}, b: {percent: 1, on: [c]}, "
            "c: {percent: 1, on: [energy, a]}}",
            "taxes.a.on",
            "a cycle: a -> b -> c -> a",
        ),
        (
            PRICE + "taxes: {vat: {percent: 1, on: [tender, energy]}}",
            "taxes.vat.on",
            "no other base",
        ),
        (
            PRICE + "levies: {a: {per_unit: 1}}\ntaxes: {vat: {percent: 1, on: [levies, a]}}",
            "taxes.vat.on[2]",
            "a is one of levies",
        ),
        (
            PRICE + "taxes: {vat: {percent: 1, on: [tender], included: true}}",
            "taxes.vat.included",
            "not a price",
        ),
        (
            PRICE + "percentages: {ppj: {percent: 60, on: [tender]}, b: {percent: 40, on: tender}}",
            "percentages.b.percent",
            "nothing of the tender would be left",
        ),
        (
            PRICE + "taxes: {excise: {percent: 10, on: [energy]}, "
            "vat: {percent: 16, on: [energy, excise], included: true}}",
            "taxes.vat.included",
            "must hold excise too",
        ),
        (PRICE + "fixed: {fee: {}}", "fixed.fee", "amount is missing"),
        (PRICE + "fixed: {fee: {amount: -1}}", "fixed.fee.amount", "at least 0"),
        (PRICE + "fixed: {fee: {amount: 1.005}}", "fixed.fee.amount", "at most 2 decimals"),
        (
            PRICE + "fixed: {fee: {amount: 1, months_max: 3}}",
            "fixed.fee.months_max",
            "missed: accumulate",
        ),
        (
            PRICE + "fixed: {fee: {amount: 1, every: purchase, missed: lapse}}",
            "fixed.fee.missed",
            "no periods",
        ),
        (
            PRICE + "fixed: {fee: {amount: 1, every: day, split: {below: 4}}}",
            "fixed.fee.split",
            "charges of a month",
        ),
        (PRICE + "fixed: {fee: {by_connection: {}}}", "fixed.fee.by_connection", "sizes"),
        (
            PRICE + "taxes: {vat: {percent: 16, on: [fixed], included: true}}\n"
            "fixed: {fee: {amount: 1, includes_tax: false}}",
            "fixed.fee.includes_tax",
            "a second tax",
        ),
        (PRICE + "free_units: {f: {}}", "free_units.f", "units is missing"),
        (PRICE + "free_units: {f: {units: 0}}", "free_units.f.units", "more than 0"),
        (
            PRICE + "free_units: {f: {units: 5, registered: yes}}",
            "free_units.f.registered",
            "expected true or false",
        ),
        (
            "energy: {price: 2}\nlevies: {subsidy: {per_unit: -2}}",
            "levies.subsidy.per_unit",
            "costs 0 in all; expected more than 0",
        ),
        (
            "energy: {price: 2, lifeline: {to: 30, price: 0.5}}\nlevies: {subsidy: {per_unit: -1}}",
            "levies.subsidy.per_unit",
            "a unit in the lifeline of table standard costs -0.5 in all",
        ),
        (
            LIFELINE + "levies: {on: {per_unit: 1, lifeline: false}, off: {per_unit: -0.5}}",
            "levies.off.per_unit",
            "a unit in the lifeline of table standard costs -0.1 in all",
        ),
        (
            LIFELINE + "levies: {l: {per_unit: 2}}\npercentages: "
            "{p: {percent: -90, on: [levies]}, q: {percent: -90, on: [l]}, "
            "r: {percent: 180, on: [levies], lifeline: false}}",
            "percentages.p.percent",
            "a unit in the lifeline of table standard costs -1.2 in all",
        ),
        (
            BLOCKS + "levies: {a: {per_unit: 1, lifeline: false}}",
            "levies.a.lifeline",
            "no table of this tariff has a lifeline",
        ),
        (
            PRICE + "taxes: {vat: {percent: 1, on: [energy], lifeline: true}}",
            "taxes.vat.lifeline",
            "no table of this tariff has a lifeline",
        ),
        (
            LIFELINE + "percentages: {p: {percent: 1, on: [tender], lifeline: false}}",
            "percentages.p.lifeline",
            "does not look at what is bought",
        ),
        (
            LIFELINE + "taxes: {vat: {percent: 1, on: [energy], lifeline: no}}",
            "taxes.vat.lifeline",
            "expected true or false",
        ),
        (
            PRICE + "percentages: {one: {percent: -60, on: [energy]}, "
            "two: {percent: -50, on: [energy]}}",
            "percentages.one.percent",
            "costs -0.2 in all",
        ),
        (
            PRICE + "levies: {" + ", ".join(f"l{n}: {{per_unit: 1}}" for n in range(65)) + "}",
            "levies",
            "at most 64",
        ),
    ],
)
def test_items_that_make_no_sense_are_refused(rest: str, path: str, words: str) -> None:
    expect_among(rest, path, words)


# --- calendars ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "path", "words"),
    [
        ("to: 08-31", "to: 08-30", "calendar.seasons", "08-31 is in no season"),
        ("to: 08-31", "to: 09-01", "calendar.seasons", "two seasons"),
        ("to: 08-31", "to: 02-30", "calendar.seasons.high.to", "a month and a day"),
        ("{seasons: [low], ", "{seasons: [lwo], ", "calendar.days[2].seasons[1]", '"low"'),
        (
            "[saturday, sunday]",
            "[saturday]",
            "calendar.days",
            "a gap: no plan for 01-01 Sunday",
        ),
        ("[saturday, sunday]", "[friday-sunday]", "calendar.days[3]", "friday of the same season"),
        ("[saturday, sunday]", "[weekend]", "calendar.days[3].weekdays[1]", "monday-friday"),
        ('"07:30": peak', '"07:30": paek', "energy.tables.tou", "paek, which has no price"),
        ("periods: {off_peak: 1.2, ", "periods: {", "energy.tables.tou.periods", "off_peak"),
        ("peak: 4.5", "paek: 4.5", "energy.tables.tou.periods.paek", "no period of this name"),
        ('"00:00": off_peak', '"01:00": off_peak', "calendar.days[2].hours", "00:00"),
        ('"07:30"', '"7:30"', "calendar.days[2].hours.7:30", "a time"),
        ('"07:30"', '"24:00"', "calendar.days[2].hours.24:00", "a time"),
        ("06:00: peak", "06:00: peak, 05:00: off_peak", "calendar.days[1].hours.05:00", "in order"),
        (", holidays: true", "", "calendar.holidays", "they change nothing"),
        ("country: ZA, ", "country: za, ", "calendar.holidays.country", "two capitals"),
        ("country: ZA, ", "country: QQ, ", "calendar.holidays.country", "does not know QQ"),
        ("through: 2027", "through: 2025", "calendar.holidays.through", "after 2025"),
        (", through: 2027", "", "calendar.holidays", "through is missing"),
        (", dates: [2026-05-02]", "", "calendar.holidays.through", "belongs to dates"),
    ],
)
def test_a_calendar_that_leaves_a_doubt_is_refused(
    old: str, new: str, path: str, words: str
) -> None:
    assert old in TIME_OF_USE
    path = path.removesuffix(".periods") if "has no price" in words else path

    with pytest.raises(TariffProblems) as refused:
        read_tariff(HEAD + TIME_OF_USE.replace(old, new))

    found = [(str(problem["path"]), problem["message"]) for problem in refused.value.problems]
    assert [each for each in found if each[0].startswith(path) and words in str(each[1])], found


def test_prices_by_period_need_a_calendar() -> None:
    expect_among("energy: {periods: {peak: 2}}", "energy.periods.peak", "no period of this name")


def test_a_plan_for_holidays_needs_holidays() -> None:
    text = TIME_OF_USE[: TIME_OF_USE.index("  holidays: {country")]

    expect_among(text, "calendar", "does not say which days")


# --- warnings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (
            "energy: {tables: {a: {price: 2}}, use: [{class: x, table: a}]}",
            "the last rule has a condition",
        ),
        (
            "energy: {tables: {a: {price: 2}, b: {price: 3}}, use: [{table: a}]}",
            "no rule of use names this table",
        ),
        (
            "energy: {price: 2}\nfixed: {fee: {by_connection: {15 mm: 2}}}",
            "connections that are not listed pay nothing",
        ),
        (
            "energy: {price: 2}\n" + TIME_OF_USE[TIME_OF_USE.index("calendar:") :],
            "so it is not used",
        ),
        (
            PRICE + "levies: {subsidy: {per_unit: -3, when: {class: [poor]}}}",
            "if all conditions of subsidies hold together: a unit in block 1",
        ),
        (
            TIME_OF_USE.replace(", advance_price: 2.4", ""),
            "cannot be sold in advance",
        ),
        (
            LIFELINE + "percentages: {p: {percent: 5, on: [energy]}}\n"
            "taxes: {vat: {percent: 10, on: [p], lifeline: false}}",
            "it is not taken of units but of other items",
        ),
    ],
)
def test_what_is_legal_but_deserves_a_look_is_a_warning(rest: str, words: str) -> None:
    reading = check_tariff(HEAD + rest)

    assert [words in str(warning) for warning in reading.warnings] == [True]
    assert reading.warnings[0].mark is not None

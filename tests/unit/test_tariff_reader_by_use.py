"""What the reader refuses of charges by use, conditions on the tender and taxes of the gross."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slotmeter.vending.tariff.model import Condition, UseBand
from slotmeter.vending.tariff.problems import TariffProblems
from slotmeter.vending.tariff.reader import read_tariff

HEAD = """
tariff: test
title: Test tariff
commodity: electricity
currency: KES
"""
PRICE = "energy: {price: 2}\n"
LIFELINE = "energy: {price: 2, lifeline: {to: 30, price: 1}}\n"
BANDS = "by_use: [{to: 30, amount: 2.13}, {amount: 10.73}]"


def expect_one(rest: str, path: str, words: str) -> None:
    with pytest.raises(TariffProblems) as refused:
        read_tariff(HEAD + rest)
    found = [(problem["path"], problem["message"]) for problem in refused.value.problems]
    assert [each[0] for each in found] == [path], found
    assert words in str(found[0][1])


def test_amounts_by_use_are_read_in_base_units() -> None:
    (item,) = read_tariff(f"{HEAD}{PRICE}fixed: {{fee: {{{BANDS}}}}}")[1].fixed_items

    assert item.by_use == (UseBand(30_000, Decimal("2.13")), UseBand(None, Decimal("10.73")))
    assert item.is_by_use


def test_a_condition_on_the_tender_is_read_in_coins() -> None:
    text = f"{HEAD}{PRICE}purchase: {{rules: [{{minimum: 5, when: {{tender: {{at_least: 10}}}}}}]}}"

    (rule,) = read_tariff(text)[1].purchase

    assert rule.when == Condition(tender_above=999)


@pytest.mark.parametrize(
    ("fee", "path", "words"),
    [
        ("by_use: []", "fixed.fee.by_use", "at least one value"),
        ("by_use: [{to: 30, amount: 1}]", "fixed.fee.by_use[1].to", "without limit"),
        ("by_use: [{amount: 1}, {amount: 2}]", "fixed.fee.by_use[1]", "to is missing"),
        (
            "by_use: [{to: 30, amount: 1}, {to: 30, amount: 2}, {amount: 3}]",
            "fixed.fee.by_use[2].to",
            "more than 30",
        ),
        ("by_use: [{to: 30}, {amount: 2}]", "fixed.fee.by_use[1]", "amount is missing"),
        ("by_use: [{to: 30, amount: 0.001}, {amount: 2}]", "fixed.fee.by_use[1].amount", "2 dec"),
        (f"amount: 1, {BANDS}", "fixed.fee.amount", "by_use says the amounts"),
        (f"every: purchase, {BANDS}", "fixed.fee.every", "only charges of a month"),
        (f"split: {{below: 400}}, {BANDS}", "fixed.fee.split", "leave by_use or it out"),
        ("amount: 1, lifeline: false", "fixed.fee.lifeline", "no table of this tariff"),
        (
            "amount: 1, when: {tender: {above: 5}}",
            "fixed.fee.when",
            "tender is of one purchase",
        ),
        (
            "amount: 1, every: purchase, when: {tender: {above: 5.001}}",
            "fixed.fee.when.tender.above",
            "at most 2 decimals",
        ),
    ],
)
def test_a_charge_that_cannot_be_is_refused(fee: str, path: str, words: str) -> None:
    expect_one(f"{PRICE}fixed: {{fee: {{{fee}}}}}", path, words)


@pytest.mark.parametrize("counter", ["{window: rolling, days: 30}", "{months: 2}"])
def test_a_charge_by_use_needs_a_window_of_a_month(counter: str) -> None:
    energy = f"energy: {{price: 2, counter: {counter}}}\n"

    expect_one(f"{energy}fixed: {{fee: {{{BANDS}}}}}", "fixed.fee.by_use", "window is a month")


def test_a_daily_charge_cannot_spare_the_lifeline() -> None:
    fee = "fixed: {fee: {amount: 1, every: day, lifeline: false}}"

    expect_one(LIFELINE + fee, "fixed.fee.every", "only charges of a month")


@pytest.mark.parametrize(
    ("tax", "path", "words"),
    [
        ("percent: 5, on: [tender], of_gross: true", "taxes.t.of_gross", "all that is paid"),
        ("percent: 100, on: [energy], of_gross: true", "taxes.t.percent", "nothing of the gross"),
        ("percent: 5, on: [energy], minimum: 5", "taxes.t.minimum", "on: [tender]"),
        ("percent: 5, on: [tender], minimum: 5, maximum: 4", "taxes.t.maximum", "at least"),
        ("percent: -5, on: [tender], maximum: 4", "taxes.t.maximum", "given back"),
    ],
)
def test_a_tax_that_cannot_be_is_refused(tax: str, path: str, words: str) -> None:
    expect_one(f"{PRICE}taxes: {{t: {{{tax}}}}}", path, words)


@pytest.mark.parametrize(
    ("blocks", "path", "words"),
    [
        ("[{to: 5, price: 1, whole: true}, {price: 2}]", "energy.blocks[1].whole", "first one"),
        (
            "[{to: 5, price: 1}, {price: 2, whole: true}], whole: true",
            "energy.blocks[2].whole",
            "keep",
        ),
    ],
)
def test_a_block_that_cannot_be_for_all_units_is_refused(
    blocks: str, path: str, words: str
) -> None:
    expect_one(f"energy: {{blocks: {blocks}}}\n", path, words)


def test_which_table_counts_cannot_depend_on_the_tender() -> None:
    tables = "tables: {a: {price: 1}, b: {price: 2}}"
    use = "use: [{class: x, tender: {above: 5}, table: a}, {table: b}]"

    expect_one(f"energy: {{{tables}, {use}}}\n", "energy.use[1].tender", "not known here")

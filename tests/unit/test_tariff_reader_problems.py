"""All that is wrong with a tariff is said, with its place."""

from __future__ import annotations

import pickle

import pytest

from slotmeter.vending.tariff.problems import TariffProblems
from slotmeter.vending.tariff.reader import check_tariff, parse_tariff, read_tariff

HEAD = """
tariff: test
title: Test tariff
commodity: electricity
currency: KES
"""
PRICE = "energy: {price: 2}\n"


def problems_of(text: str) -> list[tuple[object, object]]:
    with pytest.raises(TariffProblems) as refused:
        read_tariff(text)
    return [(problem["path"], problem["message"]) for problem in refused.value.problems]


def expect_one(rest: str, path: str, words: str) -> None:
    found = problems_of(HEAD + rest)
    assert [each[0] for each in found] == [path], found
    assert words in str(found[0][1])


# --- places -------------------------------------------------------------------------------------


def test_a_problem_has_its_line_and_column() -> None:
    with pytest.raises(TariffProblems) as refused:
        read_tariff("tariff: a\ntitle: b\ncommodity: water\ncurrency: KES\nenergy:\n  price: x\n")

    assert refused.value.code == "tariff_invalid"
    assert refused.value.field == "energy.price"
    assert refused.value.problems == (
        {
            "line": 6,
            "column": 3,
            "path": "energy.price",
            "message": 'expected a price such as 21.50, got "x"; the unit and the currency do not '
            "stand beside the number",
        },
    )
    assert refused.value.message.startswith("line 6, column 3: expected a price")


def test_all_problems_are_said_in_the_order_of_the_text() -> None:
    with pytest.raises(TariffProblems) as refused:
        read_tariff(
            "tariff: a\ntitle: b\ncommodity: milk\ncurrency: kes\n"
            "taxes: {vat: {percent: 16%, on: [energy]}}\nenergy: {blocks: [{price: 1}, {to: 5}]}\n"
        )

    problems = refused.value.problems
    assert [problem["path"] for problem in problems] == [
        "commodity",
        "currency",
        "taxes.vat.percent",
        "energy.blocks[1]",
        "energy.blocks[2]",
    ]
    assert [problem["line"] for problem in problems] == [3, 4, 5, 6, 6]
    assert refused.value.message.endswith("(and 4 more)")


def test_plain_values_have_paths_and_no_lines() -> None:
    with pytest.raises(TariffProblems) as refused:
        parse_tariff({"tariff": "a", "title": "b", "commodity": "water", "energy": {"price": "1"}})

    assert refused.value.problems == (
        {"line": None, "column": None, "path": "", "message": "currency is missing"},
    )


def test_the_list_of_problems_survives_a_process_border() -> None:
    with pytest.raises(TariffProblems) as refused:
        read_tariff("- a")

    copy = pickle.loads(pickle.dumps(refused.value))  # noqa: S301  our own bytes
    assert copy.problems == refused.value.problems


# --- the text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got an empty document"),
        ("# only a remark", "got an empty document"),
        ("just words", "keys with values"),
        ("a: [1, 2", "expected YAML"),
        ("a: 1\n---\nb: 2", "one document"),
        ("a: !!python/object:os.system {}", "tags such as !!str"),
        ("a: *b", "stands for nothing yet"),
        ("a: &b [*b]", "stands for nothing yet"),
        ("? [a]\n: b", "a key, which is one word"),
        ("? *x\n: b", "stands for nothing yet"),
        ("a: \x07", "control characters"),
        ('a: "\\UFFFFFFFF"', "cannot be read"),
        ("[" * 1000, "levels of nesting"),
        ("a: 1\na: 2", "given twice here, first in line 1"),
        ("x" * 100_001, "at most 100000 characters"),
    ],
)
def test_text_that_is_no_tariff_is_refused(text: str, words: str) -> None:
    with pytest.raises(TariffProblems) as refused:
        read_tariff(text)

    assert words in refused.value.message


def test_aliases_that_unfold_into_very_much_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]

    with pytest.raises(TariffProblems, match="at most 10000 values"):
        read_tariff("\n".join(lines))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "keys with values"),
        ([], "keys with values"),
        ({1: "a"}, "keys that are texts"),
        ({"price": 1 / 3}, "as text"),
        ({"price": 10**40}, "30 digits"),
        ({"a": ["x"] * 10_001}, "at most 10000 values"),
    ],
)
def test_plain_values_that_are_no_tariff_are_refused(value: object, words: str) -> None:
    with pytest.raises(TariffProblems, match=words):
        parse_tariff(value)


def test_values_nested_without_end_are_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(TariffProblems, match="levels of nesting"):
        parse_tariff({"a": endless})


# --- single values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "path", "words"),
    [
        ("energie: {price: 2}\n" + PRICE, "energie", 'did you mean "energy"?'),
        (PRICE + "energy_price: 2", "energy_price", "not known here"),
        ("energy: {price: 2, pric: 3}", "energy.pric", 'did you mean "price"?'),
        ("energy: 5", "energy", "expected keys with values"),
        ("energy: {price: [2]}", "energy.price", "got a list"),
        ("energy: {price: true}", "energy.price", "got true or false"),
        ("energy: {price: }", "energy.price", "has no value"),
        ("energy: {price: -2}", "energy.price", "at least 0"),
        ("energy: {price: 0}", "energy.price", "more than 0"),
        ("energy: {price: 2.123456789}", "energy.price", "at most 8 decimals"),
        ('energy: {price: "2,5"}', "energy.price", "after a point"),
        ("energy: {price: .5}", "energy.price", "begin with a digit"),
        ("energy: {price: 1e3}", "energy.price", "expected a price"),
        ("energy: {price: 1_000}", "energy.price", "expected a price"),
        ("energy: {price: ٣}", "energy.price", "expected a price"),
        ("energy: {price: 99999999999999999}", "energy.price", "at most"),
        ("energy: {price: 2, label: true}", "energy.label", 'write "true"'),
        ("energy: {price: 2, label: ''}", "energy.label", "an empty one"),
        (f"energy: {{price: 2, label: {'x' * 81}}}", "energy.label", "at most 80 characters"),
        ('energy: {price: 2, label: "a\\nb"}', "energy.label", "printable"),
        ('energy: {price: 2, label: "\\uD800"}', "energy.label", "printable"),
        (PRICE + "time_zone: Nairobi", "time_zone", "IANA"),
        (PRICE + "time_zone: ../etc/passwd", "time_zone", "IANA"),
        (PRICE + "time_zone: Africa", "time_zone", "IANA"),
        (PRICE + "valid_until: 2027-02-30", "valid_until", "expected a date"),
        (PRICE + "valid_until: 20270201", "valid_until", "expected a date"),
        (PRICE + "average_months: 0", "average_months", "at least 1"),
        (PRICE + "average_months: 1.5", "average_months", "without decimals"),
        (PRICE + "purchase: {minimum: 20.005}", "purchase.minimum", "KES of at most 2 decimals"),
        (PRICE + "purchase: {minimum: 20, maximum: 5}", "purchase.maximum", "minimum of 20"),
        (PRICE + "purchase: {rules: [{minimum: 5}]}", "purchase.rules[1]", "when is missing"),
        (PRICE + "purchase: {too_small: keep}", "purchase.too_small", "refuse, pay_charges"),
        (PRICE + "debts: {cap: 101}", "debts.cap", "at most 100"),
        (PRICE + "rounding: {units: up}", "rounding.units", "half_up, half_even, down"),
        (PRICE + "rounding: {unit_step: 0}", "rounding.unit_step", "more than 0"),
        (
            PRICE + "rounding: {price_step: 0.01, split_by: tender}",
            "rounding.price_step",
            "leave split_by out",
        ),
        (
            PRICE + "energy_content: {correction: 1.02, calorific_value: 39}",
            "energy_content",
            "only gas",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(rest: str, path: str, words: str) -> None:
    expect_one(rest, path, words)


def test_a_tariff_has_a_name_and_not_a_path() -> None:
    found = problems_of(HEAD.replace("tariff: test", "tariff: ../x") + PRICE)

    assert found[0][0] == "tariff"


# --- energy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energy", "path", "words"),
    [
        ("{}", "energy", "got none of them"),
        ("{price: 2, blocks: [{price: 3}]}", "energy.blocks", "got price and blocks"),
        ("{blocks: []}", "energy.blocks", "at least one value"),
        ("{blocks: [{price: 2}, {price: 3}]}", "energy.blocks[1]", "to is missing"),
        ("{blocks: [{to: 50, price: 2}, {to: 50, price: 3}]}", "energy.blocks[2].to", "in order"),
        ("{blocks: [{to: 50, price: 2}, {to: 20, price: 3}]}", "energy.blocks[2].to", "in order"),
        ("{blocks: [{to: 0, price: 2}, {price: 3}]}", "energy.blocks[1].to", "more than 0"),
        ("{blocks: [{to: 0.0005, price: 2}]}", "energy.blocks[1].to", "at most 3 decimals"),
        ("{blocks: [{to: 5, price: 2}, {price: 0}]}", "energy.blocks[2].price", "no limit"),
        (
            "{blocks: [{to: 50, price: 2}, {from: 60, price: 3}]}",
            "energy.blocks[2].from",
            "a gap in the blocks",
        ),
        (
            "{blocks: [{to: 50, price: 2}, {from: 40, price: 3}]}",
            "energy.blocks[2].from",
            "an overlap in the blocks",
        ),
        ("{price: 2, whole: true}", "energy.whole", "only blocks"),
        ("{price: 2, lifeline: {to: 30}}", "energy.lifeline", "price is missing"),
        ("{price: 2, lifeline: {to: 0, price: 1}}", "energy.lifeline.to", "more than 0"),
        ("{price: 2, advance_price: 3}", "energy.advance_price", "only tables with periods"),
        ("{price: 2, use: [{table: a}]}", "energy.use", "one table only"),
        ("{tables: {}}", "energy.tables", "at least one table"),
        ("{tables: {a: {price: 1}, b: {price: 2}}}", "energy", "use is missing"),
        (
            "{price: 3, tables: {a: {price: 1}}}",
            "energy.price",
            "belongs into each of them",
        ),
        ("{tables: {A b: {price: 1}}, use: [{table: x}]}", "energy.tables.A b", "a name"),
        (
            "{tables: {summer: {price: 1}}, use: [{table: sumer}]}",
            "energy.use[1].table",
            'did you mean "summer"?',
        ),
        ("{price: 2, counter: {start_day: 3}}", "energy.counter.start_day", "billing_period"),
        ("{price: 2, counter: {window: rolling}}", "energy.counter", "days is missing"),
        ("{price: 2, counter: {months: 5}}", "energy.counter.months", "divide a year"),
        ("{price: 2, counter: {months_max: 5}}", "energy.counter.months_max", "accumulate"),
        (
            "{price: 2, counter: {window: rolling, days: 30, missed: accumulate}}",
            "energy.counter.missed",
            "no months",
        ),
    ],
)
def test_prices_that_make_no_sense_are_refused(energy: str, path: str, words: str) -> None:
    found = problems_of(f"{HEAD}energy: {energy}")

    assert path in [each[0] for each in found], found
    assert any(words in str(each[1]) for each in found), found


TABLES = "energy: {tables: {a: {price: 1}, b: {price: 2}}, use: ["


@pytest.mark.parametrize(
    ("rules", "path", "words"),
    [
        ("{table: a}, {class: x, table: b}", "energy.use[2]", "never reached"),
        (
            "{from: 2026-01-01, until: 2026-06-01, table: a}, "
            "{from: 2026-05-01, until: 2026-12-31, table: b}",
            "energy.use[2]",
            "overlap",
        ),
        (
            "{class: x, from: 2026-01-01, table: a}, {class: x, until: 2026-03-01, table: b}, "
            "{table: a}",
            "energy.use[1]",
            "overlap",
        ),
        (
            "{until: 2026-06-01, table: a}, {from: 2026-07-01, table: b}",
            "energy.use[2]",
            "a gap in the dates: from 2026-06-01 to 2026-07-01",
        ),
        (
            "{from: 2026-06-01, until: 2026-06-01, table: a}, {table: b}",
            "energy.use[1].until",
            "a day after",
        ),
        ("{average: {above: 5, to: 5}, table: a}, {table: b}", "energy.use[1].average", "nothing"),
        ("{average: {}, table: a}, {table: b}", "energy.use[1].average", "expected above"),
        (
            "{average: {to: 5, below: 6}, table: a}, {table: b}",
            "energy.use[1].average.below",
            "same end",
        ),
        ("{months: [13], table: a}, {table: b}", "energy.use[1].months[1]", "at most 12"),
        ("{class: [x, x], table: a}, {table: b}", "energy.use[1].class[2]", "twice"),
        ("{class: [], table: a}, {table: b}", "energy.use[1].class", "at least one value"),
        (
            "{class: [x], class_not: [y], table: a}, {table: b}",
            "energy.use[1].class_not",
            "nothing more",
        ),
        ("{when: {class: x}, table: a}, {table: b}", "energy.use[1].when", "not known here"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: str, path: str, words: str) -> None:
    found = problems_of(f"{HEAD}{TABLES}{rules}]}}")

    assert path in [each[0] for each in found], found
    assert any(words in str(each[1]) for each in found), found


def test_dates_with_a_fallback_may_leave_time_between_them() -> None:
    text = (
        "{until: 2026-06-01, table: a}, {from: 2026-07-01, until: 2026-08-01, table: b}, {table: a}"
    )

    assert check_tariff(f"{HEAD}{TABLES}{text}]}}").warnings == ()

"""Classes by average use: rules as data, limits that belong to one side, exact."""

from __future__ import annotations

import pytest

from slotmeter.errors import Refused
from slotmeter.services.class_rules import months_before, read_class_rules

RULES = """\
commodity: electricity
months: 3
rules:
  - {up_to: 30, class: lifeline}
  - {above: 30, up_to: 100.5, class: dc2}
  - {above: 100.5, class: dc3}
also: [dc1]
"""


@pytest.mark.parametrize(
    ("bought_wh", "expected"),
    [
        (0, "lifeline"),
        (90_000, "lifeline"),
        (90_001, "dc2"),
        (301_500, "dc2"),
        (301_501, "dc3"),
    ],
)
def test_the_average_of_all_months_decides_to_the_watt_hour(bought_wh: int, expected: str) -> None:
    assert read_class_rules(RULES).class_of(bought_wh) == expected


def test_an_average_that_no_rule_covers_has_no_class() -> None:
    rules = read_class_rules("commodity: water\nrules: [{above: 5, class: large}]\n")

    assert rules.class_of(15_000_000) is None
    assert rules.class_of(15_000_001) == "large"


def test_accounts_of_the_classes_named_are_looked_at() -> None:
    assert read_class_rules(RULES).looked_at == {"lifeline", "dc1", "dc2", "dc3"}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[1, 2]", None),
        ("a: [", None),
        (RULES.replace("electricity", "steam"), "commodity"),
        (RULES.replace("months: 3", "months: 0"), "months"),
        (RULES.replace("up_to: 30,", "up_to: -1,"), "rules[1].up_to"),
        (RULES.replace("above: 30,", "above: 200,"), "rules[2]"),
        (RULES.replace("class: dc3", "klass: dc3"), "rules[3].klass"),
        (RULES + "counts_free: maybe\n", "counts_free"),
        ("commodity: gas\nrules: []\n", "rules"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text: str, field: str | None) -> None:
    with pytest.raises(Refused) as refused:
        read_class_rules(text)

    assert refused.value.code == "class_rules_invalid"
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("count", "expected"), [(0, (2026, 2)), (1, (2026, 1)), (2, (2025, 12)), (14, (2024, 12))]
)
def test_months_are_counted_back_over_the_years_end(count: int, expected: tuple[int, int]) -> None:
    assert months_before(2026, 2, count) == expected

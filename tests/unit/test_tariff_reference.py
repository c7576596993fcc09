"""The page about the tariff language: examples are read, cases come out, every key is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from slotmeter.units import Money, epoch_us
from slotmeter.vending.pricing.conformance import Published, check_case
from slotmeter.vending.pricing.intervals import Interval, price_intervals
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.keys import KEYS, RESERVED_CODES
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.problems import TariffProblems
from slotmeter.vending.tariff.reader import check_tariff

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "tariffs.md").read_text()

BLOCK = re.compile(r"^```yaml ?([a-z ]*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
KEY_TABLE = re.compile(r"^<!-- keys: ([a-z, ]+) -->\n\n((?:\|.*\n)+)", re.MULTILINE)
HEAD = {
    "tariff": "tariff: example",
    "title": "title: Example",
    "commodity": "commodity: electricity",
    "currency": "currency: KES",
    "energy": "energy: {price: 2}",
}


@dataclass(frozen=True, slots=True)
class Example:
    """One YAML block of the page, completed, and what is said under it."""

    line: int
    kind: str
    text: str
    rows: tuple[tuple[str, str], ...]
    refusal: str

    def __str__(self) -> str:
        return f"line {self.line}"


def examples() -> Iterator[Example]:
    for found in BLOCK.finditer(PAGE):
        after = PAGE[found.end() :].lstrip("\n")
        rows: list[tuple[str, str]] = []
        if after.startswith("| case |"):
            for row in after.splitlines()[2:]:
                if not row.startswith("|"):
                    break
                _, case, result, _ = (cell.strip() for cell in row.split("|"))
                rows.append((case, result))
        refusal = after.splitlines()[0] if found[1] == "refused" else ""
        yield Example(
            PAGE.count("\n", 0, found.start()) + 1,
            found[1],
            completed(found[2], found[1]),
            tuple(rows),
            refusal,
        )


def completed(text: str, kind: str) -> str:
    if kind == "first release":
        return text
    missing = [line for key, line in HEAD.items() if not re.search(rf"^{key}:", text, re.MULTILINE)]
    return "\n".join([*missing, text])


EXAMPLES = list(examples())
GOOD = [example for example in EXAMPLES if not example.refusal]
REFUSED = [example for example in EXAMPLES if example.refusal]


@pytest.mark.parametrize("example", GOOD, ids=str)
def test_an_example_can_be_read_and_is_not_warned_of(example: Example) -> None:
    assert check_tariff(example.text).warnings == ()


CASES = [
    pytest.param(example, case, result, id=f"{example}: {case}")
    for example in GOOD
    for case, result in example.rows
    if not case.startswith("use ")
]


def pairs(cell: str) -> dict[str, str]:
    """Read ``tender 500, connection 15 mm`` as names and values."""
    return {name: value for name, _, value in (part.partition(" ") for part in cell.split(", "))}


def kind_of(inputs: dict[str, str]) -> str:
    if "tender" in inputs:
        return "money_to_units"
    if "name" in inputs:
        return "rate_with_vat"
    return "volume_to_energy" if "m3" in inputs else "units_to_money"


@pytest.mark.parametrize(("example", "case", "result"), CASES)
def test_a_case_of_the_page_comes_out_as_it_says(example: Example, case: str, result: str) -> None:
    inputs = pairs(case)
    published = Published(check_tariff(example.text).tariff)

    checked = check_case(published, {"kind": kind_of(inputs), **inputs, "expect": pairs(result)})

    assert checked.differences == ()
    assert checked.unused == ()


USES = [
    pytest.param(example, case.removeprefix("use "), result, id=f"{example}: {case}")
    for example in GOOD
    for case, result in example.rows
    if case.startswith("use ")
]


@pytest.mark.parametrize(("example", "case", "result"), USES)
def test_use_that_is_measured_costs_what_the_page_says(
    example: Example, case: str, result: str
) -> None:
    tariff = check_tariff(example.text).tariff
    span, units = case.split(" ")
    start_us, end_us = (local_us(text, tariff) for text in span.split("/"))
    situation = Situation(start_us, tariff.time_zone or "")

    bill = price_intervals(tariff, [Interval(start_us, end_us, int(units) * 1_000)], situation)

    found = {code: str(part.units // 1_000) for code, part in bill.parts.items()}
    assert found | {"total": str(Money(bill.total_minor, tariff.currency))} == pairs(result)


def local_us(text: str, tariff: Tariff) -> int:
    return epoch_us(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tariff.time_zone or "")))


@pytest.mark.parametrize("example", REFUSED, ids=str)
def test_an_example_of_what_is_refused_is_refused_as_the_page_says(example: Example) -> None:
    said = re.fullmatch(r"> `([^`]+)`: (.*)", example.refusal)
    assert said is not None

    with pytest.raises(TariffProblems) as refused:
        check_tariff(example.text)

    problems = refused.value.problems
    assert [problem["path"] for problem in problems] == [said[1]]
    assert said[2] in str(problems[0]["message"])


def test_every_key_that_the_reader_knows_is_on_the_page_and_no_other() -> None:
    documented: dict[str, set[str]] = {}
    for found in KEY_TABLE.finditer(PAGE):
        cells = [row.split("|")[1] for row in found[2].splitlines()[2:]]
        keys = {key for cell in cells for key in re.findall(r"`([a-z_0-9]+)`", cell)}
        for kind in found[1].split(", "):
            documented[kind] = keys

    assert documented == {kind: set(keys) for kind, keys in KEYS.items()}


def test_every_key_of_the_language_is_in_an_example() -> None:
    shown = "\n".join(example.text for example in GOOD)
    keys = {key for keys in KEYS.values() for key in keys}

    assert {key for key in keys if not re.search(rf"\b{key}:\s", shown)} == set()


def test_the_names_that_mean_something_are_all_on_the_page() -> None:
    listed = PAGE[PAGE.index("- **Names**") : PAGE.index("- **Lists**")]

    assert set(re.findall(r"`([a-z_]{2,})`", listed)) >= RESERVED_CODES


def test_links_within_the_page_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }

    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) - headings == set()

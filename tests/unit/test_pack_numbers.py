"""One more in the last digit of any number of any pack is noticed by a case, or listed here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.tariff_packs import pack_texts
from slotmeter.vending.pricing.conformance import Published, check_case
from slotmeter.vending.tariff.reader import read_tariff

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def entries(name: str) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in json.loads((VECTORS / name).read_text())["tariffs"]}


ENTRIES = entries("tariffs.json")
BY_HAND = entries("tariffs-by-hand.json")

NUMBER = re.compile(r"(?<=[:\[ ])-?[0-9]+(?:\.[0-9]+)?(?=[,}\]\n ])")
NOT_NUMBERS = re.compile(r"^(?:#.*|source:.*|title:.*|tariff:.*|valid_until:.*|.*when:.*)$")
LABEL = re.compile(r"label: [^,}\n]*")

NO_CASE_NOTICES = {
    "za-thornhill-prepaid-2018-19": {
        "rounding: {unit_step: 0.01, units: down, lines: half_up, price_step: 0.0001} 0.0001": (
            "all five prices with VAT end in an even digit, so that steps of 0.0002 give the same"
        ),
    },
    "za-capetown-domestic-2010-11": {
        "rounding: {unit_step: 0.1, units: half_up, lines: half_up, price_step: 0.0001, "
        "fixed_step: 0.01} 0.01": "7.5012 is 7.50 in steps of 0.02 too",
    },
}
"""Numbers of packs whose last digit makes no difference to any case, and why."""

NO_PUBLISHED_CASE_NOTICES = {
    "ke-kplc-dc-fixed-charge-era": {
        "    - {to: 1500, price: 13.68} 1500": "no purchase reaches 1,500 kWh",
        "    - {price: 20.57} 20.57": "no purchase goes beyond 1,500 kWh",
    },
    "za-citypower-prepaid-2023-24": {
        "    - {to: 500, price: 2.4050} 500": "no bill reaches 500 kWh",
        "    - {to: 500, price: 2.4050} 2.4050": "24 kWh of it: 57.72 either way",
        "rounding: {unit_step: 0.1, units: half_up, lines: half_up, percent_of: rounded} 0.1": (
            "bills only"
        ),
    },
    "zw-zetdc-stepped-2019-11": {
        "    - {price: 3.87} 3.87": "whole kWh hide a cent",
        "rounding: {unit_step: 1, units: down, lines: half_up} 1": "all six are even",
    },
    "za-thornhill-prepaid-2018-19": {
        "    - {to: 2000, price: 1.5186} 2000": "the one purchase ends at 1,240 kWh",
        "    - {to: 3000, price: 1.7155} 3000": "the same",
        "    - {to: 3000, price: 1.7155} 1.7155": "the same",
        "    - {price: 1.8591} 1.8591": "the same",
        "  surcharge: {label: Surcharge, per_unit: 0.06, blocks: [2, 3, 4, 5]} 4": "the same",
        "rounding: {unit_step: 0.01, units: down, lines: half_up, price_step: 0.0001} 0.01": (
            "1,240.44 is even"
        ),
    },
    "za-umhlathuze-2024-25": {
        "    - {to: 50, price: 1.0793} 1.0793": "50 kWh cost 53.97 either way",
        "    - {to: 1500, price: 2.0546} 1500": "the one bill ends at 687 kWh",
        "    - {price: 2.3430} 2.3430": "the same",
        "rounding: {unit_step: 0.1, units: half_up, lines: half_up, percent_of: rounded} 0.1": (
            "bills only"
        ),
    },
    "za-capetown-water-level6b-2018": {
        "    - {to: 50, price: 800.00} 50": "the largest bill is 50 kl: more would only allow more",
        "rounding: {unit_step: 0.1, units: down, lines: half_up, price_step: 0.01} 0.1": (
            "bills only"
        ),
    },
    "gb-gas-volume-to-kwh": {
        "  calorific_value: 39.3 39.3": "each case brings its own calorific value",
        "  correction: 1.02264 1.02264": "a hundred-thousandth of it hides in two decimals",
    },
    "za-xmlvend-sample-receipts": {
        "  price: 1.00 1.00": "the messages do not say the price of a kWh",
        "rounding: {unit_step: 0.1, units: half_up, lines: half_up, split_by: tender} 0.1": (
            "nor the units"
        ),
    },
    "za-capetown-domestic-2010-11": {
        "rounding: {unit_step: 0.1, units: half_up, lines: half_up, price_step: 0.0001, "
        "fixed_step: 0.01} 0.1": "rates only",
    },
}
"""Numbers that published cases alone would let change by one in the last digit, and why."""


def numbers_of(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each number of a pack, as its line and itself, with its place in the text."""
    start = 0
    for line in text.splitlines(keepends=True):
        if NOT_NUMBERS.match(line.rstrip("\n")) is None:
            hidden = LABEL.sub(lambda label: "-" * len(label[0]), line)
            for found in NUMBER.finditer(hidden):
                name = f"{line.rstrip()} {found[0]}"
                yield name, start + found.start(), start + found.end()
        start += len(line)


def last_digit_up(number: str) -> str:
    """Return a number one greater in its last digit, with as many decimals."""
    whole, point, fraction = number.partition(".")
    digits = str(int(whole + fraction) + 1).rjust(len(fraction) + 1, "0")
    return f"{digits[: len(digits) - len(fraction)]}{point}{digits[len(digits) - len(fraction) :]}"


def notices(text: str, entry: dict[str, Any]) -> bool:
    """Say whether any case of a tariff fails, or cannot be run, with this text of its pack."""
    try:
        published = Published(read_tariff(text)[1], entry)
        return any(check_case(published, case).differences for case in entry["cases"])
    except Refused:
        return True


def unnoticed(code: str, *entries: dict[str, Any]) -> set[str]:
    """Return the numbers of a pack that may change by one in the last digit without a failure."""
    text = pack_texts()[code]
    return {
        name
        for name, start, end in numbers_of(text)
        if not any(
            notices(text[:start] + last_digit_up(text[start:end]) + text[end:], entry)
            for entry in entries
        )
    }


@pytest.mark.parametrize("code", pack_texts())
def test_one_more_in_the_last_digit_of_any_number_of_a_pack_fails(code: str) -> None:
    entries = [each[code] for each in (ENTRIES, BY_HAND) if code in each]

    assert unnoticed(code, *entries) == set(NO_CASE_NOTICES.get(code, ()))


@pytest.mark.parametrize("code", ENTRIES)
def test_published_cases_alone_leave_only_these_numbers_open(code: str) -> None:
    listed = {**NO_CASE_NOTICES.get(code, {}), **NO_PUBLISHED_CASE_NOTICES.get(code, {})}

    assert unnoticed(code, ENTRIES[code]) == set(listed)


@pytest.mark.parametrize(
    ("number", "more"), [("13.68", "13.69"), ("0.99", "1.00"), ("16", "17"), ("0.0001", "0.0002")]
)
def test_one_more_in_the_last_digit_keeps_the_decimals(number: str, more: str) -> None:
    assert last_digit_up(number) == more

"""Tariffs that were written from the page of the language alone come out as worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slotmeter.vending.pricing.conformance import Published, check_case
from slotmeter.vending.tariff.reader import check_tariff

FOLDER = Path(__file__).parents[1] / "vectors" / "from-the-page"
ENTRIES: list[dict[str, Any]] = json.loads((FOLDER / "cases.json").read_text())["tariffs"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry["id"]))
def test_cases_worked_out_by_hand_come_out(entry: dict[str, Any]) -> None:
    tariff = check_tariff((FOLDER / f"{entry['id']}.yaml").read_text()).tariff

    published = Published(tariff, entry)
    checked = [check_case(published, case) for case in entry["cases"]]

    assert checked
    assert [each.differences for each in checked if each.differences] == []


def test_every_tariff_has_cases() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {str(e["id"]) for e in ENTRIES}

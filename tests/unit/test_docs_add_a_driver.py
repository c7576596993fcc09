"""The driver of the how-to has at most forty lines and reads the octets of the sheet."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult, Outcome
from slotmeter.devices.driver_checks import RULES
from slotmeter.devices.drivers import Driver
from slotmeter.devices.entities import SupplyState
from slotmeter.testing.driver_contract import check_driver

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = (DOCS / "how-to" / "add-a-driver.md").read_text(encoding="utf-8")
SHEET = (DOCS / "reference" / "sheets" / "brightwell-bw15.md").read_text(encoding="utf-8")
DRIVER_LINES_MAX = 40


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def driver() -> Driver:
    (source,) = blocks(HOW_TO, "python")
    names: dict[str, object] = {}
    exec(compile(source, "add-a-driver.md", "exec"), names)  # noqa: S102  our own page
    made = names["DRIVER"]
    assert isinstance(made, Driver)
    return made


def test_the_driver_of_the_how_to_has_at_most_forty_lines() -> None:
    (source,) = blocks(HOW_TO, "python")

    assert len(source.splitlines()) <= DRIVER_LINES_MAX


def test_the_driver_of_the_how_to_keeps_the_contract(driver: Driver) -> None:
    check_driver(driver)


def test_the_status_report_of_the_sheet_reads_as_the_sheet_says(driver: Driver) -> None:
    report_octets, command_octets = blocks(SHEET, "text")

    report = driver.decode("frames", bytes.fromhex(report_octets))

    assert report.serial == "17204318772"
    assert report.measured_at == datetime(2026, 9, 21, 12, 0, tzinfo=UTC)
    assert {each.register: each.value for each in report.readings} == {
        "volume": 1_234_560_000,
        "flow": 18_500,
        "battery": 97,
    }
    assert (report.supply, report.tamper) == (SupplyState.ON, False)
    assert report.results == (CommandResult(7, Outcome.DONE),)
    closing = CommandOut(8, CommandKind.CLOSE_VALVE)
    assert driver.encode((closing,)) == bytes.fromhex(command_octets)


def test_the_how_to_names_every_rule_of_the_contract() -> None:
    named = re.findall(r"^\| (\w+) \| [^|]+\? \|$", HOW_TO, flags=re.MULTILINE)

    assert named == [rule.name for rule in RULES]

"""The driver at the end of the second practice sheet reads and writes what the sheet shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult, Outcome
from slotmeter.devices.drivers import Driver
from slotmeter.devices.entities import SupplyState
from slotmeter.testing.driver_contract import check_driver

SHEETS = Path(__file__).parents[2] / "docs" / "reference" / "sheets"
SHEET = (SHEETS / "tidemark-tm4.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SHEET, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def driver() -> Driver:
    (source,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(source, "tidemark-tm4.md", "exec"), names)  # noqa: S102  our own page
    made = names["DRIVER"]
    assert isinstance(made, Driver)
    return made


def test_the_driver_of_the_second_sheet_keeps_the_contract(driver: Driver) -> None:
    check_driver(driver)


def test_the_reports_of_the_second_sheet_read_as_it_says(driver: Driver) -> None:
    first, second = (bytes.fromhex(text) for text in blocks("text")[:2])

    opened, tampered = driver.decode("frames", first), driver.decode("frames", second)

    assert opened.serial == tampered.serial == "07314159265"
    assert {each.register: each.value for each in opened.readings} == {
        "volume": 12_345_670_000,
        "temperature": 270_650,
        "battery_voltage": 3_550,
        "valve_position": 100,
    }
    assert {each.register: each.value for each in tampered.readings} == {
        "volume": 12_345_680_000,
        "battery_voltage": 3_100,
        "valve_position": 40,
    }
    assert (opened.supply, opened.tamper) == (SupplyState.ON, False)
    assert (tampered.supply, tampered.tamper) == (SupplyState.ON, True)
    assert opened.results == (CommandResult(9, Outcome.DONE),)
    assert tampered.results == (CommandResult(10, Outcome.REJECTED),)


def test_the_volume_of_the_second_sheet_turns_after_eight_digits(driver: Driver) -> None:
    assert driver.entity("volume").wrap == 10**8 * 10_000


def test_the_commands_of_the_second_sheet_are_written_as_it_shows(driver: Driver) -> None:
    partly, shut = (bytes.fromhex(text) for text in blocks("text")[2:])

    assert driver.encode((CommandOut(10, CommandKind.SET_VALVE, value=40),)) == partly
    assert driver.encode((CommandOut(12, CommandKind.CLOSE_VALVE),)) == shut

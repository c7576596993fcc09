"""Every driver of every installed pack, and what a pack may not do to the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices.commands import CREDIT_MODES
from slotmeter.devices.drivers import Driver
from slotmeter.errors import ConfigError
from slotmeter.ports import Row
from slotmeter.services.command_proof import Shown, shown_by
from slotmeter.services.driver_packs import find_drivers, installed_packs, load_drivers
from slotmeter.testing.driver_contract import (
    check_commands_encode,
    check_declaration,
    check_decode_is_total,
    check_disturbed_frames,
    check_driver,
    check_examples_decode,
    drivers_of,
)

DRIVERS = [driver for pack in installed_packs() for driver in drivers_of(pack.module)]
SLOPPY = Path(__file__).parents[1] / "fixtures" / "sloppy"


def commands_for(stated: Mapping[str, int]) -> dict[str, Row]:
    """The commands after which a meter says of its settings what an example states."""
    asked: dict[str, Row] = {}
    for name, value in stated.items():
        if name == "credit_mode":
            asked[name] = {"kind": "set_credit_mode", "text": CREDIT_MODES[value]}
        elif name == "tariff":
            asked[name] = {"kind": "set_tariff", "text": str(value)}
        elif name == "load_limit":
            asked[name] = {"kind": "set_load_limit", "value": value}
    return asked


each_driver = pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: str(driver.key))


def test_the_pack_that_comes_with_slotmeter_is_found_whole() -> None:
    found = find_drivers(["slotmeter_drivers"])

    assert "slotmeter_virtual" in found.drivers
    assert found.broken == {}


@each_driver
def test_a_driver_declares_what_the_platform_knows(driver: Driver) -> None:
    check_declaration(driver)


@each_driver
def test_every_example_decodes_to_the_values_it_states(driver: Driver) -> None:
    check_examples_decode(driver)


@each_driver
def test_every_declared_command_encodes(driver: Driver) -> None:
    check_commands_encode(driver)


@each_driver
def test_disturbed_frames_are_refused_or_read_but_never_a_crash(driver: Driver) -> None:
    check_disturbed_frames(driver)


@each_driver
def test_a_setting_that_an_example_states_proves_the_command_for_it(driver: Driver) -> None:
    for example in driver.examples:
        report = driver.decode(example.path, example.payload)
        readings = {each.register: each.value for each in report.readings}
        shown = Shown(None, None, readings, measured_us=0, received_us=0)
        for name, command in commands_for(example.counted()).items():
            assert shown_by(command, shown) is not None, name


@each_driver
@given(payload=st.binary(max_size=300))
def test_random_bytes_are_refused_or_read_but_never_a_crash(driver: Driver, payload: bytes) -> None:
    check_decode_is_total(driver, driver.examples[0].path, payload)


@each_driver
@given(data=st.data())
def test_an_example_with_bytes_changed_is_refused_or_read_but_never_a_crash(
    driver: Driver, data: st.DataObject
) -> None:
    example = data.draw(st.sampled_from(driver.examples))
    payload = bytearray(example.payload)
    for _ in range(data.draw(st.integers(1, 6))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

    check_decode_is_total(driver, example.path, bytes(payload))


# --- packs --------------------------------------------------------------------------------------

GOOD = """
from slotmeter_drivers.slotmeter_virtual import DRIVER as BASE
from dataclasses import replace
DRIVER = replace(BASE, key="{key}")
"""


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package without modules, for packs that a test makes up."""
    folder = tmp_path / "pack_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith("pack_of_a_test")]:
        del sys.modules[name]


def test_a_module_that_fails_is_named_and_does_not_take_the_others_down(pack: Path) -> None:
    (pack / "good.py").write_text(GOOD.format(key="good"))
    (pack / "broken.py").write_text("raise RuntimeError('no such table')")
    (pack / "odd.py").write_text("DRIVER = 5")

    found = find_drivers(["pack_of_a_test"])

    assert set(found.drivers) == {"good"}
    assert "no such table" in found.broken["pack_of_a_test.broken"]
    assert "expected a Driver" in found.broken["pack_of_a_test.odd"]


def test_a_pack_that_is_not_installed_is_named(pack: Path) -> None:
    found = find_drivers(["no_such_pack", pack.name])

    assert set(found.broken) == {"no_such_pack"}


def test_two_drivers_with_one_key_are_refused(pack: Path) -> None:
    (pack / "first.py").write_text(GOOD.format(key="same"))
    (pack / "second.py").write_text(GOOD.format(key="same"))

    with pytest.raises(ConfigError, match=r"pack_of_a_test\.first and pack_of_a_test\.second"):
        find_drivers(["pack_of_a_test"])


# --- sloppy packs -------------------------------------------------------------------------------


@pytest.fixture
def sloppy(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Driver]]:
    """The drivers of a pack that nobody should use, by their key's last words."""
    monkeypatch.syspath_prepend(str(SLOPPY))
    yield {driver.key.removeprefix("sloppy_"): driver for driver in drivers_of("sloppy_drivers")}
    for name in [name for name in sys.modules if name.startswith("sloppy_drivers")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty_frame", r"decode: an empty frame: decode raised IndexError"),
        ("wrong_unit", r"declaration: energy_import is counted in Wh, and '0.01 m³' is mL"),
        ("wrong_unit", r"examples: .*stated 258000 Wh, decoded 258 Wh"),
        ("wrong_command", r"commands: close_valve \(id 1\): encoded, it reads as open_valve"),
        ("wrong_command", r"commands: read_now .*decode_command refuses what encode wrote"),
    ],
)
def test_a_sloppy_driver_is_refused_with_its_reason(
    sloppy: dict[str, Driver], name: str, reason: str
) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_driver(sloppy[name])


@pytest.mark.usefixtures("sloppy")
def test_a_sloppy_pack_is_not_loaded_and_its_neighbours_are() -> None:
    found = find_drivers(["sloppy_drivers", "slotmeter_drivers"])

    assert found.drivers.keys() == load_drivers().keys()
    assert found.refused.keys() == found.broken.keys()
    assert {name.rpartition(".")[2] for name in found.refused} == {
        *("empty_frame", "wrong_unit", "wrong_command"),
    }


def test_a_driver_of_its_own_mind_breaks_one_rule_and_is_told_which(pack: Path) -> None:
    twisted = GOOD.format(key="twisted") + "DRIVER = replace(DRIVER, decode_command=None)\n"
    (pack / "twisted.py").write_text(twisted)

    found = find_drivers(["pack_of_a_test"])

    (problem,) = found.refused["pack_of_a_test.twisted"]
    assert problem.rule == "commands"
    assert "decode_command" in problem.text

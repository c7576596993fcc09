"""What ``slotmeter driver new`` writes: a driver with its example, and a pack around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.checksums import Checksum, checksum
from slotmeter.units import Commodity

__all__ = ["NewDriver", "module_text", "pack_texts"]


@dataclass(frozen=True, slots=True)
class NewDriver:
    """What is known of a driver that is to be written."""

    key: str
    maker: str
    model: str
    medium: str
    commodity: Commodity

    @property
    def package(self) -> str:
        """The package of a pack of its own."""
        return f"{self.key.partition('_')[0]}_drivers"


@dataclass(frozen=True, slots=True)
class _Sample:
    """A frame to start from, for one commodity."""

    fields: str
    values: str
    octets: bytes
    cut: str
    restore: str


_MODULE: Final = '''\
"""{maker} {model}. Source: name the maker's document and its version here."""

from slotmeter.devices import octets
from slotmeter.devices.octets import Checksum, CommandKind, Commodity, Example, SupplyState

FRAME = octets.frame(
    15,
    octets.Mark(0, b"\\x01"),
    octets.Check(Checksum.CRC16_MODBUS, 13, order="little"),
    octets.Clock(1),
{fields}
    octets.Supply(12, {{0: SupplyState.OFF, 1: SupplyState.ON}}),
)
COMMANDS = octets.CommandLayout(
    {{CommandKind.READ_NOW: 1, CommandKind.{cut}: 2, CommandKind.{restore}: 3}},
)
EXAMPLE = Example(
    note="supply is on",
    path="{path}",
    payload=bytes.fromhex("{payload}"),
    values={{{values}}},
    supply=SupplyState.ON,
)
DRIVER = octets.driver(
    FRAME,
    COMMANDS,
    key="{key}",
    maker="{maker}",
    model="{model}",
    medium="{medium}",
    commodities=frozenset({{Commodity.{commodity}}}),
    examples=(EXAMPLE,),
)
'''

_PATHS: Final[Mapping[str, str]] = {"ip": "frames"}
"""Where a medium's frames arrive."""

_CLOCK: Final = "6ab11c40"  # 2026-09-21 12:00 UTC in seconds since 1970

_FLOWING: Final = _Sample(
    fields="""\
    octets.Field("volume", 5, 4, "10 L"),
    octets.Field("flow", 9, 2, "L/h", signed=True),
    octets.Field("battery", 11, 1, "%"),""",
    values='"volume": "123.45 m³", "flow": "-12 L/h", "battery": "97 %"',
    octets=bytes.fromhex(f"01{_CLOCK}00003039fff46101"),
    cut="CLOSE_VALVE",
    restore="OPEN_VALVE",
)

_SAMPLES: Final[Mapping[Commodity, _Sample]] = {
    Commodity.ELECTRICITY: _Sample(
        fields="""\
    octets.Field("energy_import", 5, 4, "0.01 kWh"),
    octets.Field("voltage", 9, 2, "0.1 V"),
    octets.Field("current", 11, 1, "0.5 A"),""",
        values='"energy_import": "123.45 kWh", "voltage": "231.7 V", "current": "4.5 A"',
        octets=bytes.fromhex(f"01{_CLOCK}00003039090d0901"),
        cut="OPEN_RELAY",
        restore="CLOSE_RELAY",
    ),
    Commodity.WATER: _FLOWING,
    Commodity.GAS: _FLOWING,
}

_PROJECT: Final = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = "Drivers of {maker} meters for slotmeter"
requires-python = ">=3.11"
dependencies = ["slotmeter"]

[project.entry-points."slotmeter.drivers"]
{package} = "{package}"

[tool.setuptools]
packages = ["{package}"]
"""

_README: Final = """\
# {maker} meters for slotmeter

Each module of `{package}` that has a `DRIVER` is a driver; a new one is a new file, nothing else.

```sh
slotmeter driver check .    # does every driver keep the contract?
pip install .               # slotmeter finds the pack by its entry point; -e . while you work on it
slotmeter driver list       # then start the server anew
```
"""

_PACKAGE: Final = '''\
"""Drivers of {maker} meters: one small module per model."""
'''

_TESTS: Final = '''\
"""Every driver of the pack meets the contract that slotmeter relies on."""

import pytest

from slotmeter.devices.drivers import Driver
from slotmeter.testing.driver_contract import check_driver, drivers_of


@pytest.mark.parametrize("driver", drivers_of("{package}"), ids=lambda driver: driver.key)
def test_the_driver_meets_the_contract(driver: Driver) -> None:
    check_driver(driver)
'''


def module_text(wanted: NewDriver) -> str:
    """Return the module of a driver that keeps the contract."""
    sample = _SAMPLES[wanted.commodity]
    check = checksum(Checksum.CRC16_MODBUS, sample.octets).to_bytes(2, "little")
    return _MODULE.format(
        key=wanted.key,
        maker=wanted.maker,
        model=wanted.model,
        medium=wanted.medium,
        path=_PATHS.get(wanted.medium, "m"),
        commodity=wanted.commodity.name,
        fields=sample.fields,
        values=sample.values,
        cut=sample.cut,
        restore=sample.restore,
        payload=(sample.octets + check).hex(),
    )


def pack_texts(wanted: NewDriver) -> dict[str, str]:
    """Return every file of a pack with one driver, by its path in the pack's folder."""
    package = wanted.package
    words = {"package": package, "maker": wanted.maker, "name": package.replace("_", "-")}
    return {
        "pyproject.toml": _PROJECT.format(**words),
        "README.md": _README.format(**words),
        f"{package}/__init__.py": _PACKAGE.format(**words),
        f"{package}/{wanted.key}.py": module_text(wanted),
        "tests/test_drivers.py": _TESTS.format(**words),
    }

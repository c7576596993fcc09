"""Find the drivers of all installed packs.

A pack is a package named by an entry point of the group ``slotmeter.drivers``; each of its modules
that has a ``DRIVER`` is a driver.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType, ModuleType
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.errors import ConfigError
from slotmeter.ports import Read, UnitOfWork

__all__ = ["DRIVER_GROUP", "FoundDrivers", "check_drivers", "find_drivers", "load_drivers"]

DRIVER_GROUP: Final = "slotmeter.drivers"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundDrivers:
    """What the packs hold.

    Args:
        drivers: by key.
        broken: module name to the reason why it could not be used.
    """

    drivers: Mapping[str, Driver]
    broken: Mapping[str, str]


def load_drivers() -> Mapping[str, Driver]:
    """Return every driver of every installed pack by key; a broken module is logged and left out.

    Raises:
        ConfigError: ``driver_key_doubled``.
    """
    names = sorted({point.value for point in entry_points(group=DRIVER_GROUP)})
    found = find_drivers(names)
    for module, reason in found.broken.items():
        _log.error("driver module %s cannot be used: %s", module, reason)
    return found.drivers


async def check_drivers(uow: UnitOfWork, drivers: Mapping[str, Driver]) -> None:
    """Refuse to start while registered devices have a driver that is not there.

    Their frames would be answered and set aside, and their meters would forget what they told.

    Raises:
        ConfigError: ``driver_missing``, naming every such driver.
    """
    found = await uow.read([Read("ingest_drivers", {}, "drivers")])
    missing = [row for row in found["drivers"] if row["driver"] not in drivers]
    if missing:
        names = ", ".join(f"{row['driver']} ({row['devices']} devices)" for row in missing)
        raise ConfigError(
            "driver_missing",
            f"registered devices need drivers that are not installed or cannot be used: {names}; "
            "install their packs, and see the log for a driver that could not be loaded",
            details={"drivers": [row["driver"] for row in missing]},
        )


def find_drivers(packs: Sequence[str]) -> FoundDrivers:
    """Import every module of the named packages and collect their drivers.

    Raises:
        ConfigError: ``driver_key_doubled``: two modules claim one key.
    """
    drivers: dict[str, Driver] = {}
    owners: dict[str, str] = {}
    broken: dict[str, str] = {}
    for name, module in _modules(packs, broken):
        driver = getattr(module, "DRIVER", None)
        if driver is None:
            continue
        if not isinstance(driver, Driver):
            broken[name] = f"DRIVER is a {type(driver).__name__}, expected a Driver"
        elif driver.key in drivers:
            raise ConfigError(
                "driver_key_doubled",
                f"drivers {owners[driver.key]} and {name} both have the key {driver.key!r}",
            )
        else:
            drivers[driver.key], owners[driver.key] = driver, name
    return FoundDrivers(MappingProxyType(drivers), MappingProxyType(broken))


def _modules(packs: Sequence[str], broken: dict[str, str]) -> Iterator[tuple[str, ModuleType]]:
    """Yield the modules that can be imported and note why others cannot."""
    for pack in packs:
        package = _import(pack, broken)
        if package is None:
            continue
        yield pack, package
        for info in pkgutil.iter_modules(getattr(package, "__path__", ())):
            name = f"{pack}.{info.name}"
            module = _import(name, broken)
            if module is not None:
                yield name, module


def _import(name: str, broken: dict[str, str]) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001  a third party's module may fail in any way
        broken[name] = f"{type(error).__name__}: {error}"
        return None

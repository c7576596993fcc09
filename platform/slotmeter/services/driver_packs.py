"""Find the drivers of all installed packs, and leave out those that break the contract.

A pack is a package named by an entry point of the group ``slotmeter.drivers``; each of its modules
that has a ``DRIVER`` is a driver. A driver that reads its own example wrongly would bill wrongly:
it is refused with reasons before it reads a frame of a meter.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Final

from slotmeter.devices.driver_checks import Problem, problems_of
from slotmeter.devices.drivers import Driver
from slotmeter.errors import ConfigError
from slotmeter.ports import Read, UnitOfWork

__all__ = [
    "DRIVER_GROUP",
    "FoundDrivers",
    "Pack",
    "admission",
    "check_drivers",
    "find_drivers",
    "installed_packs",
    "load_drivers",
    "load_packs",
]

DRIVER_GROUP: Final = "slotmeter.drivers"

Admission = Callable[[Driver], tuple[Problem, ...]]
"""Says what is wrong with a driver; nothing admits it."""

_asked: Final[dict[int, tuple[Driver, tuple[Problem, ...]]]] = {}  # by identity, and kept for it

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pack:
    """An installed pack.

    Args:
        module: the package that holds the drivers.
        distribution: what was installed, with its version; empty when nobody says.
    """

    module: str
    distribution: str


@dataclass(frozen=True, slots=True)
class FoundDrivers:
    """What the packs hold.

    Args:
        drivers: by key.
        broken: module name to the reason why it could not be used.
        modules: key to the module that has it.
        refused: module name to what is wrong with its driver; these are in ``broken`` as well.
    """

    drivers: Mapping[str, Driver]
    broken: Mapping[str, str]
    modules: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)


def installed_packs() -> tuple[Pack, ...]:
    """Return every installed pack, by the name of its package."""
    found = {
        point.value: f"{point.dist.name} {point.dist.version}" if point.dist else ""
        for point in entry_points(group=DRIVER_GROUP)
    }
    return tuple(Pack(module, found[module]) for module in sorted(found))


def load_drivers() -> Mapping[str, Driver]:
    """Return every driver of every installed pack by key; see :func:`load_packs`."""
    return load_packs().drivers


def load_packs() -> FoundDrivers:
    """Return what all installed packs hold.

    A module that cannot be used and a driver that breaks the contract are logged and left out.

    Raises:
        ConfigError: ``driver_key_doubled``.
    """
    found = find_drivers([pack.module for pack in installed_packs()])
    for module, reason in found.broken.items():
        _log.error("driver module %s cannot be used: %s", module, reason)
    return found


def admission(driver: Driver) -> tuple[Problem, ...]:
    """Return what is wrong with a driver, asked once in the life of the process."""
    if id(driver) not in _asked:
        _asked[id(driver)] = driver, problems_of(driver)
    return _asked[id(driver)][1]


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


def find_drivers(packs: Sequence[str], *, admit: Admission | None = admission) -> FoundDrivers:
    """Import every module of the named packages and collect their drivers.

    Args:
        packs: names of packages.
        admit: says what is wrong with a driver, which is then left out; None takes all.

    Raises:
        ConfigError: ``driver_key_doubled``: two modules claim one key.
    """
    drivers: dict[str, Driver] = {}
    owners: dict[str, str] = {}
    refused: dict[str, tuple[Problem, ...]] = {}
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
        elif problems := admit(driver) if admit else ():
            refused[name] = problems
            broken[name] = "; ".join(f"{each.rule}: {each.text}" for each in problems)
        else:
            drivers[driver.key], owners[driver.key] = driver, name
    return FoundDrivers(
        MappingProxyType(drivers),
        MappingProxyType(broken),
        MappingProxyType(owners),
        MappingProxyType(refused),
    )


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
        broken[name] = _reason(name, error)
        return None


def _reason(name: str, error: Exception) -> str:
    """Return what went wrong, in which line of the pack, and what helps."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return reason  # says where by itself
    if isinstance(error, ModuleNotFoundError) and error.name != name:
        return f"{reason}; install the package that has it (for slotmeter's own: slotmeter[all])"
    frames = traceback.extract_tb(error.__traceback__)
    file_name = f"{name.rpartition('.')[2]}.py"
    lines = [each.lineno for each in frames if Path(each.filename).name == file_name]
    return f"{reason} ({file_name}, line {lines[-1]})" if lines else reason

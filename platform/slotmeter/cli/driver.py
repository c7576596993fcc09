"""``slotmeter driver``: the drivers that are installed, whether they are right, and new ones."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.driver_new import register_new

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.devices.drivers import Driver
    from slotmeter.services.driver_packs import FoundDrivers, Pack

__all__ = ["register"]

_CHECK = """\
Ask every driver of a pack whether it keeps the contract that the platform relies on: it declares
what the platform knows, its examples decode to what they state, no frame makes it fail, and its
commands read back as they were meant. A driver that breaks a rule is not used by `slotmeter serve`.

PACK is the name of an installed pack or of its package, a folder with a pyproject.toml, the folder
of a package, or one module (a .py file). Without it all installed packs are checked.
"""

_CHECK_CODES = """\
exit codes: 0 every driver keeps the contract, 1 one does not or there is none, 2 wrong usage

how to write a driver: docs/how-to/add-a-driver.md
"""


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "driver",
        help="list, check and start drivers of meters",
        description="Drivers say how a meter model's frames read. They come in packs, installed "
        "with pip. No data folder is needed. How to write one: docs/how-to/add-a-driver.md.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="list the drivers of all installed packs")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)

    check = actions.add_parser(
        "check",
        help="check the drivers of a pack against the contract",
        description=_CHECK,
        epilog=_CHECK_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("pack", metavar="PACK", nargs="?", help="a pack, a folder or a module")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)

    register_new(actions)


def _list(options: argparse.Namespace) -> int:
    from slotmeter.services.driver_packs import find_drivers, installed_packs

    packs = installed_packs()
    found = find_drivers([pack.module for pack in packs])
    if options.json:
        print(json.dumps(_document(found, packs), ensure_ascii=False, indent=2))
        return EXIT_OK
    if not found.drivers:
        print("no driver is installed")
    rows = [_row(driver, found.modules[key]) for key, driver in sorted(found.drivers.items())]
    _table(("key", "maker and model", "media", "meters", "pack"), rows)
    for module, reason in sorted(found.broken.items()):
        print(f"\n{module} is not used: {reason}")
    return EXIT_OK


def _row(driver: Driver, module: str) -> tuple[str, ...]:
    return (
        driver.key,
        f"{driver.maker} {driver.model}",
        ", ".join((driver.medium, *driver.media)),
        ", ".join(sorted(driver.commodities)),
        module.partition(".")[0],
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _document(found: FoundDrivers, packs: Iterable[Pack]) -> dict[str, Any]:
    distributions = {pack.module: pack.distribution for pack in packs}
    return {
        "drivers": [
            {
                "key": key,
                "maker": driver.maker,
                "model": driver.model,
                "media": [driver.medium, *driver.media],
                "commodities": sorted(driver.commodities),
                "registers": list(driver.registers),
                "commands": sorted(driver.commands),
                "examples": len(driver.examples),
                "module": found.modules[key],
                "distribution": distributions.get(found.modules[key].partition(".")[0], ""),
            }
            for key, driver in sorted(found.drivers.items())
        ],
        "not_used": dict(found.broken),
    }


def _check(options: argparse.Namespace) -> int:
    from slotmeter.cli.driver_source import drivers_at

    found = drivers_at(options.pack)
    good = not found.broken and bool(found.drivers)
    if options.json:
        print(json.dumps(_verdicts(found), ensure_ascii=False, indent=2))
        return EXIT_OK if good else EXIT_FAILED
    for key, driver in sorted(found.drivers.items()):
        examples = len(driver.examples) + len(driver.command_examples)
        registers, commands = len(driver.registers), len(driver.commands)
        print(
            f"{found.modules[key]}: {key} keeps the contract ({examples} examples, "
            f"{registers} registers, {commands} commands)"
        )
    for module in sorted(found.broken):
        if module not in found.refused:
            print(f"{module}: cannot be used: {found.broken[module]}")
            continue
        print(f"{module}: refused")
        for problem in found.refused[module]:
            print(f"  {problem.rule}: {problem.text}")
    if not found.drivers and not found.broken:
        print("no module has a DRIVER")
    return EXIT_OK if good else EXIT_FAILED


def _verdicts(found: FoundDrivers) -> dict[str, Any]:
    return {
        "kept": [{"key": key, "module": found.modules[key]} for key in sorted(found.drivers)],
        "refused": [
            {
                "module": module,
                "problems": [
                    {"rule": each.rule, "text": each.text} for each in found.refused.get(module, ())
                ]
                or [{"rule": "module", "text": found.broken[module]}],
            }
            for module in sorted(found.broken)
        ],
    }

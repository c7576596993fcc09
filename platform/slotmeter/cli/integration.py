"""``slotmeter integration``: what is installed, how good it says it is, and whether that holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.errors import Refused

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.integrations import FoundIntegrations, Integration

__all__ = ["register"]


def register(subparsers: Subparsers) -> None:
    """Add ``integration``."""
    parser = subparsers.add_parser(
        "integration",
        help="installed media and packs of drivers, and their quality",
        description="Manifests and the quality scale: docs/reference/integrations.md. No data "
        "folder is needed.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list what is installed")
    listing.set_defaults(run=_list)
    checking = actions.add_parser(
        "check", help="hold manifests and quality scales against what can be seen"
    )
    checking.add_argument("key", metavar="KEY", nargs="?", help="one integration; all if left out")
    checking.add_argument(
        "--tree",
        type=Path,
        metavar="DIR",
        help="source tree to look up pages and tests in",
    )
    checking.set_defaults(run=_check)
    for each in (listing, checking):
        each.add_argument("--json", action="store_true", help="print JSON")


def _list(options: argparse.Namespace) -> int:
    from slotmeter.services.integrations import find_integrations

    found = find_integrations()
    if options.json:
        print(json.dumps(_document(found), indent=2, ensure_ascii=False))
        return EXIT_OK
    for each in found.integrations.values():
        manifest = each.manifest
        missing = f"; missing: {', '.join(each.missing)}" if each.missing else ""
        print(
            f"{manifest.key:24} {manifest.kind:8} {manifest.version:10} "
            f"{manifest.quality:13} {manifest.name}{missing}"
        )
    for package, error in found.broken.items():
        print(f"{package:24} cannot be read: {error.field}: {error.message} ({error.code})")
    return EXIT_OK


def _document(found: FoundIntegrations) -> dict[str, Any]:
    return {
        "integrations": [
            {
                "key": each.manifest.key,
                "kind": each.manifest.kind.value,
                "name": each.manifest.name,
                "version": each.manifest.version,
                "package": each.package,
                "quality": each.manifest.quality.value,
                "missing": list(each.missing),
            }
            for each in found.integrations.values()
        ],
        "broken": {
            package: {"code": error.code, "field": error.field, "message": error.message}
            for package, error in found.broken.items()
        },
    }


def _check(options: argparse.Namespace) -> int:
    from slotmeter.services.integrations import find_integrations
    from slotmeter.services.quality_scale import check_integration

    found = find_integrations()
    chosen = _chosen(found, options.key)
    findings: dict[str, list[dict[str, str]]] = {}
    for each in chosen:
        what = check_integration(each, _contract_faults(each), tree=options.tree)
        findings[each.manifest.key] = [
            {"code": one.code, "where": one.where, "text": one.text} for one in what
        ]
    if options.key is None:
        for package, error in found.broken.items():
            line = {"code": error.code, "where": error.field or "", "text": error.message}
            findings[package] = [line]
    if options.json:
        print(json.dumps(findings, indent=2, ensure_ascii=False))
    else:
        _say(findings)
    return EXIT_FAILED if any(findings.values()) else EXIT_OK


def _say(findings: dict[str, list[dict[str, str]]]) -> None:
    for key, lines in findings.items():
        print(f"{key}: {f'{len(lines)} to mend' if lines else 'holds'}")
        for line in lines:
            print(f"  {line['where']}: {line['text']} ({line['code']})")


def _chosen(found: FoundIntegrations, key: str | None) -> list[Integration]:
    if key is None:
        return list(found.integrations.values())
    if key in found.integrations:
        return [found.integrations[key]]
    if key in found.broken:
        raise found.broken[key]
    known = ", ".join([*found.integrations, *found.broken]) or "none"
    raise Refused("integration_unknown", f"{key} is not installed; there are: {known}", field="KEY")


def _contract_faults(found: Integration) -> dict[str, str]:
    """Return what the contract of drivers finds in a pack."""
    from slotmeter.services.driver_packs import find_drivers
    from slotmeter.services.integrations import IntegrationKind

    if found.manifest.kind is not IntegrationKind.DRIVERS:
        return {}
    drivers = find_drivers([found.package])
    if drivers.broken:
        return {"worked-examples": "; ".join(map(": ".join, drivers.broken.items()))}
    return {} if drivers.drivers else {"worked-examples": "there is no driver in it"}

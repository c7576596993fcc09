"""Media, rules and consoles, found by entry point; none is imported before it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any, Final

from slotmeter.errors import ConfigError
from slotmeter.ports import Medium, RulePack

__all__ = ["consoles", "load_medium", "load_rules", "missing_requirements"]

MEDIA: Final = "slotmeter.media"
RULES: Final = "slotmeter.rules"
CONSOLES: Final = "slotmeter.consoles"

_REQUIREMENT: Final = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*).*;.*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]"
)


def load_medium(key: str) -> Medium:
    """Import the medium that an entry asks for.

    Raises:
        ConfigError: ``unknown_medium``, or ``extra_missing`` when a package it needs is not there.
    """
    found = {point.name: point for point in entry_points(group=MEDIA)}
    point = found.get(key)
    if point is None:
        known = ", ".join(sorted(found)) or "none"
        raise ConfigError(
            "unknown_medium",
            f"no installed package offers the medium {key}; installed: {known}",
            field="entry.medium",
        )
    medium: Medium = _load(point)
    return medium


def load_rules() -> RulePack:
    """Import the rules.

    Raises:
        ConfigError: ``no_rules`` or ``several_rules``.
    """
    found = sorted(entry_points(group=RULES), key=lambda point: point.name)
    if not found:
        raise ConfigError("no_rules", "no installed package offers rules; install slotmeter anew")
    # A pack of somebody else's replaces ours; two of them cannot both decide.
    others = [point for point in found if point.name != "builtin"]
    if len(others) > 1:
        names = ", ".join(point.name for point in others)
        raise ConfigError("several_rules", f"only one pack of rules can decide; found {names}")
    pack: RulePack = _load((others or found)[0])
    return pack


def consoles() -> Iterator[EntryPoint]:
    """Return programs that show the platform; they run as processes of their own."""
    yield from sorted(entry_points(group=CONSOLES), key=lambda point: point.name)


def missing_requirements(point: EntryPoint) -> list[str]:
    """Return the packages that the extra named like an entry point needs and that are not here."""
    requires = (point.dist.requires if point.dist is not None else None) or []
    matches = (_REQUIREMENT.match(line) for line in requires)
    wanted = [match["name"] for match in matches if match and match["extra"] == point.name]
    return [name for name in wanted if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as error:
        owner = point.dist.name if point.dist is not None else "slotmeter"
        raise ConfigError(
            "extra_missing",
            f"{point.name} needs the package {error.name}, which is not installed; "
            f"install {owner}[{point.name}]",
        ) from error

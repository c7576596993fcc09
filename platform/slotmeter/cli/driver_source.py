"""Where ``slotmeter driver check`` finds the drivers that it is asked about."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.errors import Refused

if TYPE_CHECKING:
    from slotmeter.services.driver_packs import FoundDrivers, Pack

__all__ = ["drivers_at"]


def drivers_at(pack: str | None) -> FoundDrivers:
    """Return the drivers of a pack, checked; of all installed packs without one.

    Args:
        pack: name of an installed pack or its package, a folder, or a module's file.

    Raises:
        Refused: ``pack_unknown`` or ``pack_unusable``.
        ConfigError: ``driver_key_doubled``.
    """
    from slotmeter.services.driver_packs import find_drivers, installed_packs

    if pack is None:
        return find_drivers([each.module for each in installed_packs()])
    path = Path(pack)
    if path.suffix == ".py" or path.is_dir():
        if not path.exists():
            raise Refused("pack_unknown", f"there is no file {pack}", field="PACK")
        folder, modules = _places(path.resolve())
        sys.path[:0] = [str(each) for each in folder]
        importlib.invalidate_caches()
        return find_drivers(modules)
    return find_drivers([_installed(pack, installed_packs())])


def _installed(pack: str, installed: Sequence[Pack]) -> str:
    for each in installed:
        name = each.distribution.partition(" ")[0]
        if pack == each.module or _normal(pack) == _normal(name):
            return each.module
    known = ", ".join(each.module for each in installed) or "none"
    raise Refused(
        "pack_unknown",
        f"expected an installed pack ({known}), a folder or a module's file, got {pack!r}",
        field="PACK",
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _places(path: Path) -> tuple[list[Path], list[str]]:
    """Return the folders to import from, and what to import."""
    if path.is_file():
        top = path.parent
        names = [path.stem]
        while (top / "__init__.py").exists():
            names.insert(0, top.name)
            top = top.parent
        return [top], [".".join(names)]
    if (path / "__init__.py").exists():
        return [path.parent], [path.name]
    return [path, path / "src"], _named_in(path / "pyproject.toml")


def _named_in(project: Path) -> list[str]:
    try:
        document = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(
            "pack_unusable",
            f"expected a folder with an __init__.py or a pyproject.toml: {error}",
            field="PACK",
        ) from error
    points = document.get("project", {}).get("entry-points", {}).get("slotmeter.drivers", {})
    if not points:
        raise Refused(
            "pack_unusable",
            f'{project} names no package under [project.entry-points."slotmeter.drivers"]',
            field="PACK",
        )
    return sorted({str(module) for module in points.values()})

"""Every statement the platform runs, by name.

Each module of this package is one subject and offers ``READS`` and ``UPDATES``: SQLAlchemy Core
statements with bound parameters. They are compiled once per dialect when a database is opened and
run on the driver itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import NamedTuple

from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

__all__ = ["Catalogue", "catalogue"]


class Catalogue(NamedTuple):
    """All reads and all updates by name."""

    reads: dict[str, Select[tuple[object, ...]]]
    updates: dict[str, UpdateBase]


@cache
def catalogue() -> Catalogue:
    """Collect the statements of every module of this package.

    Raises:
        ValueError: two statements share a name.
    """
    reads: dict[str, Select[tuple[object, ...]]] = {}
    updates: dict[str, UpdateBase] = {}
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for name, statement in (*module.READS.items(), *module.UPDATES.items()):
            if name in reads or name in updates:
                raise ValueError(f"statement {name!r} is defined twice (again in {info.name})")
            if name in module.READS:
                reads[name] = statement
            else:
                updates[name] = statement
    return Catalogue(reads, updates)

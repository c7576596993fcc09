"""Which HTTP routes the loaded entries have; the server's one route for media asks here.

Routes come and go while the server runs, so they are matched here and not by the server's own
router, which is closed once it listens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from slotmeter.ports import ROUTE_BODY_BYTES_MAX, MediumRoute
from slotmeter.services.belongings import for_owner

__all__ = ["MEDIA_PREFIX", "EntryRoutes", "Matched", "RouteTable"]

MEDIA_PREFIX: Final = "/api/v1/media"
ROUTES_PER_ENTRY_MAX: Final = 64
PARTS_MAX: Final = 8
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

_FIXED: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAMED: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")


@dataclass(frozen=True, slots=True)
class Matched:
    """What a path leads to.

    Args:
        routes: by method; empty when there is nothing at this path.
        path: the parts that stand in braces, by name.
    """

    routes: Mapping[str, tuple[MediumRoute, Mapping[str, str]]]


class EntryRoutes:
    """Implements ``ports.Routes`` for one entry."""

    def __init__(self, entry_key: str) -> None:
        """Start without routes."""
        self._entry_key = entry_key
        self._routes: dict[tuple[str, tuple[str, ...]], MediumRoute] = {}

    @property
    def prefix(self) -> str:
        """Where the routes stand."""
        return f"{MEDIA_PREFIX}/{self._entry_key}"

    @property
    def all(self) -> tuple[MediumRoute, ...]:
        """Every route, in the order they came."""
        return tuple(self._routes.values())

    def add(self, route: MediumRoute) -> None:
        """Answer requests from now on; see ``ports.Routes``."""
        if route.method not in METHODS:
            raise ValueError(f"{route.method} is none of {', '.join(sorted(METHODS))}")
        parts = tuple(route.path.split("/"))
        if len(parts) > PARTS_MAX or not all(map(_is_part, parts)):
            raise ValueError(f"{route.path!r}: expected up to {PARTS_MAX} names or {{names}}")
        if not 0 <= route.body_bytes_max <= ROUTE_BODY_BYTES_MAX or route.per_minute_max < 1:
            raise ValueError(f"{route.path}: bodies and calls need a bound that can be")
        shape = (route.method, tuple("{}" if part.startswith("{") else part for part in parts))
        if shape in self._routes:
            raise ValueError(f"{route.method} {route.path} is there already")
        if len(self._routes) >= ROUTES_PER_ENTRY_MAX:
            raise ValueError(f"an entry has at most {ROUTES_PER_ENTRY_MAX} routes")
        self._routes[shape] = replace(route, handler=for_owner(route.handler))

    def match(self, tail: str) -> Matched:
        """Return what a path below the prefix leads to; fixed parts go before named ones."""
        given = tail.split("/")
        found: dict[str, tuple[MediumRoute, Mapping[str, str]]] = {}
        for route in sorted(self._routes.values(), key=lambda route: route.path.count("{")):
            named = _fit(route.path.split("/"), given)
            if named is not None:
                found.setdefault(route.method, (route, named))
        return Matched(found)


class RouteTable:
    """The routes of all loaded entries."""

    def __init__(self) -> None:
        """Start without entries."""
        self._entries: dict[str, EntryRoutes] = {}

    def open(self, entry_key: str) -> EntryRoutes:
        """Return an empty set of routes for an entry that is being set up."""
        routes = self._entries[entry_key] = EntryRoutes(entry_key)
        return routes

    def close(self, entry_key: str) -> None:
        """Forget the routes of an entry; nothing happens when there are none."""
        self._entries.pop(entry_key, None)

    def match(self, entry_key: str, tail: str) -> Matched:
        """Return what a path leads to."""
        routes = self._entries.get(entry_key)
        return Matched({}) if routes is None else routes.match(tail)

    @property
    def count(self) -> int:
        """How many routes there are in all."""
        return sum(len(routes.all) for routes in self._entries.values())


def _is_part(part: str) -> bool:
    return bool(_FIXED.fullmatch(part) or _NAMED.fullmatch(part)) and part not in (".", "..")


def _fit(parts: list[str], given: list[str]) -> dict[str, str] | None:
    """Return the named parts, or None when the path is another one."""
    if len(parts) != len(given):
        return None
    named: dict[str, str] = {}
    for part, value in zip(parts, given, strict=True):
        name = _NAMED.fullmatch(part)
        if name is not None and value:
            named[name[1]] = value
        elif part != value:
            return None
    return named

"""Areas: where supply points are, in levels that a utility's people know.

A region holds district metered areas of its water, and transformers and feeders of its
electricity. An area has one above it at most; what is above what is settled by ``ABOVE``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.act_changes import changed
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.list_pages import LIST_ROWS, cut
from slotmeter.units import epoch_us

__all__ = ["ABOVE", "LEVELS", "Area", "AreaName", "Areas", "AreasPage", "parse_area"]

LEVELS: Final = ("region", "dma", "transformer", "feeder", "other")
"""From the widest on; ``dma`` is a district metered area, ``other`` a utility's own."""

ABOVE: Final[Mapping[str, frozenset[str]]] = {
    "region": frozenset({"region", "other"}),
    "dma": frozenset({"region", "dma", "other"}),
    "feeder": frozenset({"region", "feeder", "transformer", "other"}),
    "transformer": frozenset({"region", "feeder", "transformer", "other"}),
    "other": frozenset(LEVELS),
}
"""What may be above an area of a level: substations feed feeders, and these feed transformers."""

DEPTH_MAX: Final = 8
"""An area has fewer areas above it than this."""

CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
NAME_CHARACTERS_MAX: Final = 100
POINTS_AT_ONCE_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class AreaName:
    """What an area is known by, written ``level/code``."""

    level: str
    code: str

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.level}/{self.code}"


@dataclass(frozen=True, slots=True)
class Area:
    """An area with what is above it and how much it holds.

    Args:
        path: the areas above, the highest first.
        areas: directly below it.
        supply_points: directly in it.
    """

    id: int
    at: AreaName
    name: str
    path: tuple[AreaName, ...]
    areas: int
    supply_points: int
    created_us: int


@dataclass(frozen=True, slots=True)
class AreasPage:
    """Rows, and the key after which the next page begins."""

    rows: Sequence[Row]
    next: str | None


def parse_area(text: str, field: str = "area") -> AreaName:
    """Read ``level/code``.

    Raises:
        Refused: ``area_malformed``, ``level_unknown`` or ``area_code_malformed``.
    """
    level, slash, code = text.partition("/")
    if not slash:
        raise Refused(
            "area_malformed", f"expected LEVEL/CODE as region/north, got {text[:40]!r}", field=field
        )
    return _checked(AreaName(level, code), field)


def _checked(at: AreaName, field: str = "area") -> AreaName:
    if at.level not in LEVELS:
        raise Refused(
            "level_unknown",
            f"expected a level of {', '.join(LEVELS)}, got {at.level[:32]!r}",
            field=field,
        )
    if CODE.fullmatch(at.code) is None:
        raise Refused(
            "area_code_malformed",
            "a code has 1 to 32 letters, digits, dots, hyphens or underscores and begins with a "
            "letter or a digit",
            field=field,
        )
    return at


class Areas:
    """The transaction boundary of areas."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock

    async def areas(
        self,
        utility_id: int,
        *,
        level: str | None = None,
        above: AreaName | None = None,
        after: str = "",
        limit: int = LIST_ROWS,
    ) -> AreasPage:
        """Return areas by level and code.

        Args:
            utility_id: whose.
            level: of this level only.
            above: directly below this one only.
            after: ``next`` of the page before, as ``level/code``.
            limit: rows of a page.

        Raises:
            Refused: ``level_unknown``, ``area_malformed``, ``area_code_malformed``.
            NotFound: ``area_unknown``.
        """
        if level is not None and level not in LEVELS:
            _checked(AreaName(level, "x"), "level")
        start = parse_area(after, "after") if after else AreaName("", "")
        parent_id = None if above is None else (await self.area(utility_id, above)).id
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "level": level,
            "parent_id": parent_id,
            "after_level": start.level,
            "after_code": start.code,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("areas", params)]))["areas"]
        page, following = cut(rows, limit, lambda row: f"{row['level']}/{row['code']}")
        return AreasPage(page, following)

    async def area(self, utility_id: int, at: AreaName) -> Area:
        """Return an area.

        Raises:
            NotFound: ``area_unknown``.
        """
        rows = (await self._uow.read([_chain_read(utility_id, at, "area")]))["area"]
        row = _found(rows, at)
        contents = Read("area_contents", {"area_id": row["id_0"]}, "contents")
        [held] = (await self._uow.read([contents]))["contents"]
        return Area(
            id=row["id_0"],
            at=at,
            name=row["name_0"],
            path=tuple(reversed([AreaName(*each[1:]) for each in _above(row)])),
            areas=held["areas"],
            supply_points=held["supply_points"],
            created_us=row["created_us"],
        )

    async def points(
        self, utility_id: int, at: AreaName, *, after: str = "", limit: int = LIST_ROWS
    ) -> AreasPage:
        """Return supply points directly in an area, by number.

        Raises:
            NotFound: ``area_unknown``.
        """
        area = await self.area(utility_id, at)
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "area_id": area.id,
            "after": after,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("area_points", params)]))["area_points"]
        page, following = cut(rows, limit, lambda row: str(row["number"]))
        return AreasPage(page, following)

    async def put(
        self,
        caller: Caller,
        at: AreaName,
        *,
        name: str,
        above: AreaName | None,
        reason: str,
    ) -> Area:
        """Make an area, or change its name and what is above it; the same again changes nothing.

        Raises:
            NotFound: ``area_unknown``: there is none of that name to be above it.
            Refused: ``level_unknown``, ``area_code_malformed``, ``area_name_malformed``,
                ``area_above_wrong``: no such level is above this one, ``area_in_itself``,
                ``area_too_deep``, ``reason_missing`` or ``reason_too_long``.
        """
        _checked(at)
        text, why = _name(name), check_reason(reason)
        if above is not None and _checked(above, "above").level not in ABOVE[at.level]:
            allowed = ", ".join(each for each in LEVELS if each in ABOVE[at.level])
            raise Refused(
                "area_above_wrong",
                f"above a {at.level} is a {allowed}; got {above}",
                field="above",
            )
        utility_id, now_us = caller.principal.utility_id, epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            there = rows["area"][0] if rows["area"] else None
            parent = None if above is None else _found(rows["above"], above, "above")
            _check_above(there, parent, rows["below"][0])
            before = None if there is None else _facts(there)
            after = {"name": text, "above": None if above is None else str(above)}
            if before == after:
                return Changes(None)
            parent_id = None if parent is None else parent["id_0"]
            act = caller_act(
                caller,
                new_id,
                now_us,
                what="area.put",
                subject=str(at),
                reason=why,
                data=changed(before, after),
            )
            if there is None:
                row: dict[str, SqlValue] = {"id": new_id(), "utility_id": utility_id}
                row |= {"level": at.level, "code": at.code, "name": text}
                row |= {"parent_id": parent_id, "created_us": now_us}
                return Changes(None, [Insert("area", row), act])
            params: dict[str, SqlValue] = {"of_utility": utility_id, "of_area": there["id_0"]}
            params |= {"to_name": text, "to_parent": parent_id}
            return Changes(None, [Update("area_change", params), act])

        reads = [
            _chain_read(utility_id, at, "area"),
            Read("area_below", _chain_read(utility_id, at, "").params, "below"),
        ]
        if above is not None:
            reads.append(_chain_read(utility_id, above, "above"))
        await self._uow.run(reads, decide)
        return await self.area(utility_id, at)

    async def remove(self, caller: Caller, at: AreaName, *, reason: str) -> None:
        """Remove an area that holds nothing any more.

        Raises:
            NotFound: ``area_unknown``.
            Conflict: ``area_not_empty``.
            Refused: ``reason_missing`` or ``reason_too_long``.
        """
        why = check_reason(reason)
        utility_id, now_us = caller.principal.utility_id, epoch_us(self._clock.now())
        area = await self.area(utility_id, at)

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            row = _found(rows["area"], at)
            held = rows["contents"][0]
            if held["areas"] or held["supply_points"]:
                raise Conflict(
                    "area_not_empty",
                    f"{at} still holds {held['areas']} areas and {held['supply_points']} supply "
                    "points; put them elsewhere first",
                )
            act = caller_act(
                caller,
                new_id,
                now_us,
                what="area.remove",
                subject=str(at),
                reason=why,
                data=changed({"name": row["name_0"]}, None),
            )
            params: dict[str, SqlValue] = {"of_utility": utility_id, "of_area": row["id_0"]}
            return Changes(None, [Update("area_remove", params), act])

        reads = [
            _chain_read(utility_id, at, "area"),
            Read("area_contents", {"area_id": area.id}, "contents"),
        ]
        await self._uow.run(reads, decide)

    async def take_in(
        self, caller: Caller, points: Sequence[str], at: AreaName | None, *, reason: str
    ) -> int:
        """Put supply points into an area, or into none; return how many were elsewhere before.

        Raises:
            NotFound: ``area_unknown`` or ``supply_point_unknown``; nothing is changed then.
            Refused: ``too_many_points``, ``reason_missing`` or ``reason_too_long``.
        """
        why, wanted = check_reason(reason), list(dict.fromkeys(points))
        if not 1 <= len(wanted) <= POINTS_AT_ONCE_MAX:
            raise Refused(
                "too_many_points",
                f"expected 1 to {POINTS_AT_ONCE_MAX} supply points, got {len(wanted)}",
                field="supply_points",
            )
        utility_id, now_us = caller.principal.utility_id, epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[int]:
            area_id = None if at is None else _found(rows["area"], at)["id_0"]
            moved = [
                row
                for row in (_point(rows[f"point/{number}"], number) for number in wanted)
                if row["area_id"] != area_id
            ]
            if not moved:
                return Changes(0)
            steps = [
                Update(
                    "area_take_point",
                    {"of_utility": utility_id, "of_point": row["id"], "to_area": area_id},
                )
                for row in moved
            ]
            after = None if at is None else str(at)
            act = caller_act(
                caller,
                new_id,
                now_us,
                what="area.take_in",
                subject=after or "no area",
                reason=why,
                data={
                    "before": {row["number"]: _area_of(row) for row in moved},
                    "after": {row["number"]: after for row in moved},
                },
            )
            return Changes(len(moved), [*steps, act])

        reads = [
            Read("area_of_point", {"utility_id": utility_id, "number": number}, f"point/{number}")
            for number in wanted
        ]
        if at is not None:
            reads.append(_chain_read(utility_id, at, "area"))
        return await self._uow.run(reads, decide)


def _chain_read(utility_id: int, at: AreaName, key: str) -> Read:
    params: dict[str, SqlValue] = {"utility_id": utility_id, "level": at.level, "code": at.code}
    return Read("area_chain", params, key)


def _found(rows: Sequence[Row], at: AreaName, field: str = "area") -> Row:
    if not rows:
        raise NotFound("area_unknown", f"there is no area {at}", field=field)
    return rows[0]


def _point(rows: Sequence[Row], number: str) -> Row:
    if not rows:
        raise NotFound(
            "supply_point_unknown",
            f"no supply point {number[:64]!r} is known here",
            field="supply_points",
        )
    return rows[0]


def _area_of(row: Row) -> str | None:
    return None if row["area_id"] is None else f"{row['level']}/{row['code']}"


def _above(row: Row) -> list[tuple[int, str, str]]:
    """Return id, level and code of the areas above one, the nearest first."""
    return [
        (row[f"id_{at}"], row[f"level_{at}"], row[f"code_{at}"])
        for at in range(1, DEPTH_MAX + 1)
        if row[f"id_{at}"] is not None
    ]


def _facts(row: Row) -> dict[str, str | None]:
    above = _above(row)
    return {"name": row["name_0"], "above": str(AreaName(*above[0][1:])) if above else None}


def _check_above(there: Row | None, parent: Row | None, below: Row) -> None:
    if parent is None:
        return
    above = _above(parent)
    if there is not None and there["id_0"] in {parent["id_0"], *(each[0] for each in above)}:
        raise Refused(
            "area_in_itself", "an area is not above itself, nor below one of its own", field="above"
        )
    deepest = sum(below[f"below_{at}"] > 0 for at in range(1, DEPTH_MAX + 1))
    if len(above) + 1 + deepest >= DEPTH_MAX:
        raise Refused(
            "area_too_deep", f"expected fewer than {DEPTH_MAX} areas above one", field="above"
        )


def _name(name: str) -> str:
    text = name.strip()
    if not 1 <= len(text) <= NAME_CHARACTERS_MAX or not text.isprintable():
        raise Refused(
            "area_name_malformed",
            f"expected 1 to {NAME_CHARACTERS_MAX} characters without line breaks",
            field="name",
        )
    return text

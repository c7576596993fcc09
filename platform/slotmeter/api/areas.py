"""Areas in levels, and the supply points in them."""

from __future__ import annotations

from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.paging import AfterQuery
from slotmeter.api.registry_models import (
    AreaBody,
    AreaDetail,
    AreaLine,
    AreaPointLine,
    AreaPointsPage,
    AreasPage,
    AreasQuery,
    PointsInBody,
    RegistryReasonBody,
    TakenIn,
)
from slotmeter.api.route import OK, Route, get, post, put
from slotmeter.ports import Right, Row
from slotmeter.services.areas import Area, AreaName, Areas, parse_area
from slotmeter.units import iso_utc

__all__ = ["ROUTES"]


async def areas(call: Call[Nothing, AreasQuery]) -> Answer:
    """List areas by level and code."""
    query = call.query
    page = await _areas(call).areas(
        call.caller.principal.utility_id,
        level=query.level,
        above=None if query.above is None else parse_area(query.above, "above"),
        after=query.after,
        limit=query.limit,
    )
    return json_answer(AreasPage(items=[_line(row) for row in page.rows], next=page.next))


async def area(call: Call[Nothing, Nothing]) -> Answer:
    """Show an area with what is above it and what it holds."""
    return json_answer(_detail(await _areas(call).area(_utility_id(call), _name(call))))


async def put_area(call: Call[AreaBody, Nothing]) -> Answer:
    """Make an area, or change its name and the one that it is in."""
    body = call.body
    made = await _areas(call).put(
        call.caller,
        _name(call),
        name=body.name,
        above=None if body.above is None else parse_area(body.above, "above"),
        reason=body.reason,
    )
    return json_answer(_detail(made))


async def remove_area(call: Call[RegistryReasonBody, Nothing]) -> Answer:
    """Remove an area that holds nothing."""
    at = _name(call)
    found = await _areas(call).area(_utility_id(call), at)
    await _areas(call).remove(call.caller, at, reason=call.body.reason)
    return json_answer(_detail(found))


async def area_supply_points(call: Call[Nothing, AfterQuery]) -> Answer:
    """List supply points directly in an area, by number."""
    page = await _areas(call).points(
        _utility_id(call), _name(call), after=call.query.after, limit=call.query.limit
    )
    return json_answer(
        AreaPointsPage(
            items=[
                AreaPointLine(
                    supply_point=row["number"],
                    commodity=row["commodity"],
                    address=row["address"],
                    meter=row["meter"],
                )
                for row in page.rows
            ],
            next=page.next,
        )
    )


async def take_in_supply_points(call: Call[PointsInBody, Nothing]) -> Answer:
    """Put supply points into an area; they leave the one that they were in."""
    moved = await _areas(call).take_in(
        call.caller, call.body.supply_points, _name(call), reason=call.body.reason
    )
    return json_answer(TakenIn(moved=moved))


async def take_out_supply_points(call: Call[PointsInBody, Nothing]) -> Answer:
    """Let supply points be in no area."""
    body = call.body
    moved = await _areas(call).take_in(call.caller, body.supply_points, None, reason=body.reason)
    return json_answer(TakenIn(moved=moved))


def _areas(call: Call[Any, Any]) -> Areas:
    return call.services.office.registries.areas


def _utility_id(call: Call[Any, Any]) -> int:
    return call.caller.principal.utility_id


def _name(call: Call[Any, Any]) -> AreaName:
    return parse_area(f"{call.path('level')}/{call.path('code')}")


def _line(row: Row) -> AreaLine:
    above = row["parent_level"]
    return AreaLine(
        area=f"{row['level']}/{row['code']}",
        level=row["level"],
        code=row["code"],
        name=row["name"],
        above=None if above is None else f"{above}/{row['parent_code']}",
        created_at=iso_utc(row["created_us"]),
    )


def _detail(found: Area) -> AreaDetail:
    return AreaDetail.model_validate(
        {
            "area": str(found.at),
            "level": found.at.level,
            "code": found.at.code,
            "name": found.name,
            "above": str(found.path[-1]) if found.path else None,
            "created_at": iso_utc(found.created_us),
            "path": " > ".join(str(each) for each in found.path),
            "areas": found.areas,
            "supply_points": found.supply_points,
        }
    )


_LOOK: Final = frozenset({Right.METERS})
_AREA: Final = "/areas/{level}/{code}"

ROUTES: Final[tuple[Route, ...]] = (
    get("/areas", areas, "areas", _LOOK, AreasPage, query=AreasQuery, problems=(404,)),
    get(_AREA, area, "areas", _LOOK, AreaDetail, problems=(422,)),
    put(_AREA, put_area, "areas", Right.METERS_WRITE, {OK: AreaDetail}, body=AreaBody),
    post(
        f"{_AREA}/remove",
        remove_area,
        "areas",
        Right.METERS_WRITE,
        {OK: AreaDetail},
        body=RegistryReasonBody,
        problems=(409,),
    ),
    get(
        f"{_AREA}/supply-points",
        area_supply_points,
        "areas",
        _LOOK,
        AreaPointsPage,
        query=AfterQuery,
    ),
    post(
        f"{_AREA}/supply-points",
        take_in_supply_points,
        "areas",
        Right.METERS_WRITE,
        {OK: TakenIn},
        body=PointsInBody,
    ),
    post(
        "/areas/take-out",
        take_out_supply_points,
        "areas",
        Right.METERS_WRITE,
        {OK: TakenIn},
        body=PointsInBody,
        problems=(404,),
    ),
)
"""Routes of areas."""

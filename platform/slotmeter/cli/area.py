"""``slotmeter area``: areas in levels, and the supply points in them."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.ports import Right

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.areas import Area, AreaName, Areas
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register"]

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[int]]


def register(subparsers: Subparsers) -> None:
    """Add ``area``."""
    parser = subparsers.add_parser("area", help="regions, metered areas, transformers, feeders")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    setting = actions.add_parser("set", help="make an area, or change its name or what it is in")
    _add_area(setting)
    setting.add_argument("--name", required=True, help="for people")
    setting.add_argument("--above", metavar="LEVEL/CODE", help="the area that it is in")
    setting.set_defaults(action=_set)
    removing = actions.add_parser("remove", help="remove an area that holds nothing")
    _add_area(removing)
    removing.set_defaults(action=_remove)
    taking = actions.add_parser("take-in", help="put supply points into an area")
    _add_area(taking)
    taking.set_defaults(action=_take_in)
    leaving = actions.add_parser("take-out", help="let supply points be in no area")
    leaving.set_defaults(action=_take_out)
    for each in (taking, leaving):
        each.add_argument("supply_points", nargs="+", metavar="SUPPLY-POINT")
    for each in (setting, removing, taking, leaving):
        add_acting_options(each)
    listing = actions.add_parser("list", help="list areas by level and code")
    listing.add_argument("--level", choices=("region", "dma", "transformer", "feeder", "other"))
    listing.add_argument("--above", metavar="LEVEL/CODE", help="only those directly below this one")
    listing.set_defaults(action=_list)
    showing = actions.add_parser("show", help="show an area and the supply points in it")
    _add_area(showing)
    showing.set_defaults(action=_show)
    for each in (listing, showing):
        add_page_options(each, "--after", is_number=False)
        add_looking_options(each)
    for each in actions.choices.values():
        each.set_defaults(run=_run)


def _add_area(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("area", metavar="LEVEL/CODE", help="as region/north or dma/D12")


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_act(options))


async def _act(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        return await action(options, folder, await folder.utility(options))


def _areas(folder: OpenFolder) -> Areas:
    from slotmeter.services.areas import Areas

    return Areas(folder.database, folder.clock)


def _name(text: str, field: str = "area") -> AreaName:
    from slotmeter.services.areas import parse_area

    return parse_area(text, field)


async def _set(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.METERS_WRITE)
    above = None if options.above is None else _name(options.above, "above")
    made = await _areas(folder).put(
        caller, _name(options.area), name=options.name, above=above, reason=options.reason
    )
    _say(options, _document(made), f"{made.at}: {made.name}{_within(made)}")
    return EXIT_OK


async def _remove(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.METERS_WRITE)
    at = _name(options.area)
    await _areas(folder).remove(caller, at, reason=options.reason)
    _say(options, {"area": str(at), "removed": True}, f"{at} is removed")
    return EXIT_OK


async def _take_in(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    return await _take(options, folder, _name(options.area))


async def _take_out(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    return await _take(options, folder, None)


async def _take(options: argparse.Namespace, folder: OpenFolder, at: AreaName | None) -> int:
    caller = await caller_of(options, folder, Right.METERS_WRITE)
    moved = await _areas(folder).take_in(caller, options.supply_points, at, reason=options.reason)
    where = "out of their areas" if at is None else f"to {at}"
    _say(options, {"moved": moved}, f"{moved} of {len(options.supply_points)} moved {where}")
    return EXIT_OK


async def _list(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    page = await _areas(folder).areas(
        utility.id,
        level=options.level,
        above=None if options.above is None else _name(options.above, "above"),
        after=options.after,
        limit=options.limit,
    )
    if options.json:
        print(json.dumps({"items": [dict(row) for row in page.rows], "next": page.next}, indent=2))
        return EXIT_OK
    for row in page.rows:
        above = row["parent_level"]
        within = "" if above is None else f"in {above}/{row['parent_code']}"
        print(f"{row['level'] + '/' + row['code']:<28} {row['name']:<40} {within}".rstrip())
    say_more(options, page.next)
    return EXIT_OK


async def _show(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    at = _name(options.area)
    area = await _areas(folder).area(utility.id, at)
    page = await _areas(folder).points(utility.id, at, after=options.after, limit=options.limit)
    if options.json:
        points = [dict(row) for row in page.rows]
        print(json.dumps({**_document(area), "items": points, "next": page.next}, indent=2))
        return EXIT_OK
    print(f"{area.at}: {area.name}{_within(area)}")
    print(f"{area.areas} areas and {area.supply_points} supply points directly in it")
    for row in page.rows:
        print(f"  {row['number']:<20} {row['commodity']:<12} {row['meter'] or 'no meter'}")
    say_more(options, page.next)
    return EXIT_OK


def _within(area: Area) -> str:
    return f", in {' > '.join(map(str, area.path))}" if area.path else ""


def _document(area: Area) -> dict[str, Any]:
    return {
        "area": str(area.at),
        "name": area.name,
        "path": [str(each) for each in area.path],
        "areas": area.areas,
        "supply_points": area.supply_points,
    }


def _say(options: argparse.Namespace, document: dict[str, Any], sentence: str) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False) if options.json else sentence)

"""``slotmeter node`` and ``slotmeter device``: boxes of meters, keypads, how all are reached."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.asset import _instant
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.errors import Refused
from slotmeter.ports import Right, Row
from slotmeter.units import iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.bindings import Node
    from slotmeter.services.registries import Registries
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register"]

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[int]]


def register(subparsers: Subparsers) -> None:
    """Add ``node`` and ``device``."""
    _register_node(subparsers)
    _register_device(subparsers)


def _register_node(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("node", help="boxes that speak for the meters in their slots")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="register a node")
    adding.add_argument("serial", metavar="SERIAL")
    _add_bearer(adding, driver_needed=True)
    adding.set_defaults(action=_add)
    binding = actions.add_parser(
        "bind",
        help="say which meters are in which slots",
        description="All at once, so that two meters can change places: `bind BOX-1 3=METER-A "
        "7=METER-B`. A slot with nothing behind the sign is empty from then on.",
    )
    binding.add_argument("serial", metavar="SERIAL")
    binding.add_argument("places", nargs="+", metavar="SLOT=METER")
    binding.add_argument("--at", type=_instant, metavar="TIME", help="since when; or from now on")
    binding.set_defaults(action=_bind)
    moving = actions.add_parser("move", help="reach a node by another medium or address")
    moving.add_argument("serial", metavar="SERIAL")
    _add_bearer(moving)
    moving.set_defaults(action=_move_node)
    for each in (adding, binding, moving):
        add_acting_options(each)
    listing = actions.add_parser("list", help="list nodes by serial number")
    add_page_options(listing, "--after", is_number=False)
    listing.set_defaults(action=_list)
    showing = actions.add_parser("show", help="show a node with the meters behind it")
    showing.add_argument("serial", metavar="SERIAL")
    showing.set_defaults(action=_show)
    history = actions.add_parser("history", help="what was ever behind a node, the newest first")
    history.add_argument("serial", metavar="SERIAL")
    add_page_options(history)
    history.set_defaults(action=_history)
    for each in (listing, showing, history):
        add_looking_options(each)
    for each in actions.choices.values():
        each.set_defaults(run=_run)


def _register_device(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("device", help="how meters are reached, and their keypads")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    moving = actions.add_parser(
        "move",
        help="reach a meter by another medium or address",
        description="Its history and the commands that wait for it stay.",
    )
    moving.add_argument("meter", metavar="METER")
    _add_bearer(moving)
    moving.set_defaults(action=_move)
    giving = actions.add_parser("keypad", help="give a meter a keypad in the place of its own")
    giving.add_argument("meter", metavar="METER")
    giving.add_argument(
        "serial", metavar="SERIAL", nargs="?", help="none: take away the one it has"
    )
    giving.add_argument("--moved", action="store_true", help="take it from the meter that has it")
    giving.set_defaults(action=_keypad)
    for each in (moving, giving):
        add_acting_options(each)
    bearers = actions.add_parser("bearers", help="what a meter was reached by, the newest first")
    bearers.set_defaults(action=_bearers)
    keypads = actions.add_parser("keypads", help="which keypads a meter had, the newest first")
    keypads.set_defaults(action=_keypads)
    for each in (bearers, keypads):
        each.add_argument("meter", metavar="METER")
        add_page_options(each)
        add_looking_options(each)
    for each in actions.choices.values():
        each.set_defaults(run=_run)


def _add_bearer(parser: argparse.ArgumentParser, *, driver_needed: bool = False) -> None:
    parser.add_argument("--medium", required=True, help="what it is reached by, as nbiot")
    parser.add_argument("--address", required=True, help="the medium's name for it")
    help_text = "reads its frames" if driver_needed else "reads its frames there; or as before"
    parser.add_argument("--driver", required=driver_needed, help=help_text)


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_act(options))


async def _act(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        return await action(options, folder, await folder.utility(options))


def _registries(folder: OpenFolder) -> Registries:
    from slotmeter.services.driver_packs import load_drivers
    from slotmeter.services.registries import Registries

    return Registries.of(folder.database, folder.clock, load_drivers())


# --- nodes ----------------------------------------------------------------------------------------


async def _add(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    from slotmeter.services.bindings import NewNode

    caller = await caller_of(options, folder, Right.METERS_WRITE)
    new = NewNode(options.serial, options.medium, options.address, options.driver)
    return _say_node(
        options, await _registries(folder).bindings.add_node(caller, new, reason=options.reason)
    )


async def _bind(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.METERS_WRITE)
    bound = await _registries(folder).bindings.bind(
        caller,
        options.serial,
        _places(options.places),
        reason=options.reason,
        at=options.at,
    )
    return _say_node(options, bound)


def _places(texts: Sequence[str]) -> dict[int, str | None]:
    places: dict[int, str | None] = {}
    for text in texts:
        slot, sign, meter = text.partition("=")
        if not sign or not slot.isdecimal():
            raise Refused("place_malformed", f"expected SLOT=METER as 3=07000000013, got {text}")
        if int(slot) in places:
            raise Refused("slot_twice", f"name each slot once, got {slot} twice")
        places[int(slot)] = meter or None
    return places


async def _move_node(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.bearers import BearerWish

    caller = await caller_of(options, folder, Right.METERS_WRITE)
    registries = _registries(folder)
    wish = BearerWish(options.medium, options.address, options.driver)
    await registries.bearers.change_node(caller, options.serial, wish, reason=options.reason)
    return _say_node(options, await registries.bindings.node(utility.id, options.serial))


async def _list(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    page = await _registries(folder).bindings.nodes(
        utility.id, after=options.after, limit=options.limit
    )
    names = ("serial", "medium", "address", "driver", "meters")
    items = [{name: row[name] for name in names} for row in page.rows]
    if options.json:
        print(json.dumps({"items": items, "next": page.next}, indent=2))
        return EXIT_OK
    for row in items:
        print(f"{row['serial']:<20} {row['meters']:>4} meters  {row['medium']} {row['address']}")
    say_more(options, page.next)
    return EXIT_OK


async def _show(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    return _say_node(options, await _registries(folder).bindings.node(utility.id, options.serial))


async def _history(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    page = await _registries(folder).bindings.history(
        utility.id, options.serial, before=options.before, limit=options.limit
    )
    lines = [f"slot {row['slot']:>3}  {row['meter']}" for row in page.rows]
    return _say_dated(options, page.rows, lines, ("slot", "meter"), page.next)


def _say_node(options: argparse.Namespace, node: Node) -> int:
    places = {row["slot"]: row["meter"] for row in node.bindings}
    if options.json:
        document = {
            "serial": node.serial,
            "medium": node.medium,
            "address": node.address,
            "driver": node.driver,
            "slots": places,
        }
        print(json.dumps(document, indent=2))
        return EXIT_OK
    print(f"node {node.serial}: {node.medium} {node.address}, driver {node.driver}")
    for slot, meter in places.items():
        print(f"  slot {slot:>3}  {meter}")
    return EXIT_OK


# --- meters ---------------------------------------------------------------------------------------


async def _move(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    from slotmeter.services.bearers import BearerWish

    caller = await caller_of(options, folder, Right.METERS_WRITE)
    wish = BearerWish(options.medium, options.address, options.driver)
    bearers = _registries(folder).bearers
    await bearers.change(caller, options.meter, wish, reason=options.reason)
    document = {"meter": options.meter, "medium": options.medium, "address": options.address}
    sentence = f"meter {options.meter} is reached by {options.medium} at {options.address}"
    print(json.dumps(document, indent=2) if options.json else sentence)
    return EXIT_OK


async def _keypad(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.METERS_WRITE)
    await _registries(folder).keypads.give(
        caller, options.meter, options.serial, reason=options.reason, is_moved=options.moved
    )
    keypad = f"keypad {options.serial}" if options.serial else "no keypad"
    document = {"meter": options.meter, "keypad": options.serial}
    sentence = f"meter {options.meter} has {keypad} from now on"
    print(json.dumps(document, indent=2) if options.json else sentence)
    return EXIT_OK


async def _bearers(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    page = await _registries(folder).bearers.bearers(
        utility.id, options.meter, before=options.before, limit=options.limit
    )
    lines = [f"{row['medium']:<10} {row['address']}" for row in page.rows]
    return _say_dated(options, page.rows, lines, ("medium", "address"), page.next)


async def _keypads(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    page = await _registries(folder).keypads.keypads(
        utility.id, options.meter, before=options.before, limit=options.limit
    )
    lines = [row["serial"] for row in page.rows]
    return _say_dated(options, page.rows, lines, ("serial",), page.next)


def _say_dated(
    options: argparse.Namespace,
    rows: Sequence[Row],
    lines: Sequence[str],
    names: Sequence[str],
    following: int | None,
) -> int:
    """Print what holds from one time to another."""
    spans = [
        (iso_utc(row["from_us"]), None if row["to_us"] is None else iso_utc(row["to_us"]))
        for row in rows
    ]
    if options.json:
        items: list[dict[str, Any]] = [
            {**{name: row[name] for name in names}, "from": begin, "to": end}
            for row, (begin, end) in zip(rows, spans, strict=True)
        ]
        print(json.dumps({"items": items, "next": following}, indent=2))
        return EXIT_OK
    for line, (begin, end) in zip(lines, spans, strict=True):
        until = "" if end is None else f" until {end[:19]}Z"
        print(f"{line:<40} from {begin[:19]}Z{until}")
    say_more(options, following)
    return EXIT_OK

"""``slotmeter asset``: meters as things: received, stored, installed, taken off, scrapped."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_OK
from slotmeter.cli.account_import import add_import_options, bring_in
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.ports import Right
from slotmeter.units import iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.lifecycle import Life, Lifecycle
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register"]

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[int]]


def register(subparsers: Subparsers) -> None:
    """Add ``asset``."""
    parser = subparsers.add_parser("asset", help="where meters are and what becomes of them")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _register_acts(actions)
    listing = actions.add_parser("list", help="list state and place of meters, by number")
    listing.add_argument(
        "--state",
        choices=("received", "stored", "installed", "swapped", "repaired", "scrapped", "unknown"),
    )
    add_page_options(listing, "--after", is_number=False)
    listing.set_defaults(action=_list)
    counting = actions.add_parser("count", help="count meters by state")
    counting.set_defaults(action=_count)
    showing = actions.add_parser("show", help="show everything that happened to a meter")
    showing.add_argument("meter", metavar="METER")
    showing.set_defaults(action=_show)
    for each in (listing, counting, showing):
        each.add_argument(
            "--at", type=_instant, metavar="TIME", help="as of then, as 2026-11-22T08:00+03:00"
        )
        add_looking_options(each)
    for each in actions.choices.values():
        each.set_defaults(run=_run)
    template = actions.add_parser("template", help="print a file of received meters to start from")
    template.set_defaults(run=_template)


def _register_acts(actions: Any) -> None:
    receiving = actions.add_parser(
        "receive",
        help="receive meters from a file",
        description="Check every row of a file of meters that arrived, name each bad one with its "
        "reason, and write nothing unless all are good. The same file again changes nothing, and "
        "one that was stopped goes on where it was. `slotmeter asset template` prints the columns.",
    )
    add_import_options(receiving)
    receiving.set_defaults(action=_receive)
    recording = actions.add_parser("record", help="a meter was stored, repaired or scrapped")
    recording.add_argument("meter", metavar="METER")
    recording.add_argument("state", choices=("stored", "repaired", "scrapped"))
    recording.add_argument("--place", required=True, help="where it is from then on")
    recording.add_argument("--at", type=_instant, metavar="TIME", help="when; or at this moment")
    recording.set_defaults(action=_record)
    installing = actions.add_parser("install", help="hang a meter at a supply point without one")
    installing.add_argument("meter", metavar="METER")
    installing.add_argument("supply_point", metavar="SUPPLY-POINT")
    installing.set_defaults(action=_install)
    taking = actions.add_parser("take-off", help="take a meter off and put no other in its place")
    taking.add_argument("meter", metavar="METER")
    taking.add_argument("--place", required=True, help="where it goes")
    taking.set_defaults(action=_take_off)
    for each in (receiving, recording, installing, taking):
        add_acting_options(each)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a time as 2026-11-22T08:00Z: {text}") from error
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"say the time zone too, as {text}Z or {text}+03:00")
    return at


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_act(options))


async def _act(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        return await action(options, folder, await folder.utility(options))


def _lives(folder: OpenFolder) -> Lifecycle:
    from slotmeter.services.lifecycle import Lifecycle

    return Lifecycle(folder.database, folder.clock)


def _template(_options: argparse.Namespace) -> int:
    from slotmeter.services.meter_arrival import arrival_template

    print(arrival_template(), end="")
    return EXIT_OK


async def _receive(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.driver_packs import load_drivers
    from slotmeter.services.meter_arrival import MeterArrival

    caller = await caller_of(options, folder, Right.METERS_WRITE)
    async with folder.keys() as keys:
        arrival = MeterArrival(
            folder.database, folder.clock, utility, caller, keys=keys, drivers=load_drivers()
        )
        run = partial(arrival.run, reason=options.reason)
        return await bring_in(options, folder, caller, "received", run)


async def _record(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.METERS_WRITE)
    life = await _lives(folder).record(
        caller,
        options.meter,
        options.state,
        place=options.place,
        reason=options.reason,
        at=options.at,
    )
    return _said(options, life)


async def _install(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.METER_SWAP)
    lives = _lives(folder)
    return _said(
        options,
        await lives.install(caller, options.meter, options.supply_point, reason=options.reason),
    )


async def _take_off(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.METER_SWAP)
    lives = _lives(folder)
    return _said(
        options,
        await lives.take_off(caller, options.meter, place=options.place, reason=options.reason),
    )


async def _list(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    page = await _lives(folder).lives(
        utility.id, at=options.at, state=options.state, after=options.after, limit=options.limit
    )
    if options.json:
        items = [_document(life) for life in page.rows]
        print(json.dumps({"items": items, "next": page.next}, indent=2, ensure_ascii=False))
        return EXIT_OK
    for life in page.rows:
        print(_line(life))
    say_more(options, page.next)
    return EXIT_OK


async def _count(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    counts = await _lives(folder).counts(utility.id, at=options.at)
    if options.json:
        print(json.dumps(counts, indent=2))
        return EXIT_OK
    for state, meters in counts.items():
        print(f"{state:<10} {meters:>10,}")
    return EXIT_OK


async def _show(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    life = await _lives(folder).life(utility.id, options.meter, at=options.at)
    events = await _lives(folder).history(utility.id, options.meter)
    if options.json:
        happened = [{**asdict(each), "at": iso_utc(each.at_us)} for each in events]
        print(json.dumps({**_document(life), "events": happened}, indent=2, ensure_ascii=False))
        return EXIT_OK
    print(_line(life))
    for each in events:
        why = f"  {each.by}: {each.reason}" if each.by else ""
        print(f"  {iso_utc(each.at_us)[:19]}Z  {each.state:<10} {each.place}{why}")
    return EXIT_OK


def _document(life: Life) -> dict[str, Any]:
    return {
        "meter": life.meter,
        "commodity": life.commodity,
        "state": life.state,
        "place": life.place,
        "since": None if life.since_us is None else iso_utc(life.since_us),
    }


def _line(life: Life) -> str:
    since = "" if life.since_us is None else f" since {iso_utc(life.since_us)[:10]}"
    return f"{life.meter:<16} {life.commodity:<12} {life.state:<10} {life.place}{since}"


def _said(options: argparse.Namespace, life: Life) -> int:
    print(json.dumps(_document(life), indent=2) if options.json else _line(life))
    return EXIT_OK

"""``slotmeter quarantine``: frames that could not be read."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.ports import Right

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Principal
    from slotmeter.services.quarantine import Quarantine

__all__ = ["register"]

PAGE_FRAMES = 200


def register(subparsers: Subparsers) -> None:
    """Add ``quarantine``."""
    parser = subparsers.add_parser("quarantine", help="frames that could not be read")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    count = actions.add_parser("count", help="how many frames wait, by cause")
    count.add_argument("--all", action="store_true", help="also causes of which no frame waits")
    add_looking_options(count)
    count.set_defaults(run=_count)
    listed = actions.add_parser("list", help="frames, the newest first")
    listed.add_argument("--code", help="only those set aside for this cause")
    listed.add_argument("--medium", help="only those of this medium")
    listed.add_argument("--replayed", action="store_true", help="also those handed in again")
    listed.add_argument("--limit", type=int, default=PAGE_FRAMES, metavar="N", help="%(default)s")
    add_looking_options(listed)
    listed.set_defaults(run=_list)
    replay = actions.add_parser(
        "replay",
        help="hand frames in again, after what was wrong is mended",
        description="Name one frame, or --code for all that a cause has set aside until now. Each "
        "takes effect once, however often this is repeated; what cannot be read even now is set "
        "aside again.",
    )
    replay.add_argument("frame", type=int, nargs="?", metavar="FRAME")
    replay.add_argument("--code", help="all that this cause has set aside")
    replay.add_argument("--medium", help="only those of this medium")
    add_acting_options(replay)
    replay.set_defaults(run=_replay, parser=replay)


def _quarantine(folder: OpenFolder) -> Quarantine:
    from slotmeter.services.bus import Bus
    from slotmeter.services.quarantine import Quarantine

    return Quarantine(folder.database, folder.clock, Bus())


async def _anybody(options: argparse.Namespace, folder: OpenFolder) -> Principal:
    from slotmeter.ports import Principal

    utility = await folder.utility(options)
    return Principal(
        id=0,
        utility_id=utility.id,
        branch_id=0,
        name=folder.origin.address,
        kind="person",
        rights=frozenset({Right.METERS}),
        currency=utility.currency,
        time_zone=utility.time_zone,
    )


def _count(options: argparse.Namespace) -> int:
    return asyncio.run(_show_counts(options))


async def _show_counts(options: argparse.Namespace) -> int:
    from slotmeter.units import iso_utc

    async with open_folder(options.data) as folder:
        known = await _quarantine(folder).counts(await _anybody(options, folder))
    counts = [each for each in known if each.waiting or options.all]
    for each in counts:
        document = {
            "code": each.code,
            "waiting": each.waiting,
            "replayed": each.replayed,
            "first_at": iso_utc(each.first_us),
            "last_at": iso_utc(each.last_us),
        }
        text = f"{each.waiting:8}  {each.code}, since {document['first_at']}"
        if each.replayed:
            text += f"; {each.replayed} handed in again"
        print(json.dumps(document) if options.json else text)
    if not counts and not options.json:
        print("no frame waits" if known else "nothing was set aside")
    return EXIT_OK


def _list(options: argparse.Namespace) -> int:
    return asyncio.run(_show_frames(options))


async def _show_frames(options: argparse.Namespace) -> int:
    from slotmeter.units import iso_utc

    left, before = max(1, options.limit), None
    async with open_folder(options.data) as folder:
        quarantine, anybody = _quarantine(folder), await _anybody(options, folder)
        while left > 0:
            page = await quarantine.page(
                anybody,
                code=options.code,
                medium=options.medium,
                replayed=options.replayed,
                before=before,
                limit=min(left, PAGE_FRAMES),
            )
            for row in page.rows:
                names = ("frame_id", "code", "message", "medium", "address", "path", "meter")
                document = {name: row[name] for name in names}
                document["received_at"] = iso_utc(row["received_us"])
                document["payload"] = row["payload"].hex()
                text = f"{row['frame_id']}  {document['received_at']}  {row['code']}  "
                text += f"{row['medium']} {row['address']}  {row['message']}"
                print(json.dumps(document, ensure_ascii=False) if options.json else text)
            left, before = left - len(page.rows), page.next
            if before is None:
                break
    return EXIT_OK


def _replay(options: argparse.Namespace) -> int:
    if (options.frame is None) == (options.code is None):
        options.parser.error("name one FRAME, or --code")
    return asyncio.run(_hand_in_again(options))


async def _hand_in_again(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        caller = await caller_of(options, folder, Right.METERS_INSTALL)
        quarantine = _quarantine(folder)
        if options.frame is not None:
            done = await quarantine.replay(caller, options.frame, reason=options.reason)
        else:
            done = await quarantine.replay_all(
                caller, options.code, medium=options.medium, reason=options.reason
            )
    if options.json:
        print(json.dumps({"frames": done.frames, "newest": done.newest}))
    else:
        print(
            f"handed in again: {done.frames} frames; `slotmeter quarantine count` tells what came"
        )
    return EXIT_OK

"""``slotmeter commission``: meters by what is on their labels."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.account_import import bring_in
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.errors import SlotmeterError
from slotmeter.ports import Right

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.commissioning import Commissioning
    from slotmeter.services.commissioning_match import Claim

__all__ = ["register"]

LIST_MAX = 200


def register(subparsers: Subparsers) -> None:
    """Add ``commission``."""
    parser = subparsers.add_parser("commission", help="register meters by what is on their labels")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    scan = actions.add_parser(
        "scan",
        help="say which meter hangs here",
        description="Give what the label says. Without LABEL every line of standard input is one, "
        "as readers of bar codes type them; an empty line ends it.",
    )
    scan.add_argument("label", metavar="LABEL", nargs="?")
    scan.add_argument("--meter", metavar="NUMBER", help="when the label does not hold it")
    for name in ("medium", "address", "driver"):
        scan.add_argument(f"--{name}", help="only when it must be chosen")
    add_acting_options(scan)
    scan.set_defaults(run=_scan)
    withdraw = actions.add_parser("withdraw", help="look for a meter no longer")
    withdraw.add_argument("meter", metavar="NUMBER")
    add_acting_options(withdraw)
    withdraw.set_defaults(run=_withdraw)
    bulk = actions.add_parser(
        "import",
        help="many meters from a file",
        description="Check every row, name each bad one with its reason, and claim nothing unless "
        "all are good. An import that was stopped goes on by repeating it.",
    )
    bulk.add_argument("file", type=Path, metavar="FILE.csv", nargs="?")
    bulk.add_argument("--template", action="store_true", help="print a file to start from")
    bulk.add_argument("--accept-good", action="store_true", help="claim the good rows all the same")
    bulk.add_argument("--check-only", action="store_true", help="check and write nothing")
    add_looking_options(bulk)
    bulk.add_argument("--key-file", type=Path, metavar="FILE", help="whose act this is")
    bulk.add_argument("--reason", default="commissioning file", help="recorded with the acts")
    bulk.set_defaults(run=_import, parser=bulk)
    listed = actions.add_parser("list", help="meters that were scanned, the newest first")
    listed.add_argument("--state", choices=("waiting", "unclear", "done", "withdrawn"))
    add_looking_options(listed)
    listed.set_defaults(run=_list)
    strangers = actions.add_parser("strangers", help="devices that nobody has registered")
    add_looking_options(strangers)
    strangers.set_defaults(run=_strangers)


def _commissioning(folder: OpenFolder) -> Commissioning:
    from slotmeter.services.bus import Bus
    from slotmeter.services.commissioning import Commissioning
    from slotmeter.services.driver_packs import load_drivers

    return Commissioning(folder.database, folder.clock, drivers=load_drivers(), bus=Bus())


# --- acting ---------------------------------------------------------------------------------------


def _scan(options: argparse.Namespace) -> int:
    return asyncio.run(_scan_all(options))


async def _scan_all(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        caller = await caller_of(options, folder, Right.METERS_INSTALL)
        commissioning = _commissioning(folder)
        claim = partial(commissioning.claim, caller, reason=options.reason)
        if options.label is not None:
            _show(options, (await claim(_wish(options, options.label)))[0])
            return EXIT_OK
        failed = 0
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            try:
                _show(options, (await claim(_wish(options, line)))[0])
            except SlotmeterError as error:
                failed += 1
                print(f"{line}: {error.message} ({error.code})", file=sys.stderr)
        return EXIT_FAILED if failed else EXIT_OK


def _wish(options: argparse.Namespace, label: str) -> Any:
    from slotmeter.services.commissioning import Wish

    return Wish(label, options.meter, options.medium, options.address, options.driver)


def _withdraw(options: argparse.Namespace) -> int:
    return asyncio.run(_give_up(options))


async def _give_up(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        caller = await caller_of(options, folder, Right.METERS_INSTALL)
        claim = await _commissioning(folder).withdraw(caller, options.meter, reason=options.reason)
        _show(options, claim)
    return EXIT_OK


def _import(options: argparse.Namespace) -> int:
    if options.template:
        from slotmeter.services.commissioning_file import commissioning_template

        print(commissioning_template(), end="")
        return EXIT_OK
    if options.file is None or options.key_file is None:
        options.parser.error("a FILE.csv and --key-file are needed, or --template")
    return asyncio.run(_bring_in(options))


async def _bring_in(options: argparse.Namespace) -> int:
    from slotmeter.services.commissioning_file import CommissioningFile

    async with open_folder(options.data) as folder:
        caller = await caller_of(options, folder, Right.METERS_INSTALL)
        file = CommissioningFile(_commissioning(folder), caller, reason=options.reason)
        return await bring_in(options, folder, caller, "commissioning", file.run)


# --- looking --------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    return asyncio.run(_list_claims(options))


async def _list_claims(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        utility = await folder.utility(options)
        commissioning, before = _commissioning(folder), None
        while True:
            page = await commissioning.claims(
                utility.id, state=options.state, before=before, limit=LIST_MAX
            )
            for claim in page.rows:
                _show(options, claim)
            if page.next is None:
                return EXIT_OK
            before = page.next


def _strangers(options: argparse.Namespace) -> int:
    return asyncio.run(_list_strangers(options))


async def _list_strangers(options: argparse.Namespace) -> int:
    from slotmeter.units import iso_utc

    async with open_folder(options.data) as folder:
        for each in await _commissioning(folder).strangers():
            document = {
                "medium": each.medium,
                "address": each.address,
                "serial": each.serial,
                "drivers": [*each.drivers],
                "frames": each.frames,
                "last_at": iso_utc(each.last_us),
            }
            text = f"{each.medium:8} {each.address:32} {each.serial or '-':16} "
            text += f"{' '.join(each.drivers) or 'no driver reads it'}"
            print(json.dumps(document) if options.json else text)
    return EXIT_OK


def _show(options: argparse.Namespace, claim: Claim) -> None:
    if options.json:
        print(json.dumps(_document(claim), ensure_ascii=False))
        return
    text = f"{claim.meter}  {claim.state}"
    if claim.state == "done":
        text += f"  {claim.driver} on {claim.medium} at {claim.address}"
        for each in claim.readings[:1]:
            text += f"  {each.register} {each.value}"
    elif claim.problem is not None:
        text += f"  {claim.problem.text}"
        if claim.problem.choices:
            text += f": {', '.join(claim.problem.choices)}"
    print(text)


def _document(claim: Claim) -> dict[str, Any]:
    problem = claim.problem
    return {
        "meter": claim.meter,
        "state": claim.state,
        "medium": claim.medium,
        "address": claim.address,
        "driver": claim.driver,
        "problem": None
        if problem is None
        else {"code": problem.code, "text": problem.text, "choices": [*problem.choices]},
        "readings": {each.register: each.value for each in claim.readings},
    }

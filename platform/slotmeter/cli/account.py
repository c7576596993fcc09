"""``slotmeter account``: when an account pays, and the settlement when that changes."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.local_times import local_time, utc
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.ports import Right
from slotmeter.units import instant

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.credit_terms import CreditTerms
    from slotmeter.services.registry import UtilityInfo
    from slotmeter.services.settlement_meters import WrittenReading

__all__ = ["register"]

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[None]]


def register(subparsers: Subparsers) -> None:
    """Add ``account``."""
    parser = subparsers.add_parser("account", help="when an account pays: in advance or afterwards")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    showing = actions.add_parser("terms", help="when an account pays, and every change")
    showing.add_argument("account", metavar="ACCOUNT")
    add_page_options(showing)
    add_looking_options(showing)
    showing.set_defaults(action=_terms)
    switching = actions.add_parser(
        "switch",
        help="from prepaid to postpaid or back, settled at what the meters show",
        description="Change when an account pays. The platform charges up to the register given, "
        "values what is left on meters that hold their own credit, moves it once, and prints the "
        "settlement. See docs/how-to/switch-prepaid-and-postpaid.md.",
    )
    switching.add_argument("account", metavar="ACCOUNT")
    switching.add_argument("terms", choices=("prepaid", "postpaid"))
    switching.add_argument(
        "--reading",
        action="append",
        default=[],
        type=_pair,
        metavar="METER=REGISTER",
        help="kWh or m³; one for each meter, not needed where the platform has charged up to now",
    )
    switching.add_argument(
        "--credit-left",
        action="append",
        default=[],
        type=_pair,
        metavar="METER=AMOUNT",
        help="left on a meter that holds its own credit; 0 for none",
    )
    switching.add_argument(
        "--at", type=local_time, metavar="WHEN", help="when they were read, local; now if left out"
    )
    add_acting_options(switching)
    switching.set_defaults(action=_switch)
    for each in actions.choices.values():
        each.set_defaults(run=_run)


def _pair(text: str) -> tuple[str, str]:
    meter, equals, amount = text.partition("=")
    if not equals or not meter or not amount:
        raise argparse.ArgumentTypeError(f"expected METER=AMOUNT, got {text!r}")
    return meter, amount


def _run(options: argparse.Namespace) -> int:
    asyncio.run(_act(options))
    return EXIT_OK


async def _act(options: argparse.Namespace) -> None:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        await action(options, folder, await folder.utility(options))


def _office(folder: OpenFolder) -> CreditTerms:
    from slotmeter.services.credit_terms import CreditTerms

    return CreditTerms(folder.database, folder.clock)


async def _terms(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    from slotmeter.services.list_pages import cut

    found = await _office(folder).terms(
        utility.id, options.account, before=options.before, limit=options.limit + 1
    )
    history, following = cut(found.history, options.limit, lambda row: row["id"])
    say_more(options, following)
    if options.json:
        items = [
            {
                "terms": row["terms"],
                "at": instant(row["from_us"]).isoformat(),
                "by": row["by"],
                "reason": row["reason"],
                "settlement": row["settlement"] and json.loads(row["settlement"]),
            }
            for row in history
        ]
        print(json.dumps({"terms": found.terms.value, "items": items}, indent=2))
        return
    print(f"account {found.account} is {found.terms.value}")
    for row in history:
        when = f"{instant(row['from_us']).astimezone(utility.zone()):%Y-%m-%d %H:%M}"
        print(f"  {when}  {row['terms']:10} {row['by']}: {row['reason']}")


async def _switch(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    from slotmeter.services.settlement_document import settlement_text
    from slotmeter.vending.accounts import Terms

    caller = await caller_of(options, folder, Right.ACCOUNTS_WRITE)
    office = _office(folder)
    readings = await office.readings(utility.id, options.account, _written(options))
    document = await office.switch(
        caller,
        options.account,
        Terms(options.terms),
        readings,
        at=utc(options.at, utility),
        reason=options.reason,
    )
    if options.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(settlement_text(document), end="")


def _written(options: argparse.Namespace) -> list[WrittenReading]:
    from slotmeter.services.settlement_meters import WrittenReading

    registers, left = dict(options.reading), dict(options.credit_left)
    return [
        WrittenReading(meter, registers.get(meter), left.get(meter))
        for meter in dict.fromkeys((*registers, *left))
    ]

"""``slotmeter free-units``: who is registered for free units, and who has not come for them."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_OK
from slotmeter.cli.account_import import add_import_options, bring_in
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.ports import Right
from slotmeter.units import instant

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.free_units import FreeUnitsOffice
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register"]

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[int]]


def register(subparsers: Subparsers) -> None:
    """Add ``free-units``."""
    parser = subparsers.add_parser("free-units", help="registrations for free units")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("register", help="register an account")
    adding.add_argument("account", metavar="ACCOUNT")
    adding.add_argument("code", metavar="CODE", help="of the free units in the tariff")
    adding.add_argument("--evidence", required=True, help="why the household is entitled")
    adding.add_argument("--from", dest="from_day", type=_day, metavar="YYYY-MM-DD", help="or today")
    adding.add_argument(
        "--until", dest="until_day", type=_day, metavar="YYYY-MM-DD", help="first day without"
    )
    adding.set_defaults(action=_register)
    ending = actions.add_parser("end", help="end a registration now")
    ending.add_argument("registration", type=int, metavar="N", help="see `free-units list`")
    ending.set_defaults(action=_end)
    importing = actions.add_parser("import", help="registrations from a file")
    add_import_options(importing)
    importing.set_defaults(action=_import)
    for each in (adding, ending, importing):
        add_acting_options(each)
    listing = actions.add_parser("list", help="list registrations, the newest first")
    listing.add_argument("--code")
    listing.add_argument("--account")
    listing.add_argument("--in-force", action="store_true", help="only those that count now")
    add_page_options(listing)
    listing.set_defaults(action=_list)
    missing = actions.add_parser(
        "not-collected",
        help="who is registered and has not come this month: remind them",
        description="Write account, customer, telephone and code of everyone who is registered "
        "and has claimed nothing of a month, as CSV.",
    )
    missing.add_argument("--period", metavar="YYYY-MM", help="this month if left out")
    missing.add_argument("--code")
    missing.set_defaults(action=_not_collected)
    for each in (listing, missing):
        add_looking_options(each)
    for each in actions.choices.values():
        each.set_defaults(run=_run)
    template = actions.add_parser("template", help="print a file to start an import from")
    template.set_defaults(run=_template)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD, got {text!r}") from error


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_act(options))


async def _act(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        return await action(options, folder, await folder.utility(options))


def _template(_options: argparse.Namespace) -> int:
    from slotmeter.services.account_file import FREE_COLUMNS
    from slotmeter.services.csv_table import csv_template

    print(csv_template(FREE_COLUMNS), end="")
    return EXIT_OK


def _office(folder: OpenFolder) -> FreeUnitsOffice:
    from slotmeter.services.free_units import FreeUnitsOffice

    return FreeUnitsOffice(folder.database, folder.clock)


async def _register(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.account_lookup import start_of_day_us
    from slotmeter.services.free_units import NewRegistration

    caller = await caller_of(options, folder, Right.FREE_WRITE)
    today = folder.clock.now().astimezone(utility.zone()).date()
    first, end = options.from_day or today, options.until_day
    new = NewRegistration(
        account=options.account,
        code=options.code,
        evidence=options.evidence,
        from_us=start_of_day_us(first, utility.time_zone),
        until_us=None if end is None else start_of_day_us(end, utility.time_zone),
    )
    made = await _office(folder).register(caller, new, reason=options.reason)
    until = "" if end is None else f" until {end}"
    sentence = f"registration {made}: account {new.account} for {new.code} from {first}{until}"
    _say(options, {"registration": made, "account": new.account}, sentence)
    return EXIT_OK


async def _end(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.FREE_WRITE)
    await _office(folder).end(caller, options.registration, reason=options.reason)
    sentence = f"registration {options.registration} has ended"
    _say(options, {"registration": options.registration, "state": "over"}, sentence)
    return EXIT_OK


async def _import(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    from slotmeter.services.account_file import free_file

    caller = await caller_of(options, folder, Right.FREE_WRITE)
    file = free_file(folder.database, _office(folder), caller, reason=options.reason)
    return await bring_in(options, folder, caller, "free_units", file.run)


async def _list(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.list_pages import cut

    found = await _office(folder).registrations(
        utility.id,
        code=options.code,
        account=options.account,
        in_force=options.in_force,
        before=options.before,
        limit=options.limit + 1,
    )
    rows, following = cut(found, options.limit, lambda row: row["id"])
    say_more(options, following)
    lines = [_line(row, utility) for row in rows]
    if options.json:
        print(json.dumps(lines, indent=2, ensure_ascii=False))
        return EXIT_OK
    for line in lines:
        until = f" until {line['until']}" if line["until"] else ""
        ended = f", ended {line['ended']}" if line["ended"] else ""
        print(
            f"{line['registration']:6} {line['account']:20} {line['code']:12} "
            f"from {line['from']}{until}{ended}  {line['evidence']}"
        )
    return EXIT_OK


def _line(row: Any, utility: UtilityInfo) -> dict[str, Any]:
    def local(us: int | None) -> str | None:
        return None if us is None else f"{instant(us).astimezone(utility.zone()):%Y-%m-%d}"

    return {
        "registration": row["id"],
        "account": row["account"],
        "customer": row["customer_name"],
        "code": row["code"],
        "from": local(row["from_us"]),
        "until": local(row["until_us"]),
        "ended": local(row["ended_us"]),
        "evidence": row["evidence"],
        "by": row["by"],
    }


async def _not_collected(
    options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo
) -> int:
    office = _office(folder)
    period = options.period or office.this_month(utility.time_zone)
    rows = office.all_not_collected(utility.id, period, code=options.code)
    if options.json:
        found = [
            {
                "account": row["account"],
                "customer": row["customer_name"],
                "phone": row["phone"],
                "code": row["code"],
            }
            async for row in rows
        ]
        print(json.dumps({"period": period, "items": found}, indent=2, ensure_ascii=False))
        return EXIT_OK
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["account", "customer", "phone", "code", "period"])
    async for row in rows:
        writer.writerow([row["account"], row["customer_name"], row["phone"], row["code"], period])
    return EXIT_OK


def _say(options: argparse.Namespace, document: dict[str, object], sentence: str) -> None:
    print(json.dumps(document) if options.json else sentence)

"""``slotmeter key-campaign``: change the keys of many meters, step by step."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotmeter.cli.codings import add_action
from slotmeter.cli.data_folder import write_secret
from slotmeter.errors import ConfigError

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Caller
    from slotmeter.services.campaign_terms import Progress
    from slotmeter.services.coding_office import CodingOffice

__all__ = ["register"]

STEP_METERS = 100
LIST_MAX = 500


def register(subparsers: Subparsers) -> None:
    """Add ``key-campaign``."""
    parser = subparsers.add_parser("key-campaign", help="change the keys of many meters")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    begin = add_action(actions, "begin", _begin, "begin a campaign")
    begin.add_argument("--to", required=True, metavar="KEY", help="vending key of all its meters")
    begin.add_argument("--tariff-index", type=int, metavar="N", help="0 to 99")
    begin.add_argument("--three-tokens", action="store_true", help="EA07: sets of three")
    begin.add_argument(
        "--how",
        choices=("deliver", "with_sale"),
        default="deliver",
        help="make the sets now, to send and print; or each with its meter's next sale",
    )
    select = add_action(actions, "select", _select, "add meters")
    select.add_argument("--from", dest="from_key", metavar="KEY", help="that they are on")
    select.add_argument("--base-date", type=int, choices=(1993, 2014, 2035))
    select.add_argument("--sgc", help="supply group code")
    select.add_argument("--krn", type=int, help="key revision")
    select.add_argument("--commodity", choices=("electricity", "water", "gas"))
    select.add_argument("--area", help="and what is below it, as Town/North")
    select.add_argument("--file", type=Path, metavar="FILE", help="meter numbers, one a line")
    run = add_action(actions, "run", _run_on, "make the sets, until none is left; may be stopped")
    run.add_argument("--again", action="store_true", help="also those that failed")
    add_action(actions, "show", _show, "show how far it is", acting=False)
    add_action(actions, "meters", _meters, "list its meters", acting=False)
    add_action(actions, "unused", _unused, "list unused recent tokens of its meters", acting=False)
    sets = add_action(actions, "sets", _sets, "write the sets that wait for their proof, to print")
    sets.add_argument("--form", choices=("csv", "text", "html"), default="csv")
    sets.add_argument("--out", type=Path, required=True, metavar="FILE", help="must not be there")
    add_action(
        actions, "replace", _replace, "replace unused tokens of meters that tell what they take"
    )
    add_action(actions, "close", _close, "end it")
    for each in actions.choices.values():
        each.add_argument("code", metavar="CODE")


async def _begin(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    from slotmeter.services.campaign_terms import CampaignWish

    wish = CampaignWish(
        options.code, options.to, options.tariff_index, options.three_tokens, options.how
    )
    _, is_new = await office.campaigns.begin(caller, wish, options.reason)
    _say(
        options,
        {"code": options.code, "new": is_new},
        f"campaign {options.code} {'begins' if is_new else 'was begun already'}",
    )


async def _select(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    from slotmeter.services.campaign_terms import Selection

    selection = Selection(
        options.from_key,
        options.base_date,
        options.sgc,
        options.krn,
        options.commodity,
        options.area,
        None if options.file is None else _numbers(options.file),
    )
    added, unknown = await office.campaigns.select(caller, options.code, selection, options.reason)
    for number in unknown:
        print(f"slotmeter: {number} is no meter with a key", file=sys.stderr)
    _say(options, {"added": added, "unknown": [*unknown]}, f"{added:,} meters were added")


async def _run_on(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    again = options.again
    while True:
        progress = await office.campaigns.run(caller, options.code, limit=STEP_METERS, again=again)
        again = False
        done = progress.meters - progress.selected
        print(f"\r{done:,} of {progress.meters:,} meters", end="", file=sys.stderr)
        if not progress.selected:
            break
    print(file=sys.stderr)
    _progress(options, progress)


async def _show(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    _progress(options, await office.campaigns.progress(caller, options.code))


async def _meters(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    after = 0
    while True:
        page = await office.campaigns.members(caller, options.code, after=after, limit=LIST_MAX)
        for row in page.rows:
            document = {
                "meter": row["meter"],
                "state": row["state"],
                "change": row["change_state"],
                "proof": row["proof"],
                "problem": row["problem"],
            }
            _say(options, document, "  ".join(str(each) for each in document.values() if each))
        if page.next is None:
            return
        after = int(page.next)


async def _unused(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    after = 0
    while True:
        page = await office.campaigns.unused(caller, options.code, after=after, limit=LIST_MAX)
        for row in page.rows:
            document = {
                "meter": row["meter"],
                "receipt_number": row["receipt_number"],
                "token": row["id"],
                "state": row["state"],
                "online": row["device_id"] is not None,
            }
            reach = "reports" if document["online"] else "out of reach"
            text = f"{row['meter']}  {row['receipt_number'] or '-'}  token {row['id']}"
            _say(options, document, f"{text}  {row['state']}  {reach}")
        if page.next is None:
            return
        after = int(page.next)


async def _sets(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    from slotmeter.services.campaign_sets import MeterSet, render_sets

    if options.out.exists():
        raise ConfigError("file_exists", f"{options.out} is there already; choose another name")
    sets: list[MeterSet] = []
    after: int | None = 0
    while after is not None:
        page, after = await office.sets.sets(caller, options.code, options.reason, after=after)
        sets += page
    mark = "TRAINING" if caller.principal.training else ""
    write_secret(options.out, render_sets(sets, options.form, mark=mark).rstrip("\n"))
    _say(options, {"meters": len(sets)}, f"{len(sets):,} sets are in {options.out}")


async def _replace(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    done = await office.sets.replace_unused(caller, options.code, options.reason)
    problem = f"; {done.failed:,} were not: {done.problem}" if done.failed else ""
    _say(options, asdict(done), f"{done.replaced:,} tokens were replaced{problem}")


async def _close(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    await office.campaigns.close(caller, options.code, options.reason)
    _say(options, {"code": options.code, "state": "closed"}, f"campaign {options.code} is closed")


def _numbers(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _progress(options: argparse.Namespace, progress: Progress) -> None:
    counts = {name: count for name, count in asdict(progress).items() if count}
    text = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())
    _say(options, asdict(progress), f"{progress.meters:,} meters: {text or 'none'}")


def _say(options: argparse.Namespace, document: dict[str, Any], text: str) -> None:
    print(json.dumps(document) if options.json else text)

"""``slotmeter class``: customer classes, who has which, and classes by average use."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.account_import import (
    add_import_options,
    bring_in,
    content_of,
    progress_line,
)
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.local_times import local_time, utc
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.errors import Refused
from slotmeter.ports import Right
from slotmeter.units import instant

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.class_review import Reviewed
    from slotmeter.services.class_rules import ClassRules
    from slotmeter.services.classes import Classes
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register"]

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[int]]
RULES_BYTES_MAX = 100_000


def register(subparsers: Subparsers) -> None:
    """Add ``class``."""
    parser = subparsers.add_parser("class", help="customer classes and who has which")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="make a class that tariffs may name")
    adding.add_argument("code", metavar="CODE")
    adding.add_argument("--title", required=True)
    adding.set_defaults(action=_add)
    setting = actions.add_parser("set", help="give an account a class from an instant on")
    setting.add_argument("account", metavar="ACCOUNT")
    setting.add_argument("class_code", metavar="CLASS", help="none takes the class away")
    _add_from(setting)
    setting.set_defaults(action=_set)
    previewing = actions.add_parser(
        "preview", help="one purchase under the class of now and under another"
    )
    previewing.add_argument("meter", metavar="METER")
    previewing.add_argument("amount", metavar="AMOUNT")
    previewing.add_argument("class_code", metavar="CLASS", help="or none")
    previewing.set_defaults(action=_preview)
    reviewing = actions.add_parser(
        "review",
        help="propose or set classes by average use",
        description="Hold a rules file against what every account bought in the last whole months. "
        "Nothing is changed without --apply. The file: docs/reference/cli.md.",
    )
    reviewing.add_argument("rules", type=Path, metavar="RULES.yaml")
    reviewing.add_argument("--months", type=int, metavar="N", help="instead of the file's")
    reviewing.add_argument("--apply", action="store_true", help="set the classes")
    _add_from(reviewing)
    reviewing.set_defaults(action=_review)
    importing = actions.add_parser("import", help="classes of accounts from a file")
    add_import_options(importing)
    importing.set_defaults(action=_import)
    for each in (adding, setting, previewing, reviewing, importing):
        add_acting_options(each)
    listing = actions.add_parser("list", help="list classes")
    add_page_options(listing, "--after", is_number=False)
    listing.set_defaults(action=_list)
    showing = actions.add_parser("show", help="the classes of one account")
    showing.add_argument("account", metavar="ACCOUNT")
    add_page_options(showing)
    showing.set_defaults(action=_show)
    for each in (listing, showing):
        add_looking_options(each)
    for each in actions.choices.values():
        each.set_defaults(run=_run)
    template = actions.add_parser("template", help="print a file to start an import from")
    template.set_defaults(run=_template)


def _add_from(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="from_at",
        type=local_time,
        metavar="WHEN",
        help="YYYY-MM-DD or YYYY-MM-DDTHH:MM in the utility's time zone; now if left out",
    )


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_act(options))


async def _act(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        return await action(options, folder, await folder.utility(options))


def _template(_options: argparse.Namespace) -> int:
    from slotmeter.services.account_file import CLASS_COLUMNS
    from slotmeter.services.csv_table import csv_template

    print(csv_template(CLASS_COLUMNS), end="")
    return EXIT_OK


def _classes(folder: OpenFolder) -> Classes:
    from slotmeter.services.classes import Classes

    return Classes(folder.database, folder.clock)


async def _add(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.CLASSES_WRITE)
    await _classes(folder).create(caller, options.code, options.title, reason=options.reason)
    _say(options, {"class": options.code}, f"class {options.code}: {options.title}")
    return EXIT_OK


async def _set(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.CLASSES_WRITE)
    wanted = None if options.class_code == "none" else options.class_code
    done = await _classes(folder).assign(
        caller,
        options.account,
        wanted,
        from_at=utc(options.from_at, utility),
        reason=options.reason,
    )
    when = f"{instant(done.from_us).astimezone(utility.zone()):%Y-%m-%d %H:%M}"
    name = wanted or "no class"
    sentence = f"account {options.account}: {name} from {when}"
    if not done.is_new:
        sentence += "; it was so already, nothing was changed"
    _say(options, {"account": options.account, "class": wanted, "new": done.is_new}, sentence)
    return EXIT_OK


async def _preview(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.class_preview import ClassPreview
    from slotmeter.units import Money

    caller = await caller_of(options, folder, Right.CLASSES_WRITE)
    wanted = None if options.class_code == "none" else options.class_code
    both = await ClassPreview(folder.database, folder.clock).preview(
        caller, options.meter, options.amount, wanted
    )
    if options.json:
        document = [
            {
                "class": each.class_code,
                "units": each.units or None,
                "unit": each.unit,
                "refused": each.refused and each.refused[0],
                "lines": [
                    {"label": line.label, "amount": str(Money(line.amount_minor, utility.currency))}
                    for line in each.lines
                ],
            }
            for each in both
        ]
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return EXIT_OK
    for each in both:
        gives = f"{each.units} {each.unit}" if each.refused is None else each.refused[1]
        print(f"{each.class_code or 'no class'}: {gives}")
        for line in each.lines:
            amount = Money(line.amount_minor, utility.currency)
            print(f"  {line.label:<36} {amount!s:>12}")
    return EXIT_OK


async def _review(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from dataclasses import replace

    from slotmeter.services.class_review import ClassReview
    from slotmeter.services.class_rules import read_class_rules

    caller = await caller_of(options, folder, Right.CLASSES_WRITE)
    content = content_of(options.rules)
    if len(content) > RULES_BYTES_MAX:
        raise Refused("file_too_large", f"{options.rules} is larger than {RULES_BYTES_MAX} bytes")
    rules = read_class_rules(content.decode("utf-8-sig", "replace"))
    if options.months is not None:
        rules = replace(rules, months=max(1, options.months))
    review = ClassReview(folder.database, folder.clock)
    found = await review.propose(
        utility.id, utility.time_zone, rules, progress=progress_line("looked at")
    )
    if options.apply:
        await review.apply(
            caller,
            found.proposals,
            from_at=utc(options.from_at, utility),
            reason=options.reason,
            progress=progress_line("set"),
        )
    _show_review(options, rules, found)
    return EXIT_OK


def _show_review(options: argparse.Namespace, rules: ClassRules, found: Reviewed) -> None:
    from slotmeter.services.class_review import average_text

    if options.json:
        document = {
            "accounts": found.accounts,
            "too_new": found.too_new,
            "other_class": found.other_class,
            "no_rule": found.no_rule,
            "applied": options.apply,
            "proposals": [
                {
                    "account": each.account,
                    "average": average_text(rules, each.average_units),
                    "from": each.from_class,
                    "to": each.to_class,
                }
                for each in found.proposals
            ],
        }
        print(json.dumps(document, indent=2))
        return
    for each in found.proposals:
        average = average_text(rules, each.average_units)
        print(f"{each.account:24} {average:>10}  {each.from_class or '-'} -> {each.to_class}")
    done = "set" if options.apply else "proposed; --apply sets them"
    print(
        f"{found.accounts:,} accounts, {len(found.proposals):,} changes {done} "
        f"({found.too_new:,} too new, {found.other_class:,} of other classes, "
        f"{found.no_rule:,} without a rule)"
    )


async def _import(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.account_file import class_file

    caller = await caller_of(options, folder, Right.CLASSES_WRITE)
    today = folder.clock.now().astimezone(utility.zone()).date()
    file = class_file(folder.database, _classes(folder), caller, today=today, reason=options.reason)
    return await bring_in(options, folder, caller, "classes", file.run)


async def _list(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.list_pages import cut

    found = await _classes(folder).classes(utility.id, after=options.after, limit=options.limit + 1)
    rows, following = cut(found, options.limit, lambda row: row["code"])
    say_more(options, following)
    if options.json:
        print(json.dumps([{"class": row["code"], "title": row["title"]} for row in rows], indent=2))
    else:
        for row in rows:
            print(f"{row['code']:32} {row['title']}")
    return EXIT_OK


async def _show(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.list_pages import cut

    found = await _classes(folder).history(
        utility.id, options.account, before=options.before, limit=options.limit + 1
    )
    rows, following = cut(found, options.limit, lambda row: row["id"])
    say_more(options, following)
    lines = [
        {
            "class": row["class_code"],
            "from": f"{instant(row['from_us']).astimezone(utility.zone()):%Y-%m-%d %H:%M}",
            "by": row["by"],
            "reason": row["reason"],
        }
        for row in rows
    ]
    if options.json:
        print(json.dumps(lines, indent=2, ensure_ascii=False))
        return EXIT_OK
    for line in lines:
        print(f"{line['from']}  {line['class'] or '-':24} {line['by']}: {line['reason']}")
    return EXIT_OK


def _say(options: argparse.Namespace, document: dict[str, object], sentence: str) -> None:
    print(json.dumps(document) if options.json else sentence)

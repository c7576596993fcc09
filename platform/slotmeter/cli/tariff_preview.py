"""``slotmeter tariff preview``: what last month's sales would have been under a draft."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from slotmeter.cli.acting import add_acting_options, caller_of
from slotmeter.cli.data_folder import OpenFolder
from slotmeter.ports import Right

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.registry import UtilityInfo

__all__ = ["preview_draft", "register_preview"]


def register_preview(actions: Subparsers) -> argparse.ArgumentParser:
    """Add ``preview`` to the actions of ``slotmeter tariff``."""
    parser = actions.add_parser(
        "preview",
        help="what the sales of a month would have been under a draft",
        description="Price every sale of a month again under a draft, in order for each account, "
        "and compare. It is kept with the draft; nothing is booked.",
    )
    parser.add_argument("draft", type=int, metavar="DRAFT", help="see `tariff drafts`")
    parser.add_argument("--month", metavar="YYYY-MM", help="the last whole month if left out")
    parser.add_argument(
        "--sales-of", metavar="CODE", help="the sales of this tariff, for a tariff that is new"
    )
    add_acting_options(parser)
    parser.set_defaults(action=preview_draft)
    return parser


async def preview_draft(
    options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo
) -> None:
    """Make, keep and print a preview."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from slotmeter.services.office import Office

    caller = await caller_of(options, folder, Right.TARIFF_DRAFT)
    office = Office.of(folder.database, folder.clock)
    draft = await office.tariffs.draft(utility.id, options.draft)
    console = Console(stderr=True)
    columns = ("pricing again", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("sales", total=None)
        made = await office.preview.preview(
            utility.id,
            utility.time_zone,
            draft.body,
            month=options.month,
            sales_of=options.sales_of,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    kept = await office.tariffs.keep_preview(caller, draft, made, reason=options.reason)
    if options.json:
        print(json.dumps(kept, indent=2, ensure_ascii=False))
        return
    for line in _lines(kept):
        print(line)


def _lines(made: Any) -> Iterator[str]:
    unit, currency = made["unit"], made["currency"]
    yield (
        f"{made['tariff']} on the sales of {made['sales_of']} in {made['month']}: "
        f"{made['sales']:,} sales of {made['buyers']:,} buyers for {made['tender']} {currency}"
    )
    yield f"{'class':<24}{'sales':>10}{'then':>16}{'under the draft':>18} {unit}"
    for each in made["by_class"]:
        name = each["class"] or "(none)"
        yield f"{name:<24}{each['sales']:>10,}{each['units_old']:>16}{each['units_new']:>18}"
    yield f"{'account':<34}{'then':>16}{'under the draft':>18} {currency}"
    for each in made["by_account"]:
        yield f"{each['account']:<34}{each['old']:>16}{each['new']:>18}"
    for name, listed in (("gain most", made["winners"]), ("lose most", made["losers"])):
        if listed:
            yield f"who {name}:"
        for each in listed:
            yield (
                f"  {each['account']:<24}{each['tender']:>12} {currency}"
                f"{each['units_old']:>12} -> {each['units_new']} {unit}"
            )
    refused = sum(made["refused"].values())
    if refused:
        codes = ", ".join(f"{code} {count:,}" for code, count in made["refused"].items())
        yield f"refused would have been {refused:,} sales for {made['refused_tender']}: {codes}"

"""``slotmeter ledger verify``: does the ledger agree with the sales?"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.books import register_books
from slotmeter.cli.data_folder import add_folder_options, open_folder

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.ledger_check import LedgerVerdict

__all__ = ["print_verdict", "register", "verify"]


def register(subparsers: Subparsers) -> None:
    """Add ``ledger``."""
    parser = subparsers.add_parser("ledger", help="look at the books, check and close them")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    checking = actions.add_parser(
        "verify",
        help="check that journals sum to zero and agree with sales and tokens",
        description="Check every journal entry, balance, sale and token of a utility against each "
        "other, from one state of the database. Exit code 1 names the first differences.",
    )
    add_folder_options(checking)
    checking.add_argument("--json", action="store_true", help="print the result as JSON")
    checking.set_defaults(run=_run)
    register_books(actions)


def _run(options: argparse.Namespace) -> int:
    verdict = asyncio.run(verify(options))
    if options.json:
        print(json.dumps(as_document(verdict), indent=2))
    else:
        print_verdict(verdict)
    return EXIT_OK if verdict.holds else EXIT_FAILED


async def verify(options: argparse.Namespace) -> LedgerVerdict:
    """Return what the check finds in the folder and utility that the options name."""
    from slotmeter.services.ledger_check import verify_ledger

    async with open_folder(options.data, patient=True) as folder, folder.looks() as looks:
        utility = await folder.utility(options)
        return await verify_ledger(looks, folder.clock, utility, _show_progress)


def _show_progress(done: int, in_all: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {in_all} parts read", end="\r", file=sys.stderr, flush=True)


def as_document(verdict: LedgerVerdict) -> dict[str, object]:
    """Return the verdict as a JSON document."""
    return {
        "utility": verdict.utility,
        "currency": verdict.currency,
        "holds": verdict.holds,
        "figures": verdict.figures,
        "sentences": [
            {
                "name": sentence.name,
                "sentence": sentence.sentence,
                "holds": sentence.holds,
                "checked": sentence.checked,
                "differences": [
                    {"subject": each.subject, "expected": each.expected, "found": each.found}
                    for each in sentence.differences
                ],
            }
            for sentence in verdict.sentences
        ],
    }


def print_verdict(verdict: LedgerVerdict) -> None:
    """Print the verdict for people."""
    from slotmeter.units import Money

    for sentence in verdict.sentences:
        mark = "holds " if sentence.holds else "BROKEN"
        print(f"  {mark}  {sentence.sentence} ({sentence.checked:,} checked)")
        for each in sentence.differences:
            print(f"          {each.subject}: expected {each.expected}, found {each.found}")
    figures = verdict.figures
    tendered = Money(figures["tendered_minor"], verdict.currency)
    print(
        f"{verdict.utility}: {figures['sales_issued']:,} sales for {tendered} {verdict.currency}, "
        f"{figures['tokens']:,} tokens, {figures['journals']:,} journal entries, "
        f"{figures['sales_pending']:,} sales pending"
    )
    print("the ledger balances" if verdict.holds else "the ledger does NOT agree with the sales")

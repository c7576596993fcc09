"""``slotmeter doctor``: what a crash has left, and what puts it right."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.data_folder import add_folder_options, open_folder

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.doctor import Finding

__all__ = ["register"]


def register(subparsers: Subparsers) -> None:
    """Add ``doctor``."""
    parser = subparsers.add_parser(
        "doctor",
        help="find what a crash has left, and put it right",
        description="Examine the data folder: the files, the sales between their commits, the sums "
        "that are kept beside the books, what waits, and the ledger of each utility. With --repair "
        "what can be put right is, each time recorded as an act. Exit code 1 when something is "
        "left to do.",
    )
    add_folder_options(parser, utility=False)
    parser.add_argument("--repair", action="store_true", help="put right what can be")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    findings = asyncio.run(_examine(options))
    left = [finding for finding in findings if not finding.holds]
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(_line(finding))
        print(_ending(len(left), repairing=options.repair))
    return EXIT_FAILED if left else EXIT_OK


def _line(finding: Finding) -> str:
    if not finding.found:
        return f"  holds     {finding.sentence}"
    mark = "repaired " if finding.holds else "LEFT     "
    detail = f": {finding.detail}" if finding.detail else ""
    return f"  {mark} {finding.sentence} ({finding.found:,} found){detail}"


def _ending(left: int, *, repairing: bool) -> str:
    if not left:
        return "nothing is left to do"
    if repairing:
        return (
            f"{left} of these cannot be repaired here; docs/reference/recovery.md says what to do"
        )
    return f"{left} of these are left to do; --repair puts right what can be"


async def _examine(options: argparse.Namespace) -> list[Finding]:
    from slotmeter.runtime.examination import examine_folder

    async with open_folder(options.data) as folder:
        return await examine_folder(
            folder.config, folder.database, folder.clock, folder.origin, repair=options.repair
        )

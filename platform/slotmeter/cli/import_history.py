"""``slotmeter import list`` and ``problems``: what was imported, and what was wrong with it."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import sys
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.data_folder import add_folder_options, open_folder

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers

__all__ = ["register"]

FIELDS = ("row", "field", "code", "reason")


def register(kinds: Subparsers) -> None:
    """Add ``import list`` and ``import problems``."""
    listing = kinds.add_parser(
        "list",
        help="imports, the newest first, and how far each is",
        description="List imports of files, the newest first. One that is still running was "
        "stopped unless somebody runs it now: import the same file again and it goes on.",
    )
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="default %(default)s")
    listing.add_argument("--before", type=int, metavar="ID", help="those older than this import")
    listing.add_argument("--json", action="store_true", help="print JSON")
    add_folder_options(listing)
    listing.set_defaults(run=lambda options: asyncio.run(_list(options)))
    problems = kinds.add_parser(
        "problems",
        help="every problem with the rows of an import, as CSV",
        description="Print everything that was wrong with the rows of an import, as CSV.",
    )
    problems.add_argument("job", type=int, metavar="ID", help="as `import list` gives it")
    add_folder_options(problems)
    problems.set_defaults(run=lambda options: asyncio.run(_problems(options)))


async def _list(options: argparse.Namespace) -> int:
    from slotmeter.services.import_jobs import ImportJobs
    from slotmeter.units import iso_utc

    async with open_folder(options.data) as folder:
        utility = await folder.utility(options)
        jobs = ImportJobs(folder.database, folder.clock, utility.id)
        rows = await jobs.jobs(before=options.before, limit=max(1, options.limit))
    if options.json:
        print(json.dumps({"items": [dict(row) for row in rows]}, indent=2, ensure_ascii=False))
        return EXIT_OK
    for row in rows:
        how = "done" if row["state"] == "done" else f"stopped after row {row['row_done']:,}"
        print(
            f"{row['id']}  {iso_utc(row['created_us'])}  {row['kind']}  {row['file_name']}: "
            f"{row['rows']:,} rows, {row['added']:,} added, {row['already_there']:,} already "
            f"there, {row['bad_rows']:,} bad, {how}"
        )
    return EXIT_OK


async def _problems(options: argparse.Namespace) -> int:
    from slotmeter.services.import_jobs import ImportJobs

    async with open_folder(options.data) as folder:
        utility = await folder.utility(options)
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(FIELDS)
        found = ImportJobs(folder.database, folder.clock, utility.id).problems(options.job)
        async for row in found:
            writer.writerow([row[name] for name in FIELDS])
    return EXIT_OK

"""``slotmeter report``: sums for people and spreadsheets."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import sys
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_looking_options
from slotmeter.cli.data_folder import open_folder

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.debt_reports import ArrearsReport

__all__ = ["register"]

COLUMNS = ("before", "billed", "interest", "collected", "written_off", "other", "outstanding")


def register(subparsers: Subparsers) -> None:
    """Add ``report``."""
    parser = subparsers.add_parser("report", help="sums by area and month")
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    arrears = kinds.add_parser(
        "arrears",
        help="what was billed, collected and is outstanding of debts",
        description="Collection and arrears of a calendar month by area. Each row adds up, and the "
        "total of this month is the sum of the ledger's debt accounts.",
    )
    add_looking_options(arrears)
    arrears.add_argument("--csv", action="store_true", help="print CSV")
    arrears.add_argument("--month", metavar="YYYY-MM", help="this month if left out")
    arrears.add_argument(
        "--level", type=int, metavar="N", help="parts of an area's path that tell areas apart"
    )
    arrears.add_argument("--by-kind", action="store_true", help="a row for each kind of debt")
    arrears.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    report = asyncio.run(_made(options))
    rows, total = _lines(report)
    if options.json:
        document = {"month": report.month, "currency": report.currency, "items": rows}
        print(json.dumps({**document, "total": total}, indent=2, ensure_ascii=False))
    elif options.csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(total), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, {**total, "area": "total"}])
    else:
        _show(report, rows, total)
    return EXIT_OK


async def _made(options: argparse.Namespace) -> ArrearsReport:
    from slotmeter.services.debt_reports import DebtReports
    from slotmeter.services.debt_terms import Books

    async with open_folder(options.data) as folder, folder.looks() as looks:
        books = Books.of(await folder.utility(options))
        return await DebtReports(looks, folder.clock).arrears(
            books, month=options.month, level=options.level, by_kind=options.by_kind
        )


def _lines(report: ArrearsReport) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from slotmeter.api.debts import arrears_line

    lines = [arrears_line(row, report.currency).model_dump() for row in report.rows]
    return lines, arrears_line(report.total, report.currency).model_dump()


def _show(report: ArrearsReport, rows: list[dict[str, Any]], total: dict[str, Any]) -> None:
    print(f"debts in {report.month}, {report.currency}")
    headings = "".join(f"{name.replace('_', ' '):>15}" for name in COLUMNS)
    print(f"{'area':30}{'debts':>8}{headings}")
    for line in (*rows, {**total, "area": "total", "kind": None}):
        named = line["area"] or "(none)"
        if line["kind"]:
            named = f"{named} {line['kind']}"
        sums = "".join(f"{line[name]:>15}" for name in COLUMNS)
        print(f"{named[:30]:30}{line['debts']:>8,}{sums}")

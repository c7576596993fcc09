"""``slotmeter import meters``: meters from a file, all rows checked before anything is written.

Debts come in by ``debt_importing``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, debt_importing, import_history
from slotmeter.cli.account_import import content_of, say_resumed
from slotmeter.cli.data_folder import OpenFolder, add_folder_options, open_folder
from slotmeter.errors import Refused

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.meter_file import MeterFile
    from slotmeter.services.meter_import import Imported
    from slotmeter.services.meter_row import RowProblem

__all__ = ["register"]

PROBLEMS_SHOWN_MAX = 200
"""More bad rows than these are counted and not shown; with ``--json`` all are."""

PROGRESS_ROWS_MIN = 2_000
"""A smaller file is done before anybody looks."""


def register(subparsers: Subparsers) -> None:
    """Add ``import``."""
    parser = subparsers.add_parser("import", help="bring in meters or debts from a file")
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    meters = kinds.add_parser(
        "meters",
        help="bring in meters with their customers",
        description="Check every row of a meter file, name each bad one with its reason, and "
        "write nothing unless all are good. Importing a file again changes nothing, and an import "
        "that was stopped goes on where it was by repeating it. Columns: "
        "docs/reference/meter-file.md.",
    )
    meters.add_argument("file", type=Path, metavar="FILE.csv", nargs="?")
    meters.add_argument("--template", action="store_true", help="print a file to start from")
    meters.add_argument(
        "--accept-good", action="store_true", help="write the good rows although others are bad"
    )
    meters.add_argument(
        "--rows", type=int, metavar="N", help="refuse a file of more or fewer rows: it was cut"
    )
    meters.add_argument("--check-only", action="store_true", help="check and write nothing")
    meters.add_argument("--json", action="store_true", help="print the result as JSON")
    meters.add_argument("--reason", default="meter file", help="recorded with the act")
    add_folder_options(meters)
    meters.set_defaults(run=_run, parser=meters)
    debt_importing.register(kinds)
    import_history.register(kinds)


def _run(options: argparse.Namespace) -> int:
    if options.template:
        from slotmeter.services.meter_file import template

        print(template(), end="")
        return EXIT_OK
    if options.file is None:
        options.parser.error("a FILE.csv is needed, or --template")
    return asyncio.run(_import(options))


async def _import(options: argparse.Namespace) -> int:
    content = content_of(options.file)
    async with open_folder(options.data) as folder:
        return await _import_into(options, folder, content)


async def _import_into(options: argparse.Namespace, folder: OpenFolder, content: bytes) -> int:
    from slotmeter.services.driver_packs import load_drivers
    from slotmeter.services.import_jobs import FileToImport, ImportJobs
    from slotmeter.services.meter_file import read_meter_file
    from slotmeter.services.meter_import import Imported, MeterImport

    utility = await folder.utility(options)
    today = folder.clock.now().astimezone(utility.zone()).date()
    show = _Progress()
    file = read_meter_file(
        content, currency=utility.currency, today=today, progress=show.of("reading")
    )
    _check_rows(options, file.rows_read, content)
    jobs = ImportJobs(folder.database, folder.clock, utility.id)
    wanted = FileToImport("meters", options.file.name, content, file.rows_read)
    begun = None if options.check_only else await jobs.unfinished(wanted)
    row_done = 0 if begun is None else begun.row_done
    rows = [row for row in file.rows if row.row > row_done]
    if begun is not None:
        say_resumed(row_done)
    async with folder.keys() as keys:
        importing = MeterImport(
            folder.database, folder.clock, utility, keys=keys, drivers=load_drivers()
        )
        checked = await importing.check(rows, show.of("checking", len(rows)))
        problems = sorted((*file.problems, *checked.problems), key=lambda each: each.row)
        done = Imported(0, 0, ())
        may_write = not problems or options.accept_good
        if may_write and not options.check_only:
            bad = {problem.row for problem in problems}
            good = [row for row in rows if row.row not in bad]
            job = await jobs.begin(folder.origin, wanted, reason=options.reason)
            writing = show.of("writing", len(good))
            done = await importing.add(
                folder.origin, good, reason=options.reason, job=job, progress=writing
            )
            problems += done.problems
            await jobs.end(job, problems)
    show.end()
    _show(options, file, checked if options.check_only else done, problems)
    if not problems:
        return EXIT_OK
    return EXIT_FAILED if options.accept_good else EXIT_UNUSABLE


def _check_rows(options: argparse.Namespace, rows: int, content: bytes) -> None:
    """Refuse a file that is not as long as was said, and say when one may have been cut."""
    if options.rows is not None and rows != options.rows:
        raise Refused(
            "file_incomplete",
            f"expected {options.rows:,} rows as --rows says, got {rows:,}; was the file cut?",
        )
    if options.rows is None and not content.endswith((b"\n", b"\r")):
        print(
            "the file does not end with a line break: if it was cut, its last row may lack its "
            "end; --rows N makes sure",
            file=sys.stderr,
        )


def _show(
    options: argparse.Namespace,
    file: MeterFile,
    done: Imported,
    problems: Sequence[RowProblem],
) -> None:
    bad_rows = len({problem.row for problem in problems})
    if options.json:
        document = {
            "rows": file.rows_read,
            "added": 0 if options.check_only else done.added,
            "already_there": done.already_there,
            "bad_rows": bad_rows,
            "problems": [
                {"row": each.row, "field": each.field, "code": each.code, "reason": each.reason}
                for each in problems
            ],
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for each in problems[:PROBLEMS_SHOWN_MAX]:
        print(f"row {each.row}, {each.field}: {each.reason} ({each.code})", file=sys.stderr)
    if len(problems) > PROBLEMS_SHOWN_MAX:
        more = len(problems) - PROBLEMS_SHOWN_MAX
        print(f"and {more:,} more; --json lists them all", file=sys.stderr)
    print(_summary(options, file.rows_read, done, bad_rows))


def _summary(options: argparse.Namespace, rows: int, done: Imported, bad_rows: int) -> str:
    there = f", {done.already_there:,} already there" if done.already_there else ""
    bad = f", {bad_rows:,} bad" if bad_rows else ""
    if options.check_only:
        return f"rows: {rows:,}; new: {done.added:,}{there}{bad}; nothing was written"
    if bad_rows and not options.accept_good:
        hint = "nothing was written (--accept-good takes the others)"
        return f"rows: {rows:,}{bad}; {hint}"
    return f"rows: {rows:,}; meters added: {done.added:,}{there}{bad}"


class _Progress:
    """A line on standard error that says how far a large file is; nothing for a small one."""

    def __init__(self) -> None:
        self._shown = False

    def of(self, doing: str, total: int = 0) -> Callable[[int], None]:
        def show(done: int) -> None:
            if max(done, total) < PROGRESS_ROWS_MIN or not sys.stderr.isatty():
                return
            of_total = f" of {total:,}" if total else ""
            print(f"\r\033[K{doing} {done:,}{of_total} rows", end="", file=sys.stderr, flush=True)
            self._shown = True

        return show

    def end(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

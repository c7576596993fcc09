"""Files about accounts on the command line: read, checked, written, and every bad row named."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE
from slotmeter.errors import ConfigError

if TYPE_CHECKING:
    from slotmeter.cli.data_folder import OpenFolder
    from slotmeter.ports import Caller
    from slotmeter.services.account_file import FileDone
    from slotmeter.services.csv_table import RowProblem
    from slotmeter.services.import_jobs import FileJob

__all__ = [
    "add_import_options",
    "bring_in",
    "content_of",
    "progress_line",
    "say_resumed",
]

PROBLEMS_SHOWN_MAX = 200
PROGRESS_ROWS = 500


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that takes a file."""
    parser.add_argument("file", type=Path, metavar="FILE.csv")
    parser.add_argument(
        "--accept-good", action="store_true", help="write the good rows although others are bad"
    )
    parser.add_argument("--check-only", action="store_true", help="check and write nothing")


def content_of(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        ConfigError: ``file_unreadable``.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read: {error.strerror}") from error


def progress_line(doing: str) -> Callable[[int], None]:
    """Return what shows on a terminal how far a long file is."""

    def show(done: int) -> None:
        if done >= PROGRESS_ROWS and done % PROGRESS_ROWS == 0 and sys.stderr.isatty():
            print(
                f"\r\033[K{doing} {done:,} rows",
                end="",
                file=sys.stderr,
                flush=True,
            )

    return show


def _job_of(
    folder: OpenFolder, caller: Caller, kind: str, options: argparse.Namespace
) -> FileJob | None:
    """Return what keeps how far the file is; None where nothing will be written."""
    from slotmeter.services.access import Origin
    from slotmeter.services.import_jobs import FileJob, ImportJobs

    if options.check_only:
        return None
    jobs = ImportJobs(folder.database, folder.clock, caller.principal.utility_id)
    return FileJob(
        jobs,
        Origin.of(caller),
        kind,
        options.file.name,
        reason=options.reason,
        on_resumed=say_resumed,
    )


def say_resumed(row_done: int) -> None:
    """Say that a file was begun before."""
    print(f"going on after row {row_done:,}, where this file stopped", file=sys.stderr)


async def bring_in(
    options: argparse.Namespace,
    folder: OpenFolder,
    caller: Caller,
    kind: str,
    run: Callable[..., Awaitable[FileDone]],
) -> int:
    """Bring in a file of rows about accounts as its options say, and return the exit code."""
    content = content_of(options.file)
    return await _import_result(
        options,
        lambda: run(
            content,
            accept_good=options.accept_good,
            check_only=options.check_only,
            progress=progress_line(kind.replace("_", " ")),
            job=_job_of(folder, caller, kind, options),
        ),
    )


async def _import_result(
    options: argparse.Namespace, run: Callable[[], Awaitable[FileDone]]
) -> int:
    """Run an import, print what became of it, and return the exit code."""
    done = await run()
    if options.json:
        print(json.dumps(_document(done), indent=2, ensure_ascii=False))
    else:
        _show_problems(done.problems)
        print(_summary(options, done))
    if not done.problems:
        return EXIT_OK
    return EXIT_FAILED if options.accept_good else EXIT_UNUSABLE


def _document(done: FileDone) -> dict[str, object]:
    return {
        "rows": done.rows,
        "written": done.written,
        "already_there": done.already_there,
        "bad_rows": done.bad_rows,
        "problems": [
            {"row": each.row, "field": each.field, "code": each.code, "reason": each.reason}
            for each in done.problems
        ],
    }


def _show_problems(problems: Sequence[RowProblem]) -> None:
    for each in problems[:PROBLEMS_SHOWN_MAX]:
        print(f"row {each.row}, {each.field}: {each.reason} ({each.code})", file=sys.stderr)
    if len(problems) > PROBLEMS_SHOWN_MAX:
        more = len(problems) - PROBLEMS_SHOWN_MAX
        print(f"and {more:,} more; --json lists them all", file=sys.stderr)


def _summary(options: argparse.Namespace, done: FileDone) -> str:
    there = f", {done.already_there:,} already there" if done.already_there else ""
    bad = f", {done.bad_rows:,} bad" if done.bad_rows else ""
    if options.check_only or (done.problems and not options.accept_good):
        return f"rows: {done.rows:,}{bad}; nothing was written"
    return f"rows: {done.rows:,}; written: {done.written:,}{there}{bad}"

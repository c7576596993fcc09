"""``slotmeter import debts``: debts from a file, all rows checked before anything is written."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.account_import import bring_in
from slotmeter.cli.acting import add_looking_options, caller_of
from slotmeter.cli.data_folder import open_folder
from slotmeter.ports import Right

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers

__all__ = ["register"]


def register(kinds: Subparsers) -> None:
    """Add ``import debts``."""
    parser = kinds.add_parser(
        "debts",
        help="bring in debts of accounts",
        description="Check every row of a file of debts, name each bad one with its reason, and "
        "write nothing unless all are good. Importing a file again changes nothing, and an import "
        "that was stopped goes on where it was by repeating it. Columns: docs/reference/debts.md.",
    )
    parser.add_argument("file", type=Path, metavar="FILE.csv", nargs="?")
    parser.add_argument("--template", action="store_true", help="print a file to start from")
    parser.add_argument(
        "--accept-good", action="store_true", help="write the good rows although others are bad"
    )
    parser.add_argument("--check-only", action="store_true", help="check and write nothing")
    add_looking_options(parser)
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="whose act this is: a file with their API key, from `slotmeter user key`",
    )
    parser.add_argument("--reason", default="debt file", help="recorded with the acts")
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    if options.template:
        from slotmeter.services.debt_import import debt_template

        print(debt_template(), end="")
        return EXIT_OK
    if options.file is None or options.key_file is None:
        options.parser.error("a FILE.csv and --key-file are needed, or --template")
    return asyncio.run(_import(options))


async def _import(options: argparse.Namespace) -> int:
    from slotmeter.services.access import Origin
    from slotmeter.services.debt_import import DebtImport
    from slotmeter.services.debt_terms import Books

    async with open_folder(options.data) as folder:
        caller = await caller_of(options, folder, Right.DEBTS_WRITE)
        importing = DebtImport(
            folder.database, folder.clock, Origin.of(caller), Books.of(caller.principal)
        )
        run = partial(importing.run, reason=options.reason)
        return await bring_in(options, folder, caller, "debts", run)

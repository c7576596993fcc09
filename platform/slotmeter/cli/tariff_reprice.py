"""``slotmeter tariff reprice --verify``: a proof that sales follow from their tariffs."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.acting import add_looking_options
from slotmeter.cli.data_folder import config_of, open_folder
from slotmeter.cli.local_times import local_time, utc
from slotmeter.storage.data_files import DATABASE_FILE
from slotmeter.units import Money, epoch_us

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.runtime.repricing import Verified
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register_reprice"]

PROCESSES_MAX = 16
EVER_US = 2**62


def register_reprice(actions: Subparsers) -> None:
    """Add ``reprice`` to the actions of ``slotmeter tariff``."""
    parser = actions.add_parser(
        "reprice",
        help="prove that every stored sale follows from its tariff",
        description="Price every stored sale again under the version it was sold under, in order "
        "for each account, and compare lines, units and block counter. Changes nothing. Exit code "
        "1 names the first sales that differ.",
    )
    parser.add_argument(
        "--verify", action="store_true", required=True, help="compare with the sale"
    )
    parser.add_argument("--from", dest="from_at", type=local_time, metavar="WHEN")
    parser.add_argument("--to", dest="to_at", type=local_time, metavar="WHEN")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), metavar="N")
    add_looking_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    utility = asyncio.run(_utility(options))
    started_s = time.monotonic()
    verified = _verify(options, utility)
    seconds = time.monotonic() - started_s
    if options.json:
        print(json.dumps(_as_document(verified, seconds), indent=2))
    else:
        _show(verified, utility, seconds)
    return EXIT_FAILED if verified.repriced.different else EXIT_OK


async def _utility(options: argparse.Namespace) -> UtilityInfo:
    async with open_folder(options.data) as folder:
        return await folder.utility(options)


def _verify(options: argparse.Namespace, utility: UtilityInfo) -> Verified:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from slotmeter.runtime.repricing import verify_sales
    from slotmeter.storage.opening import long_looks

    from_at, to_at = utc(options.from_at, utility), utc(options.to_at, utility)
    config = long_looks(config_of(options.data))
    console = Console(stderr=True)
    columns = ("pricing again", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("sales", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return verify_sales(
            config.database if config.database.url else options.data / DATABASE_FILE,
            utility.id,
            from_us=0 if from_at is None else epoch_us(from_at),
            to_us=EVER_US if to_at is None else epoch_us(to_at),
            processes=max(1, min(options.processes, PROCESSES_MAX)),
            progress=show,
        )


def _as_document(verified: Verified, seconds: float) -> dict[str, object]:
    found = verified.repriced
    return {
        "sales": found.sales,
        "first_release": found.first_release,
        "voided": found.voided,
        "tender_minor": found.tender_minor,
        "different": found.different,
        "differences": [
            {
                "receipt_number": each.receipt_number,
                "what": each.what,
                "stored": each.stored,
                "computed": each.computed,
            }
            for each in found.differences
        ],
        "seconds": round(seconds, 3),
        "processes": verified.processes,
        "memory_mib_max": verified.memory_kib_max // 1024,
    }


def _show(verified: Verified, utility: UtilityInfo, seconds: float) -> None:
    found = verified.repriced
    for each in found.differences:
        print(f"  {each.receipt_number}, {each.what}: stored {each.stored}, now {each.computed}")
    tendered = Money(found.tender_minor, utility.currency)
    print(
        f"{found.sales:,} sales for {tendered} {utility.currency} priced again in {seconds:.1f} s, "
        f"{found.different:,} differ"
    )

"""``slotmeter backup`` and ``slotmeter restore``."""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.data_folder import add_folder_options, config_of, origin_here
from slotmeter.cli.ledger import as_document, print_verdict
from slotmeter.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slotmeter.cli import Subparsers
    from slotmeter.runtime.backup_folder import Manifest, Progress
    from slotmeter.runtime.restore import Restored

__all__ = ["register"]


def register(subparsers: Subparsers) -> None:
    """Add ``backup`` and ``restore``."""
    backup = subparsers.add_parser(
        "backup",
        help="copy everything that must not be lost, while the server sells",
        description="Copy the database, the readings and the settings as of one instant into a new "
        "folder. A server may go on selling. The master key and API keys are not in it: keep the "
        "master key elsewhere, since the vault in the backup is of no use without it.",
    )
    backup.add_argument("target", type=Path, metavar="FOLDER", help="the folder to make")
    add_folder_options(backup, utility=False)
    backup.add_argument("--json", action="store_true", help="print what is in it as JSON")
    backup.set_defaults(run=_backup)

    restore = subparsers.add_parser(
        "restore",
        help="bring a backup back into an empty data folder, and check it",
        description="Check a backup, copy it into an empty data folder, and hold its ledger "
        "against its sales. From then on this copy gives only token identifiers that the original "
        "cannot have given; that holds as long as the original sells no more.",
    )
    restore.add_argument("source", type=Path, metavar="FOLDER", nargs="?", help="the backup")
    add_folder_options(restore, utility=False)
    restore.add_argument(
        "--original-stopped",
        action="store_true",
        help="say that the server this is a copy of sells no more",
    )
    restore.add_argument(
        "--already-there",
        action="store_true",
        help="the database was brought back by other means; only check it and mark it as a copy",
    )
    restore.add_argument(
        "--check-only", action="store_true", help="read the backup through and restore nothing"
    )
    restore.add_argument(
        "--last-floor",
        type=int,
        default=0,
        metavar="MINUTE",
        help="the floor that another restore of the last day has printed",
    )
    restore.add_argument("--json", action="store_true", help="print the result as JSON")
    restore.set_defaults(run=_restore)


def _backup(options: argparse.Namespace) -> int:
    from slotmeter.runtime.backup import make_backup
    from slotmeter.services.system_clock import SystemClock

    config = config_of(options.data)
    with _progress(quiet=options.json) as progress:
        manifest = asyncio.run(
            make_backup(config, SystemClock(), options.target.absolute(), progress)
        )
    if options.json:
        print(json.dumps(_manifest_document(manifest), indent=2))
        return EXIT_OK
    print(f"made {options.target}: {_size(manifest)}, {_figures(manifest)}")
    print("the master key is not in it; without it nothing can be sold from this backup")
    return EXIT_OK


def _restore(options: argparse.Namespace) -> int:
    from slotmeter.runtime.restore import check_backup

    if options.already_there == (options.source is not None):
        raise Refused(
            "restore_of_what",
            "name the folder of a backup, or say --already-there, not both",
            field="folder",
        )
    with _progress(quiet=options.json) as progress:
        if options.check_only and options.source is not None:
            manifest = check_backup(options.source.absolute(), progress)
            print(
                json.dumps(_manifest_document(manifest), indent=2)
                if options.json
                else f"{options.source} is whole: {_size(manifest)}, {_figures(manifest)}"
            )
            return EXIT_OK
        if not options.original_stopped:
            raise Refused(
                "original_may_sell",
                "two copies that sell at once can give one token twice; stop the server that this "
                "is a copy of for good, then say --original-stopped",
                field="original-stopped",
            )
        restored = asyncio.run(_restored(options, progress))
    _say_restored(restored, options.data.absolute(), as_json=options.json)
    return EXIT_OK if restored.holds else EXIT_FAILED


async def _restored(options: argparse.Namespace, progress: Progress) -> Restored:
    from slotmeter.runtime.restore import mark_and_check, restore_backup, settings_of
    from slotmeter.services.system_clock import SystemClock

    clock, origin, floor = SystemClock(), origin_here(), options.last_floor
    folder = options.data.absolute()
    if options.already_there:
        return await mark_and_check(config_of(folder), clock, origin, last_floor=floor)
    source = options.source.absolute()
    config = settings_of(source, folder)
    return await restore_backup(source, config, clock, origin, progress, last_floor=floor)


def _say_restored(restored: Restored, folder: Path, *, as_json: bool) -> None:
    if as_json:
        manifest = restored.manifest
        document = {
            "backup": None if manifest is None else _manifest_document(manifest),
            "tid_floor_minute": restored.tid_floor_minute,
            "ledgers": [as_document(verdict) for verdict in restored.verdicts],
            "holds": restored.holds,
        }
        print(json.dumps(document, indent=2))
        return
    if restored.manifest is not None:
        print(f"restored {_figures(restored.manifest)} into {folder}")
    for verdict in restored.verdicts:
        print_verdict(verdict)
    print(
        "tokens from now on have identifiers after minute "
        f"{restored.tid_floor_minute}; a restore within the next day needs --last-floor "
        f"{restored.tid_floor_minute}"
    )
    print(
        f"put the master key into {folder}, make new API keys for the pages, then: slotmeter serve"
    )


def _manifest_document(manifest: Manifest) -> dict[str, object]:
    return {
        "made": manifest.made,
        "slotmeter": manifest.version,
        "database": manifest.database,
        "revision": manifest.revision,
        "audit": {"seq": manifest.audit_seq, "hash": manifest.audit_hash},
        "figures": dict(manifest.figures),
        "files": {
            file.name: {"bytes": file.bytes, "sha256": file.sha256} for file in manifest.files
        },
    }


def _size(manifest: Manifest) -> str:
    total = sum(file.bytes for file in manifest.files)
    return f"{total / 2**20:,.1f} MiB as of {manifest.made}"


def _figures(manifest: Manifest) -> str:
    if not manifest.figures:
        return f"a {manifest.database} database"
    return ", ".join(f"{count:,} {name}s" for name, count in manifest.figures.items())


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), disable=quiet) as bars:
        tasks = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield tell

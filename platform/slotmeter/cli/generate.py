"""``slotmeter generate``: a utility with many meters and a past, to try out what volumes do."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK, main
from slotmeter.cli.data_folder import (
    UNFINISHED,
    add_folder_options,
    config_of,
    open_folder,
)
from slotmeter.errors import ConfigError
from slotmeter.storage.data_files import DATABASE_FILE

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.config import DatabaseConfig
    from slotmeter.ports import TokenSafe
    from slotmeter.runtime.generate_plan import Plan
    from slotmeter.storage.bulk import BulkTarget

__all__ = ["register"]

STARTED = "generating"
"""A mark in a folder that is not finished."""

TILL = "till"
PROCESSES_MAX = 16
NAME = "Generated Utilities"


def register(subparsers: Subparsers) -> None:
    """Add ``generate``."""
    parser = subparsers.add_parser(
        "generate",
        help="make a data folder with many meters and past sales, for trials",
        description="Make a new data folder with a utility, its meters and their sales of the past "
        "months: priced by the tariff engine, with real tokens, receipts and postings. The same "
        "seed makes the same households, times, amounts and tokens. For trials and benchmarks "
        "only: the vending key follows from the seed, so anybody can make tokens of these meters.",
    )
    parser.add_argument("--meters", type=int, default=1_000_000, help="default %(default)s")
    parser.add_argument("--sales", type=int, default=5_000_000, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument(
        "--processes", type=int, default=2, metavar="N", help="that decide sales; default 2"
    )
    parser.add_argument("--http-port", default="8480", metavar="PORT", help="default %(default)s")
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="an empty PostgreSQL database instead of a file, as postgresql://user@host:5432/name",
    )
    parser.add_argument(
        "--database-password-file", type=Path, metavar="FILE", help="with the database's password"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_folder_options(parser, utility=False)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    folder: Path = options.data
    database, unfinished = folder / DATABASE_FILE, folder / UNFINISHED
    started = folder / STARTED
    if started.exists():
        raise ConfigError(
            "generate_unfinished",
            f"an earlier run in {folder} was stopped; what it has made is worth nothing: remove "
            "the folder, make the database anew if it is on PostgreSQL, and run this again",
        )
    if database.exists():
        raise ConfigError(
            "folder_in_use",
            f"{folder} holds a database already; take a folder that does not exist, or remove it",
        )
    began_s = time.monotonic()
    _command(
        *("init", "--data", str(folder), "--utility-name", NAME, "--code", "generated"),
        *("--tax-number", "P000000000X", "--address", "1 Trial Road", "--no-dashboards"),
        *("--http-port", options.http_port, "--admin-key-file", str(folder / "admin.key")),
        *_database_options(options),
    )
    started.touch()  # from here on it is ours: whose it was before, `init` has refused
    at = ("--data", str(folder))
    _command("user", "add", TILL, "--kind", "service", "--role", "vendor", *at)
    _command("user", "key", TILL, "--key-file", str(folder / f"{TILL}.key"), *at)
    plan, safe = asyncio.run(_prepare(options))
    settings = config_of(folder).database
    if settings.url:
        _fill(_server(settings), plan, safe, options)
        size_bytes = asyncio.run(_size_bytes(settings))
    else:
        database.rename(unfinished)
        _fill(_file(unfinished), plan, safe, options)
        unfinished.rename(database)
        size_bytes = database.stat().st_size
    started.unlink()
    _show(options, plan, time.monotonic() - began_s, size_bytes)
    return EXIT_OK


def _file(path: Path) -> BulkTarget:
    from slotmeter.storage.bulk_sqlite import BulkFile

    return BulkFile(path)


def _server(settings: DatabaseConfig) -> BulkTarget:
    from slotmeter.storage.bulk_postgres import BulkServer

    return BulkServer(settings)


async def _size_bytes(settings: DatabaseConfig) -> int:
    from slotmeter.storage.postgres_session import connect

    connection = await connect(settings, writes=False)
    try:
        size_bytes: int = await connection.fetchval("SELECT pg_database_size(current_database())")
    finally:
        await connection.close()
    return size_bytes


def _database_options(options: argparse.Namespace) -> list[str]:
    named = {
        "--database-url": options.database_url,
        "--database-password-file": options.database_password_file,
    }
    return [
        part for name, value in named.items() if value is not None for part in (name, str(value))
    ]


def _command(*arguments: str) -> None:
    said, wrong = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
        code = main(arguments)
    if code != EXIT_OK:
        raise ConfigError("cannot_prepare", wrong.getvalue().strip() or said.getvalue().strip())


async def _prepare(options: argparse.Namespace) -> tuple[Plan, TokenSafe]:
    from slotmeter.runtime.generate_setup import prepare

    async with open_folder(options.data) as folder, folder.vault() as vault:
        plan = await prepare(
            folder.database,
            folder.clock,
            vault.security,
            folder.origin,
            await folder.registry.utility(None),
            meters=options.meters,
            sales=options.sales,
            seed=options.seed,
        )
        return plan, vault.tokens


def _fill(target: BulkTarget, plan: Plan, safe: TokenSafe, options: argparse.Namespace) -> None:
    from slotmeter.cli.generate_progress import GenerateProgress
    from slotmeter.runtime.generate import generate

    processes = max(1, min(options.processes, PROCESSES_MAX))
    with GenerateProgress() as progress:
        generate(target, plan, safe, processes=processes, progress=progress.show)


def _show(options: argparse.Namespace, plan: Plan, seconds: float, size_bytes: int) -> None:
    if options.json:
        document = {
            "folder": str(options.data),
            "meters": plan.meters,
            "sales": plan.sales,
            "seed": plan.seed,
            "seconds": round(seconds, 1),
            "bytes": size_bytes,
        }
        print(json.dumps(document))
        return
    print(
        f"{options.data}: {plan.meters:,} meters and {plan.sales:,} sales in {seconds:,.0f} s, "
        f"{size_bytes / 1e9:,.2f} GB; {TILL}.key sells"
    )

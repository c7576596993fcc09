"""``slotmeter serve``: run the platform until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.errors import ConfigError

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.config import Config
    from slotmeter.runtime import Runtime

__all__ = ["register"]

CONFIG_FILE = "slotmeter.toml"
DATA_FOLDER = Path("slotmeter-data")
EXIT_HARD = 130

GC_THRESHOLDS = (20_000, 20, 50)
"""A request makes hundreds of objects and few cycles: collecting less often costs little memory."""

TRIED = frozenset(
    {
        "address_unusable",
        "data_folder_in_use",
        "data_folder_not_writable",
        "database_in_use",
        "database_newer",
        "database_not_durable",
        "database_unusable",
        "port_in_use",
        "restore_unfinished",
    }
)
"""Errors of the place, not of the settings: the start was tried and failed (exit code 1)."""


def register(subparsers: Subparsers) -> None:
    """Add ``serve``."""
    parser = subparsers.add_parser(
        "serve",
        help="run the platform: API, meters, dashboards",
        description="Run the platform until SIGTERM or Ctrl-C: requests in work are finished, then "
        "everything is closed. A second signal ends it at once.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"settings; default {CONFIG_FILE} in the data folder, if it is there",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help=f"the data folder; default {DATA_FOLDER}"
    )
    parser.add_argument(
        "--http-port", type=int, metavar="PORT", help="instead of http.port; 0 takes a free one"
    )
    parser.add_argument(
        "--role",
        choices=("all", "api"),
        default="all",
        help="api: serve HTTP alone, beside a process that does everything (PostgreSQL only)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON line when ready, and log JSON"
    )
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from slotmeter.api.logs import set_up_logging
    from slotmeter.runtime.cores import keeping_to_one_core

    config = _config(options)
    set_up_logging(config.log.level, "json" if options.json else config.log.format)
    try:
        with keeping_to_one_core() if config.process.one_core else nullcontext():
            return asyncio.run(_run(config, options.role, as_json=options.json))
    except ConfigError as error:
        if error.code not in TRIED:
            raise
        print(f"slotmeter: {error.message} ({error.code})", file=sys.stderr)
        return EXIT_FAILED


def _config(options: argparse.Namespace) -> Config:
    from slotmeter.config import Config, load

    folder = options.data or DATA_FOLDER
    path = options.config or folder / CONFIG_FILE
    config = load(path) if options.config or path.exists() else Config.default(folder.resolve())
    changes: dict[str, object] = {}
    if options.data is not None:
        data = config.data.model_copy(update={"folder": folder.resolve()})
        changes["data"] = data
    if options.http_port is not None:
        if not 0 <= options.http_port <= 65_535:
            raise ConfigError(
                "bad_setting",
                f"expected a port from 0 to 65535, got {options.http_port}",
                field="http-port",
            )
        changes["http"] = config.http.model_copy(update={"port": options.http_port})
    return config.model_copy(update=changes)


async def _run(config: Config, role: str, *, as_json: bool) -> int:
    from slotmeter.runtime import Role, Runtime

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _told_to_stop, told)
    starting = asyncio.create_task(Runtime.started(config, role=Role(role)))
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
        return EXIT_OK
    waiting.cancel()
    runtime = starting.result()
    # What was made at start-up stays until the end; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        _say_ready(runtime, as_json=as_json)
        await told.wait()
    finally:
        await runtime.stop()
    return EXIT_OK


def _told_to_stop(told: asyncio.Event) -> None:
    if told.is_set():
        print("slotmeter: told twice to stop; ending at once", file=sys.stderr)
        os._exit(EXIT_HARD)
    told.set()


def _say_ready(runtime: Runtime, *, as_json: bool) -> None:
    if as_json:
        ready = {
            "event": "ready",
            "pid": os.getpid(),
            "listeners": [
                {"what": listener.what, "address": listener.address}
                for listener in runtime.listeners
            ],
            "warnings": runtime.warnings,
        }
        print(json.dumps(ready), flush=True)
        return
    for listener in runtime.listeners:
        print(f"{listener.what:12} {listener.address}", flush=True)
    for warning in runtime.warnings:
        print(f"{'NOT RUNNING':12} {warning}", flush=True)
    print("ready; Ctrl-C stops", flush=True)

"""Lose the machine: back up while clients sell, sell on, restore onto a new folder, sell there.

Everything is done by the commands that a person would type. The original sells on after the backup
was made, so that the copy does not know its newest tokens; at the end no token identifier of a
meter may be in both.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from crash_clients import Begun, Book, Client
from crash_line import Line
from crash_town import SQLITE, CrashTown, database_for
from proof import Proof, Trial, main
from slotmeter.testing.databases import Behind
from slotmeter.testing.postgres_server import PostgresServer
from slotmeter.testing.server import Server
from slotmeter.testing.site import Site

PROOF = Proof(
    name="restore",
    claim="a backup made under load and restored elsewhere verifies, sells, and repeats no token",
    sizes="sales",
    size_full=6_000,
    seed=20_240_607,
    databases=(SQLITE, "postgresql"),
)

CLIENTS = 16
COMMAND_S_MAX = 600
TOKENS = """
SELECT meter.number AS meter, token.tid_minute AS minute, sale.sale_id AS sale_id
FROM token JOIN sale ON sale.id = token.sale_row_id JOIN meter ON meter.id = sale.meter_id
"""
SALES = "SELECT sale_id, receipt_number, tender_minor, units FROM sale WHERE state <> 'pending'"


def run(trial: Trial) -> None:
    town = CrashTown(trial.size, trial.seed)
    with database_for(trial.database) as postgres:
        url = "" if postgres is None else postgres.url(postgres.make_database())
        site = town.make(trial.folder / "data", url)
        backup = trial.folder / "backup"
        asyncio.run(back_up_and_lose(trial, town, site, backup))
        copy = restore(trial, site, backup, postgres)
        verify(trial, copy, "the restored copy")
        answered = asyncio.run(sell_on_the_copy(trial, town, copy))
        verify(trial, copy, "the copy that has sold")
        compare(trial, site, copy, answered)


async def back_up_and_lose(trial: Trial, town: CrashTown, site: Site, backup: Path) -> None:
    """Back up between the first quarter and the second; after the third the machine is lost."""
    quarter = trial.size // 4
    book, begun = Book(trial.size), Begun()
    server = Server(site.config, port=site.http_port, log=site.folder / "serve.log")
    await server.start()
    numbers = iter(range(2 * quarter))
    selling = asyncio.create_task(sell(trial, town, site, book, begun, numbers))
    await begun.reach(quarter)
    started_s, sold_before = time.monotonic(), len(book.answers)
    await asyncio.to_thread(command, "backup", str(backup), "--data", str(site.folder))
    trial.figure("seconds of the backup", f"{time.monotonic() - started_s:.1f}")
    trial.figure("sales answered while it was made", len(book.answers) - sold_before)
    await selling
    await sell(trial, town, site, book, begun, iter(range(2 * quarter, 3 * quarter)))
    server.kill()


async def sell(
    trial: Trial, town: CrashTown, site: Site, book: Book, begun: Begun, numbers: Iterator[int]
) -> None:
    keys = {who: site.key_of(who) for who in ("till", "boss")}

    def line() -> Line:
        return Line(site.http_port, keys, book.counts, Random(trial.random.random()))

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            client = Client(town, trial.seed, book, (line(), line()))
            group.create_task(client.work(numbers, begun, trial.progress))


def restore(trial: Trial, site: Site, backup: Path, postgres: PostgresServer | None) -> Site:
    """Restore onto a folder that has only settings, and bring the master key from its own place."""
    folder = trial.folder / "new"
    folder.mkdir(mode=0o700)
    if postgres is not None:
        old = Behind(site.folder).url
        text = site.config.read_text(encoding="utf-8")
        new = postgres.url(postgres.make_database())
        (folder / site.config.name).write_text(text.replace(old, new), encoding="utf-8")
    started_s = time.monotonic()
    said = command(
        *("restore", str(backup), "--data", str(folder), "--original-stopped", "--json"),
    )
    trial.figure("seconds of the restore", f"{time.monotonic() - started_s:.1f}")
    floor = json.loads(said)["tid_floor_minute"]
    trial.figure("identifiers of the copy are later than minute", floor)
    shutil.copy(site.folder / "master.key", folder / "master.key")
    for who in ("till", "boss"):
        shutil.copy(site.folder / f"{who}.key", folder / f"{who}.key")
    return replace(site, folder=folder)


def verify(trial: Trial, site: Site, which: str) -> None:
    for what in ("ledger", "audit"):
        document = json.loads(command(what, "verify", "--data", str(site.folder), "--json"))
        trial.check(f"{what} verify finds nothing wrong with {which}", document["holds"])


async def sell_on_the_copy(trial: Trial, town: CrashTown, copy: Site) -> set[str]:
    """Sell the last quarter, and return the ids of these sales."""
    book = Book(trial.size)
    server = Server(copy.config, port=copy.http_port, log=copy.folder / "serve.log")
    await server.start()
    try:
        numbers = range(3 * (trial.size // 4), trial.size)
        await sell(trial, town, copy, book, Begun(), iter(numbers))
    finally:
        await asyncio.to_thread(server.stop)
    trial.check("the copy sells", len(book.answers) == len(numbers), f"{len(book.answers):,} sales")
    return {f"crash-{number}" for number in book.answers}


def compare(trial: Trial, site: Site, copy: Site, sold_on_copy: set[str]) -> None:
    """Hold the copy against the original, which is still on the disk of the lost machine."""
    original, copied = (
        {row["sale_id"]: row for row in Behind(each.folder).rows(SALES)} for each in (site, copy)
    )
    kept = {sale_id: row for sale_id, row in copied.items() if sale_id not in sold_on_copy}
    trial.figure("sales of the original", len(original))
    trial.figure("of these in the backup", len(kept))
    trial.figure("lost with the machine", len(original) - len(kept))
    trial.check(
        "every sale of the backup is as in the original",
        all(original.get(sale_id) == row for sale_id, row in kept.items()) and bool(kept),
        f"{len(kept):,} sales",
    )
    given = {(row["meter"], row["minute"]) for row in Behind(site.folder).rows(TOKENS)}
    new = [
        (row["meter"], row["minute"])
        for row in Behind(copy.folder).rows(TOKENS)
        if row["sale_id"] in sold_on_copy
    ]
    trial.check(
        "no identifier of a token that the copy gave was given by the original, or twice",
        not given.intersection(new) and len(set(new)) == len(new) and bool(new),
        f"{len(given):,} of the original, {len(new):,} of the copy",
    )


def command(*arguments: str) -> str:
    """Run a command of slotmeter as a person would, and return what it printed.

    Raises:
        RuntimeError: it did not end with 0; the text is what it said.
    """
    environment: dict[str, Any] = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "slotmeter", *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"slotmeter {arguments[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main(PROOF, run))

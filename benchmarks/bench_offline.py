"""What the watch of silent devices costs with 100,000 devices: processor time of a look, and the
longest that one look keeps the event loop from anything else.

    python benchmarks/bench_offline.py [--devices 100000] [--behind 10] [--folder FOLDER]

A database of that many meters is made in a file, with synchronous=FULL; half of them stand behind
nodes, so many behind each. Then time goes by in steps, and one look is measured after each: at
devices that were never seen before, at nothing new, at an hour's share of reports, after a stop of
the server, at a medium that fell silent and spoke again, at nodes that died and came back. Every
step is checked against the database: what was learned, and exactly the alarms that are due.

Processor time and not the clock is what has limits, so that they hold beside other work.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from unittest import mock

from bench_ingest import DRIVER, MEDIUM, make
from slotmeter.ports import Changes, Insert, NewId, Rows, SqlValue
from slotmeter.services.bus import Bus
from slotmeter.services.offline_watch import OfflineWatch, Swept
from slotmeter.storage.database import Database
from slotmeter.testing.clocks import FakeClock
from slotmeter.units import DAY_US, HOUR_US, epoch_us

LOOK_US_MAX: Final = 15.0
"""Of a look for each device when none has news: twice a minute, so a twentieth of a core in all."""

LEARN_US_MAX: Final = 60.0
"""For each device that was heard, over that of a look without news."""

ALARM_US_MAX: Final = 3_000.0
"""For each alarm that is raised or cleared, over that of a look without news."""

LOOP_MS_MAX: Final = 50.0
"""The longest step of the event loop."""

WRITER_MS_MAX: Final = 50.0
"""The longest turn of the writer: so long a sale may wait for the watch."""

LOOK_S: Final = 30
SHARE: Final = 120
"""Of devices that report hourly, one in so many has between two looks."""

TOGETHER: Final = 500
"""Nodes of one unit while the database is made."""

DEAD_NODES: Final = 100
DEAD_METERS: Final = 1_000


# --- measuring ------------------------------------------------------------------------------------


@dataclass
class Longest:
    """The longest steps in processor time of their thread; seconds."""

    loop_s: float = 0.0
    writer_s: float = 0.0


@contextmanager
def measured() -> Iterator[Longest]:
    """Measure every step of event loops and every turn of writers until the end of the block."""
    longest = Longest()
    step, turn = asyncio.Handle._run, Database._write_batch

    def timed_step(handle: asyncio.Handle) -> None:
        began_s = time.thread_time()
        step(handle)
        longest.loop_s = max(longest.loop_s, time.thread_time() - began_s)

    def timed_turn(database: Database, batch: list[Any]) -> None:
        began_s = time.thread_time()
        turn(database, batch)
        longest.writer_s = max(longest.writer_s, time.thread_time() - began_s)

    with (
        mock.patch.object(asyncio.Handle, "_run", timed_step),
        mock.patch.object(Database, "_write_batch", timed_turn),
    ):
        yield longest


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look did and took."""

    swept: Swept
    cpu_s: float
    longest: Longest


# --- the place ------------------------------------------------------------------------------------


class Place:
    """Devices in a database, the watch over them, and a hand in the file."""

    def __init__(self, database: Database, path: Path) -> None:
        self.clock = FakeClock(datetime.now(UTC))
        self.watch = OfflineWatch(database, self.clock, Bus())
        self._database = database
        self._path = path

    @property
    def now_us(self) -> int:
        return epoch_us(self.clock.now())

    def each(self, text: str, rows: Iterable[tuple[int, ...]]) -> None:
        """Change devices one by one."""
        with closing(sqlite3.connect(self._path, timeout=60)) as connection, connection:
            connection.executemany(text, rows)

    def ids(self, text: str) -> list[int]:
        with closing(sqlite3.connect(self._path)) as connection:
            return [int(row[0]) for row in connection.execute(text)]

    def heard(self, devices: Iterable[int]) -> None:
        """Let devices be heard now."""
        now_us = self.now_us
        text = "UPDATE device SET last_contact_us = ? WHERE id = ?"
        self.each(text, ((now_us, each) for each in devices))

    def silent(self, devices: Iterable[int], by_us: int) -> None:
        """Let devices have been heard so much earlier."""
        text = (
            "UPDATE device SET last_contact_us = last_contact_us - ?1, "
            "expected_us = expected_us - ?1 WHERE id = ?2"
        )
        self.each(text, ((by_us, each) for each in devices))

    def reports_hourly(self, devices: Iterable[int]) -> None:
        """Let devices be known to report hourly."""
        text = (
            "UPDATE device SET interval_us = ?1, contacts = 10, "
            "expected_us = last_contact_us + ?1 WHERE id = ?2"
        )
        self.each(text, ((HOUR_US, each) for each in devices))

    async def put_behind_nodes(self, meters: Sequence[int], behind: int) -> None:
        """Put meters behind nodes."""
        (utility_id,) = self.ids("SELECT id FROM utility")
        count = len(meters) // behind
        for first in range(0, count, TOGETHER):
            numbers = range(first, min(first + TOGETHER, count))
            await self._database.run([], adding_nodes(utility_id, numbers, self.now_us))
        nodes = self.ids("SELECT id FROM device WHERE meter_id IS NULL")
        text = "UPDATE device SET node_id = ?, slot = ? WHERE id = ?"
        places = ((nodes[at // behind], at % behind) for at in range(count * behind))
        self.each(text, ((*place, each) for place, each in zip(places, meters, strict=False)))

    async def look(self) -> Looked:
        """Look once, half a minute later."""
        self.clock.advance(seconds=LOOK_S)
        gc.collect()
        with measured() as longest:
            began_s = time.process_time()
            swept = await self.watch.sweep()
            return Looked(swept, time.process_time() - began_s, longest)


def adding_nodes(
    utility_id: int, numbers: range, now_us: int
) -> Callable[[Rows, NewId], Changes[None]]:
    def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
        rows: list[dict[str, SqlValue]] = [
            {
                "id": new_id(),
                "utility_id": utility_id,
                "meter_id": None,
                "medium": MEDIUM,
                "address": f"node-{number}",
                "driver": DRIVER,
                "supply": "unknown",
                "tamper": 0,
                "serial": f"N{number}",
                "created_us": now_us,
            }
            for number in numbers
        ]
        return Changes(None, [Insert("device", row) for row in rows])

    return decide


# --- the figures ----------------------------------------------------------------------------------


@dataclass
class Table:
    """Prints what looks took, and holds them against their limits."""

    devices: int
    quiet_s: float = 0.0
    good: bool = True

    def row(
        self, what: str, looked: Looked, wanted: Swept, *, each_us_max: float = 0.0, per: int = 0
    ) -> None:
        swept, longest = looked.swept, looked.longest
        if (swept.learned, swept.raised, swept.cleared) != (
            wanted.learned, wanted.raised, wanted.cleared,
        ):  # fmt: skip
            raise SystemExit(f"{what}: expected {wanted}, got {swept}")
        each = per or max(swept.learned, swept.raised + swept.cleared) or self.devices
        each_us = max(looked.cpu_s - self.quiet_s, 0.0) / each * 1e6
        missed = [
            name
            for name, value, most in (
                ("processor", each_us, each_us_max or float("inf")),
                ("loop", longest.loop_s * 1e3, LOOP_MS_MAX),
                ("writer", longest.writer_s * 1e3, WRITER_MS_MAX),
            )
            if value > most
        ]
        self.good &= not missed
        limit = f"limit {each_us_max:5,.0f}" if each_us_max else " " * 11
        print(
            f"{what:34} {looked.cpu_s:6.2f} s of CPU  {each_us:7.1f} us for each of {each:7,} "
            f"{limit}  loop {longest.loop_s * 1e3:5.1f} ms  writer {longest.writer_s * 1e3:6.1f} ms"
            f"{'   MISSED: ' + ', '.join(missed) if missed else ''}",
            flush=True,
        )


async def measure(folder: Path, options: argparse.Namespace) -> bool:
    path = folder / "slotmeter.db"
    await make(path, options.devices)
    database = await Database.open(path)
    try:
        place, table = Place(database, path), Table(options.devices)
        meters = place.ids("SELECT id FROM device ORDER BY id")
        half = len(meters) // 2
        await place.put_behind_nodes(meters[half:], options.behind)
        await looks_at_contacts(place, table, meters)
        dead = meters[half : half + DEAD_NODES * options.behind]
        await looks_at_silence(place, table, meters)
        await looks_at_some(place, table, "nodes", dead, len(dead) // options.behind)
        await looks_at_some(place, table, "meters", meters[:DEAD_METERS], DEAD_METERS)
        if place.ids("SELECT id FROM alarm WHERE cleared_us IS NULL"):
            raise SystemExit("alarms were left open")
    finally:
        await database.close()
    return table.good


async def looks_at_contacts(place: Place, table: Table, meters: Sequence[int]) -> None:
    """Measure looks that only learn."""
    everybody = Swept(learned=len(meters))
    place.heard(meters)
    table.row("all seen for the first time", await place.look(), everybody)
    place.reports_hourly(meters)
    quiet = await place.look()
    table.row("no news", quiet, Swept(), each_us_max=LOOK_US_MAX)
    table.quiet_s = quiet.cpu_s
    place.silent(meters, HOUR_US)
    place.heard(meters[::SHARE])
    share = Swept(learned=len(meters[::SHARE]))
    table.row("a share of hourly reports", await place.look(), share)
    place.clock.advance(seconds=60)
    place.heard(meters)
    table.row("all heard", await place.look(), everybody, each_us_max=LEARN_US_MAX)
    place.clock.advance(hours=24)
    table.row("after a day's stop", await place.look(), Swept())


async def looks_at_silence(place: Place, table: Table, meters: Sequence[int]) -> None:
    """Measure looks at a medium that falls silent and speaks again."""
    place.heard(meters)
    await place.look()
    place.silent(meters, DAY_US)
    every: dict[str, Any] = {"each_us_max": LOOK_US_MAX, "per": len(meters)}
    table.row("a medium fell silent", await place.look(), Swept(raised=1), **every)
    table.row("it is still silent", await place.look(), Swept(), **every)
    place.heard(meters[:1])
    table.row("it spoke again", await place.look(), Swept(learned=1, cleared=1), **every)
    place.clock.advance(seconds=60)
    place.heard(meters)
    await place.look()


async def looks_at_some(
    place: Place, table: Table, what: str, devices: Sequence[int], alarms: int
) -> None:
    """Measure looks at devices that die and are back, with so many alarms."""
    place.silent(devices, DAY_US)
    died = Swept(raised=alarms)
    table.row(f"{what} died", await place.look(), died, each_us_max=ALARM_US_MAX)
    place.clock.advance(seconds=LOOK_S)
    place.heard(devices)
    back = Swept(learned=len(devices), cleared=alarms)
    table.row(f"{what} are back", await place.look(), back)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--behind", type=int, default=10, help="meters behind each node")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary one")
    options = parser.parse_args(argv)
    print(
        f"{options.devices:,} devices, half of them behind nodes, {options.behind} behind each, "
        f"synchronous=FULL, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n"
        f"processor time; limits: a step of the loop {LOOP_MS_MAX:g} ms, a turn of the writer "
        f"{WRITER_MS_MAX:g} ms",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        return 0 if asyncio.run(measure(Path(name), options)) else 1


if __name__ == "__main__":
    sys.exit(main())

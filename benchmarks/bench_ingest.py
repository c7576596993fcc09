"""From frames of octets to stored readings, in process: how many a second, and what they cost.

    python benchmarks/bench_ingest.py [--devices 100000] [--rounds 3] [--together 2000]
        [--commands 100000] [--folder FOLDER]

A database of that many electricity meters is made in a file, with synchronous=FULL. Then the device
side is started as a server starts it, and frames are handed in by all devices in random order, some
thousands at a time, while the consumers run. A run ends when the readings of the last frame are in
the store. Every run is checked: each frame in the log, each value in the store, each device at its
last value, nothing set aside. The last rounds run with commands waiting for other devices.

Beside the rate it prints how much of a processor a frame took, which depends less on what else the
machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from struct import Struct
from typing import Final

from prometheus_client import CollectorRegistry

from slotmeter.devices.drivers import Driver, Example
from slotmeter.devices.frames import Frame, Reading, Report
from slotmeter.errors import FrameError
from slotmeter.ports import Changes, Insert, NewId, ReadingRow, Rows, SqlValue, UnitOfWork
from slotmeter.runtime.garbage import settle
from slotmeter.services.bus import Bus
from slotmeter.services.frame_tail import FrameTail
from slotmeter.services.ingest import DeviceConsumer, Frames, ReadingsConsumer
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.system_clock import SystemClock
from slotmeter.services.tasks import TaskOwner
from slotmeter.storage.database import Database
from slotmeter.storage.readings_embedded import EmbeddedReadings
from slotmeter.testing.small_utility import SmallUtility, meter_number
from slotmeter.units import Commodity, epoch_us

FRAMES_PER_S_MIN: Final = {3: 15_000, 1: 40_000}
COMMAND_US_MAX: Final = 5.0
START_S_MAX: Final = 10.0
DEVICE_BYTES_MAX: Final = 2_048
MEDIUM: Final = "bench"
DRIVER: Final = "bench_octets"
ROUND_S: Final = 10
"""Between two frames of a device, by its clock."""

TOGETHER: Final = 500
"""Meters of one unit while the database is made."""

_THREE: Final = Struct(">IIIH")
_ONE: Final = Struct(">II")
_NAMES: Final = ("energy_import", "power", "voltage")


def decode(_path: str, payload: bytes) -> Report:
    """Read a frame: time in seconds, energy in Wh, and in the longer one power in W, voltage."""
    if len(payload) == _THREE.size:
        second, energy, power, decivolts = _THREE.unpack(payload)
        at = datetime.fromtimestamp(second, tz=UTC)
        return Report(
            at,
            (
                Reading("energy_import", energy, at),
                Reading("power", power, at),
                Reading("voltage", decivolts * 100, at),
            ),
        )
    if len(payload) != _ONE.size:
        raise FrameError("wrong_length", f"expected 8 or 14 octets, got {len(payload)}")
    second, energy = _ONE.unpack(payload)
    at = datetime.fromtimestamp(second, tz=UTC)
    return Report(at, (Reading("energy_import", energy, at),))


def driver() -> Driver:
    return Driver(
        key=DRIVER,
        maker="none",
        model="octets",
        medium=MEDIUM,
        commodities=frozenset({Commodity.ELECTRICITY}),
        registers=_NAMES,
        decode=decode,
        encode=lambda _commands: b"",
        commands=frozenset(),
        examples=(Example("one", "p", _ONE.pack(1_800_000_000, 5), {"energy_import": 5}),),
    )


# --- a place to measure in ------------------------------------------------------------------------


async def make(path: Path, devices: int) -> None:
    """Make a database with so many meters, each with its device."""
    database = await Database.open(path)
    now_us = epoch_us(datetime.now(UTC))
    utility = await SmallUtility(database, now_us).make()
    for first in range(1, devices + 1, TOGETHER):
        numbers = range(first, min(first + TOGETHER, devices + 1))
        await database.run([], adding(utility.utility_id, numbers, now_us))
    await database.close()


def adding(utility_id: int, numbers: range, now_us: int) -> Callable[[Rows, NewId], Changes[None]]:
    def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
        meters, devices = [], []
        for number in numbers:
            meter_id = new_id()
            meter: dict[str, SqlValue] = {
                "id": meter_id,
                "utility_id": utility_id,
                "number": meter_number(number),
                "commodity": "electricity",
                "credit_mode": "meter",
                "parameters": None,
                "state": "active",
                "created_us": now_us,
            }
            device: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": utility_id,
                "meter_id": meter_id,
                "medium": MEDIUM,
                "address": address(number),
                "driver": DRIVER,
                "supply": "unknown",
                "tamper": 0,
                "created_us": now_us,
            }
            meters.append(Insert("meter", meter))
            devices.append(Insert("device", device))
        return Changes(None, [*meters, *devices])

    return decide


def address(number: int) -> str:
    return f"{350_000_000_000_000 + number}"


async def queue_commands(uow: UnitOfWork, path: Path, count: int) -> None:
    """Let so many commands wait for the devices with the highest ids."""
    now_us = epoch_us(datetime.now(UTC))
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT id, utility_id, meter_id FROM device ORDER BY id DESC LIMIT ?",
            (max(1, min(count, 1_000)),),
        ).fetchall()
    for start in range(0, count, TOGETHER):
        some = [found[at % len(found)] for at in range(start, min(start + TOGETHER, count))]
        rows: list[dict[str, SqlValue]] = [
            {
                "utility_id": utility_id,
                "meter_id": meter_id,
                "device_id": device_id,
                "kind": "read_now",
                "cause": "rule",
                "reason": "benchmark",
                "priority": 40,
                "state": "queued",
                "attempts": 0,
                "not_before_us": now_us,
                "expires_us": now_us + 3_600_000_000,
                "created_us": now_us,
            }
            for device_id, utility_id, meter_id in some
        ]

        def decide(
            _rows: Rows, new_id: NewId, rows: list[dict[str, SqlValue]] = rows
        ) -> Changes[None]:
            return Changes(None, [Insert("command", {"id": new_id(), **row}) for row in rows])

        await uow.run([], decide)


class Readings(EmbeddedReadings):
    """A store that says when it has come to a frame."""

    _appended: asyncio.Event | None = None
    _cursor = 0

    async def append(self, rows: Sequence[ReadingRow], *, cursor: int | None = None) -> int:
        new = await super().append(rows, cursor=cursor)
        self._cursor = max(self._cursor, cursor or 0)
        if self._appended is not None:
            self._appended.set()
        return new

    async def reached(self, frame_id: int) -> None:
        """Wait until the cursor is at a frame."""
        self._appended = asyncio.Event()
        while self._cursor < frame_id:
            await self._appended.wait()
            self._appended.clear()


# --- the device side ------------------------------------------------------------------------------


class Side:
    """What a server has between its media and its database."""

    def __init__(self, database: Database, readings: Readings) -> None:
        self.metrics = DeviceMetrics(CollectorRegistry())
        bus, tail, drivers = Bus(), FrameTail(), {DRIVER: driver()}
        self.readings = readings
        self.frames = Frames(database, metrics=self.metrics, bus=bus, tail=tail)
        self.devices = DeviceConsumer(
            database, SystemClock(), drivers=drivers, metrics=self.metrics, bus=bus, tail=tail
        )
        self.consumer = ReadingsConsumer(
            database, readings, drivers=drivers, metrics=self.metrics, bus=bus, tail=tail
        )
        self.owner = TaskOwner(self.metrics)

    async def start(self) -> None:
        await self.devices.warm()
        await self.frames.warm(epoch_us(datetime.now(UTC)))
        settle()
        self.owner.keep("devices", self.devices.run)
        self.owner.keep("readings", self.consumer.run)

    async def stop(self) -> None:
        await self.owner.stop()
        await self.frames.close()


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took."""

    frames: int
    wall_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.frames / self.wall_s

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.frames * 1e6


class Fleet:
    """Devices that report, round after round."""

    def __init__(self, devices: Sequence[int], seed: int) -> None:
        self._devices = list(devices)
        self._random = random.Random(seed)
        self._begun = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
        self.round = 0

    def payloads(self, registers: int) -> list[tuple[str, bytes, datetime]]:
        """Return the next round: each device once, in random order."""
        self.round += 1
        received_at = self._begun + timedelta(seconds=self.round * ROUND_S)
        second = int(received_at.timestamp()) - 3
        self._random.shuffle(self._devices)
        if registers == 1:
            return [
                (address(each), _ONE.pack(second, self.value(each)), received_at)
                for each in self._devices
            ]
        return [
            (address(each), _THREE.pack(second, self.value(each), each % 5_000, 2_301), received_at)
            for each in self._devices
        ]

    def value(self, device: int) -> int:
        return device * 1_000 + self.round


async def run(side: Side, payloads: Sequence[tuple[str, bytes, datetime]], together: int) -> Run:
    """Hand frames in and wait until their readings are stored."""
    gc.collect()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    last = 0
    for start in range(0, len(payloads), together):
        some = payloads[start : start + together]
        frames = [Frame(MEDIUM, addr, "p", octets, at) for addr, octets, at in some]
        answers = await side.frames.hand_in_many(frames)
        if not isinstance(answers[-1], int):
            raise SystemExit(f"a frame was refused: {answers[-1]}")
        last = answers[-1]
    await side.readings.reached(last)
    return Run(len(payloads), time.perf_counter() - began_s, time.process_time() - cpu_s)


# --- the figures ----------------------------------------------------------------------------------


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def check(folder: Path, frames: int, rows: int, fleet: Fleet, devices: Sequence[int]) -> None:
    """Refuse figures of a run that lost or doubled anything."""
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection:
        logged, aside = connection.execute(
            "SELECT (SELECT count(*) FROM frame), (SELECT count(*) FROM quarantine)"
        ).fetchone()
        wrong = sum(
            value != fleet.value(int(addr) - 350_000_000_000_000)
            for addr, value in connection.execute("SELECT address, register FROM device")
            if int(addr) - 350_000_000_000_000 in set(devices[:100])
        )
    with closing(sqlite3.connect(folder / "readings.db")) as connection:
        [stored] = connection.execute("SELECT count(*) FROM reading").fetchone()
    if (logged, aside, wrong, stored) != (frames, 0, 0, rows):
        raise SystemExit(
            f"expected {frames} frames, none aside, {rows} readings; got {logged} frames, "
            f"{aside} aside, {wrong} devices with another value, {stored} readings"
        )


def told(what: str, runs: Sequence[Run], limit: float | None = None) -> bool:
    best, worst = max(run.per_s for run in runs), min(run.per_s for run in runs)
    middle = sorted(run.per_s for run in runs)[len(runs) // 2]
    cpu = sorted(run.cpu_us for run in runs)[len(runs) // 2]
    asked = "" if limit is None else f"   limit {limit:,.0f}/s"
    good = limit is None or middle >= limit
    print(
        f"{what:44} {middle:8,.0f}/s ({worst:,.0f} to {best:,.0f})   CPU {cpu:5.1f} us a frame"
        f"{asked}{'' if good else '   MISSED'}",
        flush=True,
    )
    return good


async def measure(folder: Path, options: argparse.Namespace) -> bool:
    path = folder / "slotmeter.db"
    await make(path, options.devices)
    database = await Database.open(path)
    readings = await Readings.open(folder / "readings.db")
    side = Side(database, readings)
    gc.collect()
    before, began_s = rss_bytes(), time.perf_counter()
    await side.start()
    start_s = time.perf_counter() - began_s
    gc.collect()
    per_device = (rss_bytes() - before) / options.devices
    good = start_s <= START_S_MAX and per_device <= DEVICE_BYTES_MAX
    print(
        f"{'start with ' + format(options.devices, ',') + ' devices':44} {start_s:8.2f} s   "
        f"limit {START_S_MAX:g} s\n{'memory of a device':44} {per_device:8,.0f} bytes   "
        f"limit {DEVICE_BYTES_MAX:,}",
        flush=True,
    )
    devices = range(1, options.devices + 1)
    fleet, frames, rows = Fleet(devices, options.seed), 0, 0
    middle: dict[str, float] = {}
    for registers, commands in ((3, 0), (1, 0), (1, options.commands)):
        if commands:
            await queue_commands(database, path, commands)
        runs = []
        for _ in range(options.rounds):
            runs.append(await run(side, fleet.payloads(registers), options.together))
            frames, rows = frames + options.devices, rows + options.devices * registers
        waiting = f", {commands:,} commands waiting" if commands else ""
        name = f"{registers} register{'s' if registers > 1 else ''}{waiting}"
        good &= told(name, runs, FRAMES_PER_S_MIN[registers])
        middle[name] = sorted(each.cpu_us for each in runs)[len(runs) // 2]
    await side.stop()
    await database.close()
    await readings.close()
    check(folder, frames, rows, fleet, list(devices))
    without, with_commands = list(middle.values())[1:]
    added = with_commands - without
    good &= added <= COMMAND_US_MAX
    print(f"{'added by the commands':44} {added:8.2f} us of CPU a frame   limit {COMMAND_US_MAX:g}")
    print(f"{'done again':44} {side.metrics.lane_retries._value.get():8.0f} runs")
    return good


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--together", type=int, default=2_000)
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary one")
    options = parser.parse_args(argv)
    print(
        f"{options.devices:,} devices, {options.rounds} rounds, {options.together:,} frames handed "
        f"in together, synchronous=FULL, {os.cpu_count()} cores, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        return 0 if asyncio.run(measure(Path(name), options)) else 1


if __name__ == "__main__":
    sys.exit(main())

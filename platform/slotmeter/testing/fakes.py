"""What a plugin is set up with in a test: everything in memory, everything to be looked at."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from slotmeter.devices.frames import PAYLOAD_BYTES_MAX, Frame
from slotmeter.errors import Refused, SlotmeterError
from slotmeter.ports import EntryInfo, Fate, HandOut, PluginContext, Queued, Secrets
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.fake_plugin_parts import FakeDeviceKeys, FakeRecords, FakeRoutes

__all__ = [
    "FakeCommands",
    "FakeDeviceKeys",
    "FakeFrames",
    "FakeMetrics",
    "FakePluginContext",
    "FakeRecords",
    "FakeRoutes",
    "FakeTasks",
]


class FakeFrames:
    """A frame log in memory.

    Attributes:
        frames: what was handed in, oldest first.
        error: raised instead of taking a frame, while it is set.
        held: while it is not set, frames wait.
        waiting: how many wait.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.error: SlotmeterError | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.waiting = 0
        self._arrived = asyncio.Condition()

    async def hand_in(self, frame: Frame) -> int:
        """Take a frame and return its place, from 1."""
        self.waiting += 1
        try:
            await self.held.wait()
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error
        if len(frame.payload) > PAYLOAD_BYTES_MAX:
            raise Refused("payload_too_large", f"expected at most {PAYLOAD_BYTES_MAX} bytes")
        async with self._arrived:
            self.frames.append(frame)
            self._arrived.notify_all()
            return len(self.frames)

    async def hand_in_many(self, frames: Sequence[Frame]) -> Sequence[int | SlotmeterError]:
        """Take frames and return the place of each, or why it was not taken."""
        ends: list[int | SlotmeterError] = []
        for frame in frames:
            try:
                ends.append(await self.hand_in(frame))
            except Refused as error:
                ends.append(error)
        return ends

    async def wait_for(self, count: int, *, timeout_s: int = 10) -> list[Frame]:
        """Return the frames as soon as there are ``count``."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.frames) >= count)
            return list(self.frames)


class FakeCommands:
    """A command queue in memory, by address; it hands out what a test put in.

    Attributes:
        asked: addresses that asked, oldest first.
        reports: what the medium told of commands: address, their numbers, their fate.
        error: raised instead of an answer, while it is set.
        lease_s: how long a batch is leased.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.reports: list[tuple[str, tuple[int, ...], Fate]] = []
        self.error: SlotmeterError | None = None
        self.lease_s = 60
        self.cell_limit: tuple[int, int] | None = None
        self._due: defaultdict[str, deque[tuple[int, bytes]]] = defaultdict(deque)
        self._put: list[str] = []
        self._more = asyncio.Event()

    def put(self, address: str, payload: bytes) -> int:
        """Queue an encoded batch of commands; return its number, from 1."""
        self._put.append(address)
        self._due[address].append((len(self._put), payload))
        self._more.set()
        return len(self._put)

    async def take(self, address: str, *, limit: int = 1) -> bytes | None:
        """Return the oldest batch for an address; a batch counts as one."""
        handed = await self.hand_out(address, limit=limit)
        return None if handed is None else handed.payload

    def limit_cells(self, *, per_minute: int, burst: int) -> None:
        """Note what the medium's cells carry."""
        self.cell_limit = (per_minute, burst)

    async def hand_out(self, address: str, *, limit: int = 1, cell: str = "") -> HandOut | None:
        """Return the oldest batch for an address, with its number."""
        self.asked.append(address)
        if self.error is not None:
            raise self.error
        due = self._due[address]
        if not due or limit < 1:
            return None
        number, payload = due.popleft()
        return HandOut(payload, (number,), self.lease_s)

    async def report(self, address: str, command_ids: Sequence[int], fate: Fate) -> int:
        """Note what the medium tells."""
        if self.error is not None:
            raise self.error
        self.reports.append((address, tuple(command_ids), fate))
        return len(command_ids)

    async def queued(self, after: int = 0, *, limit: int = 500, timeout_s: float = 30) -> Queued:
        """Wait until a batch is put whose number is larger, and name the addresses."""
        if self.error is not None:
            raise self.error
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._put) <= after:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            return Queued((), after)
        found = self._put[after : after + limit]
        return Queued(tuple(dict.fromkeys(found)), after + len(found))


class FakeTasks:
    """Tasks that end when the test says so."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work until it ends or ``stop`` is called."""
        task = asyncio.create_task(work, name=name)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    def vital(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do what ``start`` does; a test looks at what became of it."""
        self.start(name, work)

    async def stop(self) -> None:
        """End everything."""
        tasks = list(self.running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class FakeMetrics:
    """Counters in memory: ``counts["pushes"]``; labels are left out of the key."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._counted = asyncio.Event()

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        self.counts[name] += amount
        self._counted.set()

    async def wait_for(self, name: str, count: int = 1, *, timeout_s: int = 10) -> None:
        """Return as soon as a counter is at ``count``."""
        async with asyncio.timeout(timeout_s):
            while self.counts[name] < count:
                self._counted.clear()
                await self._counted.wait()


@dataclass(slots=True)
class FakePluginContext:
    """The parts of a :class:`ports.PluginContext`, kept where a test can reach them."""

    frames: FakeFrames = field(default_factory=FakeFrames)
    commands: FakeCommands = field(default_factory=FakeCommands)
    tasks: FakeTasks = field(default_factory=FakeTasks)
    clock: FakeClock = field(default_factory=FakeClock)
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("slotmeter.fake"))
    entry: EntryInfo = field(default_factory=lambda: EntryInfo("fake", "a fake entry", "fake"))
    records: FakeRecords = field(default_factory=FakeRecords)
    secrets: Secrets = field(default_factory=Secrets)
    routes: FakeRoutes = field(default_factory=FakeRoutes)
    device_keys: FakeDeviceKeys = field(default_factory=FakeDeviceKeys)

    @property
    def context(self) -> PluginContext:
        """What the plugin is given."""
        return PluginContext(
            frames=self.frames,
            commands=self.commands,
            tasks=self.tasks,
            clock=self.clock,
            log=self.log,
            metrics=self.metrics,
            entry=self.entry,
            records=self.records,
            secrets=self.secrets,
            routes=self.routes,
            device_keys=self.device_keys,
        )

"""What a plugin is set up with in a test: everything in memory, everything to be looked at."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from slotmeter.devices.frames import Frame
from slotmeter.errors import SlotmeterError
from slotmeter.ports import PluginContext
from slotmeter.testing.clocks import FakeClock

__all__ = ["FakeCommands", "FakeFrames", "FakeMetrics", "FakePluginContext", "FakeTasks"]


class FakeFrames:
    """A frame log in memory.

    Attributes:
        frames: what was handed in, oldest first.
        error: raised instead of taking a frame, while it is set.
        held: while it is not set, frames wait.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.error: SlotmeterError | None = None
        self.held = asyncio.Event()
        self.held.set()
        self._arrived = asyncio.Condition()

    async def hand_in(self, frame: Frame) -> int:
        """Take a frame and return its place, from 1."""
        await self.held.wait()
        if self.error is not None:
            raise self.error
        async with self._arrived:
            self.frames.append(frame)
            self._arrived.notify_all()
            return len(self.frames)

    async def wait_for(self, count: int, *, timeout_s: int = 10) -> list[Frame]:
        """Return the frames as soon as there are ``count``."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.frames) >= count)
            return list(self.frames)


class FakeCommands:
    """A command queue in memory, by address; it hands out what a test put in.

    Attributes:
        asked: addresses that asked, oldest first.
        error: raised instead of an answer, while it is set.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: SlotmeterError | None = None
        self._due: defaultdict[str, deque[bytes]] = defaultdict(deque)

    def put(self, address: str, payload: bytes) -> None:
        """Queue an encoded batch of commands."""
        self._due[address].append(payload)

    async def take(self, address: str, *, limit: int = 1) -> bytes | None:
        """Return the oldest batch for an address; a batch counts as one."""
        self.asked.append(address)
        if self.error is not None:
            raise self.error
        due = self._due[address]
        return due.popleft() if due and limit > 0 else None


class FakeTasks:
    """Tasks that end when the test says so."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work until it ends or ``stop`` is called."""
        task = asyncio.create_task(work, name=name)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

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

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        self.counts[name] += amount


@dataclass(slots=True)
class FakePluginContext:
    """The parts of a :class:`ports.PluginContext`, kept where a test can reach them."""

    frames: FakeFrames = field(default_factory=FakeFrames)
    commands: FakeCommands = field(default_factory=FakeCommands)
    tasks: FakeTasks = field(default_factory=FakeTasks)
    clock: FakeClock = field(default_factory=FakeClock)
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("slotmeter.fake"))

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
        )

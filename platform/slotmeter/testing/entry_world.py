"""A supervisor of entries with media that do what a test says; no database, no real pauses."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from slotmeter.devices.entries import Entry, EntrySource, EntryState, EntryStatus
from slotmeter.errors import ConfigError
from slotmeter.ports import Medium, MediumSetup, PluginContext
from slotmeter.services.entry_keeper import EntryParts, EntryTasks, EntryWorld
from slotmeter.services.supervisor import Supervisor
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.fakes import FakePluginContext

__all__ = [
    "PATIENCE_S",
    "EntryStage",
    "RunningMedium",
    "ScriptedMedium",
    "open_sockets",
    "sample_entry",
    "until",
]

PATIENCE_S: Final = 20

Setup = Callable[[PluginContext, Mapping[str, object]], Awaitable[MediumSetup]]


@dataclass
class RunningMedium:
    """What a medium of a test returns."""

    addresses: tuple[str, ...] = ("test://here",)
    on_stop: Callable[[], Awaitable[None]] | None = None

    async def stop(self) -> None:
        """Do what the test says."""
        if self.on_stop is not None:
            await self.on_stop()


class ScriptedMedium:
    """A medium that does what a test says."""

    key = "scripted"

    def __init__(self, setup: Setup) -> None:
        self.setup = setup


@dataclass
class EntryStage:
    """A supervisor with media of a test, and all that it noted."""

    media: dict[str, Medium] = field(default_factory=dict)
    notes: list[tuple[str, EntryState, str]] = field(default_factory=list)
    failed_tasks: list[str] = field(default_factory=list)
    let_go: list[str] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    pauses_end: bool = False
    setup_within_s: float = 10.0
    stop_within_s: float = 5.0
    clock: FakeClock = field(default_factory=FakeClock)
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        draws = random.Random(5)  # noqa: S311  the same pauses each time
        self.supervisor = Supervisor(
            EntryWorld(
                load=self.load,
                parts=self.parts,
                open_secrets=self.open_secrets,
                note=self.note,
                clock=self.clock,
                task_failed=self.failed_tasks.append,
                draw=lambda: draws.randint(0, 1_000),
                pause=self.pause,
                setup_within_s=self.setup_within_s,
                stop_within_s=self.stop_within_s,
            )
        )

    async def load(self, key: str) -> Medium:
        """Return a medium of the test."""
        if key not in self.media:
            raise ConfigError("unknown_medium", f"no medium {key}")
        return self.media[key]

    def parts(self, entry: Entry, secrets: Mapping[str, str], tasks: EntryTasks) -> EntryParts:
        """Build a context whose parts are in memory."""
        context = replace(FakePluginContext().context, tasks=tasks)
        return EntryParts(context, lambda: self.let_go.append(entry.key))

    async def open_secrets(self, _entry: Entry) -> Mapping[str, str]:
        """Return the secrets of the test."""
        return self.secrets

    async def note(self, entry: Entry, status: EntryStatus) -> None:
        """Note a state."""
        self.notes.append((entry.key, status.state, status.reason))

    async def pause(self, changed: asyncio.Event, within_s: float) -> None:
        """Note a pause; wait for a change unless pauses end at once."""
        self.pauses_s.append(within_s)
        if not self.pauses_end:
            await changed.wait()

    async def reaches(self, key: str, state: EntryState) -> EntryStatus:
        """Wait until an entry is in a state."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for entry, status in self.supervisor.all:
                    if (entry.key, status.state) == (key, state):
                        return status
                await asyncio.sleep(0.01)

    def states(self, key: str) -> list[EntryState]:
        """Return the states of an entry that were noted."""
        return [state for each, state, _ in self.notes if each == key]


def sample_entry(key: str = "one", medium: str = "scripted", **changes: Any) -> Entry:
    """Return an entry; changes replace its parts."""
    whole = Entry(
        id=sum(key.encode()),
        key=key,
        medium=medium,
        title="",
        options={},
        enabled=True,
        source=EntrySource.API,
        changed_us=1,
    )
    return replace(whole, **changes)


async def until(ready: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(PATIENCE_S * 100):
        if ready():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def open_sockets() -> int:
    """How many sockets this process has."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return found

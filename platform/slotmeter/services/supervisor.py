"""The supervisor of config entries: every entry in a task of its own, as the database wants it.

What is wanted stands in the table of entries. Who changes it wakes the supervisor; it also looks by
itself every few seconds, so that a change by another process is seen as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from slotmeter.devices.entries import Entry, EntryState, EntryStatus
from slotmeter.errors import SlotmeterError
from slotmeter.services.belongings import mark_belongings
from slotmeter.services.entry_keeper import EntryKeeper, EntryWorld

__all__ = ["LOOK_EVERY_S", "STOP_WITHIN_S", "Supervisor", "pause_until"]

LOOK_EVERY_S: Final = 2.0
"""How long a change by another process may go unseen."""

STOP_WITHIN_S: Final = 45.0
"""All entries are unloaded within this time when the server stops; it is the longest of them."""

_BROKEN: Final = frozenset({EntryState.FAILED, EntryState.RETRYING})

_log = logging.getLogger(__name__)


class Supervisor:
    """Keeps all entries. Call :meth:`apply`, or run :meth:`follow` as a task; end by :meth:`stop`.

    Args:
        world: what entries are kept with.
    """

    def __init__(self, world: EntryWorld) -> None:
        """Keep no entry yet."""
        self._world = world
        self._keepers: dict[int, EntryKeeper] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._applied = asyncio.Event()
        self._stopped = False

    def apply(self, entries: Sequence[Entry]) -> None:
        """Let exactly these entries be kept, as they are; returns before anything was tried."""
        if self._stopped:
            return
        mark_belongings(asyncio.get_running_loop())
        wanted = {entry.id: entry for entry in entries}
        for entry_id in [each for each in self._keepers if each not in wanted]:
            self._let_go(entry_id, "removed")
        for entry in entries:
            keeper = self._keepers.get(entry.id)
            if keeper is None:
                self._keep(entry)
            elif keeper.entry != entry:
                keeper.want(entry)
        self._applied.set()
        self._applied = asyncio.Event()

    def wake(self) -> None:
        """Look soon at what is wanted."""
        self._wake.set()

    async def follow(self, read: Callable[[], Awaitable[Sequence[Entry]]]) -> None:
        """Keep what is wanted until cancelled; what runs goes on while that cannot be read.

        Args:
            read: returns the entries that are wanted.
        """
        is_lost = False
        while True:
            self._wake.clear()
            try:
                self.apply(await read())
            except SlotmeterError as error:
                if not is_lost:
                    _log.error("the entries cannot be read: %s", error.message)
                is_lost = True
            else:
                is_lost = False
            await pause_until(self._wake, LOOK_EVERY_S)

    def status(self, entry_id: int) -> EntryStatus | None:
        """Return how an entry does, or None when it is not kept here."""
        keeper = self._keepers.get(entry_id)
        return None if keeper is None else keeper.status

    async def settled(self, entry_id: int, changed_us: int, within_s: float) -> EntryStatus | None:
        """Return how an entry does once its newest change was tried, or after a while.

        Args:
            entry_id: which entry.
            changed_us: of the change that the caller waits for.
            within_s: how long to wait at most.
        """
        try:
            async with asyncio.timeout(within_s):
                keeper = await self._keeper_of(entry_id, changed_us)
                return await keeper.settled(within_s)
        except TimeoutError:
            return self.status(entry_id)

    async def gone(self, entry_id: int, within_s: float) -> bool:
        """Say whether an entry that was removed is unloaded within a while."""
        try:
            async with asyncio.timeout(within_s):
                await self._until(lambda: entry_id not in self._keepers)
        except TimeoutError:
            return False
        task = self._tasks.get(entry_id)
        if task is not None:
            await asyncio.wait({task}, timeout=within_s)
        return task is None or task.done()

    def waits_for(self, key: str) -> bool:
        """Say whether there is an entry of this key that should run and does not now."""
        return any(
            keeper.entry.key == key
            and keeper.entry.enabled
            and keeper.status.state is not EntryState.LOADED
            for keeper in self._keepers.values()
        )

    def counts(self) -> Counter[EntryState]:
        """Return how many entries are in each state."""
        return Counter(keeper.status.state for keeper in self._keepers.values())

    @property
    def all(self) -> list[tuple[Entry, EntryStatus]]:
        """Every entry and how it does."""
        return [(keeper.entry, keeper.status) for keeper in self._keepers.values()]

    @property
    def broken(self) -> list[tuple[Entry, EntryStatus]]:
        """Those that should run and do not, by key; what is set up just now is not among them."""
        found = [each for each in self.all if each[1].state in _BROKEN]
        return sorted(found, key=lambda each: each[0].key)

    async def stop(self) -> None:
        """Unload everything; twice is harmless."""
        self._stopped = True
        for entry_id in list(self._keepers):
            self._let_go(entry_id, "the server stops")
        tasks = set(self._tasks.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
        for task in late:
            _log.error("%s did not end within %g s", task.get_name(), STOP_WITHIN_S)
            task.cancel()

    # --- keepers --------------------------------------------------------------------------------

    def _keep(self, entry: Entry) -> None:
        # Another entry of the same key may still hold the port: it goes first.
        keeper = EntryKeeper(entry, self._world, after=self._leaving.get(entry.key))
        self._keepers[entry.id] = keeper
        task = asyncio.create_task(keeper.run(), name=f"entry {entry.key}")
        self._tasks[entry.id] = task
        task.add_done_callback(lambda done: self._ended(entry, done))

    def _let_go(self, entry_id: int, why: str) -> None:
        keeper = self._keepers.pop(entry_id)
        keeper.end(why)
        self._leaving[keeper.entry.key] = self._tasks[entry_id]

    def _ended(self, entry: Entry, task: asyncio.Task[None]) -> None:
        self._tasks.pop(entry.id, None)
        if self._leaving.get(entry.key) is task:
            del self._leaving[entry.key]
        if not task.cancelled() and task.exception() is not None:
            _log.error("entry %s is not kept any more", entry.key, exc_info=task.exception())

    async def _keeper_of(self, entry_id: int, changed_us: int) -> EntryKeeper:
        """Return the keeper of an entry once it knows of a change."""

        def knows() -> bool:
            keeper = self._keepers.get(entry_id)
            return keeper is not None and keeper.entry.changed_us >= changed_us

        await self._until(knows)
        return self._keepers[entry_id]

    async def _until(self, ready: Callable[[], bool]) -> None:
        """Wait until what is kept is as it should be."""
        while not ready():
            await self._applied.wait()


async def pause_until(wake: asyncio.Event, within_s: float) -> None:
    """Wait for an event, but not longer than so many seconds."""
    try:
        async with asyncio.timeout(within_s):
            await wake.wait()
    except TimeoutError:
        return

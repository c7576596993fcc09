"""The command queue as the plugin of one entry sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from slotmeter.devices.commands import MOVABLE
from slotmeter.ports import (
    Changes,
    Clock,
    Fate,
    HandOut,
    NewId,
    Queued,
    Read,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.bus import Bus, CommandsChanged
from slotmeter.services.cell_limits import CellLimit
from slotmeter.services.command_queue import TAKE_MAX, CommandQueue
from slotmeter.services.command_rows import LEASE_US, log_step
from slotmeter.units import epoch_us

__all__ = ["PluginCommands"]

QUEUED_MAX: Final = 1_000
LOOK_EVERY_S: Final = 5.0
"""A wake-up may be lost, so we look this often in any case."""

_GOING: Final = tuple(sorted(state.value for state in MOVABLE))

_SAID: Final = {
    Fate.TAKEN: "the medium says that the device has it",
    Fate.LOST: "the medium says that it did not reach the device",
}


class PluginCommands:
    """Implements ``ports.Commands`` for one medium."""

    def __init__(
        self, medium: str, queue: CommandQueue, uow: UnitOfWork, clock: Clock, bus: Bus
    ) -> None:
        """Join the parts.

        Args:
            medium: key of the medium.
            queue: hands out.
            uow: the database.
            clock: our time, for leases.
            bus: wakes whoever waits for commands.
        """
        self._medium = medium
        self._queue = queue
        self._uow = uow
        self._clock = clock
        self._bus = bus

    async def take(self, address: str, *, limit: int = 1) -> bytes | None:
        """Lease what is due for a device and return it encoded; see ``ports.Commands``."""
        return await self._queue.take(address, limit=limit)

    async def hand_out(self, address: str, *, limit: int = 1, cell: str = "") -> HandOut | None:
        """Lease what is due for a device, with what went; see ``ports.Commands``."""
        return await self._queue.hand_out(address, limit=limit, cell=cell)

    def limit_cells(self, *, per_minute: int, burst: int) -> None:
        """Bound what goes through each cell of the medium; see ``ports.Commands``."""
        self._queue.limit_cells(CellLimit(per_minute, burst))

    async def report(self, address: str, command_ids: Sequence[int], fate: Fate) -> int:
        """Tell what became of commands that were taken; see ``ports.Commands``."""
        if not command_ids:
            return 0
        if len(command_ids) > TAKE_MAX:
            raise ValueError(f"at most {TAKE_MAX} commands are under way to one device")
        now_us = epoch_us(self._clock.now())
        # What is lost has no lease any more: the sweep of the queue decides whether it goes again.
        lease_us = now_us if fate is Fate.LOST else now_us + LEASE_US
        reads = [
            Read(
                "media_under_way",
                {"medium": self._medium, "address": address, "id": command_id},
                f"command {command_id}",
            )
            for command_id in dict.fromkeys(command_ids)
        ]

        def decide(rows: Rows, new_id: NewId) -> Changes[int]:
            steps: list[Step] = []
            for row in (row for found in rows.values() for row in found):
                of = {"of_utility": row["utility_id"], "of_command": row["id"]}
                steps.append(Update("media_lease", {**of, "to_lease_us": lease_us}))
                steps.append(log_step(row, "sent", _SAID[fate], now_us=now_us, new_id=new_id))
            return Changes(len(steps) // 2, steps)

        return await self._uow.run(reads, decide)

    async def queued(self, after: int = 0, *, limit: int = 500, timeout_s: float = 30) -> Queued:
        """Wait until commands are queued for devices of this medium; see ``ports.Commands``."""
        if not 1 <= limit <= QUEUED_MAX:
            raise ValueError(f"expected a limit of 1 to {QUEUED_MAX}, got {limit}")
        until_s = asyncio.get_running_loop().time() + timeout_s
        with self._bus.subscribe(CommandsChanged) as wakes:
            while True:
                addresses, after = await self._found(after, limit)
                if addresses:
                    return Queued(addresses, after)
                left_s = until_s - asyncio.get_running_loop().time()
                if left_s <= 0:
                    return Queued((), after)
                await wakes.next(min(left_s, LOOK_EVERY_S))

    async def _found(self, after: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return devices with commands that came after one, and up to which one was looked.

        Commands of other media are gone past once, and not at every look.
        """
        of: dict[str, SqlValue] = {"medium": self._medium, "after": after, "limit": limit}
        reads = [Read("media_newest", {"state": state}, f"newest {state}") for state in _GOING]
        reads += [Read("media_queued", {**of, "state": state}, state) for state in _GOING]
        rows = await self._uow.read(reads)
        found = sorted((row for state in _GOING for row in rows[state]), key=itemgetter("id"))
        found = found[:limit]
        addresses = tuple(dict.fromkeys(row["address"] for row in found))
        if len(found) == limit:
            return addresses, found[-1]["id"]
        newest = (row["id"] for state in _GOING for row in rows[f"newest {state}"])
        return addresses, max((after, *newest))

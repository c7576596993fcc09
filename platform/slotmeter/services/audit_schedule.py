"""Checkpoints of the audit that nobody needs to think of: signed on a schedule, and kept apart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from slotmeter.errors import SlotmeterError
from slotmeter.ports import Clock, Read, Signer, UnitOfWork
from slotmeter.services.access import Origin
from slotmeter.services.audit_checkpoints import Checkpoint, make_checkpoint
from slotmeter.services.metrics import CheckpointMetrics
from slotmeter.units import HOUR_US, epoch_us

__all__ = ["CHECK_EVERY_S", "SERVER", "CheckpointSchedule", "Keep"]

CHECK_EVERY_S: Final = 600.0
"""How late a checkpoint is at most; what could not be kept is tried again as often."""

SERVER: Final = Origin("local:server", "checkpoint")
"""Who makes it, as acts record it."""

Keep = Callable[[Checkpoint], Awaitable[None]]
"""Keeps a checkpoint outside the database, unless it is there already.

Raises:
    Unavailable: ``checkpoint_not_kept``.
"""


class CheckpointSchedule:
    """Signs a checkpoint when the newest is older than the interval; run :meth:`run` as a task.

    The newest is in the table and outside: where a server ended between the two, the next one puts
    it there.

    Args:
        uow: the database.
        signer: signs with the vault's key.
        clock: our time.
        metrics: what is counted.
        keep: puts a checkpoint where those who write the database should not reach.
        every_h: hours between two.
        sleep: waits for seconds; a test gives its own.
    """

    def __init__(
        self,
        uow: UnitOfWork,
        signer: Signer,
        clock: Clock,
        metrics: CheckpointMetrics,
        keep: Keep,
        *,
        every_h: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._signer = signer
        self._clock = clock
        self._metrics = metrics
        self._keep = keep
        self._every_us = every_h * HOUR_US
        self._sleep = sleep

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await self._sleep(CHECK_EVERY_S)

    async def check(self) -> Checkpoint | None:
        """Make what is due, and see that the newest is kept; return what this call made.

        Raises:
            SlotmeterError: why it cannot; it is tried again.
        """
        try:
            made = await self._made()
        except SlotmeterError:
            self._metrics.failures.inc()
            raise
        return made

    async def _made(self) -> Checkpoint | None:
        reads = [
            Read("audit_newest_checkpoint", {}, "newest"),
            Read("audit_newest_group", {}, "group"),
            Read("registry_utilities", {}, "utilities"),
        ]
        rows = await self._uow.read(reads)
        if not rows["group"] or not rows["utilities"]:
            return None
        now_us = epoch_us(self._clock.now())
        newest = Checkpoint.of_row(rows["newest"][0]) if rows["newest"] else None
        if newest is not None and 0 <= now_us - newest.at_us < self._every_us:
            await self._keep(newest)
            self._metrics.newest.set(newest.at_us // 1_000_000)
            return None
        utility_id = min(row["id"] for row in rows["utilities"])
        made = await make_checkpoint(self._uow, self._signer, self._clock, SERVER, utility_id)
        self._metrics.made.inc()
        await self._keep(made)
        self._metrics.newest.set(made.at_us // 1_000_000)
        return made

"""How long frames stay in the log: until every consumer is done with them, and a while longer."""

from __future__ import annotations

import asyncio
from itertools import takewhile
from typing import Final

from slotmeter.ports import Changes, Clock, Read, ReadingStore, UnitOfWork, Update
from slotmeter.units import DAY_US, epoch_us

__all__ = ["FRAME_DAYS_KEPT", "QUARANTINE_DAYS_KEPT", "FrameRetention"]

FRAME_DAYS_KEPT: Final = 90
"""Unless somebody wants it otherwise, frames that took effect, and frames of strangers, are dropped
after this many days."""

QUARANTINE_DAYS_KEPT: Final = 730
"""Likewise, frames of registered devices that could not be read wait this long for a better driver.
"""

SWEEP_EVERY_S: Final = 3_600.0
PAGE_FRAMES: Final = 1_000


class FrameRetention:
    """Drops old frames from the log; run :meth:`run` as a task."""

    def __init__(
        self,
        uow: UnitOfWork,
        store: ReadingStore,
        clock: Clock,
        *,
        days_kept: int = FRAME_DAYS_KEPT,
        aside_days_kept: int = QUARANTINE_DAYS_KEPT,
    ) -> None:
        """Join the parts; a frame that was set aside is never dropped before those that were not.

        Args:
            uow: the database with the log.
            store: the readings store, which keeps a cursor.
            clock: our time.
            days_kept: of frames that took effect, and of frames of strangers.
            aside_days_kept: of other frames that could not be read.
        """
        self._kept_us = days_kept * DAY_US
        self._aside_extra_us = max(0, aside_days_kept - days_kept) * DAY_US
        self._uow = uow
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep(self) -> None:
        """Drop what is old and what no consumer has before it any more."""
        rows = await self._uow.read([Read("ingest_cursor", {"name": "devices"}, "cursor")])
        position = rows["cursor"][0]["position"] if rows["cursor"] else 0
        consumed = min(position, await self._store.cursor())
        before_us = epoch_us(self._clock.now()) - self._kept_us
        after = 0
        while True:
            params = {"after": after, "through": consumed, "limit": PAGE_FRAMES}
            page = (await self._uow.read([Read("ingest_log_ages", params, "frames")]))["frames"]
            # Ids grow with time: the first frame that is young ends the search.
            old = list(takewhile(lambda frame: frame["received_us"] < before_us, page))
            if not old:
                return
            await self._drop(after, old[-1]["id"], before_us)
            if len(old) < PAGE_FRAMES:
                return
            after = old[-1]["id"]

    async def _drop(self, after: int, through: int, before_us: int) -> None:
        span = {"of_after": after, "of_through": through}
        quarantine_us = before_us - self._aside_extra_us
        steps = [
            Update("ingest_quarantine_drop", {**span, "of_before_us": quarantine_us}, rows=None),
            Update("ingest_frame_drop", span, rows=None),
        ]
        await self._uow.run([], lambda _rows, _new_id: Changes(None, steps))

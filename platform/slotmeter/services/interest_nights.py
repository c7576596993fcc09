"""Interest booked by the running server, once each local day is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Final

from slotmeter.errors import SlotmeterError
from slotmeter.ports import Clock, Read, Row, UnitOfWork
from slotmeter.services.access import Origin
from slotmeter.services.debt_interest import InterestPosted, InterestPosting
from slotmeter.services.debt_terms import Books
from slotmeter.services.metrics import InterestMetrics

__all__ = ["CHECK_EVERY_S", "SERVER", "InterestNights"]

CHECK_EVERY_S: Final = 600.0
"""How soon after local midnight the day before is booked, at the latest. Also when a server starts.
Looking often is cheaper than working out midnights of many time zones, and bears a clock that is
set."""

SERVER: Final = Origin("local:server", "interest")
"""Who books it, as acts record it."""


class InterestNights:
    """Books what debts bear through yesterday, for each utility; run :meth:`run` as a task.

    What was booked is noted with each debt, in the same commit: days missed while no server ran are
    booked by the next one, and what a stopped server had booked is not booked again.

    Args:
        uow: the database.
        clock: says which day it is.
        metrics: what is counted.
        sleep: waits for seconds; a test gives its own.
    """

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        metrics: InterestMetrics,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Join the parts; nothing is known to be booked."""
        self._uow = uow
        self._posting = InterestPosting(uow, clock)
        self._metrics = metrics
        self._sleep = sleep
        self._through: dict[int, date] = {}

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await self._sleep(CHECK_EVERY_S)

    async def check(self) -> int:
        """Book every local day that is over and not booked; return how many debts bore interest.

        Raises:
            SlotmeterError: of the first utility that failed; the others are booked all the same.
        """
        utilities = (await self._uow.read([Read("registry_utilities", {}, "all")]))["all"]
        bearing = 0
        failed: SlotmeterError | None = None
        for utility in utilities:
            try:
                bearing += (await self._book(utility)).bearing
            except SlotmeterError as error:
                self._metrics.failures.inc()
                failed = failed or error
        if failed is not None:
            raise failed
        return bearing

    async def _book(self, utility: Row) -> InterestPosted:
        books = Books(utility["id"], utility["currency"], utility["time_zone"])
        yesterday = self._posting.today(books) - timedelta(days=1)
        if self._through.get(books.utility_id, date.min) >= yesterday:
            return InterestPosted(0, 0, 0)
        reason = f"interest of the days through {yesterday}"
        done = await self._posting.post(SERVER, books, yesterday, reason=reason)
        self._through[books.utility_id] = yesterday
        self._metrics.booked(utility["code"], yesterday, done.bearing)
        return done

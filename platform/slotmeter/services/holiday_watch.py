"""Tariffs in force whose holidays end: somebody is told before a day has no price."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.errors import Refused
from slotmeter.ports import Changes, Clock, NewId, Read, Row, Rows, UnitOfWork
from slotmeter.services.bus import Bus, EventsRecorded
from slotmeter.services.events import Event, event_step
from slotmeter.units import epoch_us
from slotmeter.vending.tariff.calendar import require_coming_year
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["CHECK_EVERY_S", "HOLIDAYS_END", "HolidayWatch"]

HOLIDAYS_END: Final = "holiday_calendar_ends"
"""Kind of the event; its severity is alarm."""

CHECK_EVERY_S: Final = 7 * 86_400.0
"""Also when a server starts."""


class HolidayWatch:
    """Looks at the tariffs in force once a week; run :meth:`run` as a task."""

    def __init__(self, uow: UnitOfWork, clock: Clock, bus: Bus) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._bus = bus

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_EVERY_S)

    async def check(self) -> int:
        """Tell of every tariff in force without the coming year's holidays; return how many."""
        utilities = (await self._uow.read([Read("registry_utilities", {}, "all")]))["all"]
        found = 0
        for utility in utilities:
            found += await self._check(utility)
        if found:
            self._bus.publish(EventsRecorded())
        return found

    async def _check(self, utility: Row) -> int:
        now = self._clock.now()
        now_us = epoch_us(now)
        today = now.astimezone(ZoneInfo(utility["time_zone"])).date()
        read = Read(
            "tariff_versions_in_force", {"utility_id": utility["id"], "now_us": now_us}, "versions"
        )

        def decide(rows: Rows, new_id: NewId) -> Changes[int]:
            events = [
                event
                for row in rows["versions"]
                if (event := _event(row, utility["id"], today, now_us)) is not None
            ]
            return Changes(len(events), [event_step(event, new_id) for event in events])

        return await self._uow.run([read], decide)


def _event(row: Row, utility_id: int, today: date, now_us: int) -> Event | None:
    tariff = stored_tariff(row["body"])
    try:
        require_coming_year(tariff, today)
    except Refused as error:
        return Event(
            utility_id=utility_id,
            at_us=now_us,
            kind=HOLIDAYS_END,
            severity="alarm",
            text=f"Tariff {row['code']}, version {row['version']}: {error.message}",
            data={"tariff": row["code"], "version": row["version"], **error.details},
        )
    return None

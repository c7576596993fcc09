"""Vending keys that are about to end: somebody is told while there is time to change meters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.bus import Bus, EventsRecorded
from slotmeter.services.events import Event, event_step
from slotmeter.services.key_dates import WARN_DAYS, days_left, key_expires_us
from slotmeter.units import DAY_US, epoch_us, instant

__all__ = ["CHECK_EVERY_S", "KEY_EXPIRED", "KEY_EXPIRES", "KeyWatch"]

KEY_EXPIRES: Final = "vending_key_expires"
KEY_EXPIRED: Final = "vending_key_expired"
"""Kinds of the events; their severity is alarm. The first is the kind of the alarm as well."""

CHECK_EVERY_S: Final = 3_600.0
"""Also when a server starts."""

AGAIN_DAYS: Final = 7
AGAIN_DAYS_LAST_WEEK: Final = 1


class KeyWatch:
    """Looks at the active vending keys; run :meth:`run` as a task.

    A key that ends within 30 days is told of at once, again each week, and each day of its last
    week. One that has ended is told of each day for as long as meters are coded with it. Beside
    these events one alarm is open all the time, and cleared when the key is retired or needed no
    more.
    """

    def __init__(self, uow: UnitOfWork, clock: Clock, bus: Bus) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._bus = bus
        self.expiring = 0
        """Keys in use that end within 30 days or have ended, as of the last check."""
        self.days_left_min = 0
        """Days until the first active key ends, as of the last check; 0 without keys."""

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_EVERY_S)

    async def check(self) -> int:
        """Tell of what is due; return how many keys that were."""
        now_us = epoch_us(self._clock.now())
        rows = await self._uow.read([Read("vending_keys_active", {}, "keys")])
        left = {row["id"]: _left(row, now_us) for row in rows["keys"]}
        close = [row for row in rows["keys"] if left[row["id"]] < WARN_DAYS]
        in_use = [row for row in close if left[row["id"]] >= 0 or await self._has_meters(row)]
        used = {row["id"] for row in in_use}
        self.expiring = len(used)
        self.days_left_min = min((days for key, days in left.items() if days >= 0), default=0)
        told = 0
        for row in in_use:
            told += await self._tell(row, now_us)
        changed = await self._set_alarms(in_use, now_us)
        if told or changed:
            self._bus.publish(EventsRecorded())
        return told

    async def _set_alarms(self, in_use: Sequence[Row], now_us: int) -> bool:
        """Raise the alarms that are due and clear those that are not; say whether any was."""
        reads = [
            Read("vending_key_alarms", {"kind": KEY_EXPIRES}, "alarms"),
            Read("registry_utilities", {}, "utilities"),
        ]

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            due = {
                (utility_id, _subject(row)): row
                for row in in_use
                for utility_id in _utilities(row, rows["utilities"])
            }
            is_open = {(row["utility_id"], row["subject"]) for row in rows["alarms"]}
            steps: list[Step] = [
                Insert("alarm", _alarm(due[key], key, new_id(), now_us))
                for key in sorted(due.keys() - is_open)
            ]
            for row in rows["alarms"]:
                if (row["utility_id"], row["subject"]) not in due:
                    steps += _clear_steps(row, new_id, now_us)
            return Changes(bool(steps), steps)

        rows = await self._uow.read(reads)
        return bool(decide(rows, lambda: 0).steps) and await self._uow.run(reads, decide)

    async def _has_meters(self, row: Row) -> bool:
        rows = await self._uow.read([Read("vending_key_meters", {"name": row["name"]}, "meters")])
        return bool(rows["meters"][0]["count"])

    async def _tell(self, key: Row, now_us: int) -> bool:
        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            now = next((row for row in rows["keys"] if row["id"] == key["id"]), None)
            if now is None or not _is_due(now, now_us):
                return Changes(False)
            steps: list[Step] = [Update("vault_key_warned", {"of_id": now["id"], "at_us": now_us})]
            for utility_id in _utilities(now, rows["utilities"]):
                steps.append(event_step(_event(now, utility_id, now_us), new_id))
            return Changes(True, steps)

        reads = [
            Read("vending_keys_active", {}, "keys"),
            Read("registry_utilities", {}, "utilities"),
        ]
        return await self._uow.run(reads, decide)


def _left(row: Row, now_us: int) -> int:
    return days_left(key_expires_us(row["base_date"], row["ken"]), now_us)


def _is_due(row: Row, now_us: int) -> bool:
    if row["warned_us"] is None:
        return True
    again_days = AGAIN_DAYS_LAST_WEEK if _left(row, now_us) < AGAIN_DAYS else AGAIN_DAYS
    return bool(now_us - row["warned_us"] >= again_days * DAY_US)


def _utilities(key: Row, utilities: Sequence[Row]) -> list[int]:
    if key["utility_id"] is not None:
        return [key["utility_id"]]
    return [row["id"] for row in utilities]


def _subject(key: Row) -> str:
    return f"vending_key:{key['name']}"


def _alarm(key: Row, of: tuple[int, str], alarm_id: int, now_us: int) -> dict[str, SqlValue]:
    utility_id, subject = of
    ends = instant(key_expires_us(key["base_date"], key["ken"]))
    return {
        "id": alarm_id,
        "utility_id": utility_id,
        "meter_id": None,
        "kind": KEY_EXPIRES,
        "severity": "alarm",
        "text": f"{_named(key)} ends {ends:%Y-%m-%d %H:%M} UTC; change its meters to a newer key",
        "raised_us": now_us,
        "cleared_us": None,
        "subject": subject,
    }


def _clear_steps(alarm: Row, new_id: NewId, now_us: int) -> list[Step]:
    name = alarm["subject"].partition(":")[2]
    clear: dict[str, SqlValue] = {
        "of_utility": alarm["utility_id"],
        "of_alarm": alarm["id"],
        "to_cleared_us": now_us,
    }
    event = Event(
        utility_id=alarm["utility_id"],
        at_us=now_us,
        kind=f"{KEY_EXPIRES}_cleared",
        text=f"Nothing needs the vending key {name} that was to end",
        data={"key": name},
    )
    return [Update("ingest_alarm_clear", clear), event_step(event, new_id)]


def _named(key: Row) -> str:
    return f"The vending key {key['name']} (supply group {key['sgc']}, revision {key['krn']})"


def _event(row: Row, utility_id: int, now_us: int) -> Event:
    left = _left(row, now_us)
    name = _named(row)
    text = f"{name} ends in {left} days; change its meters to a newer key"
    if left < 0:
        text = f"{name} has ended: nothing is sold to its meters until their keys are changed"
    return Event(
        utility_id=utility_id,
        at_us=now_us,
        kind=KEY_EXPIRED if left < 0 else KEY_EXPIRES,
        severity="alarm",
        text=text,
        data={"key": row["name"], "days_left": left},
    )

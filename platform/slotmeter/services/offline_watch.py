"""Devices that have fallen silent: told of once, and once more when they speak again.

Twice a minute the watch learns from what was heard (``devices.contacts``) and looks for what was
not. One alarm stands for a cause: a node that died takes along the meters behind it, and a medium
over which nobody is heard takes along all of its devices. Time in which the platform itself did not
listen, or has not read yet what came, is nobody's silence; what is offline stays so in the database
when a server starts again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.contacts import Silence
from slotmeter.errors import Conflict
from slotmeter.ports import (
    Changes,
    Clock,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
    UpdateMany,
)
from slotmeter.services.bus import Bus, EventsRecorded
from slotmeter.services.looking_times import SOME_DEVICES, LookingTimes
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.offline_alarms import (
    BEARER_SILENT,
    BEARER_SUBJECT,
    LEARN_COLUMNS,
    OFFLINE,
    Bearer,
    back_steps,
    bearer_steps,
    device_reads,
    is_node_silent,
    learned_row,
    offline_steps,
    record_of,
)
from slotmeter.units import MINUTE_US, epoch_us

__all__ = ["DEAF_US_MIN", "SWEEP_EVERY_S", "UNREAD_US_MAX", "OfflineWatch", "Swept"]

SWEEP_EVERY_S: Final = 30.0

DEAF_US_MIN: Final = 2 * MINUTE_US
"""When the watch did not look for longer than this, the platform did not listen in between."""

UNREAD_US_MAX: Final = MINUTE_US
"""While a frame waits longer to be read, nothing is said of devices: theirs may wait as well."""

PAGE_DEVICES: Final = 500
TOGETHER: Final = 50
"""So many devices are told of at once; their units share commits."""

CONSUMER: Final = "devices"

_OF_MEDIA: Final[Mapping[str, SqlValue]] = {
    "bearer_kind": BEARER_SILENT,
    "bearer_prefix": BEARER_SUBJECT,
}

Bearers = Mapping[tuple[int, str], Bearer]
Steps = Callable[[Row, Rows, NewId, int], Sequence[Step]]


@dataclass(frozen=True, slots=True)
class Swept:
    """What one look did.

    Args:
        learned: devices whose contacts were counted.
        raised: alarms raised.
        cleared: alarms cleared.
        deaf_us: for how long nobody had listened before.
    """

    learned: int = 0
    raised: int = 0
    cleared: int = 0
    deaf_us: int = 0


class OfflineWatch:
    """Watches over contacts; run :meth:`run` as a task, in one server of a database."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        bus: Bus,
        *,
        deaf_us_min: int = DEAF_US_MIN,
        metrics: DeviceMetrics | None = None,
    ) -> None:
        """Join the parts; whoever sweeps at longer intervals says what is too long."""
        self._metrics = metrics
        self._times = LookingTimes(uow, deaf_us_min)
        self._uow = uow
        self._clock = clock
        self._bus = bus

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep(self) -> Swept:
        """Learn from what was heard; raise and clear alarms; return how many."""
        now_us = epoch_us(self._clock.now())
        since_us, deaf_us = await self._times.note(now_us)
        learned = await self._learn(since_us)
        cleared = await self._each("contacts_back", back_steps, now_us)
        raised = 0
        if not await self._is_behind(now_us):
            bearers = await self._bearers()
            told, ended = await self._judge_bearers(bearers, now_us)
            silent = await self._raise_nodes(bearers, now_us)
            silent += await self._raise_devices(bearers, now_us)
            raised, cleared = told + silent, cleared + ended
            self._count({BEARER_SILENT: told, OFFLINE: silent})
        if raised or cleared:
            self._bus.publish(EventsRecorded())
        return Swept(learned, raised, cleared, deaf_us)

    def _count(self, raised: Mapping[str, int]) -> None:
        if self._metrics is not None:
            for kind, times in raised.items():
                self._metrics.alarms.labels(kind).inc(times)

    async def _is_behind(self, now_us: int) -> bool:
        """Say whether frames wait to be read, so that what is not known may have come long ago."""
        rows = await self._uow.read([Read("contacts_unread", {"name": CONSUMER}, "frames")])
        waiting = rows["frames"]
        return bool(waiting) and bool(waiting[0]["received_us"] < now_us - UNREAD_US_MAX)

    # --- what was heard -------------------------------------------------------------------------

    async def _learn(self, since_us: int) -> int:
        learned = 0
        async for page in self._pages("contacts_new"):
            rows = [row for each in page if (row := learned_row(each, since_us)) is not None]
            if rows:
                await self._uow.run([], _learning(rows))
                learned += len(rows)
        return learned

    async def _bearers(self) -> Bearers:
        rows = (await self._uow.read([Read("contacts_bearers", {}, "bearers")]))["bearers"]
        found = [Bearer(**row) for row in rows]
        return {(each.utility_id, each.medium): each for each in found}

    # --- what was not ---------------------------------------------------------------------------

    async def _judge_bearers(self, bearers: Bearers, now_us: int) -> tuple[int, int]:
        raised = cleared = 0
        for bearer in (*bearers.values(), *await self._deserted(bearers, now_us)):
            of: dict[str, SqlValue] = {"utility_id": bearer.utility_id, "kind": BEARER_SILENT}
            read = Read("contacts_subject_alarms", {**of, "subject": bearer.subject}, "alarms")
            # With too few devices left its alarm ends, and each of them counts for itself again.
            is_silent = bearer.is_judged and now_us - bearer.last_us > bearer.limit_us

            def decide(
                rows: Rows, new_id: NewId, bearer: Bearer = bearer, is_silent: bool = is_silent
            ) -> Changes[bool]:
                steps = bearer_steps(bearer, rows["alarms"], new_id, now_us, is_silent=is_silent)
                return Changes(bool(steps), steps)

            due = decide(await self._uow.read([read]), lambda: 0).result
            if due and not is_silent:
                await self._begin_anew(bearer, now_us)
            if due and await self._uow.run([read], decide):
                raised, cleared = raised + is_silent, cleared + (not is_silent)
        return raised, cleared

    async def _deserted(self, bearers: Bearers, now_us: int) -> Sequence[Bearer]:
        """Return media that are alarmed, and on which nobody is waited for any more."""
        read = Read("contacts_bearers_alarmed", {"kind": BEARER_SILENT}, "alarmed")
        rows = (await self._uow.read([read]))["alarmed"]
        alarmed = [(row["utility_id"], row["subject"].removeprefix(BEARER_SUBJECT)) for row in rows]
        return [
            Bearer(*key, devices=0, last_us=now_us, contact_us=now_us, limit_us=0)
            for key in alarmed
            if key not in bearers
        ]

    async def _begin_anew(self, bearer: Bearer, now_us: int) -> None:
        """Give the devices of a medium that was silent as a whole the time to be heard."""
        after: int | None = 0
        while after is not None:
            page: dict[str, SqlValue] = {"after": after, "limit": SOME_DEVICES}
            read = Read("contacts_through", page, "through")
            after = await self._uow.run([read], _anew(bearer, after, now_us))

    async def _raise_nodes(self, bearers: Bearers, now_us: int) -> int:
        def is_silent(row: Row) -> bool:
            return is_node_silent(row, _alive_us(row, bearers, now_us))

        return await self._each("contacts_silent_nodes", offline_steps, now_us, is_silent)

    async def _raise_devices(self, bearers: Bearers, now_us: int) -> int:
        def is_silent(row: Row) -> bool:
            return Silence(record_of(row), _alive_us(row, bearers, now_us)).is_alarm

        return await self._each("contacts_silent", offline_steps, now_us, is_silent)

    # --- shared ---------------------------------------------------------------------------------

    async def _each(
        self,
        statement: str,
        steps_of: Steps,
        now_us: int,
        is_meant: Callable[[Row], bool] = lambda _row: True,
    ) -> int:
        """Write what is to be written of each device that a statement finds; return how many."""
        done = 0
        params: dict[str, SqlValue] = {}
        if statement != "contacts_back":
            params = {"now_us": now_us, **_OF_MEDIA}
        async for page in self._pages(statement, **params):
            meant = [row for row in page if is_meant(row)]
            for start in range(0, len(meant), TOGETHER):
                some = meant[start : start + TOGETHER]
                units = (self._unit(row, steps_of, now_us) for row in some)
                done += sum(await asyncio.gather(*units))
        return done

    async def _unit(self, row: Row, steps_of: Steps, now_us: int) -> bool:
        """Decide about one device by what is so now; what was heard in between is left alone."""

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            steps = steps_of(row, rows, new_id, now_us)
            return Changes(bool(steps), steps)

        try:
            return await self._uow.run(device_reads(row), decide)
        except Conflict:
            return False

    async def _pages(self, statement: str, **params: SqlValue) -> AsyncIterator[Sequence[Row]]:
        after = 0
        while True:
            read = Read(statement, {**params, "after": after, "limit": PAGE_DEVICES}, "devices")
            page = (await self._uow.read([read]))["devices"]
            if page:
                yield page
            if len(page) < PAGE_DEVICES:
                return
            after = page[-1]["id"]


def _learning(rows: Sequence[tuple[SqlValue, ...]]) -> Callable[[Rows, NewId], Changes[None]]:
    step = UpdateMany("contacts_learn", LEARN_COLUMNS, rows)
    return lambda _rows, _new_id: Changes(None, bulk=[step])


def _anew(bearer: Bearer, after: int, now_us: int) -> Callable[[Rows, NewId], Changes[int | None]]:
    def decide(rows: Rows, _new_id: NewId) -> Changes[int | None]:
        through = rows["through"][0]["id"]
        if through is None:
            return Changes(None)
        params: dict[str, SqlValue] = {
            "of_utility": bearer.utility_id,
            "of_medium": bearer.medium,
            "of_after": after,
            "of_through": through,
            "to_now_us": now_us,
        }
        return Changes(through, [Update("contacts_bearer_back", params, rows=None)])

    return decide


def _alive_us(row: Row, bearers: Bearers, now_us: int) -> int:
    """Return until when a device would have been heard.

    A device behind a node is judged as far as that node was heard, or another one behind it; every
    other device as far as its medium was.
    """
    if row["node_id"] is not None:
        return max(row["node_last_us"] or 0, row["brothers_last_us"] or 0)
    bearer = bearers.get((row["utility_id"], row["medium"]))
    if bearer is None or not bearer.is_judged:
        return now_us
    return min(now_us, bearer.last_us)

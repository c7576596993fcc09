"""Devices that have fallen silent: told of once, and once more when they speak again.

Twice a minute the watch learns from what was heard (``devices.contacts``) and looks for what was
not. One alarm stands for a cause: a node that died takes along the meters behind it, and a medium
over which nobody is heard takes along all of its devices. Time in which the platform itself did not
listen, or has not read yet what came, is nobody's silence; what is offline stays so in the database
when a server starts again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.contacts import Silence
from slotmeter.errors import Conflict
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
from slotmeter.services.events import compact_json
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.offline_alarms import (
    BEARER_SILENT,
    OFFLINE,
    Bearer,
    back_steps,
    bearer_steps,
    device_reads,
    is_node_silent,
    learn_step,
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

_STATE: Final[Mapping[str, SqlValue]] = {
    "entry_key": "slotmeter:contacts",
    "kind": "watch",
    "name": "state",
}
"""Where the watch keeps when it looked; the colon keeps it apart from every integration."""

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
        self._deaf_us_min = deaf_us_min
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
        since_us, deaf_us = await self._listened(now_us)
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

    # --- when nobody listened -------------------------------------------------------------------

    async def _listened(self, now_us: int) -> tuple[int, int]:
        """Note this look; return when the first one was, and for how long nobody listened.

        That time is added to when every device is expected, in the same unit, so that it is added
        once whenever the process dies.
        """

        def decide(rows: Rows, new_id: NewId) -> Changes[tuple[int, int]]:
            found = rows["plugin_record"]
            if not found:
                row = {"id": new_id(), **_STATE, **_looked(now_us, now_us)}
                return Changes((now_us, 0), [Insert("plugin_record", row)])
            known = json.loads(found[0]["body"])
            away_us = now_us - known["at_us"]
            deaf_us = away_us if away_us >= self._deaf_us_min else 0
            of = {f"of_{name.removesuffix('_key')}": value for name, value in _STATE.items()}
            to = {f"to_{name}": value for name, value in _looked(known["since_us"], now_us).items()}
            unused = dict.fromkeys(("to_i1", "to_i2", "to_i3"))
            steps: list[Step] = [Update("plugin_record_put", {**of, **unused, **to})]
            if deaf_us:
                steps.append(Update("contacts_shift", {"by_us": deaf_us}, rows=None))
            return Changes((known["since_us"], deaf_us), steps)

        return await self._uow.run([Read("plugin_record", _STATE)], decide)

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
            steps = [step for row in page if (step := learn_step(row, since_us)) is not None]
            learned += len(steps)
            if steps:
                await self._uow.run([], _writing(steps))
        return learned

    async def _bearers(self) -> Bearers:
        rows = (await self._uow.read([Read("contacts_bearers", {}, "bearers")]))["bearers"]
        found = [Bearer(**row) for row in rows]
        return {(each.utility_id, each.medium): each for each in found if each.is_judged}

    # --- what was not ---------------------------------------------------------------------------

    async def _judge_bearers(self, bearers: Bearers, now_us: int) -> tuple[int, int]:
        raised = cleared = 0
        for bearer in bearers.values():
            of: dict[str, SqlValue] = {"utility_id": bearer.utility_id, "kind": BEARER_SILENT}
            read = Read("contacts_subject_alarms", of, "alarms")
            is_silent = now_us - bearer.last_us > bearer.limit_us

            def decide(
                rows: Rows, new_id: NewId, bearer: Bearer = bearer, is_silent: bool = is_silent
            ) -> Changes[bool]:
                steps = bearer_steps(bearer, rows["alarms"], new_id, now_us, is_silent=is_silent)
                return Changes(bool(steps), steps)

            due = decide(await self._uow.read([read]), lambda: 0).result
            if due and await self._uow.run([read], decide):
                raised, cleared = raised + is_silent, cleared + (not is_silent)
        return raised, cleared

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
            params["now_us"] = now_us
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


def _looked(since_us: int, now_us: int) -> dict[str, SqlValue]:
    return {"body": compact_json({"at_us": now_us, "since_us": since_us}), "at_us": now_us}


def _writing(steps: Sequence[Step]) -> Callable[[Rows, NewId], Changes[None]]:
    return lambda _rows, _new_id: Changes(None, steps)


def _alive_us(row: Row, bearers: Bearers, now_us: int) -> int:
    """Return until when a device would have been heard.

    A device behind a node is judged as far as that node was heard, or another one behind it; every
    other device as far as its medium was.
    """
    if row["node_id"] is not None:
        return max(row["node_last_us"] or 0, row["brothers_last_us"] or 0)
    bearer = bearers.get((row["utility_id"], row["medium"]))
    return now_us if bearer is None else min(now_us, bearer.last_us)

"""Watches the clocks of meters: estimates, and what their times are corrected by.

Samples are kept in memory: a server that starts anew collects them again. What was adopted is in
the database: the estimate with the device, and corrections, which few clocks need, in records.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Final

from slotmeter.ports import (
    Changes,
    Insert,
    NewId,
    Read,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.clock_drift import ClockFit, Corrections, Samples, adopt, fit
from slotmeter.services.clock_setting import ClockSetting
from slotmeter.services.events import compact_json
from slotmeter.units import DAY_US, SECOND_US

__all__ = ["STORE_EVERY_S", "ClockWatch"]

STORE_EVERY_S: Final = 60.0
TOGETHER: Final = 500

_OFFSET_TOLD_US: Final = 2 * SECOND_US
_DRIFT_TOLD_PPB: Final = 5_000
_RECORDS: Final[Mapping[str, SqlValue]] = {"entry_key": "slotmeter:clock", "kind": "corrections"}
"""Where corrections are kept; the colon keeps them apart from every integration."""


class _Clock:
    """What is known of one device's clock."""

    __slots__ = ("newest_us", "samples", "told", "utility_id")

    def __init__(self, utility_id: int) -> None:
        self.utility_id = utility_id
        self.samples = Samples()
        self.newest_us = 0
        self.told: ClockFit | None = None


class ClockWatch:
    """Estimates clocks; run :meth:`run` as a task."""

    def __init__(self, uow: UnitOfWork, setting: ClockSetting | None = None) -> None:
        """Start with no sample; ``setting`` asks meters to set their clocks."""
        self._uow = uow
        self._setting = setting
        self._is_loaded = False
        self._clocks: dict[int, _Clock] = {}
        self._fresh: set[int] = set()
        self._corrections: dict[int, Corrections] = {}

    async def load(self) -> None:
        """Read the corrections that were adopted, if that was not done yet."""
        after = ""
        while not self._is_loaded:
            params: dict[str, SqlValue] = {**_RECORDS, "after": after, "limit": TOGETHER}
            page = (await self._uow.read([Read("plugin_record_page", params, "page")]))["page"]
            for row in page:
                epochs = tuple((start, offset) for start, offset in json.loads(row["body"]))
                self._corrections[int(row["name"])] = Corrections(epochs)
            self._is_loaded = len(page) < TOGETHER
            after = page[-1]["name"] if page else ""

    def corrections(self, device_id: int) -> Corrections | None:
        """Return what a device's times are corrected by; None for a clock that is right."""
        return self._corrections.get(device_id)

    def saw(self, device_id: int, utility_id: int, measured_us: int, received_us: int) -> None:
        """Take what the newest report of a device shows of its clock."""
        clock = self._clocks.get(device_id)
        if clock is None:
            clock = self._clocks[device_id] = _Clock(utility_id)
        clock.newest_us = measured_us
        if clock.samples.note(received_us, measured_us - received_us):
            self._fresh.add(device_id)

    async def run(self) -> None:
        """Store estimates until cancelled."""
        while True:
            await asyncio.sleep(STORE_EVERY_S)
            await self.store()

    async def store(self) -> int:
        """Store what is new; return how many estimates were worth it."""
        found: dict[int, ClockFit] = {}
        fresh, self._fresh = list(self._fresh), set()
        for start in range(0, len(fresh), TOGETHER):
            for device_id in fresh[start : start + TOGETHER]:
                clock = self._clocks[device_id]
                estimate = fit(clock.samples.pairs())
                if estimate is not None and _is_news(clock.told, estimate):
                    found[device_id] = estimate
            await asyncio.sleep(0)  # a million clocks take seconds, and meters wait for answers
        ids = list(found)
        for start in range(0, len(ids), TOGETHER):
            await self._store({each: found[each] for each in ids[start : start + TOGETHER]})
        return len(found)

    async def _store(self, found: Mapping[int, ClockFit]) -> None:
        adopted: dict[int, Corrections] = {}
        updates: list[Step] = []
        for device_id, estimate in found.items():
            clock = self._clocks[device_id]
            of: dict[str, SqlValue] = {"of_utility": clock.utility_id, "of_device": device_id}
            of |= {"to_offset_us": estimate.offset_us, "to_drift_ppb": estimate.drift_ppb}
            updates.append(Update("clock_estimate", {**of, "to_seen_us": estimate.at_us}))
            known = self._corrections.get(device_id, Corrections())
            after = adopt(known, estimate, clock.newest_us)
            if after is not known:
                adopted[device_id] = after
        await self._uow.run([], lambda _rows, _new_id: Changes(None, updates))
        for device_id, corrections in adopted.items():
            await self._keep(device_id, corrections, found[device_id].at_us)
        for device_id, estimate in found.items():
            self._clocks[device_id].told = estimate
            if self._setting is not None:
                await self._setting.ask(device_id, estimate.offset_us)

    async def _keep(self, device_id: int, corrections: Corrections, at_us: int) -> None:
        """Store corrections before anything is corrected by them."""
        name = str(device_id)
        body = compact_json([list(epoch) for epoch in corrections.epochs])

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            unused = dict.fromkeys(("i1", "i2", "i3"))
            if not rows["record"]:
                row = {"id": new_id(), **_RECORDS, "name": name, "body": body, **unused}
                return Changes(None, [Insert("plugin_record", {**row, "at_us": at_us})])
            of = {"of_entry": _RECORDS["entry_key"], "of_kind": _RECORDS["kind"], "of_name": name}
            to = {f"to_{each}": None for each in unused}
            put = {**of, **to, "to_body": body, "to_at_us": at_us}
            return Changes(None, [Update("plugin_record_put", put)])

        await self._uow.run([Read("plugin_record", {**_RECORDS, "name": name}, "record")], decide)
        self._corrections[device_id] = corrections


def _is_news(told: ClockFit | None, found: ClockFit) -> bool:
    return (
        told is None
        or found.at_us - told.at_us >= DAY_US
        or abs(found.offset_us - told.offset_us) >= _OFFSET_TOLD_US
        or abs(found.drift_ppb - told.drift_ppb) >= _DRIFT_TOLD_PPB
    )

"""Shows how much waits: commands, frames that were set aside, and claims of meters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final

from prometheus_client import Gauge

from slotmeter.devices.commands import ENDED, CommandState
from slotmeter.ports import Read, UnitOfWork
from slotmeter.services.commissioning_rows import KIND
from slotmeter.services.metrics import DeviceMetrics

__all__ = ["LOOK_EVERY_S", "QueueGauges"]

LOOK_EVERY_S: Final = 30.0

_OPEN: Final = tuple(state.value for state in CommandState if state not in ENDED)


class QueueGauges:
    """Counts what waits in the database; run :meth:`run` as a task, in one server of a database."""

    def __init__(self, uow: UnitOfWork, metrics: DeviceMetrics) -> None:
        """Join the parts."""
        self._uow = uow
        self._metrics = metrics

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Count once."""
        rows = await self._uow.read(
            [
                Read("queue_commands", {}, "commands"),
                Read("queue_quarantine", {}, "aside"),
                Read("queue_claims", dict(KIND), "claims"),
            ]
        )
        commands = dict.fromkeys(_OPEN, 0) | {r["name"]: r["count"] for r in rows["commands"]}
        _show(self._metrics.commands_open, commands)
        _show(self._metrics.quarantine_frames, {r["name"]: r["count"] for r in rows["aside"]})
        claims: Counter[str] = Counter()
        for row in rows["claims"]:
            claims[str(row["name"]).partition(":")[2]] += row["count"]
        _show(self._metrics.claims, claims)


def _show(gauge: Gauge, values: Mapping[str, int]) -> None:
    """Set a gauge by its one label; what is not there any more is gone from the page."""
    gauge.clear()
    for name, value in values.items():
        gauge.labels(name).set(value)

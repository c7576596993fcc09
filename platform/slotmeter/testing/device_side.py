"""The device side of the platform on a real database, with a scripted driver and a fake clock.

For tests of what frames, commands and time do; nothing runs by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from slotmeter.devices.commands import CommandKind, CommandOut
from slotmeter.devices.drivers import Driver, Example
from slotmeter.devices.frames import Frame, Reading, Report
from slotmeter.errors import FrameError
from slotmeter.ports import Changes, CreditRule, Insert, SqlValue, UnitOfWork
from slotmeter.services.bus import Bus
from slotmeter.services.command_queue import CommandQueue, Contacts
from slotmeter.services.command_requests import CommandRequests
from slotmeter.services.command_sweep import CommandSweep
from slotmeter.services.credit import CreditControl
from slotmeter.services.ingest import DeviceConsumer, Frames
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import Commodity, epoch_us

__all__ = ["MEDIUM", "DeviceSide", "Script"]

MEDIUM = "nbiot"
DRIVER_KEY = "slotmeter_virtual"


@dataclass(slots=True)
class Script:
    """What a driver reads out of payloads: whatever a test put there.

    A payload that is not in the script raises ``FrameError``; one in ``faults`` what stands there.
    """

    reports: dict[bytes, Report] = field(default_factory=dict)
    faults: dict[bytes, Exception] = field(default_factory=dict)
    commands: frozenset[CommandKind] = frozenset(CommandKind)

    def decode(self, _path: str, payload: bytes) -> Report:
        """Return the report of a payload."""
        if payload in self.faults:
            raise self.faults[payload]
        if payload not in self.reports:
            raise FrameError("not_in_script", "the payload is not in the script")
        return self.reports[payload]

    def encode(self, commands: tuple[CommandOut, ...]) -> bytes:
        """Write commands as JSON."""
        return json.dumps(
            [{"id": each.id, "kind": each.kind.value, "token": each.token} for each in commands]
        ).encode()

    def driver(self) -> Driver:
        """Return a driver that follows the script."""
        return Driver(
            key=DRIVER_KEY,
            maker="test",
            model="scripted",
            medium=MEDIUM,
            commodities=frozenset(Commodity),
            registers=("energy_import", "volume", "credit_balance", "credit_total"),
            decode=self.decode,
            encode=self.encode,
            commands=self.commands,
            examples=(Example("none", "m", b"", {}),),
        )


class DeviceSide:
    """Everything between a medium and the database, joined as a server joins it."""

    def __init__(
        self, uow: UnitOfWork, clock: FakeClock, rule: CreditRule, script: Script | None = None
    ) -> None:
        """Join the parts."""
        self.uow, self.clock = uow, clock
        self.script = script or Script()
        self.drivers = {DRIVER_KEY: self.script.driver()}
        self.registry = CollectorRegistry()
        self.metrics = DeviceMetrics(self.registry)
        self.bus = Bus()
        self.contacts = Contacts(uow)
        parts: dict[str, Any] = {"metrics": self.metrics, "bus": self.bus}
        self.frames = Frames(uow, **parts)
        self.consumer = DeviceConsumer(uow, clock, drivers=self.drivers, **parts)
        self.requests = CommandRequests(uow, clock, drivers=self.drivers, **parts)
        self.sweep = CommandSweep(uow, clock, contacts=self.contacts, **parts)
        self.credit = CreditControl(uow, clock, rule, drivers=self.drivers, **parts)
        self.queue = CommandQueue(
            MEDIUM, uow, clock, drivers=self.drivers, contacts=self.contacts, **parts
        )
        self._payloads = 0

    @property
    def now_us(self) -> int:
        """Our clock."""
        return epoch_us(self.clock.now())

    async def hand_in(self, meter: SmallMeter | str, payload: bytes) -> int:
        """Log a frame without looking at it."""
        address = meter if isinstance(meter, str) else str(meter.address)
        return await self.frames.hand_in(Frame(MEDIUM, address, "m", payload, self.clock.now()))

    async def report(
        self,
        meter: SmallMeter,
        readings: dict[str, int] | None = None,
        *,
        at: datetime | None = None,
        consume: bool = True,
        **told: Any,
    ) -> bytes:
        """Have a meter report something, and take it in unless told otherwise.

        ``told`` are further fields of a ``Report``: supply, tamper, results, entries, events.
        """
        measured_at = at or self.clock.now()
        self._payloads += 1
        payload = f"report {self._payloads}".encode()
        self.script.reports[payload] = Report(
            measured_at=measured_at,
            readings=tuple(
                Reading(name, value, measured_at) for name, value in (readings or {}).items()
            ),
            **told,
        )
        await self.hand_in(meter, payload)
        if consume:
            await self.consumer.step()
        return payload

    async def take(self, meter: SmallMeter, limit: int = 1) -> list[dict[str, Any]]:
        """Return what a meter is given when it asks."""
        payload = await self.queue.take(str(meter.address), limit=limit)
        taken: list[dict[str, Any]] = json.loads(payload) if payload is not None else []
        return taken

    def count(self, name: str, **labels: str) -> float:
        """Return the value of a counter."""
        return self.registry.get_sample_value(name, labels) or 0.0

    async def insert(self, table: str, row: dict[str, SqlValue]) -> int:
        """Write a row with a new id and return the id."""

        def decide(_rows: Any, new_id: Any) -> Changes[int]:
            row_id = new_id()
            return Changes(row_id, [Insert(table, {"id": row_id, **row})])

        return await self.uow.run([], decide)

    async def notice(self, meter: SmallMeter, utility_id: int, kind: str = "low_credit") -> None:
        """Record a notice now."""
        row: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "meter_id": meter.id,
            "kind": kind,
            "route": "page",
            "at_us": self.now_us,
        }
        await self.insert("notice", row)

    def later(self, **by: int) -> datetime:
        """Return a time after now."""
        return self.clock.now() + timedelta(**by)

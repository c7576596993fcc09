"""The device side of a server: frame log, consumers, command queue, and the media on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from slotmeter.api.media_routes import MediaDoor
from slotmeter.api.metrics import MetricsBoard
from slotmeter.config import FramesConfig, LimitsConfig
from slotmeter.devices.drivers import Driver
from slotmeter.ports import Clock, Commands, ReadingStore, UnitOfWork
from slotmeter.runtime.entries import EntrySide
from slotmeter.runtime.garbage import settle
from slotmeter.runtime.plugins import load_rules
from slotmeter.security.vault import Vault
from slotmeter.services.access import Access
from slotmeter.services.bus import Bus
from slotmeter.services.clock_setting import ClockSetting
from slotmeter.services.clock_watch import ClockWatch
from slotmeter.services.command_queue import CommandQueue, Contacts
from slotmeter.services.command_requests import CommandRequests
from slotmeter.services.command_sweep import CommandSweep
from slotmeter.services.commissioning import Commissioning, CommissioningWatch
from slotmeter.services.credit import CreditControl
from slotmeter.services.device_keys import DeviceKeyRing
from slotmeter.services.device_proofs import DeviceProofs
from slotmeter.services.driver_packs import check_drivers, load_packs
from slotmeter.services.frame_retention import FrameRetention
from slotmeter.services.frame_tail import FrameTail
from slotmeter.services.ingest import DeviceConsumer, Frames, ReadingsConsumer
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.offline_watch import OfflineWatch
from slotmeter.services.plugin_commands import PluginCommands
from slotmeter.services.plugin_context import PluginContexts
from slotmeter.services.plugin_routes import RouteTable
from slotmeter.services.quarantine import Quarantine
from slotmeter.services.queue_gauges import QueueGauges
from slotmeter.services.tasks import TaskOwner
from slotmeter.units import epoch_us

__all__ = ["DeviceSide"]


class _Shared(TypedDict):
    """What every part of the device side is given by name."""

    drivers: Mapping[str, Driver]
    metrics: DeviceMetrics
    bus: Bus


class DeviceSide:
    """Builds and owns what stands between media and the database."""

    def __init__(
        self,
        database: UnitOfWork,
        readings: ReadingStore,
        clock: Clock,
        *,
        vault: Vault,
        board: MetricsBoard,
        metrics: DeviceMetrics,
        bus: Bus,
        tasks: TaskOwner,
    ) -> None:
        """Build the parts; nothing runs yet.

        Raises:
            ConfigError: there are no rules, or more than one pack of them.
        """
        self._database = database
        self._clock = clock
        self._safe = vault.tokens
        self._metrics = metrics
        self._bus = bus
        self._tasks = tasks
        packs = load_packs()
        self._drivers = packs.drivers
        self._contacts = Contacts(database)
        tail = FrameTail()
        self._frames = Frames(database, metrics=metrics, bus=bus, tail=tail)
        board.gauge("driver_modules_refused", "Driver modules left out", lambda: len(packs.broken))
        board.gauge(
            "frames_log_waiting", "Frames that wait for the log", lambda: self._frames.waiting
        )
        self.quarantine = Quarantine(database, clock, bus, metrics)
        self.routes = RouteTable()
        self.device_keys = DeviceKeyRing(database, clock, vault.secrets)
        self.entries = EntrySide(
            database,
            clock,
            vault.secrets,
            board=board,
            metrics=metrics,
            contexts=PluginContexts(database, clock, self._frames, self.routes, self.device_keys),
            commands=self._queue,
            frames=self._frames.of_entry,
        )
        shared = _Shared(drivers=self._drivers, metrics=metrics, bus=bus)
        self.commissioning = Commissioning(database, clock, drivers=self._drivers, bus=bus)
        self._offline = OfflineWatch(database, clock, bus, metrics=metrics)
        self.requests = CommandRequests(database, clock, **shared)
        self.credit = CreditControl(database, clock, load_rules().credit_control, **shared)
        self._clocks = ClockWatch(database, ClockSetting(database, clock, **shared))
        self._consumer = DeviceConsumer(database, clock, tail=tail, clocks=self._clocks, **shared)
        self._readings = ReadingsConsumer(
            database, readings, tail=tail, clocks=self._clocks, **shared
        )
        self._store = readings
        self._sweep = CommandSweep(
            database, clock, contacts=self._contacts, metrics=metrics, bus=bus
        )

    def door(self, access: Access, limits: LimitsConfig) -> MediaDoor:
        """Return what answers for the routes of all entries."""
        proofs = DeviceProofs(self.device_keys, self._clock)
        return MediaDoor(
            self.routes,
            proofs,
            access,
            self._clock,
            limits,
            device_keys=self.device_keys,
            count_refusal=self._metrics.count_refused_call,
            waits_for=self.entries.supervisor.waits_for,
        )

    async def check(self) -> None:
        """Refuse what would lose frames once the consumers run.

        Raises:
            ConfigError: ``driver_missing``.
        """
        await check_drivers(self._database, self._drivers)

    def start(self, kept: FramesConfig) -> None:
        """Run the consumers as tasks; ``kept`` says how long frames are."""
        retention = FrameRetention(
            self._database,
            self._store,
            self._clock,
            days_kept=kept.days_kept,
            aside_days_kept=kept.aside_days_kept,
        )
        self._tasks.keep("device consumer", self._consume)
        self._tasks.keep("readings consumer", self._readings.run)
        self._tasks.keep("frame retention", retention.run)
        self._tasks.keep("clocks of meters", self._clocks.run)
        self._tasks.keep("command sweep", self._sweep.run)
        self._tasks.keep("credit control", self.credit.run)
        self._tasks.keep("commissioning", CommissioningWatch(self.commissioning).run)
        self._tasks.keep("silent devices", self._offline.run)
        self._tasks.keep("queue gauges", QueueGauges(self._database, self._metrics).run)

    async def _consume(self) -> None:
        """Look all devices up, so that their first frames need not, and consume what they send."""
        await self._frames.warm(epoch_us(self._clock.now()))
        await self._consumer.warm()
        settle()
        await self._consumer.run()

    def _queue(self, medium: str) -> Commands:
        """Return the queue as the entries of one medium see it."""
        queue = CommandQueue(
            medium,
            self._database,
            self._clock,
            safe=self._safe,
            drivers=self._drivers,
            contacts=self._contacts,
            metrics=self._metrics,
            bus=self._bus,
        )
        return PluginCommands(medium, queue, self._database, self._clock, self._bus)

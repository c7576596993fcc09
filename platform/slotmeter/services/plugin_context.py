"""Builds what the plugin of one config entry is given."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from slotmeter.ports import (
    Clock,
    Commands,
    EntryInfo,
    Frames,
    Metrics,
    PluginContext,
    Secrets,
    Tasks,
    UnitOfWork,
)
from slotmeter.services.device_keys import DeviceKeyRing
from slotmeter.services.plugin_records import PluginRecords
from slotmeter.services.plugin_routes import RouteTable

__all__ = ["PluginContexts"]


@dataclass(frozen=True, slots=True)
class PluginContexts:
    """Makes contexts, and takes back what they put into tables shared by all entries.

    Args:
        uow: the database that records are kept in.
        clock: our time.
        frames: takes what devices say, whatever it came by.
        routes: the routes of all loaded entries.
        device_keys: the keys of all devices.
    """

    uow: UnitOfWork
    clock: Clock
    frames: Frames
    routes: RouteTable
    device_keys: DeviceKeyRing

    def open(
        self,
        entry: EntryInfo,
        *,
        commands: Commands,
        tasks: Tasks,
        metrics: Metrics,
        frames: Frames | None = None,
        secrets: Secrets | None = None,
    ) -> PluginContext:
        """Return the context of an entry that is being set up.

        Args:
            entry: which one.
            commands: the queue of its medium.
            tasks: ended with the entry by their owner.
            metrics: counters of its medium.
            frames: takes what came by this entry, as such; None for the one of all.
            secrets: of the entry, in clear.
        """
        return PluginContext(
            frames=frames or self.frames,
            commands=commands,
            tasks=tasks,
            clock=self.clock,
            log=logging.getLogger(f"slotmeter.media.{entry.medium}.{entry.key}"),
            metrics=metrics,
            entry=entry,
            records=PluginRecords(entry.key, self.uow, self.clock),
            secrets=secrets or Secrets(),
            routes=self.routes.open(entry.key),
            device_keys=self.device_keys.of(entry.key),
        )

    def close(self, entry_key: str) -> None:
        """Forget the routes of an entry that is unloaded, or that could not be set up."""
        self.routes.close(entry_key)

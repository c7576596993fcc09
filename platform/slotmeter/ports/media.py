"""What a medium is given, and what it offers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from slotmeter.devices.frames import Frame
from slotmeter.errors import SlotmeterError
from slotmeter.ports.clock import Clock
from slotmeter.ports.records import Records, Secrets
from slotmeter.ports.routes import DeviceKeys, Routes

__all__ = [
    "Commands",
    "EntryInfo",
    "Fate",
    "Frames",
    "HandOut",
    "Medium",
    "MediumSetup",
    "Metrics",
    "PluginContext",
    "Queued",
    "Tasks",
]


class Frames(Protocol):
    """Where a medium hands in what it received."""

    async def hand_in(self, frame: Frame) -> int:
        """Write the frame to the durable frame log and return its id.

        Answer the device only after this returned.

        Raises:
            Unavailable: the log cannot take it now; the device must send again.
            Refused: ``payload_too_large``.
        """
        ...

    async def hand_in_many(self, frames: Sequence[Frame]) -> Sequence[int | SlotmeterError]:
        """Write frames to the log at once, which costs little more than writing one.

        For media that get many frames in one message. Each frame is taken or not for itself.

        Returns:
            For each frame its id, or what :meth:`hand_in` would have raised.

        Raises:
            Unavailable: none was taken; all must be sent again.
        """
        ...


class Fate(StrEnum):
    """What a medium knows of commands it took; never whether the device obeyed."""

    TAKEN = "taken"
    """The device has the bytes: it is given its time again before they are sent again."""

    LOST = "lost"
    """The bytes did not reach the device: they may be taken again at once."""


@dataclass(frozen=True, slots=True)
class HandOut:
    """Commands on their way to a device.

    Args:
        payload: encoded by the device's driver; may hold tokens, so never log it.
        command_ids: which commands it carries, for :meth:`Commands.report`.
        lease_s: unless the device reports within so many seconds, they are queued again; what
            would be delivered later must be dropped.
    """

    payload: bytes = field(repr=False)
    command_ids: tuple[int, ...]
    lease_s: int


@dataclass(frozen=True, slots=True)
class Queued:
    """Devices of one medium for which commands were queued, and where to look on from."""

    addresses: tuple[str, ...]
    cursor: int


class Commands(Protocol):
    """The durable queue as a medium sees it."""

    async def take(self, address: str, *, limit: int = 1) -> bytes | None:
        """Lease what is due for a device and return it encoded by its driver, or None.

        Taken commands are *sent*; unless the device reports them within the lease they are queued
        again. A device that is not registered gets None.
        """
        ...

    async def hand_out(self, address: str, *, limit: int = 1, cell: str = "") -> HandOut | None:
        """Do what :meth:`take` does, and say which commands went and for how long.

        Args:
            address: of the device.
            limit: so many commands its meters take in one message.
            cell: the radio cell, gateway or concentrator that reaches the device now; devices for
                which none is named share one.
        """
        ...

    def limit_cells(self, *, per_minute: int, burst: int) -> None:
        """Bound how many commands go through each cell, gateway or concentrator of this medium.

        Beyond it nothing is handed out there for a while. Giving supply back is never held up. A
        cell begins with nothing, since nobody knows what went through it before.

        Args:
            per_minute: commands in a minute on the average, at least 1.
            burst: commands at once after a pause, at least 1.
        """
        ...

    async def report(self, address: str, command_ids: Sequence[int], fate: Fate) -> int:
        """Tell what became of commands that were taken for a device.

        A command that is not under way to this device is passed over, so that a late or doubled
        report does no harm. What the device itself says goes in as a frame instead.

        Returns how many commands changed.
        """
        ...

    async def queued(self, after: int = 0, *, limit: int = 500, timeout_s: float = 30) -> Queued:
        """Wait until commands are queued for devices of this medium, and name the devices.

        For media that can reach a device at any time; the others take when the device speaks.

        Args:
            after: cursor of the last answer; 0 for all that is queued now.
            limit: at most so many commands are looked at, 1 to 1,000.
            timeout_s: answers with nothing after so many seconds.
        """
        ...


class Tasks(Protocol):
    """Tasks owned by the supervisor: ended with the entry, and logged if they fail."""

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work until it ends or the entry is unloaded."""
        ...

    def vital(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work without which the entry is nothing, such as its one connection.

        When it ends or fails, the entry is unloaded and set up anew after a pause; a
        ``ConfigError`` lets it fail until somebody changes it.
        """
        ...


class Metrics(Protocol):
    """Named counters under the plugin's own prefix."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to ``slotmeter_<plugin>_<name>_total``."""
        ...


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """The config entry that a plugin is set up for.

    Args:
        key: lower-case letters, digits, ``_`` and ``-``; unique and never changed.
        title: for people.
        medium: key of the medium.
    """

    key: str
    title: str
    medium: str


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a config entry of a plugin is given; it opens no database and no file of its own.

    Args:
        frames: takes what devices say.
        commands: gives what devices are to do.
        tasks: runs what must go on; ended with the entry.
        clock: our time.
        log: for this entry; never for payloads, tokens or secrets.
        metrics: counters of the plugin.
        entry: which entry this is.
        records: documents and counters of this entry.
        secrets: of this entry, in clear; read them when they are needed and keep no copy.
        routes: HTTP routes of this entry.
        device_keys: proofs by the keys of devices.
    """

    frames: Frames
    commands: Commands
    tasks: Tasks
    clock: Clock
    log: logging.Logger
    metrics: Metrics
    entry: EntryInfo
    records: Records
    secrets: Secrets
    routes: Routes
    device_keys: DeviceKeys


class MediumSetup(Protocol):
    """A medium that runs."""

    async def stop(self) -> None:
        """Stop listening, answer what was begun, let go of sockets."""
        ...

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, for people: ``coap://127.0.0.1:5683``."""
        ...


class Medium(Protocol):
    """What the entry point group ``slotmeter.media`` offers."""

    key: str

    def setup(
        self, context: PluginContext, options: Mapping[str, object]
    ) -> Awaitable[MediumSetup]:
        """Check the options, start to listen, and return what runs.

        Raises:
            ConfigError: an option is unknown or cannot work.
        """
        ...

"""What a medium is given, and what it offers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from slotmeter.devices.frames import Frame
from slotmeter.ports.clock import Clock

__all__ = ["Commands", "Frames", "Medium", "MediumSetup", "Metrics", "PluginContext", "Tasks"]


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


class Commands(Protocol):
    """The durable queue as a medium sees it."""

    async def take(self, address: str, *, limit: int = 1) -> bytes | None:
        """Lease what is due for a device and return it encoded by its driver, or None.

        Taken commands are *sent*; unless the device reports them within the lease they are queued
        again. A device that is not registered gets None.
        """
        ...


class Tasks(Protocol):
    """Tasks owned by the supervisor: ended with the entry, and logged if they fail."""

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work until it ends or the entry is unloaded."""
        ...


class Metrics(Protocol):
    """Named counters under the plugin's own prefix."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to ``slotmeter_<plugin>_<name>_total``."""
        ...


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a config entry of a plugin is given; it opens no database and no file of its own."""

    frames: Frames
    commands: Commands
    tasks: Tasks
    clock: Clock
    log: logging.Logger
    metrics: Metrics


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

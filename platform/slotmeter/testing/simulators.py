"""What a simulator is: it makes virtual meters speak one medium's protocol.

A plugin offers one by an entry point of the group ``slotmeter.simulators``. Meters live on the
``MeterClock`` that ``attach`` is given; polls, time-outs and retransmissions run on real time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from slotmeter.devices.frames import TokenEntry
from slotmeter.testing.meter_clock import MeterClock
from slotmeter.testing.virtual_meter import VirtualMeter

__all__ = ["REPORT_EVERY", "Fleet", "FleetStats", "MeterLink", "Simulator"]

REPORT_EVERY: Final = timedelta(minutes=15)
"""How often a meter reports by itself, by its own time."""


@dataclass(slots=True)
class FleetStats:
    """What a fleet did, counted from its start.

    Args:
        reports: pushes that were acknowledged.
        polls: polls that were answered.
        commands: commands that meters were given, repeats included.
        unanswered: requests that got no answer in time, or whose answer was lost on purpose.
        refused: requests that the head-end refused for good.
        deferred: requests that the head-end asked to send again later.
        unreadable: answers whose commands could not be read.
    """

    reports: int = 0
    polls: int = 0
    commands: int = 0
    unanswered: int = 0
    refused: int = 0
    deferred: int = 0
    unreadable: int = 0


@dataclass(slots=True, eq=False)
class MeterLink:
    """One meter, the person in front of it, and its radio.

    What the person does happens at the meter's present, and the meter tells of it at once if it is
    online, else when it is online again.

    Args:
        meter: the meter; read it freely, act on it through this link.
        address: how the head-end knows it.
        clock: the time it lives in.
        online: whether its radio reaches the head-end.
        awake: set when there is something to do before the next poll.
    """

    meter: VirtualMeter
    address: str
    clock: MeterClock
    online: bool = True
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    wants_report: bool = True
    _answers_to_lose: int = 0

    def live(self) -> VirtualMeter:
        """Let the meter live up to the present and return it."""
        self.meter.run_to(max(self.meter.at, self.clock.now()))
        return self.meter

    def go_offline(self) -> None:
        """Lose the network; the meter lives on and remembers what it has to tell."""
        self.online = False

    def come_online(self) -> None:
        """Find the network again; the meter reports at once."""
        self.online = True
        self.report_soon()

    def report_soon(self) -> None:
        """Make a report without waiting for its time."""
        self.wants_report = True
        self.awake.set()

    def lose_answers(self, count: int) -> None:
        """Lose the next answers on the way to the meter: the head-end has sent them."""
        self._answers_to_lose += count

    def answer_is_lost(self) -> bool:
        """Say whether the answer that just came is one to lose (asked by the simulator)."""
        if self._answers_to_lose:
            self._answers_to_lose -= 1
            return True
        return not self.online

    def type_token(self, digits: str) -> TokenEntry:
        """Type a token on the keypad.

        Raises:
            Refused: ``no_keypad``.
        """
        entry = self.live().type_token(digits)
        self.report_soon()
        return entry

    def confirm_at_site(self) -> bool:
        """Open an armed gas valve; return whether there was anything to open."""
        opened = self.live().confirm_at_site()
        self.report_soon()
        return opened

    def open_cover(self) -> None:
        """Open the cover: tamper."""
        self.live().open_cover()
        self.report_soon()

    def close_cover(self) -> None:
        """Close the cover."""
        self.live().close_cover()

    def clear_tamper(self) -> bool:
        """Clear the tamper condition as a service person does."""
        cleared = self.live().clear_tamper()
        self.report_soon()
        return cleared


class Fleet(Protocol):
    """Meters that are attached and live."""

    @property
    def links(self) -> Mapping[str, MeterLink]:
        """Every meter by its number."""
        ...

    @property
    def stats(self) -> FleetStats:
        """What was done so far."""
        ...

    async def stop(self) -> None:
        """End all traffic and return when nothing runs; safe to call twice.

        Raises the error of a meter's task that failed, if one did.
        """
        ...


class Simulator(Protocol):
    """What the entry point group ``slotmeter.simulators`` offers."""

    key: str
    """The medium it speaks."""

    async def attach(
        self,
        meters: Sequence[VirtualMeter],
        target: str,
        clock: MeterClock,
        *,
        report_every: timedelta = REPORT_EVERY,
        poll_every_s: float = 1.0,
        addresses: Mapping[str, str] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Fleet:
        """Let meters live and speak to a head-end.

        Args:
            meters: the meters; the simulator acts on them until it is stopped.
            target: where the head-end listens, as ``MediumSetup.addresses`` says it.
            clock: the time the meters live in.
            report_every: how often each reports by itself, by its own time.
            poll_every_s: how often each asks for commands, in real seconds.
            addresses: meter number to device address; the number itself where nothing is said.
            options: the simulator's own.

        Raises:
            ConfigError: an option is unknown or cannot work.
        """
        ...

"""Virtual meters over real CoAP: each has its own socket, as each real meter has its own radio.

Meters live on the meter clock. Polls, time-outs and retransmissions run on real time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiocoap  # type: ignore[import-untyped]  # ships no types
from aiocoap.numbers.constants import TransportTuning  # type: ignore[import-untyped]  # ships none

from slotmeter.errors import ConfigError
from slotmeter.testing.meter_clock import MeterClock
from slotmeter.testing.simulators import REPORT_EVERY, FleetStats, MeterLink
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter_nbiot.push_meter import decode_commands, encode_report

__all__ = ["SIMULATOR", "NbiotFleet", "NbiotSimulator"]

CBOR: Final = 60
EXCHANGES_MAX: Final = 32
"""Requests in a row before a meter pauses until its next poll."""

_log = logging.getLogger("slotmeter.simulator.nbiot")


@dataclass(frozen=True, slots=True)
class _Options:
    """The simulator's own options.

    Args:
        path: where the head-end takes pushes.
        ack_timeout_s: first wait for an acknowledgement; it doubles with each retransmission.
        retransmissions_max: how often a request is sent again.
        answer_timeout_s: how long one request may take in all.
    """

    path: str = "m"
    ack_timeout_s: int = 2
    retransmissions_max: int = 3
    answer_timeout_s: int = 40

    @classmethod
    def from_mapping(cls, given: Mapping[str, object]) -> Self:
        known = {field.name: field.type for field in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise ConfigError("unknown_option", f"no option {name!r}", field=name)
            right = isinstance(value, str) if name == "path" else type(value) is int and value >= 0
            if not right:
                raise ConfigError("bad_option", f"{name} cannot be {value!r}", field=name)
        return cls(**given)  # type: ignore[arg-type]  # each value was checked above

    def tuning(self) -> TransportTuning:
        """Return them as aiocoap wants them."""
        options = self

        class Tuning(TransportTuning):  # type: ignore[misc]  # aiocoap ships no types
            ACK_TIMEOUT = options.ack_timeout_s
            MAX_RETRANSMIT = options.retransmissions_max
            reliability = True

        return Tuning()


class _Radio:
    """One meter's socket and its exchanges with the head-end."""

    def __init__(
        self,
        context: aiocoap.Context,
        link: MeterLink,
        authority: str,
        options: _Options,
        stats: FleetStats,
    ) -> None:
        self._context = context
        self._link = link
        self._authority = authority
        self._options = options
        self._tuning = options.tuning()
        self._stats = stats
        self._remote: Any = None
        self.pause_s = 0
        """What the head-end asked to wait before the next request."""

    async def talk(self) -> None:
        """Push what there is to tell, else poll, until neither side has anything left."""
        link = self._link
        for _ in range(EXCHANGES_MAX):
            meter = link.live()
            if meter.has_news or link.wants_report:
                going_on = await self._push(meter)
            else:
                going_on = await self._poll()
            if not going_on or not (meter.has_news and link.online):
                return

    async def _push(self, meter: VirtualMeter) -> bool:
        report = meter.report()
        answer = await self._request(aiocoap.POST, encode_report(report))
        if answer is None or answer.code != aiocoap.CHANGED:
            return False
        self._stats.reports += 1
        self._link.wants_report = False
        meter.acknowledge(report)
        return self._obey(bytes(answer.payload))

    async def _poll(self) -> bool:
        answer = await self._request(aiocoap.GET, b"")
        if answer is None or answer.code != aiocoap.CONTENT:
            return False
        self._stats.polls += 1
        return self._obey(bytes(answer.payload))

    def _obey(self, payload: bytes) -> bool:
        try:
            commands = decode_commands(payload)
        except ValueError:
            self._stats.unreadable += 1
            return False
        meter = self._link.live()
        for command in commands:
            self._stats.commands += 1
            meter.execute(command)
        return True

    async def _request(self, code: Any, payload: bytes) -> aiocoap.Message | None:
        """Send one request; return the answer, or None when the meter got none."""
        message = aiocoap.Message(
            code=code,
            payload=payload,
            uri_path=tuple(self._options.path.split("/")),
            uri_query=(f"ep={self._link.address}",),
            transport_tuning=self._tuning,
        )
        if payload:
            message.opt.content_format = CBOR
        if self._remote is None:
            message.unresolved_remote = self._authority
        else:
            message.remote = self._remote
        request = self._context.request(message, handle_blockwise=False)
        try:
            async with asyncio.timeout(self._options.answer_timeout_s):
                answer = await request.response
        except (aiocoap.error.Error, TimeoutError, OSError):
            self._remote = None
            answer = None
        if answer is None or self._link.answer_is_lost():
            self._stats.unanswered += 1
            return None
        self._remote = answer.remote
        if answer.code == aiocoap.SERVICE_UNAVAILABLE:
            self._stats.deferred += 1
            self.pause_s = min(60, answer.opt.max_age or 1)
        elif not answer.code.is_successful():
            self._stats.refused += 1
        return answer


@dataclass(frozen=True, slots=True)
class _Life:
    """What one meter does from the moment it is attached."""

    link: MeterLink
    authority: str
    options: _Options
    stats: FleetStats
    poll_every_s: float

    async def run(self, delay_s: float) -> None:
        """Wait, then poll and report until cancelled."""
        await asyncio.sleep(delay_s)
        context = await aiocoap.Context.create_client_context(
            transports=["udp6"], loggername=_log.name
        )
        try:
            await self._live_on(
                _Radio(context, self.link, self.authority, self.options, self.stats)
            )
        finally:
            await context.shutdown()

    async def _live_on(self, radio: _Radio) -> None:
        while True:
            self.link.awake.clear()
            self.link.live()
            if self.link.online:
                await radio.talk()
            if radio.pause_s:
                pause_s, radio.pause_s = radio.pause_s, 0
                await asyncio.sleep(pause_s)
            else:
                await _wait(self.link.awake, self.poll_every_s)


class NbiotFleet:
    """Meters that are attached; see :class:`slotmeter.testing.simulators.Fleet`.

    ``tasks`` are what runs: two for each meter, its life and its report times.
    """

    def __init__(self, links: Sequence[MeterLink]) -> None:
        self.links: Mapping[str, MeterLink] = {link.meter.number: link for link in links}
        self.stats = FleetStats()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, task_name: str, work: Any) -> None:
        """Own a task until ``stop``."""
        task: asyncio.Task[None] = asyncio.create_task(work, name=task_name)
        task.add_done_callback(_log_failure)
        self.tasks.append(task)

    async def stop(self) -> None:
        """End all traffic and return when nothing runs; raise what made a task fail."""
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("%s failed", task.get_name(), exc_info=task.exception())


class NbiotSimulator:
    """Makes virtual meters push over CoAP; see :class:`slotmeter.testing.simulators.Simulator`."""

    key = "nbiot"

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
    ) -> NbiotFleet:
        """Let meters live and speak to a head-end at ``target``, as ``coap://127.0.0.1:5683``.

        Their first reports are spread over one poll interval, their later ones over one report
        interval, so that they do not come all at once.

        Raises:
            ConfigError: ``bad_target``, ``unknown_option`` or ``bad_option``.
        """
        parts = urlsplit(target)
        if parts.scheme != "coap" or not parts.netloc or parts.path not in ("", "/"):
            raise ConfigError("bad_target", f"expected coap://host:port, got {target!r}")
        chosen, known = _Options.from_mapping(options or {}), addresses or {}
        links = [MeterLink(meter, known.get(meter.number, meter.number), clock) for meter in meters]
        fleet = NbiotFleet(links)
        for place, link in enumerate(links):
            delay_s = poll_every_s * place / len(links)
            first = clock.now() + report_every * (place + 1) / len(links)
            name = f"virtual meter {link.meter.number}"
            life = _Life(link, parts.netloc, chosen, fleet.stats, poll_every_s)
            fleet.start(name, life.run(delay_s))
            fleet.start(f"{name} reports", _remind(link, first, report_every))
        return fleet


async def _wait(awake: asyncio.Event, timeout_s: float) -> None:
    """Return when there is something to do, or after a while."""
    try:
        async with asyncio.timeout(timeout_s):
            await awake.wait()
    except TimeoutError:
        return


async def _remind(link: MeterLink, at: Any, report_every: timedelta) -> None:
    """Ask for a report at each report time of the meter's clock, until cancelled."""
    while True:
        await link.clock.sleep_until(at)
        link.report_soon()
        # After a gap the meter makes one report, not one for each time that it missed.
        while at <= link.clock.now():
            at += report_every


SIMULATOR = NbiotSimulator()

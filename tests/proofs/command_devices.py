"""Meters and a network that lose, delay, double and reorder what they are given, from one seed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from random import Random
from typing import Any

from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult, Outcome
from slotmeter.devices.drivers import Driver, Example
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import Reading, Report
from slotmeter.errors import FrameError
from slotmeter.ports import Clock
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import Commodity

__all__ = ["DELAY_S_MAX", "DRIVER", "Make", "Network", "SimulatedMeter"]

KINDS = frozenset(
    {
        *(CommandKind.LOAD_TOKEN, CommandKind.READ_NOW, CommandKind.SET_CLOCK),
        *(CommandKind.OPEN_RELAY, CommandKind.CLOSE_RELAY),
        *(CommandKind.SET_LOAD_LIMIT, CommandKind.SET_TARIFF),
    }
)
REPORT_EVERY_S = (120.0, 900.0)
ANSWER_AFTER_S = (0.5, 4.0)
DELAY_S_MAX = 900.0


def _decode(_path: str, payload: bytes) -> Report:
    try:
        said = json.loads(payload)
        at = datetime.fromtimestamp(said["at"], tz=UTC)
        return Report(
            measured_at=at,
            readings=tuple(Reading(name, value, at) for name, value in said["readings"].items()),
            supply=SupplyState(said["supply"]),
            results=tuple(
                CommandResult(number, Outcome(outcome), tid, amount)
                for number, outcome, tid, amount in said["results"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError("not_a_report", "expected what a simulated meter says") from error


def _encode(commands: tuple[CommandOut, ...]) -> bytes:
    return json.dumps(
        [[each.id, each.kind.value, each.token, each.value, each.text] for each in commands]
    ).encode()


DRIVER = Driver(
    key="slotmeter_virtual",
    maker="test",
    model="simulated",
    medium="nbiot",
    commodities=frozenset({Commodity.ELECTRICITY}),
    registers=("credit_total", "credit_balance", "load_limit", "tariff"),
    decode=_decode,
    encode=_encode,
    commands=KINDS,
    examples=(
        Example(
            "none", "m", b'{"at": 1767571200, "supply": "on", "readings": {}, "results": []}', {}
        ),
    ),
)


@dataclass(slots=True)
class Network:
    """Carries messages, or does not.

    Args:
        random: the source of all chance.
        seen: how often what happened.
        fail: called with what broke where a message arrived.
    """

    random: Random
    seen: Counter[str] = field(default_factory=Counter)
    fail: Callable[[BaseException], None] = lambda _error: None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def carry(self, arrive: Callable[[], Awaitable[None]]) -> None:
        """Bring a message to where it is handled: not at all, once or twice, soon or late."""
        self.seen["messages"] += 1
        if self.random.random() < 0.15:
            self.seen["lost"] += 1
            return
        copies = 1
        if self.random.random() < 0.08:
            self.seen["doubled"] += 1
            copies = 2
        for _ in range(copies):
            task = asyncio.get_running_loop().create_task(self._later(arrive, self._delay_s()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(self, arrive: Callable[[], Awaitable[None]], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        try:
            await arrive()
        except Exception as error:  # noqa: BLE001  the supervisor: it ends the run
            self.fail(error)

    def _delay_s(self) -> float:
        chance = self.random.random()
        if chance < 0.02:
            self.seen["delayed beyond the lease"] += 1
            return self.random.uniform(60, DELAY_S_MAX)
        if chance < 0.10:
            self.seen["delayed"] += 1
            return self.random.uniform(5, 60)
        return self.random.uniform(0.1, 3)


class Make(Enum):
    """How well a meter remembers."""

    CAREFUL = auto()  # does nothing twice, repeats results until it is answered
    PLAIN = auto()  # does what it is told as often as it is told, repeats results
    FORGETFUL = auto()  # the same, and tells each result once


@dataclass(slots=True)
class SimulatedMeter:
    """A prepayment meter: it takes each token once, and the rest as its make is.

    Args:
        row: as the platform knows it.
        make: how well it remembers.
        clock: real time; its own is off by ``offset_s``.
        network: what carries its messages.
        random: the source of all chance.
        uplink: takes what it says.
        pace: how many times longer than usual it waits between reports.
        heard_s: when it said the newest of what the server heard.
        said_s: when it said what the server did not hear yet.
    """

    row: SmallMeter
    make: Make
    clock: Clock
    network: Network
    random: Random
    uplink: Callable[[SimulatedMeter, bytes, int], Awaitable[None]]
    offset_s: int = 0
    supply: SupplyState = SupplyState.ON
    load_limit_w: int = 0
    tariff: int = 1
    credit_total: int = 0
    credited: list[int] = field(default_factory=list)
    done: list[tuple[int, str]] = field(default_factory=list)
    reports: int = 0
    pace: int = 1
    heard_s: float = 0.0
    said_s: dict[int, float] = field(default_factory=dict)
    _results: dict[int, CommandResult] = field(default_factory=dict)
    _known: dict[int, CommandResult] = field(default_factory=dict)
    _said_s: int = 0
    _told: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self) -> None:
        """Report at times of its own, and soon after it was told something."""
        await asyncio.sleep(self.random.uniform(0, REPORT_EVERY_S[1]))
        while True:
            self.say()
            self._wake.clear()
            try:
                async with asyncio.timeout(self.pace * self.random.uniform(*REPORT_EVERY_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(self.random.uniform(*ANSWER_AFTER_S))

    def say(self) -> None:
        """Send a report."""
        now = self.clock.now() + timedelta(seconds=self.offset_s)
        # No meter makes two reports in one second of its own clock.
        self._said_s = max(int(now.timestamp()), self._said_s + 1)
        self.reports += 1
        self.said_s[self.reports] = self.clock.monotonic_s()
        self._told[self.reports] = tuple(self._results)
        results = [
            [each.command_id, each.outcome.value, each.tid, each.amount]
            for each in list(self._results.values())[:32]
        ]
        said: dict[str, Any] = {
            "at": self._said_s,
            "supply": self.supply.value,
            "readings": {
                "credit_total": self.credit_total,
                "credit_balance": self.credit_total,
                "load_limit": self.load_limit_w,
                "tariff": self.tariff,
            },
            "results": results,
        }
        if self.make is Make.FORGETFUL:
            self._results.clear()
        payload, number = json.dumps(said).encode(), self.reports

        async def arrive() -> None:
            await self.uplink(self, payload, number)

        self.network.carry(arrive)

    async def answered(self, number: int, payload: bytes | None) -> None:
        """Take the answer to a report: it was heard, and this is to be done."""
        for command_id in self._told.pop(number, ()):
            self._results.pop(command_id, None)
        for row in json.loads(payload or b"[]"):
            self._take(CommandOut(row[0], CommandKind(row[1]), row[2], row[3], row[4]))
            self._wake.set()

    def _take(self, command: CommandOut) -> None:
        if command.id in self._known and self.make is Make.CAREFUL:
            self._results[command.id] = self._known[command.id]
            return
        result = self._do(command)
        self._known[command.id] = self._results[command.id] = result
        self.done.append((command.id, command.kind.value))

    def _do(self, command: CommandOut) -> CommandResult:
        match command.kind:
            case CommandKind.OPEN_RELAY:
                self.supply = SupplyState.OFF
            case CommandKind.CLOSE_RELAY:
                self.supply = SupplyState.ON
            case CommandKind.SET_LOAD_LIMIT:
                self.load_limit_w = command.value or 0
            case CommandKind.SET_TARIFF:
                self.tariff = int(command.text or "0")
            case CommandKind.SET_CLOCK:
                self.offset_s = (command.value or 0) - int(self.clock.now().timestamp())
                self._said_s = 0
            case CommandKind.LOAD_TOKEN:
                return self._enter(command)
            case _:
                pass
        return CommandResult(command.id, Outcome.DONE)

    def _enter(self, command: CommandOut) -> CommandResult:
        """Enter a token: its digits tell its identifier and its amount."""
        tid, amount = int((command.token or "0")[:10]), int((command.token or "0")[10:])
        if tid in self.credited:
            return CommandResult(command.id, Outcome.ALREADY_USED, tid)
        self.credited.append(tid)
        self.credit_total += amount
        return CommandResult(command.id, Outcome.DONE, tid, amount)

"""A platform, its meters and its people in virtual time, for the proof of commands.

The platform is the real one: frame log, consumer, gate, queue and sweep on a file of SQLite. It is
stopped at moments drawn from the seed, in the middle of whatever it does, and started again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from command_devices import DELAY_S_MAX, DRIVER, Make, Network, SimulatedMeter
from slotmeter.devices.commands import ENDED
from slotmeter.errors import SlotmeterError
from slotmeter.ports import Caller
from slotmeter.testing.databases import Behind
from slotmeter.testing.device_side import DeviceSide, DeviceTown
from slotmeter.testing.small_utility import SmallUtility, tariff_document
from slotmeter.testing.virtual_time import LoopClock, SimulatedDatabase
from slotmeter.units import epoch_us
from slotmeter_rules import RULES

__all__ = ["COMMANDS_PER_DEVICE", "World"]

COMMANDS_PER_DEVICE = 20
PAUSE_S_MAX = 0.02
KINDS = (
    *("load_token",) * 6,
    *("open_relay", "close_relay") * 5,
    *("set_load_limit", "set_tariff") * 2,
    *("read_now", "set_clock"),
)
CHECK_EVERY_S = 600.0
REST_S_MAX = 45 * 86_400.0
PACES = ((3 * 3_600.0, 3), (3 * 86_400.0, 12), (REST_S_MAX, 48))
"""Until when after the last wish meters report how many times less often: to save time."""

FAILURES_MAX = 100
"""So often in one life of the server its work may begin anew; more is not bad luck."""


@dataclass(slots=True)
class World:
    """Everything that lives, and what was seen of it.

    Args:
        folder: an empty folder.
        seed: of all chance.
        devices: how many meters.
        commands: how many commands people ask for in all.
        progress: called with the number of commands asked for.
    """

    folder: Path
    seed: int
    devices: int
    commands: int
    progress: Callable[[int], None] = lambda _done: None
    asked: int = 0
    restarts: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    meters: dict[int, SimulatedMeter] = field(default_factory=dict)
    random: Random = field(init=False)
    database: SimulatedDatabase = field(init=False)
    clock: LoopClock = field(init=False)
    network: Network = field(init=False)
    town: DeviceTown = field(init=False)
    operator: Caller = field(init=False)
    _work: set[asyncio.Task[Any]] = field(default_factory=set)
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _tid: int = 0
    _lifetime: asyncio.Task[Any] | None = None
    _failure: BaseException | None = None

    def __post_init__(self) -> None:
        """Draw all chance from one seed."""
        self.random = Random(self.seed)

    async def run(self) -> None:
        """Live until every command has ended and nothing is on its way.

        Raises:
            Exception: what broke anywhere; the run ends there and then.
        """
        try:
            await self._live()
        except asyncio.CancelledError:
            if self._failure is None:
                raise
            raise self._failure from None

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        if self._lifetime is not None:
            self._lifetime.cancel()

    async def _live(self) -> None:
        self.clock = LoopClock()
        self._lifetime = asyncio.current_task()
        self.network = Network(self.random, self.seen, self._fail)
        self.database = SimulatedDatabase(
            self.folder / "slotmeter.db", self.random, pause_s_max=PAUSE_S_MAX
        )
        await self._settle()
        self._start()
        lives = [asyncio.create_task(meter.live()) for meter in self.meters.values()]
        await asyncio.sleep(1_800)
        people = [
            asyncio.create_task(self._people(number, meter))
            for number, meter in enumerate(self.meters.values())
        ]
        stopping = asyncio.create_task(self._stop_now_and_then())
        await asyncio.gather(*people)
        await _ended(stopping)
        if not self._up.is_set():
            self._start()
        await self._come_to_rest()
        for task in (*lives, *self._work):
            await _ended(task)

    async def _settle(self) -> None:
        """Make a utility with its meters."""
        utility = SmallUtility(self.database, epoch_us(self.clock.now()))
        await utility.make()
        await utility.add_tariff(tariff_document("electricity"))
        self.operator = await utility.add_principal("operator")
        behind, path = Behind(self.folder), self.folder / "slotmeter.db"
        self.town = DeviceTown(self._side(), utility, self.operator, path, behind)
        await self.town.set_policy({"cuts_per_hour": 1_000_000})
        makes = tuple(Make)
        for number in range(self.devices):
            row = await utility.add_meter("electricity")
            self.meters[row.id] = SimulatedMeter(
                row,
                makes[number % len(makes)],
                self.clock,
                self.network,
                self.random,
                self._uplink,
                offset_s=self.random.randint(-20, 20),
            )

    def _side(self) -> DeviceSide:
        return DeviceSide(
            self.database, self.clock, RULES.credit_control, drivers={DRIVER.key: DRIVER}
        )

    # --- the server ------------------------------------------------------------------------------

    def _start(self) -> None:
        self.town.side = self._side()
        self._up.set()
        self._in_server(self._kept("consumer", self.town.side.consumer.run))
        self._in_server(self._kept("sweep", self.town.side.sweep.run))

    async def _kept(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin work anew when it fails, as the server's supervisor does."""
        for _ in range(FAILURES_MAX):
            try:
                await work()
            except Exception as error:  # noqa: BLE001  the supervisor
                self.seen[f"{name} began anew after {type(error).__name__}"] += 1
                await asyncio.sleep(1)
        self._fail(AssertionError(f"{name} began anew {FAILURES_MAX} times"))

    def _in_server(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def _stop_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 1_200))
            self._up.clear()
            self.restarts += 1
            for task in sorted(self._work, key=lambda task: task.get_name()):
                task.cancel()
            await asyncio.sleep(self.random.uniform(0.5, 90))
            self._start()

    async def _uplink(self, meter: SimulatedMeter, payload: bytes, number: int) -> None:
        if not self._up.is_set():
            self.seen["server was down"] += 1
            return
        try:
            await _waited_for(self._in_server(self._serve(meter, payload, number)))
        except SlotmeterError as error:
            self.seen[f"not served: {error.code}"] += 1

    async def _serve(self, meter: SimulatedMeter, payload: bytes, number: int) -> None:
        side = self.town.side
        await side.hand_in(meter.row, payload)
        meter.heard_s = max(meter.heard_s, meter.said_s.pop(number, 0.0))
        commands = await side.queue.take(str(meter.row.address))

        async def arrive() -> None:
            await meter.answered(number, commands)

        self.network.carry(arrive)

    # --- people ----------------------------------------------------------------------------------

    async def _people(self, number: int, meter: SimulatedMeter) -> None:
        share, extra = divmod(self.commands, self.devices)
        count = share + (number < extra)
        await asyncio.sleep(self.random.uniform(0, 3_600))
        for _ in range(count):
            is_hasty = self.random.random() < 0.5
            await asyncio.sleep(self.random.uniform(0, 90 if is_hasty else 3_600))
            await self._up.wait()
            await _waited_for(self._in_server(self._ask(meter)))
            self.asked += 1
            self.progress(self.asked)

    async def _ask(self, meter: SimulatedMeter) -> None:
        kind = self.random.choice(KINDS)
        if kind == "load_token":
            self._tid += 1
            tid, amount = self._tid, self.random.randrange(1, 50) * 100
            digits = f"{tid:010d}{amount:010d}"
            await self.town.sell_token(meter.row, amount, tid, digits)
            return
        value = self.random.randrange(10, 80) * 100 if kind == "set_load_limit" else None
        text = str(self.random.randrange(1, 99)) if kind == "set_tariff" else None
        try:
            await self.town.side.requests.request_command(
                self.operator,
                meter.row.number,
                kind,
                "simulated",
                safety=kind == "open_relay",
                value=value,
                text=text,
            )
        except SlotmeterError as error:
            self.seen[f"refused: {error.code}"] += 1

    # --- the end ---------------------------------------------------------------------------------

    async def _come_to_rest(self) -> None:
        """Wait until nothing is open, nothing is on its way, and each meter was heard since."""
        loop = asyncio.get_running_loop()
        began_s = quiet_since_s = loop.time()
        rests = 0
        marks = ", ".join(f"'{state.value}'" for state in sorted(ENDED))
        while loop.time() < began_s + REST_S_MAX:
            # What is open after a while waits for a day to pass: a clock that was set too late.
            pace = next(pace for until_s, pace in PACES if loop.time() < began_s + until_s)
            for meter in self.meters.values():
                meter.pace = pace
            await asyncio.sleep(CHECK_EVERY_S)
            (row,) = self.database.rows(
                f"SELECT count(*) AS open FROM command "  # noqa: S608  names of an enum
                f"WHERE state NOT IN ({marks})"
            )
            if row["open"]:
                quiet_since_s, rests = loop.time(), 0
            elif self._all_said_after(quiet_since_s + CHECK_EVERY_S + DELAY_S_MAX):
                rests += 1
                if rests > 1:
                    break  # what was heard last has been taken in, too
        self.seen["virtual hours"] = int(loop.time() // 3_600)

    def _all_said_after(self, at_s: float) -> bool:
        """Say whether the server heard each meter say something after a time."""
        return all(meter.heard_s > at_s for meter in self.meters.values())

    def digest(self) -> str:
        """Return a digest of all that happened to commands and meters, in its order."""
        said = hashlib.sha256()
        for row in self.database.rows("SELECT * FROM command_log ORDER BY id"):
            said.update(repr(tuple(row.values())).encode())
        ends = "SELECT id, state, result, attempts FROM command ORDER BY id"
        for row in self.database.rows(ends):
            said.update(repr(tuple(row.values())).encode())
        for meter in self.meters.values():
            lived = (meter.supply.value, meter.credit_total, meter.load_limit_w, meter.tariff)
            said.update(repr((*lived, meter.reports, meter.done)).encode())
        return said.hexdigest()


async def _ended(task: asyncio.Task[Any]) -> None:
    """Stop a task and wait for its end."""
    task.cancel()
    await asyncio.wait([task])


async def _waited_for(task: asyncio.Task[Any]) -> None:
    """Wait for work in the server, which may be stopped before it is done."""
    await asyncio.wait([task])
    error = None if task.cancelled() else task.exception()
    if error is not None:
        raise error

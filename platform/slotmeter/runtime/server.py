"""A server: every part built, joined, started in order, and stopped in the opposite order."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, Self

from aiohttp import web

from slotmeter import __version__
from slotmeter.api.app import make_app
from slotmeter.api.call import Services
from slotmeter.api.event_stream import EventFeed
from slotmeter.api.metrics import MetricsBoard
from slotmeter.api.server import make_runner
from slotmeter.config import Config
from slotmeter.devices.entries import EntryState, EntryStatus
from slotmeter.errors import ConfigError, SlotmeterError
from slotmeter.ports import Clock
from slotmeter.runtime.console import Console, cannot_listen, check_key_file, choose_port
from slotmeter.runtime.data_lock import DataLock
from slotmeter.runtime.devices import DeviceSide
from slotmeter.runtime.nibbles import RandomNibbles
from slotmeter.runtime.plugins import consoles, missing_requirements
from slotmeter.runtime.replica_metrics import ReplicaMetrics
from slotmeter.runtime.vault_tasks import keep_checkpoints, keep_vault, watched_keys
from slotmeter.security.site_tables import open_vault
from slotmeter.security.vault import Vault
from slotmeter.services.access import Access
from slotmeter.services.audit_token_trace import TokenTraces
from slotmeter.services.audit_trace import AuditTrace
from slotmeter.services.bus import Bus, CommandsChanged, EventsRecorded
from slotmeter.services.coding_office import CodingOffice
from slotmeter.services.device_health import DeviceHealth
from slotmeter.services.holiday_watch import HolidayWatch
from slotmeter.services.interest_nights import InterestNights
from slotmeter.services.key_desk import KeyDesk
from slotmeter.services.key_watch import KeyWatch
from slotmeter.services.metrics import DeviceMetrics, InterestMetrics
from slotmeter.services.office import Office
from slotmeter.services.queries import Queries
from slotmeter.services.receipts import Receipts
from slotmeter.services.restored import tid_allocator
from slotmeter.services.selling import Recovered, Selling
from slotmeter.services.system_clock import SystemClock
from slotmeter.services.tasks import TaskOwner
from slotmeter.services.tid_allocator import TidAllocator
from slotmeter.storage.data_files import DATABASE_FILE, READINGS_FILE
from slotmeter.storage.opening import is_there, open_database, open_looks, sole_server
from slotmeter.storage.readings_embedded import EmbeddedReadings

if TYPE_CHECKING:
    from slotmeter.storage.opening import AnyDatabase
    from slotmeter.storage.postgres_replica import ReplicaState
    from slotmeter.storage.postgres_sole import SoleServer

__all__ = ["Listener", "Role", "Runtime"]

LOG = logging.getLogger("slotmeter.runtime")
RECOVER_EVERY_S: Final = 30
FEED_WAIT_S: Final = 60.0
BACKLOG: Final = 1_024


class Recover(Protocol):
    """Completes what is between two commits and at least so old."""

    async def __call__(self, *, age_s: int = 0) -> Recovered:
        """Complete it."""
        ...


class Role(Enum):
    """What a server process does."""

    ALL = "all"
    """Everything; one process of a data folder."""

    API = "api"
    """The HTTP API alone, beside a process that does everything."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Something that can be reached: ``what`` for people and programs, and its address."""

    what: str
    address: str


@dataclass(slots=True)
class Runtime:
    """A running server; use :meth:`start` and :meth:`stop`.

    Args:
        config: as checked by ``config.load``.
        clock: real time, unless a test gives another.
        role: what this process does.
    """

    config: Config
    clock: Clock = field(default_factory=SystemClock)
    role: Role = Role.ALL
    listeners: list[Listener] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Entries of the file that did not run when the server started, each with its reason."""
    _not_ready: list[str] = field(default_factory=lambda: ["the server is starting"])
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    async def started(
        cls, config: Config, clock: Clock | None = None, role: Role = Role.ALL
    ) -> Self:
        """Return a server that is ready."""
        runtime = cls(config, clock or SystemClock(), role)
        await runtime.start()
        return runtime

    async def start(self) -> None:
        """Start everything; what was begun is undone when something cannot start.

        Raises:
            ConfigError: why this configuration cannot run here.
        """
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        self._not_ready.clear()

    async def stop(self) -> None:
        """Stop listening, finish what is in work, stop all parts, close all files."""
        self._not_ready.append("the server is stopping")
        await self._stack.aclose()
        LOG.info("stopped")

    # --- in order -------------------------------------------------------------------------------

    async def _start(self) -> None:
        if self.role is Role.ALL:
            self._stack.callback(DataLock.take(self.config.data.folder).release)
        database = await self._open_database()
        sole = await self._take_alone()
        looks, replica = await self._stack.enter_async_context(open_looks(self.config, database))
        vault = await open_vault(self.config, database, self.clock)
        self._stack.push_async_callback(vault.close)
        readings = await self._open_readings()
        board = MetricsBoard()
        metrics = DeviceMetrics(board.registry)
        bus = Bus(metrics.wakes_dropped.inc)
        tasks = TaskOwner(metrics)
        devices = DeviceSide(
            database,
            readings,
            self.clock,
            vault=vault,
            board=board,
            metrics=metrics,
            bus=bus,
            tasks=tasks,
        )
        tids = await tid_allocator(database)
        selling = self._selling(database, vault, devices, bus, tids)
        feed = EventFeed(self.config.limits.event_streams_max)
        access = Access(database, self.clock)
        services = Services(
            access=access,
            queries=Queries(database, self.clock, vault.tokens, looks=looks),
            selling=selling,
            requests=devices.requests,
            office=Office.of(database, self.clock, looks=looks),
            receipts=Receipts(database, self.clock, vault.tokens),
            keys=KeyDesk.of(database, self.clock, vault.wrapping, vault.security.refresh),
            codings=self._codings(database, vault, bus, tids),
            commissioning=devices.commissioning,
            quarantine=devices.quarantine,
            health=DeviceHealth(looks, self.clock),
            traces=AuditTrace(database, self.clock, vault.tokens),
            token_traces=TokenTraces(database, self.clock, vault.tokens),
            readings=readings,
            feed=feed,
            clock=self.clock,
            metrics=board,
            limits=self.config.limits,
            media=devices.door(access, self.config.limits),
            entries=devices.entries.desk,
            not_ready=lambda: [*self._not_ready, *_broken(database), *_displaced(sole)],
            warnings=devices.entries.not_running,
        )
        _show_gauges(board, database, feed, replica)
        database.when_others_wrote(lambda: bus.publish(EventsRecorded()))
        await self._recover_all(services, tasks)
        self._stack.push_async_callback(tasks.stop)
        tasks.keep("event feed", lambda: _follow(bus, feed))
        keep_vault(tasks, database, vault)
        await self._start_rest(tasks, database, vault, bus, board, devices, sole)
        await self._start_consoles(await self._listen(services))
        await self._try_entries(devices)

    async def _start_rest(
        self,
        tasks: TaskOwner,
        database: AnyDatabase,
        vault: Vault,
        bus: Bus,
        board: MetricsBoard,
        devices: DeviceSide,
        sole: SoleServer | None,
    ) -> None:
        """Start what one process of a database does."""
        if self.role is not Role.ALL:
            return
        if sole is not None:
            tasks.keep("the only full server", sole.keep)
        watch = watched_keys(KeyWatch(database, self.clock, bus), board)
        self._keep_watch(tasks, database, bus, InterestMetrics(board.registry), watch)
        keep_checkpoints(self.config, tasks, database, vault, self.clock, board)
        await devices.check()
        devices.start(self.config.frames)
        entries = devices.entries
        self._stack.push_async_callback(entries.supervisor.stop)
        await entries.start(self.config.entries, self.config.data.folder)
        tasks.keep("entries", lambda: entries.supervisor.follow(entries.desk.wanted))

    async def _try_entries(self, devices: DeviceSide) -> None:
        """Wait until the entries of the file were tried: whoever calls is served meanwhile."""
        for entry in await devices.entries.tried():
            status = devices.entries.supervisor.status(entry.id) or EntryStatus()
            self.listeners += [Listener(entry.shown, each) for each in status.addresses]
            if status.state is not EntryState.LOADED:
                self.warnings.append(f"entry {entry.key} is {status.state.value}: {status.reason}")
                LOG.error("the server runs without %s", self.warnings[-1])

    def _selling(
        self,
        database: AnyDatabase,
        vault: Vault,
        devices: DeviceSide,
        bus: Bus,
        tids: TidAllocator,
    ) -> Selling:
        return Selling(
            database,
            vault.security,
            self.clock,
            safe=vault.tokens,
            draw_rnd=RandomNibbles().draw,
            after_payment=devices.credit.after_payment,
            on_issued=lambda: bus.publish(EventsRecorded()),
            tids=tids,
        )

    def _codings(
        self, database: AnyDatabase, vault: Vault, bus: Bus, tids: TidAllocator
    ) -> CodingOffice:
        """Join what is done about the keys of meters."""
        return CodingOffice.of(
            database,
            vault.security,
            vault.tokens,
            self.clock,
            draw_rnd=RandomNibbles().draw,
            on_queued=lambda device_id: bus.publish(CommandsChanged(device_id)),
            tids=tids,
        )

    def _keep_watch(
        self,
        tasks: TaskOwner,
        database: AnyDatabase,
        bus: Bus,
        metrics: InterestMetrics,
        watch: KeyWatch,
    ) -> None:
        """Start what the server does by the calendar."""
        tasks.keep("holidays", HolidayWatch(database, self.clock, bus).run)
        tasks.keep("keys that end", watch.run)
        if self.config.debts.nightly_interest:
            tasks.keep("interest", InterestNights(database, self.clock, metrics).run)

    async def _open_readings(self) -> EmbeddedReadings:
        readings = await EmbeddedReadings.open(self.config.data.folder / READINGS_FILE)
        self._stack.push_async_callback(readings.close)
        return readings

    async def _take_alone(self) -> SoleServer | None:
        """Keep other full servers off a database that several machines can reach."""
        if self.role is not Role.ALL:
            return None
        sole = await sole_server(self.config)
        if sole is not None:
            self._stack.push_async_callback(sole.close)
        return sole

    async def _open_database(self) -> AnyDatabase:
        folder = self.config.data.folder
        if not is_there(self.config):
            raise ConfigError(
                "data_folder_empty",
                f"there is no {DATABASE_FILE} in {folder}; make it with: "
                f"slotmeter init --data {folder}",
                field="data.folder",
            )
        if self.role is Role.API and not self.config.database.url:
            raise ConfigError(
                "database_not_shared",
                "several server processes need a database that they can share; name a PostgreSQL "
                "server in database.url",
                field="database.url",
            )
        database = await open_database(self.config)
        self._stack.push_async_callback(database.close)
        return database

    async def _recover_all(self, services: Services, tasks: TaskOwner) -> None:
        """Complete what a crash stopped between two commits; one process does."""
        if self.role is Role.ALL:
            await self._recover("sales", services.selling.recover, tasks)
            await self._recover("tokens without a sale", services.codings.tokens.recover, tasks)

    async def _recover(self, what: str, recover: Recover, tasks: TaskOwner) -> None:
        """Complete what a crash stopped; what cannot be completed now is tried again."""
        try:
            recovered = await recover(age_s=0)
        except SlotmeterError as error:
            LOG.error("%s wait for their digits: %s", what, error.message)  # noqa: TRY400  expected
        else:
            _say_recovered(recovered, f"{what} that had stopped between their commits")
        tasks.keep(f"recover {what}", lambda: _recover_again(what, recover))

    async def _listen(self, services: Services) -> str:
        http = self.config.http
        app = make_app(services, access_log=http.access_log)
        runner = make_runner(app, self.config.limits)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, http.host, http.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise cannot_listen(http.host, http.port, error, "http.port") from error
        host, port = runner.addresses[0][:2]
        url = url_of(host, port)
        self.listeners.append(Listener("api", url))
        return url

    async def _start_consoles(self, api_url: str) -> None:
        config = self.config.dashboards
        if not config.enabled or self.role is not Role.ALL:
            return
        for point in consoles():
            missing = missing_requirements(point)
            if missing:
                LOG.warning(
                    "the %s are not started: %s is not installed; install slotmeter[%s], or set "
                    "dashboards.enabled = false",
                    point.name,
                    " and ".join(missing),
                    point.name,
                )
                continue
            key_file = self.config.dashboards_key_path
            check_key_file(key_file)
            port = choose_port(config)
            at = ["--host", config.host, "--port", str(port)]
            console = Console(point, ["--api", api_url, "--key-file", str(key_file), *at])
            task = asyncio.create_task(console.run(), name=f"console {point.name}")
            self._stack.push_async_callback(_cancel, task)
            self.listeners.append(Listener(point.name, url_of(config.host, port)))


def url_of(host: str, port: int) -> str:
    """Write an address as people open it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _follow(bus: Bus, feed: EventFeed) -> None:
    with bus.subscribe(EventsRecorded) as wakes:
        while True:
            if await wakes.next(FEED_WAIT_S):
                feed.wake()


async def _recover_again(what: str, recover: Recover) -> None:
    """Complete what nobody asked for again after the first commit, for as long as we run."""
    while True:
        await asyncio.sleep(RECOVER_EVERY_S)
        try:
            recovered = await recover(age_s=RECOVER_EVERY_S)
        except SlotmeterError as error:
            LOG.error("%s still wait for their digits: %s", what, error.message)  # noqa: TRY400  expected
        else:
            _say_recovered(recovered, f"{what} that nobody asked for again")


def _say_recovered(recovered: Recovered, which: str) -> None:
    if recovered.completed:
        LOG.info("completed %s %s", recovered.completed, which)
    if recovered.voided:
        LOG.warning(
            "voided %s %s: they are refused for good; the events sale_voided and token_voided say "
            "why",
            recovered.voided,
            which,
        )


def _displaced(sole: SoleServer | None) -> list[str]:
    return ["another full server works on the database"] if sole and sole.displaced else []


def _broken(database: AnyDatabase) -> list[str]:
    return ["the database cannot be written"] if database.stats.broken else []


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _show_gauges(
    board: MetricsBoard, database: AnyDatabase, feed: EventFeed, replica: ReplicaState | None
) -> None:
    board.info("database", "The core database", synchronous=database.stats.synchronous)
    board.info("build", "This server", version=__version__)
    board.gauge("event_streams", "Event streams open", lambda: feed.streams)
    board.gauge("database_units_waiting", "Units of work that wait", lambda: database.stats.waiting)
    board.gauge("database_units", "Units of work done", lambda: database.stats.units)
    board.gauge("database_commits", "Commits done", lambda: database.stats.commits)
    if replica is not None:
        ReplicaMetrics(board.registry, replica)

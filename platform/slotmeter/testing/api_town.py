"""A server of the HTTP API on a real socket and a real database, with a clock that stands still.

For tests of whatever calls the API: a till, a dashboard, an integration. Every answer passes
``check``, where a test compares it with the OpenAPI document.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from slotmeter.api.app import make_app
from slotmeter.api.call import Services
from slotmeter.api.event_stream import EventFeed
from slotmeter.api.media_routes import MediaDoor
from slotmeter.api.metrics import MetricsBoard
from slotmeter.api.server import make_runner
from slotmeter.config import LimitsConfig
from slotmeter.ports import Caller
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.services.access import Access, Origin
from slotmeter.services.audit_token_trace import TokenTraces
from slotmeter.services.audit_trace import AuditTrace
from slotmeter.services.bus import Bus
from slotmeter.services.coding_office import CodingOffice
from slotmeter.services.command_requests import CommandRequests
from slotmeter.services.commissioning import Commissioning
from slotmeter.services.device_health import DeviceHealth
from slotmeter.services.device_keys import DeviceKeyRing
from slotmeter.services.device_proofs import DeviceProofs
from slotmeter.services.driver_packs import load_drivers
from slotmeter.services.entries import EntryDesk
from slotmeter.services.integrations import find_integrations
from slotmeter.services.key_desk import KeyDesk
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.office import Office
from slotmeter.services.plugin_routes import RouteTable
from slotmeter.services.principals import Principals
from slotmeter.services.quarantine import Quarantine
from slotmeter.services.queries import Queries
from slotmeter.services.receipts import Receipts
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.services.selling import Selling
from slotmeter.storage.opening import AnyDatabase
from slotmeter.storage.readings_embedded import EmbeddedReadings
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import Behind, opened_in
from slotmeter.testing.sample_safe import sample_safe, sample_secret_box, sample_wrapping
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY, SmallUtility, tariff_document
from slotmeter.units import epoch_us

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
HEARTBEAT_S = 0.2


@dataclass(frozen=True)
class Reply:
    """One answer of the API."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The answer's JSON."""
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["Content-Type"].startswith("application/problem+json")
        code: str = self.json["code"]
        return code


Check = Callable[[str, str, Reply], None]


@dataclass
class ApiTown:
    """A running server, what stands behind it, and keys for those who call it."""

    url: str
    session: aiohttp.ClientSession
    database: AnyDatabase
    utility: SmallUtility
    clock: FakeClock
    services: Services
    principals: Principals
    readings: EmbeddedReadings
    runner: web.AppRunner
    path: Path
    behind: Behind
    check: Check
    reasons: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    callers: dict[str, Caller] = field(default_factory=dict)

    @property
    def selling(self) -> Selling:
        """The service of sales, without HTTP."""
        return self.services.selling

    async def join(self, name: str, *roles: str, kind: str = "person") -> str:
        """Add a principal with a key; its name then stands for it in calls."""
        self.callers[name] = await self.utility.add_principal(name, *roles, kind=kind)
        made = await self.principals.add_key(
            Origin("local:test", "test"),
            self.utility.utility_id,
            name=name,
            label="test",
            reason="test",
        )
        self.keys[name] = made.text
        return made.text

    async def call(
        self,
        method: str,
        path: str,
        who: str | None = None,
        *,
        json: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make a request and check its answer against the document."""
        sent = dict(headers or {})
        if who is not None:
            sent["Authorization"] = f"Bearer {self.keys[who]}"
        async with self.session.request(
            method, self.url + path, json=json, data=data, headers=sent
        ) as response:
            reply = Reply(response.status, response.headers, await response.read())
        self.check(method, path.partition("?")[0], reply)
        return reply

    async def get(self, path: str, who: str | None = None, **more: Any) -> Reply:
        """Make a GET request; see :meth:`call`."""
        return await self.call("GET", path, who, **more)

    async def post(self, path: str, who: str | None = None, **more: Any) -> Reply:
        """Make a POST request; see :meth:`call`."""
        return await self.call("POST", path, who, **more)

    def sql(self, text: str, *values: object) -> list[Any]:
        """Look into the database, or change it, behind the platform's back."""
        return [tuple(row.values()) for row in self.behind.rows(text, *values)]


@asynccontextmanager
async def serve_small_utility(
    folder: Path, limits: LimitsConfig, check: Check
) -> AsyncIterator[ApiTown]:
    """Serve a small utility: prices of 20.00 and 16 % tax, nobody and no meter yet.

    Args:
        folder: an empty folder for its data.
        limits: of the server.
        check: is given method, path and answer of every call.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(opened_in(folder))
        readings = await EmbeddedReadings.open(folder / "readings.db")
        stack.push_async_callback(readings.close)
        security = await _vault(folder)
        stack.push_async_callback(security.close)
        clock = FakeClock(NOW)
        utility = await SmallUtility(database, epoch_us(NOW)).make()
        for commodity in ("electricity", "water", "gas"):
            await utility.add_tariff(tariff_document(commodity))
        reasons: list[str] = []
        services = _services(database, readings, security, clock, limits, reasons)
        runner = make_runner(make_app(services), limits)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield ApiTown(
            url=f"http://{host}:{port}",
            session=await stack.enter_async_context(aiohttp.ClientSession()),
            database=database,
            utility=utility,
            clock=clock,
            services=services,
            principals=Principals(database, clock),
            readings=readings,
            runner=runner,
            path=folder / "slotmeter.db",
            behind=Behind(folder),
            check=check,
            reasons=reasons,
        )


async def _vault(folder: Path) -> SoftwareSecurityModule:
    """Make a vault that holds the small utility's key."""
    create_vault(folder)
    security = SoftwareSecurityModule.open(folder)
    await security.load(KEY_ID, VENDING_KEY)
    return security


def _door(database: AnyDatabase, clock: FakeClock, limits: LimitsConfig) -> MediaDoor:
    """Return what answers devices, of no entry that is loaded, and keeps their keys."""
    keys = DeviceKeyRing(database, clock, sample_secret_box())
    parts = (RouteTable(), DeviceProofs(keys, clock), Access(database, clock), clock, limits)
    return MediaDoor(*parts, device_keys=keys)


def _services(
    database: AnyDatabase,
    readings: EmbeddedReadings,
    security: SoftwareSecurityModule,
    clock: FakeClock,
    limits: LimitsConfig,
    reasons: list[str],
) -> Services:
    feed = EventFeed(limits.event_streams_max, heartbeat_s=HEARTBEAT_S)
    board = MetricsBoard()

    async def after_payment(_: int) -> None:
        return

    return Services(
        access=Access(database, clock),
        queries=Queries(database, clock, sample_safe()),
        traces=AuditTrace(database, clock, sample_safe()),
        token_traces=TokenTraces(database, clock, sample_safe()),
        selling=Selling(
            database,
            security,
            clock,
            safe=sample_safe(),
            draw_rnd=lambda: 5,
            after_payment=after_payment,
            on_issued=feed.wake,
        ),
        requests=CommandRequests(
            database,
            clock,
            drivers=load_drivers(),
            metrics=DeviceMetrics(board.registry),
            bus=Bus(),
        ),
        office=Office.of(database, clock),
        receipts=Receipts(database, clock, sample_safe()),
        keys=KeyDesk.of(database, clock, sample_wrapping(), security.refresh),
        codings=CodingOffice.of(
            database, security, sample_safe(), clock, draw_rnd=lambda: 5, tids=ONE_LANE
        ),
        commissioning=Commissioning(database, clock, drivers=load_drivers(), bus=Bus()),
        quarantine=Quarantine(database, clock, Bus()),
        health=DeviceHealth(database, clock),
        readings=readings,
        feed=feed,
        clock=clock,
        metrics=board,
        limits=limits,
        entries=EntryDesk(database, clock, sample_secret_box(), find_integrations()),
        media=_door(database, clock, limits),
        not_ready=lambda: reasons,
    )

"""A server of the HTTP API on a real socket and a real database, with a clock that stands still.

For tests of whatever calls the API: a till, a dashboard, an integration. Every answer passes
``check``, where a test compares it with the OpenAPI document.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from slotmeter.api.app import make_app
from slotmeter.api.call import Services
from slotmeter.api.event_stream import EventFeed
from slotmeter.api.metrics import MetricsBoard
from slotmeter.api.server import make_runner
from slotmeter.config import LimitsConfig
from slotmeter.ports import Aggregate, Caller, ReadingRow, StoreStats
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.services.access import Access, Origin
from slotmeter.services.bus import Bus
from slotmeter.services.command_requests import CommandRequests
from slotmeter.services.driver_packs import load_drivers
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.principals import Principals
from slotmeter.services.queries import Queries
from slotmeter.services.selling import Selling
from slotmeter.storage.database import Database
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY, SmallUtility, tariff_document
from slotmeter.units import epoch_us

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


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


class ReadingsInMemory:
    """A ``ReadingStore`` for tests of what stands on it; the real ones have a contract suite."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str, int], ReadingRow] = {}
        self.position = 0

    async def append(self, rows: Sequence[ReadingRow], *, cursor: int | None = None) -> int:
        """Keep rows; see ``ports.ReadingStore``."""
        before = len(self.rows)
        for row in rows:
            self.rows.setdefault((row.meter_id, row.register, row.measured_us), row)
        self.position = self.position if cursor is None else cursor
        return len(self.rows) - before

    async def cursor(self) -> int:
        """Return the newest cursor."""
        return self.position

    async def range(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, limit: int
    ) -> list[ReadingRow]:
        """Return values of a time."""
        found = [
            row
            for row in self.rows.values()
            if (row.meter_id, row.register) == (meter_id, register)
            and start_us <= row.measured_us < end_us
        ]
        return sorted(found, key=lambda row: row.measured_us)[:limit]

    async def aggregate(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, bucket_us: int
    ) -> list[Aggregate]:
        """Return non-empty spans."""
        spans: dict[int, list[int]] = {}
        for row in await self.range(meter_id, register, start_us, end_us, limit=10**6):
            start = start_us + (row.measured_us - start_us) // bucket_us * bucket_us
            spans.setdefault(start, []).append(row.value)
        return [
            Aggregate(at, at + bucket_us, len(some), min(some), max(some), some[0], some[-1])
            for at, some in sorted(spans.items())
        ]

    async def last(self, meter_id: int, register: str) -> ReadingRow | None:
        """Return the newest value."""
        found = await self.range(meter_id, register, 0, 2**62, limit=10**6)
        return found[-1] if found else None

    async def retain(self, before_us: int) -> int:
        """Keep everything."""
        return 0

    async def stats(self) -> StoreStats:
        """Return how much there is."""
        return StoreStats(len(self.rows), 0, None, None)

    async def close(self) -> None:
        """Let go of nothing."""
        return


Check = Callable[[str, str, Reply], None]


@dataclass
class ApiTown:
    """A running server, what stands behind it, and keys for those who call it."""

    url: str
    session: aiohttp.ClientSession
    database: Database
    utility: SmallUtility
    clock: FakeClock
    services: Services
    principals: Principals
    readings: ReadingsInMemory
    runner: web.AppRunner
    selling: Selling
    path: Path
    check: Check
    reasons: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    callers: dict[str, Caller] = field(default_factory=dict)

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
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(text, values).fetchall()


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
    path = folder / "slotmeter.db"
    database = await Database.open(path)
    create_vault(folder)
    security = SoftwareSecurityModule.open(folder)
    await security.load(KEY_ID, VENDING_KEY)
    clock = FakeClock(NOW)
    utility = await SmallUtility(database, epoch_us(NOW)).make()
    for commodity in ("electricity", "water", "gas"):
        await utility.add_tariff(tariff_document(commodity))
    feed = EventFeed(limits.event_streams_max, heartbeat_s=0.2)

    async def after_payment(_: int) -> None:
        return

    selling = Selling(
        database,
        security,
        clock,
        draw_rnd=lambda: 5,
        after_payment=after_payment,
        on_issued=feed.wake,
    )
    board = MetricsBoard()
    metrics = DeviceMetrics(board.registry)
    requests = CommandRequests(database, clock, drivers=load_drivers(), metrics=metrics, bus=Bus())
    readings = ReadingsInMemory()
    reasons: list[str] = []
    services = Services(
        access=Access(database, clock),
        queries=Queries(database, clock),
        selling=selling,
        requests=requests,
        readings=readings,
        feed=feed,
        clock=clock,
        metrics=board,
        limits=limits,
        not_ready=lambda: reasons,
    )
    runner = make_runner(make_app(services), limits)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:
        yield ApiTown(
            url=f"http://{host}:{port}",
            session=session,
            database=database,
            utility=utility,
            clock=clock,
            services=services,
            principals=Principals(database, clock),
            readings=readings,
            runner=runner,
            selling=selling,
            path=path,
            check=check,
            reasons=reasons,
        )
    await runner.cleanup()
    await security.close()
    await database.close()

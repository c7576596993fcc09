"""Serves the routes of a plugin under test over real HTTP, as the platform does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from slotmeter.api.media_routes import MEDIA_PATH, MediaDoor
from slotmeter.api.problems import http_problem, refused_problem
from slotmeter.config import LimitsConfig
from slotmeter.errors import NotSignedIn, SlotmeterError
from slotmeter.services.access import Access, SignedIn
from slotmeter.services.device_proofs import DeviceProofs
from slotmeter.services.system_clock import SystemClock
from slotmeter.testing.fakes import FakePluginContext

__all__ = ["serving"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _NobodyMay(Access):
    """Knows no API key: a plugin's routes for people are tested against a real server."""

    def __init__(self) -> None:
        """Hold nothing."""

    async def principal_of(self, authorization: str | None) -> SignedIn:
        """Refuse everybody."""
        raise NotSignedIn("key_unknown", "this API key is not known here")


@asynccontextmanager
async def serving(
    fake: FakePluginContext, limits: LimitsConfig | None = None
) -> AsyncIterator[str]:
    """Serve on a free port of loopback; give the URL under which the entry's routes stand.

    Devices are those of ``fake.device_keys``, and their clocks are compared with the real time.
    """
    clock = SystemClock()
    proofs = DeviceProofs(fake.device_keys, clock)
    door = MediaDoor(fake.routes.table, proofs, _NobodyMay(), clock, limits or LimitsConfig())
    app = web.Application(middlewares=[_problems], client_max_size=door.limits.body_bytes_max)
    app.router.add_route("*", MEDIA_PATH, door.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}{fake.routes.prefix}"
    finally:
        await runner.cleanup()


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except SlotmeterError as error:
        return refused_problem(error, "test")
    except web.HTTPException as error:
        return http_problem(error.status, "test")

"""The one route behind which the routes of plugins stand: who calls is checked here.

A plugin's routes come and go with its config entry, so they are in no table of routes; what they
share is here: the proof of who calls, bounds of bodies and rates, the time for one request.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from aiohttp import web

from slotmeter.api.auth import check_rights, sign_in
from slotmeter.api.logs import REQUEST_ID
from slotmeter.api.problems import HTTP_CODES, TooMany, http_problem
from slotmeter.config import LimitsConfig
from slotmeter.errors import Refused, SlotmeterError, Unavailable
from slotmeter.ports import (
    ByApiKey,
    ByDeviceKey,
    Clock,
    MediumRoute,
    OpenToAll,
    RouteAnswer,
    RouteRequest,
)
from slotmeter.services.access import Access
from slotmeter.services.device_keys import DeviceKeyRing
from slotmeter.services.device_proofs import ANSWER_MAC_HEADER, DeviceProofs, Proven
from slotmeter.services.plugin_routes import MEDIA_PREFIX, RouteTable

__all__ = ["MEDIA_PATH", "MediaDoor"]

MEDIA_PATH: Final = f"{MEDIA_PREFIX}/{{entry}}/{{tail:.+}}"
MINUTE_S: Final = 60.0
CALLERS_COUNTED_MAX: Final = 200_000

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


class _Rates:
    """How often each caller came within its present minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str, str], tuple[float, int]] = OrderedDict()

    def count(self, entry_key: str, route: MediumRoute, caller: str) -> None:
        """Count one call.

        Raises:
            TooMany: ``too_many_calls``.
        """
        who = (entry_key, f"{route.method} {route.path}", caller)
        now_s = self._clock.monotonic_s()
        since_s, calls = self._seen.get(who, (now_s, 0))
        if now_s - since_s >= MINUTE_S:
            since_s, calls = now_s, 0
        if calls >= route.per_minute_max:
            raise TooMany(
                "too_many_calls", f"{route.per_minute_max} calls a minute are taken; wait a while"
            )
        self._seen[who] = (since_s, calls + 1)
        self._seen.move_to_end(who)
        if len(self._seen) > CALLERS_COUNTED_MAX:
            self._seen.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Caller:
    name: str
    device: str = ""
    principal: str = ""
    proven: Proven | None = None


@dataclass(slots=True)
class MediaDoor:
    """Answers for the routes of all loaded entries.

    Args:
        routes: of the loaded entries.
        proofs: checks devices.
        access: checks API keys.
        clock: our time, for rates.
        limits: of the server.
        device_keys: makes the keys of devices; None where only routes are answered.
        count_refusal: is told of each call that is refused: the entry's key and the code.
        waits_for: says whether an entry of a key should run and does not now.
    """

    routes: RouteTable
    proofs: DeviceProofs
    access: Access
    clock: Clock
    limits: LimitsConfig
    device_keys: DeviceKeyRing | None = None
    count_refusal: Callable[[str, str], None] = lambda _entry_key, _code: None
    waits_for: Callable[[str], bool] = lambda _entry_key: False
    _rates: _Rates = field(init=False)

    def __post_init__(self) -> None:
        """Start with nobody counted."""
        self._rates = _Rates(self.clock)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request under ``/api/v1/media/``."""
        try:
            async with asyncio.timeout(self.limits.request_timeout_s):
                return await self._counted(request)
        except TimeoutError:
            return http_problem(HTTPStatus.SERVICE_UNAVAILABLE, REQUEST_ID.get())

    async def _counted(self, request: web.Request) -> web.Response:
        """Answer, or count why not; only of paths that there are, so that names stay few."""
        entry_key = request.match_info["entry"]
        matched = self.routes.match(entry_key, request.match_info["tail"]).routes
        if not matched:
            if self.waits_for(entry_key):
                # A device that is told that there is nothing may throw away what it has to say.
                self.count_refusal(entry_key, "entry_not_running")
                raise Unavailable("entry_not_running", "the entry does not run now; send again")
            raise web.HTTPNotFound
        try:
            return await self._answer(request, entry_key, matched)
        except SlotmeterError as error:
            self.count_refusal(entry_key, error.code)
            raise
        except web.HTTPException as error:
            self.count_refusal(entry_key, HTTP_CODES.get(error.status, ("http_error", ""))[0])
            raise

    async def _answer(
        self,
        request: web.Request,
        entry_key: str,
        matched: Mapping[str, tuple[MediumRoute, Mapping[str, str]]],
    ) -> web.Response:
        if request.method not in matched:
            raise web.HTTPMethodNotAllowed(request.method, sorted(matched))
        route, named = matched[request.method]
        body = await self._body(request, route)
        caller = await self._caller(request, entry_key, route, body)
        self._rates.count(entry_key, route, caller.name)
        answer = await route.handler(
            RouteRequest(
                device=caller.device,
                caller=caller.principal,
                path=named,
                query=_query(request),
                content_type=request.content_type.lower() if request.body_exists else "",
                body=body,
                remote=request.remote or "",
            )
        )
        response = _response(answer)
        if caller.proven is not None:
            mac = await self.proofs.sign(entry_key, caller.proven, answer.status, answer.body)
            if mac is not None:
                response.headers[ANSWER_MAC_HEADER] = mac
        return response

    async def _body(self, request: web.Request, route: MediumRoute) -> bytes:
        """Return the body as it was sent.

        Raises:
            Refused: ``content_encoding_unknown``.
            web.HTTPException: too large, or too slow.
        """
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refused(
                "content_encoding_unknown", "send the body as it is, without Content-Encoding"
            )
        size_max = min(route.body_bytes_max, self.limits.body_bytes_max)
        if (request.content_length or 0) > size_max:
            raise web.HTTPRequestEntityTooLarge(size_max, request.content_length or 0)
        try:
            async with asyncio.timeout(self.limits.request_timeout_s / 2):
                body = await request.read()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout from error
        if len(body) > size_max:
            raise web.HTTPRequestEntityTooLarge(size_max, len(body))
        return body

    async def _caller(
        self, request: web.Request, entry_key: str, route: MediumRoute, body: bytes
    ) -> _Caller:
        match route.auth:
            case ByDeviceKey(in_clear=in_clear):
                proven = await self.proofs.check(
                    entry_key,
                    request.headers.get("Authorization"),
                    method=request.method,
                    target=request.raw_path,
                    body=body,
                    in_clear=in_clear,
                )
                return _Caller(f"device {proven.device}", device=proven.device, proven=proven)
            case ByApiKey(rights=rights):
                signed_in = await sign_in(request, self.access, REQUEST_ID.get())
                check_rights(signed_in, rights)
                name = signed_in.principal.name
                return _Caller(f"principal {signed_in.principal.id}", principal=name)
            case OpenToAll():
                return _Caller(f"address {request.remote}")


def _query(request: web.Request) -> dict[str, str]:
    twice = [name for name in request.query if len(request.query.getall(name)) > 1]
    if twice:
        raise Refused("field_doubled", f"{twice[0]} is given more than once", field=twice[0])
    return dict(request.query)


def _response(answer: RouteAnswer) -> web.Response:
    if not 200 <= answer.status <= 599 or not _MEDIA_TYPE.fullmatch(answer.content_type):
        raise ValueError(f"no answer: {answer.status} {answer.content_type}")
    bad = [name for name in answer.headers if not _HEADER.fullmatch(name)]
    if bad:
        raise ValueError(f"no names of headers: {bad}")
    return web.Response(
        status=answer.status,
        body=answer.body,
        content_type=answer.content_type,
        headers=dict(answer.headers),
    )

"""The HTTP application: every route of the table, and one way in and out for all of them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ValidationError

from slotmeter import __version__
from slotmeter.api.auth import REQUEST_ID_HEADER, InWork, check_rights, request_id_of, sign_in
from slotmeter.api.call import JSON_TYPE, Answer, Call, Nothing, Services
from slotmeter.api.logs import REQUEST_ID
from slotmeter.api.media_routes import MEDIA_PATH
from slotmeter.api.openapi import openapi_document
from slotmeter.api.problems import (
    SERVER_NAME,
    http_problem,
    invalid_problem,
    refused_problem,
    status_of,
)
from slotmeter.api.routes import DOCUMENT_PATH, ROUTES, Route
from slotmeter.errors import Refused, SlotmeterError
from slotmeter.ports import Caller

__all__ = ["make_app"]

LOG = logging.getLogger("slotmeter.api")
ACCESS_LOG = logging.getLogger("slotmeter.api.access")
_NOTHING: Final = Nothing()
_NO_ROUTE: Final = "none"

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(services: Services, *, access_log: bool = False) -> web.Application:
    """Make the application; it holds no state of its own beside what is in work."""
    app = web.Application(
        middlewares=[_edge(services, access_log=access_log)],
        client_max_size=services.limits.body_bytes_max,
    )
    in_work = InWork(services.limits.requests_per_key_max)
    for route in ROUTES:
        handler = _handler(route, services, in_work)
        app.router.add_route(route.method, route.path, handler, name=route.name)
        if route.method == "GET" and not route.path.endswith("/events"):
            # Load balancers and monitors ask by HEAD; an event stream has no end to measure.
            app.router.add_route("HEAD", route.path, handler)
    app.router.add_get(DOCUMENT_PATH, _document_handler(), name="openapi")
    if services.media is not None:
        app.router.add_route("*", MEDIA_PATH, services.media.answer, name="media")

    async def end_streams(_: web.Application) -> None:
        services.feed.close()

    app.on_shutdown.append(end_streams)
    return app


def _document_handler() -> HttpHandler:
    text = _document_text()

    async def document(_: web.Request) -> web.Response:
        return web.Response(body=text, content_type=JSON_TYPE)

    return document


@cache
def _document_text() -> bytes:
    return json.dumps(openapi_document(__version__)).encode()


def _edge(services: Services, *, access_log: bool) -> Any:
    """Return the middleware that every request passes: its id, its errors, its count."""
    answered = services.metrics.http.answered

    @web.middleware
    async def edge(request: web.Request, handler: HttpHandler) -> web.StreamResponse:
        started_s = time.perf_counter()
        request_id = request_id_of(request)
        REQUEST_ID.set(request_id)
        try:
            response = await handler(request)
        except (SlotmeterError, web.HTTPException) as error:
            response = _expected(error, request_id)
        except ConnectionError:
            raise
        except Exception:
            LOG.exception("a request failed")
            response = http_problem(HTTPStatus.INTERNAL_SERVER_ERROR, request_id)
        if not response.prepared:
            if request.writer.output_size:
                raise ConnectionError("an answer was begun; the connection can only be closed")
            response.headers[REQUEST_ID_HEADER] = request_id
            response.headers["Server"] = SERVER_NAME
        seconds = time.perf_counter() - started_s
        route = request.match_info.route.name or _NO_ROUTE
        answered(route, response.status, seconds)
        if access_log:
            ACCESS_LOG.info(
                "%s %s %s in %.1f ms from %s",
                request.method,
                request.path,
                response.status,
                seconds * 1e3,
                request.remote,
            )
        return response

    return edge


def _expected(error: SlotmeterError | web.HTTPException, request_id: str) -> web.Response:
    """Return the problem for an error that has a meaning for the caller."""
    if isinstance(error, SlotmeterError):
        if status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
            LOG.exception("a request met an error that is not its own: %s", error.code)
        return refused_problem(error, request_id)
    response = http_problem(error.status, request_id)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _handler(route: Route, services: Services, in_work: InWork) -> HttpHandler:
    """Return what aiohttp calls for a route: sign in, check, bound, read, answer."""
    timeout_s = services.limits.request_timeout_s
    rights = route.rights

    async def work(request: web.Request, caller: Caller | None) -> web.StreamResponse:
        body = await _body(request, route.body, timeout_s)
        call = Call(request, services, caller, body, _query(request, route.query))
        answer = await route.handler(call)
        return _response(answer) if isinstance(answer, Answer) else answer

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            if rights is None:
                return await work(request, None)
            caller = await sign_in(request, services.access, REQUEST_ID.get())
            check_rights(caller, rights)
            with in_work.one(caller.api_key_id):
                if not route.timed:
                    return await work(request, caller)
                async with asyncio.timeout(timeout_s):
                    return await work(request, caller)
        except _BadInput as error:
            return invalid_problem(error.cause, REQUEST_ID.get())
        except TimeoutError:
            return http_problem(HTTPStatus.SERVICE_UNAVAILABLE, REQUEST_ID.get())

    return handle


class _BadInput(Exception):
    """What was sent does not fit its model; told from answers that do not fit theirs."""

    def __init__(self, cause: ValidationError) -> None:
        super().__init__()
        self.cause = cause


async def _body(request: web.Request, model: type[BaseModel], timeout_s: float) -> BaseModel:
    if model is Nothing:
        return _NOTHING
    if request.content.is_eof():  # it came with the headers
        content = await request.read()
    else:
        try:
            async with asyncio.timeout(timeout_s / 2):
                content = await request.read()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout from error
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise _BadInput(error) from error


def _query(request: web.Request, model: type[BaseModel]) -> BaseModel:
    given = request.query
    if model is Nothing and not given:
        return _NOTHING
    twice = [name for name in given if len(given.getall(name)) > 1]
    if twice:
        raise Refused("field_doubled", f"{twice[0]} is given more than once", field=twice[0])
    if model is Nothing:
        name = next(iter(given))
        raise Refused("unknown_field", f"there is no field {name}", field=name)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise _BadInput(error) from error


def _response(answer: Answer) -> web.Response:
    content = answer.content
    if isinstance(content, BaseModel):
        body = content.__pydantic_serializer__.to_json(content, by_alias=True)
    else:
        body = content
    if answer.content_type == JSON_TYPE:
        return web.Response(status=answer.status, body=body, content_type=JSON_TYPE)
    return web.Response(
        status=answer.status, body=body, headers={"Content-Type": _with_charset(answer)}
    )


def _with_charset(answer: Answer) -> str:
    kind = answer.content_type
    return kind if "charset" in kind else f"{kind}; charset=utf-8"

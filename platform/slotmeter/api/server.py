"""The HTTP server around the application: its limits, and problems for what is not even HTTP."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from slotmeter.api.auth import REQUEST_ID_HEADER, request_id_of
from slotmeter.api.problems import SERVER_NAME, http_problem
from slotmeter.config import LimitsConfig

__all__ = ["make_runner"]

LOG = logging.getLogger("slotmeter.api.server")
KEEP_ALIVE_S = 75.0
LINGER_S = 1.0
"""How long the rest of a body that nobody wants is read before the connection is closed."""


def _problem(status: int, request_id: str) -> web.Response:
    response = http_problem(status, request_id)
    response.headers[REQUEST_ID_HEADER] = request_id
    response.headers["Server"] = SERVER_NAME
    return response


class _Connection(RequestHandler):
    """A connection that answers what it cannot parse as a problem, like everything else."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer an error from below the application and close the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun; the connection can only be closed")
        request_id = request_id_of(request)
        if isinstance(exc, ConnectionError):
            LOG.info(
                "a caller hung up in the middle of its request", extra={"answered": request_id}
            )
        elif status >= 500:
            LOG.error("a connection failed", exc_info=exc, extra={"answered": request_id})
        response = _problem(status, request_id)
        response.force_close()
        return response


class _Server(web.Server):
    """Makes connections of our kind."""

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """Runs the application on a server of our kind."""

    async def _make_server(self) -> Any:
        made = await super()._make_server()
        inner = made.request_handler

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await inner(request)
            except web.HTTPException as error:  # raised before the application's own edge
                return _problem(error.status, request_id_of(request))

        return _Server(
            answer,
            request_factory=made.request_factory,
            loop=made._loop,
            **made._kwargs,
        )


def make_runner(app: web.Application, limits: LimitsConfig) -> web.AppRunner:
    """Return a runner with the limits of the configuration; its access log is off."""
    return _Runner(
        app,
        access_log=None,
        max_line_size=limits.header_bytes_max,
        max_field_size=limits.header_bytes_max,
        max_headers=limits.headers_max,
        keepalive_timeout=KEEP_ALIVE_S,
        lingering_time=LINGER_S,
        shutdown_timeout=limits.drain_timeout_s,
    )

"""The head-end for meters that push: ``POST /m?ep=`` and ``GET /m?ep=`` (nbiot-push.md).

A frame is in the durable log before its meter gets an answer; commands ride in the answer. Bytes
that no driver can read are logged all the same: the platform sets them aside and the meter need not
send them again.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import aiocoap  # type: ignore[import-untyped]  # ships no types

from slotmeter.devices.frames import Frame
from slotmeter.errors import ConfigError, Refused, Unavailable
from slotmeter.ports import PluginContext
from slotmeter_nbiot.coap_socket import bind_socket, is_loopback, open_server
from slotmeter_nbiot.options import Options

__all__ = ["KEY", "CoapServer"]

KEY: Final = "nbiot"
STOP_TIMEOUT_S: Final = 5
CBOR: Final = 60
CONTENT_FORMATS: Final = frozenset({CBOR, 112, 110, 50, 42})
"""CBOR, SenML CBOR, SenML JSON, JSON, octets: what a model's driver can be written for."""

_ENDPOINT: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class CoapServer:
    """Listens on one UDP port. Make it with :meth:`start`, end it with :meth:`stop`."""

    def __init__(self, context: PluginContext, options: Options) -> None:
        self._context = context
        self._options = options
        self._path = tuple(options.path.split("/"))
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._listens_at = ("", 0)
        self._coap: aiocoap.Context | None = None

    @classmethod
    async def start(cls, context: PluginContext, options: Options) -> CoapServer:
        """Listen.

        Raises:
            ConfigError: the address or port cannot be used, or ``plain_coap_not_allowed``.
        """
        server = cls(context, options)
        sock = await bind_socket(options.host, options.port)
        if not is_loopback(sock):
            if not options.allow_plain:
                sock.close()
                raise _plain_not_allowed(options.host)
            context.log.warning(
                "CoAP on %s is plain: whoever can reach it can report for any meter and take its "
                "commands; let only the operator's private network reach it",
                options.host,
            )
        server._listens_at = sock.getsockname()[:2]
        server._coap = await open_server(
            sock,
            server,
            log=context.log.getChild("coap"),
            duplicates_kept_s=options.duplicates_kept_s,
            on_malformed=lambda: context.metrics.count("datagrams_malformed"),
        )
        return server

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        host, port = self._listens_at
        shown = host.removeprefix("::ffff:") if "." in host else f"[{host}]"
        return (f"coap://{shown}:{port}",)

    async def stop(self) -> None:
        """Refuse new requests, answer those that were begun, let go of the socket."""
        if self._coap is None:
            return
        self._stopping = True
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._idle.wait()
        except TimeoutError:
            self._context.log.warning(
                "%d requests were not answered before the port was closed", self._in_flight
            )
        coap, self._coap = self._coap, None
        await coap.shutdown()

    async def render_to_pipe(self, pipe: Any) -> None:
        """Answer one request (called by aiocoap)."""
        request = pipe.request
        if self._stopping or self._in_flight >= self._options.requests_in_flight_max:
            response = self._later("overloaded")
        else:
            response = await self._answer_counted(request)
        if response.opt.no_response is None:
            response.opt.no_response = request.opt.no_response
        pipe.add_response(response, is_last=True)

    async def _answer_counted(self, request: aiocoap.Message) -> aiocoap.Message:
        self._in_flight += 1
        self._idle.clear()
        try:
            return await self._answer(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _answer(self, request: aiocoap.Message) -> aiocoap.Message:
        if request.opt.uri_path != self._path:
            return self._no(aiocoap.NOT_FOUND, "path", f"meters push to /{self._options.path}")
        if request.code not in (aiocoap.POST, aiocoap.GET):
            return self._no(aiocoap.METHOD_NOT_ALLOWED, "method", "POST to push, GET to poll")
        names = [query[3:] for query in request.opt.uri_query if query.startswith("ep=")]
        if len(names) != 1 or not _ENDPOINT.fullmatch(names[0]):
            return self._no(
                aiocoap.BAD_REQUEST, "endpoint", "expected ?ep= with 1 to 64 of A-Z a-z 0-9 . _ : -"
            )
        if request.code == aiocoap.POST:
            return await self._push(names[0], request)
        return await self._poll(names[0], request)

    async def _push(self, endpoint: str, request: aiocoap.Message) -> aiocoap.Message:
        content_format = request.opt.content_format
        if content_format is not None and int(content_format) not in CONTENT_FORMATS:
            return self._no(
                aiocoap.UNSUPPORTED_CONTENT_FORMAT, "content_format", "send CBOR (60) or octets"
            )
        block = request.opt.block1
        in_pieces = block is not None and (block.more or block.block_number)
        if in_pieces or len(request.payload) > self._options.payload_bytes_max:
            return self._too_large()
        frame = Frame(
            medium=KEY,
            address=endpoint,
            path=self._options.path,
            payload=request.payload,
            received_at=self._context.clock.now(),
        )
        try:
            await self._context.frames.hand_in(frame)
        except Unavailable:
            return self._later("frame_log")
        except Refused as refusal:
            if refusal.code == "payload_too_large":
                return self._too_large()
            return self._no(aiocoap.BAD_REQUEST, refusal.code, refusal.message)
        self._context.metrics.count("pushes")
        try:
            payload = await self._due(endpoint)
        except Unavailable:
            payload = b""  # the frame is safe, so the meter must not send it again
        return _with_commands(aiocoap.CHANGED, payload, content_format)

    async def _poll(self, endpoint: str, request: aiocoap.Message) -> aiocoap.Message:
        try:
            payload = await self._due(endpoint)
        except Unavailable:
            return self._later("queue")
        self._context.metrics.count("polls")
        return _with_commands(aiocoap.CONTENT, payload, request.opt.accept)

    async def _due(self, endpoint: str) -> bytes:
        payload = await self._context.commands.take(
            endpoint, limit=self._options.commands_per_answer
        )
        if payload:
            self._context.metrics.count("answers_with_commands")
        return payload or b""

    def _no(self, code: Any, reason: str, sentence: str) -> aiocoap.Message:
        """Return a refusal; the sentence is a diagnostic payload (RFC 7252 section 5.5.2)."""
        self._context.metrics.count("refused", reason=reason)
        return aiocoap.Message(code=code, payload=sentence.encode())

    def _too_large(self) -> aiocoap.Message:
        limit = self._options.payload_bytes_max
        response = self._no(
            aiocoap.REQUEST_ENTITY_TOO_LARGE, "size", f"one datagram with at most {limit} bytes"
        )
        response.opt.size1 = limit
        return response

    def _later(self, reason: str) -> aiocoap.Message:
        self._context.metrics.count("unavailable", reason=reason)
        return aiocoap.Message(
            code=aiocoap.SERVICE_UNAVAILABLE, max_age=self._options.retry_after_s
        )


def _plain_not_allowed(host: str) -> ConfigError:
    return ConfigError(
        "plain_coap_not_allowed",
        f"CoAP without DTLS proves nobody's identity, and other machines can reach {host}; listen "
        "on 127.0.0.1, or, where only a private APN reaches this port, set allow_plain = true",
        field="host",
    )


def _with_commands(code: Any, payload: bytes, content_format: Any) -> aiocoap.Message:
    """Return a success with what is due; a model speaks one content format both ways."""
    if not payload:
        return aiocoap.Message(code=code)
    spoken = CBOR if content_format is None else int(content_format)
    return aiocoap.Message(code=code, payload=payload, content_format=spoken)

"""One UDP socket for CoAP, joined to aiocoap 0.4.17.

Three things that aiocoap's own server endpoint does not give: the port belongs to one process (its
sockets share it, so that a second server silently takes half of the meters), datagrams that are no
CoAP are counted and never stop the next, and requests are remembered for repeats as long as this
server says, not always 247 s.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

import aiocoap  # type: ignore[import-untyped]  # ships no types
from aiocoap.numbers.constants import TransportTuning  # type: ignore[import-untyped]  # ships none
from aiocoap.transports.udp6 import MessageInterfaceUDP6  # type: ignore[import-untyped]  # none

from slotmeter.errors import ConfigError

__all__ = ["DATAGRAM_BYTES_MAX", "Site", "bind_socket", "is_loopback", "open_server"]

DATAGRAM_BYTES_MAX: Final = 4_096
"""aiocoap reads this much of a datagram; the rest is lost."""

_HEADER_BYTES: Final = 4
_TOKEN_BYTES_MAX: Final = 8  # RFC 7252 section 3: 9 to 15 are a format error
_BIND_ERRORS: Final = {
    errno.EADDRINUSE: ("port_in_use", "is used by another program"),
    errno.EACCES: ("port_not_allowed", "may not be used by this user"),
    errno.EADDRNOTAVAIL: ("host_not_here", "is not an address of this machine"),
}


class Site(Protocol):
    """What answers requests."""

    async def render_to_pipe(self, pipe: Any) -> None:
        """Answer ``pipe.request`` by ``pipe.add_response(message, is_last=True)``."""
        ...


async def bind_socket(host: str, port: int) -> socket.socket:
    """Return a UDP socket bound to exactly one address and to be shared with nobody.

    An IPv4 address is bound as an IPv4-mapped IPv6 address: 127.0.0.1 is then 127.0.0.1 only.

    Raises:
        ConfigError: ``host_unknown``, ``port_in_use``, ``port_not_allowed``, ``host_not_here``,
            ``no_ipv6`` or ``cannot_listen``.
    """
    address = await _resolve(host, port)
    try:
        sock = socket.socket(family=socket.AF_INET6, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise ConfigError(
            "no_ipv6", "this machine has no IPv6 sockets, which are needed also for IPv4"
        ) from error
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except OSError as error:
        sock.close()
        code, reason = _BIND_ERRORS.get(error.errno or 0, ("cannot_listen", str(error)))
        raise ConfigError(code, f"UDP port {port} of {host} {reason}", field="port") from error
    sock.setblocking(False)
    return sock


def is_loopback(sock: socket.socket) -> bool:
    """Say whether programs of this machine only can reach a bound socket."""
    address = ipaddress.IPv6Address(sock.getsockname()[0].partition("%")[0])
    return (address.ipv4_mapped or address).is_loopback


async def _resolve(host: str, port: int) -> tuple[Any, ...]:
    """Return the socket address of a host; a name that has an IPv4 address means that one."""
    loop = asyncio.get_running_loop()
    for family, mapped in ((socket.AF_INET, "::ffff:"), (socket.AF_INET6, "")):
        try:
            found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            reason = error.strerror
            continue
        first, *rest = found[0][4]
        return (f"{mapped}{first}", *rest)
    raise ConfigError(
        "host_unknown", f"{host!r} is not an address to listen on: {reason}", field="host"
    )


async def open_server(
    sock: socket.socket,
    site: Site,
    *,
    log: logging.Logger,
    duplicates_kept_s: int,
    on_malformed: Callable[[], None],
) -> aiocoap.Context:
    """Return a running aiocoap context that answers on a bound socket; ``shutdown()`` ends it."""
    loop = asyncio.get_running_loop()
    context = aiocoap.Context(loop=loop, serversite=site, loggername=log.name)

    async def interface(manager: Any) -> _Interface:
        made = await _Interface._create_transport_endpoint(sock, manager, log, loop)
        made.tuning = _Tuning(duplicates_kept_s)
        made.on_malformed = on_malformed
        return made  # type: ignore[no-any-return]  # aiocoap ships no types

    await context._append_tokenmanaged_messagemanaged_transport(interface)
    return context


class _Tuning(TransportTuning):  # type: ignore[misc]  # aiocoap ships no types
    """How long a request is remembered, so that a repeat gets the first answer again."""

    def __init__(self, duplicates_kept_s: int) -> None:
        self._duplicates_kept_s = duplicates_kept_s

    @property
    def EXCHANGE_LIFETIME(self) -> int:
        """Seconds from a request to the moment when it is forgotten."""
        return self._duplicates_kept_s


class _Interface(MessageInterfaceUDP6):  # type: ignore[misc]  # aiocoap ships no types
    """aiocoap's UDP endpoint with its own way to take a datagram in."""

    tuning: _Tuning | None = None
    on_malformed: Callable[[], None] | None = None

    def datagram_msg_received(
        self, data: bytes, ancdata: list[tuple[int, int, bytes]], flags: int, address: Any
    ) -> None:
        if not _plausible(data):
            self._malformed()
            return
        if flags & socket.MSG_TRUNC:
            # What was cut off cannot be judged; make sure that it counts as too large.
            data += bytes(DATAGRAM_BYTES_MAX)
        try:
            message = aiocoap.Message.decode(data, self._remote(ancdata, address))
        except (aiocoap.error.UnparsableMessage, ValueError):
            self._malformed()
            return
        message.direction = aiocoap.message.Direction.INCOMING
        if self.tuning is not None:
            message.transport_tuning = self.tuning
        self._ctx.dispatch_message(message)

    def _remote(self, ancdata: list[tuple[int, int, bytes]], address: Any) -> Any:
        pktinfo = None
        for level, kind, value in ancdata:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                pktinfo = value
        return aiocoap.transports.udp6.UDP6EndpointAddress(address, self, pktinfo=pktinfo)

    def _malformed(self) -> None:
        if self.on_malformed is not None:
            self.on_malformed()


def _plausible(data: bytes) -> bool:
    """Say whether a datagram has a whole CoAP header and token (RFC 7252 section 3)."""
    if len(data) < _HEADER_BYTES:
        return False
    token_bytes = data[0] & 15
    return token_bytes <= _TOKEN_BYTES_MAX and len(data) >= _HEADER_BYTES + token_bytes

"""HTTP routes that a plugin adds to the platform's own server, and who may call them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from slotmeter.ports.access import Right

__all__ = [
    "ROUTE_BODY_BYTES_MAX",
    "ByApiKey",
    "ByDeviceKey",
    "DeviceKeys",
    "MediumRoute",
    "OpenToAll",
    "RouteAnswer",
    "RouteAuth",
    "RouteRequest",
    "Routes",
]

ROUTE_BODY_BYTES_MAX: Final = 1_048_576
"""No route of a plugin takes a longer body; the server's own limit may be lower."""


@dataclass(frozen=True, slots=True)
class ByDeviceKey:
    """A device calls, and proves it with the key that the platform keeps for it.

    The platform checks the proof before the plugin sees the request (docs/reference/ip-medium.md);
    the answer is signed when the request was.

    Args:
        in_clear: take the key itself as well (HTTP Basic), for devices that cannot sign and come
            through TLS.
    """

    in_clear: bool = False


@dataclass(frozen=True, slots=True)
class ByApiKey:
    """A principal calls with an API key that carries one of these rights."""

    rights: frozenset[Right]


@dataclass(frozen=True, slots=True)
class OpenToAll:
    """Anybody may call; ``reason`` says why that does no harm."""

    reason: str

    def __post_init__(self) -> None:
        """Refuse to be silent about it."""
        if len(self.reason.split()) < 3:
            raise ValueError("say in a sentence why a route needs no proof of who calls")


RouteAuth = ByDeviceKey | ByApiKey | OpenToAll


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """One request as a plugin sees it; who calls was checked.

    Args:
        device: address of the device, for routes with :class:`ByDeviceKey`, else empty.
        caller: name of the principal, for routes with :class:`ByApiKey`, else empty.
        path: the parts of the path in braces, by name.
        query: parameters; a repeated one was refused.
        content_type: media type of the body, lower case, without parameters; empty without one.
        body: as received, within the route's bound.
        remote: address of the connection's other end, for people; proves nothing.
    """

    device: str
    caller: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    content_type: str
    body: bytes = field(repr=False)
    remote: str = ""


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """What a plugin answers; errors of the tree become problems as everywhere.

    Args:
        status: 200 to 599.
        body: as it goes out; may hold tokens.
        content_type: of the body.
        headers: further ones; ``Retry-After`` for instance.
    """

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MediumRoute:
    """One method of one path under ``/api/v1/media/<entry key>/``.

    Args:
        method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
        path: parts joined by ``/``, without one in front; ``{name}`` stands for one part.
        handler: answers; bound by the server's time for one request.
        auth: who may call.
        body_bytes_max: longer bodies are refused with 413.
        per_minute_max: one device, one principal, or one address when open to all, may call so
            often within a minute; more is refused with 429.
    """

    method: str
    path: str
    handler: Callable[[RouteRequest], Awaitable[RouteAnswer]]
    auth: RouteAuth
    body_bytes_max: int = 65_536
    per_minute_max: int = 600


class Routes(Protocol):
    """Routes of one entry; they are gone when the entry is unloaded."""

    def add(self, route: MediumRoute) -> None:
        """Answer requests from now on.

        Raises:
            ValueError: the path or method cannot be, or is taken.
        """
        ...

    @property
    def prefix(self) -> str:
        """``/api/v1/media/<entry key>``."""
        ...


class DeviceKeys(Protocol):
    """Proofs by the keys of devices, for protocols that do not come through a route.

    The keys themselves stay with the platform.
    """

    async def verify(self, device: str, message: bytes, mac: bytes) -> bool:
        """Say whether ``mac`` is HMAC-SHA-256 of a message by the key of a device.

        False as well for a device that has no key here.

        Raises:
            Unavailable: the keys cannot be read now.
        """
        ...

    async def sign(self, device: str, message: bytes) -> bytes | None:
        """Return HMAC-SHA-256 of a message by the key of a device; None when it has none.

        Raises:
            Unavailable: the keys cannot be read now.
        """
        ...

"""What devices call: ``POST frames``, ``POST results``, ``GET commands``.

The platform has proven who calls before anything here runs (docs/reference/ip-medium.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slotmeter.errors import Refused, Unavailable
from slotmeter.ports import ByDeviceKey, MediumRoute, PluginContext, RouteAnswer, RouteRequest
from slotmeter_ip.handing_in import HandingIn
from slotmeter_ip.options import Options

__all__ = ["HttpRoutes"]

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
TYPES: Final = frozenset({JSON, OCTETS, "application/cbor"})
"""What a body may be: JSON, or bytes that the model's driver reads."""

FRAMES_HEADER: Final = "Slotmeter-Frames"


@dataclass(frozen=True, slots=True)
class HttpRoutes:
    """The routes of one entry."""

    context: PluginContext
    options: Options
    handing_in: HandingIn

    def add(self) -> None:
        """Answer devices from now on."""
        auth = ByDeviceKey(in_clear=self.options.keys_in_clear)
        for method, path, handler in (
            ("POST", "frames", self.frames),
            ("POST", "results", self.results),
            ("GET", "commands", self.commands),
        ):
            self.context.routes.add(
                MediumRoute(
                    method=method,
                    path=path,
                    handler=handler,
                    auth=auth,
                    body_bytes_max=self.options.payload_bytes_max if method == "POST" else 0,
                    per_minute_max=self.options.requests_per_minute,
                )
            )

    async def frames(self, request: RouteRequest) -> RouteAnswer:
        """Take one frame or several, and answer with what is due for the device.

        Raises:
            Refused: ``content_type_unknown``, and what ``HandingIn.hand_in`` refuses.
            Unavailable: nothing is acknowledged; the device sends again.
        """
        count = await self._taken(request, "frames")
        try:
            due = await self._due(request.device)
        except Unavailable:
            due = b""  # the frames are safe, so the device must not send them again
        return _with_commands(due, request.content_type, {FRAMES_HEADER: str(count)})

    async def results(self, request: RouteRequest) -> RouteAnswer:
        """Take what a device says of commands; answer without handing out more of them.

        Raises:
            Refused: as :meth:`frames`.
            Unavailable: as :meth:`frames`.
        """
        count = await self._taken(request, "results")
        return RouteAnswer(204, headers={FRAMES_HEADER: str(count)})

    async def commands(self, request: RouteRequest) -> RouteAnswer:
        """Answer with what is due for the device.

        Raises:
            Unavailable: the queue cannot be asked now.
        """
        self.context.metrics.count("polls")
        return _with_commands(await self._due(request.device), JSON, {})

    async def _taken(self, request: RouteRequest, path: str) -> int:
        if request.content_type not in TYPES:
            self.context.metrics.count("refused", reason="content_type")
            raise Refused(
                "content_type_unknown",
                f"expected one of {', '.join(sorted(TYPES))}",
                field="Content-Type",
            )
        try:
            return await self.handing_in.hand_in(
                request.device, path, request.body, json=request.content_type == JSON
            )
        except Refused as refusal:
            self.context.metrics.count("refused", reason=refusal.code)
            raise
        except Unavailable:
            self.context.metrics.count("unavailable")
            raise

    async def _due(self, device: str) -> bytes:
        payload = await self.context.commands.take(device, limit=self.options.commands_per_answer)
        if payload:
            self.context.metrics.count("answers_with_commands")
        return payload or b""


def _with_commands(payload: bytes, spoken: str, headers: dict[str, str]) -> RouteAnswer:
    """Answer with the bytes that the device's driver made; JSON says none by ``[]``."""
    if not payload:
        return RouteAnswer(200, b"[]" if spoken == JSON else b"", spoken, headers)
    is_json = payload[:1] in (b"[", b"{")
    return RouteAnswer(200, payload, JSON if is_json else OCTETS, headers)

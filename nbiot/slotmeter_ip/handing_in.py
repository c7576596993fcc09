"""From a message of a device to frames in the log; the same for HTTP and MQTT.

A JSON array is as many frames as it has elements, each kept with the bytes it came with. Anything
else is one frame: what no driver can read is set aside by the platform, where it can be looked at
and replayed, and the device need not send it again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from slotmeter.devices.frames import Frame
from slotmeter.errors import Refused, Unavailable
from slotmeter.ports import PluginContext
from slotmeter_ip.options import Options

__all__ = ["DEVICE", "KEY", "HandingIn", "parts_of"]

KEY: Final = "ip"

DEVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
"""How a device may be called; the platform keeps keys for such names only."""

_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_BLANKS: Final = b" \t\r\n"


def parts_of(payload: bytes, parts_max: int) -> list[bytes]:
    """Return the elements of a JSON array, or the payload itself when it is something else.

    Raises:
        Refused: ``too_many_frames`` or ``no_frames``.
    """
    if not payload.lstrip(_BLANKS).startswith(b"["):
        return [payload]
    try:
        elements = _ARRAY.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [payload]
    if not elements:
        raise Refused("no_frames", "expected at least one frame, got an empty array")
    if len(elements) > parts_max:
        raise Refused(
            "too_many_frames", f"expected {parts_max} frames at most, got {len(elements)}"
        )
    return [bytes(element) for element in elements]


@dataclass(frozen=True, slots=True)
class HandingIn:
    """Hands in what devices of one entry say."""

    context: PluginContext
    options: Options

    async def hand_in(self, device: str, path: str, payload: bytes, *, json: bool) -> int:
        """Write a message's frames to the log; return how many they were.

        When one of several cannot be written, the device sends all of them again: a frame that is
        there twice does no harm.

        Args:
            device: who speaks, which was proven.
            path: where the message arrived.
            payload: as it came.
            json: an array is several frames.

        Raises:
            Refused: ``too_many_frames``, ``no_frames`` or ``payload_too_large``.
            Unavailable: the log cannot take them now.
        """
        if len(payload) > self.options.payload_bytes_max:
            raise Refused(
                "payload_too_large",
                f"expected {self.options.payload_bytes_max} bytes at most, got {len(payload)}",
            )
        parts = parts_of(payload, self.options.frames_per_message_max) if json else [payload]
        now = self.context.clock.now()
        frames = [Frame(KEY, device, path, part, now) for part in parts]
        ends = await self.context.frames.hand_in_many(frames)
        failed = [end for end in ends if not isinstance(end, int)]
        if failed:  # what may work later goes before what never will: the device sends all again
            raise next((each for each in failed if isinstance(each, Unavailable)), failed[0])
        self.context.metrics.count("frames", len(frames), path=path)
        return len(frames)

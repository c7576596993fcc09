"""Messages over MQTT that prove who made them.

::

    S1 <time> <nonce> <mac>\\n<payload>

``time`` is in seconds since 1970, ``nonce`` 8 to 64 of ``A-Za-z0-9_-``, ``mac`` 64 hex digits:
HMAC-SHA-256 by the device's key over the lines ``slotmeter-mqtt-1``, topic, time, nonce, each ended
by a line feed, and the payload. The topic tells the direction and the device, so that nothing can
be sent back or to another device. A broker may keep what a device says for days, so that its time
is not looked at; a report that comes twice does no harm. A device must look at the time of what it
is told, and drop what is not newer than the last or older than it may wait.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Final

__all__ = ["HEAD_BYTES_MAX", "Envelope", "make_head", "new_nonce", "opened", "signed_text"]

HEAD_BYTES_MAX: Final = 256
NONCE_BYTES: Final = 12

_HEAD: Final = re.compile(
    rb"S1 (?P<time>[0-9]{1,12}) (?P<nonce>[A-Za-z0-9_-]{8,64}) (?P<mac>[0-9a-fA-F]{64})"
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message taken apart; ``text`` is what ``mac`` must be of."""

    text: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    payload: bytes = field(repr=False)


def signed_text(topic: str, time_s: int | str, nonce: str, payload: bytes) -> bytes:
    """Return what is signed."""
    return f"slotmeter-mqtt-1\n{topic}\n{time_s}\n{nonce}\n".encode() + payload


def make_head(time_s: int, nonce: str, mac: bytes) -> bytes:
    """Return what stands in front of a payload."""
    return f"S1 {time_s} {nonce} {mac.hex()}\n".encode()


def new_nonce() -> str:
    """Draw a nonce."""
    return secrets.token_hex(NONCE_BYTES)


def opened(topic: str, message: bytes) -> Envelope | None:
    """Take a message apart; None when it has no head."""
    head, found, payload = message[:HEAD_BYTES_MAX].partition(b"\n")
    parts = _HEAD.fullmatch(head)
    if not found or parts is None:
        return None
    payload = message[len(head) + 1 :]
    time_s, nonce = parts["time"].decode(), parts["nonce"].decode()
    mac = bytes.fromhex(parts["mac"].decode())
    return Envelope(signed_text(topic, time_s, nonce, payload), mac, payload)

"""Frames that no driver's author thinks of: empty, cut short, changed, too long, and noise.

They are the same each time, so that a driver that fails on one can be repaired.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import shake_256
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.devices.frames import PAYLOAD_BYTES_MAX

__all__ = ["NOISE_FRAMES", "disturbed", "noise", "truncations"]

NOISE_FRAMES: Final = 100
"""Frames of noise for each path."""

NOISE_OCTETS_MAX: Final = 300
CHANGED_OCTETS_MAX: Final = 512
"""Of an example longer than this, only so many octets are changed and cut off."""


def truncations(payload: bytes) -> Iterator[bytes]:
    """Yield a frame cut short after each byte but the last."""
    for length in range(len(payload)):
        yield payload[:length]


def disturbed(driver: Driver) -> Iterator[tuple[str, bytes, str]]:
    """Yield paths and payloads that a driver may meet, and what each one is."""
    paths = list(dict.fromkeys(example.path for example in driver.examples))
    for path in (*paths, ""):
        yield path, b"", "an empty frame"
    for example in driver.examples:
        path, payload = example.path, example.payload
        yield path, payload, f"example {example.note!r}"
        yield "", payload, f"example {example.note!r} at an unknown path"
        yield path, payload + b"\0", "an example with an octet too many"
        yield path, bytes(len(payload)), "an example's length of zeros"
        yield path, b"\xff" * len(payload), "an example's length of ones"
        for cut in truncations(payload[:CHANGED_OCTETS_MAX]):
            yield path, cut, f"an example cut short after {len(cut)} octets"
        for at, octet in enumerate(payload[:CHANGED_OCTETS_MAX]):
            for changed in (0, 0x7F, 0x80, 0xFF, octet ^ 1):
                other = payload[:at] + bytes((changed,)) + payload[at + 1 :]
                yield path, other, f"an example with octet {at} as {changed}"
    for path in paths:
        for number in range(NOISE_FRAMES):
            yield path, noise(driver.key, path, number), "a frame of noise"
        yield path, bytes(PAYLOAD_BYTES_MAX), f"{PAYLOAD_BYTES_MAX} zeros"


def noise(key: str, path: str, number: int) -> bytes:
    """Return octets that look like nothing and are always the same."""
    made = shake_256(f"{key} {path} {number}".encode())
    return made.digest(2 + NOISE_OCTETS_MAX)[2 : 2 + 1 + number * 7 % NOISE_OCTETS_MAX]

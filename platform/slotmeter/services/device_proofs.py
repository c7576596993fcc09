"""How a device proves over HTTP who it is, and how the platform proves it back.

::

    Authorization: HMAC-SHA256 device=M1,time=1790000000,nonce=8f2c41d07a6b9e35,mac=<64 hex digits>

``mac`` is HMAC-SHA-256 by the device's key over these lines, joined by one line feed:
``slotmeter-http-1``, method, path with query as sent, device, time, nonce, SHA-256 of the body in
hex. The answer carries ``Slotmeter-Mac`` over ``slotmeter-http-1-answer``, nonce, status, SHA-256
of its body. A key in clear (``Basic``) is taken only where a route says so.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from slotmeter.errors import NotSignedIn
from slotmeter.ports import Clock
from slotmeter.services.device_keys import DEVICE

__all__ = ["ANSWER_MAC_HEADER", "CLOCK_WITHIN_S", "DeviceProofs", "Proven", "answer_text"]

ANSWER_MAC_HEADER: Final = "Slotmeter-Mac"
CLOCK_WITHIN_S: Final = 300
"""A device's clock may be off by so much; the ``Date`` of every answer tells it ours."""

DEVICES_REMEMBERED_MAX: Final = 1_000_000
"""So many devices that call within ``CLOCK_WITHIN_S`` are told from a repetition."""

FORGOTTEN_AT_ONCE: Final = 2
NONCES_PER_SECOND_MAX: Final = 64

_SCHEME: Final = "HMAC-SHA256"
_PARTS: Final = re.compile(
    rf"device=(?P<device>{DEVICE}),\s?time=(?P<time>[0-9]{{1,12}}),"
    r"\s?nonce=(?P<nonce>[A-Za-z0-9_-]{8,64}),\s?mac=(?P<mac>[0-9a-fA-F]{64})"
)
_DEVICE: Final = re.compile(DEVICE)
_BASIC_CHARACTERS_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Proven:
    """A device that has proven who it is; ``nonce`` is empty when it sent its key in clear."""

    device: str
    nonce: str


def answer_text(nonce: str, status: int, body: bytes) -> bytes:
    """Return what the platform signs for an answer."""
    digest = hashlib.sha256(body).hexdigest()
    return f"slotmeter-http-1-answer\n{nonce}\n{status}\n{digest}".encode()


class _Keys(Protocol):
    """The keys of one entry's devices."""

    async def verify(self, device: str, message: bytes, mac: bytes) -> bool: ...

    async def sign(self, device: str, message: bytes) -> bytes | None: ...

    async def knows(self, device: str, key: bytes) -> bool: ...


class _KeysOfAll(Protocol):
    """The keys of all entries' devices, as ``DeviceKeyRing`` keeps them."""

    def of(self, entry_key: str) -> _Keys: ...


class DeviceProofs:
    """Checks proofs, and remembers which were used."""

    def __init__(self, keys: _KeysOfAll, clock: Clock) -> None:
        """Start with no proof used.

        What was used before is not known any more, so that proofs of a time before the start are
        refused. Only those of a device whose clock is ahead can come again, for as many seconds.
        """
        self._keys = keys
        self._clock = clock
        self._started_s = int(clock.now().timestamp())
        self._newest: OrderedDict[tuple[str, str], tuple[int, tuple[str, ...]]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many devices are remembered."""
        return len(self._newest)

    async def check(
        self,
        entry_key: str,
        authorization: str | None,
        *,
        method: str,
        target: str,
        body: bytes,
        in_clear: bool,
    ) -> Proven:
        """Return which device a request comes from.

        Args:
            entry_key: the entry whose devices may call.
            authorization: the header.
            method: of the request.
            target: path and query as they were sent.
            body: as it was sent.
            in_clear: take keys in clear as well.

        Raises:
            NotSignedIn: ``device_key_missing``, ``device_key_wrong``, ``device_clock_off`` or
                ``device_proof_used``.
            Unavailable: keys cannot be read now.
        """
        scheme, _, rest = (authorization or "").partition(" ")
        if in_clear and scheme.lower() == "basic":
            return await self._basic(entry_key, rest.strip())
        parts = _PARTS.fullmatch(rest.strip())
        if scheme.upper() != _SCHEME or parts is None:
            raise NotSignedIn(
                "device_key_missing",
                f"expected 'Authorization: {_SCHEME} device=...,time=...,nonce=...,mac=...'",
            )
        device, time_s, nonce = parts["device"], int(parts["time"]), parts["nonce"]
        lines = (
            *("slotmeter-http-1", method, target, device, parts["time"], nonce),
            hashlib.sha256(body).hexdigest(),
        )
        keys = self._keys.of(entry_key)
        if not await keys.verify(device, "\n".join(lines).encode(), bytes.fromhex(parts["mac"])):
            raise _wrong()
        self._check_time((entry_key, device), time_s, nonce)
        return Proven(device, nonce)

    async def sign(self, entry_key: str, proven: Proven, status: int, body: bytes) -> str | None:
        """Return the hex digits that prove an answer; None when the request proved nothing."""
        if not proven.nonce:
            return None
        text = answer_text(proven.nonce, status, body)
        mac = await self._keys.of(entry_key).sign(proven.device, text)
        return None if mac is None else mac.hex()

    async def _basic(self, entry_key: str, text: str) -> Proven:
        try:
            given = b64decode(text[:_BASIC_CHARACTERS_MAX], validate=True)
        except binascii.Error:
            given = b""
        # An address may have colons and a key may not.
        device, _, key = given.decode("latin-1").rpartition(":")
        if not _DEVICE.fullmatch(device):
            raise _wrong()
        if not await self._keys.of(entry_key).knows(device, key.encode("latin-1")):
            raise _wrong()
        return Proven(device, "")

    def _check_time(self, who: tuple[str, str], time_s: int, nonce: str) -> None:
        """Refuse what is too old or too new, and what was there before."""
        now_s = int(self._clock.now().timestamp())
        off_s = time_s - now_s
        if abs(off_s) > CLOCK_WITHIN_S:
            raise NotSignedIn(
                "device_clock_off",
                f"the time is off by {off_s} s; set the clock by the Date of this answer",
            )
        newest_s, nonces = self._newest.get(who, (0, ()))
        if not nonces and time_s < self._started_s:
            raise NotSignedIn(
                "device_clock_off",
                "this was signed before the server started; set the clock by the Date of this "
                "answer and sign anew",
            )
        again = time_s == newest_s and (nonce in nonces or len(nonces) >= NONCES_PER_SECOND_MAX)
        if time_s < newest_s or again:
            raise NotSignedIn(
                "device_proof_used", "a newer request was there; sign anew with the present time"
            )
        self._newest[who] = (time_s, (*nonces, nonce) if time_s == newest_s else (nonce,))
        self._newest.move_to_end(who)
        self._forget(now_s)

    def _forget(self, now_s: int) -> None:
        """Forget the devices that were heard longest ago, whose proofs are too old by now.

        One that is forgotten earlier, since too many are heard, could have its last call repeated:
        rather than that, more are remembered for as long as proofs live.
        """
        for _ in range(FORGOTTEN_AT_ONCE):
            who, (time_s, _nonces) = next(iter(self._newest.items()))
            if now_s - time_s <= CLOCK_WITHIN_S and len(self._newest) <= DEVICES_REMEMBERED_MAX:
                return
            del self._newest[who]


def _wrong() -> NotSignedIn:
    return NotSignedIn("device_key_wrong", "this is not the proof of a device that has a key here")

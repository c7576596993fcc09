"""A device that calls the platform over HTTP and proves who it is, for tests and simulators."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from slotmeter.services.device_proofs import ANSWER_MAC_HEADER, answer_text

__all__ = ["DeviceAnswer", "DeviceCaller", "proof"]

TIMEOUT_S: Final = 30


@dataclass(frozen=True, slots=True)
class DeviceAnswer:
    """What a device got; ``is_proven`` when the answer was signed with the device's key."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str]
    is_proven: bool


def proof(
    key: bytes, device: str, method: str, target: str, body: bytes, *, time_s: int, nonce: str
) -> str:
    """Return the ``Authorization`` of a request; see ``services.device_proofs``."""
    digest = hashlib.sha256(body).hexdigest()
    lines = ("slotmeter-http-1", method, target, device, f"{time_s}", nonce, digest)
    mac = hmac.digest(key, "\n".join(lines).encode(), "sha256").hex()
    return f"HMAC-SHA256 device={device},time={time_s},nonce={nonce},mac={mac}"


class DeviceCaller:
    """Calls as one device; use it as an async context manager.

    Args:
        base_url: where the routes of the entry stand, such as
            ``http://127.0.0.1:8480/api/v1/media/town``.
        device: its address.
        key: its key.
    """

    def __init__(self, base_url: str, device: str, key: bytes) -> None:
        self._base = base_url.rstrip("/")
        self._device = device
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open a session."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        time_s: int | None = None,
    ) -> DeviceAnswer:
        """Call a route.

        Args:
            method: of HTTP.
            path: below the entry's prefix, with a query if there is one.
            body: as it goes out.
            content_type: of the body.
            headers: in place of the proof and the content type, to be refused on purpose.
            time_s: what the device takes for the time; ours if not given.
        """
        if self._session is None:
            raise RuntimeError("use the caller as a context manager")
        url = URL(f"{self._base}/{path}")
        nonce = secrets.token_hex(8)
        sent = {
            "Authorization": proof(
                self._key,
                self._device,
                method,
                url.raw_path_qs,
                body,
                time_s=int(time.time()) if time_s is None else time_s,
                nonce=nonce,
            )
        }
        if body:
            sent["Content-Type"] = content_type
        sent |= headers or {}
        async with self._session.request(method, url, data=body or None, headers=sent) as answer:
            content = await answer.read()
            told = answer.headers.get(ANSWER_MAC_HEADER, "")
            made = hmac.digest(self._key, answer_text(nonce, answer.status, content), "sha256")
            is_proven = hmac.compare_digest(told, made.hex())
            return DeviceAnswer(answer.status, content, dict(answer.headers), is_proven)

"""Who calls, whether they may, how much they have in work, and the id of the request."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from slotmeter.api.problems import TooMany
from slotmeter.errors import NotAllowed
from slotmeter.ports import Caller, Right
from slotmeter.services.access import Access

__all__ = ["REQUEST_ID_HEADER", "InWork", "check_rights", "request_id_of", "sign_in"]

REQUEST_ID_HEADER: Final = "X-Request-Id"
_PROCESS: Final = secrets.token_hex(4)
_COUNT: Final = itertools.count(1)
_SANE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def request_id_of(request: web.BaseRequest) -> str:
    """Take the caller's request id when it is sane, else make one: this process, and a count."""
    given = request.headers.get(REQUEST_ID_HEADER)
    if given is not None and _SANE.fullmatch(given):
        return given
    return f"{_PROCESS}-{next(_COUNT):08x}"


async def sign_in(request: web.Request, access: Access, request_id: str) -> Caller:
    """Return who calls.

    Raises:
        NotSignedIn: see ``Access.principal_of``.
    """
    signed_in = await access.principal_of(request.headers.get("Authorization"))
    return Caller(
        principal=signed_in.principal,
        api_key_id=signed_in.api_key_id,
        address=request.remote or "unknown",
        request_id=request_id,
        terminal=signed_in.key_label,
    )


def check_rights(caller: Caller, any_of: frozenset[Right]) -> None:
    """Refuse a caller that holds none of these rights.

    Raises:
        NotAllowed: ``right_missing``.
    """
    if not any_of & caller.principal.rights:
        needed = " or ".join(sorted(right.value for right in any_of))
        raise NotAllowed("right_missing", f"this needs the right {needed}")


class InWork:
    """How many requests each key has in work; one more than allowed is refused, not queued."""

    def __init__(self, requests_per_key_max: int) -> None:
        """Start with nothing in work."""
        self._max = requests_per_key_max
        self._by_key: dict[int | None, int] = {}

    @contextmanager
    def one(self, api_key_id: int | None) -> Iterator[None]:
        """Count one request for as long as the block lasts.

        Raises:
            TooMany: ``too_many_requests``.
        """
        count = self._by_key.get(api_key_id, 0)
        if count >= self._max:
            raise TooMany(
                "too_many_requests", f"this key has {count} requests in work; wait for an answer"
            )
        self._by_key[api_key_id] = count + 1
        try:
            yield
        finally:
            left = self._by_key[api_key_id] - 1
            if left:
                self._by_key[api_key_id] = left
            else:
                del self._by_key[api_key_id]

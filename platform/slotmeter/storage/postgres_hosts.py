"""Several servers in one address: asked in their order, and none waited for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg

__all__ = ["HEAD_START_S", "first_of", "hosts_of"]

HEAD_START_S: Final = 1.0
"""A server named earlier has so much time before the next one is asked as well: where two can be
written, which must not be, all processes take the same; and one without power delays nobody for
long."""

Session: TypeAlias = "asyncpg.Connection[Any]"


def hosts_of(url: str) -> tuple[str, ...]:
    """Return one address for each server that an address names, in their order."""
    parts = urlsplit(url)
    user, at, servers = parts.netloc.rpartition("@")
    each = [name for name in servers.split(",") if name]
    if len(each) < 2:
        return (url,)
    return tuple(urlunsplit(parts._replace(netloc=f"{user}{at}{name}")) for name in each)


async def first_of(
    urls: Sequence[str],
    open_one: Callable[[str], Coroutine[Any, Any, Session]],
    expected: tuple[type[BaseException], ...],
) -> Session:
    """Open a session on the first server that will do; the next is asked when one fails or waits.

    Args:
        urls: of the servers, the best first.
        open_one: opens a session on one.
        expected: how that may fail; of other errors the first ends the search.

    Raises:
        BaseException: of the expected errors, the one that says most.
    """
    if len(urls) == 1:
        return await open_one(urls[0])
    left = list(reversed(urls))
    opening: set[asyncio.Task[Session]] = set()
    errors: list[BaseException] = []
    try:
        while left or opening:
            if left:
                opening.add(asyncio.create_task(open_one(left.pop()), name="reach PostgreSQL"))
            done, _ = await asyncio.wait(
                opening,
                timeout=HEAD_START_S if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None:
                    opening.discard(task)
                    return task.result()
                opening.discard(task)
                if not isinstance(error, expected):
                    raise error
                errors.append(error)
    finally:
        await _end(opening)
    # That a server is a standby says more than that another one is not there.
    raise next((error for error in errors if not isinstance(error, OSError)), errors[-1])


async def _end(opening: set[asyncio.Task[Session]]) -> None:
    """Let go of sessions that nobody waits for any more, open or half open."""
    for task in opening:
        task.cancel()
    for late in await asyncio.gather(*opening, return_exceptions=True):
        if isinstance(late, asyncpg.Connection):
            late.terminate()

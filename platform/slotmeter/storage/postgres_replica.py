"""Looks at a streaming standby, as long as it keeps up; implements ``ports.Looks``.

How far a standby is behind is measured against what the primary has written: by the clock alone,
one that has nothing to apply looks as one that is cut off.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import SlotmeterError, Unavailable
from slotmeter.ports import Reads, Rows
from slotmeter.ports.looking import Looks
from slotmeter.storage.postgres_pool import ReadPool
from slotmeter.storage.postgres_reads import ReadRuns
from slotmeter.storage.postgres_session import FAILURES, connect, place_of

__all__ = ["CHECK_EVERY_S", "Replica", "ReplicaState", "is_usable", "looks_of"]

LOG = logging.getLogger("slotmeter.storage")

CHECK_EVERY_S: Final = 1.0
"""A standby that is read from is looked after so often, and one that is not used not at all."""

PATIENCE_S: Final = 0.05
ASKED_MAX: Final = 5
"""What was written this instant is on its way: a standby is given a moment before it is judged."""

MARKS_MAX: Final = 120
"""So many places of the primary's log are remembered, each with the time when it was there."""

PRIMARY: Final = """
SELECT pg_current_wal_lsn()::TEXT AS at, (SELECT oid FROM pg_database
WHERE datname = current_database()) AS database, system_identifier FROM pg_control_system()
"""

STANDBY: Final = """
SELECT pg_is_in_recovery() AS follows, pg_last_wal_replay_lsn()::TEXT AS at,
       EXTRACT(EPOCH FROM now() - pg_last_xact_replay_timestamp())::FLOAT8 AS age_s,
       (SELECT oid FROM pg_database WHERE datname = current_database()) AS database,
       system_identifier
FROM pg_control_system()
"""


IDENTITY: Final = ("system_identifier", "database")
"""A standby has these of its primary."""


@dataclass(slots=True)
class ReplicaState:
    """What became of the looks at a standby.

    Args:
        read: looks that the standby answered.
        fallen_back: looks that the primary had to answer, by why: ``down``, ``behind``,
            ``failed``, ``other``.
        lag_s: how far it was behind at most when it was looked after last; None while unknown.
        why_not: why it is not used, in words; empty while it is.
    """

    read: int = 0
    fallen_back: Counter[str] = field(default_factory=Counter)
    lag_s: float | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Whether a standby may be read from."""

    cause: str = ""
    why: str = ""
    lag_s: float | None = None


class Replica:
    """A standby beside the primary that it follows.

    Args:
        config: of the database; it names the standby.
        primary: answers when the standby cannot.
    """

    def __init__(self, config: DatabaseConfig, primary: Looks) -> None:
        """Open nothing yet."""
        self.state = ReplicaState()
        self._config = config
        self._primary = primary
        self._pool = ReadPool(config, ReadRuns(), config.replica_url)
        self._watch = _Watch(config)
        self._verdict = _Verdict("down", "it was not asked yet")
        self._checked_s: float | None = None
        self._checking = asyncio.Lock()

    async def read(self, reads: Reads) -> Rows:
        """Make reads on the standby, or on the primary when it is down or too far behind.

        Raises:
            Unavailable: what the primary raises; ``database_slow`` of the standby: what takes it
                too long is not asked of the primary as well.
        """
        verdict = await self._looked_after()
        if not verdict.cause:
            try:
                rows = await self._pool.read(reads)
            except Unavailable as error:
                if error.code == "database_slow":
                    raise
                self.state.fallen_back["failed"] += 1
                LOG.info("a report is read from the primary: %s", error.message)
                self._checked_s = None
            else:
                self.state.read += 1
                return rows
        else:
            self.state.fallen_back[verdict.cause] += 1
        return await self._primary.read(reads)

    async def _looked_after(self) -> _Verdict:
        if self._checking.locked() and self._checked_s is not None and self._verdict.cause:
            return self._verdict  # to ask one that is gone may take long: the others need not wait
        async with self._checking:
            now_s = asyncio.get_running_loop().time()
            if self._checked_s is None or now_s - self._checked_s >= CHECK_EVERY_S:
                verdict = await self._watch.look(self._config.replica_lag_max_s)
                self._note(verdict)
                self._checked_s = asyncio.get_running_loop().time()
            return self._verdict

    def _note(self, verdict: _Verdict) -> None:
        """Say once that the standby is not used any more, and once that it is again."""
        was, self._verdict = self.state.why_not, verdict
        self.state.lag_s, self.state.why_not = verdict.lag_s, verdict.why
        place = place_of(self._config.replica_url)
        if verdict.cause and not was:
            LOG.warning("reports are read from the primary: %s: %s", place, verdict.why)
        elif was and not verdict.cause:
            LOG.info("reports are read from the standby %s", place)

    async def close(self) -> None:
        """Let go of both servers."""
        self._watch.close()
        await self._pool.close()


class _Watch:
    """Tells how far a standby is behind its primary, on a session with each."""

    def __init__(self, config: DatabaseConfig) -> None:
        self._config = config
        self._primary: asyncpg.Connection[Any] | None = None
        self._standby: asyncpg.Connection[Any] | None = None
        self._marks: deque[tuple[float, int]] = deque(maxlen=MARKS_MAX)
        self._is_ours = False

    async def look(self, lag_max_s: float) -> _Verdict:
        """Compare the two servers."""
        primary, standby = await asyncio.gather(self._ask_primary(), self._ask_standby())
        if isinstance(standby, BaseException):
            return _Verdict("down", f"it cannot be reached ({standby})")
        if isinstance(primary, BaseException):
            if self._is_ours and standby["follows"]:
                return _Verdict()  # while the primary is gone nobody writes anything newer
            return _Verdict("other", f"the primary cannot be asked whether it is its ({primary})")
        if why := self._why_not_ours(primary, standby):
            return _Verdict("other", why)
        lag_s = await self._lag_s(_place(primary["at"]), standby)
        if lag_s <= lag_max_s:
            return _Verdict(lag_s=lag_s)
        return _Verdict(
            "behind",
            f"it is {lag_s:.0f} s behind, more than database.replica_lag_max_s = {lag_max_s:g}",
            lag_s,
        )

    def _why_not_ours(self, primary: asyncpg.Record, standby: asyncpg.Record) -> str:
        self._is_ours = all(primary[name] == standby[name] for name in IDENTITY)
        if not self._is_ours:
            return "it is no standby of the server and database of database.url"
        return "" if standby["follows"] else "it is no standby any more"

    async def _lag_s(self, written: int, standby: asyncpg.Record) -> float:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._marks.append((began_s, written))
        found: asyncpg.Record | BaseException = standby
        for _ in range(ASKED_MAX):
            if isinstance(found, BaseException):
                return float("inf")
            applied, age_s = _place(found["at"] or "0/0"), found["age_s"]
            if applied >= written:
                return loop.time() - began_s
            await asyncio.sleep(PATIENCE_S)
            found = await self._ask_standby()
        reached = [at_s for at_s, place in self._marks if place <= applied]
        ages = [loop.time() - max(reached)] if reached else []
        if age_s is not None:
            ages.append(max(0.0, age_s))
        return min(ages, default=float("inf"))

    def _ask_primary(self) -> Coroutine[Any, Any, asyncpg.Record | BaseException]:
        return self._asked("_primary", None, PRIMARY)

    def _ask_standby(self) -> Coroutine[Any, Any, asyncpg.Record | BaseException]:
        return self._asked("_standby", self._config.replica_url, STANDBY)

    async def _asked(self, name: str, url: str | None, text: str) -> asyncpg.Record | BaseException:
        """Ask a server; what goes wrong is returned, and the next time a new session is opened."""
        connection: asyncpg.Connection[Any] | None = getattr(self, name)
        try:
            if connection is None or connection.is_closed():
                connection = await connect(self._config, url=url, writes=False)
                setattr(self, name, connection)
            row = await connection.fetchrow(text, timeout=self._config.connect_timeout_s)
        except (*FAILURES, SlotmeterError) as error:
            if connection is not None:
                connection.terminate()
            setattr(self, name, None)
            return error
        return row or LookupError("it gave no answer")

    def close(self) -> None:
        for connection in (self._primary, self._standby):
            if connection is not None:
                connection.terminate()
        self._primary = self._standby = None


def _place(text: str) -> int:
    """Return a place in a server's log as the number of bytes before it."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


async def is_usable(config: DatabaseConfig) -> tuple[bool, str]:
    """Look once whether a standby keeps up; return that, and why not."""
    watch = _Watch(config)
    try:
        verdict = await watch.look(config.replica_lag_max_s)
    finally:
        with suppress(*FAILURES):
            watch.close()
    return not verdict.cause, verdict.why


async def looks_of(config: DatabaseConfig) -> DatabaseConfig:
    """Return where one long look goes: to the standby if it keeps up now, else to the primary."""
    if not config.replica_url:
        return config
    usable, why = await is_usable(config)
    if usable:
        return config.model_copy(update={"url": config.replica_url})
    LOG.warning("the primary is read: %s: %s", place_of(config.replica_url), why)
    return config

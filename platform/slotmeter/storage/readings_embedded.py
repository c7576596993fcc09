"""The readings store in one SQLite file, keyed by day, meter, register and time.

The day comes first in the key, so that an hour's readings of all meters lie together: ordered by
meter first, each reading would dirty a page of its own. One thread writes, others read, each over a
connection of its own; a commit is synced before ``append`` returns.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import Aggregate, ReadingRow, StoreStats
from slotmeter.storage.data_files import make_private
from slotmeter.units import DAY_US

__all__ = ["EmbeddedReadings"]

T = TypeVar("T")

READER_THREADS: Final = 2
"""So that one long question does not hold up all others."""

ROWS_TOGETHER: Final = (2_000, 500, 100, 20, 4, 1)
"""Rows of one statement, as many as there still are; SQLite takes 32,766 values in one."""

PAGE_BYTES: Final = 8_192
FORMAT: Final = 1
"""Kept in the file's ``user_version``."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS reading (
    day INTEGER NOT NULL,
    meter_id INTEGER NOT NULL,
    register TEXT NOT NULL,
    measured_us INTEGER NOT NULL,
    value INTEGER NOT NULL,
    frame_id INTEGER NOT NULL,
    PRIMARY KEY (day, meter_id, register, measured_us)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS consumed (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER);
INSERT OR IGNORE INTO consumed VALUES (1, 0);
"""

# What is stored stays: the same frame may come again, and a register has one value at a time.
_INSERT: Final = "INSERT OR IGNORE INTO reading VALUES (?, ?, ?, ?, ?, ?)"
_METER: Final = itemgetter(0)

# Only days that exist are visited, each by a step down the key.
_DAYS: Final = """
WITH RECURSIVE days(day) AS (
    SELECT min(day) FROM reading WHERE day >= :first_day
    UNION ALL
    SELECT (SELECT min(day) FROM reading WHERE day > days.day) FROM days
    WHERE days.day < :last_day
)
"""
_OF_REGISTER: Final = """
FROM days CROSS JOIN reading AS r
WHERE r.day = days.day AND days.day <= :last_day
    AND r.meter_id = :meter_id AND r.register = :register
    AND r.measured_us >= :start_us AND r.measured_us < :end_us
"""
_RANGE: Final = (
    _DAYS
    + """
SELECT r.meter_id, r.register, r.measured_us, r.value, r.frame_id
"""
    + _OF_REGISTER
    + """
ORDER BY r.day, r.measured_us
LIMIT :limit
"""
)
# Days grow with time: the first and the last of a bucket are found by their whole key.
_BUCKETS: Final = (
    _DAYS  # noqa: S608  our own text; every value is bound
    + """
, buckets AS (
    SELECT (r.measured_us - :start_us) / :bucket_us AS number, count(*) AS count,
        min(r.value) AS minimum, max(r.value) AS maximum,
        min(r.day) AS first_day, min(r.measured_us) AS first_us,
        max(r.day) AS last_day, max(r.measured_us) AS last_us
"""
    + _OF_REGISTER
    + """
    GROUP BY number
)
SELECT b.number, b.count, b.minimum, b.maximum,
    (SELECT value FROM reading WHERE day = b.first_day AND meter_id = :meter_id
        AND register = :register AND measured_us = b.first_us),
    (SELECT value FROM reading WHERE day = b.last_day AND meter_id = :meter_id
        AND register = :register AND measured_us = b.last_us)
FROM buckets AS b
ORDER BY b.number
"""
)
_LAST: Final = """
WITH RECURSIVE days(day) AS (
    SELECT max(day) FROM reading
    UNION ALL
    SELECT (SELECT max(day) FROM reading WHERE day < days.day) FROM days WHERE days.day IS NOT NULL
)
SELECT r.meter_id, r.register, r.measured_us, r.value, r.frame_id
FROM days CROSS JOIN reading AS r
WHERE r.day = days.day AND r.meter_id = :meter_id AND r.register = :register
ORDER BY r.day DESC, r.measured_us DESC
LIMIT 1
"""
_STATS: Final = """
SELECT count(*), count(DISTINCT meter_id), min(measured_us), max(measured_us) FROM reading
"""


@cache
def _inserts(rows: int) -> str:
    return _INSERT + ", (?, ?, ?, ?, ?, ?)" * (rows - 1)


class EmbeddedReadings:
    """Implements ``ports.ReadingStore`` on SQLite."""

    def __init__(self, path: Path) -> None:
        """Prepare; use :meth:`open`."""
        self._path = path
        self._write = ThreadPoolExecutor(1, thread_name_prefix="slotmeter-readings-write")
        self._read = ThreadPoolExecutor(
            READER_THREADS, thread_name_prefix="slotmeter-readings-read"
        )
        self._writer: sqlite3.Connection | None = None
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or create the file.

        Raises:
            ConfigError: ``readings_unusable``, ``readings_newer`` or ``file_exposed``.
        """
        store = cls(path)
        try:
            await store._in(store._write, store._open)
        except (sqlite3.Error, OSError) as error:
            await store.close()
            raise ConfigError(
                "readings_unusable",
                f"the readings store {path.name} cannot be opened for writing ({error}); check "
                "that the data folder exists, is writable and has space",
            ) from error
        except ConfigError:
            await store.close()
            raise
        return store

    def _open(self) -> None:
        make_private(self._path)
        self._writer = writer = _connect(self._path)
        found: int = writer.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise ConfigError(
                "readings_newer",
                f"{self._path.name} was made by a newer slotmeter (format {found}, this version "
                f"knows up to {FORMAT})",
            )
        writer.execute(f"PRAGMA page_size={PAGE_BYTES}")
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("PRAGMA synchronous=FULL")
        writer.executescript(_TABLES)
        writer.execute(f"PRAGMA user_version={FORMAT}")

    async def append(self, rows: Sequence[ReadingRow], *, cursor: int | None = None) -> int:
        """Store rows and the cursor in one commit; see ``ports``.

        The first value stored for a meter, register and time stays. The cursor never goes back.

        Raises:
            Unavailable: ``readings_unavailable``; nothing was written.
            OverflowError: a value of more than 64 bits; nothing was written.
        """
        # What comes first for a key wins, so the order of a meter's rows is kept.
        keyed = [
            (measured_us // DAY_US, meter_id, register, measured_us, value, frame_id)
            for meter_id, register, measured_us, value, frame_id in sorted(rows, key=_METER)
        ]
        return await self._in(self._write, lambda: self._append(keyed, cursor))

    def _append(
        self, rows: Sequence[tuple[int, int, str, int, int, int]], cursor: int | None
    ) -> int:
        writer = _opened(self._writer)
        try:
            writer.execute("BEGIN IMMEDIATE")
            before = writer.total_changes
            # Many rows in one statement: the interpreter is let go once, not for each of them.
            at = 0
            for size in ROWS_TOGETHER:
                while len(rows) - at >= size:
                    together = chain.from_iterable(rows[at : at + size])
                    writer.execute(_inserts(size), tuple(together))
                    at += size
            new = writer.total_changes - before
            if cursor is not None:
                writer.execute("UPDATE consumed SET position = max(position, ?)", (cursor,))
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            raise Unavailable(
                "readings_unavailable", f"no reading was written: {error}; try again"
            ) from error
        finally:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        return new

    async def cursor(self) -> int:
        """Return the newest cursor that ``append`` was given; 0 at first."""
        rows = await self._query("SELECT position FROM consumed", {})
        position: int = rows[0][0]
        return position

    async def go_back(self, position: int) -> None:
        """Take an earlier cursor; see ``ports``.

        Raises:
            Unavailable: ``readings_unavailable``; nothing was written.
        """
        await self._in(self._write, lambda: self._go_back(position))

    def _go_back(self, position: int) -> None:
        text = "UPDATE consumed SET position = min(position, ?)"
        try:
            _opened(self._writer).execute(text, (position,))
        except sqlite3.Error as error:
            raise Unavailable(
                "readings_unavailable", f"the cursor was not written: {error}; try again"
            ) from error

    async def range(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, limit: int
    ) -> Sequence[ReadingRow]:
        """Return the values with start <= time < end in time order; see ``ports``."""
        if end_us <= start_us or limit <= 0:
            return []
        params = {**_window(meter_id, register, start_us, end_us), "limit": limit}
        return [ReadingRow(*row) for row in await self._query(_RANGE, params)]

    async def aggregate(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, bucket_us: int
    ) -> Sequence[Aggregate]:
        """Return non-empty buckets aligned to ``start_us``, in time order; see ``ports``.

        Raises:
            ValueError: ``bucket_us`` is not positive.
        """
        if bucket_us <= 0:
            raise ValueError(f"expected a bucket of at least 1 µs, got {bucket_us}")
        if end_us <= start_us:
            return []
        params = {**_window(meter_id, register, start_us, end_us), "bucket_us": bucket_us}
        return [
            Aggregate(
                start_us=start_us + number * bucket_us,
                end_us=start_us + (number + 1) * bucket_us,
                count=count,
                minimum=minimum,
                maximum=maximum,
                first=first,
                last=last,
            )
            for number, count, minimum, maximum, first, last in await self._query(_BUCKETS, params)
        ]

    async def last(self, meter_id: int, register: str) -> ReadingRow | None:
        """Return the newest value by the meter's clock."""
        rows = await self._query(_LAST, {"meter_id": meter_id, "register": register})
        return ReadingRow(*rows[0]) if rows else None

    async def retain(self, before_us: int) -> int:
        """Drop whole days that end at or before the given time; return rows dropped."""
        first_day_kept = before_us // DAY_US
        dropped = 0
        # One day at a time keeps the log short and lets appends in between.
        while (count := await self._in(self._write, lambda: self._drop_day(first_day_kept))) > 0:
            dropped += count
        return dropped

    def _drop_day(self, first_day_kept: int) -> int:
        return (
            _opened(self._writer)
            .execute(
                "DELETE FROM reading WHERE day = (SELECT min(day) FROM reading) AND day < ?",
                (first_day_kept,),
            )
            .rowcount
        )

    async def stats(self) -> StoreStats:
        """Return how much is stored."""
        rows = await self._query(_STATS, {})
        return StoreStats(*rows[0])

    async def close(self) -> None:
        """Finish what was begun and let go of the file; once is enough."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        for executor in (self._read, self._write):
            await loop.run_in_executor(None, executor.shutdown)
        for connection in (*self._readers, self._writer):
            if connection is not None:
                connection.close()

    async def _query(self, text: str, params: Mapping[str, int | str]) -> list[tuple[Any, ...]]:
        return await self._in(self._read, lambda: self._reader().execute(text, params).fetchall())

    def _reader(self) -> sqlite3.Connection:
        """Return the connection of this thread."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = _connect(self._path)
            self._readers.append(found)
            found.execute("PRAGMA query_only=ON")
        return found

    async def _in(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("readings_closed", "the server is shutting down")
        return await asyncio.get_running_loop().run_in_executor(executor, work)


def _connect(path: Path) -> sqlite3.Connection:
    # Each connection is used by one thread at a time; open and close happen elsewhere.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _opened(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    assert connection is not None, "the store is used before it was opened"  # noqa: S101  invariant
    return connection


def _window(meter_id: int, register: str, start_us: int, end_us: int) -> dict[str, int | str]:
    return {
        "first_day": start_us // DAY_US,
        "last_day": (end_us - 1) // DAY_US,
        "meter_id": meter_id,
        "register": register,
        "start_us": start_us,
        "end_us": end_us,
    }

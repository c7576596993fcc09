"""An event loop whose time jumps to the next timer, so that a simulated month takes a moment.

Nothing sleeps: when no callback is ready, the loop's time becomes that of the next timer. What runs
on it must wait for timers and for its own tasks only. A socket or a thread would bring the order of
real time back in, and with it runs that cannot be had again, so waiting for one is an error. With
all chance drawn from one seed a run repeats exactly.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, NoReturn, TypeVar

from slotmeter.errors import Unavailable
from slotmeter.ports import Changes, NewId, Reads, Rows
from slotmeter.storage.dialect import Statements
from slotmeter.storage.sqlite_ids import Ids
from slotmeter.storage.sqlite_seal import Chain, open_layout
from slotmeter.storage.sqlite_unit import connect, make_reads, run_unit
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import empty_file

__all__ = ["LoopClock", "NothingLeft", "SimulatedDatabase", "VirtualTimeLoop", "run_virtual"]

T = TypeVar("T")

START: Final = datetime(2026, 1, 5, tzinfo=UTC)

RESOLUTION_S: Final = 1e-6


class NothingLeft(RuntimeError):
    """Every task waits, and no timer will ever wake one of them."""


class _Jumping(selectors.SelectSelector):
    """A selector that looks at no file and lets time pass instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Be at the end of the wait at once."""
        if timeout is None:
            raise NothingLeft("every task waits, and there is no timer")
        self.now_s += max(0.0, timeout)
        return []


class _NoThreads(ThreadPoolExecutor):
    """An executor that takes nothing: a thread runs in real time."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise RuntimeError("no threads in virtual time: their order is not that of the seed")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The event loop; its time starts at 0 and moves only when nothing is ready."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self._clock_resolution = RESOLUTION_S
        self.set_default_executor(_NoThreads())

    def time(self) -> float:
        """Return the seconds that have passed in this loop."""
        return self._jumping.now_s

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Refuse: a socket answers in real time."""
        raise RuntimeError("no sockets in virtual time: their order is not that of the seed")


def run_virtual(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run work to its end in virtual time; tasks that it left behind are cancelled."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work())


class LoopClock(FakeClock):
    """A ``ports.Clock`` that follows the running loop's time."""

    def __init__(self, start: datetime = START) -> None:
        super().__init__(start)
        self._loop = asyncio.get_running_loop()

    def now(self) -> datetime:
        """Return the time of day in the loop."""
        return super().now() + timedelta(seconds=self._loop.time())

    def monotonic_s(self) -> float:
        """Return the loop's time."""
        return self._loop.time()


class SimulatedDatabase:
    """A ``ports.UnitOfWork`` on a file of SQLite that works in virtual time, without threads.

    Units of work go one after the other in the order in which they were asked for, each with a
    commit. Before and after each stands a pause drawn from the seed: a program that is stopped in
    the first has written nothing, one that is stopped in the second has written and does not know.
    Nothing is synchronised to the disk: that a commit outlives a loss of power is proven elsewhere.
    """

    def __init__(self, path: Path, random: Random, *, pause_s_max: float) -> None:
        """Open the file, which is made if it is not there.

        Args:
            path: of the file.
            random: the source of the pauses.
            pause_s_max: the longest pause before or after a unit or a read.
        """
        if not path.exists():
            path.write_bytes(empty_file())
        self._random = random
        self._pause_s_max = pause_s_max
        self._connection = connect(path)
        for pragma in ("synchronous=OFF", "temp_store=MEMORY", "journal_size_limit=0"):
            self._connection.execute(f"PRAGMA {pragma}")
        layout = open_layout(self._connection)
        self._statements = Statements(layout)
        self._ids = Ids(self._connection)
        self._chain = Chain(self._connection, layout)
        self._turn = asyncio.Lock()
        self.units = 0
        self.reads = 0

    async def run(
        self,
        reads: Reads,
        decide: Callable[[Rows, NewId], Changes[T]],
        *,
        apart: object = None,
    ) -> T:
        """Read, decide, write, commit; see ``ports.UnitOfWork``."""
        async with self._turn:
            await self._pause()
            result = self._run(reads, decide)
        await self._pause()
        return result

    async def read(self, reads: Reads) -> Rows:
        """Make reads that see one committed state; see ``ports.UnitOfWork``."""
        await self._pause()
        self.reads += 1
        rows = make_reads(self._connection, self._statements, reads)
        await self._pause()
        return rows

    def rows(self, text: str, *values: object) -> list[dict[str, Any]]:
        """Return what a query finds, for whoever judges the run."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(text, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.random() * self._pause_s_max)

    def _run(self, reads: Reads, decide: Callable[[Rows, NewId], Changes[T]]) -> T:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._ids.begin()
            self._chain.begin()
            result = run_unit(
                connection, self._statements, reads, decide, self._ids.take, self._chain
            )
            self._chain.store()
            self._ids.store()
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            connection.execute("ROLLBACK")
            raise Unavailable("database_unavailable", f"nothing was written: {error}") from error
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        self.units += 1
        return result

"""A PostgreSQL server of one's own, from the programs that Debian's packages bring.

It runs as a user without rights (as root it takes the user ``postgres``, or ``nobody``), listens on
a free port of the loopback address, and goes away with all it holds. It trusts whoever reaches it:
for tests and measurements only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import asyncpg

from slotmeter.testing.site import free_ports

__all__ = ["PROGRAMS", "PostgresServer", "find_programs", "server_user", "waited_for"]

T = TypeVar("T")

PROGRAMS: Final = "/usr/lib/postgresql"
"""Where Debian keeps them, by major version."""

USER: Final = "slotmeter"
START_S: Final = 60.0
STOP_S: Final = 30.0
NOT_DURABLE: Final = {
    **{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"},
    **{"autovacuum": "off", "max_wal_size": "4GB", "checkpoint_timeout": "1h"},
}
MEMORY: Final = Path("/dev/shm")  # noqa: S108  what is there is gone with the machine's power
MEMORY_BYTES_MIN: Final = 4 << 30
USED_MAX: Final = 20
"""To drop a database makes the server write out all it has: better many at once."""


def find_programs() -> Path | None:
    """Return the folder of the newest server's programs; None when none is installed."""
    found = [path.parent for path in Path(PROGRAMS).glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    if not found and on_path is not None:
        return Path(on_path).resolve().parent
    return max(found, key=lambda path: int(path.parent.name), default=None)


def waited_for(work: Coroutine[Any, Any, T]) -> T:
    """Run something asynchronous to its end, also while this thread's own loop stands still."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  handed to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="waited-for")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


class PostgresServer:
    """A server in a folder of its own; use :meth:`start` and :meth:`remove`.

    Args:
        programs: folder of ``initdb`` and ``postgres``.
        durable: keep what is committed, as a server does by default; tests need not.
        settings: further settings of ``postgresql.conf``.
        follows: the server that this one begins as a copy of, and whose log it applies until it is
            promoted; None for one with databases of its own.
    """

    def __init__(
        self,
        programs: Path,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
        follows: PostgresServer | None = None,
    ) -> None:
        """Prepare; nothing runs yet."""
        self._follows = follows
        self._programs = programs
        self._settings = dict(settings or {}) if durable else NOT_DURABLE | dict(settings or {})
        self._user = server_user()
        place = None if durable else _in_memory()
        self._folder = Path(tempfile.mkdtemp(prefix="slotmeter-postgres-", dir=place))
        self._process: subprocess.Popen[bytes] | None = None
        [self.port] = free_ports(1)
        self._databases = 0
        self._used: list[str] = []

    def local_url(self, database: str = "postgres") -> str:
        """Return the address of a database by the socket in the file system."""
        return f"postgresql://{USER}@/{database}?host={self._folder}&port={self.port}"

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """The server's first process, while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> str:
        """What the server has said."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Take it away."""
        self.remove()

    # --- the server -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, in a new cluster the first time, and wait until it answers."""
        if not (self._folder / "data").exists():
            self._make_cluster()
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._folder),
            "max_connections": "60",
            **self._settings,
        }
        arguments = [f"-c{name}={value}" for name, value in options.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  programs that the system brought
                [self._programs / "postgres", "-D", self._folder / "data", *arguments],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._user,
            )
        self._wait_until_ready()

    def stop(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: at once but cleanly, or by any other signal as a crash would.

        One that has not ended after ``STOP_S``, as on a busy machine, is killed: none is left.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process = process
            self.crash()

    def crash(self) -> None:
        """Kill the server with all its processes, as a machine that loses its power."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGSTOP)  # so that it starts no more of them
        _wait_for(lambda: _state(process.pid) in {"T", ""})
        pids = (process.pid, *_children(process.pid))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(STOP_S)
        self._process = None
        # A server started anew refuses to, while a process of the old one still has its memory.
        _wait_for(lambda: all(_state(pid) in {"Z", "X", ""} for pid in pids))

    def remove(self) -> None:
        """Stop the server and delete all it holds."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def promote(self) -> None:
        """Let a standby follow nobody any more, and wait until it can be written."""
        self.execute("SELECT pg_promote(true, 30)")

    def _make_cluster(self) -> None:
        if self._user:
            shutil.chown(self._folder, self._user["user"], self._user["group"])
        data = self._folder / "data"
        command: list[str | Path] = (
            [
                self._programs / "initdb",
                *("-D", data, "-U", USER, "--auth=trust", "--no-sync"),
                *("--encoding=UTF8", "--lc-collate=C", "--lc-ctype=C.UTF-8"),
            ]
            if self._follows is None
            else [
                self._programs / "pg_basebackup",
                *("-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync"),
                *("-d", f"{self._follows.url()}?application_name=standby"),
            ]
        )
        subprocess.run(  # noqa: S603  programs that the system brought
            command,
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )

    def _wait_until_ready(self) -> None:
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {self.log[-2_000:]}")
            try:
                self.execute("SELECT 1")
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"PostgreSQL does not answer: {self.log[-2_000:]}")

    # --- its databases --------------------------------------------------------------------------

    def execute(self, text: str, *, database: str = "postgres") -> None:
        """Run statements on a database."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url(database), timeout=10)
            try:
                await connection.execute(text)
            finally:
                await connection.close()

        waited_for(run())

    def make_database(self, *, template: str = "template0") -> str:
        """Make a database as another is, and return its name."""
        self._databases += 1
        name = f"slotmeter_{self._databases}"
        self.execute(f'CREATE DATABASE {name} TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database sooner or later, whoever is still connected to it."""
        self._used.append(name)
        if len(self._used) > USED_MAX:
            waited_for(self._drop_used())

    async def _drop_used(self) -> None:
        connection = await asyncpg.connect(self.url(), timeout=10)
        try:
            while self._used:
                await connection.execute(f'DROP DATABASE "{self._used.pop()}" WITH (FORCE)')
        finally:
            await connection.close()


def _in_memory() -> Path | None:
    """Return a folder in memory that has room; None if there is none."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN
    return MEMORY if has_room else None


def server_user() -> dict[str, Any]:
    """Return who runs the programs: ourselves, unless that is root, whom they refuse."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": ()}
    raise RuntimeError("PostgreSQL will not run as root, and there is no other user to take")


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(each) for each in text.split()]


def _state(pid: int) -> str:
    """Return the letter of a process's state, Z for one that nobody has waited for; "" for none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[0]


def _wait_for(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + STOP_S
    while not holds():
        if time.monotonic() > until_s:
            raise RuntimeError("processes of a killed PostgreSQL server do not end")
        time.sleep(0.01)

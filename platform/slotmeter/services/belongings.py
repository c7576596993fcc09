"""What a config entry brought into being: its tasks and sockets, marked where they begin.

A mark rides in the context (``contextvars``) that tasks and callbacks of the event loop inherit. So
also what a library of the medium starts by itself is known to belong to the entry, and unloading
can prove that nothing of it is left. Work of the platform that a medium asks for runs without the
mark: a connection to the database that is opened meanwhile is nobody's but ours.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar, cast
from weakref import WeakSet

__all__ = ["Belongings", "Left", "for_owner", "mark_belongings", "outside", "run_outside"]

T = TypeVar("T")

GRACE_S: Final = 1.0
"""What was closed may take so long to be gone before it counts as left."""

STOP_WITHIN_S: Final = 10.0
"""A task that does not end within this time after it was told to is given up."""

LOOK_EVERY_S: Final = 0.02
NAMES_MAX: Final = 5

_OWNER: Final[ContextVar[Belongings | None]] = ContextVar("slotmeter_entry", default=None)


@dataclass(frozen=True, slots=True)
class Left:
    """What was still there when an entry had been told to stop.

    Args:
        tasks: names of tasks that were ended by force.
        sockets: addresses of sockets that were closed by force.
        stubborn: names of tasks that did not end even then.
    """

    tasks: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    stubborn: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether anything was left."""
        return bool(self.tasks or self.sockets or self.stubborn)

    def __str__(self) -> str:
        """Say it for people."""
        parts = [
            f"{len(names)} {word}{'s' if len(names) != 1 else ''} ({', '.join(names[:NAMES_MAX])})"
            for names, word in ((self.tasks, "task"), (self.sockets, "socket"))
            if names
        ]
        said = " and ".join(parts)
        if self.stubborn:
            still = ", ".join(self.stubborn[:NAMES_MAX])
            said += f"; {len(self.stubborn)} did not end: {still}"
        return said.removeprefix("; ")


class Belongings:
    """Tasks and sockets of one entry, from one set-up to its unloading.

    :func:`mark_belongings` must have been called on the running loop.
    """

    def __init__(self) -> None:
        """Own nothing yet."""
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work as a task of the entry; all that it begins belongs to the entry as well."""
        context = copy_context()
        context.run(_OWNER.set, self)
        return asyncio.create_task(work, name=name, context=context)

    def own_task(self, task: asyncio.Task[Any]) -> None:
        """Take a task."""
        self._tasks.add(task)

    def own_socket(self, sock: socket.socket) -> None:
        """Take a socket."""
        self._sockets.add(sock)

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """Those that still run."""
        return [task for task in list(self._tasks) if not task.done()]

    @property
    def sockets(self) -> list[socket.socket]:
        """Those that are still open."""
        return [sock for sock in list(self._sockets) if sock.fileno() >= 0]

    async def clear(self, *, grace_s: float = GRACE_S, within_s: float = STOP_WITHIN_S) -> Left:
        """Wait for what is ending by itself, end the rest by force, and say what that was."""
        loop = asyncio.get_running_loop()
        for _ in range(round(grace_s / LOOK_EVERY_S)):
            if not self.tasks and not self.sockets:
                return Left()
            await asyncio.sleep(LOOK_EVERY_S)
        tasks, sockets = self.tasks, self.sockets
        left = tuple(sorted(_task_name(task) for task in tasks))
        open_ones = tuple(sorted(_socket_name(sock) for sock in sockets))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
        for sock in self.sockets:
            _close(loop, sock)
        if sockets:
            await asyncio.sleep(LOOK_EVERY_S)
        return Left(left, open_ones, tuple(sorted(_task_name(task) for task in self.tasks)))


def mark_belongings(loop: asyncio.AbstractEventLoop) -> None:
    """Let a loop note whose each new task is, and the process whose each new socket is."""
    before = loop.get_task_factory()
    if isinstance(before, _MarkingFactory):
        return
    loop.set_task_factory(cast("Any", _MarkingFactory(before)))
    _hear_of_sockets()


def outside() -> AbstractContextManager[None]:
    """Let what is begun within belong to no entry."""
    return _marked(None)


@contextmanager
def _marked(owner: Belongings | None) -> Iterator[None]:
    token = _OWNER.set(owner)
    try:
        yield
    finally:
        with suppress(ValueError):  # thrown away half-way, in another context than it began in
            _OWNER.reset(token)


def for_owner(work: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Return work that belongs to the present owner, whoever calls it.

    What a medium answers a request with runs in a task of the server, which bears no mark.
    """
    owner = _OWNER.get()
    if owner is None:
        return work

    @wraps(work)
    async def run(*args: Any, **more: Any) -> T:
        with _marked(owner):
            return await work(*args, **more)

    return run


def run_outside(part: T) -> T:
    """Return a part of the platform whose coroutines begin nothing that belongs to their caller."""
    return cast("T", _Outside(part))


class _MarkingFactory:
    """Makes tasks, and gives those that begin under a mark to its owner."""

    def __init__(self, before: Callable[..., Any] | None) -> None:
        self._make = before

    def __call__(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **more: Any
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T]
        if self._make is None:
            task = asyncio.Task(work, loop=loop, **more)
        else:
            task = self._make(loop, work, **more)
        context = more.get("context")
        owner = _OWNER.get() if context is None else context.get(_OWNER)
        if owner is not None:
            owner.own_task(task)
        return task


_hearing: list[bool] = []


def _hear_of_sockets() -> None:
    """Note each socket as it is made; an audit hook (PEP 578) is the public way, and stays."""
    if _hearing:
        return
    _hearing.append(True)

    def made(event: str, args: tuple[Any, ...], owner_of: Any = _OWNER.get) -> None:
        if event == "socket.__new__":
            owner = owner_of()
            if owner is not None:
                owner.own_socket(args[0])

    sys.addaudithook(made)


class _Outside:
    """Stands in front of a part; see :func:`run_outside`."""

    def __init__(self, part: Any) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not inspect.iscoroutinefunction(found):
            return found
        wrapped = _without_mark(found)
        setattr(self, name, wrapped)  # looked up once
        return wrapped


def _without_mark(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(work)
    async def run(*args: Any, **more: Any) -> Any:
        with outside():
            return await work(*args, **more)

    return run


def _task_name(task: asyncio.Task[Any]) -> str:
    work = task.get_coro()
    return f"{task.get_name()}: {getattr(work, '__qualname__', type(work).__name__)}"


def _socket_name(sock: socket.socket) -> str:
    kind = "udp" if sock.type == socket.SOCK_DGRAM else "tcp"
    try:
        host, port = sock.getsockname()[:2]
    except (OSError, ValueError):
        return kind
    return f"{kind} {host}:{port}"


def _close(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Close a socket and make the loop forget it."""
    number = sock.fileno()
    if number < 0:
        return
    # A loop tells nobody which transport a socket has, and refuses to let go of it otherwise.
    transport = getattr(loop, "_transports", {}).get(number)
    if transport is not None:
        transport.abort()
        return
    loop.remove_reader(number)
    loop.remove_writer(number)
    sock.close()

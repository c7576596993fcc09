"""One config entry under supervision: set up, kept, tried again, and unloaded without a trace.

Whatever a medium does, it happens in tasks of the entry and ends here as a state with a reason. No
error, no silence and no leak of one entry reaches another, or the server.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import quote

from slotmeter.devices.entries import (
    Entry,
    EntryState,
    EntryStatus,
    may_follow,
    retry_pause_ms,
)
from slotmeter.errors import ConfigError, SlotmeterError
from slotmeter.ports import Clock, Medium, MediumSetup, PluginContext
from slotmeter.services.belongings import STOP_WITHIN_S, Belongings, Left
from slotmeter.units import SECOND_US, epoch_us

__all__ = ["SETUP_WITHIN_S", "EntryKeeper", "EntryParts", "EntryTasks", "EntryWorld"]

SETUP_WITHIN_S: Final = 30.0
"""A medium that is not set up within this time is stopped and tried again."""

REASON_CHARACTERS_MAX: Final = 500
STEADY_US: Final = 60 * SECOND_US
"""One that ran so long before it broke is tried soon; one that broke sooner, later each time."""

HIDDEN: Final = "***"
LINE_CHARACTERS_MIN: Final = 8
"""A shorter line of a secret alone gives nothing away."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EntryParts:
    """What a medium is set up with.

    Args:
        context: what it is given.
        let_go: takes its routes away.
    """

    context: PluginContext
    let_go: Callable[[], None] = lambda: None


class MakesParts(Protocol):
    """Builds what a medium is given."""

    def __call__(self, entry: Entry, secrets: Mapping[str, str], tasks: EntryTasks) -> EntryParts:
        """Build it for one entry."""
        ...


@dataclass(frozen=True, slots=True)
class EntryWorld:
    """What keepers work with.

    Args:
        load: imports a medium by its key.
        parts: builds what a medium is given.
        open_secrets: returns the secrets of an entry in clear.
        note: writes a change of state to the log of the entry.
        clock: our time.
        task_failed: counts a task of an entry that failed, by its name.
        draw: gives 0 to 1,000, from a seeded source.
        pause: waits until an event, but not longer than seconds.
        count_failure: counts an entry that does not run, by its key and what comes of it.
        setup_within_s: how long a set-up may take.
        stop_within_s: how long each step of an unloading may take.
    """

    load: Callable[[str], Awaitable[Medium]]
    parts: MakesParts
    open_secrets: Callable[[Entry], Awaitable[Mapping[str, str]]]
    note: Callable[[Entry, EntryStatus], Awaitable[None]]
    clock: Clock
    task_failed: Callable[[str], None]
    draw: Callable[[], int]
    pause: Callable[[asyncio.Event, float], Awaitable[None]]
    count_failure: Callable[[str, str], None] = lambda _key, _state: None
    setup_within_s: float = SETUP_WITHIN_S
    stop_within_s: float = STOP_WITHIN_S


class EntryTasks:
    """Tasks of one entry; implements ``ports.Tasks``.

    Args:
        owner: whom they belong to.
        failed: counts one that failed.
        hide: returns a text without the secrets of the entry.
    """

    def __init__(
        self,
        owner: Belongings,
        failed: Callable[[str], None],
        hide: Callable[[str], str] = lambda text: text,
    ) -> None:
        """Own no task."""
        self._owner = owner
        self._failed = failed
        self._hide = hide
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.broken: asyncio.Future[BaseException | None] = (
            asyncio.get_running_loop().create_future()
        )
        """Done when a task ended without which the entry is nothing; with its error, if any."""

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work until it ends or the entry is unloaded; a failure is logged and counted."""
        self._run(name, work, vital=False)

    def vital(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work without which the entry is nothing: when it ends, the entry is set up anew."""
        self._run(name, work, vital=True)

    def stop(self) -> None:
        """Take no more; those that run are cancelled."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    def _run(self, name: str, work: Coroutine[Any, Any, None], *, vital: bool) -> None:
        if self._stopped:
            work.close()
            raise RuntimeError(f"task {name!r} comes after its entry was unloaded")
        task = self._owner.start(name, self._watched(name, work, vital=vital))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watched(self, name: str, work: Coroutine[Any, Any, None], *, vital: bool) -> None:
        error: BaseException | None = None
        try:
            await work
        except Exception as failure:  # noqa: BLE001  the supervisor: nothing above would see it
            error = failure
            self._failed(name)
            if not vital:
                _log.error("task %s failed: %s", name, _words_of(failure, self._hide))
        if vital and not self._stopped and not self.broken.done():
            self.broken.set_result(error)


@dataclass(slots=True)
class _Attempt:
    """One set-up with all that belongs to it."""

    own: Belongings
    tasks: EntryTasks
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    setup: MediumSetup | None = None
    addresses: tuple[str, ...] = ()
    let_go: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why an entry does not run; ``final`` when trying again is of no use."""

    reason: str
    final: bool


class EntryKeeper:
    """Keeps one entry; run :meth:`run` as a task that belongs to no entry.

    Args:
        entry: what is wanted.
        world: what to work with.
        after: what must have ended before.
    """

    def __init__(
        self, entry: Entry, world: EntryWorld, *, after: asyncio.Task[None] | None = None
    ) -> None:
        """Start with an entry that is not loaded."""
        self._wanted = entry
        self._world = world
        self._after = after
        self._changed = asyncio.Event()
        self._changed.set()  # nothing was tried yet
        self._remains: Belongings | None = None
        self._ending = ""
        self._status = EntryStatus(since_us=self._now_us())
        self._noted = (EntryState.NOT_LOADED, "")
        self._tries = 0  # that failed before it was loaded
        self._settled = asyncio.Condition()

    @property
    def entry(self) -> Entry:
        """What is wanted."""
        return self._wanted

    @property
    def status(self) -> EntryStatus:
        """How it does."""
        return self._status

    def want(self, entry: Entry) -> None:
        """Load the entry as it is now."""
        self._wanted = entry
        self._status = replace(self._status, failures=0)
        self._tries = 0
        self._changed.set()

    def end(self, why: str) -> None:
        """Unload it and end :meth:`run`."""
        self._ending = self._ending or why
        self._changed.set()

    async def settled(self, within_s: float) -> EntryStatus:
        """Return how it does as soon as what is wanted was tried, at the latest after a while."""
        try:
            async with asyncio.timeout(within_s), self._settled:
                await self._settled.wait_for(self._is_settled)
        except TimeoutError:
            pass
        return self._status

    def _is_settled(self) -> bool:
        busy = {EntryState.SETTING_UP, EntryState.UNLOADING}
        return not self._changed.is_set() and self._status.state not in busy

    async def run(self) -> None:
        """Keep the entry until :meth:`end`."""
        if self._after is not None:
            await asyncio.wait({self._after})
        while not self._ending:
            try:
                await self._turn()
            except Exception:  # noqa: BLE001  the supervisor: an entry must not end by a fault
                _log.exception("keeping entry %s failed", self._wanted.key)
                self._status = replace(self._status, state=EntryState.RETRYING)
                await self._world.pause(self._changed, retry_pause_ms(1, 0) / 1000)
        if self._status.state is not EntryState.NOT_LOADED:
            await self._enter(EntryState.NOT_LOADED, self._ending)

    async def _turn(self) -> None:
        """Bring the entry to what is wanted, and stay until that changes or it breaks."""
        self._changed.clear()
        if self._ending:  # it came between
            return
        entry = self._wanted
        if not entry.enabled:
            await self._enter(EntryState.NOT_LOADED, "switched off")
            await self._changed.wait()
            return
        found = await self._what_remains() or await self._set_up(entry)
        if isinstance(found, _Attempt):
            found = await self._stay(entry, found)
        if found is not None and not self._ending:
            await self._wait_out(found)

    async def _what_remains(self) -> _Problem | None:
        """Try to end what did not end before; nothing is set up beside it."""
        if self._remains is None:
            return None
        left = await self._remains.clear(within_s=self._world.stop_within_s)
        if left.stubborn:
            await self._enter(EntryState.UNLOADING, "")
            return _incomplete(left)
        self._remains = None
        return None

    # --- setting up -----------------------------------------------------------------------------

    async def _set_up(self, entry: Entry) -> _Attempt | _Problem | None:
        """Return what runs, why it does not, or None when something else is wanted meanwhile."""
        await self._enter(EntryState.SETTING_UP, "")
        own = Belongings()
        known: dict[str, str] = {}
        tasks = EntryTasks(own, self._world.task_failed, partial(_hidden, secrets=known))
        attempt = _Attempt(own, tasks, known)
        work = own.start(f"set up entry {entry.key}", self._build(entry, attempt))
        if not await self._first(work, self._world.setup_within_s):
            work.cancel()
            await asyncio.wait({work}, timeout=self._world.stop_within_s)
            problem = None if self._changed.is_set() else _timed_out(self._world.setup_within_s)
        else:
            problem = _problem_of(work, attempt.secrets, f"entry {entry.key}")
            if problem is None:
                await self._enter(EntryState.LOADED, "", addresses=attempt.addresses)
                return attempt
        if problem is None:
            await self._enter(EntryState.UNLOADING, "")
        return await self._unload(entry, attempt, problem)

    async def _build(self, entry: Entry, attempt: _Attempt) -> None:
        world = self._world
        medium = await world.load(entry.medium)
        attempt.secrets.update(await world.open_secrets(entry))
        parts = world.parts(entry, attempt.secrets, attempt.tasks)
        attempt.let_go = parts.let_go
        attempt.setup = await medium.setup(parts.context, entry.options)
        attempt.addresses = tuple(attempt.setup.addresses)

    async def _first(self, work: asyncio.Future[Any], within_s: float | None = None) -> bool:
        """Wait until work is done or something else is wanted; say whether work is done."""
        change = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait(
                {work, change}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            change.cancel()
        return work.done()

    # --- running, and its end -------------------------------------------------------------------

    async def _stay(self, entry: Entry, attempt: _Attempt) -> _Problem | None:
        """Wait until the entry breaks or something else is wanted; then unload it."""
        broke = await self._first(attempt.tasks.broken)
        problem: _Problem | None = None
        if broke:
            problem = _broken(attempt.tasks.broken.result(), attempt.secrets, entry.key)
        is_steady = self._now_us() - self._status.since_us >= STEADY_US
        reason = "" if problem is None else problem.reason
        await self._enter(EntryState.UNLOADING, reason, failures=0 if is_steady else self._tries)
        return await self._unload(entry, attempt, problem)

    async def _unload(
        self, entry: Entry, attempt: _Attempt, problem: _Problem | None
    ) -> _Problem | None:
        """End all of it; what cannot be ended must not be set up a second time."""
        left = await self._clear(entry, attempt)
        if left.stubborn:
            self._remains = attempt.own
            return _incomplete(left)
        if problem is not None:
            return replace(problem, reason=_with_left(problem.reason, left))
        await self._enter(EntryState.NOT_LOADED, _with_left(self._ending, left))
        return None

    async def _clear(self, entry: Entry, attempt: _Attempt) -> Left:
        """Stop what a medium runs and prove that nothing of it is left."""
        name = f"stop entry {entry.key}"
        try:
            attempt.let_go()
        except Exception:  # noqa: BLE001  the supervisor: the rest must be ended all the same
            _log.exception("%s: its routes are not taken away", name)
        if attempt.setup is not None:
            work = attempt.own.start(name, _stopped(attempt.setup))
            await asyncio.wait({work}, timeout=self._world.stop_within_s)
            if not work.done():
                _log.error("%s: not done within %g s", name, self._world.stop_within_s)
            elif not work.cancelled() and (error := work.exception()) is not None:
                said = _words_of(error, partial(_hidden, secrets=attempt.secrets))
                _log.error("%s failed: %s", name, said)
        attempt.tasks.stop()
        left = await attempt.own.clear(within_s=self._world.stop_within_s)
        if left:
            _log.error("entry %s left %s, which we ended", entry.key, left)
        return left

    async def _wait_out(self, problem: _Problem) -> None:
        """Stay failed until something else is wanted, or pause before the next try."""
        state = EntryState.FAILED if problem.final else EntryState.RETRYING
        self._world.count_failure(self._wanted.key, state.value)
        if problem.final:
            await self._enter(EntryState.FAILED, problem.reason)
            await self._changed.wait()
            return
        failures = self._status.failures + 1
        pause_ms = retry_pause_ms(failures, self._world.draw())
        retry_us = self._now_us() + pause_ms * 1000
        await self._enter(EntryState.RETRYING, problem.reason, retry_us=retry_us, failures=failures)
        await self._world.pause(self._changed, pause_ms / 1000)

    # --- what is known of it --------------------------------------------------------------------

    async def _enter(self, state: EntryState, reason: str, **more: Any) -> None:
        before = self._status
        if state is not before.state:
            if not may_follow(before.state, state):
                raise TypeError(f"no entry goes from {before.state} to {state}")
        elif reason == before.reason and not more:
            return await self._tell()
        kept = before.failures
        if state is EntryState.LOADED:
            self._tries, kept = kept, 0
        self._status = EntryStatus(
            state=state, reason=reason, since_us=self._now_us(), **{"failures": kept, **more}
        )
        await self._note()
        return await self._tell()

    async def _tell(self) -> None:
        async with self._settled:
            self._settled.notify_all()

    async def _note(self) -> None:
        """Log a change once: not every try of an entry that stays broken in the same way."""
        status = self._status
        again = status.state is EntryState.SETTING_UP and status.failures > 0
        noted = (status.state, status.reason)
        if again or noted == self._noted:
            return
        self._noted = noted
        level = logging.WARNING if status.state in _BAD else logging.INFO
        reason = f": {status.reason}" if status.reason else ""
        _log.log(level, "entry %s is %s%s", self._wanted.key, status.state.value, reason)
        try:
            await self._world.note(self._wanted, status)
        except Exception as error:  # noqa: BLE001  the supervisor: an entry outlives the database
            _log.error("the state of entry %s is not logged: %s", self._wanted.key, error)

    def _now_us(self) -> int:
        return epoch_us(self._world.clock.now())


_BAD: Final = frozenset({EntryState.RETRYING, EntryState.FAILED})


async def _stopped(setup: MediumSetup) -> None:
    await setup.stop()


def _incomplete(left: Left) -> _Problem:
    return _Problem(
        f"unload_incomplete: the medium left {left}; start the server anew to end them", final=True
    )


def _timed_out(within_s: float) -> _Problem:
    return _Problem(f"setup_timed_out: not set up within {within_s:g} s", final=False)


def _problem_of(work: asyncio.Task[None], secrets: Mapping[str, str], what: str) -> _Problem | None:
    """Return why a set-up failed, or None when it did not."""
    if work.cancelled():
        return _Problem("setup_cancelled: the medium cancelled its own set-up", final=False)
    error = work.exception()
    return None if error is None else _judged(error, secrets, what)


def _broken(error: BaseException | None, secrets: Mapping[str, str], key: str) -> _Problem:
    if error is None:
        return _Problem("connection_ended: what the entry lives by ended", final=False)
    return _judged(error, secrets, f"entry {key}")


def _judged(error: BaseException, secrets: Mapping[str, str], what: str) -> _Problem:
    """Tell what can never work from what may work later; say it without a secret."""
    if not isinstance(error, SlotmeterError | OSError | TimeoutError):
        trace = "".join(traceback.format_exception(error))
        _log.error("%s met an unexpected error:\n%s", what, _hidden(trace, secrets))
    words = _words_of(error, partial(_hidden, secrets=secrets))
    return _Problem(words, isinstance(error, ConfigError))


def _words_of(error: BaseException, hide: Callable[[str], str]) -> str:
    if isinstance(error, SlotmeterError):
        where = f"{error.field}: " if error.field else ""
        words = f"{error.code}: {where}{error.message}"
    elif isinstance(error, OSError):
        words = f"operating_system: {error.strerror or error}"
    else:
        words = f"unexpected: {type(error).__name__}: {error}"
    flat = " ".join(hide(words).split())  # a secret that is cut short is not found any more
    return flat if len(flat) <= REASON_CHARACTERS_MAX else f"{flat[: REASON_CHARACTERS_MAX - 1]}…"


def _hidden(text: str, secrets: Mapping[str, str]) -> str:
    """Return a text without the secrets of an entry, as they are, escaped, or line by line."""
    forms = {
        form
        for value in secrets.values()
        if value.strip()
        for form in (
            value,
            repr(value)[1:-1],
            quote(value, safe=""),
            *(line for line in value.splitlines() if len(line) >= LINE_CHARACTERS_MIN),
        )
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def _with_left(reason: str, left: Left) -> str:
    if not left:
        return reason
    said = f"the medium left {left}; they were ended"
    return f"{reason}; {said}" if reason else said

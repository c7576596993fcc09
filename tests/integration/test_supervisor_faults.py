"""Faults around an entry: in its routes, its log, its tasks, its end, and in keeping it at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from slotmeter.devices.entries import Entry, EntryState, EntryStatus
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import MediumSetup, PluginContext
from slotmeter.services.entry_keeper import EntryParts, EntryTasks
from slotmeter.testing.entry_world import (
    PATIENCE_S,
    EntryStage,
    RunningMedium,
    ScriptedMedium,
    sample_entry,
    until,
)

S = EntryState
ONE = sample_entry().id


@pytest.fixture
async def world() -> AsyncIterator[EntryStage]:
    made = EntryStage()
    yield made
    await made.supervisor.stop()


def medium(begin: Callable[[PluginContext], None] = lambda _context: None) -> ScriptedMedium:
    """A medium that begins something and runs."""

    async def setup(context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        begin(context)
        return RunningMedium()

    return ScriptedMedium(setup)


def broken(error: Exception) -> ScriptedMedium:
    def begin(_context: PluginContext) -> None:
        raise error

    return medium(begin)


async def hangs(*_of_setup: object) -> MediumSetup:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets the event")


# --- tasks of an entry --------------------------------------------------------------------------


async def test_a_task_that_fails_is_counted_and_its_entry_runs_on(
    world: EntryStage, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        raise Unavailable("no_answer", "the gateway does not answer")

    world.media["scripted"] = medium(lambda context: context.tasks.start("poll", fails()))
    world.supervisor.apply([sample_entry()])
    status = await world.reaches("one", S.LOADED)
    await until(lambda: world.failed_tasks == ["poll"])

    assert status.state is S.LOADED
    assert "task poll failed: no_answer: the gateway does not answer" in caplog.text


async def test_an_entry_whose_vital_task_just_ends_is_set_up_anew(world: EntryStage) -> None:
    async def ends() -> None:
        return

    def begin(context: PluginContext) -> None:
        tasks: Any = context.tasks
        tasks.vital("connection", ends())

    world.media["scripted"] = medium(begin)
    world.supervisor.apply([sample_entry()])
    status = await world.reaches("one", S.RETRYING)

    assert status.reason == "connection_ended: what the entry lives by ended"
    assert world.failed_tasks == []


async def test_a_task_that_comes_after_its_entry_was_unloaded_is_refused(
    world: EntryStage,
) -> None:
    given: list[PluginContext] = []
    world.media["scripted"] = medium(given.append)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    async def late() -> None:
        raise AssertionError("it must not run")

    with pytest.raises(RuntimeError, match="'late' comes after its entry was unloaded"):
        given[0].tasks.start("late", late())


# --- what a medium does at its end --------------------------------------------------------------


async def test_a_stop_that_does_not_end_is_ended_and_the_entry_is_unloaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = EntryStage(stop_within_s=0.05)

    async def setup(*_given: object) -> MediumSetup:
        return RunningMedium(on_stop=asyncio.Event().wait)  # type: ignore[arg-type]  # its result is nobody's

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert "stop entry one: not done within 0.05 s" in caplog.text
    assert world.states("one")[-1] is S.NOT_LOADED


@dataclass
class KeepsRoutes(EntryStage):
    """A platform that cannot take an entry's routes away."""

    def parts(self, entry: Entry, secrets: Mapping[str, str], tasks: EntryTasks) -> EntryParts:
        def fails() -> None:
            raise LookupError("no such route")

        return replace(super().parts(entry, secrets, tasks), let_go=fails)


async def test_routes_that_cannot_be_taken_away_do_not_keep_the_rest_from_ending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = KeepsRoutes()
    stopped = asyncio.Event()

    async def stop() -> None:
        stopped.set()

    async def setup(*_given: object) -> MediumSetup:
        return RunningMedium(on_stop=stop)

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert stopped.is_set()
    assert world.states("one")[-1] is S.NOT_LOADED
    assert "its routes are not taken away" in caplog.text


# --- faults of the platform itself --------------------------------------------------------------


@dataclass
class LogsNothing(EntryStage):
    """A platform whose database is away."""

    async def note(self, entry: Entry, status: EntryStatus) -> None:
        raise Unavailable("database_unavailable", "the disk is full")


async def test_an_entry_runs_also_while_its_states_cannot_be_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = LogsNothing()
    world.media["scripted"] = medium()
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert "the state of entry one is not logged: the disk is full" in caplog.text


@dataclass
class CannotPause(EntryStage):
    """A platform whose first pause fails."""

    async def pause(self, changed: asyncio.Event, within_s: float) -> None:
        self.pauses_s.append(within_s)
        if len(self.pauses_s) == 1:
            raise ZeroDivisionError("a fault of ours")


async def test_a_fault_in_keeping_an_entry_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = CannotPause()
    tries: list[PluginContext] = []

    def second_time(context: PluginContext) -> None:
        tries.append(context)
        if len(tries) == 1:
            raise Unavailable("gone", "gone")

    world.media["scripted"] = medium(second_time)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert len(tries) == 2
    assert world.pauses_s[1:] == [5.0]
    assert "keeping entry one failed" in caplog.text


# --- what is said of it -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("no such device"), "operating_system: no such device"),
        (Unavailable("gone", "x " * 600), f"gone: {'x ' * 246}x…"),
        (ValueError("in two\n  lines"), "unexpected: ValueError: in two lines"),
    ],
)
async def test_a_reason_is_one_line_of_bounded_length(
    world: EntryStage, error: Exception, reason: str
) -> None:
    world.secrets["unused"] = ""  # hides nothing
    world.media["scripted"] = broken(error)
    world.supervisor.apply([sample_entry()])

    status = await world.reaches("one", S.RETRYING)

    assert len(status.reason) <= 500
    assert status.reason == reason


async def test_who_waits_for_an_entry_is_told_how_it_does_when_that_takes_too_long(
    world: EntryStage,
) -> None:
    world.media["scripted"] = ScriptedMedium(hangs)
    world.supervisor.apply([sample_entry()])

    busy = await world.supervisor.settled(ONE, 1, 0.05)
    of_a_later_change = await world.supervisor.settled(ONE, 2, 0.05)
    unknown = await world.supervisor.settled(ONE + 1, 1, 0.05)

    assert busy is not None
    assert of_a_later_change is not None
    assert (busy.state, of_a_later_change.state, unknown) == (S.SETTING_UP, S.SETTING_UP, None)


async def test_an_entry_is_gone_once_it_is_unloaded(world: EntryStage) -> None:
    world.media["scripted"] = medium()
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)

    kept = await world.supervisor.gone(ONE, 0.05)
    world.supervisor.apply([])
    gone = await world.supervisor.gone(ONE, PATIENCE_S)

    assert (kept, gone) == (False, True)
    assert await world.supervisor.gone(ONE, PATIENCE_S)
    assert world.states("one")[-1] is S.NOT_LOADED


async def test_broken_entries_are_told_from_those_that_run(world: EntryStage) -> None:
    world.media |= {
        "good": medium(),
        "bad": broken(ConfigError("bad_option", "no")),
        "away": broken(Unavailable("gone", "gone")),
    }
    world.supervisor.apply(
        [sample_entry("c", "away"), sample_entry("b", "bad"), sample_entry("a", "good")]
    )
    for key, state in (("a", S.LOADED), ("b", S.FAILED), ("c", S.RETRYING)):
        await world.reaches(key, state)

    assert [entry.key for entry, _ in world.supervisor.broken] == ["b", "c"]
    assert world.supervisor.counts() == {S.LOADED: 1, S.FAILED: 1, S.RETRYING: 1}


async def test_nothing_is_kept_after_the_end(world: EntryStage) -> None:
    await world.supervisor.stop()
    world.supervisor.apply([sample_entry()])

    assert world.supervisor.all == []
    assert world.supervisor.status(ONE) is None


async def test_entries_that_cannot_be_read_are_said_once(
    world: EntryStage, caplog: pytest.LogCaptureFixture
) -> None:
    reads: list[int] = []

    async def read() -> list[Entry]:
        reads.append(1)
        world.supervisor.wake()
        raise Unavailable("database_unavailable", "no disk")

    with caplog.at_level(logging.ERROR):
        following = asyncio.create_task(world.supervisor.follow(read))
        await until(lambda: len(reads) >= 3)
        following.cancel()
        await asyncio.wait({following})

    assert caplog.text.count("the entries cannot be read: no disk") == 1

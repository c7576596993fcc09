"""Entries under supervision: whatever a medium does, it ends as a state, and nothing is left."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from slotmeter.devices.entries import Entry, EntrySource, EntryState, EntryStatus
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import Medium, MediumSetup, PluginContext
from slotmeter.services.belongings import outside
from slotmeter.services.entry_keeper import EntryParts, EntryTasks, EntryWorld
from slotmeter.services.supervisor import Supervisor, pause_until
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.fakes import FakePluginContext

S = EntryState
PATIENCE_S = 20
CLEAR = "open sesame"

Setup = Callable[[PluginContext, Mapping[str, object]], Awaitable[MediumSetup]]


@dataclass
class Running:
    """What a medium of a test returns."""

    addresses: tuple[str, ...] = ("test://here",)
    on_stop: Callable[[], Awaitable[None]] | None = None

    async def stop(self) -> None:
        if self.on_stop is not None:
            await self.on_stop()


class ScriptedMedium:
    """A medium that does what a test says."""

    key = "scripted"

    def __init__(self, setup: Setup) -> None:
        self.setup = setup


@dataclass
class World:
    """A supervisor with media of a test, and all that it noted."""

    media: dict[str, Medium] = field(default_factory=dict)
    notes: list[tuple[str, EntryState, str]] = field(default_factory=list)
    failed_tasks: list[str] = field(default_factory=list)
    let_go: list[str] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    pauses_end: bool = False
    setup_within_s: float = 10.0
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        draws = random.Random(5)
        self.supervisor = Supervisor(
            EntryWorld(
                load=self.load,
                parts=self.parts,
                open_secrets=self.open_secrets,
                note=self.note,
                clock=FakeClock(),
                task_failed=self.failed_tasks.append,
                draw=lambda: draws.randint(0, 1_000),
                pause=self.pause,
                setup_within_s=self.setup_within_s,
            )
        )

    async def load(self, key: str) -> Medium:
        if key not in self.media:
            raise ConfigError("unknown_medium", f"no medium {key}")
        return self.media[key]

    def parts(self, entry: Entry, secrets: Mapping[str, str], tasks: EntryTasks) -> EntryParts:
        context = replace(FakePluginContext().context, tasks=tasks)
        return EntryParts(context, lambda: self.let_go.append(entry.key))

    async def open_secrets(self, _entry: Entry) -> Mapping[str, str]:
        return self.secrets

    async def note(self, entry: Entry, status: EntryStatus) -> None:
        self.notes.append((entry.key, status.state, status.reason))

    async def pause(self, changed: asyncio.Event, within_s: float) -> None:
        self.pauses_s.append(within_s)
        if not self.pauses_end:
            await changed.wait()

    async def reaches(self, key: str, state: EntryState) -> EntryStatus:
        """Wait until an entry is in a state."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for entry, status in self.supervisor.all:
                    if (entry.key, status.state) == (key, state):
                        return status
                await asyncio.sleep(0.01)

    def states(self, key: str) -> list[EntryState]:
        return [state for each, state, _ in self.notes if each == key]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.supervisor.stop()


def entry(key: str = "one", medium: str = "scripted", **changes: Any) -> Entry:
    whole = Entry(
        id=sum(key.encode()),
        key=key,
        medium=medium,
        title="",
        options={},
        enabled=True,
        source=EntrySource.API,
        changed_us=1,
    )
    return replace(whole, **changes)


async def runs(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
    return Running()


def raises(error: BaseException) -> Setup:
    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        raise error

    return setup


async def hangs(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
    await asyncio.Event().wait()
    return Running()


async def until(ready: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(PATIENCE_S * 100):
        if ready():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def open_sockets() -> int:
    """How many sockets this process has."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return found


async def test_an_entry_is_loaded_and_its_way_is_noted(world: World) -> None:
    world.media["scripted"] = ScriptedMedium(runs)
    world.supervisor.apply([entry()])
    status = await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert status.addresses == ("test://here",)
    assert world.states("one") == [S.SETTING_UP, S.LOADED, S.UNLOADING, S.NOT_LOADED]
    assert world.notes[-1][2] == "the server stops"
    assert world.let_go == ["one"]


async def test_what_cannot_work_fails_with_its_code_and_is_not_tried_again(world: World) -> None:
    world.media["scripted"] = ScriptedMedium(
        raises(ConfigError("port_in_use", "port 5683 is taken", field="port"))
    )
    world.supervisor.apply([entry()])
    status = await world.reaches("one", S.FAILED)

    assert status.reason == "port_in_use: port: port 5683 is taken"
    assert world.pauses_s == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("broker_gone", "no answer"), "broker_gone: no answer"),
        (OSError(113, "No route to host"), "operating_system: No route to host"),
        (KeyError("x"), "unexpected: KeyError: 'x'"),
        (asyncio.CancelledError(), "setup_cancelled: the medium cancelled its own set-up"),
    ],
)
async def test_anything_else_is_tried_again_after_growing_pauses(
    world: World, error: BaseException, reason: str
) -> None:
    left = [error] * 3

    async def setup(context: PluginContext, options: Mapping[str, object]) -> MediumSetup:
        if left:
            raise left.pop()
        return await runs(context, options)

    world.pauses_end = True
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.LOADED)

    assert (("one", S.RETRYING, reason)) in world.notes
    # The same trouble again is no news.
    assert world.states("one") == [S.SETTING_UP, S.RETRYING, S.LOADED]
    first, second, third = world.pauses_s
    assert 4 <= first <= 5 < 8 <= second <= 10 < 16 <= third <= 20


async def test_a_set_up_without_an_end_is_stopped_and_tried_again() -> None:
    world = World(setup_within_s=0.05)
    world.media["scripted"] = ScriptedMedium(hangs)
    world.supervisor.apply([entry()])
    status = await world.reaches("one", S.RETRYING)
    await world.supervisor.stop()

    assert status.reason.startswith("setup_timed_out:")


async def test_a_change_is_taken_at_once_also_in_the_middle_of_a_set_up(world: World) -> None:
    world.media["scripted"] = ScriptedMedium(hangs)
    world.media["other"] = ScriptedMedium(runs)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.SETTING_UP)
    world.supervisor.apply([entry(medium="other", changed_us=2)])

    status = await world.supervisor.settled(entry().id, 2, PATIENCE_S)

    assert status is not None
    assert status.state is S.LOADED


async def test_an_entry_that_retries_is_tried_at_once_when_it_is_changed(world: World) -> None:
    world.media["scripted"] = ScriptedMedium(raises(Unavailable("gone", "gone")))
    world.supervisor.apply([entry()])
    await world.reaches("one", S.RETRYING)
    world.media["scripted"] = ScriptedMedium(runs)
    world.supervisor.apply([entry(changed_us=2)])

    assert (await world.reaches("one", S.LOADED)).failures == 0


async def test_an_entry_that_is_switched_off_is_unloaded(world: World) -> None:
    world.media["scripted"] = ScriptedMedium(runs)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.LOADED)
    world.supervisor.apply([entry(enabled=False, changed_us=2)])

    status = await world.supervisor.settled(entry().id, 2, PATIENCE_S)

    assert status is not None
    assert (status.state, status.reason) == (S.NOT_LOADED, "switched off")


async def test_a_vital_task_that_fails_breaks_its_entry_until_it_is_set_up_anew(
    world: World,
) -> None:
    lose = asyncio.Event()

    async def lives() -> None:
        await lose.wait()
        lose.clear()
        raise Unavailable("broker_gone", "the broker went away")

    async def setup(context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        tasks: Any = context.tasks
        tasks.vital("connection", lives())
        return Running()

    world.pauses_end = True
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.LOADED)
    lose.set()
    await until(lambda: world.states("one").count(S.LOADED) == 2)

    assert ("one", S.RETRYING, "broker_gone: the broker went away") in world.notes
    assert world.failed_tasks == ["connection"]


async def test_a_failing_entry_leaves_the_others_as_they_are(world: World) -> None:
    world.pauses_end = True
    world.media |= {
        "good": ScriptedMedium(runs),
        "bad": ScriptedMedium(raises(RuntimeError("boom"))),
        "slow": ScriptedMedium(hangs),
    }
    world.supervisor.apply([entry("a", "good"), entry("b", "bad"), entry("c", "slow")])
    await world.reaches("a", S.LOADED)
    await until(lambda: len(world.pauses_s) >= 20)

    assert world.states("a") == [S.SETTING_UP, S.LOADED]


async def test_secrets_are_in_no_reason_and_in_no_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.secrets["password"] = CLEAR
    world.media["scripted"] = ScriptedMedium(raises(RuntimeError(f"bad password {CLEAR!r}")))
    world.supervisor.apply([entry()])
    with caplog.at_level(logging.DEBUG):
        status = await world.reaches("one", S.RETRYING)

    assert status.reason == "unexpected: RuntimeError: bad password '***'"
    assert CLEAR not in caplog.text
    assert "RuntimeError" in caplog.text


# --- what is left -------------------------------------------------------------------------------


async def listen_and_forget() -> None:
    """Do what a careless medium does: listen, and spawn a task that nobody ends."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    asyncio.create_task(asyncio.Event().wait(), name="forgotten")  # noqa: RUF006  on purpose
    listen_and_forget.kept = (server, transport)  # type: ignore[attr-defined]  # so that it leaks


@pytest.mark.parametrize("in_setup", [True, False], ids=["failed set-up", "unloaded"])
async def test_what_a_medium_forgets_is_ended_and_named(world: World, in_setup: bool) -> None:
    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        await listen_and_forget()
        if in_setup:
            raise ConfigError("bad_option", "no")
        return Running()

    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.FAILED if in_setup else S.LOADED)
    await world.supervisor.stop()

    reasons = " ".join(reason for _, _, reason in world.notes)
    assert "1 task (forgotten: Event.wait) and 2 sockets (tcp 127.0.0.1:" in reasons
    assert (len(asyncio.all_tasks()), open_sockets()) == (tasks, sockets)


async def test_a_medium_that_cleans_up_leaves_nothing_to_name(world: World) -> None:
    async def setup(context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        context.tasks.start("ticks", asyncio.sleep(3_600))

        async def stop() -> None:
            server.close()
            await server.wait_closed()

        return Running(on_stop=stop)

    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.LOADED)
    world.supervisor.apply([])
    assert await world.supervisor.gone(entry().id, PATIENCE_S)

    assert world.notes[-1] == ("one", S.NOT_LOADED, "removed")
    assert (len(asyncio.all_tasks()), open_sockets()) == (tasks, sockets)


async def test_work_of_the_platform_that_a_medium_asks_for_is_not_ended_with_it(
    world: World,
) -> None:
    kept: list[Any] = []

    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        with outside():
            kept.append(asyncio.create_task(asyncio.Event().wait()))
            kept.append(socket.socket())
        return Running()

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()
    ours, sock = kept
    try:
        assert not ours.done()
        assert sock.fileno() >= 0
        assert world.notes[-1][2] == "the server stops"
    finally:
        ours.cancel()
        sock.close()


async def test_a_stop_that_raises_is_survived(world: World) -> None:
    async def fails() -> None:
        raise RuntimeError("cannot stop")

    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        return Running(on_stop=fails)

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert world.states("one")[-1] is S.NOT_LOADED


async def test_an_entry_of_the_same_key_waits_until_the_old_one_is_gone(world: World) -> None:
    running: list[str] = []

    async def setup(_context: PluginContext, options: Mapping[str, object]) -> MediumSetup:
        assert not running, "both at once"
        running.append("one")

        async def stop() -> None:
            await asyncio.sleep(0.05)
            running.clear()

        return Running(on_stop=stop)

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([entry()])
    await world.reaches("one", S.LOADED)
    world.supervisor.apply([entry(id=7, changed_us=2)])

    status = await world.supervisor.settled(7, 2, PATIENCE_S)

    assert status is not None
    assert status.state is S.LOADED


async def test_what_is_wanted_is_read_again_and_again_also_after_a_fault(world: World) -> None:
    world.media["scripted"] = ScriptedMedium(runs)
    answers: list[list[Entry] | Unavailable] = [[], Unavailable("database_unavailable", "no")]

    async def read() -> list[Entry]:
        if not answers:
            return [entry()]
        answer = answers.pop(0)
        world.supervisor.wake()
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    following = asyncio.create_task(world.supervisor.follow(read))
    await world.reaches("one", S.LOADED)
    following.cancel()
    await asyncio.wait({following})


async def test_a_pause_ends_by_its_time_or_by_a_wake() -> None:
    wake = asyncio.Event()
    await pause_until(wake, 0.01)
    wake.set()

    await pause_until(wake, 3_600)

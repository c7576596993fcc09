"""Unloading an entry: no task and no socket of its medium is left, and no other is touched."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from slotmeter.devices.entries import EntryState
from slotmeter.errors import ConfigError
from slotmeter.ports import (
    MediumRoute,
    MediumSetup,
    OpenToAll,
    PluginContext,
    RouteAnswer,
    RouteRequest,
)
from slotmeter.services.belongings import Belongings, mark_belongings, outside, run_outside
from slotmeter.services.plugin_routes import EntryRoutes
from slotmeter.testing.entry_world import (
    PATIENCE_S,
    EntryStage,
    RunningMedium,
    ScriptedMedium,
    open_sockets,
    sample_entry,
)

S = EntryState


@pytest.fixture
async def world() -> AsyncIterator[EntryStage]:
    made = EntryStage()
    yield made
    await made.supervisor.stop()


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
async def test_what_a_medium_forgets_is_ended_and_named(world: EntryStage, in_setup: bool) -> None:
    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        await listen_and_forget()
        if in_setup:
            raise ConfigError("bad_option", "no")
        return RunningMedium()

    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.FAILED if in_setup else S.LOADED)
    await world.supervisor.stop()

    reasons = " ".join(reason for _, _, reason in world.notes)
    assert "1 task (forgotten: Event.wait) and 2 sockets (tcp 127.0.0.1:" in reasons
    assert (len(asyncio.all_tasks()), open_sockets()) == (tasks, sockets)


async def test_a_medium_that_cleans_up_leaves_nothing_to_name(world: EntryStage) -> None:
    async def setup(context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        context.tasks.start("ticks", asyncio.sleep(3_600))

        async def stop() -> None:
            server.close()
            await server.wait_closed()

        return RunningMedium(on_stop=stop)

    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    world.supervisor.apply([])
    assert await world.supervisor.gone(sample_entry().id, PATIENCE_S)

    assert world.notes[-1] == ("one", S.NOT_LOADED, "removed")
    assert (len(asyncio.all_tasks()), open_sockets()) == (tasks, sockets)


async def test_work_of_the_platform_that_a_medium_asks_for_is_not_ended_with_it(
    world: EntryStage,
) -> None:
    kept: list[Any] = []

    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        with outside():
            kept.append(asyncio.create_task(asyncio.Event().wait()))
            kept.append(socket.socket())
        return RunningMedium()

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
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


class Log:
    """A part of the platform that starts a task of its own when it is first used."""

    task: asyncio.Task[Any] | None = None

    async def hand_in(self) -> int:
        self.task = asyncio.create_task(asyncio.Event().wait(), name="write the log")
        return 7

    def plain(self) -> str:
        return "as it is"


async def test_what_a_route_of_a_medium_begins_is_ended_with_it() -> None:
    mark_belongings(asyncio.get_running_loop())
    own, routes = Belongings(), EntryRoutes("one")

    async def answer(_request: RouteRequest) -> RouteAnswer:
        asyncio.create_task(asyncio.Event().wait(), name="forgotten")  # noqa: RUF006  on purpose
        return RouteAnswer(204)

    async def setup() -> None:
        routes.add(MediumRoute("GET", "it", answer, OpenToAll("it tells nothing at all")))

    await own.start("set up", setup())
    route, _ = routes.match("it").routes["GET"]
    request = RouteRequest("", "", {}, {}, "", b"")
    handler: Any = route.handler
    answered = await asyncio.create_task(handler(request))
    left = await own.clear(grace_s=0.05)

    assert answered.status == 204
    assert [each.partition(":")[0] for each in left.tasks] == ["forgotten"]
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "forgotten"]


async def test_a_part_of_the_platform_keeps_what_it_begins_for_a_medium(world: EntryStage) -> None:
    log = Log()

    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        part = run_outside(log)
        assert (await part.hand_in(), part.plain()) == (7, "as it is")
        return RunningMedium()

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert log.task is not None
    assert not log.task.done()
    log.task.cancel()


async def test_what_does_not_end_is_not_set_up_beside_its_own_remains() -> None:
    world = EntryStage(stop_within_s=0.05)
    release = asyncio.Event()
    setups: list[asyncio.Task[None]] = []

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        if not setups:
            setups.append(asyncio.create_task(stubborn(), name="stubborn"))
        return RunningMedium()

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    world.supervisor.apply([sample_entry(changed_us=2)])
    failed = await world.reaches("one", S.FAILED)
    world.supervisor.apply([sample_entry(changed_us=3)])
    again = await world.supervisor.settled(sample_entry().id, 3, PATIENCE_S)
    release.set()
    world.supervisor.apply([sample_entry(changed_us=4)])
    loaded = await world.supervisor.settled(sample_entry().id, 4, PATIENCE_S)
    await world.supervisor.stop()

    assert failed.reason.startswith("unload_incomplete: the medium left 1 task (stubborn: ")
    assert again is not None
    assert again.state is S.FAILED
    assert loaded is not None
    assert loaded.state is S.LOADED


async def test_a_stop_that_raises_is_survived(world: EntryStage) -> None:
    async def fails() -> None:
        raise RuntimeError("cannot stop")

    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        return RunningMedium(on_stop=fails)

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert world.states("one")[-1] is S.NOT_LOADED


async def test_a_bare_socket_that_is_left_is_closed_also_while_the_loop_watches_it(
    world: EntryStage,
) -> None:
    pairs: list[tuple[socket.socket, socket.socket]] = []

    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        pairs.append(socket.socketpair())
        asyncio.get_running_loop().add_reader(pairs[0][0], lambda: None)
        return RunningMedium()

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert [each.fileno() for each in pairs[0]] == [-1, -1]
    assert "the medium left 2 sockets (" in world.notes[-1][2]


async def test_tasks_are_known_also_where_the_loop_makes_them_in_a_way_of_its_own() -> None:
    made: list[str] = []
    loop = asyncio.get_running_loop()

    def make(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        made.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **more)

    factory: Any = make
    loop.set_task_factory(factory)
    mark_belongings(loop)
    own = Belongings()
    task = own.start("waits", asyncio.Event().wait())
    left = await own.clear(grace_s=0)

    assert made == ["Event.wait"]
    assert task.cancelled()
    assert left.tasks == ("waits: Event.wait",)

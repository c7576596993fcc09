"""Entries under supervision: whatever a medium does, it ends as a state with a reason."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

from slotmeter.devices.entries import Entry, EntryState
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import MediumSetup, PluginContext
from slotmeter.services.supervisor import pause_until
from slotmeter.testing.entry_world import (
    PATIENCE_S,
    EntryStage,
    RunningMedium,
    ScriptedMedium,
    sample_entry,
    until,
)

S = EntryState
CLEAR = "open sesame"

Setup = Callable[[PluginContext, Mapping[str, object]], Awaitable[MediumSetup]]


@pytest.fixture
async def world() -> AsyncIterator[EntryStage]:
    made = EntryStage()
    yield made
    await made.supervisor.stop()


async def runs(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
    return RunningMedium()


def raises(error: BaseException) -> Setup:
    async def setup(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        raise error

    return setup


async def hangs(_context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
    await asyncio.Event().wait()
    return RunningMedium()


async def test_an_entry_is_loaded_and_its_way_is_noted(world: EntryStage) -> None:
    world.media["scripted"] = ScriptedMedium(runs)
    world.supervisor.apply([sample_entry()])
    status = await world.reaches("one", S.LOADED)
    await world.supervisor.stop()

    assert status.addresses == ("test://here",)
    assert world.states("one") == [S.SETTING_UP, S.LOADED, S.UNLOADING, S.NOT_LOADED]
    assert world.notes[-1][2] == "the server stops"
    assert world.let_go == ["one"]


async def test_what_cannot_work_fails_with_its_code_and_is_not_tried_again(
    world: EntryStage,
) -> None:
    world.media["scripted"] = ScriptedMedium(
        raises(ConfigError("port_in_use", "port 5683 is taken", field="port"))
    )
    world.supervisor.apply([sample_entry()])
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
    world: EntryStage, error: BaseException, reason: str
) -> None:
    left = [error] * 3

    async def setup(context: PluginContext, options: Mapping[str, object]) -> MediumSetup:
        if left:
            raise left.pop()
        return await runs(context, options)

    world.pauses_end = True
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)

    assert (("one", S.RETRYING, reason)) in world.notes
    # The same trouble again is no news.
    assert world.states("one") == [S.SETTING_UP, S.RETRYING, S.LOADED]
    first, second, third = world.pauses_s
    assert 4 <= first <= 5 < 8 <= second <= 10 < 16 <= third <= 20


async def test_a_set_up_without_an_end_is_stopped_and_tried_again() -> None:
    world = EntryStage(setup_within_s=0.05)
    world.media["scripted"] = ScriptedMedium(hangs)
    world.supervisor.apply([sample_entry()])
    status = await world.reaches("one", S.RETRYING)
    await world.supervisor.stop()

    assert status.reason.startswith("setup_timed_out:")


async def test_a_change_is_taken_at_once_also_in_the_middle_of_a_set_up(world: EntryStage) -> None:
    world.media["scripted"] = ScriptedMedium(hangs)
    world.media["other"] = ScriptedMedium(runs)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.SETTING_UP)
    world.supervisor.apply([sample_entry(medium="other", changed_us=2)])

    status = await world.supervisor.settled(sample_entry().id, 2, PATIENCE_S)

    assert status is not None
    assert status.state is S.LOADED


async def test_an_entry_that_retries_is_tried_at_once_when_it_is_changed(world: EntryStage) -> None:
    world.media["scripted"] = ScriptedMedium(raises(Unavailable("gone", "gone")))
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.RETRYING)
    world.media["scripted"] = ScriptedMedium(runs)
    world.supervisor.apply([sample_entry(changed_us=2)])

    assert (await world.reaches("one", S.LOADED)).failures == 0


async def test_an_entry_that_is_switched_off_is_unloaded(world: EntryStage) -> None:
    world.media["scripted"] = ScriptedMedium(runs)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    world.supervisor.apply([sample_entry(enabled=False, changed_us=2)])

    status = await world.supervisor.settled(sample_entry().id, 2, PATIENCE_S)

    assert status is not None
    assert (status.state, status.reason) == (S.NOT_LOADED, "switched off")


async def test_a_vital_task_that_fails_breaks_its_entry_until_it_is_set_up_anew(
    world: EntryStage,
) -> None:
    lose = asyncio.Event()

    async def lives() -> None:
        await lose.wait()
        lose.clear()
        raise Unavailable("broker_gone", "the broker went away")

    async def setup(context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        tasks: Any = context.tasks
        tasks.vital("connection", lives())
        return RunningMedium()

    world.pauses_end = True
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    lose.set()
    await until(lambda: world.states("one").count(S.LOADED) == 2)

    assert ("one", S.RETRYING, "broker_gone: the broker went away") in world.notes
    assert world.failed_tasks == ["connection"]


async def test_a_failing_entry_leaves_the_others_as_they_are(world: EntryStage) -> None:
    world.pauses_end = True
    world.media |= {
        "good": ScriptedMedium(runs),
        "bad": ScriptedMedium(raises(RuntimeError("boom"))),
        "slow": ScriptedMedium(hangs),
    }
    world.supervisor.apply(
        [sample_entry("a", "good"), sample_entry("b", "bad"), sample_entry("c", "slow")]
    )
    await world.reaches("a", S.LOADED)
    await until(lambda: len(world.pauses_s) >= 20)

    assert world.states("a") == [S.SETTING_UP, S.LOADED]


async def test_secrets_are_in_no_reason_and_in_no_log(
    world: EntryStage, caplog: pytest.LogCaptureFixture
) -> None:
    world.secrets["password"] = CLEAR
    world.media["scripted"] = ScriptedMedium(raises(RuntimeError(f"bad password {CLEAR!r}")))
    world.supervisor.apply([sample_entry()])
    with caplog.at_level(logging.DEBUG):
        status = await world.reaches("one", S.RETRYING)

    assert status.reason == "unexpected: RuntimeError: bad password '***'"
    assert CLEAR not in caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (CLEAR, f"{'x ' * 240}{CLEAR}"),  # cut short in the middle
        ("line one of it\nline two of it", "key line one of it\nline two of it is no key"),
        ("line one of it\nline two of it", "line two of it"),
        ("it's 100% \\ secret", repr("it's 100% \\ secret")),
        ("it's 100% secret", f"https://town:{quote('it' + chr(39) + 's 100% secret')}@broker"),
    ],
)
@pytest.mark.parametrize("in_task", [True, False], ids=["task", "set-up"])
async def test_no_form_of_a_secret_is_told(
    world: EntryStage, caplog: pytest.LogCaptureFixture, secret: str, said: str, in_task: bool
) -> None:
    async def fails() -> None:
        raise Unavailable("broker_gone", said)

    async def setup(context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        if in_task:
            context.tasks.start("poll", fails())
            return RunningMedium()
        raise Unavailable("broker_gone", said)

    world.secrets["password"] = secret
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    with caplog.at_level(logging.DEBUG):
        status = await world.reaches("one", S.LOADED if in_task else S.RETRYING)
        await until(lambda: "broker_gone" in caplog.text)

    told = f"{status.reason} {caplog.text}"
    assert "***" in told
    assert not [part for part in (secret[:6], secret[-6:], quote(secret)[:6]) if part in told]


async def test_an_entry_that_breaks_as_soon_as_it_runs_is_tried_after_growing_pauses(
    world: EntryStage,
) -> None:
    async def ends() -> None:
        raise Unavailable("broker_gone", "another client has this name")

    async def setup(context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        context.tasks.vital("connection", ends())
        return RunningMedium()

    world.pauses_end = True
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await until(lambda: len(world.pauses_s) >= 8)

    assert all(later > before for before, later in pairwise(world.pauses_s[:7]))
    assert world.pauses_s[7] >= 480


async def test_an_entry_that_ran_for_a_while_begins_with_the_first_pause(
    world: EntryStage,
) -> None:
    lose = asyncio.Event()

    async def lives() -> None:
        await lose.wait()
        lose.clear()
        raise Unavailable("broker_gone", "the broker went away")

    async def setup(context: PluginContext, _options: Mapping[str, object]) -> MediumSetup:
        context.tasks.vital("connection", lives())
        return RunningMedium()

    world.pauses_end = True
    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    for times in range(3):
        await until(partial(lambda many: world.states("one").count(S.LOADED) == many, times + 1))
        world.clock.advance(seconds=60)
        lose.set()
    await until(lambda: len(world.pauses_s) == 3)

    assert all(pause_s <= 5 for pause_s in world.pauses_s)


async def test_an_entry_of_the_same_key_waits_until_the_old_one_is_gone(world: EntryStage) -> None:
    running: list[str] = []

    async def setup(_context: PluginContext, options: Mapping[str, object]) -> MediumSetup:
        assert not running, "both at once"
        running.append("one")

        async def stop() -> None:
            await asyncio.sleep(0.05)
            running.clear()

        return RunningMedium(on_stop=stop)

    world.media["scripted"] = ScriptedMedium(setup)
    world.supervisor.apply([sample_entry()])
    await world.reaches("one", S.LOADED)
    world.supervisor.apply([sample_entry(id=7, changed_us=2)])

    status = await world.supervisor.settled(7, 2, PATIENCE_S)

    assert status is not None
    assert status.state is S.LOADED


async def test_what_is_wanted_is_read_again_and_again_also_after_a_fault(world: EntryStage) -> None:
    world.media["scripted"] = ScriptedMedium(runs)
    answers: list[list[Entry] | Unavailable] = [[], Unavailable("database_unavailable", "no")]

    async def read() -> list[Entry]:
        if not answers:
            return [sample_entry()]
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

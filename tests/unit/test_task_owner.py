"""Background tasks: ended with their owner, started again with growing pauses, counted."""

from __future__ import annotations

import asyncio
import logging

import pytest
from prometheus_client import CollectorRegistry

from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.tasks import PAUSE_S_FIRST, PAUSE_S_MAX, TaskOwner

FAILED = "slotmeter_task_failures_total"


class Pauses:
    """Sleeps that take no time and are remembered; the last one lasts for ever."""

    def __init__(self, count: int) -> None:
        self.seconds: list[float] = []
        self.count = count
        self.reached = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) >= self.count:
            self.reached.set()
            await asyncio.Event().wait()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def failures(registry: CollectorRegistry, task: str) -> float:
    return registry.get_sample_value(FAILED, {"task": task}) or 0.0


async def test_work_that_fails_is_started_again_after_pauses_that_double(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses(9)
    owner = TaskOwner(DeviceMetrics(registry), sleep=pauses)

    async def fail() -> None:
        raise ValueError("no")

    with caplog.at_level(logging.ERROR):
        owner.keep("failing", fail)
        async with asyncio.timeout(5):
            await pauses.reached.wait()
        await owner.stop()

    assert pauses.seconds[:4] == [PAUSE_S_FIRST * factor for factor in (1, 2, 4, 8)]
    assert max(pauses.seconds) == PAUSE_S_MAX
    assert failures(registry, "failing") == 9
    assert "task failing failed" in caplog.text


async def test_work_that_ends_is_started_again_without_counting_a_failure(
    registry: CollectorRegistry,
) -> None:
    pauses = Pauses(3)
    owner = TaskOwner(DeviceMetrics(registry), sleep=pauses)
    runs: list[None] = []

    async def end() -> None:
        runs.append(None)

    owner.keep("ending", end)
    async with asyncio.timeout(5):
        await pauses.reached.wait()
    await owner.stop()

    assert len(runs) == 3
    assert failures(registry, "ending") == 0


async def test_work_given_once_runs_once_and_its_failure_is_counted(
    registry: CollectorRegistry,
) -> None:
    owner = TaskOwner(DeviceMetrics(registry))
    done = asyncio.Event()

    async def fail() -> None:
        done.set()
        raise ValueError("no")

    owner.start("once", fail())
    async with asyncio.timeout(5):
        await done.wait()
    await owner.stop()

    assert failures(registry, "once") == 1


async def test_stopping_ends_what_runs_and_takes_nothing_new(registry: CollectorRegistry) -> None:
    owner = TaskOwner(DeviceMetrics(registry))
    started, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    owner.keep("waiting", wait)
    async with asyncio.timeout(5):
        await started.wait()
    await owner.stop()

    assert ended.is_set()
    with pytest.raises(RuntimeError, match="after its owner was stopped"):
        owner.start("late", wait())


async def test_stopping_an_owner_without_tasks_is_nothing(registry: CollectorRegistry) -> None:
    await TaskOwner(DeviceMetrics(registry)).stop()

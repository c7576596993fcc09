"""Background tasks with an owner: ended by it, logged when they fail, started again with pauses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from slotmeter.services.metrics import DeviceMetrics

__all__ = ["PAUSE_S_FIRST", "PAUSE_S_MAX", "STOP_WITHIN_S", "TaskOwner"]

PAUSE_S_FIRST: Final = 0.5
"""Pause before a failed task is started again; it doubles with every further one, until it ran well
for longer than ``PAUSE_S_MAX``."""

PAUSE_S_MAX: Final = 30.0

STOP_WITHIN_S: Final = 10.0
"""A task that does not end within this time after it was told to is reported."""

_log = logging.getLogger(__name__)


class TaskOwner:
    """Owns background tasks; implements ``ports.Tasks`` as well.

    Args:
        metrics: where failures are counted.
        sleep: waits for seconds; a test gives its own.
    """

    def __init__(
        self,
        metrics: DeviceMetrics,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start with no task."""
        self._metrics = metrics
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work once, until it ends or the owner stops; a failure is logged and counted."""
        if self._stopped:
            work.close()
        self._own(name, self._once(name, work))

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run work for as long as the owner lives: when it fails, again after a pause."""
        self._own(name, self._again_and_again(name, work))

    async def stop(self) -> None:
        """End all tasks and wait for them."""
        self._stopped = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
        for task in late:
            _log.error("task %s did not end within %s s", task.get_name(), STOP_WITHIN_S)

    def _own(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if self._stopped:
            work.close()
            raise RuntimeError(f"task {name!r} comes after its owner was stopped")
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _failed(self, name: str) -> None:
        self._metrics.task_failures.labels(name).inc()
        _log.exception("task %s failed", name)

    async def _once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001  the supervisor: nothing above it would see the error
            self._failed(name)

    async def _again_and_again(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        pause_s = PAUSE_S_FIRST
        while True:
            started_s = loop.time()
            try:
                await work()
            except Exception:  # noqa: BLE001  the supervisor: nothing above it would see the error
                self._failed(name)
            if loop.time() - started_s > PAUSE_S_MAX:
                pause_s = PAUSE_S_FIRST
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

"""The event loop in virtual time: it jumps, it repeats, and it does not wait for the real world."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

import pytest

from slotmeter.ports import Changes, Insert, Read, SqlValue
from slotmeter.testing.virtual_time import (
    LoopClock,
    NothingLeft,
    SimulatedDatabase,
    run_virtual,
)
from slotmeter.units import epoch_us


def test_a_month_passes_in_a_moment() -> None:
    async def month() -> float:
        await asyncio.sleep(30 * 86_400)
        return asyncio.get_running_loop().time()

    began_s = time.monotonic()

    assert run_virtual(month) == pytest.approx(30 * 86_400)
    assert time.monotonic() - began_s < 10


def test_timers_ring_in_the_order_of_their_times_whoever_set_them_first() -> None:
    async def rings() -> list[str]:
        heard: list[str] = []

        async def ring(name: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            heard.append(name)

        await asyncio.gather(ring("late", 3_600), ring("soon", 1), ring("between", 60.5))
        return heard

    assert run_virtual(rings) == ["soon", "between", "late"]


def test_waiting_for_what_no_timer_brings_is_an_error_and_not_a_hang() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingLeft):
        run_virtual(never)


def test_a_thread_is_refused() -> None:
    async def threaded() -> None:
        await asyncio.to_thread(time.time)

    with pytest.raises(RuntimeError, match="no threads"):
        run_virtual(threaded)


def test_the_clock_follows_the_loop() -> None:
    async def hours() -> int:
        clock = LoopClock()
        began_us = epoch_us(clock.now())
        await asyncio.sleep(7_200)
        return epoch_us(clock.now()) - began_us

    assert run_virtual(hours) == 7_200_000_000


def test_what_is_stopped_before_its_commit_wrote_nothing_and_after_it_everything(
    tmp_path: Path,
) -> None:
    async def stopped_after(pauses: int) -> int:
        database = SimulatedDatabase(tmp_path / f"{pauses}.db", Random(1), pause_s_max=1.0)
        row: dict[str, SqlValue] = {"name": "a", "position": 1, "at_us": 1}
        work = asyncio.create_task(
            database.run([], lambda _rows, _new_id: Changes(None, [Insert("cursor", row)]))
        )
        drawn = Random(1)
        await asyncio.sleep(sum(drawn.random() for _ in range(pauses)) + 0.01)
        work.cancel()
        await asyncio.wait([work])
        found = await database.read([Read("ingest_cursor", {"name": "a"}, "cursor")])
        database.close()
        return len(found["cursor"])

    assert run_virtual(lambda: stopped_after(0)) == 0
    assert run_virtual(lambda: stopped_after(1)) == 1

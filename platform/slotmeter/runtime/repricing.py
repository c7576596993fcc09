"""Every stored sale priced again, on several processes, with bounded memory."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from slotmeter.services.repricing import Repriced, Repricer, StoredSale
from slotmeter.storage.sale_stream import (
    SaleRange,
    count_sales,
    sale_ranges,
    stream_sales,
    tariff_bodies,
)
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["Verified", "verify_sales"]

PARTS_PER_PROCESS: Final = 32
"""Ranges for each process: small enough that none waits long for the last one."""

ALONE_SALES_MAX: Final = 5_000
"""So few are priced sooner than a process starts."""

REPORT_EVERY_S: Final = 0.2
CONNECTIONS_MAX: Final = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it.

    Args:
        repriced: counts and differences.
        processes: how many worked.
        memory_kib_max: the most memory that any of them held.
    """

    repriced: Repriced
    processes: int
    memory_kib_max: int


_done: Any = None


def _count_in(shared: Any) -> None:
    """Give a process the counter that all of them share."""
    globals()["_done"] = shared


def verify_sales(
    path: Path,
    utility_id: int,
    *,
    from_us: int,
    to_us: int,
    processes: int = 2,
    progress: Progress = lambda _done, _total: None,
) -> Verified:
    """Price every sale of a span of time again and compare.

    Args:
        path: the database.
        utility_id: whose sales.
        from_us: sold at or after, UTC epoch microseconds.
        to_us: sold before.
        processes: how many work side by side.
        progress: called with how many sales are done, and of how many, now and then.
    """
    total = count_sales(path, utility_id, from_us, to_us)
    alone = processes < 2 or total <= ALONE_SALES_MAX
    parts = 1 if alone else PARTS_PER_PROCESS * processes
    ranges = sale_ranges(path, utility_id, from_us, to_us, parts=parts)
    if alone:
        repriced = Repriced()
        for each in ranges:
            repriced.add(_of_range(path, each, lambda done: progress(done, total)))
        return Verified(repriced, 1, _memory_kib())
    return _on_processes(path, ranges, processes, lambda done: progress(done, total))


def _on_processes(
    path: Path, ranges: list[SaleRange], processes: int, report: Callable[[int], None]
) -> Verified:
    context = multiprocessing.get_context("spawn")  # a fork would take our threads' locks along
    shared = context.Value("q", 0)
    repriced, memory = Repriced(), 0
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_count_in, initargs=(shared,)
    ) as pool:
        waiting = {pool.submit(_in_process, path, each) for each in ranges}
        while waiting:
            ended, waiting = wait(waiting, REPORT_EVERY_S, return_when=FIRST_COMPLETED)
            for each in ended:
                part, kib = each.result()
                repriced.add(part)
                memory = max(memory, kib)
            report(shared.value)
    return Verified(repriced, processes, max(memory, _memory_kib()))


def _in_process(path: Path, wanted: SaleRange) -> tuple[Repriced, int]:
    before = 0

    def report(done: int) -> None:
        nonlocal before
        with _done.get_lock():
            _done.value += done - before
        before = done

    return _of_range(path, wanted, report), _memory_kib()


def _of_range(path: Path, wanted: SaleRange, report: Callable[[int], None]) -> Repriced:
    repricer = Repricer(_tariffs(path, wanted.utility_id))
    done = 0
    for rows in stream_sales(path, wanted):
        for row in rows:
            repricer.add(StoredSale(*row))
        done += len(rows)
        report(done)
    return repricer.result


@lru_cache(maxsize=CONNECTIONS_MAX)
def _tariffs(path: Path, utility_id: int) -> Callable[[int], Tariff]:
    """Return what finds a version's tariff; versions never change."""
    bodies = tariff_bodies(path, utility_id)
    known: dict[int, Tariff] = {}

    def tariff_of(version_id: int) -> Tariff:
        found = known.get(version_id)
        if found is None:
            found = known[version_id] = stored_tariff(bodies[version_id])
        return found

    return tariff_of


def _memory_kib() -> int:
    """Return the most memory that this process has held, KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

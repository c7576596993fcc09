"""Every stored sale priced again, on several processes, with bounded memory."""

from __future__ import annotations

import gc
import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from slotmeter.services.buyer import tariff_and_needs
from slotmeter.services.repricing import Repriced, Repricer, SoldUnder, StoredSale
from slotmeter.storage.sale_stream import Place, SaleRange, SaleReader

__all__ = ["Verified", "verify_sales"]

PARTS_PER_PROCESS: Final = 32
"""Ranges for each process: small enough that none waits long for the last one."""

ALONE_SALES_MAX: Final = 5_000
"""So few are priced sooner than a process starts."""

OWN_STATUS: Final = Path("/proc/self/status")
REPORT_EVERY_S: Final = 0.2
GARBAGE_THRESHOLDS: Final = (50_000, 20, 100)

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


def verify_sales(
    place: Place,
    utility_id: int,
    *,
    from_us: int,
    to_us: int,
    processes: int = 2,
    progress: Progress = lambda _done, _total: None,
) -> Verified:
    """Price every sale of a span of time again and compare.

    Args:
        place: the database.
        utility_id: whose sales.
        from_us: sold at or after, UTC epoch microseconds.
        to_us: sold before.
        processes: how many work side by side.
        progress: called with how many sales are done, and of how many, now and then.
    """
    with SaleReader(place) as reader:
        total = reader.count(utility_id, from_us, to_us)
        alone = processes < 2 or total <= ALONE_SALES_MAX
        parts = 1 if alone else PARTS_PER_PROCESS * processes
        ranges = reader.ranges(utility_id, from_us, to_us, parts=parts)
        if not alone:
            return _on_processes(place, ranges, processes, lambda done: progress(done, total))
        repriced = Repriced()
        tariffs = _Tariffs(reader, utility_id)
        for each in ranges:
            repriced.add(_of_range(reader, tariffs, each, lambda done: progress(done, total)))
        return Verified(repriced, 1, _memory_kib())


def _on_processes(
    place: Place, ranges: list[SaleRange], processes: int, report: Callable[[int], None]
) -> Verified:
    if not ranges:
        return Verified(Repriced(), 0, _memory_kib())
    context = multiprocessing.get_context("spawn")  # a fork would take our threads' locks along
    shared = context.Value("q", 0)
    repriced, memory = Repriced(), 0
    with ProcessPoolExecutor(
        processes,
        mp_context=context,
        initializer=_begin,
        initargs=(place, ranges[0].utility_id, shared),
    ) as pool:
        waiting = {pool.submit(_in_process, each) for each in ranges}
        while waiting:
            ended, waiting = wait(waiting, REPORT_EVERY_S, return_when=FIRST_COMPLETED)
            for each in ended:
                part, kib = each.result()
                repriced.add(part)
                memory = max(memory, kib)
            report(shared.value)
    return Verified(repriced, processes, max(memory, _memory_kib()))


class _Tariffs:
    """Finds the tariff of a version; versions never change."""

    def __init__(self, reader: SaleReader, utility_id: int) -> None:
        self._bodies = reader.tariff_bodies(utility_id)
        self._known: dict[int, SoldUnder] = {}

    def __call__(self, version_id: int) -> SoldUnder:
        found = self._known.get(version_id)
        if found is None:
            tariff, needs = tariff_and_needs(self._bodies[version_id])
            found = self._known[version_id] = SoldUnder(tariff, needs.window)
        return found


@dataclass(frozen=True, slots=True)
class _Worker:
    """What one process keeps from range to range."""

    reader: SaleReader
    tariffs: _Tariffs
    done: Any  # counts the sales that all processes have done


_WORKERS: list[_Worker] = []
"""The one of this process, once it has begun."""


def _begin(place: Place, utility_id: int, shared: Any) -> None:
    # Pricing makes many small values and no cycles: looking for these takes a tenth of the time.
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    reader = SaleReader(place)
    _WORKERS.append(_Worker(reader, _Tariffs(reader, utility_id), shared))


def _in_process(wanted: SaleRange) -> tuple[Repriced, int]:
    worker = _WORKERS[0]
    before = 0

    def report(done: int) -> None:
        nonlocal before
        with worker.done.get_lock():
            worker.done.value += done - before
        before = done

    return _of_range(worker.reader, worker.tariffs, wanted, report), _memory_kib()


def _of_range(
    reader: SaleReader, tariffs: _Tariffs, wanted: SaleRange, report: Callable[[int], None]
) -> Repriced:
    repricer = Repricer(tariffs, wanted.from_us)
    done = 0
    of_point: list[StoredSale] = []
    for rows in reader.sales(wanted):
        for row in rows:
            sale = StoredSale(*row)
            if of_point and of_point[0].supply_point_id != sale.supply_point_id:
                repricer.add_point(of_point)
                of_point = []
            of_point.append(sale)
        done += len(rows)
        report(done)
    if of_point:
        repricer.add_point(of_point)
    return repricer.result


def _memory_kib() -> int:
    """Return the most memory that this process has held, KiB.

    Linux hands the peak of the starting process down to what it starts, in the figure of
    ``getrusage``; the one of its own memory stands in ``/proc``.
    """
    with suppress(OSError):
        for line in OWN_STATUS.read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

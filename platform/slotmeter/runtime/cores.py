"""One core for a process whose threads share one interpreter lock.

The event loop and the writer of the database take turns at the lock. On two cores each turn crosses
from core to core: a sale then cost a fourth more processor time (``benchmarks/bench_sales.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["CORES", "keeping_to_one_core"]

CORES: Final = "SLOTMETER_CORES"
"""Where children of the server find the cores that it was given; ``child`` takes them back."""


@contextmanager
def keeping_to_one_core() -> Iterator[None]:
    """Run this thread, and threads that it starts, on one of its cores until the block ends.

    Servers of one machine spread by their process ids. Where the system cannot do it, or there is
    one core only, nothing happens.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) == 1:
        yield
        return
    given = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {given[os.getpid() % len(given)]})
    os.environ[CORES] = ",".join(map(str, given))
    try:
        yield
    finally:
        del os.environ[CORES]
        os.sched_setaffinity(0, given)

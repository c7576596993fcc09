"""What the audit costs a sale, and how fast it is verified.

    python benchmarks/bench_audit.py [--sales 30000] [--meters 300] [--postgresql] [--no-limits]
    python benchmarks/bench_audit.py --folder DIR [--no-limits]

The platform itself makes sales of a Kenyan household tariff, each account with two debts, on an
embedded database with ``synchronous=FULL``, without HTTP, 32 at a time. They are made in turns with
seals and without any: the difference in processor time is what sealing costs. Then the chain is
verified alone, and with every row, on two processes, as ``slotmeter audit verify`` does it; the
time to start these processes is in it. With ``--postgresql`` all this is on a server of our own.

With ``--folder`` only the database of that data folder is verified, such as one that ``slotmeter
generate`` made. Processor time is that of the processes that verify, without a server of
PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from slotmeter.config import Config
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import AuditVerdict, verify_audit
from slotmeter.services.debt_terms import PlanWish
from slotmeter.services.selling import SellRequest
from slotmeter.storage.seal.unit_seal import Layout
from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.databases import name_postgres, settings_of
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.postgres_server import PostgresServer, find_programs
from slotmeter.vending.tariff.reader import read_tariff

TARIFF = "ke-kplc-dc-fixed-charge-era"
CLIENTS = 32
SALES_PER_TURN = 1_000
TURNS_COMPARED = 12
CHAIN_ENTRIES_PER_S_MIN = 200_000
SALES_PER_S_MIN = 30_000
COST_PERCENT_MAX = 8.0
MEMORY_MIB_MAX = 1_024
VERIFY_RUNS = 3
WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
NOTHING_SEALED = Layout(0, bytes(32), {})


@contextmanager
def seals(on: bool) -> Iterator[None]:
    """Let databases that are opened now seal what they write, or not."""
    if on:
        yield
        return
    with ExitStack() as stack:
        for back_end in ("database", "postgres_database"):
            target = f"slotmeter.storage.{back_end}.open_layout"
            stack.enter_context(mock.patch(target, return_value=NOTHING_SEALED))
        yield


async def settle(office: DebtOffice, meters: int) -> list[str]:
    """Add households, each with two old bills of which every purchase repays a part."""
    utility = office.shop.utility
    document, tariff = read_tariff(pack_texts()[TARIFF])
    await utility.add_tariff(document, valid_from_us=0)
    numbers = []
    for _ in range(meters):
        meter = await utility.add_meter("electricity", tariff=tariff.code)
        for percent in ("10", "20"):
            plan = PlanWish(shape="percent", percent=percent)
            await office.owe(meter, "9000000.00", plan=plan)
        numbers.append(meter.number)
    return numbers


async def sell(office: DebtOffice, numbers: list[str], first: int) -> float:
    """Sell; return the processor time of each sale in milliseconds."""
    shop = office.shop
    left = iter(range(first, first + SALES_PER_TURN))

    async def client() -> None:
        for at in left:
            number = numbers[at % len(numbers)]
            if at % len(numbers) == 0:
                shop.clock.advance(hours=2)
            request = SellRequest(f"s{at}", number, "500.00")
            await shop.selling.sell(shop.till, request)

    before_s = time.process_time()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return (time.process_time() - before_s) * 1_000 / SALES_PER_TURN


async def make(folder: Path, sales: int, meters: int) -> tuple[list[float], list[float]]:
    """Make sales in turns; return their processor times with seals and without."""
    async with AsyncExitStack() as stack:
        with seals(on=True):
            sealed = await stack.enter_async_context(open_debt_office(folder / "sealed"))
        with seals(on=False):
            bare = await stack.enter_async_context(open_debt_office(folder / "bare"))
        numbers = await settle(sealed, meters), await settle(bare, meters)
        for warm in (0, SALES_PER_TURN):
            await sell(sealed, numbers[0], warm)
            await sell(bare, numbers[1], warm)
        with_seals: list[float] = []
        without: list[float] = []
        for first in range(2 * SALES_PER_TURN, sales, SALES_PER_TURN):
            with_seals.append(await sell(sealed, numbers[0], first))
            if len(without) < TURNS_COMPARED:
                without.append(await sell(bare, numbers[1], first))
    return with_seals, without


@dataclass(frozen=True)
class Verified:
    """What some runs of one kind took; medians."""

    verdict: AuditVerdict
    took_s: float
    processor_s: float


def processor_s() -> float:
    """Return the processor time of this process, and of those that it has waited for."""
    own, others = (resource.getrusage(who) for who in WHO)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def timed(verify: Callable[[], AuditVerdict]) -> Verified:
    runs: list[tuple[float, float]] = []
    for _ in range(VERIFY_RUNS):
        before, before_s = processor_s(), time.perf_counter()
        verdict = verify()
        runs.append((time.perf_counter() - before_s, processor_s() - before))
        assert verdict.holds, verdict.breaks
    took, worked = zip(*runs, strict=True)
    return Verified(verdict, statistics.median(took), statistics.median(worked))


def verified(config: Config) -> bool:
    """Verify a database, say how fast that went, and whether that is fast enough."""
    opens = reader_of(config)
    with closing(opens()) as reader:
        sales = reader.count("sale")
    chain = timed(lambda: verify_audit(opens, rows=False, processes=1))
    whole = timed(lambda: verify_audit(opens))
    mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found = whole.verdict
    counted = f"{found.entries:,} entries in {found.groups:,} groups, {found.rows:,} rows"
    print(f"{counted}, {sales:,} sales")
    entries_per_s, sales_per_s = found.entries / chain.took_s, sales / whole.took_s
    print(
        f"chain alone, one process:      {entries_per_s:9,.0f} entries/s, "
        f"{1e6 * chain.processor_s / found.entries:5.1f} us of a processor each"
    )
    print(
        f"chain and rows, two processes: {sales_per_s:9,.0f} sales/s,   "
        f"{1e6 * whole.processor_s / sales:5.1f} us of a processor each, {mib:,.0f} MiB of memory",
        flush=True,
    )
    held = (
        entries_per_s >= CHAIN_ENTRIES_PER_S_MIN
        and sales_per_s >= SALES_PER_S_MIN
        and mib <= MEMORY_MIB_MAX
    )
    print(
        f"wanted: {CHAIN_ENTRIES_PER_S_MIN:,} entries/s, {SALES_PER_S_MIN:,} sales/s, at most "
        f"{MEMORY_MIB_MAX:,} MiB: {'held' if held else 'MISSED'}"
    )
    return held


def sealing(options: argparse.Namespace, folder: Path) -> bool:
    """Make sales, and say whether their seals cost little enough."""
    print(f"{options.sales:,} sales, {options.meters:,} meters, {os.cpu_count()} cores", flush=True)
    with_seals, without = asyncio.run(make(folder, options.sales, options.meters))
    sealed_ms = statistics.median(with_seals[: len(without)])
    bare_ms = statistics.median(without)
    cost = 100 * (sealed_ms - bare_ms) / sealed_ms
    print(f"a sale with seals    {sealed_ms:6.3f} ms of a processor (without HTTP)")
    print(f"a sale without seals {bare_ms:6.3f} ms")
    held = cost <= COST_PERCENT_MAX
    print(
        f"sealing costs        {sealed_ms - bare_ms:6.3f} ms, {cost:.1f} % of a sale; wanted: at "
        f"most {COST_PERCENT_MAX:g} %: {'held' if held else 'MISSED'}",
        flush=True,
    )
    return held


def measure(options: argparse.Namespace, stack: ExitStack) -> bool:
    if options.folder is not None:
        return verified(settings_of(options.folder))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slotmeter-bench-")))
    for name in ("sealed", "bare"):
        (folder / name).mkdir()
    if options.postgresql:
        programs = find_programs()
        if programs is None:
            raise SystemExit("PostgreSQL is not installed (apt install postgresql)")
        server = stack.enter_context(PostgresServer(programs, durable=True))
        for name in ("sealed", "bare"):
            name_postgres(folder / name, server.url(server.make_database()))
    cheap = sealing(options, folder)
    return verified(settings_of(folder / "sealed")) and cheap


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sales", type=int, default=30_000)
    parser.add_argument("--meters", type=int, default=300)
    parser.add_argument("--postgresql", action="store_true", help="on a server of our own")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="verify this one only")
    parser.add_argument("--no-limits", action="store_true", help="only measure")
    options = parser.parse_args()
    with ExitStack() as stack:
        held = measure(options, stack)
    return 0 if held or options.no_limits else 1


if __name__ == "__main__":
    raise SystemExit(main())

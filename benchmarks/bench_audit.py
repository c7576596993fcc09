"""What the audit costs a sale, and how fast it is verified.

    python benchmarks/bench_audit.py [--sales 30000] [--meters 300] [--no-limits]

The platform itself makes sales of a Kenyan household tariff, each account with two debts, on an
embedded database with ``synchronous=FULL``, without HTTP, 32 at a time. They are made in turns with
seals and without any: the difference in processor time is what sealing costs. Then the chain is
verified alone, and with every row, on two processes, as ``slotmeter audit verify`` does it; the
time to start the second process is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

from slotmeter.runtime.audit_verify import AuditVerdict, verify_audit
from slotmeter.services.debt_terms import PlanWish
from slotmeter.services.selling import SellRequest
from slotmeter.storage.audit_sqlite import SqliteAuditReader
from slotmeter.storage.seal.unit_seal import Layout
from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.vending.tariff.reader import read_tariff

TARIFF = "ke-kplc-dc-fixed-charge-era"
CLIENTS = 32
SALES_PER_TURN = 1_000
TURNS_COMPARED = 12
CHAIN_ENTRIES_PER_S_MIN = 200_000
SALES_PER_S_MIN = 30_000
COST_PERCENT_MAX = 8.0
VERIFY_RUNS = 3
NOTHING_SEALED = Layout(0, bytes(32), {})


@contextmanager
def seals(on: bool) -> Iterator[None]:
    """Let databases that are opened now seal what they write, or not."""
    if on:
        yield
        return
    target = "slotmeter.storage.database.open_layout"
    with mock.patch(target, return_value=NOTHING_SEALED):
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
    (folder / "sealed").mkdir()
    (folder / "bare").mkdir()
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


def timed(verify: Callable[[], AuditVerdict]) -> tuple[AuditVerdict, float]:
    best_s = []
    for _ in range(VERIFY_RUNS):
        before_s = time.perf_counter()
        verdict = verify()
        best_s.append(time.perf_counter() - before_s)
        assert verdict.holds, verdict.breaks
    return verdict, statistics.median(best_s)


def measure(options: argparse.Namespace, folder: Path) -> int:
    print(f"{options.sales:,} sales, {options.meters:,} meters, {os.cpu_count()} cores", flush=True)
    with_seals, without = asyncio.run(make(folder, options.sales, options.meters))
    ten = with_seals[: len(without)]
    sealed_ms, bare_ms = statistics.median(ten), statistics.median(without)
    cost = 100 * (sealed_ms - bare_ms) / sealed_ms
    print(f"a sale with seals    {sealed_ms:6.3f} ms of a processor (without HTTP)")
    print(f"a sale without seals {bare_ms:6.3f} ms")
    print(f"sealing costs        {sealed_ms - bare_ms:6.3f} ms, {cost:.1f} % of a sale", flush=True)

    file = folder / "sealed" / "slotmeter.db"
    reader = partial(SqliteAuditReader, file)
    chain, chain_s = timed(lambda: verify_audit(reader, rows=False, processes=1))
    whole, whole_s = timed(lambda: verify_audit(reader))
    size = file.stat().st_size / options.sales
    print(f"{chain.entries:,} entries in {chain.groups:,} groups, {whole.rows:,} rows")
    print(f"{size:,.0f} bytes of the database for each sale")
    entries_per_s, sales_per_s = chain.entries / chain_s, options.sales / whole_s
    print(f"chain alone, one process:      {entries_per_s:9,.0f} entries/s")
    print(f"chain and rows, two processes: {sales_per_s:9,.0f} sales/s", flush=True)
    held = (
        entries_per_s >= CHAIN_ENTRIES_PER_S_MIN
        and sales_per_s >= SALES_PER_S_MIN
        and cost <= COST_PERCENT_MAX
    )
    print(
        f"wanted: {CHAIN_ENTRIES_PER_S_MIN:,} entries/s, {SALES_PER_S_MIN:,} sales/s, at most "
        f"{COST_PERCENT_MAX:g} % of a sale: {'held' if held else 'MISSED'}"
    )
    return 0 if held or options.no_limits else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sales", type=int, default=30_000)
    parser.add_argument("--meters", type=int, default=300)
    parser.add_argument("--no-limits", action="store_true", help="only measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slotmeter-bench-") as folder:
        return measure(options, Path(folder))


if __name__ == "__main__":
    raise SystemExit(main())

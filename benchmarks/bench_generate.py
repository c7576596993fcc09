"""How fast a utility with a past is generated, and how large it is on the disk.

    python benchmarks/bench_generate.py [--database both|sqlite|postgresql] [--meters N]
        [--sales N] [--folder DIR] [--verify] [--no-limits]

Runs ``slotmeter generate`` as it is, into a folder that is removed afterwards, and counts the
processor time of all its processes; that of a PostgreSQL server, which is one of our own with the
settings it comes with, is added. What all starts cost is left out: a run with one sale is made
first. With ``--verify`` the ledger and the audit of the result are verified. Any size ends with 1
above 0.55 ms of processor time for each sale, and full size (``--meters 1000000 --sales 5000000``)
also when it takes longer than half an hour or 40 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from slotmeter.testing.postgres_server import PostgresServer, find_programs

CPU_MS_MAX = 0.55
FULL_SALES = 5_000_000
FULL_SECONDS_MAX = 30 * 60
FULL_BYTES_MAX = 40_000_000_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
DATABASES = ("sqlite", "postgresql")
SLOTMETER = (sys.executable, "-m", "slotmeter")


@dataclass(frozen=True)
class Generated:
    """One run: all its seconds, those of processors, and the size of the database."""

    seconds: float
    cpu_s: float
    size_bytes: int


def children_cpu_s() -> float:
    """Return the processor time of all processes that this one has waited for, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def server_cpu_s(pid: int) -> float:
    """Return the processor time of a PostgreSQL server with all its processes, ended ones too."""
    found = 0
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # no process, or one that ended
        if entry.name == str(pid):
            found += sum(int(fields[at]) for at in range(11, 15))
        elif entry.name.isdecimal() and int(fields[1]) == pid:
            found += int(fields[11]) + int(fields[12])
    return found / TICKS_PER_S


def run(folder: Path, server: PostgresServer | None, meters: int, sales: int) -> Generated:
    """Generate once."""
    options = ["--data", str(folder), "--meters", str(meters), "--sales", str(sales), "--json"]
    server_before_s = 0.0
    if server is not None:
        assert server.pid is not None
        options += ["--database-url", server.url(server.make_database())]
        server_before_s = server_cpu_s(server.pid)
    before_s, began_s = children_cpu_s(), time.monotonic()
    said = subprocess.run(
        [*SLOTMETER, "generate", *options], stdout=subprocess.PIPE, check=True, text=True
    )
    seconds, cpu_s = time.monotonic() - began_s, children_cpu_s() - before_s
    if server is not None:
        assert server.pid is not None
        cpu_s += server_cpu_s(server.pid) - server_before_s
    return Generated(seconds, cpu_s, json.loads(said.stdout)["bytes"])


def verified(folder: Path) -> bool:
    """Verify the ledger and the audit; show what they say."""
    holds = True
    for what in ("ledger", "audit"):
        done = subprocess.run([*SLOTMETER, what, "verify", "--data", str(folder)], check=False)
        holds = holds and done.returncode == 0
    return holds


def measure(
    options: argparse.Namespace, database: str, folder: Path, server: PostgresServer | None
) -> bool:
    """Generate, show the figures; tell whether every limit was kept."""
    start = run(folder / "start", server, 1, 1)
    made = run(folder / "made", server, options.meters, options.sales)
    sales: int = options.sales
    cpu_ms = (made.cpu_s - start.cpu_s) * 1_000 / sales
    bytes_per_sale = (made.size_bytes - start.size_bytes) / sales
    print(f"{database}: {options.meters:,} meters and {sales:,} sales")
    print(f"  {made.seconds:,.0f} s, {sales / made.seconds:,.0f} sales/s with their households")
    print(f"  {cpu_ms:.3f} ms of processor time of all processes a sale; at most {CPU_MS_MAX}")
    print(f"  {made.size_bytes / 1e9:,.2f} GB, {bytes_per_sale:,.0f} bytes a sale")
    missed = cpu_ms > CPU_MS_MAX
    if sales >= FULL_SALES:
        missed |= made.seconds > FULL_SECONDS_MAX or made.size_bytes > FULL_BYTES_MAX
    if options.verify:
        missed |= not verified(folder / "made")
    return not missed


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--database", choices=("both", *DATABASES), default="both")
    parser.add_argument("--meters", type=int, default=20_000)
    parser.add_argument("--sales", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="make it in here; default a temporary folder")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--no-limits", action="store_true", help="end with 0 whatever is measured")
    return parser.parse_args(given)


def measure_on(options: argparse.Namespace, database: str) -> bool:
    """Generate on one kind of database, in a folder that is removed again."""
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="bench-generate-", dir=options.folder)
        )
        server = None
        if database == "postgresql":
            programs = find_programs()
            if programs is None:
                print("PostgreSQL is not installed (apt install postgresql)", file=sys.stderr)
                return False
            server = stack.enter_context(PostgresServer(programs, durable=True))
        return measure(options, database, Path(folder), server)


def main() -> int:
    """Run it."""
    options = arguments()
    databases = DATABASES if options.database == "both" else (options.database,)
    kept = [measure_on(options, database) for database in databases]
    return int(not all(kept) and not options.no_limits)


if __name__ == "__main__":
    raise SystemExit(main())

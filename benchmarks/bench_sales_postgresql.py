"""Durable sales over HTTP on PostgreSQL, next to what pgbench does on the same server.

    python benchmarks/bench_sales_postgresql.py [--processes 2] [--clients 32] [--measure 30]

The server of PostgreSQL is one of our own with the settings it comes with, on the disk of the
temporary folder; ``fsync`` and ``synchronous_commit`` are read back, and without them there is no
figure. Slotmeter is ``slotmeter serve`` and, for each further process, ``slotmeter serve --role
api``. The tariff is that of the Kenyan pack, and each account repays two debts. There is one
generator for each process, as in ``bench_sales.py``; every answer is checked. The peer is
``pgbench -N -c 32 -j 2`` at scale 10, run by run in turn with the sales.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sale_load import Load, Measured, together
from sale_site import AMOUNTS, DEBTS_MAX, meter_numbers, site_to_sell_on
from slotmeter.testing.postgres_server import PostgresServer, find_programs
from slotmeter.testing.server import Server
from slotmeter.testing.site import Site, free_ports

SALES_PER_S_MIN = 400
PEER_SHARE_MIN = 0.06
P99_MS_MAX = 250
DURABLE = frozenset({"on", "local", "remote_write", "remote_apply"})
SCALE = 10
TARIFF = "kenya"


@contextmanager
def serving(
    folder: Path, url: str, numbers: Sequence[str], processes: int, *, with_devices: bool
) -> Iterator[tuple[Site, list[Server], list[int]]]:
    """Run the processes; give the folder, them, and their ports."""
    site = site_to_sell_on(
        folder, numbers, tariff=TARIFF, debts=DEBTS_MAX, with_devices=with_devices, database_url=url
    )
    ports = [site.http_port, *free_ports(processes - 1)] if processes > 1 else [site.http_port]
    with ExitStack() as stack:
        servers = []
        for at, port in enumerate(ports):
            role = "api" if at else "all"
            server = Server(
                site.config,
                port=port,
                log=folder / f"serve-{at}.log",
                options=("--http-port", str(port), "--role", role),
            )
            server.launch()
            stack.callback(server.stop)
            server.wait_until_ready()
            servers.append(server)
        yield site, servers, ports


def pgbench(programs: Path, server: PostgresServer, seconds: float) -> float:
    """Return the transactions per second of ``pgbench -N``."""
    said = subprocess.run(
        [
            *(programs / "pgbench", "-N", "-c", "32", "-j", "2", "-T", str(round(seconds))),
            server.local_url("peer"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"tps = ([\d.]+)", said.stdout)
    assert found is not None, said.stdout
    return float(found[1])


def measure(options: argparse.Namespace, folder: Path, server: PostgresServer) -> int:
    programs = find_programs()
    assert programs is not None
    numbers = meter_numbers(options.meters)
    server.execute("CREATE DATABASE sales")
    server.execute("CREATE DATABASE peer")
    subprocess.run(
        [programs / "pgbench", "-i", "-q", "-s", str(SCALE), server.local_url("peer")],
        capture_output=True,
        check=True,
    )
    with serving(
        folder / "data",
        server.local_url("sales"),
        numbers,
        options.processes,
        with_devices=options.devices,
    ) as (site, servers, ports):
        synchronous = {each.synchronous() for each in servers}
        print(f"synchronous_commit = {synchronous} with fsync (read from the server)", flush=True)
        if not synchronous <= DURABLE:
            print("no sale figure: sales are not durable under these settings")
            return 1
        server.execute("VACUUM ANALYZE", database="sales")
        sales: list[Measured] = []
        peers: list[float] = []
        for run in range(options.runs):
            loads = [
                Load(
                    port,
                    "/api/v1/sales",
                    site.key_of("till"),
                    options.clients // len(ports),
                    options.warm_up,
                    options.measure,
                    f"run{run}-{at}",
                    numbers,
                    AMOUNTS[TARIFF],
                )
                for at, port in enumerate(ports)
            ]
            sales.append(together(loads))
            print(f"  sales, run {run + 1}: {sales[-1].per_s:,.0f}/s", flush=True)
            peers.append(pgbench(programs, server, options.measure))
            print(f"  pgbench -N, run {run + 1}: {peers[-1]:,.0f}/s", flush=True)
    return said(options, sales, peers)


def said(options: argparse.Namespace, sales: Sequence[Measured], peers: Sequence[float]) -> int:
    sold = statistics.median(each.per_s for each in sales)
    p99 = statistics.median(each.p99_ms for each in sales)
    p50 = statistics.median(each.p50_ms for each in sales)
    peer = statistics.median(peers)
    print(
        f"durable sales over HTTP on PostgreSQL {sold:8,.0f}/s  p50 {p50:.1f} ms  p99 {p99:.1f} ms"
    )
    print(f"pgbench -N -c 32 -j 2, scale {SCALE}       {peer:8,.0f}/s")
    print(f"share of pgbench: {sold / peer:.3f}")
    held = sold >= SALES_PER_S_MIN and sold / peer >= PEER_SHARE_MIN and p99 <= P99_MS_MAX
    print(
        f"wanted: {SALES_PER_S_MIN}/s, {PEER_SHARE_MIN} of pgbench, p99 of {P99_MS_MAX} ms: "
        f"{'held' if held else 'MISSED'}"
    )
    return 0 if held or options.no_limits else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure durable sales on PostgreSQL.")
    parser.add_argument("--processes", type=int, default=2, help="of slotmeter; default 2")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--meters", type=int, default=1_000)
    parser.add_argument("--warm-up", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--measure", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--devices", action="store_true", help="each sale also queues a command for its meter"
    )
    parser.add_argument("--no-limits", action="store_true", help="exit 0 whatever was measured")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    programs = find_programs()
    if programs is None:
        print("PostgreSQL is not installed (apt install postgresql)")
        return 1
    print(
        f"{options.clients} clients, {options.processes} processes, {options.meters:,} meters, "
        f"{options.measure:g} s measured, {os.cpu_count()} cores, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        flush=True,
    )
    with (
        tempfile.TemporaryDirectory(prefix="slotmeter-bench-") as folder,
        PostgresServer(programs, durable=True) as server,
    ):
        return measure(options, Path(folder), server)


if __name__ == "__main__":
    raise SystemExit(main())

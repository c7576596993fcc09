"""Durable sales over HTTP, next to what the same web server does with one durable insert a request.

    python benchmarks/bench_sales.py [--clients 32] [--measure 30] [--warm-up 5] [--runs 3]
    python benchmarks/bench_sales.py --folder LARGE [--runs 5] [--drawn 100000]

The server is ``slotmeter serve`` on a data folder made by commands. The generator is a process of
its own on the same machine: 32 clients on kept-open connections, each sends its next sale when the
one before is answered. Meters are drawn at random; every answer is checked: 201, the meter asked
for, 20 digits. The peer is an aiohttp server whose handler makes one durable SQLite insert.

The tariff is that of the Kenyan pack, and each account repays two debts; ``--tariff one-price`` and
``--debts 0`` sell the simpler thing by which rates of all releases compare.

With ``--folder`` sales on what ``slotmeter generate`` made are compared with those on a generated
folder of 1,000 meters, run by run in turn. Drawn from 100,000 meters nearly every sale finds its
rows on the disk, and the disk is what is measured; from 1,000 it finds them in memory after a
warm-up.

Beside the rate it prints how much of a processor the server used for each answer, which depends
less on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from sale_load import Load, Measured, told
from sale_site import (
    AMOUNTS,
    DEBTS_MAX,
    TARIFFS,
    Serving,
    generated,
    is_durable,
    meter_numbers,
    meters_of,
    running_folder,
    running_server,
)
from slotmeter.testing.site import free_ports

SALES_PER_S_MIN = 600
P99_MS_MAX = 250
PEER_SHARE_MIN = 0.15
LARGE_SHARE_MIN = 0.8
METERS = 1_000
SMALL_SALES = 5_000
"""Past sales of the small folder: as many for each meter as the large one is meant to have."""
DRAWN = 100_000
STAMP = f"{time.time_ns()}-"
"""A folder that is sold on again knows the sale ids of before."""


# --- the peer: the same web server, one durable insert a request ---------------------------------


def serve_peer(database: Path, port: int) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE sale (id INTEGER PRIMARY KEY, sale_id TEXT UNIQUE, meter TEXT, tendered TEXT)"
    )

    async def sell(request: web.Request) -> web.Response:
        asked = await request.json()
        cursor = connection.execute(  # commits by itself, with its own sync
            "INSERT INTO sale (sale_id, meter, tendered) VALUES (?, ?, ?)",
            (asked["sale_id"], asked["meter"], asked["tendered"]),
        )
        answer = {"sale_id": asked["sale_id"], "meter": asked["meter"]}
        return web.json_response({**answer, "token": f"{cursor.lastrowid:020d}"}, status=201)

    app = web.Application()
    app.router.add_post("/sales", sell)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


@contextmanager
def running_peer(folder: Path) -> Iterator[tuple[int, int]]:
    """Run the peer; give its port and its process."""
    [port] = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, __file__, "--peer", str(folder / "peer.db"), str(port)]
    )
    try:
        wait_for(port, process)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"the peer ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the peer does not answer")


# --- the figures ---------------------------------------------------------------------------------


def show(name: str, runs: Sequence[Measured]) -> float:
    per_s = sorted(run.per_s for run in runs)
    median = statistics.median(per_s)
    p50 = statistics.median(run.p50_ms for run in runs)
    p99 = statistics.median(run.p99_ms for run in runs)
    cpu = statistics.median(run.cpu_ms for run in runs)
    print(
        f"{name:34} {median:8,.0f}/s  ({per_s[0]:,.0f} to {per_s[-1]:,.0f} in {len(runs)} runs)"
        f"   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   CPU {cpu:5.2f} ms each",
        flush=True,
    )
    return median


def begin(options: argparse.Namespace, meters: int, runs: int) -> None:
    print(
        f"{options.clients} clients, {meters:,} meters, {options.warm_up:g} s warm-up, "
        f"{options.measure:g} s measured, {os.cpu_count()} cores, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        flush=True,
    )
    loads_s = runs * (options.warm_up + options.measure)
    print(f"{runs} runs, {loads_s:.0f} s in all and a little to start", flush=True)


def sold(
    options: argparse.Namespace, server: Serving, what: str, run: int, meters: Sequence[str]
) -> Measured:
    """Sell for one run."""
    load = Load(
        server.http_port,
        "/api/v1/sales",
        server.key,
        options.clients,
        options.warm_up,
        options.measure,
        f"{STAMP}run{run}",
        list(meters),
        AMOUNTS[options.tariff],
    )
    return told(what, run, load, server.pid)


def durable(server: Serving) -> bool:
    print(f"synchronous = {server.synchronous} (read from the server's database)", flush=True)
    if not is_durable(server.synchronous):
        print("no sale figure: sales are not durable under this setting")
        return False
    return True


def verdict(wanted: str, *, held: bool, no_limits: bool) -> int:
    print(f"wanted: {wanted}: {'held' if held else 'MISSED'}")
    return 0 if held or no_limits else 1


def measure(options: argparse.Namespace, folder: Path) -> int:
    """Compare sales with single inserts."""
    numbers = meter_numbers(options.meters)
    begin(options, len(numbers), 2 * options.runs)
    print(f"tariff {options.tariff}, {options.debts} debts for each account", flush=True)
    serving = running_server(
        folder / "data",
        numbers,
        tariff=options.tariff,
        debts=options.debts,
        with_devices=options.devices,
    )
    with serving as server:
        if not durable(server):
            return 1
        sales = [sold(options, server, "sales", run, numbers) for run in range(options.runs)]
    with running_peer(folder) as (port, pid):
        clients, warm_up_s, measure_s = options.clients, options.warm_up, options.measure
        amounts = AMOUNTS[options.tariff]
        inserts = []
        for run in range(options.runs):
            name = f"peer{run}"
            load = Load(port, "/sales", "", clients, warm_up_s, measure_s, name, numbers, amounts)
            inserts.append(told("inserts", run, load, pid))
    per_s = show("durable sales over HTTP", sales)
    share = per_s / show("one durable insert over HTTP", inserts)
    p99_ms = statistics.median(run.p99_ms for run in sales)
    print(f"share of the peer: {share:.2f}")
    held = per_s >= SALES_PER_S_MIN and p99_ms <= P99_MS_MAX and share >= PEER_SHARE_MIN
    wanted = f"{SALES_PER_S_MIN}/s, p99 of {P99_MS_MAX} ms, {PEER_SHARE_MIN} of the peer"
    return verdict(wanted, held=held, no_limits=options.no_limits)


def compare(options: argparse.Namespace, folder: Path) -> int:
    """Compare sales on a large folder with those on a small one, run by run in turn."""
    generated(folder / "small", METERS, SMALL_SALES)
    folders = {"large": options.folder, "small": folder / "small"}
    numbers = {name: meters_of(path, options.drawn) for name, path in folders.items()}
    begin(options, len(numbers["large"]), 2 * options.runs)
    seen: dict[str, list[Measured]] = {name: [] for name in folders}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(running_folder(path, folder / f"{name}.toml"))
            for name, path in folders.items()
        }
        if not all(durable(server) for server in servers.values()):
            return 1
        for run in range(options.runs):
            for name, server in servers.items():
                seen[name].append(sold(options, server, name, run, numbers[name]))
    large, small = (show(f"durable sales, {name} folder", runs) for name, runs in seen.items())
    print(f"large to small: {large / small:.2f}")
    held = large / small >= LARGE_SHARE_MIN
    wanted = f"{LARGE_SHARE_MIN} of the speed with {METERS:,} meters"
    return verdict(wanted, held=held, no_limits=options.no_limits)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure durable sales over HTTP.")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--meters", type=int, default=METERS)
    parser.add_argument("--warm-up", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--measure", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--runs", type=int, help="default 3; 5 with --folder")
    parser.add_argument("--folder", type=Path, help="sell on what `slotmeter generate` made")
    parser.add_argument("--drawn", type=int, default=DRAWN, help="of how many meters of a folder")
    parser.add_argument("--tariff", choices=sorted(TARIFFS), default="kenya")
    parser.add_argument("--debts", type=int, choices=range(DEBTS_MAX + 1), default=DEBTS_MAX)
    parser.add_argument(
        "--devices", action="store_true", help="each sale also queues a command for its meter"
    )
    parser.add_argument("--no-limits", action="store_true", help="exit 0 whatever was measured")
    parser.add_argument("--peer", nargs=2, metavar=("DATABASE", "PORT"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.peer:
        serve_peer(Path(options.peer[0]), int(options.peer[1]))
        return 0
    options.runs = options.runs or (3 if options.folder is None else 5)
    with tempfile.TemporaryDirectory(prefix="slotmeter-bench-") as folder:
        run = measure if options.folder is None else compare
        return run(options, Path(folder))


if __name__ == "__main__":
    raise SystemExit(main())

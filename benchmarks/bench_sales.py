"""Durable sales over HTTP, next to what the same web server does with one durable insert a request.

    python benchmarks/bench_sales.py [--clients 32] [--measure 30] [--warm-up 5] [--runs 3]

The server is ``slotmeter serve`` on a data folder made by commands. The generator is a process of
its own on the same machine: 32 clients on kept-open connections, each sends its next sale when the
one before is answered. Meters are drawn at random; every answer is checked: 201, the meter asked
for, 20 digits. The peer is an aiohttp server whose handler makes one durable SQLite insert.

The price is one price with a tax and a monthly charge, so that rates of all releases compare; with
``--real-tariff`` it is that of the demo: blocks, six levies, tax, a charge, free units.

Beside the rate it prints how much of a processor the server used for each answer, which depends
less on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web

from slotmeter.testing.server import Server
from slotmeter.testing.site import KRN, SGC, free_ports, make_site
from slotmeter.testing.town import TARIFFS
from slotmeter.vending.sts import luhn_digit

ONE_PRICE: dict[str, Any] = {
    "tariff": "DOM-E",
    "title": "Domestic electricity",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"price": "21.50"},
    "taxes": {"vat": {"label": "VAT", "percent": "16", "on": ["energy", "fixed"]}},
    "fixed": {"service": {"label": "Service", "amount": "10.00"}},
    "purchase": {"minimum": "20.00", "maximum": "50000.00"},
}
SALES_PER_S_MIN = 600
PEER_SHARE_MIN = 0.15
METERS = 1_000
AMOUNTS = ("50", "100", "200.00", "500", "1000.50")
FOLDER_AMOUNTS = ("250", "300", "500.00", "750", "1000.50")
"""Each pays the month's charge of a generated utility and leaves something for energy."""
SEED = 20_240_607
DRAWN_MAX = 100_000
READY_S_MAX = 600.0
"""A large folder is looked through when a server opens it first."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a generator does.

    Args:
        port: of the server on 127.0.0.1.
        path: of the request.
        key: API key; "" for a server that asks for none.
        clients: connections, each with one request at a time.
        warm_up_s: not measured.
        measure_s: measured.
        run: makes sale ids unique over runs.
        meters: numbers to draw from.
        amounts: to draw from.
    """

    port: int
    path: str
    key: str
    clients: int
    warm_up_s: float
    measure_s: float
    run: str
    meters: list[str]
    amounts: Sequence[str] = AMOUNTS


@dataclass(frozen=True, slots=True)
class Measured:
    """What a generator saw; times in milliseconds.

    Args:
        answers: within the measured time.
        answers_in_all: warm-up and the last answers included.
        cpu_ms: processor time of the server for each answer, warm-up included.
    """

    answers: int
    answers_in_all: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float = 0.0


# --- the generator: a process of its own ----------------------------------------------------------


class Client(asyncio.Protocol):
    """One connection that always has one request on its way."""

    def __init__(self, make: Callable[[], tuple[bytes, str]], until_s: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered_s: list[tuple[float, float]] = []
        self._make = make
        self._until_s = until_s
        self._buffer = b""
        self._meter = ""
        self._sent_s = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed a connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        try:
            check_answer(head, rest[:length], self._meter)
        except ValueError as error:
            self.done.set_exception(error)
            return
        now_s = time.perf_counter()
        self.answered_s.append((now_s, now_s - self._sent_s))
        if now_s < self._until_s:
            self._send()
        else:
            self.done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None
        request, self._meter = self._make()
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def check_answer(head: bytes, body: bytes, meter: str) -> None:
    """Refuse anything but a new sale of this meter with 20 digits.

    Raises:
        ValueError: what came instead.
    """
    if not head.startswith(b"HTTP/1.1 201 "):
        raise ValueError(f"expected 201, got {head[:40]!r} {body[:300]!r}")
    sale = json.loads(body)
    token = sale.get("token")
    if sale.get("meter") != meter or not (isinstance(token, str) and len(token) == 20):
        raise ValueError(f"expected a token for {meter}, got another answer")


async def generate(load: Load) -> Measured:
    random = Random(f"{SEED}/{load.run}")
    numbers = iter(range(10**9))
    key = f"Authorization: Bearer {load.key}\r\n" if load.key else ""
    head = (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n{key}"
        "Content-Type: application/json\r\nContent-Length: "
    )

    def make() -> tuple[bytes, str]:
        meter = random.choice(load.meters)
        body = json.dumps(
            {
                "sale_id": f"{load.run}-{next(numbers)}",
                "meter": meter,
                "tendered": random.choice(load.amounts),
            }
        )
        return f"{head}{len(body)}\r\n\r\n{body}".encode(), meter

    loop = asyncio.get_running_loop()
    start_s = time.perf_counter() + load.warm_up_s
    end_s = start_s + load.measure_s
    clients: list[Client] = []
    try:
        for _ in range(load.clients):
            _, client = await loop.create_connection(
                lambda: Client(make, end_s), "127.0.0.1", load.port
            )
            clients.append(client)
        await asyncio.gather(*(client.done for client in clients))
    finally:
        for client in clients:
            client.close()
    took_ms = sorted(
        took_s * 1_000
        for client in clients
        for at_s, took_s in client.answered_s
        if start_s <= at_s < end_s
    )
    return Measured(
        answers=len(took_ms),
        answers_in_all=sum(len(client.answered_s) for client in clients),
        per_s=len(took_ms) / load.measure_s,
        p50_ms=took_ms[len(took_ms) // 2],
        p99_ms=took_ms[len(took_ms) * 99 // 100],
    )


def cpu_s_of(pid: int) -> float:
    """Return the processor time that a process has used, in all its threads (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user_ticks, system_ticks = int(fields[11]), int(fields[12])  # utime and stime of proc(5)
    return (user_ticks + system_ticks) / os.sysconf("SC_CLK_TCK")


def in_own_process(load: Load) -> Measured:
    """Run the generator as a process; the load goes in and the figures come out as JSON."""
    process = subprocess.run(
        [sys.executable, __file__, "--generate"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        raise SystemExit(f"the generator failed:\n{process.stderr.strip()[-2_000:]}")
    return Measured(**json.loads(process.stdout))


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


# --- the server ----------------------------------------------------------------------------------


def meter_numbers(count: int) -> list[str]:
    digits = [f"07{20_000_000 + serial:08d}" for serial in range(count)]
    return [each + luhn_digit(each) for each in digits]


def meter_file(numbers: Sequence[str], *, with_devices: bool) -> str:
    lines = [
        "meter,commodity,customer_number,customer_name,area,address,tariff,installed_on,sgc,krn,"
        "medium,address_on_medium,driver"
    ]
    for at, number in enumerate(numbers):
        device = f"nbiot,ep-{number},slotmeter_virtual" if with_devices else ",,"
        lines.append(
            f"{number},electricity,C-{at},Customer {at},Nairobi,Road {at},DOM-E,2025-01-01,"
            f"{SGC},{KRN},{device}"
        )
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Serving:
    """A running server."""

    key: str
    http_port: int
    synchronous: str
    pid: int


@contextmanager
def running_folder(folder: Path) -> Iterator[Serving]:
    """Run the server of a folder that was generated."""
    config = folder / "slotmeter.toml"
    port = tomllib.loads(config.read_text())["http"]["port"]
    server = Server(config, port=port, log=folder / "serve.log")
    server.launch()
    try:
        server.wait_until_ready(READY_S_MAX)
        assert server.pid is not None
        key = (folder / "till.key").read_text().strip()
        yield Serving(key, port, server.synchronous(), server.pid)
    finally:
        server.stop()


def meters_of(folder: Path, count: int) -> list[str]:
    """Return so many meters of a folder, drawn from all of them."""
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection:
        numbers = [row[0] for row in connection.execute("SELECT number FROM meter")]
    return Random(SEED).sample(numbers, min(count, len(numbers)))


@contextmanager
def running_server(
    folder: Path,
    numbers: Sequence[str],
    *,
    with_devices: bool,
    tariffs: Sequence[Mapping[str, Any]] = (ONE_PRICE,),
) -> Iterator[Serving]:
    """Make a folder and run its server."""
    site = make_site(
        folder,
        meter_file=meter_file(numbers, with_devices=with_devices),
        tariffs=tariffs,
        principals={"till": ("service", "vendor")},
        ports=(0, -1, 0),
    )
    server = Server(site.config, port=site.http_port, log=folder / "serve.log")
    server.launch()
    try:
        server.wait_until_ready()
        assert server.pid is not None
        yield Serving(site.key_of("till"), site.http_port, server.synchronous(), server.pid)
    finally:
        server.stop()


def is_durable(synchronous: str) -> bool:
    """Say whether an answer under this setting waits for the disk."""
    return synchronous in {"FULL", "EXTRA"}


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


def told(what: str, run: int, load: Load, pid: int) -> Measured:
    """Run the generator and say what came out, so that nobody waits without a word."""
    before_s = cpu_s_of(pid)
    seen = in_own_process(load)
    cpu_ms = (cpu_s_of(pid) - before_s) * 1_000 / seen.answers_in_all
    print(f"  {what}, run {run + 1}: {seen.per_s:,.0f}/s, CPU {cpu_ms:.2f} ms each", flush=True)
    return replace(seen, cpu_ms=cpu_ms)


def measure(options: argparse.Namespace, folder: Path) -> int:
    made = options.folder is None
    numbers = meter_numbers(options.meters) if made else meters_of(options.folder, DRAWN_MAX)

    def load(port: int, path: str, key: str, run: str) -> Load:
        warm_up_s, measure_s = options.warm_up, options.measure
        amounts = AMOUNTS if made else FOLDER_AMOUNTS
        clients = options.clients
        return Load(port, path, key, clients, warm_up_s, measure_s, run, numbers, amounts)

    print(
        f"{options.clients} clients, {len(numbers):,} meters, {options.warm_up:g} s warm-up, "
        f"{options.measure:g} s measured, {os.cpu_count()} cores, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        flush=True,
    )
    loads_s = 2 * options.runs * (options.warm_up + options.measure)
    print(f"{2 * options.runs} runs, {loads_s:.0f} s in all and a little to start", flush=True)
    tariffs = TARIFFS if options.real_tariff else (ONE_PRICE,)
    serving = (
        running_server(folder / "data", numbers, with_devices=options.devices, tariffs=tariffs)
        if made
        else running_folder(options.folder)
    )
    stamp = f"{time.time_ns()}-"  # a folder that is sold on again knows the sale ids of before
    with serving as server:
        print(f"synchronous = {server.synchronous} (read from the server's database)", flush=True)
        if not is_durable(server.synchronous):
            print("no sale figure: sales are not durable under this setting")
            return 1
        port, key = server.http_port, server.key
        sales = [
            told("sales", run, load(port, "/api/v1/sales", key, f"{stamp}run{run}"), server.pid)
            for run in range(options.runs)
        ]
    with running_peer(folder) as (port, pid):
        inserts = [
            told("inserts", run, load(port, "/sales", "", f"peer{run}"), pid)
            for run in range(options.runs)
        ]
    sold = show("durable sales over HTTP", sales)
    inserted = show("one durable insert over HTTP", inserts)
    share = sold / inserted
    print(f"share of the peer: {share:.2f}")
    held = sold >= SALES_PER_S_MIN and share >= PEER_SHARE_MIN
    verdict = "held" if held else "MISSED"
    print(f"wanted: {SALES_PER_S_MIN}/s and {PEER_SHARE_MIN} of the peer: {verdict}")
    return 0 if held or options.no_limits else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure durable sales over HTTP.")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--meters", type=int, default=METERS)
    parser.add_argument("--warm-up", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--measure", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="sell on what `slotmeter generate` made")
    parser.add_argument("--real-tariff", action="store_true", help="sell by the demo's tariff")
    parser.add_argument(
        "--keypad", dest="devices", action="store_false", help="meters without NB-IoT"
    )
    parser.add_argument("--no-limits", action="store_true", help="exit 0 whatever was measured")
    parser.add_argument("--generate", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peer", nargs=2, metavar=("DATABASE", "PORT"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.generate:
        asked: dict[str, Any] = json.load(sys.stdin)
        json.dump(asdict(asyncio.run(generate(Load(**asked)))), sys.stdout)
        return 0
    if options.peer:
        serve_peer(Path(options.peer[0]), int(options.peer[1]))
        return 0
    with tempfile.TemporaryDirectory(prefix="slotmeter-bench-") as folder:
        return measure(options, Path(folder))


if __name__ == "__main__":
    raise SystemExit(main())

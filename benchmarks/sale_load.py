"""What the benchmarks of sales share: clients over HTTP in a process of their own, answers checked.

As a program it makes one load: what to do comes in on standard input as JSON, figures go out.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

__all__ = ["Load", "Measured", "check_answer", "cpu_s_of", "in_own_process", "together", "told"]

SEED = 20_240_607


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
    amounts: Sequence[str]


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
        [sys.executable, __file__],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        raise SystemExit(f"the generator failed:\n{process.stderr.strip()[-2_000:]}")
    return Measured(**json.loads(process.stdout))


def together(loads: Sequence[Load]) -> Measured:
    """Run generators side by side and add up what they saw."""
    with ThreadPoolExecutor(len(loads)) as pool:
        seen = list(pool.map(in_own_process, loads))
    return Measured(
        answers=sum(each.answers for each in seen),
        answers_in_all=sum(each.answers_in_all for each in seen),
        per_s=sum(each.per_s for each in seen),
        p50_ms=statistics.median(each.p50_ms for each in seen),
        p99_ms=max(each.p99_ms for each in seen),
    )


def told(what: str, run: int, load: Load, pid: int) -> Measured:
    """Run a generator and say what came out, so that nobody waits without a word."""
    before_s = cpu_s_of(pid)
    seen = in_own_process(load)
    cpu_ms = (cpu_s_of(pid) - before_s) * 1_000 / seen.answers_in_all
    print(f"  {what}, run {run + 1}: {seen.per_s:,.0f}/s, CPU {cpu_ms:.2f} ms each", flush=True)
    return replace(seen, cpu_ms=cpu_ms)


if __name__ == "__main__":
    asked: dict[str, Any] = json.load(sys.stdin)
    json.dump(asdict(asyncio.run(generate(Load(**asked)))), sys.stdout)

"""Watch the server's system calls while it sells: no answer may leave before its sale is on disk.

The server runs under strace, which follows its threads. ``sync_trace`` reads the trace as it is
written and finds for each answer the write of its token, the sync that covers it, and whether that
sync had ended when the first byte of the answer was handed to the socket.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from proof import Proof, Trial, main
from slotmeter.cli.data_folder import open_folder
from slotmeter.cli.ledger import verify
from slotmeter.testing.server import Server
from slotmeter.testing.site import KRN, SGC, Site, make_site
from slotmeter.testing.till import Till
from slotmeter.testing.town import TARIFFS
from slotmeter.vending.sts import luhn_digit
from sync_trace import SyncTrace

PROOF = Proof(
    name="durability",
    claim="every answer leaves after a sync of the log that is later than its sale's last write",
    sizes="sales",
    size_full=1_000,
    seed=20_240_607,
)

METERS = 40
CLIENTS = 8
AMOUNTS = ("50", "100.00", "250", "999.95")
CALLS = "pwrite64,pwritev,write,writev,fsync,fdatasync,sendto,sendmsg"
TEXT_BYTES_MAX = 4_200
"""strace shows so many bytes of a write: more than a page of the database."""

READY_S = 120.0


def run(trial: Trial) -> None:
    strace = shutil.which("strace")
    if strace is None:
        trial.check("strace is installed", held=False, seen="apt install strace")
        return
    site = make_site(
        trial.folder / "data",
        meter_file=meter_file(),
        tariffs=TARIFFS,
        principals={"till": ("service", "vendor")},
        ports=(0, -1, 0),
    )
    trace = SyncTrace(asyncio.run(mark_of_tokens(site)))
    with reading(trial.folder / "trace", trace) as pipe:
        options = ["-f", "-y", "-ttt", "-s", str(TEXT_BYTES_MAX)]
        wrapper = [strace, *options, "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(pipe)]
        log = site.folder / "serve.log"
        server = Server(site.config, port=site.http_port, log=log, wrapper=wrapper)
        server.launch()
        try:
            server.wait_until_ready(READY_S)
            synchronous = server.synchronous()
            tokens = asyncio.run(sell(trial, site))
        finally:
            server.stop()
    judge(trial, site, trace, tokens, synchronous)


async def mark_of_tokens(site: Site) -> Callable[[str], str]:
    """Return what tells the keyed index by which a token stands in the log."""
    async with open_folder(site.folder) as folder, folder.vault() as vault:
        return vault.tokens.index


def meter_file() -> str:
    lines = [
        "meter,commodity,customer_number,customer_name,address,tariff,installed_on,sgc,krn,"
        "medium,address_on_medium,driver"
    ]
    for at in range(METERS):
        digits = f"07{40_000_000 + at:08d}"
        number = digits + luhn_digit(digits)
        device = f"nbiot,ep-{number},slotmeter_virtual" if at % 2 else ",,"
        lines.append(
            f"{number},electricity,C-{at},Customer {at},Road {at},DOM-E,2025-01-01,"
            f"{SGC},{KRN},{device}"
        )
    return "\n".join(lines) + "\n"


@contextmanager
def reading(pipe: Path, trace: SyncTrace) -> Iterator[Path]:
    """Give strace a pipe to write to, and read it until strace ends."""
    os.mkfifo(pipe)

    def read() -> None:
        with pipe.open(encoding="latin-1") as lines:
            for line in lines:
                trace.feed(line)

    reader = threading.Thread(target=read, name="trace reader")
    reader.start()
    # A writer of our own keeps the pipe open until strace has come and gone.
    held = os.open(pipe, os.O_WRONLY)
    try:
        yield pipe
    finally:
        os.close(held)
        reader.join()


async def sell(trial: Trial, site: Site) -> int:
    """Sell, and return how many answers with a token came back."""
    numbers = [line.partition(",")[0] for line in meter_file().splitlines()[1:]]
    plan = iter(
        [(trial.random.choice(numbers), trial.random.choice(AMOUNTS)) for _ in range(trial.size)]
    )
    async with Till(site.api, site.key_of("till"), name="durability") as till:

        async def client() -> None:
            for meter, amount in plan:
                await till.sell(meter, amount)
                trial.progress(len(till.records))

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return sum(record.token is not None for record in till.records)


def judge(trial: Trial, site: Site, trace: SyncTrace, tokens: int, synchronous: str) -> None:
    least_s, middle_s = trace.margin_s
    trial.figure("synchronous, as the server reads it", synchronous)
    trial.figure("answers with a token, as they left", len(trace.answers))
    trial.figure("writes to the log", trace.log_writes)
    trial.figure("syncs of the log", trace.log_syncs)
    trial.figure("from the end of the sync to the answer, least", f"{least_s * 1e6:,.0f} µs")
    trial.figure("from the end of the sync to the answer, median", f"{middle_s * 1e6:,.0f} µs")
    trial.check("every sale was answered", tokens == trial.size, f"{tokens} of {trial.size}")
    trial.check(
        "every answer was seen as it left",
        len(trace.answers) >= tokens,
        f"{len(trace.answers)} of {tokens}",
    )
    reasons = sorted({answer.why for answer in trace.early})
    trial.check(
        "every answer left after the sync of its sale had ended",
        not trace.early,
        f"{len(trace.early)} too early: {'; '.join(reasons)}" if reasons else "",
    )
    trial.check("every line of the trace was understood", trace.unreadable == 0)
    verdict = asyncio.run(verify(argparse.Namespace(data=site.folder, utility=None)))
    trial.check("slotmeter ledger verify finds nothing", verdict.holds)


if __name__ == "__main__":
    raise SystemExit(main(PROOF, run))

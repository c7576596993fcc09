"""Sell while the server and its database are killed, requests and answers get lost; then count.

Sixteen clients sell by Kenya's tariff to accounts that owe two debts, take sales back, pay into the
bank and make debts, on a line that breaks off requests, loses answers and asks twice. At moments
drawn from the seed the server is killed with SIGKILL; on PostgreSQL sometimes the whole database
server is, or both. At the end what the clients know is held against the database, the ledger and
the audit.

    .venv/bin/python tests/proofs/prove_crash.py --database postgresql --size 500 --new-seed
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from random import Random

from crash_clients import Begun, Book, Client
from crash_judge import Judge
from crash_line import Line
from crash_town import SQLITE, CrashTown, database_for
from proof import Proof, Trial, main
from slotmeter.cli.ledger import verify
from slotmeter.testing.postgres_server import PostgresServer
from slotmeter.testing.server import Server
from slotmeter.testing.site import Site

PROOF = Proof(
    name="crash",
    claim="kill -9 of server or database at any moment: money taken = tokens = ledger = audit",
    sizes="sales",
    size_full=20_000,
    seed=20_240_607,
    databases=(SQLITE, "postgresql"),
)

CLIENTS = 16
SALES_PER_KILL = 200
KILLS_MIN, KILLS_MAX = 3, 500
KILL_DELAY_S_MAX = 0.05
READY_S = 120.0
COMPLETED = re.compile(r"completed (\d+) sales")


class Victim(StrEnum):
    """What is killed."""

    SERVER = "server"
    DATABASE = "database server"
    BOTH = "both at once"


@dataclass(frozen=True, slots=True)
class Kill:
    """One of them, at a number of sales begun, and a moment later."""

    victim: Victim
    at_sale: int
    delay_s: float


def run(trial: Trial) -> None:
    town = CrashTown(trial.size, trial.seed)
    with database_for(trial.database) as postgres:
        url = "" if postgres is None else postgres.url(postgres.make_database())
        site = town.make(trial.folder / "data", url)
        book = asyncio.run(sell_under_fire(trial, town, site, postgres))
        judge(trial, site, book)


async def sell_under_fire(
    trial: Trial, town: CrashTown, site: Site, postgres: PostgresServer | None
) -> Book:
    """Sell everything while things are killed at the drawn moments."""
    book, begun = Book(trial.size), Begun()
    keys = {who: site.key_of(who) for who in ("till", "boss")}

    def line() -> Line:
        return Line(site.http_port, keys, book.counts, Random(trial.random.random()))

    log = site.folder / "serve.log"
    server = Server(site.config, port=site.http_port, log=log)
    kills = draw_kills(trial, is_postgres=postgres is not None)
    clients = [Client(town, trial.seed, book, (line(), line())) for _ in range(CLIENTS)]
    numbers = iter(range(trial.size))
    await server.start(READY_S)
    try:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.work(numbers, begun, trial.progress))
            group.create_task(kill_all(kills, begun, server, postgres))
    finally:
        await asyncio.to_thread(server.stop)
    tell(trial, book, kills, completed_in(log))
    return book


async def kill_all(
    kills: list[Kill], begun: Begun, server: Server, postgres: PostgresServer | None
) -> None:
    for kill in kills:
        await begun.reach(kill.at_sale)
        await asyncio.sleep(kill.delay_s)
        if kill.victim is not Victim.DATABASE:
            server.kill()
        if kill.victim is not Victim.SERVER and postgres is not None:
            await asyncio.to_thread(postgres.crash)
            await asyncio.to_thread(postgres.start)
        if kill.victim is not Victim.DATABASE:
            await server.start(READY_S)


def draw_kills(trial: Trial, *, is_postgres: bool) -> list[Kill]:
    random: Random = trial.random
    count = min(KILLS_MAX, max(KILLS_MIN, trial.size // SALES_PER_KILL))
    moments = sorted(random.randrange(1, max(2, trial.size)) for _ in range(count))
    victims = list(Victim) if is_postgres else [Victim.SERVER]
    first = random.randrange(len(victims))
    return [
        Kill(victims[(first + at) % len(victims)], moment, random.uniform(0, KILL_DELAY_S_MAX))
        for at, moment in enumerate(moments)
    ]


def completed_in(log: Path) -> int:
    """Return how many sales a server found between their two commits, and completed."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        return sum(int(found[1]) for each in lines if (found := COMPLETED.search(each)))


def tell(trial: Trial, book: Book, kills: list[Kill], completed: int) -> None:
    for victim, count in sorted(Counter(kill.victim for kill in kills).items()):
        trial.figure(f"killed: {victim.value}", count)
    trial.figure("sales that were found between their two commits", completed)
    for name, count in sorted(book.counts.items()):
        trial.figure(name, count)
    trial.figure("sales taken back", len(book.reversed))
    trial.figure("debts made meanwhile", len(book.debts))


def judge(trial: Trial, site: Site, book: Book) -> None:
    """Hold what the clients know against the database, the ledger and the audit."""
    found = asyncio.run(Judge(site.folder, book).look())
    taken = sum(book.tendered.values())
    given_back = sum(book.tendered[number] for number in book.reversed)
    in_till = taken - given_back - book.deposits_minor
    handed_out = sum(len(digits) for _, digits in book.answers.values())
    trial.figure("money taken", f"{Decimal(taken) / 100:,}")
    trial.figure("tokens handed out", handed_out)

    trial.check(
        "every sale was answered", len(book.answers) == trial.size, f"{len(book.answers):,}"
    )
    trial.check("no sale was answered in two ways", not book.contradictions)
    trial.check(
        "every answered sale is booked once, under its receipt and with its very digits",
        found.booked == trial.size and not found.differences,
        f"{found.booked:,} booked; {'; '.join(found.differences[:3])}".rstrip("; "),
    )
    trial.check(
        "tokens handed out = tokens issued, each once",
        handed_out == found.tokens == found.tokens_apart,
        f"{handed_out:,} and {found.tokens:,}",
    )
    trial.check(
        "money taken = money of all sales",
        taken == found.tendered_minor and given_back == found.reversed_minor,
        f"{taken:,} and {found.tendered_minor:,} minor units",
    )
    trial.check(
        "money taken, less what was given back and paid in = the till in the ledger",
        in_till == found.till_minor,
        f"{in_till:,} and {found.till_minor:,} minor units",
    )
    trial.check("debts made = debts booked", len(book.debts) == found.fines, f"{found.fines:,}")
    judge_books(trial, site, found.sale_ids, found.token_ids)


def judge_books(trial: Trial, site: Site, sale_ids: set[int], token_ids: set[int]) -> None:
    verdict = asyncio.run(verify(argparse.Namespace(data=site.folder, utility=None)))
    trial.figure("journal entries", verdict.figures["journals"])
    broken = [each.sentence for each in verdict.sentences if not each.holds]
    trial.check("slotmeter ledger verify finds nothing", verdict.holds, "; ".join(broken))
    trial.check("no sale is left pending", verdict.figures["sales_pending"] == 0)

    sealed = Judge.sealed(site.folder)
    trial.figure("audit entries", sealed.verdict.entries)
    trial.figure("commits that the audit chains", sealed.verdict.groups)
    wrong = [f"{each.table} {each.row_id}: {each.problem}" for each in sealed.verdict.breaks[:3]]
    trial.check("slotmeter audit verify finds nothing", sealed.verdict.holds, "; ".join(wrong))
    trial.check(
        "sales and tokens that the audit saw made = those that are there",
        sealed.sale_ids == sale_ids and sealed.token_ids == token_ids,
        f"{len(sealed.sale_ids):,} sales, {len(sealed.token_ids):,} tokens",
    )


if __name__ == "__main__":
    raise SystemExit(main(PROOF, run))

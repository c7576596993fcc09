"""Kill the server at random moments while it sells, and count money, tokens and ledger entries.

A till sells with several requests at once and repeats each under the same ``sale_id`` until it has
an answer. At moments drawn from the seed the server is killed with SIGKILL, everything it started
with it, and started again on the same data folder. Virtual meters on the network take their
tokens all the while, over CoAP, from whatever server is there. At the end the till's own book is
held against the database, and the credit of each meter against the tokens sold for it.

Everything here runs on real time, the meters too.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from proof import Proof, Trial, main
from slotmeter.cli.data_folder import open_folder
from slotmeter.cli.ledger import verify
from slotmeter.testing import Fleet, Household, SpeedClock, VirtualMeter
from slotmeter.testing.server import Server
from slotmeter.testing.site import KRN, SGC, Site, make_site
from slotmeter.testing.till import SaleRecord, Till
from slotmeter.testing.town import TARIFFS
from slotmeter.units import Commodity, Energy
from slotmeter.vending.sts import KeyParameters, derive_decoder_key, luhn_digit, pan_of_drn
from slotmeter_nbiot.simulator import SIMULATOR

PROOF = Proof(
    name="kill9",
    claim="kill -9 at any moment loses no sale, doubles none, and every token is credited once",
    sizes="sales",
    size_full=2_000,
    seed=20_240_607,
)

METERS = 24
WH_PER_KWH = Energy.per_sold_unit
CLIENTS = 8
SALES_PER_KILL = 20
KILLS_MIN = 3
KILL_DELAY_S_MAX = 0.05
REPORT_EVERY_S = 5
POLL_EVERY_S = 0.5
DELIVERY_LOOK_S = 0.5
DELIVERY_LOOKS_MAX = 240
AMOUNTS = ("30", "50.00", "99.95", "200", "1000.50")


def run(trial: Trial) -> None:
    site = make_town(trial.folder / "data")
    asyncio.run(sell_under_fire(trial, site))


def make_town(folder: Path) -> Site:
    return make_site(
        folder,
        meter_file=meter_file(),
        tariffs=TARIFFS,
        principals={"till": ("service", "vendor")},
        ports=(0, -1, 0),
    )


def meter_numbers() -> list[str]:
    digits = [f"07{30_000_000 + serial:08d}" for serial in range(METERS)]
    return [each + luhn_digit(each) for each in digits]


def meter_file() -> str:
    """Two of three hold their credit, every other of these with a device; a third pay in."""
    lines = [
        "meter,commodity,credit_mode,customer_number,customer_name,address,tariff,installed_on,"
        "sgc,krn,medium,address_on_medium,driver"
    ]
    for at, number in enumerate(meter_numbers()):
        device = f"nbiot,ep-{number},slotmeter_virtual"
        who = f"C-{at},Customer {at},Road {at}"
        if at % 3 == 2:
            lines.append(f"{number},water,platform,{who},DOM-W,2025-01-01,,,{device}")
            continue
        reach = device if at % 2 else ",,"
        lines.append(f"{number},electricity,meter,{who},DOM-E,2025-01-01,{SGC},{KRN},{reach}")
    return "\n".join(lines) + "\n"


def online_numbers() -> list[str]:
    """Return the meters that hold their credit and are on the network."""
    return [number for at, number in enumerate(meter_numbers()) if at % 3 != 2 and at % 2]


@asynccontextmanager
async def meters_on_the_network(site: Site) -> AsyncIterator[Fleet]:
    """Let the meters live and ask whatever server is there for their commands."""
    clock = SpeedClock(datetime.now(UTC))
    numbers = online_numbers()
    meters = []
    for at, number in enumerate(numbers):
        parameters = KeyParameters(pan=pan_of_drn(number), sgc=SGC, krn=KRN, kt=2, ti=1)
        meters.append(
            VirtualMeter.create(
                number=number,
                commodity=Commodity.ELECTRICITY,
                household=Household(seed=at),
                made_at=clock.now(),
                decoder_key=derive_decoder_key(site.vending_key.key, parameters),
                parameters=parameters,
            )
        )
    fleet = await SIMULATOR.attach(
        meters,
        f"coap://127.0.0.1:{site.nbiot_port}",
        clock,
        report_every=timedelta(seconds=REPORT_EVERY_S),
        poll_every_s=POLL_EVERY_S,
        addresses={number: f"ep-{number}" for number in numbers},
    )
    try:
        yield fleet
    finally:
        await fleet.stop()


async def until_delivered(site: Site) -> int:
    """Wait until every token for a meter on the network was verified; return how many were not."""
    open_count = 0
    for _ in range(DELIVERY_LOOKS_MAX):
        [(open_count,)] = rows_of(
            site, "SELECT count(*) FROM sale WHERE delivery IN ('pending', 'sent', 'accepted')"
        )
        if not open_count:
            break
        await asyncio.sleep(DELIVERY_LOOK_S)
    return int(open_count)


class Begun:
    """How many sales were begun, for whoever waits for a number of them."""

    def __init__(self) -> None:
        self._count = 0
        self._waits: dict[int, asyncio.Event] = {}

    def add(self) -> None:
        self._count += 1
        for at, event in self._waits.items():
            if self._count >= at:
                event.set()

    async def reach(self, count: int) -> None:
        event = self._waits.setdefault(count, asyncio.Event())
        if self._count < count:
            await event.wait()


async def sell_under_fire(trial: Trial, site: Site) -> None:
    server = Server(site.config, port=site.http_port, log=site.folder / "serve.log")
    await server.start()
    async with meters_on_the_network(site) as fleet:
        records = await sell_and_kill(trial, site, server)
        undelivered = await until_delivered(site)
    await asyncio.to_thread(server.stop)
    trial.figure("requests sent", sum(record.tries for record in records))
    hold_credit_against(trial, fleet, records, undelivered)
    await hold_against(trial, site, records)


async def sell_and_kill(trial: Trial, site: Site, server: Server) -> Sequence[SaleRecord]:
    """Sell everything while the server is killed at the drawn moments."""
    plan = draw_plan(trial.size, trial.random)
    kills = draw_kills(trial.size, trial.random)
    killed_between = 0
    async with Till(site.api, site.key_of("till"), name="kill9") as till:
        numbers = iter(range(trial.size))
        begun = Begun()

        async def client() -> None:
            for number in numbers:
                begun.add()
                await till.sell(*plan[number])
                trial.progress(len(till.records))

        selling = [asyncio.create_task(client()) for _ in range(CLIENTS)]
        for at_sale, delay_s in kills:
            await begun.reach(at_sale)
            await asyncio.sleep(delay_s)
            server.kill()
            killed_between += count_pending(site) > 0
            await server.start()
        await asyncio.gather(*selling)
        trial.figure("times killed", len(kills))
        trial.figure("of these with a sale between its two commits", killed_between)
        return till.records


def hold_credit_against(
    trial: Trial, fleet: Fleet, records: Sequence[SaleRecord], undelivered: int
) -> None:
    """Hold what each meter took against the tokens that were sold for it."""
    sold: dict[str, Decimal] = defaultdict(Decimal)
    for record in records:
        sold[record.meter] += Decimal(record.sale["units"]) * WH_PER_KWH
    took = {number: link.meter.credit_total or 0 for number, link in fleet.links.items()}
    trial.figure("tokens sold to meters on the network", sum(r.meter in took for r in records))
    trial.check("every token for a meter on the network was verified", undelivered == 0)
    trial.check(
        "each meter's credit rose once by each token sold for it",
        all(total == sold[number] for number, total in took.items()),
        f"{sum(took.values())} Wh in {len(took)} meters",
    )


def draw_plan(size: int, random: Random) -> list[tuple[str, str]]:
    numbers = meter_numbers()
    return [(random.choice(numbers), random.choice(AMOUNTS)) for _ in range(size)]


def draw_kills(size: int, random: Random) -> list[tuple[int, float]]:
    """Return at which sale, and how long after it was begun, the server is killed."""
    count = max(KILLS_MIN, size // SALES_PER_KILL)
    moments = sorted(random.randrange(1, max(2, size)) for _ in range(count))
    return [(moment, random.uniform(0, KILL_DELAY_S_MAX)) for moment in moments]


def rows_of(site: Site, query: str) -> Iterator[tuple[Any, ...]]:
    with closing(sqlite3.connect(site.folder / "slotmeter.db")) as connection:
        yield from connection.execute(query)


def count_pending(site: Site) -> int:
    [(count,)] = rows_of(site, "SELECT count(*) FROM sale WHERE state = 'pending'")
    return int(count)


async def hold_against(trial: Trial, site: Site, records: Sequence[SaleRecord]) -> None:
    """Hold the till's book against the database."""
    verdict = await verify(argparse.Namespace(data=site.folder, utility=None))
    figures = verdict.figures
    taken_minor = sum(int(Decimal(record.tendered) * 100) for record in records)
    till_tokens = Counter(record.token for record in records if record.token is not None)
    async with open_folder(site.folder) as folder, folder.vault() as vault:
        sealed = rows_of(site, "SELECT digits FROM token")
        booked_tokens = Counter(vault.tokens.open(text) for (text,) in sealed)
    booked = dict(rows_of(site, "SELECT sale_id, receipt_number FROM sale"))
    [(till_minor,)] = rows_of(
        site, "SELECT balance_minor FROM ledger_account WHERE code = 'till:head-office'"
    )
    told = {
        record.sale_id: {sale["receipt_number"] for _, sale in record.answers} for record in records
    }
    trial.figure("sales", len(records))
    trial.figure("tokens", sum(till_tokens.values()))
    trial.figure("money taken", f"{Decimal(taken_minor) / 100:,} {verdict.currency}")
    trial.figure("journal entries", figures["journals"])
    broken = [each.sentence for each in verdict.sentences if not each.holds]
    trial.check("slotmeter ledger verify finds nothing", verdict.holds, "; ".join(broken))
    trial.check(
        "every sale that was paid for is booked once, and no other",
        {sale_id: {number} for sale_id, number in booked.items()} == told,
        f"{len(told)} paid, {len(booked)} booked",
    )
    trial.check(
        "money taken is money booked, and what the till owes",
        taken_minor == figures["tendered_minor"] == till_minor,
        f"{taken_minor}, {figures['tendered_minor']} and {till_minor} minor units",
    )
    trial.check(
        "the tokens handed out are the tokens issued, each once",
        till_tokens == booked_tokens and set(till_tokens.values()) <= {1},
        f"{len(till_tokens)} handed out, {len(booked_tokens)} issued",
    )
    trial.check("no sale is left pending", figures["sales_pending"] == 0)


if __name__ == "__main__":
    raise SystemExit(main(PROOF, run))

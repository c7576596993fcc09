"""A million stored sales priced again in order per account, read from the database.

    python benchmarks/bench_reprice.py [--sales 1000000] [--processes 2] [--folder DIR]

The database is made first: customers of the Kenyan tariff with its fixed charge (three blocks, five
levies, a percentage of energy, VAT on some of them), a third of them with a debt that takes a share
of each purchase, fifty purchases each within a year, written in the order of time as a server would
write them, with receipts of their real size. Rows are written straight into the tables; what is in
them was priced by the engine. Then every sale is priced again on two processes and compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from slotmeter.runtime.repricing import Verified, verify_sales
from slotmeter.storage.migrate import migrate
from slotmeter.storage.schema import METADATA
from slotmeter.tariff_packs import pack_texts
from slotmeter.units import DAY_US
from slotmeter.vending.pricing.charges_due import TakenCharge
from slotmeter.vending.pricing.engine import open_charges, price_tender, window_start_us
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import DebtState, Situation
from slotmeter.vending.receipts.assembly import line_dicts
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import read_tariff

SECONDS_MAX = 120
MEMORY_MIB_MAX = 300
SALES_PER_POINT = 50
HISTORIES = 200
PACK = "ke-kplc-dc-fixed-charge-era"
ZONE = "Africa/Nairobi"
START_US = 1_767_214_800_000_000  # 2026-01-01 00:00 in Nairobi
YEAR_DAYS = 365
SEED = 20_261_121
EVER_US = 2**62


@dataclass(frozen=True, slots=True)
class Sold:
    """One purchase of one history, as its row will hold it."""

    sold_us: int
    tender_minor: int
    units: int
    counted_units: int
    situation: str
    priced: str
    receipt: str


# --- histories ------------------------------------------------------------------------------------


def history(tariff: Tariff, number: int) -> list[Sold]:
    """Return the purchases of one customer in a year, priced one after the other."""
    draw = Random(SEED + number)
    times = sorted(START_US + draw.randrange(YEAR_DAYS * DAY_US) for _ in range(SALES_PER_POINT))
    debt = None
    if number % 3 == 0:
        debt = DebtState(number + 1, "arrears", "Arrears of 2025", 1, 400_000, percent="20")
        debt = replace(debt, number=f"D{number:08d}")
    sold: list[Sold] = []
    taken: dict[tuple[str, str], TakenCharge] = {}
    counts: list[tuple[int, int]] = []
    for at_us in times:
        start_us = window_start_us(tariff.energy.counter, at_us, ZONE)
        before = sum(units for when_us, units in counts if start_us <= when_us < at_us)
        situation = Situation(
            at_us=at_us,
            time_zone=ZONE,
            prior_units=before,
            vendor="head-office",
            account_number=f"A{number:06d}",
            debts=() if debt is None or not debt.balance_minor else (debt,),
        )
        situation = replace(situation, charges=open_charges(tariff, situation, taken.values()))
        tender = draw.choice((25_050, 30_000, 50_000, 100_000, 200_000))
        priced = price_tender(tariff, situation, tender)
        for charge in priced.charges:
            key = (charge.code, charge.period)
            old = taken.get(key)
            minor = charge.net_minor + (0 if old is None else old.taken_minor)
            taken[key] = TakenCharge(charge.code, charge.period, minor, charge.due_minor)
        if debt is not None and priced.debts:
            debt = replace(debt, balance_minor=debt.balance_minor - priced.debts[0].minor)
        counts.append((at_us, priced.counted_units))
        sold.append(_sold(situation, tender, priced))
    return sold


def _sold(situation: Situation, tender: int, priced: Priced) -> Sold:
    lines = line_dicts(priced.lines)
    receipt = {**_PARTICULARS, "lines": lines, "tendered_minor": tender, "token": "1" * 20}
    return Sold(
        sold_us=situation.at_us,
        tender_minor=tender,
        units=priced.units,
        counted_units=priced.counted_units,
        situation=json.dumps(situation.to_dict(), separators=(",", ":")),
        priced=json.dumps(lines, separators=(",", ":")),
        receipt=json.dumps(receipt, separators=(",", ":")),
    )


_PARTICULARS = {
    "time_zone": ZONE,
    "utility_name": "Mji Utilities",
    "utility_address": "Kenyatta Avenue 1, Nairobi",
    "tax_number": "P051234567X",
    "branch": "Head office",
    "operator": "till-1",
    "customer_number": "C-1001",
    "customer_name": "Amina Otieno",
    "customer_address": "Argwings Kodhek Road 12",
    "account_number": "C-1001",
    "meter_number": "07100000004",
    "commodity": "electricity",
    "supply_group_code": "600727",
    "key_revision": 1,
    "tariff_index": 1,
    "tariff_code": PACK,
    "tariff_title": "Kenya Power domestic DC, with fixed charge",
    "tariff_version": 1,
    "delivery": "keypad",
}


# --- the database ---------------------------------------------------------------------------------


def make_database(path: Path, sales: int) -> None:
    """Write a database with a number of sales."""
    migrate(path)
    document, tariff = read_tariff(pack_texts()[PACK])
    points = max(1, sales // SALES_PER_POINT)
    histories = [history(tariff, number) for number in range(min(HISTORIES, points))]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        _insert_owner(connection, json.dumps(document))
        names = [column.name for column in METADATA.tables["sale"].columns]
        marks = ", ".join("?" * len(names))
        connection.executemany(
            f"INSERT INTO sale ({', '.join(names)}) VALUES ({marks})",  # noqa: S608  our own names
            _sale_rows(names, histories, points),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


def _insert_owner(connection: sqlite3.Connection, body: str) -> None:
    rows: dict[str, dict[str, Any]] = {
        "utility": {"code": "mji", "name": "Mji", "currency": "KES", "time_zone": ZONE},
        "tariff": {"code": PACK, "title": PACK, "commodity": "electricity", "currency": "KES"},
        "tariff_version": {"tariff_id": 1, "version": 1, "valid_from_us": 0, "body": body},
    }
    for table, given in rows.items():
        row = {**_nothing(table), **given, "id": 1, "utility_id": 1}
        row = {name: value for name, value in row.items() if name in METADATA.tables[table].c}
        marks = ", ".join("?" * len(row))
        connection.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})",  # noqa: S608  our own names
            tuple(row.values()),
        )


def _nothing(table: str) -> dict[str, Any]:
    """Return an empty value for every column that needs one."""
    return {
        column.name: None if column.nullable else ("" if column.type.python_type is str else 0)
        for column in METADATA.tables[table].columns
    }


def _sale_rows(
    names: list[str], histories: list[list[Sold]], points: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows in the order of time; each history happens at many supply points."""
    fixed = {
        **_nothing("sale"),
        "utility_id": 1,
        "principal_id": 1,
        "branch_id": 1,
        "tariff_version_id": 1,
        "state": "issued",
        "currency": "KES",
        "channel": "till",
        "credit_mode": "meter",
        "delivery": "keypad",
        "particulars": json.dumps(_PARTICULARS),
        "act": json.dumps({"principal": "till-1", "api_key_id": 1, "address": "10.0.0.1"}),
        "request_hash": "0" * 64,
        "transfer": "units",
    }
    events = sorted(
        (sold.sold_us, number, sold) for number, each in enumerate(histories) for sold in each
    )
    row_id = 0
    for _, number, sold in events:
        for point in range(number, points, len(histories)):
            row_id += 1
            row = {
                **fixed,
                "id": row_id,
                "sale_id": f"till-1:{row_id:09d}",
                "receipt_number": f"R{row_id:08d}",
                "meter_id": point + 1,
                "account_id": point + 1,
                "supply_point_id": point + 1,
                "tender_minor": sold.tender_minor,
                "units": sold.units,
                "counted_units": sold.counted_units,
                "sold_us": sold.sold_us,
                "issued_us": sold.sold_us,
                "situation": sold.situation,
                "priced": sold.priced,
                "receipt": sold.receipt,
            }
            yield tuple(row[name] for name in names)


# --- measuring ------------------------------------------------------------------------------------


def measure(path: Path, processes: int) -> tuple[Verified, float]:
    """Price every sale again; return what came of it and the seconds."""
    console = Console(stderr=True)
    columns = ("pricing again", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started_s = time.perf_counter()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("sales", total=None)
        verified = verify_sales(
            path,
            1,
            from_us=0,
            to_us=EVER_US,
            processes=processes,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return verified, time.perf_counter() - started_s


def processor_seconds() -> float:
    """Return what this process and those that it waited for have used of the processors."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sales", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the database is made; a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "slotmeter.db"
        started_s = time.perf_counter()
        make_database(path, options.sales)
        made_s = time.perf_counter() - started_s
        size_mib = path.stat().st_size // 2**20
        print(f"made {options.sales:,} sales in {made_s:.0f} s, {size_mib:,} MiB")
        before_s = processor_seconds()
        verified, seconds = measure(path, options.processes)
        processor_s = processor_seconds() - before_s
    found = verified.repriced
    for each in found.differences:
        print(f"  {each.receipt_number}, {each.what}: stored {each.stored}, now {each.computed}")
    memory_mib = verified.memory_kib_max // 1024
    limit_s = SECONDS_MAX * found.sales / 1_000_000
    print(f"priced again     {found.sales:>12,}")
    print(f"differences      {found.different:>12,}  (limit 0)")
    print(f"seconds          {seconds:>12.1f}  (limit {limit_s:.1f})")
    print(f"processor seconds{processor_s:>12.1f}")
    print(f"sales a second   {found.sales / seconds:>12,.0f}")
    print(f"memory, each MiB {memory_mib:>12,}  (limit {MEMORY_MIB_MAX})")
    is_timed = found.sales >= 1_000_000  # starting processes takes longer than a few sales
    holds = (
        found.different == 0
        and memory_mib <= MEMORY_MIB_MAX
        and (seconds <= limit_s or not is_timed)
    )
    print("holds" if holds else "DOES NOT HOLD")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

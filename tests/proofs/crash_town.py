"""The town of the crash proof: Kenya's tariff, two debts on each account, credit on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, cast

from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.postgres_server import PostgresServer, find_programs
from slotmeter.testing.site import KRN, SGC, Site, bring_in, make_site
from slotmeter.testing.town import TARIFFS
from slotmeter.vending.sts import luhn_digit
from slotmeter.vending.tariff.marks import plain, read_yaml

__all__ = ["SQLITE", "CrashTown", "database_for"]

SQLITE = "sqlite"
PACK = "ke-kplc-dc-fixed-charge-era"
BRANCH = "head-office"
SALES_PER_METER = 20
"""More in one month than households buy; a sale reads those of its meter in the month."""
METERS_MIN = 64
PLATFORM_EVERY = 8
DEBT_PERCENT = 20


class CrashTown:
    """Who lives there.

    Args:
        sales: how many will be made; decides how many meters it takes.
        seed: decides what is owed.
    """

    def __init__(self, sales: int, seed: int) -> None:
        self._seed = seed
        count = max(METERS_MIN, sales // SALES_PER_METER)
        digits = [f"07{50_000_000 + serial:08d}" for serial in range(count)]
        self.meters = [each + luhn_digit(each) for each in digits]

    def account(self, at: int) -> str:
        return f"C-{at}"

    def make(self, folder: Path, database_url: str) -> Site:
        """Make its data folder, on a database of the given address or on a file."""
        kenya = {**cast("dict[str, Any]", plain(read_yaml(pack_texts()[PACK]))), "tariff": "DOM-E"}
        water = next(each for each in TARIFFS if each["commodity"] == "water")
        site = make_site(
            folder,
            meter_file=self._meter_file(),
            tariffs=(kenya, water),
            principals={"till": ("service", "vendor"), "boss": ("person", "supervisor")},
            ports=(0, -1, 0),
            database_url=database_url,
        )
        bring_in(site, debt_file=self._debt_file(), who="boss")
        return site

    def _meter_file(self) -> str:
        """One meter in eight pays into an account; the others have a keypad and no network."""
        installed = f"{datetime.now(UTC):%Y-%m-01}"
        lines = [
            "meter,commodity,credit_mode,customer_number,customer_name,address,tariff,"
            "installed_on,sgc,krn,medium,address_on_medium,driver"
        ]
        for at, number in enumerate(self.meters):
            who = f"{self.account(at)},Customer {at},Road {at}"
            if at % PLATFORM_EVERY == 0:
                device = f"nbiot,ep-{number},slotmeter_virtual"
                lines.append(f"{number},water,platform,{who},DOM-W,{installed},,,{device}")
            else:
                lines.append(f"{number},electricity,meter,{who},DOM-E,{installed},{SGC},{KRN},,,")
        return "\n".join(lines) + "\n"

    def _debt_file(self) -> str:
        random = Random(self._seed)
        lines = ["number,account,kind,amount,label,plan,percent,instalment,every"]
        for at in range(len(self.meters)):
            arrears, loan = random.randrange(500, 50_000), random.randrange(100, 2_000)
            who = self.account(at)
            lines += [
                f"ARREARS-{at},{who},arrears,{arrears},Old bill,percent,{DEBT_PERCENT},,",
                f"LOAN-{at},{who},loan,{loan},Cooker,instalments,,10.00,purchase",
            ]
        return "\n".join(lines) + "\n"


@contextmanager
def database_for(kind: str) -> Iterator[PostgresServer | None]:
    """Run a PostgreSQL server of our own that keeps what it has committed, or nothing for SQLite.

    Raises:
        RuntimeError: PostgreSQL is not installed.
    """
    if kind == SQLITE:
        yield None
        return
    programs = find_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed (apt install postgresql)")
    with PostgresServer(programs, durable=True) as server:
        yield server

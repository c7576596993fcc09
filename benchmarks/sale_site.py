"""What the benchmarks of sales sell on: a folder made by commands, or one that was generated."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from slotmeter.cli import EXIT_OK, main
from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.server import Server
from slotmeter.testing.site import KRN, SGC, Site, bring_in, free_ports, make_site
from slotmeter.vending.sts import luhn_digit
from slotmeter.vending.tariff.reader import read_tariff

__all__ = [
    "AMOUNTS",
    "DEBTS_MAX",
    "TARIFFS",
    "Serving",
    "generated",
    "is_durable",
    "meter_numbers",
    "meters_of",
    "running_folder",
    "running_server",
    "site_to_sell_on",
]

SEED: Final = 20_240_607
CODE: Final = "DOM-E"
PACK: Final = "ke-kplc-dc-fixed-charge-era"
_ONE_PRICE: Final[Mapping[str, Any]] = {
    "tariff": CODE,
    "title": "Domestic electricity",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"price": "21.50"},
    "taxes": {"vat": {"label": "VAT", "percent": "16", "on": ["energy", "fixed"]}},
    "fixed": {"service": {"label": "Service", "amount": "10.00"}},
    "purchase": {"minimum": "20.00", "maximum": "50000.00"},
}
TARIFFS: Final[Mapping[str, Mapping[str, Any]]] = {
    "kenya": {**read_tariff(pack_texts()[PACK])[0], "tariff": CODE},
    "one-price": _ONE_PRICE,
}
"""Kenya's of the pack: blocks, six levies, tax, a charge a month. And one price with a tax and a
charge, by which rates of all releases compare."""
AMOUNTS: Final[Mapping[str, Sequence[str]]] = {
    "kenya": ("250", "300", "500.00", "750", "1000.50"),
    "one-price": ("50", "100", "200.00", "500", "1000.50"),
}
"""Each pays the month's charge and leaves something for energy."""
DEBTS: Final = ((1, 10), (2, 5))
"""Number of a debt, and what each purchase repays of it, in percent."""
DEBTS_MAX: Final = len(DEBTS)
DEBT: Final = "50000.00"
READY_S_MAX: Final = 600.0
"""A large folder is looked through when a server opens it first."""


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
            f"{number},electricity,C-{at},Customer {at},Nairobi,Road {at},{CODE},2025-01-01,"
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
def running_folder(folder: Path, config: Path) -> Iterator[Serving]:
    """Run the server of a folder that was generated, on ports that are free now.

    Args:
        folder: as ``slotmeter generate`` made it.
        config: where to put settings with these ports.
    """
    http_port, nbiot_port = free_ports(2)
    text = (folder / "slotmeter.toml").read_text()
    for name, value in (("folder", f'"{folder.resolve()}"'), ("port", str(http_port))):
        text = re.sub(rf"^{name} = .*?(?= *#|$)", f"{name} = {value}", text, count=1, flags=re.M)
    head, entry, rest = text.partition("[[entry]]")
    rest = re.sub(r"^port = \d+", f"port = {nbiot_port}", rest, flags=re.M)
    config.write_text(head + entry + rest)
    with _running(config, http_port, folder / "till.key") as serving:
        yield serving


@contextmanager
def _running(config: Path, port: int, key_file: Path) -> Iterator[Serving]:
    server = Server(config, port=port, log=config.with_suffix(".log"))
    server.launch()
    try:
        server.wait_until_ready(READY_S_MAX)
        assert server.pid is not None
        key = key_file.read_text().strip()
        yield Serving(key, port, server.synchronous(), server.pid)
    finally:
        server.stop()


def generated(folder: Path, meters: int, sales: int) -> None:
    """Make a folder as ``slotmeter generate`` does."""
    asked = ("generate", "--meters", str(meters), "--sales", str(sales), "--data", str(folder))
    if main(asked) != EXIT_OK:
        raise SystemExit(f"slotmeter generate did not make {folder}")


def meters_of(folder: Path, count: int) -> list[str]:
    """Return so many meters of a folder, drawn from all of them."""
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection:
        numbers = [row[0] for row in connection.execute("SELECT number FROM meter")]
    return Random(SEED).sample(numbers, min(count, len(numbers)))


def site_to_sell_on(
    folder: Path,
    numbers: Sequence[str],
    *,
    tariff: str,
    debts: int,
    with_devices: bool,
    database_url: str = "",
) -> Site:
    """Make a folder with these meters, each account with so many debts."""
    site = make_site(
        folder,
        meter_file=meter_file(numbers, with_devices=with_devices),
        tariffs=[TARIFFS[tariff]],
        principals={"till": ("service", "vendor"), "boss": ("person", "admin")},
        ports=(0, -1, 0),
        database_url=database_url,
    )
    if debts:
        bring_in(site, debt_file=debt_file(len(numbers), debts), who="boss")
    return site


@contextmanager
def running_server(
    folder: Path, numbers: Sequence[str], *, tariff: str, debts: int, with_devices: bool
) -> Iterator[Serving]:
    """Make a folder and run its server."""
    site = site_to_sell_on(folder, numbers, tariff=tariff, debts=debts, with_devices=with_devices)
    with _running(site.config, site.http_port, folder / "till.key") as serving:
        yield serving


def debt_file(meters: int, debts: int) -> str:
    """Return the file of so many debts of each account."""
    lines = ["number,account,kind,amount,label,plan,percent"]
    for at in range(meters):
        for number, percent in DEBTS[:debts]:
            lines.append(
                f"OLD-{at}-{number},C-{at},arrears,{DEBT},Old bill {number},percent,{percent}"
            )
    return "\n".join(lines) + "\n"


def is_durable(synchronous: str) -> bool:
    """Say whether an answer under this setting waits for the disk."""
    return synchronous in {"FULL", "EXTRA"}

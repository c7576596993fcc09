"""A data folder as an office has it, made by the commands themselves: for tests of commands."""

from __future__ import annotations

from pathlib import Path

from slotmeter.cli import EXIT_OK, main
from slotmeter.testing.small_utility import meter_number

__all__ = ["OFFICE_TARIFF", "make_office_folder"]

OFFICE_TARIFF = """\
tariff: DOM-E
title: Domestic electricity
commodity: electricity
currency: KES
energy: {label: Energy, price: 20}
taxes: {vat: {label: VAT, percent: 16, on: [energy]}}
"""
METERS = (
    "meter,commodity,credit_mode,customer_number,customer_name,phone,address,area,tariff,"
    "installed_on,medium,address_on_medium,driver\n"
    "{one},electricity,platform,C-1,Amina Otieno,+254700000001,Road 1,North/A,DOM-E,2025-03-01,"
    "nbiot,ep-1,slotmeter_virtual\n"
    "{two},electricity,platform,C-2,Brian Kamau,,Road 2,South/B,DOM-E,2025-03-01,"
    "nbiot,ep-2,slotmeter_virtual\n"
)
PEOPLE = (("clerk", "office"), ("boss", "supervisor"), ("till", "vendor"))


def make_office_folder(folder: Path) -> Path:
    """Make a folder with accounts C-1 and C-2, and key files of clerk, boss and till in it."""
    data = ("--data", str(folder / "data"))
    (folder / "tariff.yaml").write_text(OFFICE_TARIFF)
    meters = METERS.format(one=meter_number(1), two=meter_number(2))
    (folder / "meters.csv").write_text(meters)
    made = [
        main(["init", "--utility-name", "Mji", "--tax-number", "P05", *data]),
        main(["tariff", "add", str(folder / "tariff.yaml"), *data]),
        main(["import", "meters", str(folder / "meters.csv"), *data]),
    ]
    for name, role in PEOPLE:
        key_file = str(folder / "data" / f"{name}.key")
        made.append(main(["user", "add", name, "--role", role, *data]))
        made.append(main(["user", "key", name, "--key-file", key_file, *data]))
    assert made == [EXIT_OK] * len(made)
    return folder / "data"

"""One row of a meter file: what its cells mean, and everything that is wrong with them; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from slotmeter.errors import Refused
from slotmeter.services.csv_table import Column, RowProblem
from slotmeter.units import Commodity, parse_money
from slotmeter.vending.sts import KEN_NEVER, KeyParameters, check_drn, pan_of_drn

__all__ = ["COLUMNS", "Column", "MeterRow", "RowProblem", "read_row"]

TEXT_CHARACTERS_MAX = 200
EARLIEST_INSTALLATION = date(1990, 1, 1)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:+-]{0,63}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+")
_DIGITS = re.compile(r"[0-9]{1,9}")


COLUMNS = (
    Column("meter", "Meter number (DRN): 11 or 13 digits with check digit.", "01234567897", True),
    Column("commodity", "`electricity`, `water` or `gas`.", "electricity", True),
    Column(
        "credit_mode",
        "`meter`: the meter holds the credit and takes tokens; `platform`: the ledger holds it.",
        "meter",
        default="meter",
    ),
    Column("customer_number", "The utility's number for the customer.", "C-1001", True),
    Column("customer_name", "Who buys.", "Amina Otieno", True),
    Column("phone", "The customer's telephone number.", "+254700000001"),
    Column("customer_address", "Postal address; empty: the address of the supply point.", ""),
    Column("account", "Account number; empty: the customer number.", ""),
    Column("supply_point", "Supply point number; empty: the meter number.", ""),
    Column("area", "Path from the region down, parts joined by `/`.", "Nairobi/Kilimani"),
    Column("address", "Where the meter hangs.", "Argwings Kodhek Road 12", True),
    Column("tariff", "Code of a tariff that `slotmeter tariff add` has brought in.", "DOM-E", True),
    Column("installed_on", "Day of installation, `YYYY-MM-DD`, local.", "2025-03-01", True),
    Column("sgc", "Supply group code, six digits; meter-held credit only.", "600001"),
    Column("krn", "Key revision number, 1 to 9.", "1", default="1"),
    Column("ti", "Tariff index, 0 to 99.", "1", default="1"),
    Column("kt", "Key type, 0 to 3.", "2", default="2"),
    Column("ken", "Key expiry number, 0 to 255.", "255", default=str(KEN_NEVER)),
    Column(
        "base_date", "Year from which tokens count: 1993, 2014 or 2035.", "2014", default="2014"
    ),
    Column("ea", "Encryption algorithm: 7 or 11.", "7", default="7"),
    Column("dkga", "Key generation algorithm: 01, 02 or 04.", "04", default="04"),
    Column("table_set", "Name of the EA07 table set.", "production", default="production"),
    Column(
        "medium",
        "The medium that reaches the meter, as `nbiot` or `ip` (not the key of an entry); "
        "empty: keypad only.",
        "nbiot",
    ),
    Column("address_on_medium", "The medium's name for the device.", "ep-01234567897"),
    Column("driver", "Which driver reads its frames.", "slotmeter_virtual"),
    Column("purchase_max", "Most money for one purchase, in major units.", "20000.00"),
)
"""The columns, in the order of the template. Their order in a file is free."""

_BY_NAME = {column.name: column for column in COLUMNS}
_KEY_COLUMNS = ("sgc", "krn", "ti", "kt", "ken", "base_date", "ea", "dkga", "table_set")
_WHOLE_NUMBERS = ("krn", "ti", "kt", "ken", "base_date", "ea")
_DEVICE_COLUMNS = ("medium", "address_on_medium", "driver")


@dataclass(frozen=True, slots=True)
class MeterRow:
    """One row that is right in itself; see ``COLUMNS`` for the meaning of the fields."""

    row: int
    meter: str
    commodity: Commodity
    credit_mode: str
    customer_number: str
    customer_name: str
    phone: str
    customer_address: str
    account: str
    supply_point: str
    area: str
    address: str
    tariff: str
    installed_on: date
    parameters: KeyParameters | None
    medium: str
    address_on_medium: str
    driver: str
    purchase_max_minor: int | None


def read_row(
    number: int, values: Mapping[str, str], *, currency: str, today: date
) -> tuple[MeterRow | None, tuple[RowProblem, ...]]:
    """Read one row.

    Args:
        number: of the row, for the problems.
        values: the cell of every column of ``COLUMNS``, stripped; "" where there is none.
        currency: of the utility, for amounts.
        today: in the utility's time zone.

    Returns:
        The row, or None and what is wrong with it.
    """
    cells = _Cells(number, values)
    credit_mode = cells.choice("credit_mode", ("meter", "platform")) or "meter"
    commodity = cells.choice("commodity", tuple(each.value for each in Commodity))
    texts = {name: cells.text(name) for name in _TEXT_COLUMNS}
    names = {name: cells.name(name) for name in _NAME_COLUMNS}
    meter = cells.meter()
    installed_on = cells.day("installed_on", today)
    parameters = cells.key_parameters(meter if credit_mode == "meter" else None)
    purchase_max_minor = cells.amount("purchase_max", currency)
    cells.device(credit_mode)
    if cells.problems or installed_on is None:
        return None, tuple(cells.problems)
    row = MeterRow(
        row=number,
        meter=meter,
        commodity=Commodity(commodity),
        credit_mode=credit_mode,
        account=names["account"] or names["customer_number"],
        supply_point=names["supply_point"] or meter,
        customer_number=names["customer_number"],
        customer_name=texts["customer_name"],
        phone=texts["phone"],
        customer_address=texts["customer_address"] or texts["address"],
        area=texts["area"],
        address=texts["address"],
        tariff=names["tariff"],
        installed_on=installed_on,
        parameters=parameters,
        medium=names["medium"],
        address_on_medium=names["address_on_medium"],
        driver=names["driver"],
        purchase_max_minor=purchase_max_minor,
    )
    return row, ()


_TEXT_COLUMNS = ("customer_name", "phone", "customer_address", "area", "address")
_NAME_COLUMNS = (
    *("customer_number", "account", "supply_point", "tariff"),
    *_DEVICE_COLUMNS,
)


@dataclass(slots=True)
class _Cells:
    """The cells of a row; each method reads one and notes what is wrong with it."""

    number: int
    values: Mapping[str, str]
    problems: list[RowProblem] = field(default_factory=list)

    def bad(self, name: str, code: str, reason: str) -> None:
        self.problems.append(RowProblem(self.number, name, code, reason))

    def given(self, name: str) -> str:
        """Return the cell, or the column's default; a needed cell that is empty is a problem."""
        value = self.values[name]
        column = _BY_NAME[name]
        if column.needed and not value:
            self.bad(name, "missing", "must not be empty")
        return value or column.default

    def text(self, name: str) -> str:
        value = self.given(name)
        if len(value) > TEXT_CHARACTERS_MAX:
            reason = f"expected at most {TEXT_CHARACTERS_MAX} characters, got {len(value)}"
            self.bad(name, "too_long", reason)
        elif not value.isprintable():
            self.bad(name, "not_printable", "has a line break or a control character")
        return value

    def name(self, name: str) -> str:
        value = self.given(name)
        if value and not _NAME.fullmatch(value):
            self.bad(
                name,
                "bad_name",
                "expected 1 to 64 letters, digits and . _ / : + - (no spaces), "
                f"got {value[:70]!r}{_spreadsheet_hint(value)}",
            )
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.given(name).lower()
        if value and value not in choices:
            self.bad(name, f"unknown_{name}", f"expected {' or '.join(choices)}, got {value!r}")
        return value

    def meter(self) -> str:
        value = self.given("meter")
        if not value:
            return value
        try:
            check_drn(value)
        except Refused as refused:
            got = f"; got {value!r}{_spreadsheet_hint(value)}"
            self.bad("meter", refused.code, f"{refused.message}{got}")
        return value

    def day(self, name: str, today: date) -> date | None:
        value = self.given(name)
        if not value:
            return None
        try:
            day = date.fromisoformat(value) if _DATE.fullmatch(value) else None
        except ValueError:
            self.bad(name, "wrong_date", f"there is no such day: {value}")
            return None
        if day is None:
            self.bad(name, "wrong_date", f"expected YYYY-MM-DD as 2025-03-01, got {value!r}")
        elif not EARLIEST_INSTALLATION <= day <= today:
            reason = f"expected {EARLIEST_INSTALLATION} to {today} (today), got {value}"
            self.bad(name, "wrong_date", reason)
        return day

    def whole(self, name: str) -> int | None:
        value = self.given(name)
        if not _DIGITS.fullmatch(value):
            self.bad(name, f"bad_{name}", f"expected a whole number, got {value!r}")
            return None
        return int(value)

    def amount(self, name: str, currency: str) -> int | None:
        value = self.given(name)
        if not value:
            return None
        try:
            minor = parse_money(value, currency, name).minor
        except Refused as refused:
            self.bad(name, refused.code, refused.message)
            return None
        if minor <= 0:
            self.bad(name, "amount_not_positive", f"expected more than zero, got {value}")
        return minor

    def key_parameters(self, drn: str | None) -> KeyParameters | None:
        """Read the key columns of a meter that takes tokens; others must leave them empty."""
        if drn is None:
            for name in _KEY_COLUMNS:
                if self.values[name]:
                    reason = "must be empty: a meter with credit_mode platform takes no tokens"
                    self.bad(name, "not_for_platform_credit", reason)
            return None
        if not self.values["sgc"]:
            self.bad("sgc", "missing", "must not be empty: a meter that takes tokens has one")
        numbers = {name: self.whole(name) for name in _WHOLE_NUMBERS}
        if self.problems or None in numbers.values():
            return None
        try:
            return KeyParameters(
                pan=pan_of_drn(drn),
                sgc=self.values["sgc"],
                dkga=self.given("dkga").zfill(2),
                table_set=self.given("table_set"),
                **{name: value for name, value in numbers.items() if value is not None},
            )
        except Refused as refused:
            hint = _spreadsheet_hint(self.values.get(refused.field or "", ""))
            self.bad(refused.field or "sgc", refused.code, refused.message + hint)
            return None

    def device(self, credit_mode: str) -> None:
        """Check that the columns of a device come together, and are there where they must be."""
        empty = [name for name in _DEVICE_COLUMNS if not self.values[name]]
        if len(empty) == len(_DEVICE_COLUMNS) and credit_mode == "meter":
            return
        why = (
            "must not be empty beside the other columns of the device"
            if len(empty) < len(_DEVICE_COLUMNS)
            else "must not be empty: without readings the platform cannot hold the credit"
        )
        for name in empty:
            self.bad(name, "missing", why)


def _spreadsheet_hint(value: str) -> str:
    """Say what a spreadsheet has probably done to a number of many digits."""
    if _SCIENTIFIC.fullmatch(value):
        return "; a spreadsheet has rounded it: format the column as text and enter it again"
    if value.isdigit() and len(value) in (5, 10, 12):
        return "; has a spreadsheet dropped a leading zero?"
    return ""

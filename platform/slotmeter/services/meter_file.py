"""The meter file: a table of meters as a utility has it, read and checked row by row; pure.

Every row is checked against itself and against the rows before it, so that one pass names all that
is wrong. What only the database can say (is there such a tariff?) is checked by ``registry``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from slotmeter.services.csv_table import csv_template, table_rows
from slotmeter.services.meter_row import COLUMNS, MeterRow, RowProblem, read_row

__all__ = ["FILE_ROWS_MAX", "MeterFile", "read_meter_file", "template"]

FILE_ROWS_MAX = 500_000
"""At most this many meters in one file."""

PROGRESS_ROWS = 1_000

TEMPLATE_HINT = "slotmeter import meters --template"


@dataclass(frozen=True, slots=True)
class MeterFile:
    """What came out of a file: rows that are right in themselves, and everything that is wrong."""

    rows: tuple[MeterRow, ...]
    problems: tuple[RowProblem, ...]
    rows_read: int


def template() -> str:
    """Return a file with the headings and one worked row."""
    return csv_template(COLUMNS)


def read_meter_file(
    content: bytes,
    *,
    currency: str,
    today: date,
    progress: Callable[[int], None] | None = None,
) -> MeterFile:
    """Read a meter file: UTF-8 with or without BOM, comma, semicolon or tab between the cells.

    Args:
        content: the file.
        currency: of the utility, for amounts.
        today: in the utility's time zone; a meter cannot be installed later.
        progress: called with the number of rows read, now and then.

    Raises:
        Refused: the file as a whole cannot be read (``file_*``).
    """
    checker = _Checker(currency=currency, today=today)
    rows = table_rows(content, COLUMNS, rows_max=FILE_ROWS_MAX, template_hint=TEMPLATE_HINT)
    for number, values in rows:
        checker.check(number, values)
        if progress is not None and checker.rows_read % PROGRESS_ROWS == 0:
            progress(number)
    return MeterFile(tuple(checker.rows), tuple(checker.problems), checker.rows_read)


@dataclass(slots=True)
class _Checker:
    """Checks rows one after the other and remembers what may occur once only."""

    currency: str
    today: date
    rows: list[MeterRow] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    rows_read: int = 0
    _seen: dict[tuple[str, str], int] = field(default_factory=dict)
    _customers: dict[str, tuple[int, str]] = field(default_factory=dict)
    _accounts: dict[str, tuple[int, str]] = field(default_factory=dict)

    def check(self, number: int, values: Mapping[str, str] | RowProblem) -> None:
        """Check one row; what is wrong goes to ``problems``, a right row to ``rows``."""
        self.rows_read += 1
        if isinstance(values, RowProblem):
            self.problems.append(values)
            return
        row, problems = read_row(number, values, currency=self.currency, today=self.today)
        clashes = [RowProblem(number, *clash) for clash in self._clashes(number, values)]
        self.problems += [*problems, *clashes]
        if row is not None and not clashes:
            self.rows.append(row)

    def _clashes(self, number: int, values: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
        """Yield field, code and reason of everything that an earlier row has taken."""
        meter = values["meter"]
        device = f"{values['medium']} {values['address_on_medium']}"
        once = (
            ("meter", meter, meter),
            ("supply_point", values["supply_point"] or meter, values["supply_point"] or meter),
            ("address_on_medium", values["address_on_medium"], device),
        )
        for name, shown, key in once:
            before = self._seen.setdefault((name, key), number) if shown else number
            if before != number:
                yield name, f"duplicate_{name}", f"{shown} is in row {before} already"
                if name == "meter":
                    return  # the rest of a repeated row would only repeat the complaint
        yield from self._disagreements(number, values)

    def _disagreements(
        self, number: int, values: Mapping[str, str]
    ) -> Iterator[tuple[str, str, str]]:
        """Yield where one customer has two names, or one account two customers."""
        customer, name = values["customer_number"], values["customer_name"]
        account = values["account"] or customer
        if customer and name:
            row, named = self._customers.setdefault(customer, (number, name))
            if named != name:
                reason = f"customer {customer} is {named!r} in row {row}, here {name!r}"
                yield "customer_name", "customer_differs", reason
        if account and customer:
            row, owner = self._accounts.setdefault(account, (number, customer))
            if owner != customer:
                reason = f"account {account} belongs to {owner} in row {row}, here to {customer}"
                yield "account", "account_differs", reason

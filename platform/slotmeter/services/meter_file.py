"""The meter file: a table of meters as a utility has it, read and checked row by row; pure.

Every row is checked against itself and against the rows before it, so that one pass names all that
is wrong. What only the database can say (is there such a tariff?) is checked by ``registry``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from slotmeter.errors import Refused
from slotmeter.services.meter_row import COLUMNS, MeterRow, RowProblem, read_row

__all__ = ["FILE_ROWS_MAX", "MeterFile", "read_meter_file", "template"]

FILE_ROWS_MAX = 500_000
"""At most this many meters in one file."""

FILE_BYTES_MAX = 512 * 1024 * 1024
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}

_KNOWN = {column.name: column for column in COLUMNS}


@dataclass(frozen=True, slots=True)
class MeterFile:
    """What came out of a file: rows that are right in themselves, and everything that is wrong."""

    rows: tuple[MeterRow, ...]
    problems: tuple[RowProblem, ...]
    rows_read: int


def template() -> str:
    """Return a file with the headings and one worked row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in COLUMNS])
    writer.writerow([column.example for column in COLUMNS])
    return text.getvalue()


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
    text = _decode(content)
    delimiter = _sniff(text)
    checker = _Checker(currency=currency, today=today)
    headings: list[str] | None = None
    number = 0
    for number, cells in enumerate(_records(text, delimiter), start=1):
        if headings is None:
            headings = _headings(cells)
            continue
        if number > FILE_ROWS_MAX + 1:
            raise Refused(
                "file_too_long", f"expected at most {FILE_ROWS_MAX} rows, got more; split the file"
            )
        if any(cell.strip() for cell in cells):
            checker.check(number, headings, cells)
        if progress is not None and number % 1_000 == 0:
            progress(number)
    if headings is None:
        raise Refused("file_empty", "expected a heading and at least one row, got an empty file")
    return MeterFile(tuple(checker.rows), tuple(checker.problems), checker.rows_read)


def _decode(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise Refused(
            "file_too_large", f"expected at most {FILE_BYTES_MAX} bytes, got {len(content)}"
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Refused("file_not_utf8", "expected UTF-8, got UTF-16; save it as 'CSV UTF-8'")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Refused(
            "file_not_utf8",
            f"expected UTF-8, got byte {content[error.start]:#04x} in line {line}; "
            "save it as 'CSV UTF-8'",
        ) from error


def _sniff(text: str) -> str:
    """Return the delimiter that makes most known headings of the first line."""
    first = text[: text.find("\n")] if "\n" in text else text

    def known(delimiter: str) -> int:
        return sum(cell.strip().strip('"').lower() in _KNOWN for cell in first.split(delimiter))

    return max(DELIMITERS, key=known)


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise Refused("file_unreadable", f"line {reader.line_num}: {error}") from error


def _headings(cells: Sequence[str]) -> list[str]:
    headings = [cell.strip().lower() for cell in cells]
    while headings and not headings[-1]:
        headings.pop()
    unknown = [name for name in headings if name not in _KNOWN]
    missing = [name for name, column in _KNOWN.items() if column.needed and name not in headings]
    twice = sorted({name for name in headings if headings.count(name) > 1})
    if twice:
        raise Refused("file_heading_twice", f"each column once; got twice: {', '.join(twice)}")
    if missing and len(missing) == sum(column.needed for column in COLUMNS):
        raise Refused(
            "file_without_heading",
            "expected a first row with the names of the columns (see `slotmeter import meters "
            f"--template`), got {', '.join(headings[:3])!r} and so on",
        )
    if unknown:
        raise Refused(
            "file_unknown_column",
            f"unknown column {', '.join(repr(name) for name in unknown)}; known are "
            f"{', '.join(_KNOWN)}",
        )
    if missing:
        raise Refused("file_missing_column", f"these columns are missing: {', '.join(missing)}")
    return headings


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

    def check(self, number: int, headings: Sequence[str], cells: Sequence[str]) -> None:
        """Check one row; what is wrong goes to ``problems``, a right row to ``rows``."""
        self.rows_read += 1
        cells = _without_empty_tail(cells, len(headings))
        if len(cells) != len(headings):
            reason = f"expected {len(headings)} cells, got {len(cells)}; is a quote missing?"
            self.problems.append(RowProblem(number, "row", "wrong_cell_count", reason))
            return
        values = {**dict.fromkeys(_KNOWN, ""), **dict(zip(headings, _stripped(cells), strict=True))}
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


def _stripped(cells: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _without_empty_tail(cells: Sequence[str], length: int) -> Sequence[str]:
    """Drop empty cells beyond the headings, which spreadsheets like to write."""
    extra = cells[length:]
    return cells[:length] if extra and not any(cell.strip() for cell in extra) else cells

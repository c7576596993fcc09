"""A table as people send one: CSV whose columns are known by their headings; pure.

UTF-8 with or without BOM; comma, semicolon or tab between the cells; the order of columns is free.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from slotmeter.errors import Refused

__all__ = ["FILE_BYTES_MAX", "Column", "RowProblem", "csv_template", "table_rows"]

FILE_BYTES_MAX = 512 * 1024 * 1024
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file.

    Args:
        name: its heading.
        meaning: one sentence for the template's reader.
        example: a value that is right.
        needed: whether it may be left out.
        default: what an empty cell means; "" for nothing.
    """

    name: str
    meaning: str
    example: str
    needed: bool = False
    default: str = ""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row cannot be taken.

    Args:
        row: its number as a spreadsheet counts, the heading being row 1.
        field: the column at fault.
        code: stable snake_case identifier.
        reason: a sentence that says what was expected and what came.
    """

    row: int
    field: str
    code: str
    reason: str


def csv_template(columns: Sequence[Column]) -> str:
    """Return a file with the headings and one worked row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerow([column.example for column in columns])
    return text.getvalue()


def table_rows(
    content: bytes, columns: Sequence[Column], *, rows_max: int, template_hint: str
) -> Iterator[tuple[int, Mapping[str, str] | RowProblem]]:
    """Yield each row that is not empty: its number, and its cells by column or what is wrong.

    Args:
        content: the file.
        columns: those that are known; a file may leave out what is not needed.
        rows_max: more rows than these are refused.
        template_hint: the command that prints a template.

    Raises:
        Refused: the file as a whole cannot be read (``file_*``).
    """
    text = _decode(content)
    known = {column.name: column for column in columns}
    headings: list[str] | None = None
    is_open = not text.endswith(("\n", "\r"))
    records = _with_last(_records(text, _sniff(text, known)))
    for number, (cells, is_last) in enumerate(records, start=1):
        if headings is None:
            headings = _headings(cells, known, template_hint)
            continue
        if number > rows_max + 1:
            raise Refused(
                "file_too_long", f"expected at most {rows_max} rows, got more; split the file"
            )
        if any(cell.strip() for cell in cells):
            may_be_cut = is_last and is_open and len(cells) < len(headings)
            yield (
                number,
                _cut_row(number) if may_be_cut else _row(number, headings, cells, known),
            )
    if headings is None:
        raise Refused("file_empty", "expected a heading and at least one row, got an empty file")


def _with_last(records: Iterator[list[str]]) -> Iterator[tuple[list[str], bool]]:
    """Tell with each record whether it is the last one."""
    before: list[str] | None = None
    for record in records:
        if before is not None:
            yield before, False
        before = record
    if before is not None:
        yield before, True


def _cut_row(number: int) -> RowProblem:
    reason = "the file ends in the middle of this row; was it cut? Take it whole"
    return RowProblem(number, "row", "row_cut", reason)


def _row(
    number: int, headings: Sequence[str], cells: Sequence[str], known: Mapping[str, Column]
) -> Mapping[str, str] | RowProblem:
    cells = _without_empty_tail(cells, len(headings))
    if len(cells) != len(headings):
        reason = f"expected {len(headings)} cells, got {len(cells)}; is a quote missing?"
        return RowProblem(number, "row", "wrong_cell_count", reason)
    stripped = [cell.strip() for cell in cells]
    return {**dict.fromkeys(known, ""), **dict(zip(headings, stripped, strict=True))}


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
        if error.reason == "unexpected end of data":
            raise Refused(
                "file_cut", "the file ends in the middle of a character; was it cut? Take it whole"
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        raise Refused(
            "file_not_utf8",
            f"expected UTF-8, got byte {content[error.start]:#04x} in line {line}; "
            "save it as 'CSV UTF-8'",
        ) from error


def _sniff(text: str, known: Mapping[str, Column]) -> str:
    """Return the delimiter that makes most known headings of the first line."""
    first = text[: text.find("\n")] if "\n" in text else text

    def count(delimiter: str) -> int:
        return sum(cell.strip().strip('"').lower() in known for cell in first.split(delimiter))

    return max(DELIMITERS, key=count)


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise Refused(
                "file_cut",
                f"line {reader.line_num}: the file ends within a quoted cell; was it cut, or is a "
                "quote missing?",
            ) from error
        raise Refused("file_unreadable", f"line {reader.line_num}: {error}") from error


def _headings(cells: Sequence[str], known: Mapping[str, Column], template_hint: str) -> list[str]:
    headings = [cell.strip().lower() for cell in cells]
    while headings and not headings[-1]:
        headings.pop()
    unknown = [name for name in headings if name not in known]
    missing = [name for name, column in known.items() if column.needed and name not in headings]
    twice = sorted({name for name in headings if headings.count(name) > 1})
    if twice:
        raise Refused("file_heading_twice", f"each column once; got twice: {', '.join(twice)}")
    if missing and len(missing) == sum(column.needed for column in known.values()):
        raise Refused(
            "file_without_heading",
            f"expected a first row with the names of the columns (see `{template_hint}`), "
            f"got {', '.join(headings[:3])!r} and so on",
        )
    if unknown:
        raise Refused(
            "file_unknown_column",
            f"unknown column {', '.join(repr(name) for name in unknown)}; known are "
            f"{', '.join(known)}",
        )
    if missing:
        raise Refused("file_missing_column", f"these columns are missing: {', '.join(missing)}")
    return headings


def _without_empty_tail(cells: Sequence[str], length: int) -> Sequence[str]:
    """Drop empty cells beyond the headings, which spreadsheets like to write."""
    extra = cells[length:]
    return cells[:length] if extra and not any(cell.strip() for cell in extra) else cells

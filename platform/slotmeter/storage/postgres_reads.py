"""Reads of a unit of work on PostgreSQL: a run of them is one statement, and one journey.

Each read becomes a named part of one ``WITH``; a reference to an earlier read is a look into its
part. Rows come back as arrays of records in the driver's own binary form. Reads that a function
chooses by the rows that are there (``Then``) are a run of their own. Units that ask alike are
answered by one statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import asyncpg

from slotmeter.ports import From, Read, Reads, Row, Rows, SqlValue, Then
from slotmeter.storage.dialects.postgresql import TYPES, Gap, InPieces, Kind, read_in_pieces
from slotmeter.storage.statements import catalogue

__all__ = ["ReadRuns", "has_choices", "make_reads", "make_reads_together"]

RUNS_MAX: Final = 2_000
"""So many shapes of runs are remembered."""

Shape = tuple[tuple[str, tuple[tuple[str, int, str], ...]], ...]
"""Per read: its statement, and the parameters that refer to an earlier read and its column."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One statement that makes several reads.

    Args:
        text: of the statement.
        text_of_many: of the one that makes them for many units, of lists of the arguments; its
            first column is the number of the unit, from 1. Empty where there are no arguments.
        names: where its arguments come from: number of the read, name of the parameter.
        columns: of each read.
    """

    text: str
    text_of_many: str
    names: tuple[tuple[int, str], ...]
    columns: tuple[tuple[str, ...], ...]


@cache
def _compiled() -> Mapping[str, InPieces]:
    return {name: read_in_pieces(statement) for name, statement in catalogue().reads.items()}


class ReadRuns:
    """The reads of the catalogue, and the runs of them that were made so far."""

    def __init__(self) -> None:
        """Compile every read."""
        self._reads = _compiled()
        self._runs: dict[Shape, _Run] = {}

    def run(self, shape: Shape) -> _Run:
        """Return the statement for a shape."""
        found = self._runs.get(shape)
        if found is None:
            if len(self._runs) >= RUNS_MAX:
                self._runs.clear()
            found = self._runs[shape] = self._make(shape)
        return found

    def _make(self, shape: Shape) -> _Run:
        names: dict[tuple[int, str], Kind] = {}
        text = self._text(shape, names, "${}")
        columns = tuple(self._reads[statement].columns for statement, _ in shape)
        return _Run(text, self._of_many(shape, names), tuple(names), columns)

    def _of_many(self, shape: Shape, names: Mapping[tuple[int, str], Kind]) -> str:
        if not names:
            return ""
        lists = ", ".join(
            f"${at}::{TYPES[kind]}[]" for at, kind in enumerate(names.values(), start=1)
        )
        labels = ", ".join(f"p{at}" for at in range(1, len(names) + 1))
        return (
            f"SELECT unit.o, found.* FROM unnest({lists}) WITH ORDINALITY AS unit({labels}, o), "  # noqa: S608  our own texts
            f"LATERAL ({self._text(shape, {}, 'unit.p{}')}) AS found"
        )

    def _text(self, shape: Shape, names: dict[tuple[int, str], Kind], argument: str) -> str:
        """Write the statement with its arguments as ``argument`` says, and note their names."""
        parts: list[str] = []
        results: list[str] = []
        for at, (statement, references) in enumerate(shape):
            read = self._reads[statement]
            looks = {
                name: _look(of, self._reads[shape[of][0]].columns.index(column))
                for name, of, column in references
            }
            text = read.text(_filler(at, looks, names, argument))
            if looks:
                known = " AND ".join(f"{look} IS NOT NULL" for look in looks.values())
                text = f"SELECT * FROM ({text}) found WHERE {known}"  # noqa: S608  our own texts
            labels = [f"c{column}" for column in range(len(read.columns))]
            parts.append(f"r{at}({', '.join(labels)}) AS MATERIALIZED ({text})")
            values = _values(read, labels)
            results.append(f"ARRAY(SELECT ROW({values}) FROM r{at}) AS a{at}")  # noqa: S608  our own texts
        return f"WITH {', '.join(parts)} SELECT {', '.join(results)}"


def _look(of: int, column: int) -> str:
    """Write a reference to a column of an earlier read's first row."""
    return f"(SELECT c{column} FROM r{of} LIMIT 1)"  # noqa: S608  two numbers


def _values(read: InPieces, labels: Sequence[str]) -> str:
    """Write a row: sums of whole numbers come as numbers of any size, and are made whole again."""
    return ", ".join(
        f"{label}::BIGINT" if kind == "i" else label
        for label, kind in zip(labels, read.kinds, strict=True)
    )


def _filler(
    at: int, looks: Mapping[str, str], names: dict[tuple[int, str], Kind], argument: str
) -> Callable[[Gap], str]:
    numbers: dict[str, int] = {}

    def fill(gap: Gap) -> str:
        if gap.name in looks:
            return looks[gap.name]
        if gap.name not in numbers:
            names[(at, gap.name)] = gap.kind
            numbers[gap.name] = len(names)
        return argument.format(numbers[gap.name])

    return fill


def has_choices(reads: Reads) -> bool:
    """Tell whether some reads depend on the rows of others, and need a second journey."""
    return any(isinstance(read, Then) for read in reads)


def _runs_of(reads: Reads) -> Iterator[list[Read] | Then]:
    """Split reads into runs; all that need no rows of a choice go before the first choice.

    All see one state of the database, so that their order matters only where one refers to another.
    """
    first: list[Read] = []
    later: list[Read | Then] = []
    known: set[str] = set()
    for read in reads:
        if isinstance(read, Read) and (not later or _needs(read) <= known):
            first.append(read)
            known.add(read.key or read.statement)
        else:
            later.append(read)
    if first:
        yield first
    for read in later:
        yield [read] if isinstance(read, Read) else read


def _needs(read: Read) -> set[str]:
    return {value.read for value in read.params.values() if isinstance(value, From)}


def _journeys(reads: Reads, rows: Rows) -> Iterator[Sequence[Read]]:
    """Give runs of reads one after another; the rows of each must be there when the next is asked.

    So a choice sees the rows of everything before it.
    """
    for part in _runs_of(reads):
        if isinstance(part, Then):
            yield from _journeys(part.of(rows), rows)
        else:
            yield part


async def make_reads(connection: asyncpg.Connection[Any], runs: ReadRuns, reads: Reads) -> Rows:
    """Make named reads in order; a read whose reference found no row gives no rows."""
    rows: dict[str, Sequence[Row]] = {}
    for part in _journeys(reads, rows):
        asked = _asked(part, rows)
        if asked is None:
            continue
        run = runs.run(asked.shape)
        asked.answer(run, await connection.fetchrow(run.text, *asked.arguments(run)) or ())
    return rows


async def make_reads_together(
    connection: asyncpg.Connection[Any], runs: ReadRuns, units: Sequence[Reads]
) -> list[Rows]:
    """Make the reads of several units, each journey of units that ask alike at once."""
    all_rows: list[dict[str, Sequence[Row]]] = [{} for _ in units]
    under_way = [_journeys(reads, rows) for reads, rows in zip(units, all_rows, strict=True)]
    going = list(range(len(units)))
    while going:
        alike: dict[Shape, list[_Asked]] = {}
        still = []
        for at in going:
            part = next(under_way[at], None)
            if part is None:
                continue
            still.append(at)
            asked = _asked(part, all_rows[at])
            if asked is not None:
                alike.setdefault(asked.shape, []).append(asked)
        for shape, those in alike.items():
            await _answer(connection, runs.run(shape), those)
        going = still
    return list(all_rows)


async def _answer(connection: asyncpg.Connection[Any], run: _Run, units: Sequence[_Asked]) -> None:
    if len(units) == 1 or not run.text_of_many:
        for asked in units:
            asked.answer(run, await connection.fetchrow(run.text, *asked.arguments(run)) or ())
        return
    lists = zip(*(asked.arguments(run) for asked in units), strict=True)
    for at, *found in await connection.fetch(run.text_of_many, *lists):
        units[at - 1].answer(run, found)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A run of reads of one unit.

    Args:
        shape: of the run.
        given: the parameters of each read.
        keys: where the rows of each read go.
        rows: of the unit, so far.
    """

    shape: Shape
    given: Sequence[Mapping[str, SqlValue]]
    keys: Sequence[str]
    rows: dict[str, Sequence[Row]]

    def arguments(self, run: _Run) -> list[SqlValue]:
        """Return the arguments of the run's statement."""
        return [self.given[at][name] for at, name in run.names]

    def answer(self, run: _Run, found: Iterable[Any]) -> None:
        """Take what was found."""
        for key, columns, records in zip(self.keys, run.columns, found, strict=True):
            self.rows[key] = [dict(zip(columns, record, strict=True)) for record in records]


def _asked(reads: Sequence[Read], rows: dict[str, Sequence[Row]]) -> _Asked | None:
    """Sort out a run of reads; None where none of them has anything to look for."""
    places: dict[str, int] = {}
    shape: list[tuple[str, tuple[tuple[str, int, str], ...]]] = []
    given: list[Mapping[str, SqlValue]] = []
    keys: list[str] = []
    for read in reads:
        key = read.key or read.statement
        params, references = _sorted_out(read, places, rows)
        if params is None:
            rows[key] = ()
            places.pop(key, None)
            continue
        places[key] = len(shape)
        shape.append((read.statement, references))
        given.append(params)
        keys.append(key)
    return _Asked(tuple(shape), given, keys, rows) if shape else None


def _sorted_out(
    read: Read, places: Mapping[str, int], rows: Mapping[str, Sequence[Row]]
) -> tuple[Mapping[str, SqlValue] | None, tuple[tuple[str, int, str], ...]]:
    """Tell values from references into the same run; None as values when one found no row."""
    if not any(isinstance(value, From) for value in read.params.values()):
        return read.params, ()  # type: ignore[return-value]  # no reference is among them
    params: dict[str, SqlValue] = {}
    references: list[tuple[str, int, str]] = []
    for name, value in read.params.items():
        if not isinstance(value, From):
            params[name] = value
        elif value.read in places:
            references.append((name, places[value.read], value.column))
        else:
            found = rows[value.read]
            if not found or found[0][value.column] is None:
                return None, ()
            params[name] = found[0][value.column]
    return params, tuple(references)

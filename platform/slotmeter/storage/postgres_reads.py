"""Reads of a unit of work on PostgreSQL: a run of them is one statement, and one journey.

Each read becomes a named part of one ``WITH``; a reference to an earlier read is a look into its
part. Rows come back as arrays of records in the driver's own binary form. Reads that a function
chooses by the rows that are there (``Then``) are a run of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import asyncpg

from slotmeter.ports import From, Read, Reads, Row, Rows, SqlValue, Then
from slotmeter.storage.dialects.postgresql import Gap, InPieces, read_in_pieces
from slotmeter.storage.statements import catalogue

__all__ = ["ReadRuns", "has_choices", "make_reads"]

RUNS_MAX: Final = 2_000
"""So many shapes of runs are remembered."""

Shape = tuple[tuple[str, tuple[tuple[str, int, str], ...]], ...]
"""Per read: its statement, and the parameters that refer to an earlier read and its column."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One statement that makes several reads.

    Args:
        text: of the statement.
        names: where its arguments come from: number of the read, name of the parameter.
        columns: of each read.
    """

    text: str
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
        names: list[tuple[int, str]] = []
        parts: list[str] = []
        results: list[str] = []
        for at, (statement, references) in enumerate(shape):
            read = self._reads[statement]
            looks = {
                name: _look(of, self._reads[shape[of][0]].columns.index(column))
                for name, of, column in references
            }
            text = read.text(_filler(at, looks, names))
            if looks:
                known = " AND ".join(f"{look} IS NOT NULL" for look in looks.values())
                text = f"SELECT * FROM ({text}) found WHERE {known}"  # noqa: S608  our own texts
            labels = [f"c{column}" for column in range(len(read.columns))]
            parts.append(f"r{at}({', '.join(labels)}) AS MATERIALIZED ({text})")
            values = _values(read, labels)
            results.append(f"ARRAY(SELECT ROW({values}) FROM r{at})")  # noqa: S608  our own texts
        text = f"WITH {', '.join(parts)} SELECT {', '.join(results)}"
        columns = tuple(self._reads[statement].columns for statement, _ in shape)
        return _Run(text, tuple(names), columns)


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
    at: int, looks: Mapping[str, str], names: list[tuple[int, str]]
) -> Callable[[Gap], str]:
    numbers: dict[str, int] = {}

    def fill(gap: Gap) -> str:
        if gap.name in looks:
            return looks[gap.name]
        if gap.name not in numbers:
            names.append((at, gap.name))
            numbers[gap.name] = len(names)
        return f"${numbers[gap.name]}"

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


async def make_reads(connection: asyncpg.Connection[Any], runs: ReadRuns, reads: Reads) -> Rows:
    """Make named reads in order; a read whose reference found no row gives no rows."""
    rows: dict[str, Sequence[Row]] = {}
    await _make_reads(connection, runs, reads, rows)
    return rows


async def _make_reads(
    connection: asyncpg.Connection[Any],
    runs: ReadRuns,
    reads: Reads,
    rows: dict[str, Sequence[Row]],
) -> None:
    for part in _runs_of(reads):
        if isinstance(part, Then):
            await _make_reads(connection, runs, part.of(rows), rows)
        else:
            await _make_run(connection, runs, part, rows)


async def _make_run(
    connection: asyncpg.Connection[Any],
    runs: ReadRuns,
    reads: Sequence[Read],
    rows: dict[str, Sequence[Row]],
) -> None:
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
    if not shape:
        return
    run = runs.run(tuple(shape))
    arguments = [given[at][name] for at, name in run.names]
    found = await connection.fetchrow(run.text, *arguments)
    for key, columns, records in zip(keys, run.columns, found or (), strict=True):
        rows[key] = [dict(zip(columns, record, strict=True)) for record in records]


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

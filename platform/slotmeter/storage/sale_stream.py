"""Stored sales read in order by ranges of keys, without holding more than a few in memory.

Each reader has a connection of its own, so that several processes read side by side.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, Self

from slotmeter.config import DatabaseConfig
from slotmeter.ports import SqlValue
from slotmeter.storage.dialect import Statements
from slotmeter.storage.sqlite_unit import connect

__all__ = ["Place", "SaleRange", "SaleReader"]

FETCH_ROWS: Final = 500
"""At most this many rows are in memory at once."""


@dataclass(frozen=True, slots=True)
class SaleRange:
    """Which sales: a range of supply points, a span of time; ends are excluded."""

    utility_id: int
    first_point: int
    end_point: int
    from_us: int
    to_us: int


Place = Path | DatabaseConfig
"""The file of a database, or the settings of one on PostgreSQL."""

Rows = list[tuple[Any, ...]]


class _Source(Protocol):
    """Runs reads of the catalogue on one kind of database."""

    def all(self, name: str, params: Mapping[str, SqlValue]) -> Rows:
        """Return all rows."""

    def some(self, name: str, params: Mapping[str, SqlValue]) -> Iterator[Rows]:
        """Yield the rows of one state of the database, some at a time."""

    def close(self) -> None:
        """Close the database."""


@cache
def _statements() -> Statements:
    return Statements()


class _File:
    def __init__(self, path: Path) -> None:
        self._connection = connect(path, read_only=True)

    def _execute(self, name: str, params: Mapping[str, SqlValue]) -> sqlite3.Cursor:
        compiled = _statements().reads[name]
        return self._connection.execute(compiled.text, compiled.values(params))

    def all(self, name: str, params: Mapping[str, SqlValue]) -> Rows:
        return self._execute(name, params).fetchall()

    def some(self, name: str, params: Mapping[str, SqlValue]) -> Iterator[Rows]:
        # One statement sees one state of the database, from the first row to the last.
        with closing(self._execute(name, params)) as cursor:
            while rows := cursor.fetchmany(FETCH_ROWS):
                yield rows

    def close(self) -> None:
        self._connection.close()


def _source(place: Place) -> _Source:
    if isinstance(place, Path):
        return _File(place)
    from slotmeter.storage.postgres_source import PostgresSource

    return PostgresSource(place, FETCH_ROWS)


class SaleReader:
    """Reads sales on a connection of its own.

    It stays open between ranges: who closes a database last tidies its log, and makes whoever opens
    it just then wait.
    """

    def __init__(self, place: Place) -> None:
        """Open the database for reading."""
        self._source = _source(place)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the database."""
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._source.close()

    def count(self, utility_id: int, from_us: int, to_us: int) -> int:
        """Return how many sales of a utility a span of time has."""
        params = {"utility_id": utility_id, "from_us": from_us, "to_us": to_us}
        [(found,)] = self._source.all("reprice_count", params)
        return int(found)

    def ranges(self, utility_id: int, from_us: int, to_us: int, *, parts: int) -> list[SaleRange]:
        """Split the sales of a utility into ranges of supply points; none without sales."""
        [(first, last)] = self._source.all("reprice_points", {"utility_id": utility_id})
        if first is None:
            return []
        end = last + 1
        step = max(1, -(-(end - first) // parts))
        return [
            SaleRange(utility_id, start, min(start + step, end), from_us, to_us)
            for start in range(first, end, step)
        ]

    def sales(self, wanted: SaleRange) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield the sales of a range in order per supply point, some at a time.

        The columns are those of ``services.repricing.StoredSale``.
        """
        params = {
            "utility_id": wanted.utility_id,
            "first_point": wanted.first_point,
            "end_point": wanted.end_point,
            "from_us": wanted.from_us,
            "to_us": wanted.to_us,
        }
        yield from self._source.some("reprice_sales", params)

    def tariff_bodies(self, utility_id: int) -> dict[int, str]:
        """Return the document of every tariff version of a utility."""
        rows = self._source.all("reprice_versions", {"utility_id": utility_id})
        return {version_id: body for version_id, body in rows}

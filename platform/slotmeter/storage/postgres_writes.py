"""Writes of a unit of work on PostgreSQL: all steps of a unit are one call of a function.

Units of one kind write the same steps in the same order, if not the same number of rows. For each
such order the session makes a temporary function. Steps of one kind that follow each other are one
statement of it, which takes their values as a table; the function checks how many rows it met, and
returns what the seals of changed rows are made of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import asyncpg
from sqlalchemy import Table

from slotmeter.ports import Insert, SqlValue, Step, Update
from slotmeter.storage.dialects.postgresql import (
    TYPES,
    Gap,
    InPieces,
    Kind,
    kind_of,
    update_in_pieces,
)
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.returning import sealed_update
from slotmeter.storage.seal.unit_seal import Layout, Touch
from slotmeter.storage.statements import catalogue

__all__ = ["GUARD_STATE", "PostgresWrites", "Touched", "UnitWrites"]

GUARD_STATE: Final = "SM001"
"""The SQLSTATE of an update that met other rows than it must."""

SHAPES_MAX: Final = 1_000

PIECES_MAX: Final = 90
"""A function of PostgreSQL takes at most 100 arguments; longer units are several calls."""

KINDS: Final[tuple[Kind, ...]] = ("i", "t", "b")

_MOVE: Final = (
    "UPDATE ledger_account SET {column} = {column} + moved.amount FROM "
    "(SELECT id, sum(amount)::BIGINT FROM {{table}} AS each(id, amount) GROUP BY id) "
    "AS moved(id, amount) WHERE ledger_account.id = moved.id;"
)

SUMMED: Final[Mapping[str, str]] = {
    # What one entry moves on all its accounts; several moves on one account are added up.
    statement: _MOVE.format(column=column)
    for statement, column in (("ledger_add", "balance_minor"), ("ledger_reserve", "reserved_minor"))
}
"""Updates of an account by an amount: those of a run are added up."""

HARMLESS_TWICE: Final = frozenset({"debt_take"})
"""Updates of which a run may name a row twice, or one that is not met, and do no harm."""

_WHERE: Final = re.compile(r"(?<!\n) WHERE ")
"""Where an update's condition begins; SQLAlchemy gives those of queries lines of their own."""

Touched = tuple[Touch, list[tuple[Any, ...]]]
"""What an update returns for the seals, and the rows."""

_Key = tuple[Any, ...]

_Placed = tuple[int, list[list[Step]]]
"""The number of a unit and its steps, run by run."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One kind of step: lines of the function, for a run of such steps.

    Args:
        body: the lines; ``{table}`` is the table of the steps' values, ``{count}`` says how many
            steps there are, and ``{number}`` is the number of the piece.
        names: of the values of a step.
        kinds: of the values.
        returns: what it gives back.
        touch: what the seals make of that.
    """

    body: str
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    returns: InPieces | None = None
    touch: Touch | None = None

    def values(self, run: Sequence[Step]) -> list[tuple[SqlValue, ...]]:
        """Return what the steps of a run give."""
        names = self.names
        given = [step.params if isinstance(step, Update) else step.row for step in run]
        return [tuple([row[name] for name in names]) for row in given]


class PostgresWrites:
    """Inserts and updates in pieces; shared by the sessions of a database."""

    def __init__(self, layout: Layout) -> None:
        """Compile every update of the catalogue.

        Args:
            layout: what is sealed; updates then return what their seals are made of.
        """
        self._updates = _compiled(layout)
        self._pieces: dict[_Key, _Piece] = {}

    def piece(self, key: _Key) -> _Piece:
        """Return the piece for one kind of step."""
        found = self._pieces.get(key)
        if found is None:
            found = self._pieces[key] = self._make(key)
        return found

    def _make(self, key: _Key) -> _Piece:
        if key[0] == "insert":
            return _insert(METADATA.tables[key[1]], key[2:])
        _, statement, rows = key
        update = self._updates[statement]
        if statement in SUMMED and rows == 1 and update.touch is None:
            return _summed(statement)
        return _update(update, statement, rows)


@cache
def _compiled(layout: Layout) -> Mapping[str, InPieces]:
    return {
        name: update_in_pieces(*sealed_update(statement, layout))
        for name, statement in catalogue().updates.items()
    }


def _insert(table: Table, columns: Sequence[str]) -> _Piece:
    unknown = [name for name in columns if name not in table.c]
    if unknown:
        raise KeyError(f"table {table.name} has no columns {unknown}")
    quoted = ", ".join(f'"{name}"' for name in columns)
    body = f'INSERT INTO "{table.name}" ({quoted}) SELECT * FROM {{table}};'  # noqa: S608  our own names
    kinds = tuple(kind_of(table.c[name].type) for name in columns)
    return _Piece(body, tuple(columns), kinds)


def _summed(statement: str) -> _Piece:
    lines = [
        SUMMED[statement],
        "GET DIAGNOSTICS _met = ROW_COUNT;",
        "SELECT count(DISTINCT each.id) INTO _due FROM {table} AS each(id, amount);",
        _check(statement, "_due"),
    ]
    return _Piece("\n".join(lines), ("ledger_account_id", "amount"), ("i", "i"))


def _update(update: InPieces, statement: str, rows: int | None) -> _Piece:
    """Write an update for a table of values; one that may meet any number of rows, step by step."""
    names: dict[str, Kind] = {}

    def fill(gap: Gap) -> str:
        names[gap.name] = gap.kind
        return f"_u._v{list(names).index(gap.name)}"

    text = update.text(fill).partition(" RETURNING ")[0].replace("{", "{{").replace("}", "}}")
    columns = ", ".join(f"_v{at}" for at in range(len(names)))
    table = f"{{table}} WITH ORDINALITY AS _u({columns}, _o)"
    at_once = text.startswith("UPDATE ") and (rows == 1 or statement in HARMLESS_TWICE)
    parts = _WHERE.split(text)
    if at_once and len(parts) == 2:
        lines = [_made(f"{parts[0]} FROM {table} WHERE {parts[1]}", update)]
        if rows is not None:
            lines += ["GET DIAGNOSTICS _met = ROW_COUNT;", _check(statement, "{count}")]
    else:
        lines = [f"FOR _u IN SELECT * FROM {table} LOOP", _made(text, update)]  # noqa: S608  our own names
        if rows is not None:
            lines += ["GET DIAGNOSTICS _met = ROW_COUNT;", _check(statement, str(rows))]
        lines.append("END LOOP;")
    returns = update if update.touch else None
    return _Piece("\n".join(lines), tuple(names), tuple(names.values()), returns, update.touch)


def _made(text: str, update: InPieces) -> str:
    """Write an update, and what it gives back for the seals: of which step, and its columns."""
    if update.touch is None:
        return f"{text};"
    table = update.text(lambda _: "").split()[1 if text.startswith("UPDATE ") else 2]
    given = [
        f"ARRAY[{', '.join(_columns(update, table, kind))}]::{TYPES[kind]}[]" for kind in KINDS
    ]
    return f"RETURN QUERY {text} RETURNING {{number}}, (_u._o - 1)::INTEGER, {', '.join(given)};"


def _columns(returned: InPieces, table: str, kind: Kind) -> list[str]:
    pairs = zip(returned.columns, returned.kinds, strict=True)
    return [f'{table}."{name}"' for name, each in pairs if each == kind]


def _check(statement: str, rows: str) -> str:
    """Write the refusal of an update that met other rows than it must."""
    message = f"'{statement} met ' || _met || ' rows instead of ' || {rows}"
    return (
        f"IF _met <> {rows} THEN RAISE EXCEPTION USING ERRCODE = '{GUARD_STATE}', "
        f"MESSAGE = {message}; END IF;"
    )


def _key_of(step: Step) -> _Key:
    if isinstance(step, Insert):
        return ("insert", step.table, *step.row)
    return ("update", step.statement, step.rows)


def _function(name: str, pieces: Sequence[_Piece], types: Sequence[str]) -> str:
    lines = [
        piece.body.format(table=f"unnest(_p{at})", count=f"cardinality(_p{at})", number=at)
        for at, piece in enumerate(pieces)
    ]
    given = ", ".join(f"_p{at} pg_temp.{type_}[]" for at, type_ in enumerate(types))
    return (
        f"CREATE FUNCTION pg_temp.{name}({given}) "
        "RETURNS TABLE (_of INTEGER, _at INTEGER, _ri BIGINT[], _rt TEXT[], _rb BYTEA[]) "
        "LANGUAGE plpgsql AS $slotmeter$\n#variable_conflict use_column\n"
        "DECLARE _met INTEGER; _due INTEGER; _u RECORD;\n"
        "BEGIN\n" + "\n".join(lines) + "\nEND $slotmeter$"
    )


class UnitWrites:
    """The functions of one session."""

    def __init__(self, connection: asyncpg.Connection[Any], writes: PostgresWrites) -> None:
        """Start without any."""
        self._connection = connection
        self._writes = writes
        self._shapes: dict[tuple[_Key, ...], tuple[str, tuple[_Piece, ...]]] = {}
        self._types: dict[tuple[Kind, ...], str] = {}
        self._fresh: list[tuple[_Key, ...]] = []
        self._fresh_types: list[tuple[Kind, ...]] = []
        self._made = 0

    async def write(self, steps: Sequence[Step]) -> list[Touched]:
        """Write the steps of one unit in order and return what changed of sealed rows.

        Raises:
            asyncpg.PostgresError: with :data:`GUARD_STATE` when an update met other rows than it
                must; the transaction is broken then, as by any other.
        """
        return (await self.write_together([steps]))[0]

    async def write_together(self, units: Sequence[Sequence[Step]]) -> list[list[Touched]]:
        """Write the steps of units that touch nothing in common; those of one kind at once.

        Returns:
            What changed of sealed rows, by unit.

        Raises:
            asyncpg.PostgresError: see :meth:`write`; of which unit is not known.
        """
        touched: list[list[Touched]] = [[] for _ in units]
        alike: dict[tuple[_Key, ...], list[_Placed]] = {}
        for at, steps in enumerate(units):
            runs = [(key, list(group)) for key, group in groupby(steps, _key_of)]
            if runs:
                keys = tuple(key for key, _ in runs)
                alike.setdefault(keys, []).append((at, [run for _, run in runs]))
        for keys, placed in alike.items():
            for first in range(0, len(keys), PIECES_MAX):
                some = slice(first, first + PIECES_MAX)
                those = (
                    placed if len(keys) <= PIECES_MAX else [(at, runs[some]) for at, runs in placed]
                )
                await self._write_alike(keys[some], those, touched)
        return touched

    async def _write_alike(
        self, keys: tuple[_Key, ...], placed: Sequence[_Placed], touched: list[list[Touched]]
    ) -> None:
        name, pieces = await self._shape(keys)
        runs = (
            [step for _, runs in placed for step in runs[number]] for number in range(len(pieces))
        )
        values = [piece.values(run) for piece, run in zip(pieces, runs, strict=True)]
        marks = ", ".join(f"${at}" for at in range(1, len(values) + 1))
        text = f"SELECT * FROM pg_temp.{name}({marks})"  # noqa: S608  our own name
        found = await self._connection.fetch(text, *values)
        for number, group in groupby(found, lambda record: record[0]):
            _share_out(pieces[number], number, list(group), placed, touched)

    async def _shape(self, keys: tuple[_Key, ...]) -> tuple[str, tuple[_Piece, ...]]:
        found = self._shapes.get(keys)
        if found is not None:
            return found
        pieces = tuple(self._writes.piece(key) for key in keys)
        self._made += 1
        name = f"unit_{self._made}"
        types = [await self._type(piece.kinds) for piece in pieces]
        await self._connection.execute(_function(name, pieces, types))
        self._fresh.append(keys)
        found = self._shapes[keys] = name, pieces
        return found

    async def _type(self, kinds: tuple[Kind, ...]) -> str:
        """Return the type of a row of values."""
        found = self._types.get(kinds)
        if found is not None:
            return found
        name = f"values_{len(self._types)}"
        columns = ", ".join(f"_v{at} {TYPES[kind]}" for at, kind in enumerate(kinds))
        await self._connection.execute(f"CREATE TYPE pg_temp.{name} AS ({columns})")
        self._types[kinds] = name
        self._fresh_types.append(kinds)
        return name

    @property
    def is_full(self) -> bool:
        """Whether the session should be given up for one without functions."""
        return len(self._shapes) >= SHAPES_MAX

    def committed(self) -> None:
        """Keep the functions that the transaction made."""
        self._fresh.clear()
        self._fresh_types.clear()

    def rolled_back(self) -> None:
        """Forget the functions that the transaction made: they are gone with it."""
        for keys in self._fresh:
            del self._shapes[keys]
        for kinds in self._fresh_types:
            del self._types[kinds]
        self.committed()


def _share_out(
    piece: _Piece,
    number: int,
    found: Sequence[Any],
    placed: Sequence[_Placed],
    touched: list[list[Touched]],
) -> None:
    """Give each unit what the steps of its run of one piece returned."""
    if piece.returns is None or piece.touch is None:
        return
    kinds = piece.returns.kinds
    # The server takes the steps of a run in whichever order is the cheapest.
    records = iter(sorted(found, key=itemgetter(1)))
    record = next(records, None)
    end = 0
    for at, runs in placed:
        end += len(runs[number])
        rows = []
        while record is not None and record[1] < end:
            each = {"i": iter(record[2]), "t": iter(record[3]), "b": iter(record[4])}
            rows.append(tuple(next(each[kind]) for kind in kinds))
            record = next(records, None)
        if rows:
            touched[at].append((piece.touch, rows))

"""Writes of a unit of work on PostgreSQL: all steps of a unit are one call of a function.

Units of one kind write the same steps in the same order, if not the same number of rows. For each
such order the session makes a temporary function, which runs the steps one after another as they
were given, checks how many rows each met, and returns what the seals of changed rows are made of.
The values travel as three arrays: numbers, texts, bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
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
KINDS: Final[tuple[Kind, ...]] = ("i", "t", "b")

MANY: Final = frozenset({"audit_entry", "debt_taken", "posting"})
"""Tables of which units add many rows in a row: they go in by one statement."""

_MOVE: Final = (
    "UPDATE ledger_account SET {column} = {column} + moved.amount FROM "
    "(SELECT id, sum(amount)::BIGINT FROM unnest({{0}}, {{1}}) AS each(id, amount) GROUP BY id) "
    "AS moved(id, amount) WHERE ledger_account.id = moved.id"
)

AT_ONCE: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    # What one entry moves on all its accounts; several moves on one account are added up.
    statement: (("ledger_account_id", "amount"), _MOVE.format(column=column))
    for statement, column in (("ledger_add", "balance_minor"), ("ledger_reserve", "reserved_minor"))
}
"""Updates of whole numbers that are made by one statement for a run of them, with the parameters
that become lists."""

Touched = tuple[Touch, list[tuple[Any, ...]]]
"""What an update returns for the seals, and the rows."""

_Key = tuple[Any, ...]

_Placed = tuple[int, list[list[Step]]]
"""The number of a unit and its steps, run by run."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One kind of step: a statement of the function, repeated for each step of its run.

    Args:
        body: the statement with its parameters as elements of the arrays.
        names: of its parameters, by kind.
        label: what the refusal calls it.
        rows: it must meet so many; None for any number.
        at_once: one statement does the whole run; its parameters are slices of the arrays.
        returns: what it gives back.
        touch: what the seals make of that.
    """

    body: str
    names: Mapping[Kind, tuple[str, ...]]
    label: str = ""
    rows: int | None = None
    at_once: bool = False
    returns: InPieces | None = None
    touch: Touch | None = None


class PostgresWrites:
    """Inserts and updates in pieces; shared by the sessions of a database."""

    def __init__(self, layout: Layout) -> None:
        """Compile every update of the catalogue.

        Args:
            layout: what is sealed; updates then return what their seals are made of.
        """
        self._updates = _compiled(_Sealed(layout.digest, layout))
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
        if statement in AT_ONCE and rows == 1 and update.touch is None:
            given, text = AT_ONCE[statement]
            body = text.format(*(_slice("i", at) for at in range(len(given))))
            return _Piece(body, {"i": given, "t": (), "b": ()}, statement, rows, at_once=True)
        names: dict[Kind, list[str]] = {kind: [] for kind in KINDS}

        def fill(gap: Gap) -> str:
            known = names[gap.kind]
            if gap.name not in known:
                known.append(gap.name)
            return _element(gap.kind, known.index(gap.name))

        body = update.text(fill)
        taken = {kind: tuple(names[kind]) for kind in KINDS}
        returns = update if update.touch else None
        return _Piece(body, taken, statement, rows, returns=returns, touch=update.touch)


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A layout that compares by its digest."""

    digest: bytes
    layout: Layout = field(compare=False)


@cache
def _compiled(sealed: _Sealed) -> Mapping[str, InPieces]:
    return {
        name: update_in_pieces(*sealed_update(statement, sealed.layout))
        for name, statement in catalogue().updates.items()
    }


def _element(kind: Kind, at: int) -> str:
    """Write an element of the array of a kind, counted from where this step begins."""
    return f"_{kind}[_{kind}0 + {at + 1}]"


def _slice(kind: Kind, at: int) -> str:
    """Write the part of an array that has one column of a run, whose rows are counted by _c."""
    return f"_{kind}[_{kind}0 + {at} * _c + 1 : _{kind}0 + {at + 1} * _c]"


def _insert(table: Table, columns: Sequence[str]) -> _Piece:
    unknown = [name for name in columns if name not in table.c]
    if unknown:
        raise KeyError(f"table {table.name} has no columns {unknown}")
    names: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
    at_once = table.name in MANY
    values = []
    for name in columns:
        kind = kind_of(table.c[name].type)
        place = len(names[kind])
        values.append(_slice(kind, place) if at_once else _element(kind, place))
        names[kind].append(name)
    quoted = ", ".join(f'"{name}"' for name in columns)
    if at_once:
        body = f'INSERT INTO "{table.name}" ({quoted}) SELECT * FROM unnest({", ".join(values)})'  # noqa: S608  our own names
        return _Piece(body, {kind: tuple(names[kind]) for kind in KINDS}, at_once=True)
    body = f'INSERT INTO "{table.name}" ({quoted}) VALUES ({", ".join(values)})'  # noqa: S608  our own names
    return _Piece(body, {kind: tuple(names[kind]) for kind in KINDS})


def _key_of(step: Step) -> _Key:
    if isinstance(step, Insert):
        return ("insert", step.table, *step.row)
    return ("update", step.statement, step.rows)


def _function(name: str, pieces: Sequence[_Piece]) -> str:
    body = "\n".join(_loop(at, piece) for at, piece in enumerate(pieces, start=1))
    arrays = ", ".join(f"_{kind} {TYPES[kind]}[]" for kind in KINDS)
    return (
        f"CREATE FUNCTION pg_temp.{name}(_n INTEGER[], {arrays}) "
        "RETURNS TABLE (_of INTEGER, _at INTEGER, _ri BIGINT[], _rt TEXT[], _rb BYTEA[]) "
        "LANGUAGE plpgsql AS "
        "$slotmeter$\n#variable_conflict use_column\n"
        "DECLARE _i0 INTEGER := 0; _t0 INTEGER := 0; _b0 INTEGER := 0; _c INTEGER; "
        "_met INTEGER; _r RECORD;\n"
        f"BEGIN\n{body}\nEND $slotmeter$"
    )


def _loop(at: int, piece: _Piece) -> str:
    if piece.at_once:
        return _whole_run(at, piece)
    lines = [f"FOR _k IN 1.._n[{at}] LOOP"]
    if piece.returns is None:
        lines.append(f"{piece.body};")
        if piece.rows is not None:
            lines.append("GET DIAGNOSTICS _met = ROW_COUNT;")
    else:
        lines += ["_met := 0;", f"FOR _r IN {piece.body} LOOP", "_met := _met + 1;"]
        lines += [f"_of := {at - 1};", "_at := _k - 1;"]
        for kind in KINDS:
            columns = [f'_r."{name}"' for name in _columns(piece.returns, kind)]
            lines.append(f"_r{kind} := ARRAY[{', '.join(columns)}]::{TYPES[kind]}[];")
        lines += ["RETURN NEXT;", "END LOOP;"]
    if piece.rows is not None:
        message = f"'{piece.label} met ' || _met || ' rows instead of {piece.rows}'"
        lines.append(
            f"IF _met <> {piece.rows} THEN RAISE EXCEPTION USING ERRCODE = '{GUARD_STATE}', "
            f"MESSAGE = {message}; END IF;"
        )
    for kind in KINDS:
        if piece.names[kind]:
            lines.append(f"_{kind}0 := _{kind}0 + {len(piece.names[kind])};")
    return "\n".join([*lines, "END LOOP;"])


def _whole_run(at: int, piece: _Piece) -> str:
    lines = [f"_c := _n[{at}];", f"{piece.body};"]
    if piece.rows is not None:
        ids = _slice("i", 0)
        lines += [
            "GET DIAGNOSTICS _met = ROW_COUNT;",
            f"IF _met <> (SELECT count(DISTINCT id) FROM unnest({ids}) AS each(id)) THEN "  # noqa: S608  our own names
            f"RAISE EXCEPTION USING ERRCODE = '{GUARD_STATE}', "
            f"MESSAGE = '{piece.label} met ' || _met || ' rows of ' || _c; END IF;",
        ]
    for kind in KINDS:
        if piece.names[kind]:
            lines.append(f"_{kind}0 := _{kind}0 + {len(piece.names[kind])} * _c;")
    return "\n".join(lines)


def _columns(returned: InPieces, kind: Kind) -> list[str]:
    pairs = zip(returned.columns, returned.kinds, strict=True)
    return [name for name, each in pairs if each == kind]


class UnitWrites:
    """The functions of one session."""

    def __init__(self, connection: asyncpg.Connection[Any], writes: PostgresWrites) -> None:
        """Start without any."""
        self._connection = connection
        self._writes = writes
        self._shapes: dict[tuple[_Key, ...], tuple[str, tuple[_Piece, ...]]] = {}
        self._fresh: list[tuple[_Key, ...]] = []
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
            await self._write_alike(keys, placed, touched)
        return touched

    async def _write_alike(
        self, keys: tuple[_Key, ...], placed: Sequence[_Placed], touched: list[list[Touched]]
    ) -> None:
        name, pieces = await self._shape(keys)
        values: dict[Kind, list[SqlValue]] = {kind: [] for kind in KINDS}
        counts: list[int] = []
        for number, piece in enumerate(pieces):
            run = [step for _, runs in placed for step in runs[number]]
            counts.append(len(run))
            given = [step.params if isinstance(step, Update) else step.row for step in run]
            for kind, names in piece.names.items():
                if piece.at_once:
                    values[kind] += [row[name] for name in names for row in given]
                else:
                    values[kind] += [row[name] for row in given for name in names]
        text = f"SELECT * FROM pg_temp.{name}($1, $2, $3, $4)"  # noqa: S608  our own name
        found = await self._connection.fetch(text, counts, *(values[kind] for kind in KINDS))
        for number, group in groupby(found, lambda record: record[0]):
            _share_out(pieces[number], number, list(group), placed, touched)

    async def _shape(self, keys: tuple[_Key, ...]) -> tuple[str, tuple[_Piece, ...]]:
        found = self._shapes.get(keys)
        if found is not None:
            return found
        pieces = tuple(self._writes.piece(key) for key in keys)
        self._made += 1
        name = f"unit_{self._made}"
        await self._connection.execute(_function(name, pieces))
        self._fresh.append(keys)
        found = self._shapes[keys] = name, pieces
        return found

    @property
    def is_full(self) -> bool:
        """Whether the session should be given up for one without functions."""
        return len(self._shapes) >= SHAPES_MAX

    def committed(self) -> None:
        """Keep the functions that the transaction made."""
        self._fresh.clear()

    def rolled_back(self) -> None:
        """Forget the functions that the transaction made: they are gone with it."""
        for keys in self._fresh:
            del self._shapes[keys]
        self._fresh.clear()


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
    records = iter(found)
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

"""Documents and counters that plugins keep in the platform's own database."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from slotmeter.errors import Conflict, Refused, Unavailable
from slotmeter.ports import (
    RECORD_BYTES_MAX,
    RECORD_PAGE_MAX,
    Body,
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Record,
    RecordKind,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.events import strict_json
from slotmeter.units import epoch_us, instant

__all__ = [
    "COUNTER_MAX",
    "PlatformRecords",
    "PluginRecords",
    "Stored",
    "check_counter",
    "check_page",
    "stored",
]

COUNTER_MAX: Final = (1 << 63) - 1
COUNT_MAX: Final = 1_000_000
VALUE_CHARACTERS_MAX: Final = 200
TRIES_MAX: Final = 8
"""Another server of the same database may get in between; so often we look again."""

_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_COUNTER: Final = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,199}")
_INDEXES: Final = ("i1", "i2", "i3")
_BY_INDEX: Final = ("plugin_record_by_i1", "plugin_record_by_i2", "plugin_record_by_i3")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as its row holds it: JSON, and the values of its indexed fields as text."""

    body: str
    indexes: tuple[str | None, ...]


def stored(kind: RecordKind, name: str, body: Body) -> Stored:
    """Write a document for its row.

    Raises:
        Refused: ``bad_record_name`` or ``bad_record``.
    """
    if not _NAME.fullmatch(name):
        raise Refused("bad_record_name", "expected 1 to 200 characters without control characters")
    try:
        text = strict_json(dict(body))
        size = len(text.encode())
    except (TypeError, ValueError) as error:  # the document itself is not for messages
        raise Refused("bad_record", f"a {kind.name} that JSON cannot hold") from error
    if size > RECORD_BYTES_MAX:
        raise Refused("bad_record", f"expected {RECORD_BYTES_MAX} bytes at most, got {size}")
    values = [index_value(field, body.get(field)) for field in kind.indexed]
    return Stored(text, tuple(values + [None] * (len(_INDEXES) - len(values))))


def index_value(field: str, value: object) -> str | None:
    """Return an indexed field's value as the row holds it.

    Raises:
        Refused: ``bad_record``.
    """
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > VALUE_CHARACTERS_MAX:
        raise Refused(
            "bad_record",
            f"{field} is indexed: expected an integer or at most {VALUE_CHARACTERS_MAX} characters",
            field=field,
        )
    return text


def check_page(kind: RecordKind, field: str | None, limit: int) -> None:
    """Refuse a search that the plugin did not declare.

    Raises:
        ValueError: the field is not indexed, or the page is too long.
    """
    if field is not None and field not in kind.indexed:
        raise ValueError(f"{kind.name} is not indexed by {field!r}: {kind.indexed}")
    if not 1 <= limit <= RECORD_PAGE_MAX:
        raise ValueError(f"a page has 1 to {RECORD_PAGE_MAX} documents, not {limit}")


def check_counter(counter: str, count: int, first: int) -> None:
    """Refuse numbers that cannot be given.

    Raises:
        Refused: ``bad_counter`` or ``counter_exhausted``.
    """
    if not _COUNTER.fullmatch(counter):
        raise Refused("bad_counter", "expected a lower-case name of 200 characters at most")
    if not 1 <= count <= COUNT_MAX or first < 0:
        raise Refused("bad_counter", f"expected 1 to {COUNT_MAX} numbers from 0 on, got {count}")
    if first + count > COUNTER_MAX:
        raise Refused("counter_exhausted", f"{counter} has no further {count} numbers")


class PluginRecords:
    """Implements ``ports.Records`` for one entry."""

    def __init__(self, entry_key: str, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database; nothing is read yet."""
        self._entry_key = entry_key
        self._uow = uow
        self._clock = clock

    async def get(self, kind: RecordKind, name: str) -> Record | None:
        """Return one document, or None."""
        rows = await self._uow.read([self._read(kind, name)])
        return _record(rows["record"][0]) if rows["record"] else None

    async def put(self, kind: RecordKind, name: str, body: Body) -> None:
        """Keep a document; see ``ports.Records``."""
        await self.change(kind, name, lambda _: body)

    async def change(
        self, kind: RecordKind, name: str, to: Callable[[Body | None], Body | None]
    ) -> Body | None:
        """Read, decide and write in one unit of work; see ``ports.Records``."""
        return await self._change(kind, name, to, lambda _: ())

    async def _change(
        self,
        kind: RecordKind,
        name: str,
        to: Callable[[Body | None], Body | None],
        also: Callable[[NewId], Sequence[Step]],
    ) -> Body | None:
        def decide(rows: Rows, new_id: NewId) -> Changes[Body | None]:
            row = rows["record"][0] if rows["record"] else None
            body = to(None if row is None else json.loads(row["body"]))
            if body is None:
                steps = [] if row is None else [self._drop(kind, name)]
            else:
                steps = [self._write(kind, name, stored(kind, name, body), row, new_id)]
            return Changes(body, [*steps, *also(new_id)])

        return await _again(lambda: self._uow.run([self._read(kind, name)], decide))

    async def delete(self, kind: RecordKind, name: str) -> bool:
        """Forget a document; return whether there was one."""

        def decide(rows: Rows, _: NewId) -> Changes[bool]:
            found = bool(rows["record"])
            return Changes(found, [self._drop(kind, name)] if found else [])

        return await _again(lambda: self._uow.run([self._read(kind, name)], decide))

    async def find(
        self, kind: RecordKind, field: str, value: str | int, *, after: str = "", limit: int = 100
    ) -> Sequence[Record]:
        """Return documents whose indexed field has a value, by name."""
        check_page(kind, field, limit)
        statement = _BY_INDEX[kind.indexed.index(field)]
        return await self._page(kind, statement, after, limit, value=index_value(field, value))

    async def page(
        self, kind: RecordKind, *, after: str = "", limit: int = 100
    ) -> Sequence[Record]:
        """Return documents of a kind by name."""
        check_page(kind, None, limit)
        return await self._page(kind, "plugin_record_page", after, limit)

    async def reserve(self, counter: str, count: int = 1, *, at_least: int = 1) -> int:
        """Take numbers that nobody was given before; see ``ports.Records``."""
        read = Read("plugin_counter", {"entry_key": self._entry_key, "name": counter}, "counter")

        def decide(rows: Rows, _: NewId) -> Changes[int]:
            before = rows["counter"][0]["next_value"] if rows["counter"] else None
            first = at_least if before is None else max(before, at_least)
            check_counter(counter, count, first)
            return Changes(first, [self._move(counter, before, first + count)])

        check_counter(counter, count, at_least)
        return await _again(lambda: self._uow.run([read], decide))

    # --- rows -----------------------------------------------------------------------------------

    async def _page(
        self, kind: RecordKind, statement: str, after: str, limit: int, **more: SqlValue
    ) -> Sequence[Record]:
        scope: dict[str, SqlValue | From] = {"entry_key": self._entry_key, "kind": kind.name}
        wanted = scope | {"after": after, "limit": limit, **more}
        rows = await self._uow.read([Read(statement, wanted, "records")])
        return [_record(row) for row in rows["records"]]

    def _read(self, kind: RecordKind, name: str) -> Read:
        scope = {"entry_key": self._entry_key, "kind": kind.name, "name": name}
        return Read("plugin_record", scope, "record")

    def _one(self, kind: RecordKind, name: str) -> dict[str, SqlValue]:
        return {"of_entry": self._entry_key, "of_kind": kind.name, "of_name": name}

    def _drop(self, kind: RecordKind, name: str) -> Step:
        return Update("plugin_record_drop", self._one(kind, name))

    def _write(
        self, kind: RecordKind, name: str, document: Stored, row: Row | None, new_id: NewId
    ) -> Step:
        columns: dict[str, SqlValue] = {
            "body": document.body,
            **dict(zip(_INDEXES, document.indexes, strict=True)),
            "at_us": epoch_us(self._clock.now()),
        }
        if row is None:
            columns |= {"entry_key": self._entry_key, "kind": kind.name, "name": name}
            return Insert("plugin_record", {"id": new_id(), **columns})
        to = {f"to_{column}": value for column, value in columns.items()}
        return Update("plugin_record_put", {**self._one(kind, name), **to})

    def _move(self, counter: str, before: int | None, after: int) -> Step:
        if before is None:
            return Insert(
                "plugin_counter",
                {"entry_key": self._entry_key, "name": counter, "next_value": after},
            )
        of: dict[str, SqlValue] = {"of_entry": self._entry_key, "of_name": counter}
        to: dict[str, SqlValue] = {"of_next_value": before, "to_next_value": after}
        return Update("plugin_counter_move", of | to)


class PlatformRecords(PluginRecords):
    """Documents of the platform itself; no plugin is given this."""

    async def change_with(
        self,
        kind: RecordKind,
        name: str,
        to: Callable[[Body | None], Body | None],
        *,
        also: Callable[[NewId], Sequence[Step]],
    ) -> Body | None:
        """Do what :meth:`change` does, and write more in the same unit.

        Args:
            kind: of the document.
            name: of the document.
            to: gives the new document for the old one.
            also: what is written with it, such as who did it.
        """
        return await self._change(kind, name, to, also)


def _record(row: Row) -> Record:
    return Record(row["name"], json.loads(row["body"]), instant(row["at_us"]))


async def _again(run: Callable[[], Awaitable[T]]) -> T:
    """Run a unit that others may get in the way of.

    Raises:
        Unavailable: ``record_contended``.
    """
    for _ in range(TRIES_MAX):
        try:
            return await run()
        except Conflict as error:
            if error.code != "changed_meanwhile":
                raise
    raise Unavailable("record_contended", "others change the same record all the time; try again")

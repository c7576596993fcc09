"""What a plugin may keep in the platform's database: documents and counters of one entry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

__all__ = [
    "RECORD_BYTES_MAX",
    "RECORD_INDEXES_MAX",
    "RECORD_PAGE_MAX",
    "Body",
    "Record",
    "RecordKind",
    "Records",
    "Secrets",
]

RECORD_BYTES_MAX: Final = 65_536
"""A document is at most so long, written as JSON."""

RECORD_INDEXES_MAX: Final = 3
"""So many fields of one kind of document can be searched."""

RECORD_PAGE_MAX: Final = 1_000
"""One search gives at most so many documents."""

Body = Mapping[str, object]
"""A document: what JSON can hold, without numbers that are not finite."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class RecordKind:
    """One kind of documents of a plugin; make it a constant of the plugin's module.

    Args:
        name: lower-case identifier of 63 characters at most, unique within the plugin.
        indexed: names of the fields that documents are found by, three at most. Their values are
            texts of 200 characters at most, or integers; a document may lack one.
    """

    name: str
    indexed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could not be stored."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"record kind {self.name!r} is not a lower-case identifier")
        if len(self.indexed) > RECORD_INDEXES_MAX or len(set(self.indexed)) != len(self.indexed):
            raise ValueError(
                f"record kind {self.name}: at most {RECORD_INDEXES_MAX} different indexed fields"
            )


@dataclass(frozen=True, slots=True)
class Record:
    """A document as it was kept.

    Args:
        name: unique among the documents of its kind.
        body: what was put, as JSON gives it back.
        at: when it was last written, our clock, aware UTC.
    """

    name: str
    body: Body
    at: datetime


class Records(Protocol):
    """Documents and counters of one entry, durable when a call returns.

    Two entries never see each other's documents, and a new entry of an old key finds what that key
    kept. All calls raise ``Unavailable`` while the database cannot be reached; nothing was written
    then. Errors of use (a field that is not indexed, a page that is too long) are ``ValueError``.
    """

    async def get(self, kind: RecordKind, name: str) -> Record | None:
        """Return one document, or None."""
        ...

    async def put(self, kind: RecordKind, name: str, body: Body) -> None:
        """Keep a document under its name, instead of the one that was there.

        Raises:
            Refused: ``bad_record_name`` or ``bad_record``: not JSON, too long, or an indexed field
                that is neither text nor integer.
        """
        ...

    async def change(
        self, kind: RecordKind, name: str, to: Callable[[Body | None], Body | None]
    ) -> Body | None:
        """Read, decide and write in one unit of work; return what is kept now.

        Args:
            kind: of the document.
            name: of the document.
            to: gives the new document for the old one; None stands for no document. It must be
                pure: it may be called again.

        Raises:
            Refused: as :meth:`put`.
        """
        ...

    async def delete(self, kind: RecordKind, name: str) -> bool:
        """Forget a document; return whether there was one."""
        ...

    async def find(
        self, kind: RecordKind, field: str, value: str | int, *, after: str = "", limit: int = 100
    ) -> Sequence[Record]:
        """Return documents whose indexed field has a value, by name.

        Args:
            kind: of the documents.
            field: one of the kind's indexed fields.
            value: what the field must be.
            after: the name that the last page ended with.
            limit: 1 to ``RECORD_PAGE_MAX``.
        """
        ...

    async def page(
        self, kind: RecordKind, *, after: str = "", limit: int = 100
    ) -> Sequence[Record]:
        """Return documents of a kind by name; see :meth:`find`."""
        ...

    async def reserve(self, counter: str, count: int = 1, *, at_least: int = 1) -> int:
        """Take numbers that nobody was given before or will be given again, not after a crash.

        Args:
            counter: lower-case identifier of 200 characters at most, ``:`` and ``.`` allowed.
            count: how many, 1 to 1,000,000.
            at_least: the first is no smaller; for a device that counted elsewhere before.

        Returns the first number; the others follow it.

        Raises:
            Refused: ``bad_counter``, ``counter_exhausted`` (beyond 2^63 - 1).
        """
        ...


class Secrets(Mapping[str, str]):
    """The secrets of one entry by option name; neither ``str`` nor ``repr`` shows a value."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        """Hold the values in clear, for as long as the entry is loaded."""
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> str:
        """Return one secret."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count them."""
        return len(self._values)

    def __repr__(self) -> str:
        """Show names only."""
        return f"Secrets({', '.join(sorted(self._values))})"

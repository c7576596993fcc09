"""The journal of a time, posting by posting, with its totals: for auditors and other programs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from slotmeter.errors import Refused
from slotmeter.ports import Read, Row, SqlValue
from slotmeter.ports.looking import Looks
from slotmeter.services.debt_terms import Books

__all__ = ["JournalExport", "JournalPage", "Totals"]

PAGE_ROWS: Final = 5_000
"""So many postings are read at once, so that an export of any length needs little memory."""


@dataclass(slots=True)
class Totals:
    """What was exported; minor units by currency."""

    journals: int = 0
    postings: int = 0
    debits: dict[str, int] = field(default_factory=dict)
    credits: dict[str, int] = field(default_factory=dict)
    _journal_id: int | None = None

    def add(self, row: Row) -> None:
        """Count one posting; those of a journal come together."""
        if row["journal_id"] != self._journal_id:
            self._journal_id = row["journal_id"]
            self.journals += 1
        self.postings += 1
        amount, currency = row["amount_minor"], row["currency"]
        side = self.debits if amount > 0 else self.credits
        side[currency] = side.get(currency, 0) + abs(amount)


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Some postings, and where the next ones start; None at the end."""

    rows: Sequence[Row]
    next: str | None


class JournalExport:
    """Reads the journal in the order in which it was written."""

    def __init__(self, looks: Looks) -> None:
        """Hold the database."""
        self._looks = looks

    async def page(
        self, books: Books, from_us: int, to_us: int, *, after: str = "", limit: int = PAGE_ROWS
    ) -> JournalPage:
        """Return postings of a time.

        Args:
            books: whose.
            from_us: the first instant.
            to_us: the first instant that does not belong to it.
            after: ``next`` of the page before.
            limit: rows of a page.

        Raises:
            Refused: ``bad_cursor``.
        """
        after_us, after_id = _cursor(after)
        params: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "from_us": from_us,
            "to_us": to_us,
            "after_us": after_us,
            "after_id": after_id,
            "limit": limit + 1,
        }
        rows = (await self._looks.read([Read("look_journal", params, "rows")]))["rows"]
        if len(rows) <= limit:
            return JournalPage(rows, None)
        last = rows[limit - 1]
        return JournalPage(rows[:limit], f"{last['at_us']}.{last['posting_id']}")

    async def rows(
        self, books: Books, from_us: int, to_us: int, totals: Totals
    ) -> AsyncIterator[Row]:
        """Yield every posting of a time, and count them."""
        after = ""
        while True:
            page = await self.page(books, from_us, to_us, after=after)
            for row in page.rows:
                totals.add(row)
                yield row
            if page.next is None:
                return
            after = page.next


def _cursor(text: str) -> tuple[int, int]:
    if not text:
        return -1, 0
    at_us, _, posting_id = text.partition(".")
    plain = text.isascii() and at_us.isdigit() and posting_id.isdigit() and len(text) <= 40
    if not plain:
        raise Refused("bad_cursor", "expected `next` of the page before", field="after")
    return int(at_us), int(posting_id)

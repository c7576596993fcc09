"""What the database of the crash proof holds, read behind the platform's back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash_clients import Book
from crash_town import BRANCH
from slotmeter.cli.data_folder import config_of, open_folder
from slotmeter.ports import TokenSafe
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import AuditVerdict, verify_audit
from slotmeter.storage.seal.chain import read_layouts
from slotmeter.storage.seal.items import inserted_ids
from slotmeter.testing.databases import Behind

__all__ = ["Found", "Judge", "Sealed"]

IDS_AT_ONCE = 200_000
LAST_ID = 2**63 - 1


@dataclass(slots=True)
class Found:
    """What is there.

    Args:
        booked: sales of the clients, reversed ones too.
        differences: sales that are not as they were answered.
        tokens: those with digits.
        tokens_apart: the same, those with equal digits counted once.
        tendered_minor: of all sales.
        reversed_minor: of those that were taken back.
        till_minor: what the ledger says that the till owes.
        fines: debts that the clients made.
        sale_ids: the rows.
        token_ids: the rows.
    """

    booked: int = 0
    differences: list[str] = field(default_factory=list)
    tokens: int = 0
    tokens_apart: int = 0
    tendered_minor: int = 0
    reversed_minor: int = 0
    till_minor: int = 0
    fines: int = 0
    sale_ids: set[int] = field(default_factory=set)
    token_ids: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the audit says, and which rows it saw made."""

    verdict: AuditVerdict
    sale_ids: set[int]
    token_ids: set[int]


class Judge:
    """Looks at one data folder when nothing runs on it.

    Args:
        folder: the data folder.
        book: what the clients know.
    """

    def __init__(self, folder: Path, book: Book) -> None:
        self._folder = folder
        self._behind = Behind(folder)
        self._book = book

    async def look(self) -> Found:
        """Read everything."""
        found = Found()
        async with open_folder(self._folder) as folder, folder.vault() as vault:
            digits = self._digits(found, vault.tokens)
        self._sales(found, digits)
        till = "SELECT balance_minor FROM ledger_account WHERE code = ?"
        found.till_minor = sum(self._behind.values(till, f"till:{BRANCH}"))
        [found.fines] = self._behind.values("SELECT count(*) FROM debt WHERE kind = ?", "fine")
        return found

    def _pages(self, columns: str, table: str) -> Iterator[dict[str, Any]]:
        [last] = self._behind.values(f"SELECT max(id) FROM {table}")  # noqa: S608  our own names
        for start in range(0, (last or 0) + 1, IDS_AT_ONCE):
            text = f"SELECT {columns} FROM {table} WHERE id >= ? AND id < ? ORDER BY id"  # noqa: S608  our own
            yield from self._behind.rows(text, start, start + IDS_AT_ONCE)

    def _digits(self, found: Found, safe: TokenSafe) -> dict[int, tuple[str, ...]]:
        """Return the tokens of each sale, in order."""
        digits: dict[int, tuple[str, ...]] = {}
        for row in self._pages("id, sale_row_id, digits", "token"):
            found.token_ids.add(row["id"])
            if row["digits"] is not None:
                found.tokens += 1
                of_sale = digits.get(row["sale_row_id"], ())
                digits[row["sale_row_id"]] = (*of_sale, safe.open(row["digits"]))
        found.tokens_apart = len({each for tokens in digits.values() for each in tokens})
        return digits

    def _sales(self, found: Found, digits: dict[int, tuple[str, ...]]) -> None:
        seen: set[int] = set()
        for row in self._pages("id, sale_id, receipt_number, state, tender_minor", "sale"):
            found.sale_ids.add(row["id"])
            found.tendered_minor += row["tender_minor"]
            number = int(row["sale_id"].removeprefix("crash-"))
            is_reversed = row["state"] == "reversed"
            if is_reversed:
                found.reversed_minor += row["tender_minor"]
            elif row["state"] != "issued":
                found.differences.append(f"sale {number} is {row['state']}")
            there = (row["receipt_number"], digits.get(row["id"], ()))
            if number in seen or self._book.answers.get(number) != there:
                found.differences.append(f"sale {number} is not as it was answered")
            if is_reversed != (number in self._book.reversed):
                found.differences.append(f"sale {number} is {row['state']}")
            seen.add(number)
        found.booked = len(seen)

    @staticmethod
    def sealed(folder: Path) -> Sealed:
        """Check the audit, and read which sales and tokens it saw made."""
        open_reader = reader_of(config_of(folder))
        verdict = verify_audit(open_reader)
        reader = open_reader()
        try:
            layouts, _ = read_layouts(reader)
            sales, tokens = (
                set(inserted_ids(reader.entries_down(0, LAST_ID), layouts, table))
                for table in ("sale", "token")
            )
        finally:
            reader.close()
        return Sealed(verdict, sales, tokens)

"""Sums by account, added up span by span, and what the accounts say to them at the end.

In memory are whole numbers alone: about 130 bytes for each ledger account that was posted to, and
about 110 for each account of a customer that keeps money or uses a meter of the platform; so
1,000,000 ledger accounts take about 130 MiB.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from slotmeter.ports import Row, Rows

__all__ = ["ACCOUNTS", "SUMS", "Found", "LedgerSums"]

SUMS = ("span_postings", "span_kept", "span_metered", "span_charged", "span_repaid")
"""Statements that sum up one span."""

ACCOUNTS = ("span_ledger_accounts", "span_accounts", "span_debts")
"""Statements that list the accounts of one span."""

Found = tuple[str, str, int, int]
"""The sentence that does not hold, the subject, what was expected and what was found."""


class _Sums:
    """Some sums of each id, in arrays: a tuple of each id would take four times the memory."""

    def __init__(self, *names: str) -> None:
        self._places: dict[int, int] = {}
        self._sums = {name: array("q") for name in names}

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            place = self._places.setdefault(row["id"], len(self._places))
            for name, sums in self._sums.items():
                if place == len(sums):
                    sums.append(0)
                sums[place] += row[name]

    def of(self, id_: int | None, name: str) -> int:
        place = None if id_ is None else self._places.get(id_)
        return 0 if place is None else self._sums[name][place]


class LedgerSums:
    """The sums of one utility's ledger."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._posted = _Sums("posted", "by_sales", "by_use")
        self._kept = _Sums("minor")
        self._metered = _Sums("minor")
        self._repaid = _Sums("minor")
        self._charged: Counter[str] = Counter()
        self._earned: dict[str, int] = {}

    def add(self, rows: Rows) -> None:
        """Add what the statements of ``SUMS`` found in a span."""
        self._posted.add(rows["span_postings"])
        self._kept.add(rows["span_kept"])
        self._metered.add(rows["span_metered"])
        self._repaid.add(rows["span_repaid"])
        for row in rows["span_charged"]:
            self._charged[row["code"]] += row["minor"]

    def hold(self, rows: Rows) -> Iterator[Found]:
        """Hold the accounts that ``ACCOUNTS`` found in a span to the sums of all spans."""
        pending = {row["code"]: row["minor"] for row in rows["pending_by_till"]}
        for row in rows["span_ledger_accounts"]:
            code = row["code"]
            posted = self._posted.of(row["id"], "posted")
            yield "balances", code, posted, row["balance_minor"]
            yield "reserved", code, pending.get(code, 0), row["reserved_minor"]
            if code.startswith("income:charge:"):
                earned = -self._posted.of(row["id"], "by_sales")
                self._earned[code.removeprefix("income:charge:")] = earned
        yield from self._of_customers(rows["span_accounts"])
        for row in rows["span_debts"]:
            repaid = -self._posted.of(row["ledger_account_id"], "by_sales")
            yield "debts_repaid", row["number"], self._repaid.of(row["id"], "minor"), repaid

    def _of_customers(self, rows: Sequence[Row]) -> Iterator[Found]:
        for row in rows:
            advanced = -self._posted.of(row["advance_id"], "by_sales")
            yield "kept", row["number"], self._kept.of(row["id"], "minor"), advanced
            used = self._posted.of(row["postpaid_id"], "by_use")
            yield "consumption", row["number"], self._metered.of(row["id"], "minor"), used

    def hold_charges(self) -> Iterator[Found]:
        """Hold what was taken of charges to what they earned, after all accounts were seen."""
        for code, minor in self._charged.items():
            yield "charges_earned", code, minor, self._earned.get(code, 0)

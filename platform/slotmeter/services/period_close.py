"""Closing the books through a day: nothing is booked before it any more.

A closed period is a row that is never changed: its sums, and a digest over them and the period
before, so that a past that was changed behind our back is found by adding it up again. A trigger
of the database lets no journal into a closed period; what comes late is booked at the first instant
that is open, and its reason says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from slotmeter.errors import Conflict, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.debt_terms import Books
from slotmeter.services.events import compact_json
from slotmeter.services.operations import Asked
from slotmeter.services.queries import Page
from slotmeter.services.trial_balance import END_OF_TIME_US, BalanceLine, carried, lines_of
from slotmeter.units import epoch_us
from slotmeter.vending.debt_plans import day_start_us

__all__ = ["Periods", "digest_of", "period_differences", "period_reads"]

VERIFIED_MAX: Final = 1_000


class Periods:
    """Closes periods, and looks at those that are closed."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def close(self, asked: Asked, through: date) -> tuple[Row, bool]:
        """Close the books through a local day; return the period, and whether this call closed it.

        Adding up takes its time and stops nobody: it is done before, and it is checked at the end
        that nothing came in between.

        Raises:
            Refused: ``period_not_over``; ``period_closed`` for a day within a closed period; what
                :meth:`Asked.check` refuses.
            Conflict: ``changed_meanwhile``.
        """
        asked.check()
        books = Books.of(asked.caller.principal)
        now_us = epoch_us(self._clock.now())
        to_us = day_start_us(through + timedelta(days=1), books.zone)
        if to_us > now_us:
            raise Refused(
                "period_not_over", f"{through} is not over yet; close it later", field="through"
            )
        rows = await self._uow.read(_newest_and_through(books, to_us))
        if rows["through"]:
            return rows["through"][0], False
        from_us = _begin(rows, through)
        span: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "from_us": from_us,
            "to_us": to_us,
        }
        added = await self._uow.read(
            [Read("ledger_movement", span, "moved"), Read("ledger_journals", span, "journals")]
        )
        row = _period_row(books, rows, added, through, from_us, to_us)

        def decide(found: Rows, new_id: NewId) -> Changes[None]:
            same = found["journals"][0]["count"] == row["journals"]
            if not same or _begin(found, through) != from_us:
                raise Conflict("changed_meanwhile", "the books changed meanwhile; try again")
            whole = {
                **row,
                "id": new_id(),
                "principal_id": asked.caller.principal.id,
                "reason": asked.reason,
                "closed_us": now_us,
            }
            act = act_row(
                new_id,
                Origin.of(asked.caller),
                books.utility_id,
                now_us,
                what="ledger.close",
                subject=f"{through}",
                reason=asked.reason,
                data={"digest": row["digest"], "journals": row["journals"]},
            )
            return Changes(None, [Insert("accounting_period", whole), act])

        reads = [*_newest_and_through(books, to_us), Read("ledger_journals", span, "journals")]
        await self._uow.run(reads, decide)
        closed = await self._uow.read(_newest_and_through(books, to_us))
        return closed["through"][0], True

    async def periods(self, books: Books, *, before_us: int | None = None, limit: int = 50) -> Page:
        """Return the closed periods, the newest first."""
        params: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "before_us": before_us or END_OF_TIME_US,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("look_ledger_periods", params, "periods")]))["periods"]
        following = rows[limit - 1]["to_us"] if len(rows) > limit else None
        return Page(rows[:limit], following)


def _newest_and_through(books: Books, to_us: int) -> list[Read]:
    newest: dict[str, SqlValue] = {"utility_id": books.utility_id, "at_us": END_OF_TIME_US}
    through: dict[str, SqlValue] = {"utility_id": books.utility_id, "to_us": to_us}
    return [
        Read("ledger_period_before", newest, "newest"),
        Read("ledger_period_through", through, "through"),
    ]


def _begin(rows: Rows, through: date) -> int:
    if not rows["newest"]:
        return 0
    newest = rows["newest"][0]
    if f"{through}" <= newest["through_day"]:
        raise Refused(
            "period_closed",
            f"the books are closed through {newest['through_day']} already",
            field="through",
        )
    from_us: int = newest["to_us"]
    return from_us


def _sums(lines: Sequence[BalanceLine]) -> list[list[str | int]]:
    return [
        [line.code, line.currency, line.debits_minor, line.credits_minor, line.closing_minor]
        for line in lines
    ]


def _period_row(
    books: Books, rows: Rows, added: Rows, through: date, from_us: int, to_us: int
) -> dict[str, Any]:
    lines = lines_of(carried(rows["newest"]), added["moved"])
    row: dict[str, Any] = {
        "utility_id": books.utility_id,
        "from_us": from_us,
        "to_us": to_us,
        "through_day": f"{through}",
        "journals": added["journals"][0]["count"],
        "postings": sum(moved["postings"] for moved in added["moved"]),
        "sums": compact_json(_sums(lines)),
    }
    before = rows["newest"][0]["digest"] if rows["newest"] else ""
    return {**row, "digest": digest_of(row, before)}


def digest_of(row: Mapping[str, Any], before: str) -> str:
    """Return SHA-256 over what a period was closed with, and the digest of the one before; hex."""
    names = ("utility_id", "from_us", "to_us", "through_day", "journals", "postings", "sums")
    text = compact_json([before, *(row[name] for name in names)])
    return hashlib.sha256(text.encode()).hexdigest()


def period_reads(rows: Rows) -> list[Read]:
    """Return what adds every closed period up again; ``rows`` has them as ``closed_periods``."""
    reads = []
    for row in rows["closed_periods"]:
        span = {name: row[name] for name in ("utility_id", "from_us", "to_us")}
        reads += [
            Read("ledger_movement", span, f"moved.{row['id']}"),
            Read("ledger_journals", span, f"journals.{row['id']}"),
        ]
    return reads


def period_differences(rows: Rows) -> list[tuple[str, str, str]]:
    """Return the day, the expected and the found digest of each period that adds up otherwise."""
    differences = []
    before: Sequence[Row] = ()
    for row in reversed(rows["closed_periods"]):
        moved = rows[f"moved.{row['id']}"]
        again = {
            **row,
            "journals": rows[f"journals.{row['id']}"][0]["count"],
            "postings": sum(each["postings"] for each in moved),
            "sums": compact_json(_sums(lines_of(carried(before), moved))),
        }
        digest = digest_of(again, before[0]["digest"] if before else "")
        if digest != row["digest"]:
            differences.append((row["through_day"], row["digest"], digest))
        before = (row,)
    return differences

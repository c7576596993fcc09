"""Collection and arrears by area and month, from the postings of the debts' own accounts.

Every posting falls into one column, so that each row adds up, and the rows add up to the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from typing import Final

from slotmeter.errors import Refused
from slotmeter.ports import Clock, Read, Row
from slotmeter.ports.looking import Looks
from slotmeter.services.debt_terms import Books
from slotmeter.units import epoch_us
from slotmeter.vending.debt_plans import day_start_us, local_day

__all__ = ["ArrearsReport", "ArrearsRow", "DebtReports"]

MONTH: Final = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
MONTHS_PER_YEAR: Final = 12
LEVEL_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class ArrearsRow:
    """One area, or one kind of debt in it; minor units.

    ``before + billed + interest - collected - written_off + other = outstanding``, always.

    Args:
        area: path from the region down, cut at the level asked for; "" for accounts without one.
        kind: of the debts; None when kinds are added up.
        debts: how many debts there were by the end of the month, repaid or not.
        before_minor: outstanding when the month began.
        billed_minor: made in the month, less what was taken back as a mistake.
        interest_minor: posted in the month.
        collected_minor: repaid with purchases of the month.
        written_off_minor: given up in the month.
        other_minor: moved by anything else.
        outstanding_minor: when the month ended, or now.
    """

    area: str
    kind: str | None
    debts: int = 0
    before_minor: int = 0
    billed_minor: int = 0
    interest_minor: int = 0
    collected_minor: int = 0
    written_off_minor: int = 0
    other_minor: int = 0
    outstanding_minor: int = 0


@dataclass(frozen=True, slots=True)
class ArrearsReport:
    """A month: its areas in order, and their sum."""

    month: str
    currency: str
    rows: tuple[ArrearsRow, ...]
    total: ArrearsRow


class DebtReports:
    """Adds up what debts moved."""

    def __init__(self, looks: Looks, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._looks = looks
        self._clock = clock

    async def arrears(
        self,
        books: Books,
        *,
        month: str | None = None,
        level: int | None = None,
        by_kind: bool = False,
    ) -> ArrearsReport:
        """Return collection and arrears of a calendar month in the utility's time zone.

        Args:
            books: whose.
            month: ``2026-11``; this month if not given.
            level: how many parts of an area's path tell areas apart; all if not given.
            by_kind: a row for each kind of debt.

        Raises:
            Refused: ``bad_month`` or ``bad_level``.
        """
        if level is not None and not 0 <= level <= LEVEL_MAX:
            raise Refused("bad_level", f"expected 0 to {LEVEL_MAX}, got {level}", field="level")
        today = local_day(epoch_us(self._clock.now()), books.zone)
        first = today.replace(day=1) if month is None else _first_day(month)
        following = date(
            first.year + first.month // MONTHS_PER_YEAR, first.month % MONTHS_PER_YEAR + 1, 1
        )
        params = {
            "utility_id": books.utility_id,
            "from_us": day_start_us(first, books.zone),
            "to_us": day_start_us(following, books.zone),
        }
        found = await self._looks.read([Read("debt_movements_by_area", params)])
        rows: dict[tuple[str, str | None], ArrearsRow] = {}
        for row in found["debt_movements_by_area"]:
            area = row["area"]
            if level is not None:
                area = "/".join(area.split("/")[:level])
            key = (area, row["kind"] if by_kind else None)
            rows[key] = _added(rows.get(key, ArrearsRow(*key)), _row(row, *key))
        ordered = tuple(rows[key] for key in sorted(rows, key=lambda key: (key[0], key[1] or "")))
        return ArrearsReport(f"{first:%Y-%m}", books.currency, ordered, _total(ordered))


def _first_day(month: str) -> date:
    found = MONTH.fullmatch(month)
    if found is None or not 1 <= int(found[2]) <= MONTHS_PER_YEAR or int(found[1]) < 1970:
        raise Refused("bad_month", f"expected YYYY-MM, got {month[:20]!r}", field="month")
    return date(int(found[1]), int(found[2]), 1)


def _row(row: Row, area: str, kind: str | None) -> ArrearsRow:
    known = (
        row["before_minor"]
        + row["billed_minor"]
        + row["interest_minor"]
        + row["collected_minor"]
        + row["written_off_minor"]
    )
    return ArrearsRow(
        area=area,
        kind=kind,
        debts=row["debts"],
        before_minor=row["before_minor"],
        billed_minor=row["billed_minor"],
        interest_minor=row["interest_minor"],
        collected_minor=-row["collected_minor"],
        written_off_minor=-row["written_off_minor"],
        other_minor=row["outstanding_minor"] - known,
        outstanding_minor=row["outstanding_minor"],
    )


_SUMS: Final = tuple(
    field.name for field in fields(ArrearsRow) if field.name not in ("area", "kind")
)


def _added(one: ArrearsRow, other: ArrearsRow) -> ArrearsRow:
    sums = {name: getattr(one, name) + getattr(other, name) for name in _SUMS}
    return ArrearsRow(one.area, one.kind, **sums)


def _total(rows: Iterable[ArrearsRow]) -> ArrearsRow:
    total = ArrearsRow("", None)
    for row in rows:
        total = _added(total, row)
    return total

"""Who belongs to another class by what they bought: proposed first, then set from a date on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.errors import NotFound
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
)
from slotmeter.services.access import caller_act
from slotmeter.services.account_lookup import from_instant
from slotmeter.services.class_rules import ClassRules, months_before
from slotmeter.services.classes import class_row
from slotmeter.units import Rounding, commodity_quantity, epoch_us, round_to_int

__all__ = ["ClassReview", "Proposal", "Reviewed", "average_text", "month_span"]

PAGE_ACCOUNTS: Final = 500
BATCH_ROWS: Final = 200

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Proposal:
    """An account that its average puts into another class.

    Args:
        account_id: the account.
        account: its number.
        average_units: a month, Wh or mL, rounded.
        from_class: the class now, or None.
        to_class: the class by the rules.
    """

    account_id: int
    account: str
    average_units: int
    from_class: str | None
    to_class: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What the rules say of all accounts.

    Args:
        from_us: the first instant of the months looked at.
        to_us: the first instant after them.
        accounts: looked at.
        too_new: accounts that did not exist through all the months; left alone.
        other_class: accounts of classes that the rules do not name; left alone.
        no_rule: accounts that no rule covers; left alone.
        proposals: who would change.
    """

    from_us: int
    to_us: int
    accounts: int
    too_new: int
    other_class: int
    no_rule: int
    proposals: tuple[Proposal, ...]


class ClassReview:
    """Proposes and sets classes by average use."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def propose(
        self,
        utility_id: int,
        time_zone: str,
        rules: ClassRules,
        *,
        progress: Progress = lambda _done: None,
    ) -> Reviewed:
        """Look at every account with a supply point of the rules' commodity.

        Raises:
            NotFound: ``class_unknown``: a rule names a class that does not exist.
        """
        await self._check_classes(utility_id, rules)
        now = self._clock.now()
        from_us, to_us = month_span(now, time_zone, rules.months)
        tally = _Tally(rules, from_us)
        after_id = 0
        while True:
            params: dict[str, SqlValue] = {
                "utility_id": utility_id,
                "commodity": rules.commodity.value,
                "at_us": epoch_us(now),
                "from_us": from_us,
                "to_us": to_us,
                "after_id": after_id,
                "limit": PAGE_ACCOUNTS,
            }
            page = (await self._uow.read([Read("class_use", params)]))["class_use"]
            if not page:
                return tally.result(to_us)
            for row in page:
                tally.add(row)
            after_id = page[-1]["id"]
            progress(tally.accounts)

    async def apply(
        self,
        caller: Caller,
        proposals: Sequence[Proposal],
        *,
        from_at: datetime | None,
        reason: str,
        progress: Progress = lambda _done: None,
    ) -> int:
        """Give the accounts their proposed classes from an instant on; return how many.

        Raises:
            Refused: ``from_in_the_past``.
        """
        at_us = epoch_us(self._clock.now())
        from_us = from_instant(from_at, at_us)
        for start in range(0, len(proposals), BATCH_ROWS):
            batch = proposals[start : start + BATCH_ROWS]

            def decide(
                _rows: Rows, new_id: NewId, batch: Sequence[Proposal] = batch
            ) -> Changes[None]:
                steps = _steps(caller, new_id, batch, (from_us, at_us), reason)
                return Changes(None, steps)

            await self._uow.run([], decide)
            progress(start + len(batch))
        return len(proposals)

    async def _check_classes(self, utility_id: int, rules: ClassRules) -> None:
        rows = await self._uow.read(
            [
                Read("class_by_code", {"utility_id": utility_id, "code": code}, code)
                for code in rules.looked_at
            ]
        )
        missing = sorted(code for code in rules.looked_at if not rows[code])
        if missing:
            raise NotFound(
                "class_unknown", f"there is no class {', '.join(missing)}", field="class"
            )


def month_span(now: datetime, time_zone: str, months: int) -> tuple[int, int]:
    """Return first and end of a number of whole local months before this one, UTC microseconds."""
    zone = ZoneInfo(time_zone)
    local = now.astimezone(zone)
    year, month = months_before(local.year, local.month, months)
    first = datetime(year, month, 1, tzinfo=zone)
    end = datetime(local.year, local.month, 1, tzinfo=zone)
    return epoch_us(first), epoch_us(end)


def _steps(
    caller: Caller,
    new_id: NewId,
    batch: Sequence[Proposal],
    instants: tuple[int, int],
    reason: str,
) -> list[Step]:
    from_us, at_us = instants
    steps: list[Step] = []
    for each in batch:
        steps.append(
            class_row(
                caller,
                new_id,
                account_id=each.account_id,
                class_code=each.to_class,
                from_us=from_us,
                at_us=at_us,
                reason=reason,
            )
        )
        data = {
            "from": each.from_class,
            "to": each.to_class,
            "from_us": from_us,
            "average_units": each.average_units,
        }
        steps.append(
            caller_act(
                caller,
                new_id,
                at_us,
                what="class.assign",
                subject=each.account,
                reason=reason,
                data=data,
            )
        )
    return steps


class _Tally:
    """What was seen so far."""

    def __init__(self, rules: ClassRules, from_us: int) -> None:
        self._rules = rules
        self._from_us = from_us
        self.accounts = 0
        self._too_new = 0
        self._other_class = 0
        self._no_rule = 0
        self._proposals: list[Proposal] = []

    def add(self, row: Row) -> None:
        self.accounts += 1
        current = row["class_code"]
        if current is not None and current not in self._rules.looked_at:
            self._other_class += 1
            return
        if row["created_us"] > self._from_us:
            self._too_new += 1
            return
        units = row["paid"] + (row["free"] if self._rules.counts_free else 0)
        wanted = self._rules.class_of(units)
        if wanted is None:
            self._no_rule += 1
        elif wanted != current:
            average = round_to_int(Decimal(units) / self._rules.months, Rounding.HALF_UP)
            self._proposals.append(Proposal(row["id"], row["number"], average, current, wanted))

    def result(self, to_us: int) -> Reviewed:
        return Reviewed(
            self._from_us,
            to_us,
            self.accounts,
            self._too_new,
            self._other_class,
            self._no_rule,
            tuple(self._proposals),
        )


def average_text(rules: ClassRules, units: int) -> str:
    """Write an average in the unit that is sold."""
    return commodity_quantity(rules.commodity)(units).sold_text

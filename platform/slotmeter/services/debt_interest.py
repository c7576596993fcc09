"""Interest posted by date: whatever the day it is run on, and however often, the same sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from slotmeter.errors import Refused
from slotmeter.ports import (
    Changes,
    Clock,
    NewId,
    Read,
    Row,
    Rows,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.booking import Entry, accounts_read, posting_steps
from slotmeter.services.debt_making import debt_read, log_step
from slotmeter.services.debt_terms import Books
from slotmeter.services.events import compact_json
from slotmeter.units import epoch_us
from slotmeter.vending.debt_plans import local_day, stored_plan
from slotmeter.vending.debts import Repayment, interest_due, stored_interest
from slotmeter.vending.ledger import INTEREST, Posting

__all__ = ["BATCH_DEBTS", "InterestPosted", "InterestPosting"]

BATCH_DEBTS: Final = 50
"""Debts in one unit of work: short enough that sales do not wait."""


@dataclass(frozen=True, slots=True)
class InterestPosted:
    """How many debts were looked at, how many bore interest, and how much; minor units."""

    debts: int
    bearing: int
    total_minor: int


class InterestPosting:
    """Posts what debts bear."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    def today(self, books: Books) -> date:
        """Return the local day that it is."""
        return local_day(epoch_us(self._clock.now()), books.zone)

    async def post(
        self,
        origin: Origin,
        books: Books,
        through: date,
        *,
        reason: str,
        progress: Callable[[int], None] | None = None,
    ) -> InterestPosted:
        """Post interest of all open debts through a local day that is over.

        Days that were posted are not posted again. Interest is booked on the day it is posted.

        Args:
            origin: who does it.
            books: whose debts.
            through: the last day, included.
            reason: for the act.
            progress: called with the number of debts done.

        Raises:
            Refused: ``day_not_over``.
        """
        today = self.today(books)
        if through >= today:
            raise Refused(
                "day_not_over",
                f"interest is posted for days that are over: expected a day before {today}",
                field="through",
            )
        done = InterestPosted(0, 0, 0)
        after = 0
        while True:
            params = {"utility_id": books.utility_id, "after": after, "limit": BATCH_DEBTS}
            page = (await self._uow.read([Read("debts_bearing_interest", params)]))[
                "debts_bearing_interest"
            ]
            if not page:
                return done
            after = page[-1]["id"]
            bearing, total = await self._post_batch(origin, books, through, page, reason)
            done = InterestPosted(
                done.debts + len(page), done.bearing + bearing, done.total_minor + total
            )
            if progress is not None:
                progress(done.debts)

    async def _post_batch(
        self, origin: Origin, books: Books, through: date, page: Sequence[Row], reason: str
    ) -> tuple[int, int]:
        now_us = epoch_us(self._clock.now())
        reads = [accounts_read(books.utility_id, [INTEREST])]
        for row in page:
            reads.append(debt_read(books, row["number"], f"debt{row['id']}"))
            reads.append(Read("debt_repayments", {"debt_id": row["id"]}, f"repaid{row['id']}"))

        def decide(rows: Rows, new_id: NewId) -> Changes[tuple[int, int]]:
            steps: list[Step] = []
            booked: list[Row] = []
            postings: list[Posting] = []
            for found in page:
                (row,) = rows[f"debt{found['id']}"]
                due, step = _due(row, rows[f"repaid{row['id']}"], books, through)
                if step is None:
                    continue
                steps.append(step)
                if due:
                    booked.append({"code": row["ledger_code"], "id": row["ledger_account_id"]})
                    postings.append(Posting(row["ledger_code"], due))
                    detail = {"through": through.isoformat(), "amount_minor": due}
                    steps.append(
                        log_step(new_id, row["id"], books, origin, now_us, "interest", detail)
                    )
            total = sum(posting.amount_minor for posting in postings)
            if not total:
                return Changes((0, 0), steps)
            entry = Entry(
                utility_id=books.utility_id,
                kind="interest",
                at_us=now_us,
                currency=books.currency,
                postings=(*postings, Posting(INTEREST, -total)),
                reason=f"interest through {through}",
                principal_id=origin.principal_id,
            )
            act = act_row(
                new_id,
                origin,
                books.utility_id,
                now_us,
                what="debt.interest",
                subject=f"{len(postings)} debts",
                reason=reason,
                data={"through": through.isoformat(), "total_minor": total},
            )
            accounts = [*rows["ledger_accounts"], *booked]
            steps += [*posting_steps(entry, accounts, new_id), act]
            return Changes((len(postings), total), steps)

        return await self._uow.run(reads, decide)


def _due(
    row: Row, repayments: Sequence[Row], books: Books, through: date
) -> tuple[int, Update | None]:
    """Return what a debt bears through a day, and what notes that it was posted."""
    if row["state"] not in ("open", "suspended") or row["interest"] is None:
        return 0, None
    terms = stored_interest(row["interest"])
    if terms.from_day > through or (terms.through is not None and terms.through >= through):
        return 0, None
    due = interest_due(
        terms,
        row["amount_minor"],
        [Repayment(each["at_us"], each["minor"]) for each in repayments],
        through,
        time_zone=books.time_zone,
        plan=stored_plan(row["plan"]),
    )
    posted = replace(terms, through=through, posted_minor=terms.posted_minor + due)
    return due, Update(
        "debt_set_interest",
        {
            "debt_id": row["id"],
            "old_interest": row["interest"],
            "new_interest": compact_json(posted.to_dict()),
        },
    )

"""Debts of accounts: made, arranged, suspended, resumed, written off, and looked at.

What is left of a debt is the balance of its own ledger account. Every change is one unit of work
with a line in the debt's log and an act in the audit trail. Sales repay (see ``debt_states``);
interest is posted by ``debt_interest``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    From,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin
from slotmeter.services.act_changes import changed
from slotmeter.services.booking import Entry, accounts_read, posting_steps
from slotmeter.services.debt_making import (
    account_read,
    add_debt_reads,
    add_debt_steps,
    contra_account,
    debt_act,
    debt_read,
    log_step,
    unknown_account,
)
from slotmeter.services.debt_terms import (
    Books,
    NewDebt,
    PlanWish,
    check_new_debt,
    check_phase,
    first_of,
)
from slotmeter.services.events import compact_json
from slotmeter.services.list_pages import ID_MAX
from slotmeter.services.queries import Page
from slotmeter.units import Money, epoch_us
from slotmeter.vending.debt_plans import DebtPlan, Suspension, stored_plan
from slotmeter.vending.debts import stored_interest
from slotmeter.vending.ledger import WRITE_OFF, Posting, merge, tax_account
from slotmeter.vending.pricing.lines import tax_within

__all__ = [
    "CANCELS",
    "DebtHistory",
    "Debts",
    "effective_state",
]

HISTORY_LINES_MAX: Final = 1_000
SUSPENSIONS_MAX: Final = 100
CANCELS: Final = ("write_off", "mistake")
"""A debt is written off when nobody will pay it, and taken back when it should not have been."""

Change = Callable[[Row, DebtPlan], DebtPlan]


@dataclass(frozen=True, slots=True)
class DebtHistory:
    """What was done with a debt, and what moved its balance; the newest first."""

    debt: Row
    log: Sequence[Row]
    movements: Sequence[Row]


class Debts:
    """Keeps the debts of every utility."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    # --- changes ----------------------------------------------------------------------------------

    async def add(
        self, origin: Origin, books: Books, new: NewDebt, *, reason: str
    ) -> tuple[Row, bool]:
        """Make a debt; return it, and whether it is new.

        Raises:
            Refused: what :func:`check_new_debt` refuses, ``no_platform_balance`` or
                ``emergency_credit_open``.
            NotFound: ``account_unknown``.
            Conflict: ``debt_number_used``.
        """
        now_us = self._now_us()
        terms = check_new_debt(new, books, now_us)

        def decide(rows: Rows, new_id: NewId) -> Changes[tuple[str, bool]]:
            number, steps = add_debt_steps(
                terms, rows, new_id, origin=origin, books=books, now_us=now_us, reason=reason
            )
            return Changes((number, bool(steps)), steps)

        number, is_new = await self._uow.run(add_debt_reads(terms, books), decide)
        return await self.debt(books, number), is_new

    async def arrange(
        self,
        origin: Origin,
        books: Books,
        number: str,
        wish: PlanWish,
        *,
        starts: date | None = None,
        reason: str,
    ) -> Row:
        """Replace a debt's plan from a local day on, at once if no day is given.

        Instalments of the new plan count from its own first day; what the old plan missed is in the
        balance, and in no instalment.

        Raises:
            Refused: what :func:`check_phase` refuses, ``debt_ended``.
            NotFound: ``debt_unknown``.
        """
        now_us = self._now_us()
        phase = check_phase(wish, books, first_of(starts, books, now_us, "starts"))

        def change(_row: Row, plan: DebtPlan) -> DebtPlan:
            return plan.arranged(phase).since(now_us)

        return await self._change_plan(origin, books, number, "arranged", change, reason)

    async def suspend(
        self,
        origin: Origin,
        books: Books,
        number: str,
        *,
        starts: date | None = None,
        until: date | None = None,
        interest: bool = True,
        reason: str,
    ) -> Row:
        """Take nothing for a debt from a local day on, until another one or until it is resumed.

        Args:
            origin: who does it.
            books: whose debt.
            number: of the debt.
            starts: the first day; at once if not given.
            until: the first day on which it is taken again.
            interest: interest runs on meanwhile.
            reason: for the act.

        Raises:
            Refused: ``bad_date``, ``suspended_already``, ``too_many_suspensions``, ``debt_ended``.
            NotFound: ``debt_unknown``.
        """
        now_us = self._now_us()
        from_us = first_of(starts, books, now_us, "starts")
        until_us = None if until is None else first_of(until, books, now_us, "until")
        if until_us is not None and until_us <= from_us:
            raise Refused("bad_date", "it must end on a later day than it starts", field="until")

        def change(_row: Row, plan: DebtPlan) -> DebtPlan:
            new = Suspension(from_us, until_us, interest)
            if any(_overlap(new, each) for each in plan.suspensions):
                raise Refused(
                    "suspended_already", f"debt {number} is suspended in that time; resume it first"
                )
            if len(plan.suspensions) >= SUSPENSIONS_MAX:
                raise Refused(
                    "too_many_suspensions", f"a debt has at most {SUSPENSIONS_MAX} suspensions"
                )
            return plan.suspended(new)

        return await self._change_plan(origin, books, number, "suspended", change, reason)

    async def resume(self, origin: Origin, books: Books, number: str, *, reason: str) -> Row:
        """End a debt's suspension now, and drop those that have not begun.

        Raises:
            Refused: ``not_suspended``, ``debt_ended``.
            NotFound: ``debt_unknown``.
        """
        now_us = self._now_us()

        def change(_row: Row, plan: DebtPlan) -> DebtPlan:
            resumed = plan.resumed(now_us)
            if resumed == plan:
                raise Refused("not_suspended", f"debt {number} is not suspended")
            return resumed

        return await self._change_plan(origin, books, number, "resumed", change, reason)

    async def cancel(
        self, origin: Origin, books: Books, number: str, *, how: str = CANCELS[0], reason: str
    ) -> Row:
        """End a debt that is not repaid: written off, or taken back as a mistake.

        Raises:
            Refused: ``bad_cancel``, ``debt_ended``; ``debt_moved`` for a mistake of which something
                was repaid or which bore interest.
            NotFound: ``debt_unknown``.
            Conflict: ``debt_in_sale`` while a sale that repays it is between its two commits.
        """
        if how not in CANCELS:
            raise Refused("bad_cancel", f"expected one of {', '.join(CANCELS)}", field="how")
        now_us = self._now_us()
        # Which account a mistake goes back to is known from what does not change of a debt.
        debt = await self.debt(books, number)
        created = await self._uow.read([Read("debt_created", {"debt_id": debt["id"]})])
        request = json.loads(created["debt_created"][0]["detail"])["request"]
        source = request["source"]
        contra = WRITE_OFF if how == CANCELS[0] else contra_account(source, debt)
        tax = request.get("tax") if source == "billed" else None
        codes = [contra] if tax is None else [contra, tax_account(tax)]

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            row = _open_debt(rows, number)
            _check_cancel(row, how)
            left = row["balance_minor"]
            entry = Entry(
                utility_id=books.utility_id,
                kind="write_off" if how == CANCELS[0] else "debt_reversal",
                at_us=now_us,
                currency=row["currency"],
                postings=_given_up(row, contra, tax),
                reason=reason,
                principal_id=origin.principal_id,
            )
            accounts = [*rows["ledger_accounts"], _ledger_row(row)]
            detail = {"how": how, "amount_minor": left, "reason": reason}
            said = {**detail, **changed({"state": row["state"]}, {"state": "cancelled"})}
            steps: list[Step] = [
                *posting_steps(entry, accounts, new_id),
                Update("debt_cancel", {"debt_id": row["id"]}),
                log_step(new_id, row["id"], books, origin, now_us, "cancelled", detail),
                debt_act(new_id, origin, books, now_us, "debt.cancel", number, reason, said),
            ]
            return Changes(None, steps)

        reads = [debt_read(books, number), accounts_read(books.utility_id, codes)]
        await self._uow.run(reads, decide)
        return await self.debt(books, number)

    # --- looking ----------------------------------------------------------------------------------

    async def debt(self, books: Books, number: str) -> Row:
        """Return one debt; its ``state`` is the one of this moment, ``seen_us``.

        Raises:
            NotFound: ``debt_unknown``.
        """
        rows = await self._uow.read([debt_read(books, number)])
        return self._seen(_one(rows, number))

    async def debts(
        self,
        books: Books,
        *,
        account: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> Page:
        """Return debts, the newest first.

        Args:
            books: whose.
            account: only those of this account.
            kind: only those of this kind.
            state: open (suspended or not), closed or cancelled.
            before: ``next`` of the page before.
            limit: rows on the page.

        Raises:
            NotFound: ``account_unknown``.
        """
        params: dict[str, SqlValue | From] = {
            "kind": kind,
            "state": state,
            "before": ID_MAX if before is None else before,
            "limit": limit + 1,
        }
        if account is None:
            reads = [Read("look_debts", {"utility_id": books.utility_id, **params}, "found")]
        else:
            of_account = From("debt_account", "id")
            reads = [
                account_read(books, account),
                Read("look_debts_of_account", {"account_id": of_account, **params}, "found"),
            ]
        rows = await self._uow.read(reads)
        if account is not None and not rows["debt_account"]:
            raise unknown_account(account)
        found = [self._seen(row) for row in rows["found"][:limit]]
        return Page(found, found[-1]["id"] if len(rows["found"]) > limit else None)

    async def history(self, books: Books, number: str) -> DebtHistory:
        """Return what happened to a debt, at most ``HISTORY_LINES_MAX`` lines of each sort.

        Raises:
            NotFound: ``debt_unknown``.
        """
        limit = {"limit": HISTORY_LINES_MAX}
        of_debt: dict[str, SqlValue | From] = {"debt_id": From("debt_by_number", "id"), **limit}
        of_account: dict[str, SqlValue | From] = {
            "ledger_account_id": From("debt_by_number", "ledger_account_id"),
            **limit,
        }
        rows = await self._uow.read(
            [
                debt_read(books, number),
                Read("look_debt_log", of_debt),
                Read("look_debt_movements", of_account),
            ]
        )
        debt = self._seen(_one(rows, number))
        return DebtHistory(debt, rows["look_debt_log"], rows["look_debt_movements"])

    # --- shared -----------------------------------------------------------------------------------

    async def _change_plan(
        self, origin: Origin, books: Books, number: str, what: str, change: Change, reason: str
    ) -> Row:
        now_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            row = _open_debt(rows, number)
            before = stored_plan(row["plan"])
            after = change(row, before)
            params: dict[str, SqlValue] = {
                "debt_id": row["id"],
                "old_plan": row["plan"],
                "new_plan": compact_json(after.to_dict()),
                "new_starts_us": after.counts_from_us(now_us),
            }
            detail = {"before": before.to_dict(), "after": after.to_dict(), "reason": reason}
            steps: list[Step] = [
                Update("debt_set_plan", params),
                log_step(new_id, row["id"], books, origin, now_us, what, detail),
                debt_act(new_id, origin, books, now_us, f"debt.{what}", number, reason, detail),
            ]
            return Changes(None, steps)

        await self._uow.run([debt_read(books, number)], decide)
        return await self.debt(books, number)

    def _seen(self, row: Row) -> Row:
        now_us = self._now_us()
        return {**row, "state": effective_state(row, now_us), "seen_us": now_us}

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


# --- small parts ----------------------------------------------------------------------------------


def effective_state(row: Row, now_us: int) -> str:
    """Return a debt's state at an instant: an open one may be suspended by its plan."""
    if row["state"] in ("open", "suspended"):
        plan = stored_plan(row["plan"])
        return "open" if plan.suspension_at(now_us) is None else "suspended"
    state: str = row["state"]
    return state


def _overlap(one: Suspension, other: Suspension) -> bool:
    def begins_before_end(first: Suspension, second: Suspension) -> bool:
        return second.until_us is None or first.from_us < second.until_us

    return begins_before_end(one, other) and begins_before_end(other, one)


def _check_cancel(row: Row, how: str) -> None:
    if row["pending_minor"]:
        raise Conflict(
            "debt_in_sale", f"a sale that repays debt {row['number']} is being made; try again"
        )
    if how == "mistake" and row["balance_minor"] != row["amount_minor"]:
        amount, left = (
            Money(row[name], row["currency"]) for name in ("amount_minor", "balance_minor")
        )
        raise Refused(
            "debt_moved",
            f"debt {row['number']} was {amount} and is {left} now: write off what is left",
            field="how",
        )


def _given_up(row: Row, contra: str, tax: str | None) -> tuple[Posting, ...]:
    """Return what ends a debt: the tax within what is left of its amount is not owed any more.

    Repayments reduce the amount before the interest, which has no tax.
    """
    left = row["balance_minor"]
    untaxed = 0 if row["interest"] is None else stored_interest(row["interest"]).posted_minor
    taxed = max(0, left - untaxed)
    postings = [Posting(row["ledger_code"], -left), Posting(contra, left)]
    if tax is not None and row["tax_percent"] is not None:
        minor = tax_within(taxed, row["tax_percent"])
        postings += [Posting(contra, -minor), Posting(tax_account(tax), minor)]
    return merge(postings)


def _one(rows: Rows, number: str) -> Row:
    if not rows["debt_by_number"]:
        raise NotFound("debt_unknown", f"there is no debt {number[:32]!r} here", field="number")
    return rows["debt_by_number"][0]


def _open_debt(rows: Rows, number: str) -> Row:
    row = _one(rows, number)
    if row["state"] not in ("open", "suspended"):
        raise Refused("debt_ended", f"debt {number} is {row['state']}")
    return row


def _ledger_row(row: Row) -> Row:
    return {"code": row["ledger_code"], "id": row["ledger_account_id"]}

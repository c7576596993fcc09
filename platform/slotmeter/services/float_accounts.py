"""The float of sellers: what they owe or have paid in, up to which limit, and paying in.

A seller's till is debited with every tender. Paying in credits it against the bank; a limit of zero
makes a seller pay in before selling. A deposit slip counts once, whoever brings it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.booking import Entry, accounts_read, open_account, posting_steps
from slotmeter.services.debt_terms import Books, positive_minor
from slotmeter.services.operations import (
    Asked,
    Operation,
    Operations,
    done_before,
    operation_reads,
    operation_steps,
)
from slotmeter.services.queries import Page
from slotmeter.units import Money, epoch_us, parse_money
from slotmeter.vending.ledger import BANK, Posting, till_account

__all__ = ["FloatAccounts", "float_left", "till_found", "till_read"]

REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/:-]{0,63}")


@dataclass(frozen=True, slots=True)
class _Change:
    """One operation on a till."""

    kind: str
    request: dict[str, Any]
    subject: str | None


def till_read(utility_id: int, branch: str) -> Read:
    """Return the read of a branch with its till."""
    params: dict[str, SqlValue] = {"utility_id": utility_id, "branch": branch}
    return Read("till_by_branch", params, "till")


def till_found(rows: Rows, branch: str) -> Row:
    """Return a branch with its till; ``id`` is None before anything moved it.

    Raises:
        NotFound: ``branch_unknown``.
    """
    if not rows["till"]:
        raise NotFound("branch_unknown", f"there is no branch {branch[:32]!r} here", field="branch")
    return rows["till"][0]


def float_left(row: Row) -> int | None:
    """Return what a seller may still take in, minor units; None without a limit."""
    if row["limit_minor"] is None:
        return None
    left: int = row["limit_minor"] - (row["balance_minor"] or 0) - (row["reserved_minor"] or 0)
    return max(0, left)


class FloatAccounts:
    """Keeps the float of every seller."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def pay_in(
        self, asked: Asked, branch: str, amount: str, reference: str
    ) -> tuple[Row, bool]:
        """Book what a seller paid into the bank; return the operation, and whether it is new.

        Args:
            asked: who asks and why.
            branch: code of the seller's branch.
            amount: major units.
            reference: of the deposit slip.

        Raises:
            NotFound: ``branch_unknown``.
            Conflict: ``request_id_reused``; ``slip_used`` for a slip that counted already.
            Refused: ``bad_reference`` and what an amount is refused for.
        """
        asked.check()
        books = Books.of(asked.caller.principal)
        minor = positive_minor(amount, books.currency, "amount")
        slip = reference.strip()
        if REFERENCE.fullmatch(slip) is None:
            raise Refused(
                "bad_reference",
                "expected the slip's reference: 1 to 64 letters, digits, spaces or . _ / : -",
                field="reference",
            )
        now_us = epoch_us(self._clock.now())
        request = {"branch": branch, "amount_minor": minor, "reference": slip}
        change = _Change("pay_in", request, slip)

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            if done_before(rows, change.kind, request) is not None:
                return Changes(False)
            till = till_found(rows, branch)
            if rows["operation_by_subject"]:
                number = rows["operation_by_subject"][0]["number"]
                raise Conflict(
                    "slip_used", f"this slip was paid in before, as {number}", field="reference"
                )
            entry = Entry(
                utility_id=books.utility_id,
                kind="pay_in",
                at_us=now_us,
                currency=books.currency,
                postings=(Posting(BANK, minor), Posting(till_account(till["branch"]), -minor)),
                reason=f"slip {slip}: {asked.reason}",
                principal_id=asked.caller.principal.id,
            )
            operation = self._operation(change, till, minor, books, {"reference": slip})
            _, recorded = operation_steps(asked, operation, rows, new_id, at_us=now_us)
            booked = posting_steps(entry, rows["ledger_accounts"], new_id)
            return Changes(True, [*booked, *recorded])

        subject: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "kind": change.kind,
            "subject": slip,
        }
        reads = [
            *operation_reads(asked),
            till_read(books.utility_id, branch),
            accounts_read(books.utility_id, [BANK, till_account(branch)]),
            Read("operation_by_subject", subject),
        ]
        is_new = await self._uow.run(reads, decide)
        return await Operations(self._uow).of_request(asked), is_new

    async def set_limit(self, asked: Asked, branch: str, limit: str | None) -> tuple[Row, bool]:
        """Say how much a seller may owe; return the operation, and whether it is new.

        Args:
            asked: who asks and why.
            branch: code of the seller's branch.
            limit: major units, 0 to sell only what was paid in; None for no limit.

        Raises:
            NotFound: ``branch_unknown``.
            Conflict: ``request_id_reused``.
            Refused: what an amount is refused for.
        """
        asked.check()
        books = Books.of(asked.caller.principal)
        minor = None if limit is None else parse_money(limit, books.currency, "limit").minor
        if minor is not None and minor < 0:
            raise Refused("amount_negative", "expected a limit of 0 or more", field="limit")
        now_us = epoch_us(self._clock.now())
        change = _Change("limit", {"branch": branch, "limit_minor": minor}, None)

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            if done_before(rows, change.kind, change.request) is not None:
                return Changes(False)
            till = till_found(rows, branch)
            steps: list[Step] = []
            if till["id"] is None:
                nothing = Entry(books.utility_id, "opening", 0, books.currency, (), "")
                opened = open_account(nothing, Posting(till_account(branch), 0), new_id())
                steps.append(Insert(opened.table, {**opened.row, "limit_minor": minor}))
            else:
                params = {"ledger_account_id": till["id"], "new_limit": minor}
                steps.append(Update("till_set_limit", params))
            detail = {"before": _text(till["limit_minor"], books), "after": _text(minor, books)}
            operation = self._operation(change, till, 0, books, detail)
            _, recorded = operation_steps(asked, operation, rows, new_id, at_us=now_us)
            return Changes(True, [*steps, *recorded])

        reads = [*operation_reads(asked), till_read(books.utility_id, branch)]
        is_new = await self._uow.run(reads, decide)
        return await Operations(self._uow).of_request(asked), is_new

    @staticmethod
    def _operation(
        change: _Change, till: Row, minor: int, books: Books, detail: dict[str, Any]
    ) -> Operation:
        return Operation(
            kind=change.kind,
            request=change.request,
            subject=change.subject,
            amount_minor=minor,
            currency=books.currency,
            detail=detail,
            branch_id=till["branch_id"],
        )

    async def floats(self, books: Books, *, after: str = "", limit: int = 50) -> Page:
        """Return every seller's till by branch code."""
        params: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "after": after,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("look_tills", params, "tills")]))["tills"]
        following = rows[limit - 1]["branch"] if len(rows) > limit else None
        return Page(rows[:limit], following)


def _text(minor: int | None, books: Books) -> str | None:
    return None if minor is None else str(Money(minor, books.currency))

"""The books of a utility: balances, periods, the journal, and what was done to them."""

from __future__ import annotations

import json
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.ledger_models import (
    AccountsPage,
    AccountsQuery,
    BalanceRow,
    CloseBody,
    JournalLine,
    JournalPage,
    JournalQuery,
    LedgerAccount,
    Operation,
    OperationsPage,
    OperationsQuery,
    PeriodLine,
    PeriodsPage,
    TrialBalanceAnswer,
    TrialBalanceQuery,
)
from slotmeter.api.query_models import PageQuery
from slotmeter.api.route import OK, Route, get, post
from slotmeter.ports import Right, Row
from slotmeter.services.debt_terms import Books
from slotmeter.services.ledger_desk import LedgerDesk
from slotmeter.services.operations import Asked
from slotmeter.services.trial_balance import BalanceLine
from slotmeter.units import Money, epoch_us, iso_utc
from slotmeter.vending.ledger import account_title

__all__ = ["ROUTES", "books_of", "desk_of", "operation_line"]

LEDGER: Final = frozenset({Right.LEDGER})


async def trial_balance(call: Call[Nothing, TrialBalanceQuery]) -> Answer:
    """Return the trial balance of a time."""
    query = call.query
    found = await desk_of(call).balances.balance(
        books_of(call), from_us=_us(query.from_at), to_us=_us(query.to_at)
    )
    items = [_balance_row(line) for line in found.lines]
    return json_answer(
        TrialBalanceAnswer(
            from_at=iso_utc(found.from_us) if found.from_us else None,
            to_at=iso_utc(found.to_us),
            items=items,
            balanced=not found.differences,
        )
    )


async def ledger_accounts(call: Call[Nothing, AccountsQuery]) -> Answer:
    """List ledger accounts with what they stand at now."""
    query = call.query
    page = await desk_of(call).balances.accounts(
        books_of(call), family=query.family, after=query.after, limit=query.limit
    )
    items = [
        LedgerAccount(
            code=row["code"],
            title=account_title(row["code"]),
            kind=row["kind"],
            currency=row["currency"],
            balance=_money(row["balance_minor"], row["currency"]),
            reserved=_money(row["reserved_minor"], row["currency"]),
            limit=_limit(row),
        )
        for row in page.rows
    ]
    return json_answer(AccountsPage(items=items, next=_text(page.next)))


async def journal(call: Call[Nothing, JournalQuery]) -> Answer:
    """List the postings of a time, the oldest first."""
    query = call.query
    page = await desk_of(call).journal.page(
        books_of(call),
        epoch_us(query.from_at),
        epoch_us(query.to_at),
        after=query.after,
        limit=query.limit,
    )
    items = [
        JournalLine(
            journal=row["journal_id"],
            at=iso_utc(row["at_us"]),
            kind=row["kind"],
            reason=row["reason"],
            receipt_number=row["receipt_number"],
            by=row["principal"],
            account=row["code"],
            amount=_money(row["amount_minor"], row["currency"]),
            currency=row["currency"],
        )
        for row in page.rows
    ]
    return json_answer(JournalPage(items=items, next=page.next))


async def close_period(call: Call[CloseBody, Nothing]) -> Answer:
    """Close the books through a day: 201 the first time, 200 when they are closed so already."""
    body = call.body
    asked = Asked(call.caller, f"close:{body.through}", body.reason)
    row, is_new = await desk_of(call).periods.close(asked, body.through)
    return json_answer(_period_line(row), HTTPStatus.CREATED if is_new else OK)


async def periods(call: Call[Nothing, PageQuery]) -> Answer:
    """List closed periods."""
    page = await desk_of(call).periods.periods(
        books_of(call), before_us=call.query.before, limit=call.query.limit
    )
    items = [_period_line(row) for row in page.rows]
    return json_answer(PeriodsPage(items=items, next=_id(page.next)))


async def ledger_operations(call: Call[Nothing, OperationsQuery]) -> Answer:
    """List corrections, deposits, refunds, settlements and limits."""
    query = call.query
    page = await desk_of(call).operations.operations(
        call.caller.principal.utility_id,
        kind=query.kind,
        before=query.before,
        limit=query.limit,
    )
    items = [operation_line(row) for row in page.rows]
    return json_answer(OperationsPage(items=items, next=_id(page.next)))


async def ledger_operation(call: Call[Nothing, Nothing]) -> Answer:
    """Return one operation."""
    utility_id = call.caller.principal.utility_id
    row = await desk_of(call).operations.operation(utility_id, call.path("number"))
    return json_answer(operation_line(row))


# --- rows into answers ----------------------------------------------------------------------------


def operation_line(row: Row) -> Operation:
    """Return an operation as the API shows it."""
    return Operation(
        number=row["number"],
        kind=row["kind"],
        subject=row["subject"],
        request_id=row["request_id"],
        amount=_money(row["amount_minor"], row["currency"]),
        currency=row["currency"],
        branch=row["branch"],
        account=row["account"],
        receipt_number=row["receipt_number"],
        new_receipt_number=row["new_receipt_number"],
        reason=row["reason"],
        detail=json.loads(row["detail"]),
        done_at=iso_utc(row["at_us"]),
        done_by=row["done_by"],
    )


def _balance_row(line: BalanceLine) -> BalanceRow:
    fields: dict[str, Any] = {"kind": line.kind}
    return BalanceRow(
        code=line.code,
        title=line.title,
        currency=line.currency,
        opening=_money(line.opening_minor, line.currency),
        debits=_money(line.debits_minor, line.currency),
        credits=_money(line.credits_minor, line.currency),
        closing=_money(line.closing_minor, line.currency),
        **fields,
    )


def _period_line(row: Row) -> PeriodLine:
    return PeriodLine(
        through=row["through_day"],
        from_at=iso_utc(row["from_us"]) if row["from_us"] else None,
        to_at=iso_utc(row["to_us"]),
        journals=row["journals"],
        postings=row["postings"],
        digest=row["digest"],
        closed_at=iso_utc(row["closed_us"]),
        closed_by=row["closed_by"],
        reason=row["reason"],
    )


def _limit(row: Row) -> str | None:
    minor = row["limit_minor"]
    return None if minor is None else _money(minor, row["currency"])


def _money(minor: int, currency: str) -> str:
    return str(Money(minor, currency))


def _us(at: datetime | None) -> int | None:
    return None if at is None else epoch_us(at)


def _id(following: int | str | None) -> int | None:
    return None if following is None else int(following)


def _text(following: int | str | None) -> str | None:
    return None if following is None else str(following)


def desk_of(call: Call[Any, Any]) -> LedgerDesk:
    """Return the services of the ledger."""
    return call.services.office.ledger


def books_of(call: Call[Any, Any]) -> Books:
    """Return the caller's books."""
    return Books.of(call.caller.principal)


ROUTES: Final[tuple[Route, ...]] = (
    get(
        "/ledger/trial-balance",
        trial_balance,
        "ledger",
        LEDGER,
        TrialBalanceAnswer,
        query=TrialBalanceQuery,
    ),
    get("/ledger/accounts", ledger_accounts, "ledger", LEDGER, AccountsPage, query=AccountsQuery),
    get("/ledger/journal", journal, "ledger", LEDGER, JournalPage, query=JournalQuery),
    get("/ledger/periods", periods, "ledger", LEDGER, PeriodsPage, query=PageQuery),
    post(
        "/ledger/periods",
        close_period,
        "ledger",
        Right.LEDGER_CLOSE,
        {HTTPStatus.CREATED: PeriodLine, OK: PeriodLine},
        body=CloseBody,
        problems=(409,),
    ),
    get(
        "/ledger/operations",
        ledger_operations,
        "ledger",
        LEDGER,
        OperationsPage,
        query=OperationsQuery,
    ),
    get("/ledger/operations/{number}", ledger_operation, "ledger", LEDGER, Operation),
)

"""Debts, blocks of accounts, and the report of arrears."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.debt_models import (
    ArrangeBody,
    ArrearsAnswer,
    ArrearsLine,
    ArrearsQuery,
    BlockLine,
    BlocksPage,
    BlocksQuery,
    CancelBody,
    DebtBody,
    DebtDetail,
    DebtInterest,
    DebtLine,
    DebtLogLine,
    DebtMovement,
    DebtPlanLine,
    DebtsOfAccountQuery,
    DebtsPage,
    DebtsQuery,
    DebtSuspension,
    InterestAnswer,
    InterestBody,
    InterestTermsBody,
    PlanBody,
    ReasonBody,
    SuspendBody,
)
from slotmeter.api.route import OK, Route, get, post
from slotmeter.ports import Right, Row
from slotmeter.services.access import Origin
from slotmeter.services.debt_desk import DebtDesk
from slotmeter.services.debt_reports import ArrearsRow
from slotmeter.services.debt_terms import Books, InterestWish, NewDebt, PlanWish
from slotmeter.services.queries import Page
from slotmeter.units import Money, iso_utc
from slotmeter.vending.debt_plans import Every, Phase, Shape, stored_plan
from slotmeter.vending.debts import stored_interest
from slotmeter.vending.pricing.lines import tax_within

__all__ = ["ROUTES", "arrears_line", "block_line", "debt_line"]

DEBTS: Final = frozenset({Right.DEBTS})


async def make_debt(call: Call[DebtBody, Nothing]) -> Answer:
    """Make a debt: 201 the first time, 200 for the same request under the same number again."""
    body = call.body
    new = NewDebt(
        account=body.account,
        kind=body.kind,
        amount=body.amount,
        plan=_plan_wish(body.plan),
        label=body.label,
        priority=body.priority,
        tax_percent=body.tax_percent,
        tax=body.tax,
        interest=_interest_wish(body.interest),
        source=body.source,
        number=body.number,
        starts=body.starts,
        currency=body.currency,
    )
    made, is_new = await _desk(call).debts.add(*_who(call), new, reason=body.reason)
    return json_answer(debt_line(made), HTTPStatus.CREATED if is_new else OK)


async def debts(call: Call[Nothing, DebtsQuery]) -> Answer:
    """List debts."""
    return await _listed(call, call.query, call.query.account)


async def account_debts(call: Call[Nothing, DebtsOfAccountQuery]) -> Answer:
    """List the debts of an account."""
    return await _listed(call, call.query, call.path("account"))


async def debt(call: Call[Nothing, Nothing]) -> Answer:
    """Return one debt with its history."""
    history = await _desk(call).debts.history(_books(call), call.path("number"))
    currency = history.debt["currency"]
    return json_answer(
        DebtDetail(
            **_debt_fields(history.debt),
            log=[
                DebtLogLine(
                    at=iso_utc(line["at_us"]),
                    what=line["what"],
                    by=line["principal"],
                    reason=json.loads(line["detail"]).get("reason"),
                )
                for line in history.log
            ],
            movements=[
                DebtMovement(
                    at=iso_utc(row["at_us"]),
                    what=row["kind"],
                    amount=str(Money(row["amount_minor"], currency)),
                    receipt_number=row["receipt_number"],
                    reason=row["reason"],
                )
                for row in history.movements
            ],
        )
    )


async def arrange_debt(call: Call[ArrangeBody, Nothing]) -> Answer:
    """Replace a debt's plan from a day on."""
    body = call.body
    row = await _desk(call).debts.arrange(
        *_who(call),
        call.path("number"),
        _plan_wish(body.plan),
        starts=body.starts,
        reason=body.reason,
    )
    return json_answer(debt_line(row))


async def suspend_debt(call: Call[SuspendBody, Nothing]) -> Answer:
    """Take nothing for a debt for some time."""
    body = call.body
    row = await _desk(call).debts.suspend(
        *_who(call),
        call.path("number"),
        starts=body.starts,
        until=body.until,
        interest=body.interest,
        reason=body.reason,
    )
    return json_answer(debt_line(row))


async def resume_debt(call: Call[ReasonBody, Nothing]) -> Answer:
    """End a debt's suspension now."""
    row = await _desk(call).debts.resume(*_who(call), call.path("number"), reason=call.body.reason)
    return json_answer(debt_line(row))


async def cancel_debt(call: Call[CancelBody, Nothing]) -> Answer:
    """Write a debt off, or take it back as a mistake."""
    row = await _desk(call).debts.cancel(
        *_who(call), call.path("number"), how=call.body.how, reason=call.body.reason
    )
    return json_answer(debt_line(row))


async def post_interest(call: Call[InterestBody, Nothing]) -> Answer:
    """Post interest of all open debts through a day; days that were posted are left alone."""
    body = call.body
    origin, books = _who(call)
    done = await _desk(call).interest.post(origin, books, body.through, reason=body.reason)
    return json_answer(
        InterestAnswer(
            through=body.through,
            debts=done.debts,
            posted=done.bearing,
            total=str(Money(done.total_minor, books.currency)),
            currency=books.currency,
        )
    )


async def block_account(call: Call[ReasonBody, Nothing]) -> Answer:
    """Stop sales to an account."""
    row = await _desk(call).blocks.block(*_who(call), call.path("account"), reason=call.body.reason)
    return json_answer(block_line(row))


async def release_account(call: Call[ReasonBody, Nothing]) -> Answer:
    """Let a blocked account buy again."""
    row = await _desk(call).blocks.release(
        *_who(call), call.path("account"), reason=call.body.reason
    )
    return json_answer(block_line(row))


async def account_blocks(call: Call[Nothing, BlocksQuery]) -> Answer:
    """List blocks of accounts."""
    query = call.query
    page = await _desk(call).blocks.blocks(
        _books(call),
        account=query.account,
        only_open=query.open,
        before=query.before,
        limit=query.limit,
    )
    items = [block_line(row) for row in page.rows]
    return json_answer(BlocksPage(items=items, next=_following(page)))


async def arrears(call: Call[Nothing, ArrearsQuery]) -> Answer:
    """Return collection and arrears of a month by area."""
    query = call.query
    report = await _desk(call).reports.arrears(
        _books(call), month=query.month, level=query.level, by_kind=query.by_kind
    )
    return json_answer(
        ArrearsAnswer(
            month=report.month,
            currency=report.currency,
            items=[arrears_line(row, report.currency) for row in report.rows],
            total=arrears_line(report.total, report.currency),
        )
    )


# --- rows into answers ----------------------------------------------------------------------------


def debt_line(row: Row) -> DebtLine:
    """Return a debt as the API shows it."""
    return DebtLine(**_debt_fields(row))


def arrears_line(row: ArrearsRow, currency: str) -> ArrearsLine:
    """Return a row of the report of arrears as the API shows it."""

    def money(minor: int) -> str:
        return str(Money(minor, currency))

    return ArrearsLine(
        area=row.area,
        kind=row.kind,
        debts=row.debts,
        before=money(row.before_minor),
        billed=money(row.billed_minor),
        interest=money(row.interest_minor),
        collected=money(row.collected_minor),
        written_off=money(row.written_off_minor),
        other=money(row.other_minor),
        outstanding=money(row.outstanding_minor),
    )


def _debt_fields(row: Row) -> dict[str, Any]:
    currency = row["currency"]
    plan = stored_plan(row["plan"]).since(row["seen_us"])
    left_minor = row["balance_minor"] - row["pending_minor"]
    return {
        "number": row["number"],
        "account": row["account"],
        "kind": row["kind"],
        "label": row["label"],
        "priority": row["priority"],
        "currency": currency,
        "amount": str(Money(row["amount_minor"], currency)),
        "left": str(Money(left_minor, currency)),
        "state": row["state"],
        "tax_percent": row["tax_percent"],
        "tax_left": None
        if row["tax_percent"] is None
        else str(Money(tax_within(left_minor, row["tax_percent"]), currency)),
        "plans": [_plan_line(phase, currency) for phase in plan.phases],
        "suspensions": [
            DebtSuspension(
                starts_at=iso_utc(each.from_us),
                until=None if each.until_us is None else iso_utc(each.until_us),
                interest=each.interest,
            )
            for each in plan.suspensions
        ],
        "interest": _interest(row),
        "created_at": iso_utc(row["created_us"]),
    }


def _plan_line(phase: Phase, currency: str) -> DebtPlanLine:
    by_amount = phase.shape is Shape.INSTALMENTS
    by_date = by_amount and phase.every is not Every.PURCHASE
    minor = phase.amount_minor
    fields: dict[str, Any] = {
        "shape": phase.shape.value,
        "every": phase.every.value if by_amount else None,
        "missed": phase.missed.value if by_date else None,
    }
    return DebtPlanLine(
        starts_at=iso_utc(phase.from_us),
        percent=phase.percent,
        amount=None if minor is None else str(Money(minor, currency)),
        first=phase.first,
        **fields,
    )


def _interest(row: Row) -> DebtInterest | None:
    if row["interest"] is None:
        return None
    terms = stored_interest(row["interest"])
    fields: dict[str, Any] = {"per": terms.per.value}
    return DebtInterest(
        percent=terms.percent,
        from_day=terms.from_day,
        posted_through=terms.through,
        posted=str(Money(terms.posted_minor, row["currency"])),
        **fields,
    )


def block_line(row: Row) -> BlockLine:
    """Return a block as the API shows it."""
    released_us = row["released_us"]
    return BlockLine(
        account=row["account"],
        reason=row["reason"],
        blocked_by=row["blocked_by"],
        blocked_at=iso_utc(row["from_us"]),
        released_at=None if released_us is None else iso_utc(released_us),
        released_by=row["released_by"],
        release_reason=row["release_reason"],
    )


# --- calls into services --------------------------------------------------------------------------


async def _listed(call: Call[Any, Any], query: DebtsOfAccountQuery, account: str | None) -> Answer:
    page = await _desk(call).debts.debts(
        _books(call),
        account=account,
        kind=query.kind,
        state=query.state,
        before=query.before,
        limit=query.limit,
    )
    return json_answer(
        DebtsPage(items=[debt_line(row) for row in page.rows], next=_following(page))
    )


def _plan_wish(body: PlanBody) -> PlanWish:
    return PlanWish(body.shape, body.percent, body.amount, body.every, body.missed, body.first)


def _interest_wish(body: InterestTermsBody | None) -> InterestWish | None:
    return None if body is None else InterestWish(body.percent, body.per, body.from_day)


def _following(page: Page) -> int | None:
    return None if page.next is None else int(page.next)


def _desk(call: Call[Any, Any]) -> DebtDesk:
    return call.services.office.debts


def _books(call: Call[Any, Any]) -> Books:
    return Books.of(call.caller.principal)


def _who(call: Call[Any, Any]) -> tuple[Origin, Books]:
    return Origin.of(call.caller), _books(call)


_CHANGED: Final[Mapping[int, type[BaseModel]]] = {OK: DebtLine}

ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/debts",
        make_debt,
        "debts",
        Right.DEBTS_WRITE,
        {HTTPStatus.CREATED: DebtLine, OK: DebtLine},
        body=DebtBody,
        problems=(404, 409),
    ),
    get("/debts", debts, "debts", DEBTS, DebtsPage, query=DebtsQuery, problems=(404,)),
    get("/debts/{number}", debt, "debts", DEBTS, DebtDetail),
    post(
        "/debts/{number}/plan",
        arrange_debt,
        "debts",
        Right.DEBTS_WRITE,
        _CHANGED,
        body=ArrangeBody,
        problems=(409,),
    ),
    post(
        "/debts/{number}/suspend",
        suspend_debt,
        "debts",
        Right.DEBTS_WRITE,
        _CHANGED,
        body=SuspendBody,
        problems=(409,),
    ),
    post(
        "/debts/{number}/resume",
        resume_debt,
        "debts",
        Right.DEBTS_WRITE,
        _CHANGED,
        body=ReasonBody,
        problems=(409,),
    ),
    post(
        "/debts/{number}/cancel",
        cancel_debt,
        "debts",
        Right.DEBTS_WRITE,
        _CHANGED,
        body=CancelBody,
        problems=(409,),
    ),
    post(
        "/debt-interest",
        post_interest,
        "debts",
        Right.DEBTS_WRITE,
        {OK: InterestAnswer},
        body=InterestBody,
        problems=(409,),
    ),
    get(
        "/accounts/{account}/debts",
        account_debts,
        "debts",
        DEBTS,
        DebtsPage,
        query=DebtsOfAccountQuery,
    ),
    post(
        "/accounts/{account}/block",
        block_account,
        "debts",
        Right.ACCOUNTS_WRITE,
        {OK: BlockLine},
        body=ReasonBody,
        problems=(409,),
    ),
    post(
        "/accounts/{account}/release",
        release_account,
        "debts",
        Right.ACCOUNTS_WRITE,
        {OK: BlockLine},
        body=ReasonBody,
        problems=(409,),
    ),
    get(
        "/account-blocks",
        account_blocks,
        "debts",
        DEBTS,
        BlocksPage,
        query=BlocksQuery,
        problems=(404,),
    ),
    get("/reports/arrears", arrears, "debts", DEBTS, ArrearsAnswer, query=ArrearsQuery),
)

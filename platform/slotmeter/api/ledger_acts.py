"""What is done to the books: sales taken back and replaced, refunds, float and commission."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from pydantic import BaseModel

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.ledger import LEDGER, books_of, desk_of, operation_line
from slotmeter.api.ledger_models import (
    CommissionBody,
    CommissionPart,
    CommissionPlanLine,
    CommissionPlansPage,
    DepositBody,
    FloatLine,
    FloatsPage,
    FloatsQuery,
    LimitBody,
    Operation,
    RefundBody,
    Replacement,
    ReplacementBody,
    ReversalBody,
    SettleBody,
    Swap,
    SwapBody,
)
from slotmeter.api.meter_keys import mark_of
from slotmeter.api.query_models import PageQuery
from slotmeter.api.route import OK, Route, get, post, put
from slotmeter.api.sales import sale_fields
from slotmeter.ports import Right, Row
from slotmeter.services.commission import PlanWish
from slotmeter.services.float_accounts import float_left
from slotmeter.services.meter_swap import SwapWish
from slotmeter.services.operations import Asked
from slotmeter.services.refunds import RefundWish
from slotmeter.services.replacement import ReplacementWish
from slotmeter.services.reversal import ReversalWish
from slotmeter.units import Money, iso_utc

__all__ = ["ROUTES"]


async def reverse_sale(call: Call[ReversalBody, Nothing]) -> Answer:
    """Take a sale back: 201 the first time, 200 for the same request again."""
    body = call.body
    wish = ReversalWish(call.path("receipt_number"), body.declared, body.paid_by)
    return _done(*await desk_of(call).reversals.reverse(_asked(call), wish))


async def replace_sale(call: Call[ReplacementBody, Nothing]) -> Answer:
    """Replace a sale for the wrong meter: 201 the first time, 200 for the same request again."""
    body = call.body
    wish = ReplacementWish(call.path("receipt_number"), body.meter, body.declared)
    replacements = desk_of(call).replacements(call.services.selling)
    row, sale, is_new = await replacements.replace(_asked(call), wish)
    content = {
        "operation": operation_line(row).model_dump(mode="json"),
        "sale": sale_fields(sale, training=call.caller.principal.training),
    }
    status = HTTPStatus.CREATED if is_new else OK
    return Answer(status, msgspec.json.encode(content))


async def swap_meter(call: Call[SwapBody, Nothing]) -> Answer:
    """Swap a meter: 201 the first time, 200 for the same request again."""
    body = call.body
    wish = SwapWish(
        call.path("number"),
        body.new,
        body.credit,
        body.old_register,
        body.new_register,
        body.coding,
    )
    row, token, is_new = await call.services.codings.swaps.swap(_asked(call), wish)
    status = HTTPStatus.CREATED if is_new else OK
    mark = mark_of(call.caller.principal)
    return json_answer(Swap(operation=operation_line(row), token=token, mark=mark), status)


async def refund(call: Call[RefundBody, Nothing]) -> Answer:
    """Give back money that is held: 201 the first time, 200 for the same request again."""
    body = call.body
    wish = RefundWish(call.path("account"), body.amount, body.held_as, body.paid_by)
    return _done(*await desk_of(call).refunds.refund(_asked(call), wish))


async def floats(call: Call[Nothing, FloatsQuery]) -> Answer:
    """List what sellers owe or have paid in."""
    books = books_of(call)
    page = await desk_of(call).floats.floats(books, after=call.query.after, limit=call.query.limit)
    items = [_float_line(row, books.currency) for row in page.rows]
    return json_answer(FloatsPage(items=items, next=None if page.next is None else str(page.next)))


async def pay_in(call: Call[DepositBody, Nothing]) -> Answer:
    """Book what a seller paid into the bank: 201 the first time, 200 for the same request again."""
    body = call.body
    found = await desk_of(call).floats.pay_in(
        _asked(call), call.path("branch"), body.amount, body.reference
    )
    return _done(*found)


async def set_float_limit(call: Call[LimitBody, Nothing]) -> Answer:
    """Say how much a seller may owe."""
    row, _ = await desk_of(call).floats.set_limit(
        _asked(call), call.path("branch"), call.body.limit
    )
    return json_answer(operation_line(row))


async def commission_plans(call: Call[Nothing, PageQuery]) -> Answer:
    """List how sellers are and were paid."""
    return json_answer(await _plans(call, before=call.query.before, limit=call.query.limit))


async def set_commission_plan(call: Call[CommissionBody, Nothing]) -> Answer:
    """Say how a seller is paid from a day on."""
    body = call.body
    wish = None
    if body.when is not None:
        per_unit = {name: text for name, text in body.per_unit.model_dump().items() if text}
        bands = [(band.from_tender, band.percent) for band in body.bands]
        wish = PlanWish(body.when, bands, per_unit, body.per_sale)
    asked = Asked(call.caller, "commission-plan", body.reason)
    await desk_of(call).commissions.set_plan(asked, call.path("branch"), wish, starts=body.starts)
    return json_answer((await _plans(call, before=None, limit=1)).items[0])


async def settle_commission(call: Call[SettleBody, Nothing]) -> Answer:
    """Book what a seller earned: 201 the first time, 200 for the same request again."""
    found = await desk_of(call).commissions.settle(
        _asked(call), call.path("branch"), call.body.through
    )
    return _done(*found)


def _asked(call: Call[Any, Any]) -> Asked:
    return Asked(call.caller, call.body.request_id, call.body.reason)


def _done(row: Row, is_new: bool) -> Answer:
    return json_answer(operation_line(row), HTTPStatus.CREATED if is_new else OK)


def _float_line(row: Row, currency: str) -> FloatLine:
    def money(minor: int | None) -> str | None:
        return None if minor is None else str(Money(minor, currency))

    return FloatLine(
        branch=row["branch"],
        name=row["branch_name"],
        owes=str(Money(row["balance_minor"] or 0, currency)),
        reserved=str(Money(row["reserved_minor"] or 0, currency)),
        limit=money(row["limit_minor"]),
        left=money(float_left(row)),
    )


async def _plans(call: Call[Any, Any], *, before: int | None, limit: int) -> CommissionPlansPage:
    books = books_of(call)
    page = await desk_of(call).commissions.plans(books, before=before, limit=limit)
    items = [_plan_line(row, books.currency) for row in page.rows]
    following = None if page.next is None else int(page.next)
    return CommissionPlansPage(items=items, next=following)


def _plan_line(row: Row, currency: str) -> CommissionPlanLine:
    nothing: dict[str, Any] = {"when": None, "bands": [], "per_unit": {}, "per_sale_minor": 0}
    plan = nothing if row["body"] is None else json.loads(row["body"])
    return CommissionPlanLine(
        branch=row["branch"],
        starts_at=iso_utc(row["from_us"]),
        when=plan["when"],
        bands=[
            CommissionPart(from_tender=str(Money(minor, currency)), percent=percent)
            for minor, percent in plan["bands"]
        ],
        per_unit=plan["per_unit"],
        per_sale=str(Money(plan["per_sale_minor"], currency)),
        set_by=row["set_by"],
        set_at=iso_utc(row["created_us"]),
        reason=row["reason"],
    )


_MADE: Final[Mapping[int, type[BaseModel]]] = {HTTPStatus.CREATED: Operation, OK: Operation}

ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/receipts/{receipt_number}/reversal",
        reverse_sale,
        "ledger",
        Right.SALE_REVERSE,
        _MADE,
        body=ReversalBody,
        problems=(409,),
    ),
    post(
        "/receipts/{receipt_number}/replacement",
        replace_sale,
        "ledger",
        Right.SALE_CORRECT,
        {HTTPStatus.CREATED: Replacement, OK: Replacement},
        body=ReplacementBody,
        problems=(409,),
    ),
    post(
        "/meters/{number}/swap",
        swap_meter,
        "ledger",
        Right.METER_SWAP,
        {HTTPStatus.CREATED: Swap, OK: Swap},
        body=SwapBody,
        problems=(409,),
    ),
    post(
        "/accounts/{account}/refunds",
        refund,
        "ledger",
        Right.REFUND,
        _MADE,
        body=RefundBody,
        problems=(409,),
    ),
    get("/floats", floats, "ledger", LEDGER, FloatsPage, query=FloatsQuery),
    post(
        "/floats/{branch}/deposits",
        pay_in,
        "ledger",
        Right.FLOAT_DEPOSIT,
        _MADE,
        body=DepositBody,
        problems=(409,),
    ),
    put(
        "/floats/{branch}/limit",
        set_float_limit,
        "ledger",
        Right.FLOAT_LIMIT,
        {OK: Operation},
        body=LimitBody,
        problems=(409,),
    ),
    get(
        "/commission-plans",
        commission_plans,
        "ledger",
        LEDGER,
        CommissionPlansPage,
        query=PageQuery,
    ),
    put(
        "/floats/{branch}/commission-plan",
        set_commission_plan,
        "ledger",
        Right.COMMISSION_WRITE,
        {OK: CommissionPlanLine},
        body=CommissionBody,
        problems=(409,),
    ),
    post(
        "/floats/{branch}/commission-settlements",
        settle_commission,
        "ledger",
        Right.COMMISSION_WRITE,
        _MADE,
        body=SettleBody,
        problems=(409,),
    ),
)

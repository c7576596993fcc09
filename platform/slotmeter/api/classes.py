"""Customer classes, and which account has which from when."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.office_models import (
    PROPOSALS_SHOWN_MAX,
    AccountClassBody,
    AccountClasses,
    AccountClassLine,
    ClassBody,
    ClassesPage,
    ClassLine,
    ClassPreviewAnswer,
    ClassPreviewBody,
    ClassReviewAnswer,
    ClassReviewBody,
    PreviewLine,
    ProposalLine,
    UnderClassAnswer,
)
from slotmeter.api.paging import AfterQuery, BeforeQuery
from slotmeter.api.route import OK, Route, get, post
from slotmeter.ports import Right, Row
from slotmeter.services.class_preview import UnderClass
from slotmeter.services.class_review import average_text
from slotmeter.services.class_rules import read_class_rules
from slotmeter.services.list_pages import cut
from slotmeter.units import Money, iso_utc

__all__ = ["ROUTES"]


async def classes(call: Call[Nothing, AfterQuery]) -> Answer:
    """List customer classes."""
    query = call.query
    rows = await call.services.office.classes.classes(
        call.caller.principal.utility_id, after=query.after, limit=query.limit + 1
    )
    page, following = cut(rows, query.limit, lambda row: str(row["code"]))
    return json_answer(ClassesPage(items=[_class(row) for row in page], next=following))


async def make_class(call: Call[ClassBody, Nothing]) -> Answer:
    """Make a class that tariffs may name."""
    body = call.body
    row = await call.services.office.classes.create(
        call.caller, body.code, body.title, reason=body.reason
    )
    return json_answer(_class(row), HTTPStatus.CREATED)


async def account_classes(call: Call[Nothing, BeforeQuery]) -> Answer:
    """Return the classes of an account."""
    return await _classes_of(call, call.query)


async def assign_class(call: Call[AccountClassBody, Nothing]) -> Answer:
    """Give an account a class from an instant on; what was bought before keeps its price."""
    body = call.body
    await call.services.office.classes.assign(
        call.caller,
        call.path("account"),
        body.class_code,
        from_at=body.from_at,
        reason=body.reason,
    )
    return await _classes_of(call, BeforeQuery())


async def preview_class(call: Call[ClassPreviewBody, Nothing]) -> Answer:
    """Show a purchase under the class that an account has and under another one."""
    body = call.body
    now, then = await call.services.office.class_preview.preview(
        call.caller, body.meter, body.tendered, body.class_code
    )
    currency = call.caller.principal.currency
    return json_answer(ClassPreviewAnswer(now=_under(now, currency), then=_under(then, currency)))


def _under(found: UnderClass, currency: str) -> UnderClassAnswer:
    code, detail = found.refused or (None, None)
    return UnderClassAnswer(
        class_code=found.class_code,
        units=found.units or None,
        unit=found.unit,
        refused=code,
        detail=detail,
        lines=[
            PreviewLine(
                kind=line.kind,
                label=line.label,
                rate=line.rate,
                amount=str(Money(line.amount_minor, currency)),
            )
            for line in found.lines
        ],
    )


async def review_classes(call: Call[ClassReviewBody, Nothing]) -> Answer:
    """Propose, or set, classes by what accounts bought on average."""
    body, principal = call.body, call.caller.principal
    rules = read_class_rules(body.rules)
    review = call.services.office.class_review
    found = await review.propose(principal.utility_id, principal.time_zone, rules)
    if body.apply:
        await review.apply(call.caller, found.proposals, from_at=body.from_at, reason=body.reason)
    return json_answer(
        ClassReviewAnswer(
            from_at=iso_utc(found.from_us),
            to_at=iso_utc(found.to_us),
            accounts=found.accounts,
            too_new=found.too_new,
            other_class=found.other_class,
            no_rule=found.no_rule,
            changes=len(found.proposals),
            applied=body.apply,
            proposals=[
                ProposalLine(
                    account=each.account,
                    average=average_text(rules, each.average_units),
                    from_class=each.from_class,
                    to_class=each.to_class,
                )
                for each in found.proposals[:PROPOSALS_SHOWN_MAX]
            ],
        )
    )


async def _classes_of(call: Call[Any, Any], query: BeforeQuery) -> Answer:
    office, account = call.services.office.classes, call.path("account")
    utility_id = call.caller.principal.utility_id
    rows = await office.history(utility_id, account, before=query.before, limit=query.limit + 1)
    page, following = cut(rows, query.limit, lambda row: int(row["id"]))
    current = await office.class_at(utility_id, account, call.services.clock.now())
    items = [
        AccountClassLine(
            class_code=row["class_code"],
            from_at=iso_utc(row["from_us"]),
            reason=row["reason"],
            by=row["by"],
            created_at=iso_utc(row["created_us"]),
        )
        for row in page
    ]
    return json_answer(
        AccountClasses(account=account, class_code=current, items=items, next=following)
    )


def _class(row: Row) -> ClassLine:
    return ClassLine(code=row["code"], title=row["title"], created_at=iso_utc(row["created_us"]))


_LOOK: Final = frozenset({Right.TARIFFS, Right.CLASSES_WRITE})

ROUTES: Final[tuple[Route, ...]] = (
    get("/classes", classes, "classes", _LOOK, ClassesPage, query=AfterQuery),
    post(
        "/classes",
        make_class,
        "classes",
        Right.CLASSES_WRITE,
        {HTTPStatus.CREATED: ClassLine},
        body=ClassBody,
        problems=(409,),
    ),
    get(
        "/accounts/{account}/classes",
        account_classes,
        "classes",
        _LOOK,
        AccountClasses,
        query=BeforeQuery,
    ),
    post(
        "/accounts/{account}/classes",
        assign_class,
        "classes",
        Right.CLASSES_WRITE,
        {OK: AccountClasses},
        body=AccountClassBody,
    ),
    post(
        "/class-previews",
        preview_class,
        "classes",
        Right.CLASSES_WRITE,
        {OK: ClassPreviewAnswer},
        body=ClassPreviewBody,
        problems=(404,),
    ),
    post(
        "/class-reviews",
        review_classes,
        "classes",
        Right.CLASSES_WRITE,
        {OK: ClassReviewAnswer},
        body=ClassReviewBody,
        problems=(404,),
        timed=False,
    ),
)
"""What the API answers about classes."""

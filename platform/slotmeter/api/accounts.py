"""When an account pays: in advance or afterwards, and the settlements in between."""

from __future__ import annotations

import json
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.office_models import AccountTerms, TermsBody, TermsLine
from slotmeter.api.paging import BeforeQuery
from slotmeter.api.route import OK, Route, get, post
from slotmeter.ports import Right
from slotmeter.services.list_pages import cut
from slotmeter.services.settlement_meters import WrittenReading
from slotmeter.units import iso_utc
from slotmeter.vending.accounts import Terms

__all__ = ["ROUTES"]


async def account_terms(call: Call[Nothing, BeforeQuery]) -> Answer:
    """Return when an account pays, with its settlements."""
    return await _terms_answer(call, call.query)


async def switch_terms(call: Call[TermsBody, Nothing]) -> Answer:
    """Let an account pay afterwards, or in advance again, settled at what its meters show."""
    body, terms, account = call.body, call.services.office.terms, call.path("account")
    written = [
        WrittenReading(each.meter, each.register_value, each.credit_left) for each in body.readings
    ]
    readings = await terms.readings(call.caller.principal.utility_id, account, written)
    await terms.switch(
        call.caller, account, Terms(body.terms), readings, at=body.at, reason=body.reason
    )
    return await _terms_answer(call, BeforeQuery())


async def _terms_answer(call: Call[Any, Any], query: BeforeQuery) -> Answer:
    account = call.path("account")
    found = await call.services.office.terms.terms(
        call.caller.principal.utility_id, account, before=query.before, limit=query.limit + 1
    )
    page, following = cut(found.history, query.limit, lambda row: int(row["id"]))
    items = [
        TermsLine(
            terms=row["terms"],
            at=iso_utc(row["from_us"]),
            by=row["by"],
            reason=row["reason"],
            settlement=None if row["settlement"] is None else json.loads(row["settlement"]),
        )
        for row in page
    ]
    return json_answer(
        AccountTerms(account=account, terms=found.terms.value, items=items, next=following)
    )


ROUTES: Final[tuple[Route, ...]] = (
    get(
        "/accounts/{account}/terms",
        account_terms,
        "accounts",
        frozenset({Right.DEBTS, Right.ACCOUNTS_WRITE}),
        AccountTerms,
        query=BeforeQuery,
    ),
    post(
        "/accounts/{account}/terms",
        switch_terms,
        "accounts",
        Right.ACCOUNTS_WRITE,
        {OK: AccountTerms},
        body=TermsBody,
        problems=(409,),
    ),
)
"""What the API answers about the terms of accounts."""

"""Search: one box for numbers, names, addresses, receipts and tokens."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.models import ROWS, ROWS_MAX, Body, Commodity, Instant, Money, Out
from slotmeter.api.route import API, OK, Route
from slotmeter.ports import Right
from slotmeter.services.search import TEXT_CHARACTERS_MAX, Hit, Kind
from slotmeter.units import Money as MoneyValue
from slotmeter.units import iso_utc
from slotmeter.vending.accounts import masked_name

__all__ = ["ROUTES", "SearchBody", "SearchHit", "SearchPage", "search"]


class SearchBody(Body):
    """What to look for. In a body, as what is searched may be a token: paths are logged."""

    q: str = Field(
        max_length=TEXT_CHARACTERS_MAX,
        description="The 20 digits of a token, a receipt number, the beginning of a meter's, an "
        "account's or a customer's number, or words of a name or an address.",
    )
    limit: int = Field(default=ROWS, ge=1, le=ROWS_MAX, description="Hits on a page.")
    after: str | None = Field(
        default=None, max_length=100, description="`next` of the page before this one."
    )


class SearchHit(Out):
    """A meter at its place; with a receipt, the sale that was found."""

    by: Kind
    meter: str | None = Field(description="Null where no meter hangs now.")
    commodity: Commodity | None
    area: str | None
    address: str | None = Field(description="Null for callers without the right to readings.")
    account: str | None = Field(description="Null for callers without the right to readings.")
    customer: str | None = Field(description="Masked for callers without the right to readings.")
    receipt_number: str | None = None
    sold_at: Instant | None = None
    tendered: Money | None = None
    currency: str | None = None
    sold_by: str | None = None
    state: Literal["pending", "issued", "voided"] | None = None


class SearchPage(Out):
    """What was found: the sale of a token or a receipt first, then by number, then by words."""

    items: list[SearchHit]
    next: str | None = Field(description="Give it as `after` for the page that follows.")


async def search(call: Call[SearchBody, Nothing]) -> Answer:
    """Find meters and sales by number, name, address, receipt or token."""
    principal = call.caller.principal
    found = await call.services.queries.search.find(
        principal, call.body.q, after=call.body.after, limit=call.body.limit
    )
    sees_all = Right.READINGS in principal.rights
    items = [_hit(hit, sees_all=sees_all) for hit in found.hits]
    return json_answer(SearchPage(items=items, next=found.next))


def _hit(hit: Hit, *, sees_all: bool) -> SearchHit:
    row = hit.row
    name = row["customer"]
    place = SearchHit(
        by=hit.by,
        meter=row["meter"],
        commodity=row["commodity"],
        area=row["area"],
        address=row["address"] if sees_all else None,
        account=row["account"] if sees_all else None,
        customer=name if sees_all or name is None else masked_name(name),
    )
    if "receipt_number" not in row:
        return place
    return place.model_copy(
        update={
            "receipt_number": row["receipt_number"],
            "sold_at": iso_utc(row["sold_us"]),
            "tendered": str(MoneyValue(row["tender_minor"], row["currency"])),
            "currency": row["currency"],
            "sold_by": row["sold_by"],
            "state": row["state"],
        }
    )


ROUTES: Final = (
    Route(
        "POST",
        f"{API}/search",
        "search",
        "search",
        search,
        frozenset({Right.METERS}),
        {OK: SearchPage},
        body=SearchBody,
    ),
)

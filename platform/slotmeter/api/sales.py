"""Quotes, sales and receipts."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.models import (
    Delivery,
    PriceLine,
    Quote,
    QuoteBody,
    Sale,
    SaleBody,
    SaleLine,
    SalesPage,
)
from slotmeter.api.query_models import SalesQuery
from slotmeter.ports import Row
from slotmeter.services.queries import SalesFilter
from slotmeter.services.selling import SaleView, SellRequest
from slotmeter.units import Commodity, Money, Quantity, commodity_quantity, epoch_us, iso_utc

__all__ = ["quote", "sale", "sales", "sell"]

EVER: Final = SalesFilter()


def sold_units(commodity: str, amount: int) -> tuple[str, str]:
    """Write an amount of Wh or mL in the unit that is sold, and name the unit."""
    kind: type[Quantity] = commodity_quantity(Commodity(commodity))
    return kind(amount).sold_text, kind.sold_symbol


def instant_text(us: int | None) -> str | None:
    """Write a time that may not have come yet."""
    return None if us is None else iso_utc(us)


async def quote(call: Call[QuoteBody, Nothing]) -> Answer:
    """Say what a purchase would give."""
    made = await call.services.selling.quote(call.caller, call.body.meter, call.body.tendered)
    units, unit = sold_units(made.commodity, made.quantity)
    lines = [
        PriceLine(
            kind=line.kind,
            label=line.label,
            quantity=None
            if line.quantity is None
            else sold_units(made.commodity, line.quantity)[0],
            rate=line.rate,
            amount=str(Money(line.amount_minor, made.currency)),
        )
        for line in made.lines
    ]
    fields: dict[str, Any] = {"commodity": made.commodity}
    return json_answer(
        Quote(
            meter=made.meter,
            customer=made.customer,
            currency=made.currency,
            tendered=made.tendered,
            units=units,
            unit=unit,
            lines=lines,
            **fields,
        )
    )


async def sell(call: Call[SaleBody, Nothing]) -> Answer:
    """Sell once: 201 the first time, 200 with the same sale for the same request again."""
    body = call.body
    request = SellRequest(body.sale_id, body.meter, body.tendered, body.channel)
    view, created = await call.services.selling.sell(call.caller, request)
    return json_answer(_sale(view), HTTPStatus.CREATED if created else HTTPStatus.OK)


async def sale(call: Call[Nothing, Nothing]) -> Answer:
    """Return one of the caller's own sales."""
    return json_answer(_sale(await call.services.selling.sale(call.caller, call.path("sale_id"))))


async def sales(call: Call[Nothing, SalesQuery]) -> Answer:
    """List sales: one's own, or all with the right to see all."""
    query = call.query
    wanted = SalesFilter(
        meter=query.meter,
        commodity=query.commodity,
        from_us=_us(query.from_at, EVER.from_us),
        to_us=_us(query.to_at, EVER.to_us),
    )
    page = await call.services.queries.sales(
        call.caller.principal, wanted, before=query.before, limit=query.limit
    )
    return json_answer(SalesPage(items=[_sale_line(row) for row in page.rows], next=_id(page.next)))


def _sale(view: SaleView) -> Sale:
    fields: dict[str, Any] = {
        "state": view.state,
        "commodity": view.commodity,
        "credit_mode": view.credit_mode,
    }
    return Sale(
        sale_id=view.sale_id,
        receipt_number=view.receipt_number,
        meter=view.meter,
        tendered=view.tendered,
        currency=view.currency,
        units=view.units,
        unit=view.unit,
        token=view.token,
        sold_at=iso_utc(view.sold_us),
        issued_at=instant_text(view.issued_us),
        delivery=_delivery(view.delivery, view.sent_us, view.accepted_us, view.verified_us),
        receipt_url=f"/api/v1/receipts/{view.receipt_number}",
        **fields,
    )


def _sale_line(row: Row) -> SaleLine:
    units, unit = sold_units(row["commodity"], row["units"])
    return SaleLine(
        sale_id=row["sale_id"],
        receipt_number=row["receipt_number"],
        state=row["state"],
        meter=row["meter"],
        commodity=row["commodity"],
        credit_mode=row["credit_mode"],
        channel=row["channel"],
        tendered=str(Money(row["tender_minor"], row["currency"])),
        currency=row["currency"],
        units=units,
        unit=unit,
        sold_by=row["sold_by"],
        sold_at=iso_utc(row["sold_us"]),
        issued_at=instant_text(row["issued_us"]),
        delivery=_delivery(row["delivery"], row["sent_us"], row["accepted_us"], row["verified_us"]),
    )


def _delivery(
    state: Any, sent_us: int | None, accepted_us: int | None, verified_us: int | None
) -> Delivery:
    return Delivery(
        state=state,
        sent_at=instant_text(sent_us),
        accepted_at=instant_text(accepted_us),
        verified_at=instant_text(verified_us),
    )


def _us(moment: datetime | None, default: int) -> int:
    return default if moment is None else epoch_us(moment)


def _id(following: int | str | None) -> int | None:
    return None if following is None else int(following)

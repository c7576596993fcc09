"""Quotes, sales and receipts."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.models import (
    Delivery,
    FreeUnits,
    Outlook,
    PriceLine,
    Quote,
    QuoteBody,
    SaleBody,
    SaleLine,
    SalesPage,
)
from slotmeter.api.query_models import SalesQuery
from slotmeter.ports import Row
from slotmeter.services.queries import SalesFilter
from slotmeter.services.sale_views import QuoteView, SaleView, SoldToken
from slotmeter.services.selling import SellRequest
from slotmeter.services.training import MARK
from slotmeter.units import Commodity, Money, Quantity, commodity_quantity, epoch_us, iso_utc
from slotmeter.vending.receipts import ReceiptLine

__all__ = ["quote", "sale", "sale_answer", "sale_fields", "sales", "sell"]

EVER: Final = SalesFilter()
WRITE_JSON: Final = msgspec.json.Encoder().encode


def sold_units(commodity: str, amount: int) -> tuple[str, str]:
    """Write an amount of Wh or mL in the unit that is sold, and name the unit."""
    kind: type[Quantity] = commodity_quantity(Commodity(commodity))
    return kind(amount).sold_text, kind.sold_symbol


def instant_text(us: int | None) -> str | None:
    """Write a time that may not have come yet."""
    return None if us is None else iso_utc(us)


async def quote(call: Call[QuoteBody, Nothing]) -> Answer:
    """Say what a purchase would give."""
    body = call.body
    made = await call.services.selling.quote(call.caller, body.meter, body.tendered, body.channel)
    return json_answer(_quote(made))


def _quote(made: QuoteView) -> Quote:
    commodity = made.commodity
    units, unit = sold_units(commodity, made.quantity)
    fields: dict[str, Any] = {"commodity": commodity}
    return Quote(
        meter=made.meter,
        customer=made.customer,
        currency=made.currency,
        tendered=made.tendered,
        units=units,
        unit=unit,
        credit=_money(made.transfer_minor, made.currency),
        kept=str(Money(made.kept_minor, made.currency)),
        lines=[_line(line, made) for line in made.lines],
        free=[
            FreeUnits(
                code=free.code,
                label=free.label,
                period=free.period,
                units=sold_units(commodity, free.units)[0],
            )
            for free in made.free
        ],
        priced_unit=made.priced_kind.sold_symbol,
        bought_before=made.priced_kind(made.prior_units).sold_text,
        outlook=Outlook(
            block=made.outlook.block,
            left_in_block=_priced(made.outlook.left_in_block, made),
            next_price=made.outlook.next_price,
            first_of_month_units=_sold(made.outlook.first_of_month_units, commodity),
        ),
        **fields,
    )


def _line(line: ReceiptLine, made: QuoteView) -> PriceLine:
    fields: dict[str, Any] = {"kind": line.kind}
    return PriceLine(
        code=line.code,
        label=line.label,
        quantity=_priced(line.quantity, made),
        rate=line.rate,
        amount=str(Money(line.amount_minor, made.currency)),
        base=_money(line.base_minor, made.currency),
        period=line.period,
        left=_money(line.left_minor, made.currency),
        gross_rate=line.gross_rate,
        gross=_money(line.gross_minor, made.currency),
        tax=_money(line.tax_minor, made.currency),
        cost=_money(line.cost_minor, made.currency),
        **fields,
    )


def _priced(amount: int | None, made: QuoteView) -> str | None:
    return None if amount is None else made.priced_kind(amount).sold_text


def _sold(amount: int | None, commodity: str) -> str | None:
    return None if amount is None else sold_units(commodity, amount)[0]


def _money(minor: int | None, currency: str) -> str | None:
    return None if minor is None else str(Money(minor, currency))


async def sell(call: Call[SaleBody, Nothing]) -> Answer:
    """Sell once: 201 the first time, 200 with the same sale for the same request again."""
    body = call.body
    request = SellRequest(body.sale_id, body.meter, body.tendered, body.channel, body.claim_free)
    view, created = await call.services.selling.sell(call.caller, request)
    status = HTTPStatus.CREATED if created else HTTPStatus.OK
    return sale_answer(view, status, training=call.caller.principal.training)


async def sale(call: Call[Nothing, Nothing]) -> Answer:
    """Return one of the caller's own sales."""
    view = await call.services.selling.sale(call.caller, call.path("sale_id"))
    return sale_answer(view, training=call.caller.principal.training)


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


def sale_answer(view: SaleView, status: int = HTTPStatus.OK, *, training: bool = False) -> Answer:
    """Write a ``Sale`` without building the model: nothing is answered as often as this."""
    return Answer(status, WRITE_JSON(sale_fields(view, training=training)))


def sale_fields(view: SaleView, *, training: bool = False) -> dict[str, Any]:
    """Return the fields of ``Sale``, in its order."""
    return {
        "sale_id": view.sale_id,
        "receipt_number": view.receipt_number,
        "state": view.state,
        "meter": view.meter,
        "commodity": view.commodity,
        "credit_mode": view.credit_mode,
        "tendered": view.tendered,
        "currency": view.currency,
        "units": view.units,
        "unit": view.unit,
        "token": view.token,
        "tokens": [_token(token, view) for token in view.tokens],
        "sold_at": iso_utc(view.sold_us),
        "issued_at": instant_text(view.issued_us),
        "delivery": {
            "state": view.delivery,
            "sent_at": instant_text(view.sent_us),
            "accepted_at": instant_text(view.accepted_us),
            "verified_at": instant_text(view.verified_us),
        },
        "receipt_url": f"/api/v1/receipts/{view.receipt_number}",
        "mark": MARK if training else "",
    }


def _token(token: SoldToken, view: SaleView) -> dict[str, Any]:
    """Return the fields of ``Token``, in its order."""
    return {
        "purpose": token.purpose,
        "digits": token.digits,
        "units": _sold(token.quantity, view.commodity),
        "credit": _money(token.minor, view.currency),
        "label": token.label,
        "period": token.period,
    }


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

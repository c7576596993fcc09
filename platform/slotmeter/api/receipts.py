"""The routes of receipts: look at one, hand one out, explain one."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import JSON_TYPE, Answer, Call, Nothing, json_answer
from slotmeter.api.query_models import LanguageQuery, ReceiptQuery
from slotmeter.api.receipt_models import (
    ExplanationDocument,
    PrintBody,
    PrintedReceipt,
    PrintLine,
    PrintsPage,
    PrintsQuery,
    QuoteSlip,
    QuoteSlipBody,
    ReceiptDocument,
)
from slotmeter.api.route import API, Route, get, post
from slotmeter.i18n import choose
from slotmeter.ports import Right
from slotmeter.services.list_pages import cut
from slotmeter.services.receipts import HandedOut
from slotmeter.units import iso_utc
from slotmeter.vending.receipts import (
    Receipt,
    explain,
    render_html,
    render_message,
    render_text,
)

__all__ = ["ROUTES"]

PAPER_MM: Final = {"text58": 58, "text80": 80}
TEXT: Final = "text/plain"
PAGE: Final = "text/html"


async def receipt(call: Call[Nothing, ReceiptQuery]) -> Answer:
    """Return a receipt by its number; as text, page or message it is a copy."""
    found = await call.services.receipts.receipt(call.caller, call.path("receipt_number"))
    return await _copy(call, found)


async def sale_receipt(call: Call[Nothing, ReceiptQuery]) -> Answer:
    """Return the receipt of one of the caller's own sales."""
    view = await call.services.selling.sale(call.caller, call.path("sale_id"))
    found = await call.services.receipts.receipt(call.caller, view.receipt_number)
    return await _copy(call, found)


async def print_receipt(call: Call[PrintBody, Nothing]) -> Answer:
    """Hand a receipt out; the seller's first of each form is the original, others are copies."""
    number = call.path("receipt_number")
    made = await call.services.receipts.hand_out(call.caller, number, call.body.form)
    return json_answer(await _printed(call, made), HTTPStatus.CREATED)


async def quote_slip(call: Call[QuoteSlipBody, Nothing]) -> Answer:
    """Write the slip of a quote: a trial, with zeros in place of the token; books nothing."""
    body = call.body
    made = await call.services.selling.trial(call.caller, body.meter, body.tendered, body.channel)
    language = await _language(call, body.language)
    return json_answer(
        QuoteSlip(
            form=body.form,
            language=language,
            sentences=list(explain(made, language)),
            **_rendered(made, body, language),
        )
    )


async def receipt_prints(call: Call[Nothing, PrintsQuery]) -> Answer:
    """List hand-outs of a receipt."""
    query = call.query
    rows = await call.services.receipts.prints(
        call.caller, call.path("receipt_number"), after=query.after, limit=query.limit + 1
    )
    page, following = cut(rows, query.limit, lambda row: int(row["id"]))
    return json_answer(
        PrintsPage(
            items=[
                PrintLine(printed_at=iso_utc(row["at_us"]), form=row["form"], by=row["by"])
                for row in page
            ],
            next=following,
        )
    )


async def explanation(call: Call[Nothing, LanguageQuery]) -> Answer:
    """Say why a purchase gave so many units, step by step."""
    found = await call.services.receipts.without_tokens(call.caller, call.path("receipt_number"))
    language = await _language(call, call.query.language)
    return json_answer(
        ExplanationDocument(
            receipt_number=found.receipt_number,
            language=language,
            sentences=list(explain(found, language)),
        )
    )


async def _language(call: Call[Any, Any], wanted: str | None) -> str:
    """Return the language asked for, else the one liked best, else the utility's own."""
    if wanted is not None:
        return wanted
    default = await call.services.receipts.language(call.caller)
    return choose(None, call.request.headers.get("Accept-Language", ""), default)


async def _copy(call: Call[Nothing, ReceiptQuery], found: Receipt) -> Answer:
    """Write a receipt to look at: the document as it is, all else marked as a copy."""
    query = call.query
    if query.format == "json":
        document = json.dumps(found.document(), ensure_ascii=False, separators=(",", ":"))
        return Answer(HTTPStatus.OK, document.encode(), JSON_TYPE)
    language = await _language(call, query.language)
    if query.format == "html":
        page = render_html(found, language=language, reprint=True)
        return Answer(HTTPStatus.OK, page.encode(), PAGE)
    if query.format == "message":
        message = render_message(found, language=language, reprint=True)
        return Answer(HTTPStatus.OK, message.text.encode(), TEXT)
    text = render_text(
        found,
        int(query.width),
        language=language,
        reprint=True,
        ascii_letters=query.letters == "ascii",
    )
    return Answer(HTTPStatus.OK, text.encode(), TEXT)


async def _printed(call: Call[PrintBody, Nothing], made: HandedOut) -> PrintedReceipt:
    language = await _language(call, call.body.language)
    return PrintedReceipt(
        receipt_number=made.receipt.receipt_number,
        form=call.body.form,
        language=language,
        reprint=made.is_reprint,
        printed_at=iso_utc(made.at_us),
        **_rendered(made.receipt, call.body, language, reprint=made.is_reprint),
    )


def _rendered(
    receipt: Receipt, body: PrintBody | QuoteSlipBody, language: str, *, reprint: bool = False
) -> dict[str, Any]:
    """Write a receipt in the form that was asked for, with what it costs to send."""
    if body.form == "message":
        message = render_message(receipt, language=language, reprint=reprint)
        return {
            "content_type": TEXT,
            "text": message.text,
            "encoding": message.encoding,
            "characters": message.characters,
            "parts": message.parts,
        }
    if body.form == "html":
        kind, text = PAGE, render_html(receipt, language=language, reprint=reprint)
    else:
        kind = TEXT
        text = render_text(
            receipt,
            PAPER_MM[body.form],
            language=language,
            reprint=reprint,
            ascii_letters=body.letters == "ascii",
        )
    nothing: dict[str, Any] = {"encoding": None, "characters": None, "parts": None}
    return {"content_type": kind, "text": text, **nothing}


_SALES: Final = frozenset({Right.SALES_OWN, Right.SALES_ALL})

ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/quotes/slip",
        quote_slip,
        "sales",
        Right.QUOTE,
        {HTTPStatus.OK: QuoteSlip},
        body=QuoteSlipBody,
        problems=(404,),
    ),
    get(
        "/sales/{sale_id}/receipt",
        sale_receipt,
        "sales",
        _SALES,
        ReceiptDocument,
        query=ReceiptQuery,
        also=(TEXT, PAGE),
    ),
    get(
        "/receipts/{receipt_number}",
        receipt,
        "sales",
        _SALES,
        ReceiptDocument,
        query=ReceiptQuery,
        also=(TEXT, PAGE),
    ),
    get(
        "/receipts/{receipt_number}/explanation",
        explanation,
        "sales",
        _SALES,
        ExplanationDocument,
        query=LanguageQuery,
    ),
    get(
        "/receipts/{receipt_number}/prints",
        receipt_prints,
        "sales",
        _SALES,
        PrintsPage,
        query=PrintsQuery,
    ),
    Route(
        "POST",
        f"{API}/receipts/{{receipt_number}}/prints",
        print_receipt.__name__,
        "sales",
        print_receipt,
        frozenset({Right.SELL, Right.ACCOUNTS_WRITE}),
        {HTTPStatus.CREATED: PrintedReceipt},
        body=PrintBody,
    ),
)

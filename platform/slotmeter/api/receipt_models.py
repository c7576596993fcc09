"""The shapes of receipts, of what is handed out, and of explanations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from slotmeter.api.models import ROWS_MAX, Amount, Body, Instant, Money, Out, QuoteBody
from slotmeter.api.query_models import Language, ReceiptForm

__all__ = [
    "ExplanationDocument",
    "PrintBody",
    "PrintLine",
    "PrintedReceipt",
    "PrintsPage",
    "PrintsQuery",
    "QuoteSlip",
    "QuoteSlipBody",
    "ReceiptDocument",
    "ReceiptLine",
]


class _FormBody(Body):
    """In which form and language."""

    form: ReceiptForm = Field(
        default="text80", description="Paper of 58 or 80 mm, a page, or a short message."
    )
    language: Language | None = Field(
        default=None,
        description="If not given, `Accept-Language` counts, else the utility's policy.",
    )
    letters: Literal["all", "ascii"] = Field(
        default="all", description="`ascii` for printers without a code page; for text."
    )


class PrintBody(_FormBody):
    """A hand-out of a receipt."""


class QuoteSlipBody(_FormBody, QuoteBody):
    """A quote in the form of a receipt."""


class _Part(BaseModel):
    """A part of a receipt; later formats may say more."""

    model_config = ConfigDict(extra="allow")


class ReceiptLine(_Part):
    """One line of how the tender was used; what stands from `code` on came with format 2."""

    kind: str
    label: str
    quantity: Amount | None
    rate: str | None = Field(description="Price per `priced_unit`, or percent.")
    amount: Money
    code: str | None = None
    base: Money | None = Field(default=None, description="What a percentage was taken of.")
    period: str | None = None
    left: Money | None = Field(default=None, description="Still owed of a debt or charge.")
    gross_rate: str | None = Field(
        default=None, description="The published price, where it holds levies and taxes."
    )
    gross: Money | None = None
    tax: Money | None = Field(default=None, description="Within what is repaid of a debt.")
    cost: Money | None = Field(
        default=None, description="Of a correction: what its units had cost before."
    )


class ReceiptToken(_Part):
    """One token; they stand in the order in which they are typed."""

    purpose: str
    label: str
    period: str | None
    digits: Annotated[str, Field(pattern=r"^([0-9]{20}|\*{16}[0-9]{4})$")] = Field(
        description="Masked but for the last four, where the caller may not see the token."
    )
    grouped: str
    units: Amount | None
    credit: Money | None


class ReceiptDebt(_Part):
    """One debt of the account."""

    kind: str
    label: str
    taken: Money
    left: Money
    tax: Money | None = Field(default=None, description="Within what was taken.")


class ReceiptFree(_Part):
    """Free units of one month."""

    code: str
    label: str
    period: str
    units: Amount


class ReceiptOutlook(_Part):
    """What the next unit costs, and what the same money buys on the 1st of next month."""

    block: int | None
    left_in_block: Amount | None
    next_price: str | None
    first_of_month_units: Amount | None


class ReceiptDocument(_Part):
    """A receipt with all that is printed on it. Without `format` it is of format 1."""

    format: int | None = None
    receipt_number: str
    sale_id: str
    title: str
    sold_at: Instant
    meter_number: str
    currency: str
    tendered: Money
    units: Amount
    unit: str
    token: str | None
    token_grouped: str | None
    lines: list[ReceiptLine]
    mark: str | None = Field(default=None, description="Empty, `trial` or `training`.")
    change: Money | None = None
    kept: Money | None = None
    tokens: list[ReceiptToken] | None = None
    free: list[ReceiptFree] | None = None
    debts: list[ReceiptDebt] | None = None
    priced_unit: str | None = None
    prior_units: Amount | None = None
    outlook: ReceiptOutlook | None = None


class ExplanationDocument(Out):
    """Why it was so many units, in sentences that can be read out."""

    receipt_number: str
    language: str
    sentences: list[str]


class _Rendered(Out):
    """A receipt or a quote in one form."""

    form: ReceiptForm
    language: str
    content_type: str
    text: str
    encoding: Literal["gsm7", "ucs2"] | None = Field(description="Of a message.")
    characters: int | None = Field(description="Of a message, as the network counts them.")
    parts: int | None = Field(description="Messages that it takes.")


class PrintedReceipt(_Rendered):
    """What was handed out."""

    receipt_number: str
    reprint: bool = Field(description="It is a copy, and says so.")
    printed_at: Instant


class QuoteSlip(_Rendered):
    """A quote as it would be printed, marked as a trial."""

    sentences: list[str] = Field(description="Why it would be so many units.")


class PrintLine(Out):
    """One hand-out of a receipt."""

    printed_at: Instant
    form: ReceiptForm
    by: str


class PrintsQuery(BaseModel):
    """A page of hand-outs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=ROWS_MAX, description="Rows on a page.")] = ROWS_MAX
    after: Annotated[int, Field(ge=0, description="`next` of the page before.")] = 0


class PrintsPage(Out):
    """Hand-outs of a receipt, the oldest first."""

    items: list[PrintLine]
    next: int | None = Field(description="Give it as `after` for the page that follows.")

"""The shapes of requests, of sales and of problems; the OpenAPI document is made from these.

Money is text in major units, quantities are text in the unit that is sold, times are ISO 8601 UTC
with ``Z``. Requests are closed: a field that is not known is refused by name.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = [
    "ROWS",
    "ROWS_MAX",
    "Amount",
    "Body",
    "CommandBody",
    "CommandState",
    "Commodity",
    "ConfirmBody",
    "CreditMode",
    "Delivery",
    "FreeUnits",
    "Instant",
    "Money",
    "MoneyIn",
    "Out",
    "Outlook",
    "PriceLine",
    "Problem",
    "Quote",
    "QuoteBody",
    "Sale",
    "SaleBody",
    "SaleLine",
    "SalesPage",
    "SupplyState",
    "Token",
]

ROWS_MAX: Final = 500
ROWS: Final = 50

MONEY_TEXT_MAX: Final = 32


def _money_text(value: object) -> object:
    """Take text or a whole number; refuse a JSON number with a point, which is inexact."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PydanticCustomError("not_text", 'expected an amount as text, such as "100.50"')
    if isinstance(value, float):
        raise PydanticCustomError(
            "amount_is_float",
            'write an amount with decimals as text, such as "100.50": '
            "a JSON number with a point is not exact",
        )
    return str(value) if isinstance(value, int) else value


MoneyIn = Annotated[
    str,
    BeforeValidator(_money_text),
    Field(min_length=1, max_length=MONEY_TEXT_MAX),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": MONEY_TEXT_MAX},
                {"type": "integer"},
            ],
            "description": 'Amount in major units: text such as "100.50", or a whole number.',
        }
    ),
]
Money = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["100.00"])]
Amount = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["12.3"])]
Instant = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-21T08:00:00.000000Z"])
]
MeterNumber = Annotated[str, Field(min_length=1, max_length=64, examples=["07100000003"])]
SaleId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]+$")]
Reason = Annotated[str, Field(min_length=1, max_length=200)]
Commodity = Literal["electricity", "water", "gas"]
Channel = Literal["till", "web", "phone", "bank"]
CreditMode = Literal["meter", "platform"]
LineKind = Literal[
    "debt", "charge", "levy", "tax", "energy", "correction", "rounding", "credit", "kept"
]
TokenDigits = Annotated[str, Field(pattern=r"^[0-9]{20}$")]
SupplyState = Literal["on", "off", "armed", "unknown"]
CommandState = Literal[
    "queued",
    "waiting",
    "held",
    "refused",
    "sent",
    "acknowledged",
    "verified",
    "failed",
    "expired",
    "superseded",
]


class Body(BaseModel):
    """What a request carries: closed and strict."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Out(BaseModel):
    """What an answer carries."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- requests ------------------------------------------------------------------------------------


class QuoteBody(Body):
    """What a purchase would cost."""

    meter: MeterNumber
    tendered: MoneyIn
    channel: Channel = "till"


class SaleBody(Body):
    """A purchase. ``sale_id`` is yours: make it and keep it before you send."""

    sale_id: SaleId
    meter: MeterNumber
    tendered: MoneyIn
    channel: Channel = "till"
    claim_free: bool = Field(
        default=False,
        description="Only the free units that are due, for `tendered` 0. With a purchase they come "
        "by themselves.",
    )


class CommandBody(Body):
    """Something to do at a meter."""

    kind: Literal[
        "open_relay",
        "close_relay",
        "open_valve",
        "close_valve",
        "read_now",
        "set_valve",
        "set_load_limit",
        "set_tariff",
        "set_clock",
        "set_credit_mode",
        "clear_tamper",
    ]
    reason: Reason
    value: int | None = Field(
        default=None,
        description="Percent open for `set_valve`, where 0 is a cut; W for `set_load_limit`, where "
        "0 takes the limit away.",
    )
    text: str | None = Field(
        default=None,
        max_length=64,
        description="A tariff's number at the meter for `set_tariff`; `prepaid` or `postpaid` for "
        "`set_credit_mode`.",
    )
    safety: bool = Field(
        default=False,
        description="The reason is danger, not debt; only people state this, and it is recorded.",
    )


class ConfirmBody(Body):
    """The word of the second person."""

    reason: Reason


# --- answers -------------------------------------------------------------------------------------


class Problem(BaseModel):
    """Every answer of 400 or more (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: Literal["about:blank"]
    title: str
    status: int
    code: str = Field(pattern=r"^[a-z0-9_]+$", description="Stable; see the table of codes.")
    detail: str
    request_id: str
    field: str | None = Field(default=None, description="The input at fault.")


class PriceLine(Out):
    """One line of how a tender is used; the amounts of all lines add up to it."""

    kind: LineKind
    code: str | None = Field(description="Of the tariff's item, such as `block1`.")
    label: str
    quantity: Amount | None
    rate: str | None = Field(description="Price per unit, or percent.")
    amount: Money
    base: Money | None = Field(description="What a percentage was taken of.")
    period: str | None = Field(description="Month or days that a charge is for.")
    left: Money | None = Field(description="Still owed of a debt or charge after this.")
    gross_rate: str | None = Field(
        description="The published price, where it holds levies and taxes."
    )
    gross: Money | None
    tax: Money | None = Field(description="Within what is repaid of a debt.")
    cost: Money | None = Field(description="Of a correction: what its units had cost before.")


class FreeUnits(Out):
    """Free units of one month, which come by a token of their own."""

    code: str
    label: str
    period: str
    units: Amount


class Outlook(Out):
    """What the next unit costs, and what the same money buys on the 1st of next month."""

    block: int | None = Field(description="Of the next unit; 1 is the first.")
    left_in_block: Amount | None = Field(description="Units; null is no limit.")
    next_price: str | None = Field(description="Of the next unit with everything on it.")
    first_of_month_units: Amount | None


class Token(Out):
    """One token; they stand in the order in which they are typed."""

    purpose: Literal["key_change", "credit", "free"]
    digits: TokenDigits | None = Field(description="Null until the sale is issued.")
    units: Amount | None = Field(description="Null for a token of money.")
    credit: Money | None = Field(description="The money on a token of money.")
    label: str
    period: str | None


class Quote(Out):
    """What a purchase would give; nothing is booked."""

    trial: Literal[True] = True
    meter: str
    customer: str = Field(description="Masked: enough to recognise, no more.")
    commodity: Commodity
    currency: str
    tendered: Money
    units: Amount
    unit: str
    priced_unit: str = Field(
        description="Of quantities of lines, blocks and `bought_before`: kWh for gas by energy."
    )
    credit: Money | None = Field(description="The money that a token of money would carry.")
    kept: Money = Field(description="Would be kept for the next purchase.")
    lines: list[PriceLine]
    free: list[FreeUnits]
    bought_before: Amount = Field(description="Units counted in the blocks so far.")
    outlook: Outlook


class Delivery(Out):
    """How far a sale's token has come; every time is the server's clock."""

    state: Literal[
        "none", "keypad", "pending", "sent", "accepted", "verified", "already_used", "failed"
    ]
    sent_at: Instant | None
    accepted_at: Instant | None
    verified_at: Instant | None


class SaleLine(Out):
    """A sale in a list."""

    sale_id: str
    receipt_number: str
    state: Literal["pending", "issued", "voided", "reversed"]
    meter: str
    commodity: Commodity
    credit_mode: CreditMode
    channel: str
    tendered: Money
    currency: str
    units: Amount
    unit: str
    sold_by: str
    sold_at: Instant
    issued_at: Instant | None
    delivery: Delivery


class Sale(Out):
    """A sale as its seller sees it."""

    sale_id: str
    receipt_number: str
    state: Literal["pending", "issued", "voided", "reversed"]
    meter: str
    commodity: Commodity
    credit_mode: CreditMode
    tendered: Money
    currency: str
    units: Amount
    unit: str
    token: TokenDigits | None = Field(description="Of what was paid for.")
    tokens: list[Token] = Field(description="All tokens, in the order in which they are typed.")
    sold_at: Instant
    issued_at: Instant | None
    delivery: Delivery
    receipt_url: str
    mark: Literal["", "training"] = Field(
        description="`training`: sold for practice; real meters refuse the tokens."
    )


class SalesPage(Out):
    """Sales, newest first."""

    items: list[SaleLine]
    next: int | None = Field(description="Give it as `before` for the page that follows.")

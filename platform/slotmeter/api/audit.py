"""The routes of the audit: trace a token back to who sold it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field, model_validator

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.models import Body, Instant, Money, Out
from slotmeter.api.route import OK, Route, post
from slotmeter.ports import Right, Row
from slotmeter.services.audit_token_trace import TokenTrace
from slotmeter.services.audit_trace import Trace, TracedToken
from slotmeter.units import Commodity, commodity_quantity, iso_utc
from slotmeter.units import Money as Minor

__all__ = ["ROUTES", "token_trace_document", "trace_document"]

HASH_CHARACTERS: Final = 64


class TraceBody(Body):
    """A token, or the receipt it is on: one of the two."""

    token: str | None = Field(
        default=None, min_length=20, max_length=32, description="Its 20 digits; may hold blanks."
    )
    receipt_number: str | None = Field(default=None, min_length=1, max_length=32)

    @model_validator(mode="after")
    def _one_of_two(self) -> TraceBody:
        if (self.token is None) == (self.receipt_number is None):
            raise ValueError("give token or receipt_number, one of the two")
        return self


class TraceToken(Out):
    """One token of the sale."""

    purpose: str
    digits: str | None = Field(description="Masked for who may not see it.")
    state: str
    amount: str = Field(description="kWh or m³.")
    tid_minute: int = Field(description="Minutes since 1993-01-01 00:00 UTC.")
    vending_key: str
    made_at: Instant
    issued_at: Instant | None
    accepted_at: Instant | None
    accepted_by: str | None


class TraceSeller(Out):
    """Who sold it, and from where."""

    principal: str
    branch: str
    branch_name: str
    api_key_id: int | None
    address: str
    request_id: str
    channel: str


class TraceTariff(Out):
    """The version of the tariff that priced it."""

    code: str
    version: int
    valid_from: Instant
    author: str | None
    approver: str | None


class TraceDelivery(Out):
    """How the token came to the meter."""

    state: str
    sent_at: Instant | None
    accepted_at: Instant | None
    verified_at: Instant | None


class TraceStep(Out):
    """One step of a command that carried a token."""

    at: Instant
    command_id: int
    state: str
    detail: str


class TracePosting(Out):
    """One posting of the sale, or of what corrected it; debits are positive."""

    at: Instant
    journal: str
    reason: str
    account: str
    amount: Money
    currency: str


class TraceOperation(Out):
    """What was done to the sale later."""

    at: Instant
    number: str
    kind: str
    by: str
    reason: str


class TracePrint(Out):
    """A hand-out of the receipt."""

    at: Instant
    form: str
    by: str


class TraceEntry(Out):
    """An entry of the audit's chain that vouches for it."""

    entry: int
    group: int
    at: Instant
    hash: str = Field(min_length=HASH_CHARACTERS, max_length=HASH_CHARACTERS)


class TraceDocument(Out):
    """Everything that is known of a sale and its tokens."""

    receipt_number: str
    sale_id: str
    state: str
    sold_at: Instant
    issued_at: Instant | None
    meter: str
    commodity: str
    account: str
    supply_point: str
    area: str
    tendered: Money
    currency: str
    quantity: str = Field(description="kWh or m³.")
    seller: TraceSeller
    tariff: TraceTariff
    tokens: list[TraceToken]
    tokens_in_clear: bool
    delivery: TraceDelivery
    steps: list[TraceStep]
    postings: list[TracePosting]
    operations: list[TraceOperation]
    prints: list[TracePrint]
    entries: list[TraceEntry]


async def trace_token(call: Call[TraceBody, Nothing]) -> Answer:
    """Say who sold a token, where, when, for how much, by which tariff, and its delivery."""
    body, traces = call.body, call.services.traces
    if body.token is not None:
        found = await traces.of_token(call.caller, body.token)
    else:
        found = await traces.of_receipt(call.caller, body.receipt_number or "")
    return json_answer(trace_document(found))


def trace_document(trace: Trace) -> TraceDocument:
    """Return a trace as people and programs read it."""
    sale = trace.sale
    kind = commodity_quantity(Commodity(sale["commodity"]))
    same = ("receipt_number", "sale_id", "state", "meter", "commodity", "account", "supply_point")
    return TraceDocument(
        **{name: sale[name] for name in same},
        area=sale["area"],
        sold_at=iso_utc(sale["sold_us"]),
        issued_at=_at(sale["issued_us"]),
        tendered=str(Minor(sale["tender_minor"], sale["currency"])),
        currency=sale["currency"],
        quantity=kind(sale["units"]).sold_text,
        seller=_seller(trace),
        tariff=TraceTariff(
            code=sale["tariff"],
            version=sale["tariff_version"],
            valid_from=iso_utc(sale["tariff_from_us"]),
            author=sale["tariff_author"],
            approver=sale["tariff_approver"],
        ),
        tokens=[_token(each, kind(each.amount).sold_text) for each in trace.tokens],
        tokens_in_clear=trace.in_clear,
        delivery=TraceDelivery(
            state=sale["delivery"],
            sent_at=_at(sale["sent_us"]),
            accepted_at=_at(sale["accepted_us"]),
            verified_at=_at(sale["verified_us"]),
        ),
        **_what_followed(trace),
    )


def _what_followed(trace: Trace) -> dict[str, Any]:
    return {
        "steps": _steps(trace.steps),
        "postings": [
            TracePosting(
                at=iso_utc(row["at_us"]),
                journal=row["kind"],
                reason=row["reason"],
                account=row["account"],
                amount=str(Minor(row["amount_minor"], row["currency"])),
                currency=row["currency"],
            )
            for row in trace.postings
        ],
        "operations": [
            TraceOperation(at=iso_utc(row["at_us"]), **{name: row[name] for name in _OPERATION})
            for row in trace.operations
        ],
        "prints": [
            TracePrint(at=iso_utc(row["at_us"]), form=row["form"], by=row["by"])
            for row in trace.prints
        ],
        "entries": _entries(trace.entries),
    }


def _steps(rows: Sequence[Row]) -> list[TraceStep]:
    return [
        TraceStep(
            at=iso_utc(row["at_us"]),
            command_id=row["command_id"],
            state=row["state"],
            detail=row["detail"],
        )
        for row in rows
    ]


def _entries(rows: Sequence[Row]) -> list[TraceEntry]:
    return [
        TraceEntry(
            entry=row["id"],
            group=row["group_seq"],
            at=iso_utc(row["at_us"]),
            hash=bytes(row["hash"]).hex(),
        )
        for row in rows
    ]


_OPERATION: Final = ("number", "kind", "by", "reason")


def _at(us: int | None) -> str | None:
    return None if us is None else iso_utc(us)


def _seller(trace: Trace) -> TraceSeller:
    sale, act = trace.sale, trace.act
    return TraceSeller(
        principal=sale["sold_by"],
        branch=sale["branch"],
        branch_name=sale["branch_name"],
        api_key_id=act.get("api_key_id"),
        address=act.get("address", ""),
        request_id=act.get("request_id", ""),
        channel=sale["channel"],
    )


def _token(token: TracedToken, amount: str) -> TraceToken:
    return TraceToken(
        purpose=token.purpose,
        digits=token.digits,
        state=token.state,
        amount=amount,
        tid_minute=token.tid_minute,
        vending_key=token.key_id,
        made_at=iso_utc(token.created_us),
        issued_at=_at(token.issued_us),
        accepted_at=_at(token.accepted_us),
        accepted_by=token.accepted_by,
    )


class TokenTraceBody(Body):
    """A token by its digits, or by its id: one of the two."""

    token: str | None = Field(
        default=None, min_length=20, max_length=32, description="Its 20 digits; may hold blanks."
    )
    token_id: int | None = Field(default=None, ge=1, description="As lists of tokens name it.")

    @model_validator(mode="after")
    def _one_of_two(self) -> TokenTraceBody:
        if (self.token is None) == (self.token_id is None):
            raise ValueError("give token or token_id, one of the two")
        return self


class TraceAct(Out):
    """Who asked for a token, from where, and why."""

    at: Instant
    what: str
    by: str | None = Field(description="Null for somebody at the server's own command line.")
    api_key_id: int | None
    address: str
    request_id: str
    reason: str
    data: dict[str, Any]


class TokenTraceDocument(Out):
    """Everything that is known of a token that no sale made, or of one by itself."""

    token_id: int
    meter: str
    commodity: str
    token: TraceToken
    token_in_clear: bool
    receipts: list[str] = Field(description="Receipts that list it; trace these for the rest.")
    act: TraceAct | None = Field(description="Null where a sale made it.")
    key_change: int | None = Field(description="The change of key whose set it belongs to.")
    management_token: int | None = Field(description="Its id in the meter's list of these.")
    steps: list[TraceStep]
    entries: list[TraceEntry]


async def trace_any_token(call: Call[TokenTraceBody, Nothing]) -> Answer:
    """Say who made a token without a sale, where, when and why, and its delivery."""
    body, traces = call.body, call.services.token_traces
    if body.token is not None:
        found = await traces.of_digits(call.caller, body.token)
    else:
        found = await traces.of_id(call.caller, body.token_id or 0)
    return json_answer(token_trace_document(found))


def token_trace_document(trace: TokenTrace) -> TokenTraceDocument:
    """Return the trace of a token as people and programs read it."""
    row, act = trace.row, trace.act
    kind = commodity_quantity(Commodity(row["commodity"]))
    return TokenTraceDocument(
        token_id=row["id"],
        meter=row["meter"],
        commodity=row["commodity"],
        token=_token(trace.token, kind(row["amount"]).sold_text),
        token_in_clear=trace.in_clear,
        receipts=list(trace.receipts),
        act=None
        if act is None
        else TraceAct(
            at=iso_utc(act["at_us"]),
            data=dict(trace.data),
            **{name: act[name] for name in _ACT},
        ),
        key_change=trace.key_change_id,
        management_token=trace.management_id,
        steps=_steps(trace.steps),
        entries=_entries(trace.entries),
    )


_ACT: Final = ("what", "by", "api_key_id", "address", "request_id", "reason")

ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/audit/traces",
        trace_token,
        "audit",
        Right.SALES_ALL,
        {OK: TraceDocument},
        body=TraceBody,
        problems=(404,),
    ),
    post(
        "/audit/token-traces",
        trace_any_token,
        "audit",
        Right.SALES_ALL,
        {OK: TokenTraceDocument},
        body=TokenTraceBody,
        problems=(404,),
    ),
)

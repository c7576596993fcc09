"""Commands to meters: asking for one, confirming a held one, and looking at them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.device_models import (
    Command,
    CommandDetail,
    CommandLogLine,
    CommandsPage,
    CreditException,
    CreditExceptionsPage,
    Hold,
)
from slotmeter.api.models import CommandBody, ConfirmBody
from slotmeter.api.query_models import CommandsQuery, PageQuery
from slotmeter.api.route import Route, get
from slotmeter.api.sales import instant_text
from slotmeter.errors import NotFound, Refused
from slotmeter.ports import Right, Row
from slotmeter.services.command_rows import causes_of, confirmed_by
from slotmeter.units import iso_utc

__all__ = [
    "ROUTES",
    "command",
    "command_of",
    "commands",
    "confirm",
    "credit_exceptions",
    "send_command",
]

ID_DIGITS_MAX = 18


async def send_command(call: Call[CommandBody, Nothing]) -> Answer:
    """Ask for a command; a refused one is kept with its causes, and answered with 422."""
    body = call.body
    made = await call.services.requests.request_command(
        call.caller,
        call.path("number"),
        body.kind,
        body.reason,
        safety=body.safety,
        value=body.value,
        text=body.text,
    )
    row, _ = await call.services.queries.command(call.caller.principal, int(str(made["id"])))
    sent = command_of(row)
    if sent.state == "refused":
        raise Refused(
            "command_refused",
            "; ".join(cause.text for cause in sent.causes),
            details={"command": sent.model_dump()},
        )
    return json_answer(sent, HTTPStatus.ACCEPTED)


async def confirm(call: Call[ConfirmBody, Nothing]) -> Answer:
    """Let a held command go, as the second person."""
    command_id = _command_id(call.path("command_id"))
    await call.services.requests.confirm(call.caller, command_id, call.body.reason)
    row, _ = await call.services.queries.command(call.caller.principal, command_id)
    return json_answer(command_of(row))


async def commands(call: Call[Nothing, CommandsQuery]) -> Answer:
    """List commands."""
    query = call.query
    page = await call.services.queries.commands(
        call.caller.principal, state=query.state, before=query.before, limit=query.limit
    )
    following = None if page.next is None else int(page.next)
    return json_answer(CommandsPage(items=[command_of(row) for row in page.rows], next=following))


async def command(call: Call[Nothing, Nothing]) -> Answer:
    """Return one command with its history."""
    command_id = _command_id(call.path("command_id"))
    row, log = await call.services.queries.command(call.caller.principal, command_id)
    lines = [
        CommandLogLine(at=iso_utc(line["at_us"]), state=line["state"], detail=line["detail"])
        for line in log
    ]
    return json_answer(CommandDetail(**_fields(row), log=lines))


async def credit_exceptions(call: Call[Nothing, PageQuery]) -> Answer:
    """List sales whose credit should be proven by now and is not."""
    query = call.query
    hours, page = await call.services.queries.credit_exceptions(
        call.caller.principal, before=query.before, limit=query.limit
    )
    items = [
        CreditException(
            receipt_number=row["receipt_number"],
            meter=row["meter"],
            commodity=row["commodity"],
            delivery=row["delivery"],
            issued_at=iso_utc(row["issued_us"]),
            sent_at=instant_text(row["sent_us"]),
            accepted_at=instant_text(row["accepted_us"]),
        )
        for row in page.rows
    ]
    following = None if page.next is None else int(page.next)
    return json_answer(CreditExceptionsPage(proof_hours=hours, items=items, next=following))


def command_of(row: Row) -> Command:
    """Return a command as the API shows it."""
    return Command(**_fields(row))


def _fields(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "meter": row["meter"],
        "commodity": row["commodity"],
        "kind": row["kind"],
        "value": row["value"],
        "text": row["text"],
        "state": row["state"],
        "cause": row["cause"],
        "reason": row["reason"],
        "result": row["result"],
        "causes": [
            Hold(code=str(cause["code"]), text=str(cause["text"]), until=_text(cause.get("until")))
            for cause in causes_of(row["hold"])
        ],
        "confirmed": confirmed_by(row["hold"]) is not None,
        "attempts": row["attempts"],
        "asked_by": row["asked_by"],
        "receipt_number": row["receipt_number"],
        "created_at": iso_utc(row["created_us"]),
        "sent_at": instant_text(row["sent_us"]),
        "acknowledged_at": instant_text(row["acknowledged_us"]),
        "ended_at": instant_text(row["ended_us"]),
        "expires_at": iso_utc(row["expires_us"]),
        "expected_at": instant_text(row["expected_us"]),
        "cell": row["cell"],
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _command_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX):
        raise NotFound("command_unknown", "there is no such command")
    return int(text)


ROUTES: Final[tuple[Route, ...]] = (
    get(
        "/credit-exceptions",
        credit_exceptions,
        "commands",
        frozenset({Right.COMMANDS}),
        CreditExceptionsPage,
        query=PageQuery,
    ),
)

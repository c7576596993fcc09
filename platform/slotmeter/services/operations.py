"""Operations of the ledger: asked for under a request id, done once, numbered, and kept for ever.

An operation is one row that is never changed, beside the postings that it makes. The same request
id of the same principal is the same operation; with another request under it, it is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from slotmeter.errors import Conflict, NotAllowed, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Insert,
    NewId,
    Read,
    Right,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.events import compact_json
from slotmeter.services.queries import Page

__all__ = [
    "Asked",
    "Operation",
    "Operations",
    "check_right",
    "done_before",
    "operation_reads",
    "operation_steps",
    "read_operation",
]

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
REASON_CHARACTERS_MAX: Final = 500
_SEQUENCE: Final = "operation"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for an operation.

    Args:
        caller: who asks.
        request_id: the caller's own name for it, 1 to 64 characters; the same id is one operation.
        reason: why; for the auditor.
    """

    caller: Caller
    request_id: str
    reason: str

    def check(self) -> None:
        """Refuse what can be refused at once.

        Raises:
            Refused: ``request_id_malformed``, ``reason_missing`` or ``reason_too_long``.
        """
        if REQUEST_ID.fullmatch(self.request_id) is None:
            raise Refused(
                "request_id_malformed",
                "expected 1 to 64 letters, digits, dots, dashes, colons or underscores",
                field="request_id",
            )
        if not self.reason.strip():
            raise Refused("reason_missing", "say why this is done", field="reason")
        if len(self.reason) > REASON_CHARACTERS_MAX:
            raise Refused(
                "reason_too_long",
                f"expected at most {REASON_CHARACTERS_MAX} characters",
                field="reason",
            )


@dataclass(frozen=True, slots=True)
class Operation:
    """What is done, as it is kept.

    Args:
        kind: reversal, pay_in, limit, refund, commission or swap.
        request: what was asked for; tells two requests under one id apart.
        subject: what it is done to; no two operations of a kind have the same.
        amount_minor: the money it moves.
        currency: of the money.
        detail: further facts, JSON-able.
        branch_id: whose till it moves.
        account_id: whose money or credit it moves.
        sale_row_id: the sale that it corrects.
        new_sale_row_id: the sale that is made instead.
    """

    kind: str
    request: Mapping[str, Any]
    subject: str | None
    amount_minor: int
    currency: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    branch_id: int | None = None
    account_id: int | None = None
    sale_row_id: int | None = None
    new_sale_row_id: int | None = None


def check_right(caller: Caller, right: Right, why: str) -> None:
    """Refuse a caller who lacks a right that the request, not the path, asks for.

    Raises:
        NotAllowed: ``right_missing``.
    """
    if right not in caller.principal.rights:
        raise NotAllowed("right_missing", f"{why}; that needs the right {right.value}")


def operation_reads(asked: Asked) -> list[Read]:
    """Return what :func:`done_before` and :func:`operation_steps` need."""
    principal = asked.caller.principal
    return [
        read_operation(asked),
        Read(
            "sequence",
            {"utility_id": principal.utility_id, "name": _SEQUENCE},
            "operation_sequence",
        ),
    ]


def read_operation(asked: Asked) -> Read:
    """Return the read that finds an operation by its request."""
    params: dict[str, SqlValue] = {
        "principal_id": asked.caller.principal.id,
        "request_id": asked.request_id,
    }
    return Read("operation_by_request", params, "operation")


def request_hash(kind: str, request: Mapping[str, Any]) -> str:
    """Return what tells two requests under one request id apart."""
    return hashlib.sha256(compact_json([kind, request]).encode()).hexdigest()


def done_before(rows: Rows, kind: str, request: Mapping[str, Any]) -> Row | None:
    """Return the operation that this request made before, if it did.

    Raises:
        Conflict: ``request_id_reused``.
    """
    if not rows["operation"]:
        return None
    known = rows["operation"][0]
    if known["request_hash"] != request_hash(kind, request):
        raise Conflict(
            "request_id_reused",
            "this request_id was used for something else; take a new one",
            field="request_id",
        )
    return known


def _numbered(rows: Rows, utility_id: int) -> tuple[str, Step]:
    if not rows["operation_sequence"]:
        row: dict[str, SqlValue] = {"utility_id": utility_id, "name": _SEQUENCE, "next_value": 2}
        return "K00000001", Insert("sequence", row)
    number = rows["operation_sequence"][0]["next_value"]
    params = {"of_utility_id": utility_id, "of_name": _SEQUENCE, "expected": number}
    return f"K{number:08d}", Update("sequence_next", params)


def operation_steps(
    asked: Asked, operation: Operation, rows: Rows, new_id: NewId, *, at_us: int
) -> tuple[str, list[Step]]:
    """Return the number of an operation, and what records it with its act.

    They stand after whatever the operation refers to and before nothing: a subject that was
    operated on already fails the unit.
    """
    principal = asked.caller.principal
    number, numbering = _numbered(rows, principal.utility_id)
    row: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": principal.utility_id,
        "principal_id": principal.id,
        "request_id": asked.request_id,
        "request_hash": request_hash(operation.kind, operation.request),
        "kind": operation.kind,
        "subject": operation.subject or number,
        "number": number,
        "branch_id": operation.branch_id,
        "account_id": operation.account_id,
        "sale_row_id": operation.sale_row_id,
        "new_sale_row_id": operation.new_sale_row_id,
        "amount_minor": operation.amount_minor,
        "currency": operation.currency,
        "reason": asked.reason,
        "detail": compact_json(operation.detail),
        "at_us": at_us,
    }
    act = act_row(
        new_id,
        Origin.of(asked.caller),
        principal.utility_id,
        at_us,
        what=f"ledger.{operation.kind}",
        subject=operation.subject or number,
        reason=asked.reason,
        data={**operation.request, "number": number, "amount_minor": operation.amount_minor}
        | ({"before": operation.detail["before"]} if "before" in operation.detail else {})
        | ({"after": operation.detail["after"]} if "after" in operation.detail else {}),
    )
    return number, [numbering, Insert("ledger_operation", row), act]


class Operations:
    """Looks at what was done."""

    def __init__(self, uow: UnitOfWork) -> None:
        """Hold the database."""
        self._uow = uow

    async def of_request(self, asked: Asked) -> Row:
        """Return the operation of a request that was just made."""
        return (await self._uow.read([read_operation(asked)]))["operation"][0]

    async def operation(self, utility_id: int, number: str) -> Row:
        """Return an operation by its number.

        Raises:
            NotFound: ``operation_unknown``.
        """
        params: dict[str, SqlValue] = {"utility_id": utility_id, "number": number}
        rows = await self._uow.read([Read("operation_by_number", params, "operation")])
        if not rows["operation"]:
            raise NotFound("operation_unknown", f"there is no operation {number[:32]!r} here")
        return rows["operation"][0]

    async def operations(
        self,
        utility_id: int,
        *,
        kind: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Page:
        """Return operations, the newest first."""
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "kind": kind,
            "before": before or 2**63 - 1,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("look_operations", params, "operations")]))["operations"]
        following = str(rows[limit - 1]["id"]) if len(rows) > limit else None
        return Page(rows[:limit], following)

"""Everything that is known of one token: who sold it, where, when, for how much, how it came there.

Found by its digits or by the receipt. The digits themselves are shown to the seller and to those
with the right ``tokens.all``; to see them of somebody else's sale is an act of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from slotmeter.errors import NotFound
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    NewId,
    Read,
    Right,
    Row,
    Rows,
    SqlValue,
    TokenSafe,
    UnitOfWork,
)
from slotmeter.services.access import caller_act
from slotmeter.services.token_secrecy import masked
from slotmeter.units import epoch_us

__all__ = [
    "TRACED",
    "AuditTrace",
    "Trace",
    "TracedToken",
    "digits_of",
    "record_reading",
    "traced_token",
]

TOKEN_DIGITS: Final = 20
TRACED: Final = "traced"


@dataclass(frozen=True, slots=True)
class TracedToken:
    """One token of a sale; times are UTC epoch microseconds.

    Args:
        digits: in clear, masked, or None while there are none.
        amount: Wh or mL.
        accepted_by: delivery or keypad, once the meter said that it took it.
    """

    purpose: str
    digits: str | None
    state: str
    amount: int
    tid_minute: int
    key_id: str
    created_us: int
    issued_us: int | None
    accepted_us: int | None
    accepted_by: str | None


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of a sale and its tokens.

    Args:
        sale: who, where, when, how much, under which tariff version, as the read ``audit_sale``.
        act: principal, key, address and request of the sale, as they were then.
        tokens: in the order in which they are typed.
        steps: of the commands that carried tokens to the meter, in order.
        postings: that booked it, and what corrected it later.
        operations: reversals, replacements and the like.
        prints: hand-outs of the receipt.
        entries: of the audit's chain that vouch for the sale and for its booking.
        in_clear: whether the digits are shown.
    """

    sale: Row
    act: Mapping[str, Any]
    tokens: Sequence[TracedToken]
    steps: Sequence[Row]
    postings: Sequence[Row]
    operations: Sequence[Row]
    prints: Sequence[Row]
    entries: Sequence[Row]
    in_clear: bool


class AuditTrace:
    """The transaction boundary of looking a token up."""

    def __init__(self, uow: UnitOfWork, clock: Clock, safe: TokenSafe) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._safe = safe

    async def of_token(self, caller: Caller, digits: str, *, reason: str = TRACED) -> Trace:
        """Trace a token by its 20 digits; blanks and hyphens between them do not matter.

        Raises:
            NotFound: ``token_unknown``.
            Unavailable: ``token_unreadable``.
        """
        plain = digits_of(digits)
        if plain is None:
            raise _unknown()
        params: dict[str, SqlValue] = {
            "utility_id": caller.principal.utility_id,
            "digits_index": self._safe.index(plain),
        }
        rows = await self._uow.read([Read("audit_sale_of_token", params, "found")])
        for row in rows["found"]:
            return await self._trace(caller, row["receipt_number"], _unknown(), reason)
        raise _unknown()

    async def of_receipt(
        self, caller: Caller, receipt_number: str, *, reason: str = TRACED
    ) -> Trace:
        """Trace the tokens of a receipt.

        Raises:
            NotFound: ``receipt_unknown``.
            Unavailable: ``token_unreadable``.
        """
        unknown = NotFound("receipt_unknown", "no receipt with this number is known here")
        return await self._trace(caller, receipt_number, unknown, reason)

    async def _trace(
        self, caller: Caller, receipt_number: str, unknown: NotFound, reason: str
    ) -> Trace:
        principal = caller.principal
        rows = await self._uow.read(_reads(principal.utility_id, receipt_number))
        is_own = bool(rows["sale"]) and rows["sale"][0]["principal_id"] == principal.id
        if not rows["sale"] or not (is_own or Right.SALES_ALL in principal.rights):
            raise unknown
        has_digits = any(token["digits"] is not None for token in rows["tokens"])
        in_clear = is_own or Right.TOKENS_ALL in principal.rights
        if in_clear and has_digits and not is_own:
            await record_reading(self._uow, self._clock, caller, receipt_number, reason)
        return self._made(rows, in_clear=in_clear)

    def _made(self, rows: Rows, *, in_clear: bool) -> Trace:
        sale = rows["sale"][0]
        entries = [rows[name][0] for name in ("sold", "booked") if rows[name]]
        return Trace(
            sale=sale,
            act=json.loads(sale["act"]),
            tokens=[traced_token(row, self._safe, in_clear=in_clear) for row in rows["tokens"]],
            steps=rows["steps"],
            postings=rows["postings"],
            operations=rows["operations"],
            prints=rows["prints"],
            entries=list({row["id"]: row for row in entries}.values()),
            in_clear=in_clear,
        )


def digits_of(text: str) -> str | None:
    """Return the digits of a token as people write it; None where it is none."""
    plain = "".join(text.replace("-", " ").split())
    return plain if len(plain) == TOKEN_DIGITS and plain.isdecimal() else None


def traced_token(row: Row, safe: TokenSafe, *, in_clear: bool) -> TracedToken:
    """Return a row of ``token`` with its digits in clear or masked.

    Raises:
        Unavailable: ``token_unreadable``.
    """
    digits = row["digits"]
    if digits is not None:
        opened = safe.open(digits)
        digits = opened if in_clear else masked(opened)
    names = ("purpose", "state", "amount", "tid_minute", "key_id", "created_us", "issued_us")
    return TracedToken(
        digits=digits,
        accepted_us=row["accepted_us"],
        accepted_by=row["accepted_by"],
        **{name: row[name] for name in names},
    )


async def record_reading(
    uow: UnitOfWork, clock: Clock, caller: Caller, subject: str, reason: str
) -> None:
    """Write down who sees tokens that somebody else made, before they do."""
    at_us = epoch_us(clock.now())

    def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
        act = caller_act(caller, new_id, at_us, what="token.read", subject=subject, reason=reason)
        return Changes(None, [act])

    await uow.run([], decide)


def _unknown() -> NotFound:
    return NotFound(
        "token_unknown",
        "no token with these digits was sold here; one that no sale made has a trace of its own",
    )


def _reads(utility_id: int, receipt_number: str) -> list[Read]:
    of_sale = {"sale_row_id": From("sale", "id")}
    return [
        Read("audit_sale", {"utility_id": utility_id, "receipt_number": receipt_number}, "sale"),
        Read("audit_tokens", of_sale, "tokens"),
        Read("audit_steps", of_sale, "steps"),
        Read("audit_postings", of_sale, "postings"),
        Read("audit_operations", of_sale, "operations"),
        Read("audit_prints", of_sale, "prints"),
        Read("audit_entry_after", {"row_id": From("sale", "id")}, "sold"),
        Read("audit_entry_after", {"row_id": From("postings", "id")}, "booked"),
    ]

"""Everything that is known of a token that no sale made: who asked for it, from where, and why.

Management tokens, sets that change a key, replacements, and the credit of swapped meters. A token
that a sale made is found as well, with the receipts that list it: their traces say the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from slotmeter.errors import NotFound
from slotmeter.ports import Caller, Clock, Read, Right, Row, TokenSafe, UnitOfWork
from slotmeter.services.audit_trace import (
    TRACED,
    TracedToken,
    digits_of,
    record_reading,
    traced_token,
)
from slotmeter.services.management_kinds import KINDS

__all__ = ["TokenTrace", "TokenTraces"]

ACTS_MAX: Final = 256
"""So many acts of one instant are looked through."""

RECEIPTS_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """What is known of a token.

    Args:
        row: of the read ``trace_token``: the token and its meter.
        token: digits in clear or masked.
        receipts: numbers of the receipts that list it, oldest first.
        act: who asked for it, as the read ``trace_acts``; None where a sale made it.
        data: of the act.
        key_change_id: the change whose set it belongs to.
        management_id: of the list of management tokens.
        steps: of the commands that carried it to the meter, in order.
        entries: of the audit's chain that vouch for it.
        in_clear: whether the digits are shown.
    """

    row: Row
    token: TracedToken
    receipts: Sequence[str]
    act: Row | None
    data: Mapping[str, Any]
    key_change_id: int | None
    management_id: int | None
    steps: Sequence[Row]
    entries: Sequence[Row]
    in_clear: bool


class TokenTraces:
    """The transaction boundary of looking such a token up."""

    def __init__(self, uow: UnitOfWork, clock: Clock, safe: TokenSafe) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._safe = safe

    async def of_digits(self, caller: Caller, digits: str, *, reason: str = TRACED) -> TokenTrace:
        """Trace a token by its 20 digits; blanks and hyphens between them do not matter.

        Raises:
            NotFound: ``token_unknown``.
            Unavailable: ``token_unreadable``.
        """
        plain = digits_of(digits)
        if plain is None:
            raise _unknown()
        read = Read(
            "trace_token",
            {
                "utility_id": caller.principal.utility_id,
                "digits_index": self._safe.index(plain),
                "limit": RECEIPTS_MAX,
            },
            "tokens",
        )
        return await self._trace(caller, (await self._uow.read([read]))["tokens"], reason)

    async def of_id(self, caller: Caller, token_id: int, *, reason: str = TRACED) -> TokenTrace:
        """Trace a token by its id, as lists name it.

        Raises:
            NotFound: ``token_unknown``.
            Unavailable: ``token_unreadable``.
        """
        of_id = {"utility_id": caller.principal.utility_id, "id": token_id}
        read = Read("trace_token_by_id", of_id, "tokens")
        return await self._trace(caller, (await self._uow.read([read]))["tokens"], reason)

    async def _trace(self, caller: Caller, found: Sequence[Row], reason: str) -> TokenTrace:
        if not found:
            raise _unknown()
        # The set of a key change is listed by each sale until it is proven, with the same digits.
        row = next((each for each in found if each["sale_row_id"] is None), found[0])
        rows = await self._uow.read(_reads(row))
        act = _act_of(row, rows["acts"])
        principal = caller.principal
        is_own = principal.id in {
            *(each["sold_by_id"] for each in found),
            None if act is None else act["principal_id"],
        }
        in_clear = is_own or Right.TOKENS_ALL in principal.rights
        if in_clear and not is_own and row["digits"] is not None:
            await record_reading(self._uow, self._clock, caller, f"token:{row['id']}", reason)
        return TokenTrace(
            row=row,
            token=traced_token(row, self._safe, in_clear=in_clear),
            receipts=[each["receipt_number"] for each in found if each["receipt_number"]],
            act=act,
            data={} if act is None else json.loads(act["data"]),
            key_change_id=next((each["id"] for each in rows["change"]), None),
            management_id=next((each["id"] for each in rows["managed"]), None),
            steps=rows["steps"],
            entries=rows["entry"],
            in_clear=in_clear,
        )


def _reads(row: Row) -> list[Read]:
    of_token = {"token_id": row["id"]}
    return [
        Read("trace_change", of_token, "change"),
        Read("trace_managed", of_token, "managed"),
        Read("trace_steps", {**of_token, "meter_id": row["meter_id"]}, "steps"),
        Read(
            "trace_acts",
            {"utility_id": row["utility_id"], "at_us": row["created_us"], "limit": ACTS_MAX},
            "acts",
        ),
        Read("audit_entry_after", {"row_id": row["id"]}, "entry"),
    ]


def _act_of(token: Row, acts: Sequence[Row]) -> Row | None:
    """Return the act that reserved a token: of its instant, and of it."""
    if token["sale_row_id"] is not None:
        return None
    return next((act for act in acts if _is_of(act, token)), None)


def _is_of(act: Row, token: Row) -> bool:
    purpose, data = token["purpose"], json.loads(act["data"])
    what: str = act["what"]
    is_of = {
        "token.manage": purpose in KINDS and data.get("token_id") == token["id"],
        "key.change": purpose == "key_change" and act["subject"] == f"meter:{token['meter']}",
        "key.replace": (data.get("after") or {}).get("token_id") == token["id"],
        "ledger.swap": purpose == "replacement" and data.get("new") == token["meter"],
    }
    return bool(is_of.get(what))


def _unknown() -> NotFound:
    return NotFound("token_unknown", "no token with these digits was made here")

"""Tokens that a change of key made worthless, given anew once and for nothing.

Value moves from one token to another, and no money does: the old token is marked, the new one is
under the meter's present key, and each old one is replaced once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
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
from slotmeter.services.guarded_acts import check_reason, need_right
from slotmeter.services.key_change_plan import found_change
from slotmeter.services.sole_tokens import Making, SoleTokens, sole_reads
from slotmeter.units import epoch_us
from slotmeter.vending.sts import TokenRequest

__all__ = ["REPLACEMENT", "KeyReplacements", "Replaced"]

REPLACEMENT = "replacement"
"""The purpose of a token that stands for an older one."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A token in place of another; ``digits`` in clear."""

    old_token_id: int
    new_token_id: int
    amount: int
    digits: str


class KeyReplacements:
    """The transaction boundary of replacements after a change of key."""

    def __init__(self, uow: UnitOfWork, clock: Clock, tokens: SoleTokens) -> None:
        """Join the parts.

        Args:
            uow: the database.
            clock: our time.
            tokens: reserves, makes and sends the tokens.
        """
        self._uow = uow
        self._clock = clock
        self._tokens = tokens

    async def replace(
        self, caller: Caller, change_id: int, token_id: int, reason: str
    ) -> tuple[Replaced, bool]:
        """Replace a token that was not used before its meter's key was changed.

        Asking again gives the same token.

        Args:
            caller: who does it.
            change_id: the change of the meter's key.
            token_id: of a token under the old key, as the change names its unused ones.
            reason: why; for a meter out of reach this is the customer's word.

        Returns:
            The replacement, and whether this call began it.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``key_change_unknown``, ``token_unknown``.
            Refused: ``key_change_not_proven``; ``token_used``; ``token_not_of_old_key``; what the
                present key refuses.
        """
        await need_right(
            self._uow,
            self._clock,
            caller,
            Right.KEYS_CHANGE,
            what="key.replace",
            subject=f"key_change:{change_id}",
            reason=reason,
            data={"token_id": token_id},
        )
        text, now_us, rnd = (
            check_reason(reason),
            epoch_us(self._clock.now()),
            self._tokens.draw_rnd(),
        )

        def decide(rows: Rows, new_id: NewId) -> Changes[dict[str, Any]]:
            change, old = found_change(rows["change"]), _replaceable(rows, token_id)
            if rows["done"]:
                return Changes({**_answer(change, old, rows["done"][0]), "new": False})
            _check(change, old)
            request = TokenRequest.from_dict(json.loads(old["request"]))
            if request.rnd is not None:
                request = replace(request, rnd=rnd)
            making = Making(REPLACEMENT, request, old["amount"])
            row = making.row(
                rows["meter"][0], rows["tids"], new_id, tids=self._tokens.tids, now_us=now_us
            )
            steps = _steps(caller, change, old, row, text, new_id, now_us=now_us)
            answer = _answer(change, old, {"new_token_id": row["id"]})
            return Changes({**answer, "new": True}, steps)

        began = await self._uow.run(self._reads(caller, change_id, token_id, now_us), decide)
        digits = await self._tokens.complete(
            caller.principal.utility_id,
            began["meter"],
            began["new_token_id"],
            f"replaces a token of key change {change_id}",
            caller.principal.id,
        )
        made = Replaced(token_id, began["new_token_id"], began["amount"], digits)
        return made, bool(began["new"])

    def _reads(self, caller: Caller, change_id: int, token_id: int, now_us: int) -> list[Read]:
        utility_id = caller.principal.utility_id
        return [
            Read("key_change_by_id", {"utility_id": utility_id, "id": change_id}, "change"),
            Read("key_old_token", {"utility_id": utility_id, "id": token_id}, "old"),
            Read("key_replaced", {"old_token_id": From("old", "id")}, "done"),
            *sole_reads(utility_id, From("change", "meter"), now_us),
        ]


def _steps(
    caller: Caller,
    change: Row,
    old: Row,
    new: Mapping[str, Any],
    reason: str,
    new_id: NewId,
    *,
    now_us: int,
) -> list[Step]:
    done: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": change["utility_id"],
        "key_change_id": change["id"],
        "old_token_id": old["id"],
        "new_token_id": new["id"],
        "reason": reason,
        "principal_id": caller.principal.id,
        "at_us": now_us,
    }
    act = act_row(
        new_id,
        Origin.of(caller),
        change["utility_id"],
        now_us,
        what="key.replace",
        subject=f"meter:{change['meter']}",
        reason=reason,
        data={
            "key_change": change["id"],
            "before": {"token_id": old["id"], "receipt_number": old["receipt_number"]},
            "after": {"token_id": new["id"], "amount": old["amount"]},
        },
    )
    of_old = {"of_token": old["id"], "of_utility": change["utility_id"]}
    return [
        Insert("token", new),
        Update("key_token_replaced", of_old),
        Insert("key_replacement", done),
        act,
    ]


def _answer(change: Row, old: Row, done: Row) -> dict[str, Any]:
    return {
        "meter": change["meter"],
        "new_token_id": done["new_token_id"],
        "amount": old["amount"],
    }


def _replaceable(rows: Rows, token_id: int) -> Row:
    if not rows["old"] or rows["old"][0]["meter_id"] != rows["change"][0]["meter_id"]:
        raise NotFound("token_unknown", f"this meter was given no token of credit {token_id}")
    return rows["old"][0]


def _check(change: Row, old: Row) -> None:
    if change["state"] != "proven":
        raise Refused(
            "key_change_not_proven",
            "the meter may still take the old token; replace it when the change is proven",
        )
    if old["parameters"] != change["from_parameters"] or old["created_us"] > change["ended_us"]:
        raise Refused("token_not_of_old_key", "this token is not under the key that was changed")
    if old["state"] != "issued" or old["accepted_us"] is not None:
        raise Refused("token_used", f"the token is {old['state']}: nothing is to be replaced")

"""Tokens that manage a meter, made by right: clear tamper, power limit and others.

Each is asked for under the caller's own request id, has a reason, and is an act. Who lacks the
right is refused, which is an act as well. A meter within reach is sent its token at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from slotmeter.errors import Conflict, Refused
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
    UnitOfWork,
)
from slotmeter.services.access import caller_act
from slotmeter.services.guarded_acts import check_reason, need_right
from slotmeter.services.key_change_plan import codable
from slotmeter.services.key_wanted import wanted_of
from slotmeter.services.management_kinds import management_request
from slotmeter.services.operations import REQUEST_ID
from slotmeter.services.queries import Page
from slotmeter.services.sole_tokens import Making, SoleTokens, sole_reads
from slotmeter.services.tid_allocator import stored_parameters
from slotmeter.units import epoch_us

__all__ = ["Managed", "ManagementTokens", "ManagementWish"]

LIST_MAX: Final = 500
FAR: Final = 2**62


@dataclass(frozen=True, slots=True)
class ManagementWish:
    """What is asked for.

    Args:
        request_id: the caller's own name for it, 1 to 64 characters; the same id is one token.
        kind: one of ``management_kinds.KINDS``.
        value: see there.
        reason: why; kept.
    """

    request_id: str
    kind: str
    value: int | None
    reason: str

    @property
    def digest(self) -> str:
        """What tells two requests under one id apart."""
        parts = f"{self.kind}\n{self.value}\n{self.reason.strip()}"
        return hashlib.sha256(parts.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Managed:
    """A token that manages a meter.

    Args:
        row: of the read ``management_by_id``.
        digits: in clear.
        key_change_id: the open change of the meter's key, whose set must be typed before; or 0.
    """

    row: Row
    digits: str
    key_change_id: int


class ManagementTokens:
    """The transaction boundary of management tokens."""

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

    async def make(self, caller: Caller, meter: str, wish: ManagementWish) -> tuple[Managed, bool]:
        """Make a token, once for each request id, and send it to a meter within reach.

        Returns:
            The token, and whether this call made it.

        Raises:
            NotAllowed: ``right_missing``; the attempt is an act.
            NotFound: ``meter_unknown``.
            Conflict: ``request_id_reused``.
            Refused: ``request_id_malformed``, ``reason_missing``, ``reason_too_long``,
                ``token_kind_unknown``, ``token_kind_does_not_fit``, ``token_value_missing``,
                ``token_value_out_of_range``, ``meter_without_key``, ``meter_removed``,
                ``key_change_needed``, ``key_expired``.
        """
        subject = f"meter:{meter}"
        await need_right(
            self._uow,
            self._clock,
            caller,
            Right.TOKENS_MANAGE,
            what="token.manage",
            subject=subject,
            reason=wish.reason,
            data={"kind": wish.kind[:40], "value": wish.value},
        )
        if REQUEST_ID.fullmatch(wish.request_id) is None:
            raise Refused(
                "request_id_malformed",
                "expected 1 to 64 letters, digits, dots, dashes, colons or underscores",
                field="request_id",
            )
        reason = check_reason(wish.reason)
        now_us, rnd = epoch_us(self._clock.now()), self._tokens.draw_rnd()

        def decide(rows: Rows, new_id: NewId) -> Changes[dict[str, Any]]:
            if rows["known"]:
                return Changes({"id": _known(rows["known"][0], wish, meter), "new": False})
            row = codable(rows, meter)
            request = management_request(
                wish.kind,
                wish.value,
                commodity=row["commodity"],
                pan=stored_parameters(row["parameters"]).pan,
                rnd=rnd,
            )
            token = Making(wish.kind, request).row(
                row, rows["tids"], new_id, tids=self._tokens.tids, now_us=now_us
            )
            made_id = new_id()
            managed = _managed_row(made_id, token, caller, wish, reason, now_us)
            act = _act(caller, subject, token, wish, reason, new_id, now_us=now_us)
            steps = [Insert("token", token), Insert("management_token", managed), act]
            return Changes({"id": made_id, "new": True}, steps)

        utility_id = caller.principal.utility_id
        asked: dict[str, SqlValue] = {
            "principal_id": caller.principal.id,
            "request_id": wish.request_id,
        }
        reads = [
            Read("management_by_request", asked, "known"),
            *sole_reads(utility_id, meter, now_us),
        ]
        began = await self._uow.run(reads, decide)
        made = await self.token(caller, began["id"])
        digits = await self._tokens.complete(
            utility_id, made["meter"], made["token_id"], f"{wish.kind}: {reason}", made["by_id"]
        )
        made = await self.token(caller, began["id"])
        wanted = wanted_of(made["wanted"])
        return Managed(made, digits, wanted.change_id if wanted else 0), bool(began["new"])

    async def token(self, caller: Caller, made_id: int) -> Row:
        """Return a token without its digits, with how its delivery goes."""
        params = {"utility_id": caller.principal.utility_id, "id": made_id}
        return (await self._uow.read([Read("management_by_id", params, "made")]))["made"][0]

    async def tokens(
        self, caller: Caller, meter: str, *, before: int | None = None, limit: int = LIST_MAX
    ) -> Page:
        """Return the management tokens of a meter, newest first, without their digits.

        Raises:
            NotFound: ``meter_unknown``.
        """
        utility_id = caller.principal.utility_id
        params: dict[str, SqlValue | From] = {
            "utility_id": utility_id,
            "meter_id": From("meter", "id"),
            "before": FAR if before is None else before,
            "limit": limit + 1,
        }
        rows = await self._uow.read(
            [
                Read("key_meter", {"utility_id": utility_id, "number": meter}, "meter"),
                Read("management_of_meter", params, "made"),
            ]
        )
        codable(rows, meter)
        found = rows["made"]
        if len(found) <= limit:
            return Page(found, None)
        return Page(found[:limit], found[limit - 1]["id"])


def _known(row: Row, wish: ManagementWish, meter: str) -> int:
    if row["request_hash"] != wish.digest or row["meter"] != meter:
        raise Conflict(
            "request_id_reused",
            "this request_id was used for another token; take a new one",
            field="request_id",
        )
    made_id: int = row["id"]
    return made_id


def _act(
    caller: Caller,
    subject: str,
    token: Mapping[str, Any],
    wish: ManagementWish,
    reason: str,
    new_id: NewId,
    *,
    now_us: int,
) -> Insert:
    return caller_act(
        caller,
        new_id,
        now_us,
        what="token.manage",
        subject=subject,
        reason=reason,
        data={"kind": wish.kind, "value": wish.value, "token_id": token["id"]},
    )


def _managed_row(
    made_id: int,
    token: Mapping[str, Any],
    caller: Caller,
    wish: ManagementWish,
    reason: str,
    now_us: int,
) -> dict[str, SqlValue]:
    return {
        "id": made_id,
        "utility_id": token["utility_id"],
        "meter_id": token["meter_id"],
        "token_id": token["id"],
        "principal_id": caller.principal.id,
        "request_id": wish.request_id,
        "request_hash": wish.digest,
        "kind": wish.kind,
        "value": wish.value,
        "reason": reason,
        "at_us": now_us,
    }

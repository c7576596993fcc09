"""Tokens that no sale makes: reserved with their identifier, made, sent; two commits, like a sale.

The first commit stores what decides the digits, so that asking again after a crash makes the same
token and no second one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from slotmeter.errors import Conflict, NotFound, Refused, SlotmeterError, Unavailable
from slotmeter.ports import (
    Changes,
    Clock,
    From,
    NewId,
    Read,
    Row,
    Rows,
    SecurityModule,
    SqlValue,
    TokenSafe,
    UnitOfWork,
    Update,
)
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.services.key_change_plan import codable
from slotmeter.services.key_change_steps import NO_TID, deliver_steps
from slotmeter.services.key_wanted import wanted_of
from slotmeter.services.selling import KEY_MISSING, REFUSED_FOR_GOOD, Recovered
from slotmeter.services.tid_allocator import TidAllocator, stored_parameters
from slotmeter.units import epoch_us
from slotmeter.vending.sts import KEPT_TIDS, TokenRequest, check_issuable, minute_1993_of_us

__all__ = ["Making", "SoleTokens", "coding_now", "keyed_meter", "sole_reads"]

RECOVER_BATCH: Final = 500
VOID: Final = "void"
OWED: Final = "replacement"
"""The purpose of a token that stands for credit, also where it carries money and no units."""


def coding_now(meter: Row) -> tuple[str, str]:
    """Return the vending key's id and the parameters, as text, that tokens are made under now.

    From the moment that a set of key change tokens is made, that is the new key.

    Args:
        meter: a row with ``key_id``, ``parameters`` and ``wanted``.
    """
    wanted = wanted_of(meter["wanted"])
    if wanted is not None and wanted.is_made:
        return wanted.coding.key_id, wanted.coding.text
    return meter["key_id"], meter["parameters"]


def keyed_meter(rows: Rows, number: str) -> Row:
    """Return the meter of :func:`sole_reads` that a token can be made for.

    Raises:
        NotFound: ``meter_unknown``.
        Refused: ``meter_removed``, ``meter_without_key``.
    """
    return codable(rows, number)


def sole_reads(utility_id: int, number: str | From, now_us: int) -> list[Read]:
    """Return what reserving a token for a meter needs: the meter, and its identifiers so far."""
    return [
        Read("key_meter", {"utility_id": utility_id, "number": number}, "meter"),
        Read(
            "kept_tids",
            {
                "meter_id": From("meter", "id"),
                "from_minute": minute_1993_of_us(now_us),
                "limit": KEPT_TIDS,
            },
            "tids",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Making:
    """A token to reserve.

    Args:
        purpose: see ``token.purpose``.
        request: with any identifier, which is given anew where the token has one.
        amount: Wh or mL that it carries.
    """

    purpose: str
    request: TokenRequest
    amount: int = 0

    def row(
        self, meter: Row, kept: Sequence[Row], new_id: NewId, *, tids: TidAllocator, now_us: int
    ) -> dict[str, Any]:
        """Return the row of the token, reserved.

        Raises:
            Refused: ``key_change_needed``, ``key_expired``, ``before_base_date``, or the request
                does not fit the key.
        """
        key_id, text = coding_now(meter)
        parameters = stored_parameters(text)
        token_id, request = new_id(), self.request
        minute, tid = -token_id, NO_TID
        if request.token_class != 1:
            given = tids.next(now_us, [row["tid_minute"] for row in kept], parameters)
            minute, tid = given.minute, given.tid
            request = replace(request, tid=tid)
        check_issuable(parameters, request)
        return {
            "id": token_id,
            "utility_id": meter["utility_id"],
            "meter_id": meter["id"],
            "sale_row_id": None,
            "purpose": self.purpose,
            "key_id": key_id,
            "parameters": text,
            "request": compact_json(request.to_dict()),
            "tid_minute": minute,
            "tid": tid,
            "amount": self.amount,
            "digits": None,
            "state": "reserved",
            "accepted_by": None,
            "created_us": now_us,
            "issued_us": None,
            "accepted_us": None,
        }


class SoleTokens:
    """Makes what was reserved, and sends it to meters within reach."""

    def __init__(
        self,
        uow: UnitOfWork,
        security: SecurityModule,
        safe: TokenSafe,
        clock: Clock,
        *,
        draw_rnd: Callable[[], int],
        tids: TidAllocator,
        on_queued: Callable[[int], None] = lambda _device_id: None,
    ) -> None:
        """Join the parts.

        Args:
            uow: the database.
            security: holds the vending keys.
            safe: seals the digits.
            clock: our time.
            draw_rnd: gives the 4 random bits of a token.
            tids: gives the identifiers; with the floor of a restored database.
            on_queued: called with a device's id when commands for it were queued.
        """
        self.draw_rnd = draw_rnd
        self.tids = tids
        self._uow = uow
        self._security = security
        self._safe = safe
        self._clock = clock
        self._on_queued = on_queued

    async def check_key(self, key_id: str) -> None:
        """Refuse a vending key that is not there.

        Raises:
            NotFound: ``vending_key_unknown``.
        """
        await self._security.describe(key_id)

    async def complete(
        self, utility_id: int, number: str, token_id: int, why: str, principal_id: int
    ) -> str:
        """Make a reserved token, send it, and return its digits; a made one is only returned.

        Args:
            utility_id: whose meter.
            number: of the meter.
            token_id: row of ``token``.
            why: for the history of the command that sends it.
            principal_id: who wants it.

        Raises:
            Refused: ``token_cannot_be_made``: it was given up, or no token can be made for this
                meter as things are.
            Unavailable: the security module does not make it now.
        """
        read = Read("key_token", {"utility_id": utility_id, "id": token_id}, "token")
        token = (await self._uow.read([read]))["token"][0]
        if token["digits"] is not None:
            return self._safe.open(token["digits"])
        _check_stands(token)
        return await self._make(utility_id, number, token, why, principal_id)

    async def recover(self, *, age_s: int = 0) -> Recovered:
        """End every reserved token that a crash left unmade.

        One that the security module refuses for good is given up if it carries nothing; one that
        stands for something that was paid for waits until it can be made, and so does any whose
        vending key is missing.

        Args:
            age_s: leave alone what was reserved less than this many seconds ago; whoever asked for
                it may be getting it at this moment.

        Raises:
            Unavailable: ``recovery_incomplete``: some tokens could not be made.
        """
        made, voided, after_id, failed = 0, 0, 0, list[SlotmeterError]()
        before_us = epoch_us(self._clock.now()) - age_s * 1_000_000
        while True:
            params: dict[str, SqlValue] = {
                "after_id": after_id,
                "before_us": before_us,
                "limit": RECOVER_BATCH,
            }
            rows = (await self._uow.read([Read("sole_waiting", params, "tokens")]))["tokens"]
            if not rows:
                break
            for row in rows:
                after_id = row["id"]
                try:
                    await self._make(
                        row["utility_id"], row["meter"], row, f"{row['purpose']}, completed", None
                    )
                except SlotmeterError as error:
                    if await self._given_up(row, error):
                        voided += 1
                    else:
                        failed.append(error)
                else:
                    made += 1
        if failed:
            raise Unavailable(
                "recovery_incomplete",
                f"{len(failed)} tokens without a sale wait, {made} were made, {voided} given up; "
                f"the first: {failed[0].message}",
            )
        return Recovered(made, voided)

    async def _make(
        self, utility_id: int, number: str, token: Row, why: str, principal_id: int | None
    ) -> str:
        try:
            made = await self._security.issue(
                token["key_id"],
                stored_parameters(token["parameters"]),
                TokenRequest.from_dict(json.loads(token["request"])),
            )
        except (Refused, NotFound) as error:
            raise Refused(
                REFUSED_FOR_GOOD,
                f"no token can be made for this meter: {error.message}",
                field="meter",
                details={"cause": error.code},
            ) from error
        sealed = self._safe.seal(made.digits)
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
            meter = rows["meter"][0]
            issue: dict[str, SqlValue] = {
                "of_token": token["id"],
                "new_digits": sealed.text,
                "new_index": sealed.index,
                "at_us": now_us,
            }
            sent = deliver_steps(
                meter,
                [token["id"]],
                why,
                pending=(),
                principal_id=principal_id,
                now_us=now_us,
                new_id=new_id,
            )
            return Changes(meter, [Update("sole_issue", issue), *sent])

        try:
            meter = await self._uow.run(
                [Read("key_meter", {"utility_id": utility_id, "number": number}, "meter")], decide
            )
        except Conflict:
            found = [Read("key_token", {"utility_id": utility_id, "id": token["id"]}, "token")]
            beside = (await self._uow.read(found))["token"][0]
            _check_stands(beside)
            if beside["digits"] is None:
                raise
            return made.digits  # made beside us by the same request; the digits are the same
        if meter["device_id"] is not None:
            self._on_queued(meter["device_id"])
        return made.digits

    async def _given_up(self, token: Row, error: SlotmeterError) -> bool:
        """Give up a token that an error ends for good; say whether it is."""
        if not isinstance(error, Refused) or error.code != REFUSED_FOR_GOOD:
            return False
        is_owed = token["amount"] or token["purpose"] == OWED
        if is_owed or error.details.get("cause") == KEY_MISSING:
            return False  # credit; or a server started without its keys
        event = Event(
            utility_id=token["utility_id"],
            at_us=epoch_us(self._clock.now()),
            kind="token_voided",
            severity="warning",
            text=f"A token to manage the meter ({token['purpose']}) was given up: {error.message}",
            meter_id=token["meter_id"],
            data={"purpose": token["purpose"], "code": error.details.get("cause")},
        )

        def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
            void = Update("sole_void", {"of_token": token["id"]})
            return Changes(None, [void, event_step(event, new_id)])

        try:
            await self._uow.run([], decide)
        except Conflict:
            return False  # it was made beside us
        return True


def _check_stands(token: Row) -> None:
    """Refuse to show a token that was given up."""
    if token["state"] == VOID:
        raise Refused(REFUSED_FOR_GOOD, "this token was given up; its event says why")

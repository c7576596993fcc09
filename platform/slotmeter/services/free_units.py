"""Who is registered for free units, on what evidence and until when; who has not come for them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.account_lookup import (
    account_read,
    check_reach,
    found_account,
    local_month,
)
from slotmeter.services.act_changes import changed
from slotmeter.units import epoch_us, iso_utc

__all__ = ["FreeUnitsOffice", "NewRegistration", "check_registration"]

CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
EVIDENCE_CHARACTERS_MAX: Final = 200
PAGE_ROWS: Final = 500
FAR_US: Final = 2**62


@dataclass(frozen=True, slots=True)
class NewRegistration:
    """An account that shall get free units.

    Args:
        account: account number.
        code: of the free units in the tariff.
        evidence: why it is entitled: a list, a decision, a number.
        from_us: the first instant; free units of that month count.
        until_us: the first instant without them; None has no end.
    """

    account: str
    code: str
    evidence: str
    from_us: int
    until_us: int | None


def check_registration(new: NewRegistration) -> None:
    """Refuse what is wrong in itself.

    Raises:
        Refused: ``bad_code``, ``evidence_missing``, ``out_of_range`` or ``ends_before_it_begins``.
    """
    if CODE.fullmatch(new.code) is None:
        raise Refused(
            "bad_code",
            f"expected the code of free units in the tariff, got {new.code[:80]!r}",
            field="code",
        )
    text = new.evidence
    if not text.strip() or len(text) > EVIDENCE_CHARACTERS_MAX or not text.isprintable():
        raise Refused(
            "evidence_missing",
            f"expected one line of 1 to {EVIDENCE_CHARACTERS_MAX} characters that says why",
            field="evidence",
        )
    check_reach(new.from_us, "from")
    if new.until_us is not None and check_reach(new.until_us, "until") <= new.from_us:
        raise Refused("ends_before_it_begins", "expected an end after the beginning", field="until")


class FreeUnitsOffice:
    """The transaction boundary of registrations for free units."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def register(self, caller: Caller, new: NewRegistration, *, reason: str) -> int:
        """Register an account and return the registration's id.

        Raises:
            NotFound: ``account_unknown``.
            Refused: what :func:`check_registration` refuses.
            Conflict: ``registered_already``: another registration overlaps.
        """
        check_registration(new)
        at_us = epoch_us(self._clock.now())
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[int]:
            account = found_account(rows["account"], new.account)
            _check_overlap(new, rows["open"])
            registration_id = new_id()
            row: dict[str, SqlValue] = {
                "id": registration_id,
                "utility_id": utility_id,
                "account_id": account["id"],
                "code": new.code,
                "from_us": new.from_us,
                "until_us": new.until_us,
                "evidence": new.evidence,
                "principal_id": caller.principal.id,
                "created_us": at_us,
            }
            act = caller_act(
                caller,
                new_id,
                at_us,
                what="free.register",
                subject=new.account,
                reason=reason,
                data={
                    "code": new.code,
                    **changed(None, {"from_us": new.from_us, "until_us": new.until_us}),
                },
            )
            return Changes(registration_id, [Insert("free_registration", row), act])

        reads = [
            account_read(utility_id, new.account),
            Read(
                "free_registrations_open",
                {
                    "utility_id": utility_id,
                    "account_id": From("account", "id"),
                    "code": new.code,
                },
                "open",
            ),
        ]
        return await self._uow.run(reads, decide)

    async def end(self, caller: Caller, registration_id: int, *, reason: str) -> None:
        """End a registration now; units claimed stay claimed.

        Raises:
            NotFound: ``registration_unknown``.
            Conflict: ``registration_ended``.
        """
        at_us = epoch_us(self._clock.now())
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            row = _found(rows["registration"], registration_id)
            if row["ended_us"] is not None:
                raise Conflict(
                    "registration_ended",
                    f"registration {registration_id} ended at {iso_utc(row['ended_us'])}",
                )
            step = Update(
                "free_registration_end",
                {"of_utility": utility_id, "of_id": registration_id, "at_us": at_us},
            )
            act = caller_act(
                caller,
                new_id,
                at_us,
                what="free.end",
                subject=row["account"],
                reason=reason,
                data={
                    "code": row["code"],
                    "registration": registration_id,
                    **changed({"ended_us": None}, {"ended_us": at_us}),
                },
            )
            return Changes(None, [step, act])

        await self._uow.run([_by_id(utility_id, registration_id)], decide)

    async def registration(self, utility_id: int, registration_id: int) -> Row:
        """Return one registration.

        Raises:
            NotFound: ``registration_unknown``.
        """
        rows = await self._uow.read([_by_id(utility_id, registration_id)])
        return _found(rows["registration"], registration_id)

    async def registrations(
        self,
        utility_id: int,
        *,
        code: str | None = None,
        account: str | None = None,
        in_force: bool = False,
        before: int | None = None,
        limit: int = PAGE_ROWS,
    ) -> Sequence[Row]:
        """Return registrations, the newest first."""
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "code": code,
            "account": account,
            "at_us": epoch_us(self._clock.now()) if in_force else None,
            "before": before,
            "limit": limit,
        }
        return (await self._uow.read([Read("free_registrations", params)]))["free_registrations"]

    async def not_collected(
        self,
        utility_id: int,
        period: str,
        *,
        code: str | None = None,
        after_id: int = 0,
        limit: int = PAGE_ROWS,
    ) -> Sequence[Row]:
        """Return a page of those registered now who have claimed nothing of a month.

        Args:
            utility_id: whose.
            period: the local month, ``2026-11``.
            code: of the free units; None for all.
            after_id: the last registration of the page before.
            limit: registrations at most.
        """
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "at_us": epoch_us(self._clock.now()),
            "period": period,
            "code": code,
            "after_id": after_id,
            "limit": limit,
        }
        return (await self._uow.read([Read("free_not_collected", params)]))["free_not_collected"]

    async def all_not_collected(
        self, utility_id: int, period: str, *, code: str | None = None
    ) -> AsyncIterator[Row]:
        """Yield everyone of :meth:`not_collected`, a page at a time."""
        after_id = 0
        while page := await self.not_collected(utility_id, period, code=code, after_id=after_id):
            for row in page:
                yield row
            after_id = page[-1]["id"]

    def this_month(self, time_zone: str, at: datetime | None = None) -> str:
        """Return the local month of an instant, or of now."""
        return local_month(self._clock.now() if at is None else at, time_zone)


def _check_overlap(new: NewRegistration, open_rows: Sequence[Row]) -> None:
    until_us = FAR_US if new.until_us is None else new.until_us
    for row in open_rows:
        other_until = FAR_US if row["until_us"] is None else row["until_us"]
        if new.from_us < other_until and row["from_us"] < until_us:
            raise Conflict(
                "registered_already",
                f"account {new.account} is registered for {new.code} from "
                f"{iso_utc(row['from_us'])} on; end that registration first",
                field="account",
                details={"registration": row["id"]},
            )


def _by_id(utility_id: int, registration_id: int) -> Read:
    params: dict[str, SqlValue] = {"utility_id": utility_id, "id": registration_id}
    return Read("free_registration_by_id", params, "registration")


def _found(rows: Sequence[Row], registration_id: int) -> Row:
    if not rows:
        raise NotFound(
            "registration_unknown", f"there is no registration {registration_id}", field="id"
        )
    return rows[0]

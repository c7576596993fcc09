"""Accounts that may not buy: blocked with a reason, released with one; every change is an act."""

from __future__ import annotations

from typing import Final

from slotmeter.errors import Conflict, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.act_changes import changed
from slotmeter.services.debt_making import account_read, unknown_account
from slotmeter.services.debt_terms import Books
from slotmeter.services.queries import Page
from slotmeter.units import epoch_us, iso_utc

__all__ = ["AccountBlocks"]

ID_MAX: Final = 2**63 - 1


class AccountBlocks:
    """Keeps the blocks of every utility's accounts; selling looks at them."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def block(self, origin: Origin, books: Books, account: str, *, reason: str) -> Row:
        """Stop sales to an account from now on.

        Raises:
            NotFound: ``account_unknown``.
            Conflict: ``account_blocked_already``.
            Refused: ``actor_missing``.
        """
        principal_id = _person(origin)
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            if not rows["debt_account"]:
                raise unknown_account(account)
            if rows["account_block_open"]:
                there = rows["account_block_open"][0]
                raise Conflict(
                    "account_blocked_already",
                    f"account {account} is blocked since {iso_utc(there['from_us'])}: "
                    f"{there['reason']}",
                )
            row: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": books.utility_id,
                "account_id": rows["debt_account"][0]["id"],
                "reason": reason,
                "principal_id": principal_id,
                "from_us": now_us,
            }
            act = act_row(
                new_id,
                origin,
                books.utility_id,
                now_us,
                what="account.block",
                subject=account,
                reason=reason,
                data=changed({"blocked": False}, {"blocked": True}),
            )
            return Changes(None, [Insert("account_block", row), act])

        await self._uow.run([account_read(books, account), _open_read(books, account)], decide)
        rows = await self._uow.read([_open_read(books, account)])
        return rows["account_block_open"][0]

    async def release(self, origin: Origin, books: Books, account: str, *, reason: str) -> Row:
        """Let an account buy again.

        Raises:
            NotFound: ``account_unknown``.
            Refused: ``account_not_blocked`` or ``actor_missing``.
        """
        principal_id = _person(origin)
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
            if not rows["debt_account"]:
                raise unknown_account(account)
            if not rows["account_block_open"]:
                raise Refused("account_not_blocked", f"account {account} is not blocked")
            there = rows["account_block_open"][0]
            params: dict[str, SqlValue] = {
                "block_id": there["id"],
                "at_us": now_us,
                "by_principal": principal_id,
                "why": reason,
            }
            act = act_row(
                new_id,
                origin,
                books.utility_id,
                now_us,
                what="account.release",
                subject=account,
                reason=reason,
                data={
                    "blocked_since": iso_utc(there["from_us"]),
                    "blocked_for": there["reason"],
                    **changed({"blocked": True}, {"blocked": False}),
                },
            )
            return Changes(there, [Update("account_release", params), act])

        reads = [account_read(books, account), _open_read(books, account)]
        released = await self._uow.run(reads, decide)
        params: dict[str, SqlValue] = {"utility_id": books.utility_id, "block_id": released["id"]}
        rows = await self._uow.read([Read("account_block", params)])
        return rows["account_block"][0]

    async def blocks(
        self,
        books: Books,
        *,
        account: str | None = None,
        only_open: bool = True,
        before: int | None = None,
        limit: int,
    ) -> Page:
        """Return blocks, the newest first.

        Raises:
            NotFound: ``account_unknown``.
        """
        params: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "account": account,
            "only_open": int(only_open),
            "before": ID_MAX if before is None else before,
            "limit": limit + 1,
        }
        reads = [Read("look_account_blocks", params)]
        if account is not None:
            reads.append(account_read(books, account))
        rows = await self._uow.read(reads)
        if account is not None and not rows["debt_account"]:
            raise unknown_account(account)
        found = rows["look_account_blocks"]
        return Page(found[:limit], found[limit - 1]["id"] if len(found) > limit else None)


def _open_read(books: Books, account: str) -> Read:
    return Read("account_block_open", {"utility_id": books.utility_id, "number": account})


def _person(origin: Origin) -> int:
    if origin.principal_id is None:
        raise Refused("actor_missing", "say who blocks or releases: a person or service known here")
    return origin.principal_id

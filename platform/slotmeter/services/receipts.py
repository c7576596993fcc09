"""Handing out receipts: one original of each form, and copies that say what they are.

Every hand-out is a row that is never changed. The seller's first of a form is the original. What
comes after it, what somebody else asks for, and what was sold before hand-outs were counted is a
copy.

The seller sees the tokens. Anybody else sees them masked, or, with the right ``tokens.all``, in
clear, and that is an act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import NotAllowed, NotFound
from slotmeter.i18n import DEFAULT
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Principal,
    Read,
    Right,
    Row,
    Rows,
    SqlValue,
    TokenSafe,
    UnitOfWork,
)
from slotmeter.services.access import caller_act
from slotmeter.services.list_pages import LIST_ROWS
from slotmeter.services.protection import readable_policy
from slotmeter.services.token_secrecy import open_receipt
from slotmeter.units import epoch_us
from slotmeter.vending.receipts import Receipt

__all__ = ["FORMS", "HandedOut", "Receipts"]

FORMS: Final = ("text58", "text80", "html", "message")
"""What is handed out to people; the document for programs is not, and is not counted."""

COUNTED_SINCE_FORMAT: Final = 2


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A receipt that may be rendered once, as what it is."""

    receipt: Receipt
    form: str
    is_reprint: bool
    at_us: int


class Receipts:
    """The transaction boundary of handing out receipts."""

    def __init__(self, uow: UnitOfWork, clock: Clock, safe: TokenSafe) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._safe = safe

    async def receipt(self, caller: Caller, receipt_number: str) -> Receipt:
        """Return an issued receipt to look at: one's own, or any with the right to see all.

        Who opens the tokens of somebody else's sale leaves an act ``token.read``.

        Raises:
            NotFound: ``receipt_unknown``.
            Unavailable: ``token_unreadable``.
        """
        principal = caller.principal
        rows = await self._uow.read([_sale_read(principal, receipt_number)])
        sale = _visible(principal, rows["sale"])
        if _reads_foreign(principal, sale):
            now_us = epoch_us(self._clock.now())

            def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
                return Changes(None, [_read_act(caller, sale, "looked at", new_id, now_us)])

            await self._uow.run([], decide)
        return self._receipt(principal, sale)

    async def without_tokens(self, caller: Caller, receipt_number: str) -> Receipt:
        """Return an issued receipt whose tokens are masked, whoever asks.

        Raises:
            NotFound: ``receipt_unknown``.
        """
        rows = await self._uow.read([_sale_read(caller.principal, receipt_number)])
        sale = _visible(caller.principal, rows["sale"])
        return open_receipt(sale["receipt"], self._safe, is_masked=True)

    def _receipt(self, principal: Principal, sale: Row) -> Receipt:
        is_own = sale["principal_id"] == principal.id
        may_see = is_own or Right.TOKENS_ALL in principal.rights
        return open_receipt(sale["receipt"], self._safe, is_masked=not may_see)

    async def hand_out(self, caller: Caller, receipt_number: str, form: str) -> HandedOut:
        """Count one hand-out and return what may be printed for it.

        Args:
            caller: who prints.
            receipt_number: of an issued sale.
            form: one of :data:`FORMS`.

        Raises:
            NotFound: ``receipt_unknown``.
            NotAllowed: ``right_missing``: neither the seller nor of the office.
        """
        now_us = epoch_us(self._clock.now())
        principal = caller.principal

        def decide(rows: Rows, new_id: NewId) -> Changes[HandedOut]:
            sale = _visible(principal, rows["sale"])
            _check_hands_out(principal, sale)
            receipt = self._receipt(principal, sale)
            is_reprint = (
                receipt.format < COUNTED_SINCE_FORMAT
                or sale["principal_id"] != principal.id
                or any(row["form"] == form for row in rows["forms"])
            )
            row: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": principal.utility_id,
                "sale_row_id": sale["id"],
                "at_us": now_us,
                "principal_id": principal.id,
                "form": form,
            }
            steps = [Insert("receipt_print", row)]
            if _reads_foreign(principal, sale):
                steps.append(_read_act(caller, sale, f"handed out as {form}", new_id, now_us))
            return Changes(HandedOut(receipt, form, is_reprint, now_us), steps)

        return await self._uow.run(
            [
                _sale_read(principal, receipt_number),
                Read("receipt_forms", {"sale_row_id": From("sale", "id")}, "forms"),
            ],
            decide,
        )

    async def language(self, caller: Caller) -> str:
        """Return the language of the utility's receipts, for who asks for none."""
        of_utility: dict[str, SqlValue] = {"utility_id": caller.principal.utility_id}
        rows = await self._uow.read([Read("receipt_policy", of_utility, "policy")])
        policy = readable_policy(rows["policy"][0]["policy"])
        return DEFAULT if policy is None else policy.language

    async def prints(
        self, caller: Caller, receipt_number: str, *, after: int = 0, limit: int = LIST_ROWS
    ) -> Sequence[Row]:
        """Return hand-outs of a receipt, the oldest first; those after an id.

        Raises:
            NotFound: ``receipt_unknown``.
        """
        page: dict[str, SqlValue | From] = {"after": after, "limit": limit}
        prints = Read("receipt_prints", {"sale_row_id": From("sale", "id"), **page}, "prints")
        rows = await self._uow.read([_sale_read(caller.principal, receipt_number), prints])
        _visible(caller.principal, rows["sale"])
        return rows["prints"]


def _sale_read(principal: Principal, receipt_number: str) -> Read:
    params: dict[str, SqlValue] = {
        "utility_id": principal.utility_id,
        "receipt_number": receipt_number,
    }
    return Read("sale_by_receipt", params, "sale")


def _visible(principal: Principal, sales: Sequence[Row]) -> Row:
    for row in sales:
        is_own = row["principal_id"] == principal.id
        if row["receipt"] is not None and (is_own or Right.SALES_ALL in principal.rights):
            return row
    raise NotFound("receipt_unknown", "no receipt with this number is known here")


def _check_hands_out(principal: Principal, sale: Row) -> None:
    """Let nobody count a hand-out who only looks: the seller and the office serve customers."""
    sold_it = sale["principal_id"] == principal.id and Right.SELL in principal.rights
    if not sold_it and Right.ACCOUNTS_WRITE not in principal.rights:
        raise NotAllowed(
            "right_missing",
            f"only the seller, or who has the right {Right.ACCOUNTS_WRITE.value}, hands it out",
        )


def _reads_foreign(principal: Principal, sale: Row) -> bool:
    """Say whether somebody sees the tokens of a sale that is not theirs."""
    return sale["principal_id"] != principal.id and Right.TOKENS_ALL in principal.rights


def _read_act(caller: Caller, sale: Row, reason: str, new_id: NewId, now_us: int) -> Insert:
    return caller_act(
        caller,
        new_id,
        now_us,
        what="token.read",
        subject=sale["receipt_number"],
        reason=reason,
    )

"""Handing out receipts: one original of each form, and copies that say what they are.

Every hand-out is a row that is never changed. The seller's first of a form is the original. What
comes after it, what somebody else asks for, and what was sold before hand-outs were counted is a
copy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import NotAllowed, NotFound
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
    UnitOfWork,
)
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

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock

    async def receipt(self, caller: Caller, receipt_number: str) -> Receipt:
        """Return an issued receipt to look at: one's own, or any with the right to see all.

        Raises:
            NotFound: ``receipt_unknown``.
        """
        rows = await self._uow.read([_sale_read(caller.principal, receipt_number)])
        return _receipt(_visible(caller.principal, rows["sale"]))

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
            receipt = _receipt(sale)
            is_reprint = (
                receipt.format < COUNTED_SINCE_FORMAT
                or sale["principal_id"] != principal.id
                or any(row["form"] == form for row in rows["prints"])
            )
            row: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": principal.utility_id,
                "sale_row_id": sale["id"],
                "at_us": now_us,
                "principal_id": principal.id,
                "form": form,
            }
            made = HandedOut(receipt, form, is_reprint, now_us)
            return Changes(made, [Insert("receipt_print", row)])

        return await self._uow.run(_prints_reads(principal, receipt_number), decide)

    async def prints(self, caller: Caller, receipt_number: str) -> Sequence[Row]:
        """Return every hand-out of a receipt, the oldest first.

        Raises:
            NotFound: ``receipt_unknown``.
        """
        rows = await self._uow.read(_prints_reads(caller.principal, receipt_number))
        _visible(caller.principal, rows["sale"])
        return rows["prints"]


def _sale_read(principal: Principal, receipt_number: str) -> Read:
    params: dict[str, SqlValue] = {
        "utility_id": principal.utility_id,
        "receipt_number": receipt_number,
    }
    return Read("sale_by_receipt", params, "sale")


def _prints_reads(principal: Principal, receipt_number: str) -> list[Read]:
    prints = Read("receipt_prints", {"sale_row_id": From("sale", "id")}, "prints")
    return [_sale_read(principal, receipt_number), prints]


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


def _receipt(sale: Row) -> Receipt:
    return Receipt.from_dict(json.loads(sale["receipt"]))

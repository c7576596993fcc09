"""A sale for the wrong meter, made good: taken back, and sold to the right one for the same money.

Both happen in one unit of work, so that the money is never without a sale: if the right meter
cannot buy, nothing is taken back either. The new sale is priced for its own meter, now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from slotmeter.errors import Conflict, Refused
from slotmeter.ports import Caller, Changes, Clock, NewId, Read, Row, Rows, SqlValue, UnitOfWork
from slotmeter.services.operations import (
    Asked,
    Operation,
    Operations,
    done_before,
    operation_reads,
    operation_steps,
)
from slotmeter.services.reversal import (
    ReversalWish,
    reversal_operation,
    reversal_reads,
    reversal_steps,
)
from slotmeter.services.sale_begin import SaleBegin, SellRequest
from slotmeter.services.sale_issue import Begun
from slotmeter.services.sale_views import SaleView
from slotmeter.services.selling import Selling
from slotmeter.units import Money, epoch_us

__all__ = ["ReplacementWish", "Replacements"]

KIND: Final = "replacement"


@dataclass(frozen=True, slots=True)
class ReplacementWish:
    """What shall be made good.

    Args:
        receipt_number: of the sale for the wrong meter.
        meter: the right one.
        declared: who says that the wrong meter did not take the token; empty to rely on the meter.
    """

    receipt_number: str
    meter: str
    declared: str = ""

    def request(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return {
            "receipt_number": self.receipt_number,
            "meter": self.meter,
            "declared": self.declared,
        }


class Replacements:
    """The transaction boundary of replacing sales."""

    def __init__(self, uow: UnitOfWork, clock: Clock, selling: Selling) -> None:
        """Hold the database, the clock, and what makes sales."""
        self._uow = uow
        self._clock = clock
        self._selling = selling

    async def replace(self, asked: Asked, wish: ReplacementWish) -> tuple[Row, SaleView, bool]:
        """Replace a sale; return the operation, the new sale, and whether this call did it.

        Raises:
            Conflict: ``request_id_reused``, ``sale_id_reused`` and those of a reversal.
            NotFound, NotAllowed: of a reversal and of a sale.
            Refused: ``same_account``; those of a reversal and of a sale; nothing was written. Or
                ``token_cannot_be_made``: the old sale is taken back and the new one voided, so that
                the money is to be given back.
            Unavailable: ``token_not_made``: both are kept; send the same request again.
        """
        asked.check()
        now_us = epoch_us(self._clock.now())
        utility_id = asked.caller.principal.utility_id
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "receipt_number": wish.receipt_number,
        }
        known = (await self._uow.read([Read("sale_by_receipt", params, "sale")]))["sale"]
        request = _sell_request(wish, known)
        begin = self._selling.begin(_seller(asked.caller, known), request, now_us)

        def decide(rows: Rows, new_id: NewId) -> Changes[tuple[Begun, bool]]:
            return _decide(asked, wish, begin, rows, new_id, now_us)

        reads = [
            *operation_reads(asked),
            *reversal_reads(utility_id, wish.receipt_number),
            *begin.reads(),
        ]
        begun, is_new = await self._uow.run(reads, decide)
        view = await self._selling.finish(begun)
        return await Operations(self._uow).of_request(asked), view, is_new


def _seller(caller: Caller, known: Sequence[Row]) -> Caller:
    """Return who sells instead: the one who replaces, on the till where the money is."""
    if not known:
        return caller
    return replace(caller, principal=replace(caller.principal, branch_id=known[0]["branch_id"]))


def _sell_request(wish: ReplacementWish, known: Sequence[Row]) -> SellRequest:
    tendered = str(Money(known[0]["tender_minor"], known[0]["currency"])) if known else "0"
    channel = known[0]["channel"] if known else "till"
    return SellRequest(f"replace:{wish.receipt_number[:48]}", wish.meter, tendered, channel)


def _decide(
    asked: Asked,
    wish: ReplacementWish,
    begin: SaleBegin,
    rows: Rows,
    new_id: NewId,
    now_us: int,
) -> Changes[tuple[Begun, bool]]:
    if done_before(rows, KIND, wish.request()) is not None:
        return Changes((begin.decide(rows, new_id).result, False))
    reversal = ReversalWish(wish.receipt_number, wish.declared)
    taken = reversal_steps(asked, reversal, rows, new_id, now_us=now_us)
    if rows["known"]:
        raise Conflict("sale_id_reused", "this sale was replaced before", field="receipt_number")
    if rows["meter"] and rows["meter"][0]["account_id"] == taken.sale["account_id"]:
        raise Refused(
            "same_account",
            "the right meter is of the same account, whose prices count the sale that is to be "
            "taken back: take it back, then sell again",
            field="meter",
        )
    sold = begin.decide(_till_without(rows, taken.sale["tender_minor"]), new_id)
    operation = _operation(wish, reversal_operation(reversal, taken), sold.result)
    _, recorded = operation_steps(asked, operation, rows, new_id, at_us=now_us)
    return Changes((sold.result, True), [*taken.steps, *sold.steps, *recorded])


def _till_without(rows: Rows, minor: int) -> Rows:
    """Return the rows with the till as it will be when the old sale is taken back."""
    till = [{**row, "balance_minor": row["balance_minor"] - minor} for row in rows["till"]]
    return {**rows, "till": till}


def _operation(wish: ReplacementWish, reversal: Operation, begun: Begun) -> Operation:
    return replace(
        reversal,
        kind=KIND,
        request=wish.request(),
        detail={**reversal.detail, "new_meter": wish.meter, "new_units": begun.sale["units"]},
        new_sale_row_id=begun.sale["id"],
    )

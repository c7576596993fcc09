"""Giving a customer money back that the utility holds: kept from a purchase, or credit unused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from slotmeter.errors import Refused
from slotmeter.ports import Changes, Clock, From, NewId, Read, Row, Rows, UnitOfWork
from slotmeter.services.booking import Entry, accounts_read, posting_steps
from slotmeter.services.debt_making import account_read, unknown_account
from slotmeter.services.debt_terms import Books, positive_minor
from slotmeter.services.operations import (
    Asked,
    Operation,
    Operations,
    done_before,
    operation_reads,
    operation_steps,
)
from slotmeter.services.reversal import PAYERS
from slotmeter.units import Money, epoch_us
from slotmeter.vending.ledger import (
    BANK,
    Posting,
    advance_account,
    customer_account,
    till_account,
)

__all__ = ["HELD_AS", "RefundWish", "Refunds"]

KIND: Final = "refund"
HELD_AS: Final = ("kept", "credit")
"""Money kept for the next purchase, or credit that the platform holds for the customer."""


@dataclass(frozen=True, slots=True)
class RefundWish:
    """What shall be given back.

    Args:
        account: number of the customer's account.
        amount: major units.
        held_as: one of :data:`HELD_AS`.
        paid_by: out of the till of the branch of who does it, or by the bank.
    """

    account: str
    amount: str
    held_as: str = HELD_AS[0]
    paid_by: str = PAYERS[0]

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            Refused: ``bad_held_as`` or ``bad_payer``.
        """
        if self.held_as not in HELD_AS:
            raise Refused("bad_held_as", f"expected one of {', '.join(HELD_AS)}", field="held_as")
        if self.paid_by not in PAYERS:
            raise Refused("bad_payer", f"expected one of {', '.join(PAYERS)}", field="paid_by")

    @property
    def code(self) -> str:
        """The ledger account that holds the money."""
        of = advance_account if self.held_as == HELD_AS[0] else customer_account
        return of(self.account)


class Refunds:
    """The transaction boundary of refunds."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def refund(self, asked: Asked, wish: RefundWish) -> tuple[Row, bool]:
        """Give money back; return the operation, and whether this call did it.

        Raises:
            NotFound: ``account_unknown``.
            Conflict: ``request_id_reused``.
            Refused: ``not_so_much_held``, ``bad_held_as``, ``bad_payer`` and what an amount is
                refused for.
        """
        asked.check()
        wish.check()
        principal = asked.caller.principal
        books = Books.of(principal)
        minor = positive_minor(wish.amount, books.currency, "amount")
        now_us = epoch_us(self._clock.now())
        request: dict[str, Any] = {
            "account": wish.account,
            "amount_minor": minor,
            "held_as": wish.held_as,
            "paid_by": wish.paid_by,
        }

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            if done_before(rows, KIND, request) is not None:
                return Changes(False)
            if not rows["account"]:
                raise unknown_account(wish.account)
            accounts = {row["code"]: row for row in rows["ledger_accounts"]}
            _check_held(wish, accounts.get(wish.code), rows, minor, books)
            till = till_account(rows["branch"][0]["code"])
            payer = till if wish.paid_by == PAYERS[0] else BANK
            entry = Entry(
                utility_id=books.utility_id,
                kind=KIND,
                at_us=now_us,
                currency=books.currency,
                postings=(Posting(wish.code, minor), Posting(payer, -minor)),
                reason=asked.reason,
                principal_id=principal.id,
            )
            known = [*accounts.values(), *rows["till"]]
            operation = Operation(
                kind=KIND,
                request=request,
                subject=None,
                amount_minor=minor,
                currency=books.currency,
                detail={"held_as": wish.held_as, "paid_by": wish.paid_by},
                branch_id=principal.branch_id if payer == till else None,
                account_id=rows["account"][0]["id"],
            )
            _, recorded = operation_steps(asked, operation, rows, new_id, at_us=now_us)
            return Changes(True, [*posting_steps(entry, known, new_id), *recorded])

        reads = [
            *operation_reads(asked),
            account_read(books, wish.account, "account"),
            Read("kept_spoken_for", {"account_id": From("account", "id")}),
            accounts_read(books.utility_id, [wish.code, BANK]),
            Read("branch", {"id": principal.branch_id}),
            Read("till_of_branch", {"branch_id": principal.branch_id}, "till"),
        ]
        is_new = await self._uow.run(reads, decide)
        return await Operations(self._uow).of_request(asked), is_new


def _check_held(wish: RefundWish, row: Row | None, rows: Rows, minor: int, books: Books) -> None:
    held = 0 if row is None else -row["balance_minor"]
    if wish.held_as == HELD_AS[0]:
        held += rows["kept_spoken_for"][0]["minor"]
    if minor > held:
        left = Money(max(0, held), books.currency)
        raise Refused(
            "not_so_much_held",
            f"account {wish.account} has {left} {left.currency} {wish.held_as}",
            field="amount",
            details={"held": str(left)},
        )

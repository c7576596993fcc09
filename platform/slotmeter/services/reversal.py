"""A sale taken back, purely: every posting turned round, and all that it took given back.

Nothing is deleted: the sale stays with its receipt and its journal, and the journal beside it takes
it back. What a later purchase counts (block counters, monthly charges, free units, instalments of
debts) is as if the sale had never been. Its tokens are withdrawn: a keypad cannot be told, so that
they are watched, and an alarm says if one of them turns up in a meter after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from slotmeter.devices.commands import CommandState
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    From,
    NewId,
    Read,
    Reads,
    Right,
    Row,
    Rows,
    SqlValue,
    Step,
    Then,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin
from slotmeter.services.booking import Entry, accounts_read, posting_steps
from slotmeter.services.command_rows import LEASE_US, change
from slotmeter.services.debt_making import log_step as debt_log_step
from slotmeter.services.debt_terms import Books
from slotmeter.services.events import Event, event_step
from slotmeter.services.operations import (
    Asked,
    Operation,
    Operations,
    check_right,
    done_before,
    operation_reads,
    operation_steps,
)
from slotmeter.services.sale_issue import Begun
from slotmeter.services.sale_void import charges_given_back, resting_on, void_reads
from slotmeter.units import Money, epoch_us
from slotmeter.vending.ledger import (
    BANK,
    Posting,
    advance_account,
    customer_account,
    merge,
    till_account,
)

__all__ = [
    "PAYERS",
    "ReversalWish",
    "Reversals",
    "reversal_operation",
    "reversal_reads",
    "reversal_steps",
]

KIND: Final = "reversal"
PAYERS: Final = ("till", "bank")
"""Who gives the money back: the seller out of the till, or the utility by transfer."""

_ON_ITS_WAY: Final = (CommandState.SENT, CommandState.ACKNOWLEDGED)
_WAITING: Final = ("pending", "sent")
_FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class ReversalWish:
    """What shall be taken back.

    Args:
        receipt_number: of the sale.
        declared: who says that the token was not used, and how; empty to rely on the meter alone.
        paid_by: one of :data:`PAYERS`.
    """

    receipt_number: str
    declared: str = ""
    paid_by: str = PAYERS[0]

    def request(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return {
            "receipt_number": self.receipt_number,
            "declared": self.declared,
            "paid_by": self.paid_by,
        }

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            Refused: ``bad_payer``.
        """
        if self.paid_by not in PAYERS:
            raise Refused("bad_payer", f"expected one of {', '.join(PAYERS)}", field="paid_by")


def reversal_reads(utility_id: int, receipt_number: str) -> Reads:
    """Return what :func:`reversal_steps` needs to know of a sale."""
    params: dict[str, SqlValue] = {"utility_id": utility_id, "receipt_number": receipt_number}
    of_sale = {"sale_row_id": From("corrected", "id")}
    return [
        Read("sale_by_receipt", params, "corrected"),
        Read("tokens_of_sale", of_sale, "corrected_tokens"),
        Read("tokens_to_correct", of_sale),
        Read("debts_of_sale", of_sale, "corrected_debts"),
        Read("postings_of_sale", of_sale),
        Read(
            "control_pending",
            {"utility_id": utility_id, "meter_id": From("corrected", "meter_id")},
            "corrected_commands",
        ),
        Read("correction_device", {"meter_id": From("corrected", "meter_id")}),
        Read("correction_sent", {**of_sale, "meter_id": From("corrected", "meter_id")}),
        Read(
            "correction_later",
            {
                "supply_point_id": From("corrected", "supply_point_id"),
                "after_id": From("corrected", "id"),
            },
        ),
        Read("kept_spoken_for", {"account_id": From("corrected", "account_id")}),
        accounts_read(utility_id, [BANK], "payer_accounts"),
        Then(_charge_reads),
    ]


def _charge_reads(rows: Rows) -> Sequence[Read]:
    """Return what giving charges back needs, under names of its own."""
    if not rows["corrected"]:
        return []
    return [
        Read(read.statement, read.params, f"corrected_{read.key or read.statement}")
        for read in void_reads(_begun(rows))
    ]


def _begun(rows: Rows) -> Begun:
    debt_ids = [row["debt_id"] for row in rows["corrected_debts"]]
    return Begun.stored(rows["corrected"][0], rows["corrected_tokens"], debt_ids)


@dataclass(frozen=True, slots=True)
class Taken:
    """What is written to take a sale back, and how it is known that its tokens were not used."""

    sale: Row
    evidence: str
    postings: tuple[Posting, ...]
    steps: tuple[Step, ...]


def reversal_steps(
    asked: Asked, wish: ReversalWish, rows: Rows, new_id: NewId, *, now_us: int
) -> Taken:
    """Decide how a sale is taken back.

    Raises:
        NotFound: ``receipt_unknown``.
        NotAllowed: ``right_missing`` for a declaration without the right to take one.
        Conflict: ``sale_pending``, ``delivery_running``.
        Refused: ``reversed_already``, ``sale_voided``, ``nothing_was_paid``, ``token_used``,
            ``token_maybe_used``, ``later_sale_rests_on_it``, ``kept_money_used``, ``credit_used``.
    """
    sale = _found(rows, wish.receipt_number)
    _check_later(rows)
    evidence = _unused(asked, wish, sale, rows)
    postings = _turned_round(rows, till_account(sale["branch_code"]), sale, wish.paid_by)
    _check_left(sale, rows, postings)
    entry = Entry(
        utility_id=sale["utility_id"],
        kind="sale_reversal",
        at_us=now_us,
        currency=sale["currency"],
        postings=postings,
        reason=asked.reason,
        sale_row_id=sale["id"],
        principal_id=asked.caller.principal.id,
    )
    delivery = _FAILED if sale["delivery"] in _WAITING else sale["delivery"]
    steps: list[Step] = [
        *posting_steps(entry, [*rows["postings_of_sale"], *rows["payer_accounts"]], new_id),
        Update(
            "sale_reverse",
            {
                "sale_row_id": sale["id"],
                "old_delivery": sale["delivery"],
                "new_delivery": delivery,
            },
        ),
        *(Update("token_withdraw", {"token_id": row["id"]}) for row in rows["tokens_to_correct"]),
        Update("free_unclaim", {"of_sale_row": sale["id"]}, rows=None),
        *charges_given_back(_begun(rows), _charge_rows(rows)),
        *_debts_reopened(asked, sale, rows, new_id, now_us),
        *_recalled(rows, sale, new_id, now_us),
        event_step(_reversed_event(asked, sale, now_us), new_id),
    ]
    return Taken(sale, evidence, postings, tuple(steps))


def _found(rows: Rows, receipt_number: str) -> Row:
    if not rows["corrected"]:
        raise NotFound(
            "receipt_unknown",
            f"no receipt {receipt_number[:32]!r} is known here",
            field="receipt_number",
        )
    sale = rows["corrected"][0]
    if sale["state"] == "pending":
        raise Conflict("sale_pending", "this sale is still being made; try again in a minute")
    if sale["state"] == "reversed":
        raise Refused("reversed_already", "this sale was taken back before", field="receipt_number")
    if sale["state"] == "voided":
        raise Refused("sale_voided", "nothing was sold with this number", field="receipt_number")
    if not sale["tender_minor"]:
        raise Refused(
            "nothing_was_paid",
            "this sale only gave free units; there is no money to give back",
            field="receipt_number",
        )
    return sale


def _check_later(rows: Rows) -> None:
    sale = rows["corrected"][0]
    found = resting_on(sale, rows["correction_later"])
    if found is not None:
        later, how = found
        raise Refused(
            "later_sale_rests_on_it",
            f"sale {later} {how}; take {later} back first",
            field="receipt_number",
        )


def _unused(asked: Asked, wish: ReversalWish, sale: Row, rows: Rows) -> str:
    """Return how it is known that no token of a sale was used: none, ledger, meter or declared."""
    if sale["credit_mode"] == "platform":
        return "ledger"
    tokens = rows["tokens_to_correct"]
    if any(row["accepted_us"] is not None or row["state"] != "issued" for row in tokens):
        raise Refused(
            "token_used",
            "the meter has taken a token of this sale; its credit cannot be taken back",
            field="receipt_number",
        )
    running = [
        row
        for row in rows["corrected_commands"]
        if row["sale_row_id"] == sale["id"] and row["state"] in _ON_ITS_WAY
    ]
    if running:
        raise Conflict(
            "delivery_running",
            "the token is on its way to the meter; wait until its delivery has ended",
        )
    if not tokens:
        return "none"
    if _meter_tells(rows):
        return "meter"
    if not wish.declared.strip():
        raise Refused(
            "token_maybe_used",
            "no report of the meter shows that the token was not used; say who declares it",
            field="declared",
        )
    check_right(asked.caller, Right.SALE_CORRECT, "a declaration is taken in place of a report")
    return "declared"


def _meter_tells(rows: Rows) -> bool:
    """Say whether the meter has reported since, and everything it was credited is explained.

    What was handed out and not answered may have been taken: only a report that was made after that
    tells, and one that came while it was on its way may be older.
    """
    if not rows["correction_device"]:
        return False
    device = rows["correction_device"][0]
    total = device["credit_total"]
    since_us = max(row["issued_us"] for row in rows["tokens_to_correct"])
    sent_us = rows["correction_sent"][0]["sent_us"]
    if sent_us is not None:
        since_us = max(since_us, sent_us + LEASE_US)
    return (
        total is not None
        and total == device["credit_proven"]
        and device["received_us"] is not None
        and device["received_us"] > since_us
    )


def _turned_round(rows: Rows, till: str, sale: Row, paid_by: str) -> tuple[Posting, ...]:
    postings = [Posting(row["code"], -row["amount_minor"]) for row in rows["postings_of_sale"]]
    if paid_by == "bank":
        tender = sale["tender_minor"]
        postings += [Posting(till, tender), Posting(BANK, -tender)]
    return merge(postings)


def _check_left(sale: Row, rows: Rows, postings: Sequence[Posting]) -> None:
    """Refuse to take back money that was kept or credited, and then used."""
    account = rows["postings_of_sale"]
    balances = {row["code"]: row["balance_minor"] for row in account}
    spoken_for = rows["kept_spoken_for"][0]["minor"]
    for posting in postings:
        family = posting.account.partition(":")[0]
        after = balances.get(posting.account, 0) + posting.amount_minor
        if family == advance_account("").rstrip(":") and after - spoken_for > 0:
            raise Refused(
                "kept_money_used",
                "a later purchase used the money that this sale kept; take that one back first",
                field="receipt_number",
            )
        if family == customer_account("").rstrip(":") and after > 0:
            missing = Money(after, sale["currency"])
            raise Refused(
                "credit_used",
                f"{missing} {missing.currency} of the credit was used already",
                field="receipt_number",
                details={"missing": str(missing)},
            )


def _charge_rows(rows: Rows) -> Rows:
    """Return the rows of :func:`_charge_reads` under the names that they have elsewhere."""
    prefix = "corrected_"
    return {
        key.removeprefix(prefix): found for key, found in rows.items() if key.startswith(prefix)
    }


def _debts_reopened(asked: Asked, sale: Row, rows: Rows, new_id: NewId, now_us: int) -> list[Step]:
    books = Books.of(asked.caller.principal)
    steps: list[Step] = []
    for row in rows["corrected_debts"]:
        detail = {"receipt_number": sale["receipt_number"], "reason": asked.reason}
        steps += [
            Update("debt_reopen", {"debt_id": row["debt_id"]}, rows=None),
            debt_log_step(
                new_id,
                row["debt_id"],
                books,
                Origin.of(asked.caller),
                now_us,
                "payment_taken_back",
                detail,
            ),
        ]
    return steps


def _recalled(rows: Rows, sale: Row, new_id: NewId, now_us: int) -> list[Step]:
    """Return what ends the deliveries that have not begun."""
    why = f"sale {sale['receipt_number']} was taken back"
    return [
        step
        for row in rows["corrected_commands"]
        if row["sale_row_id"] == sale["id"]
        for step in change(row, CommandState.SUPERSEDED, why, now_us=now_us, new_id=new_id)[1]
    ]


def _reversed_event(asked: Asked, sale: Row, now_us: int) -> Event:
    tendered = Money(sale["tender_minor"], sale["currency"])
    return Event(
        utility_id=sale["utility_id"],
        at_us=now_us,
        kind="sale_reversed",
        severity="warning",
        text=f"Sale {sale['receipt_number']} of {tendered.currency} {tendered} was taken back",
        meter_id=sale["meter_id"],
        principal_id=sale["principal_id"],
        data={
            "receipt_number": sale["receipt_number"],
            "meter": sale["meter_number"],
            "by": asked.caller.principal.name,
        },
    )


class Reversals:
    """The transaction boundary of taking sales back."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def reverse(self, asked: Asked, wish: ReversalWish) -> tuple[Row, bool]:
        """Take a sale back; return the operation, and whether this call did it.

        Raises:
            Conflict: ``request_id_reused``, ``sale_pending``, ``delivery_running``.
            NotFound, NotAllowed, Refused: see :func:`reversal_steps`, and what is malformed.
        """
        asked.check()
        wish.check()
        now_us = epoch_us(self._clock.now())
        request = wish.request()

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            if done_before(rows, KIND, request) is not None:
                return Changes(False)
            taken = reversal_steps(asked, wish, rows, new_id, now_us=now_us)
            operation = reversal_operation(wish, taken)
            _, steps = operation_steps(asked, operation, rows, new_id, at_us=now_us)
            return Changes(True, [*taken.steps, *steps])

        utility_id = asked.caller.principal.utility_id
        reads = [*operation_reads(asked), *reversal_reads(utility_id, wish.receipt_number)]
        is_new = await self._uow.run(reads, decide)
        return await Operations(self._uow).of_request(asked), is_new


def reversal_operation(wish: ReversalWish, taken: Taken) -> Operation:
    """Return the operation that took a sale back."""
    sale = taken.sale
    return Operation(
        kind=KIND,
        request=wish.request(),
        subject=sale["receipt_number"],
        amount_minor=sale["tender_minor"],
        currency=sale["currency"],
        detail={
            "evidence": taken.evidence,
            "declared": wish.declared,
            "paid_by": wish.paid_by,
            "meter": sale["meter_number"],
            "units": sale["units"],
            "postings": [[each.account, each.amount_minor] for each in taken.postings],
        },
        branch_id=sale["branch_id"],
        account_id=sale["account_id"],
        sale_row_id=sale["id"],
    )

"""The second commit of a sale, purely: tokens, receipt, entry and commands."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from slotmeter.devices.commands import CommandKind
from slotmeter.ports import (
    Changes,
    NewId,
    Read,
    Row,
    Rows,
    SealedDigits,
    Step,
    Update,
)
from slotmeter.services.booking import Entry, accounts_found, accounts_reads, posting_steps
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.commission import commission_of_sale
from slotmeter.services.control import Order, Target, queue_steps
from slotmeter.services.debt_states import close_steps
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.services.key_change_steps import KEY_CHANGE
from slotmeter.services.sold_tokens import CREDIT, FREE
from slotmeter.services.training import MARK
from slotmeter.units import Commodity, Money
from slotmeter.vending.ledger import Posting, commission_account, till_account
from slotmeter.vending.sales import sale_postings

__all__ = ["Begun", "Made", "issue_sale", "supply_touched"]


@dataclass(frozen=True, slots=True)
class Made:
    """The row of a token with its digits in clear and sealed, and its kind (IEC 62055-41)."""

    row: Row
    token_class: int
    subclass: int
    sealed: SealedDigits


@dataclass(frozen=True, slots=True)
class Begun:
    """What the first commit of a sale left, as values.

    Args:
        sale: the row of the sale, as the reads ``sale_by_...`` give it.
        tokens: rows of the read ``tokens_of_sale``.
        lines: of the price, as stored.
        said: what the receipt prints beside them, as stored.
        debt_ids: the debts that it repays.
        postings: what books it.
    """

    sale: Row
    tokens: Sequence[Row]
    lines: Sequence[Mapping[str, Any]]
    said: Mapping[str, Any]
    debt_ids: Sequence[int]
    postings: tuple[Posting, ...]

    @classmethod
    def of(
        cls,
        sale: Row,
        tokens: Sequence[Row],
        debt_ids: Sequence[int],
        lines: Sequence[Mapping[str, Any]],
        said: Mapping[str, Any],
    ) -> Self:
        """Join the parts."""
        amounts = ((line["account"], line["amount_minor"]) for line in lines)
        postings = sale_postings(sale["branch_code"], sale["tender_minor"], amounts)
        return cls(sale, tokens, lines, said, debt_ids, postings)

    @classmethod
    def stored(cls, sale: Row, tokens: Sequence[Row], debt_ids: Sequence[int]) -> Self:
        """Read them from a row of the database."""
        lines, said = json.loads(sale["priced"]), json.loads(sale["particulars"])
        return cls.of(sale, tokens, debt_ids, lines, said)

    def reads(self) -> list[Read]:
        """Return what the second commit needs to know."""
        sale = self.sale
        codes = [posting.account for posting in self.postings]
        codes.append(commission_account(sale["branch_code"]))
        # Plans begin at once or later, never before: whenever this is read, it says the same.
        plan = {"branch_id": sale["branch_id"], "now_us": sale["sold_us"]}
        return [
            *accounts_reads(sale["utility_id"], codes),
            Read("commission_in_force", plan, "commission"),
        ]

    def apart(self, rows: Rows) -> list[Hashable]:
        """Return what the second commit has in common with few others; see ``ports.Apart``.

        A ledger account that is not there yet is opened by the first that books on it.
        """
        known = {row["code"] for row in accounts_found(rows)}
        booked = [*self.postings, *self.commission(rows)]
        opened = [posting.account for posting in booked if posting.account not in known]
        return [*supply_touched(self.sale), *(("ledger", code) for code in opened)]

    def commission(self, rows: Rows) -> tuple[Posting, ...]:
        """Return what books the seller's commission, where it is booked with each sale."""
        return tuple(commission_of_sale(self.sale, rows["commission"]))


def supply_touched(row: Row) -> list[Hashable]:
    """Return the meter, the account and the supply point that a sale hangs on; see ``Apart``."""
    names = ("meter_id", "account_id", "supply_point_id")
    return [(name, row[name]) for name in names if row[name] is not None]


def _deliver(sale: Row, tokens: Sequence[Row], new_id: NewId, now_us: int) -> list[Step]:
    target = Target(
        sale["utility_id"], sale["meter_id"], sale["device_id"], Commodity(sale["commodity"])
    )
    steps: list[Step] = []
    for token in tokens:
        order = Order(
            CommandKind.LOAD_TOKEN,
            CommandCause.SALE,
            f"sale {sale['receipt_number']}",
            principal_id=sale["principal_id"],
            token_id=token["id"],
            # A set that the meter has taken already is refused, which says nothing of the credit.
            sale_row_id=None if token["purpose"] == KEY_CHANGE else sale["id"],
        )
        steps += queue_steps(order, target, pending=(), now_us=now_us, new_id=new_id).steps
    return steps


def _sold_event(begun: Begun, new_id: NewId, now_us: int) -> Step:
    sale = begun.sale
    tendered = Money(sale["tender_minor"], sale["currency"])
    data = {
        "receipt_number": sale["receipt_number"],
        "meter": sale["meter_number"],
        "tendered": str(tendered),
        "delivery": sale["delivery"],
    }
    practice = "TRAINING: " if begun.said.get("mark") == MARK else ""
    text = f"{practice}Sold {tendered.currency} {tendered} for meter {sale['meter_number']}"
    if not tendered.minor:
        text = f"{practice}Gave free units for meter {sale['meter_number']}"
    event = Event(
        utility_id=sale["utility_id"],
        at_us=now_us,
        kind="sale",
        text=text,
        meter_id=sale["meter_id"],
        principal_id=sale["principal_id"],
        data=data,
    )
    return event_step(event, new_id)


def _receipt(begun: Begun, tokens: Sequence[Made]) -> dict[str, Any]:
    """Return the receipt as it is stored, with sealed tokens; ``open_receipt`` reads it."""
    sale, said = begun.sale, begun.said
    paid = next((each for each in tokens if each.row["purpose"] == CREDIT), None)
    body = {
        **{name: value for name, value in said.items() if name != KEY_CHANGE},
        "receipt_number": sale["receipt_number"],
        "sale_id": sale["sale_id"],
        "sold_us": sale["sold_us"],
        "channel": sale["channel"],
        "currency": sale["currency"],
        "tendered_minor": sale["tender_minor"],
        "lines": begun.lines,
        "quantity": sale["units"],
        "token": None if paid is None else paid.sealed.text,
    }
    if "format" in said and tokens:
        free = iter(said.get("free", ()))
        body["tokens"] = [
            _receipt_token(sale, made, next(free) if made.row["purpose"] == FREE else {})
            for made in tokens
        ]
    return body


def _receipt_token(sale: Row, made: Made, free: Mapping[str, Any]) -> dict[str, Any]:
    token = made.row
    is_credit = token["purpose"] != KEY_CHANGE
    money = sale["transfer_minor"] if is_credit and token["purpose"] != FREE else None
    return {
        "purpose": token["purpose"],
        "digits": made.sealed.text,
        "quantity": token["amount"] if is_credit and money is None else None,
        "minor": money,
        "label": free.get("label", ""),
        "period": free.get("period"),
        "token_class": made.token_class,
        "subclass": made.subclass,
    }


def _token_steps(tokens: Sequence[Made], now_us: int) -> list[Step]:
    return [
        Update(
            "token_issue",
            {
                "token_id": made.row["id"],
                "new_digits": made.sealed.text,
                "new_index": made.sealed.index,
                "at_us": now_us,
            },
        )
        for made in tokens
    ]


def _entry_steps(begun: Begun, rows: Rows, new_id: NewId, now_us: int) -> list[Step]:
    """Return what books a sale; one that only gave free units moves no money."""
    if not begun.postings:
        return []
    sale = begun.sale
    entry = Entry(
        utility_id=sale["utility_id"],
        kind="sale",
        at_us=now_us,
        currency=sale["currency"],
        postings=begun.postings,
        reason=f"sale {sale['receipt_number']}",
        sale_row_id=sale["id"],
        principal_id=sale["principal_id"],
    )
    accounts = accounts_found(rows)
    till = till_account(sale["branch_code"])
    till_id = next(row["id"] for row in accounts if row["code"] == till)
    released = {"ledger_account_id": till_id, "amount": -sale["tender_minor"]}
    return [
        *posting_steps(entry, accounts, new_id),
        *_commission_steps(entry, begun, rows, new_id),
        *close_steps(begun.debt_ids),
        Update("ledger_reserve", released),
    ]


def _commission_steps(entry: Entry, begun: Begun, rows: Rows, new_id: NewId) -> list[Step]:
    postings = begun.commission(rows)
    if not postings:
        return []
    own = replace(entry, kind="commission", postings=postings)
    return posting_steps(own, accounts_found(rows), new_id)


def issue_sale(
    begun: Begun, tokens: Sequence[Made], rows: Rows, new_id: NewId, *, now_us: int
) -> Changes[Row]:
    """Decide the second commit: tokens, receipt, postings and, for a meter within reach, commands.

    Nothing is priced again: everything comes from what the first commit stored. The result is the
    sale with its ``tokens``.

    Args:
        begun: the sale.
        tokens: its tokens with their digits.
        rows: of :meth:`Begun.reads`.
        new_id: the unit's source of ids.
        now_us: our clock.
    """
    sale = begun.sale
    receipt = compact_json(_receipt(begun, tokens))
    steps: list[Step] = [
        Update(
            "sale_issue",
            {
                "sale_row_id": sale["id"],
                "new_receipt": receipt,
                "at_us": now_us,
                "new_delivery": sale["delivery"],
            },
        ),
        *_token_steps(tokens, now_us),
        *_entry_steps(begun, rows, new_id, now_us),
    ]
    issued_tokens = [made.row for made in tokens]
    if sale["device_id"] is not None:
        steps += _deliver(sale, issued_tokens, new_id, now_us)
    steps.append(_sold_event(begun, new_id, now_us))
    issued = {**sale, "state": "issued", "receipt": receipt, "issued_us": now_us}
    return Changes({**issued, "tokens": issued_tokens}, steps)

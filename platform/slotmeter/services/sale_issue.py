"""The second commit of a sale, purely: token, receipt, entry and command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from slotmeter.devices.commands import CommandKind
from slotmeter.ports import (
    Changes,
    NewId,
    Read,
    Row,
    Rows,
    Step,
    Update,
)
from slotmeter.services.booking import Entry, accounts_read, posting_steps
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.control import Order, Target, queue_steps
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.units import Commodity, Money
from slotmeter.vending.ledger import Posting, till_account
from slotmeter.vending.receipts import Receipt, ReceiptLine
from slotmeter.vending.sales import (
    sale_postings,
)

__all__ = ["issue_reads", "issue_sale"]


@lru_cache(maxsize=256)
def _stored_lines(priced: str) -> tuple[ReceiptLine, ...]:
    return tuple(ReceiptLine(**line) for line in json.loads(priced))


def _lines(sale: Row) -> tuple[ReceiptLine, ...]:
    return _stored_lines(sale["priced"])


def _postings(sale: Row) -> tuple[Posting, ...]:
    return sale_postings(sale["branch_code"], sale["tender_minor"], _lines(sale))


def issue_reads(sale: Row) -> list[Read]:
    """Return what the second commit needs to know."""
    codes = [posting.account for posting in _postings(sale)]
    return [accounts_read(sale["utility_id"], codes, "accounts")]


def _deliver(sale: Row, new_id: NewId, now_us: int) -> Sequence[Step]:
    order = Order(
        CommandKind.LOAD_TOKEN,
        CommandCause.SALE,
        f"sale {sale['receipt_number']}",
        principal_id=sale["principal_id"],
        token_id=sale["token_id"],
        sale_row_id=sale["id"],
    )
    target = Target(
        sale["utility_id"], sale["meter_id"], sale["device_id"], Commodity(sale["commodity"])
    )
    return queue_steps(order, target, pending=(), now_us=now_us, new_id=new_id).steps


def _sold_event(sale: Row, new_id: NewId, now_us: int) -> Step:
    tendered = Money(sale["tender_minor"], sale["currency"])
    data = {
        "receipt_number": sale["receipt_number"],
        "meter": sale["meter_number"],
        "tendered": str(tendered),
        "delivery": sale["delivery"],
    }
    event = Event(
        utility_id=sale["utility_id"],
        at_us=now_us,
        kind="sale",
        text=f"Sold {tendered.currency} {tendered} for meter {sale['meter_number']}",
        meter_id=sale["meter_id"],
        principal_id=sale["principal_id"],
        data=data,
    )
    return event_step(event, new_id)


def _receipt(sale: Row, digits: str | None) -> Receipt:
    return Receipt(
        receipt_number=sale["receipt_number"],
        sale_id=sale["sale_id"],
        sold_us=sale["sold_us"],
        channel=sale["channel"],
        currency=sale["currency"],
        tendered_minor=sale["tender_minor"],
        lines=_lines(sale),
        quantity=sale["units"],
        token=digits,
        **json.loads(sale["particulars"]),
    )


def issue_sale(
    sale: Row, digits: str | None, rows: Rows, new_id: NewId, *, now_us: int
) -> Changes[Row]:
    """Decide the second commit: token, receipt, postings and, if the meter is reachable, a command.

    Nothing is priced again: everything comes from what the first commit stored.
    """
    receipt = compact_json(_receipt(sale, digits).to_dict())
    steps: list[Step] = [
        Update(
            "sale_issue",
            {
                "sale_row_id": sale["id"],
                "new_receipt": receipt,
                "at_us": now_us,
                "new_delivery": sale["delivery"],
            },
        )
    ]
    if digits is not None:
        params = {"token_id": sale["token_id"], "new_digits": digits, "at_us": now_us}
        steps.append(Update("token_issue", params))
    entry = Entry(
        utility_id=sale["utility_id"],
        kind="sale",
        at_us=now_us,
        currency=sale["currency"],
        postings=_postings(sale),
        reason=f"sale {sale['receipt_number']}",
        sale_row_id=sale["id"],
        principal_id=sale["principal_id"],
    )
    steps.extend(posting_steps(entry, rows["accounts"], new_id))
    till = till_account(sale["branch_code"])
    till_id = next(row["id"] for row in rows["accounts"] if row["code"] == till)
    steps.append(
        Update("ledger_reserve", {"ledger_account_id": till_id, "amount": -sale["tender_minor"]})
    )
    if digits is not None and sale["device_id"] is not None:
        steps.extend(_deliver(sale, new_id, now_us))
    steps.append(_sold_event(sale, new_id, now_us))
    issued = {**sale, "state": "issued", "receipt": receipt, "issued_us": now_us}
    return Changes({**issued, "token_digits": digits}, steps)

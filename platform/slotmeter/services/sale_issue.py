"""The second commit of a sale, purely: tokens, receipt, entry and commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

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
from slotmeter.services.booking import Entry, accounts_found, accounts_reads, posting_steps
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.control import Order, Target, queue_steps
from slotmeter.services.debt_states import close_steps
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.services.sold_tokens import FREE, paid_token
from slotmeter.units import Commodity, Money
from slotmeter.vending.ledger import Posting, till_account
from slotmeter.vending.sales import sale_postings
from slotmeter.vending.sts import TokenRequest

__all__ = ["issue_reads", "issue_sale"]


@lru_cache(maxsize=256)
def _stored_lines(priced: str) -> list[dict[str, Any]]:
    """Read the lines of a sale, which nobody changes: both commits need them, one after another."""
    lines: list[dict[str, Any]] = json.loads(priced)
    return lines


def _postings(sale: Row) -> tuple[Posting, ...]:
    lines = ((line["account"], line["amount_minor"]) for line in _stored_lines(sale["priced"]))
    return sale_postings(sale["branch_code"], sale["tender_minor"], lines)


def issue_reads(sale: Row) -> list[Read]:
    """Return what the second commit needs to know."""
    codes = [posting.account for posting in _postings(sale)]
    return accounts_reads(sale["utility_id"], codes)


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
            sale_row_id=sale["id"],
        )
        steps += queue_steps(order, target, pending=(), now_us=now_us, new_id=new_id).steps
    return steps


def _sold_event(sale: Row, new_id: NewId, now_us: int) -> Step:
    tendered = Money(sale["tender_minor"], sale["currency"])
    data = {
        "receipt_number": sale["receipt_number"],
        "meter": sale["meter_number"],
        "tendered": str(tendered),
        "delivery": sale["delivery"],
    }
    text = f"Sold {tendered.currency} {tendered} for meter {sale['meter_number']}"
    if not tendered.minor:
        text = f"Gave free units for meter {sale['meter_number']}"
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


def _receipt(sale: Row, tokens: Sequence[Row]) -> dict[str, Any]:
    """Return the receipt as it is stored; ``Receipt.from_dict`` reads it."""
    said = json.loads(sale["particulars"])
    paid = paid_token(tokens)
    body = {
        **said,
        "receipt_number": sale["receipt_number"],
        "sale_id": sale["sale_id"],
        "sold_us": sale["sold_us"],
        "channel": sale["channel"],
        "currency": sale["currency"],
        "tendered_minor": sale["tender_minor"],
        "lines": _stored_lines(sale["priced"]),
        "quantity": sale["units"],
        "token": None if paid is None else paid["digits"],
    }
    if "format" in said and tokens:
        free = iter(said.get("free", ()))
        body["tokens"] = [
            _receipt_token(sale, token, next(free) if token["purpose"] == FREE else {})
            for token in tokens
        ]
    return body


def _receipt_token(sale: Row, token: Row, free: dict[str, Any]) -> dict[str, Any]:
    request = TokenRequest.from_dict(json.loads(token["request"]))
    money = sale["transfer_minor"] if token["purpose"] != FREE else None
    return {
        "purpose": token["purpose"],
        "digits": token["digits"],
        "quantity": token["amount"] if money is None else None,
        "minor": money,
        "label": free.get("label", ""),
        "period": free.get("period"),
        "token_class": request.token_class,
        "subclass": request.subclass,
    }


def _token_steps(tokens: Sequence[Row], now_us: int) -> list[Step]:
    return [
        Update(
            "token_issue",
            {"token_id": token["id"], "new_digits": token["digits"], "at_us": now_us},
        )
        for token in tokens
    ]


def _entry_steps(sale: Row, rows: Rows, new_id: NewId, now_us: int) -> list[Step]:
    """Return what books a sale; one that only gave free units moves no money."""
    postings = _postings(sale)
    if not postings:
        return []
    entry = Entry(
        utility_id=sale["utility_id"],
        kind="sale",
        at_us=now_us,
        currency=sale["currency"],
        postings=postings,
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
        *close_steps(sale["debt_ids"]),
        Update("ledger_reserve", released),
    ]


def issue_sale(
    sale: Row, tokens: Sequence[Row], rows: Rows, new_id: NewId, *, now_us: int
) -> Changes[Row]:
    """Decide the second commit: tokens, receipt, postings and, for a meter within reach, commands.

    Nothing is priced again: everything comes from what the first commit stored.

    Args:
        sale: with its ``debt_ids``.
        tokens: rows of the read ``tokens_of_sale`` with their digits made.
        rows: of :func:`issue_reads`.
        new_id: the unit's source of ids.
        now_us: our clock.
    """
    receipt = compact_json(_receipt(sale, tokens))
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
        *_entry_steps(sale, rows, new_id, now_us),
    ]
    if sale["device_id"] is not None:
        steps += _deliver(sale, tokens, new_id, now_us)
    steps.append(_sold_event(sale, new_id, now_us))
    issued = {**sale, "state": "issued", "receipt": receipt, "issued_us": now_us}
    return Changes({**issued, "tokens": tokens}, steps)

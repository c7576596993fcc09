"""What writes a new debt: its row, its entry in the ledger, its line in the log and its act."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import From, Insert, NewId, Read, Row, Rows, SqlValue, Step, Update
from slotmeter.services.access import Origin, act_row
from slotmeter.services.act_changes import changed
from slotmeter.services.booking import Entry, accounts_read, posting_steps
from slotmeter.services.debt_terms import Books, DebtTerms
from slotmeter.services.events import compact_json
from slotmeter.vending.debt_plans import DebtPlan
from slotmeter.vending.debts import EMERGENCY_CREDIT
from slotmeter.vending.ledger import (
    OPENING,
    Posting,
    customer_account,
    debt_account,
    debt_income_account,
    merge,
    tax_account,
)
from slotmeter.vending.pricing.lines import tax_within

__all__ = [
    "account_read",
    "add_debt_reads",
    "add_debt_steps",
    "contra_account",
    "debt_act",
    "debt_read",
    "log_step",
    "unknown_account",
]


def add_debt_reads(terms: DebtTerms, books: Books, key: str = "") -> list[Read]:
    """Return what :func:`add_debt_steps` needs; ``key`` tells several debts of a unit apart."""
    reads = [
        account_read(books, terms.account, f"account{key}"),
        accounts_read(books.utility_id, _other_accounts(terms), f"contra{key}"),
    ]
    if terms.number is None:
        params: dict[str, SqlValue | From] = {"utility_id": books.utility_id, "name": "debt"}
        return [*reads, Read("sequence", params, f"sequence{key}")]
    known = f"known{key}"
    return [
        *reads,
        debt_read(books, terms.number, known),
        Read("debt_created", {"debt_id": From(known, "id")}, f"created{key}"),
    ]


def add_debt_steps(
    terms: DebtTerms,
    rows: Rows,
    new_id: NewId,
    *,
    origin: Origin,
    books: Books,
    now_us: int,
    reason: str,
    key: str = "",
) -> tuple[str, list[Step]]:
    """Return the number of a debt and what writes it; nothing when it is there already.

    Raises:
        NotFound: ``account_unknown``.
        Conflict: ``debt_number_used``.
        Refused: ``currency_mismatch``, ``no_platform_balance``, ``emergency_credit_open``.
    """
    if terms.number is not None and rows[f"known{key}"]:
        stored = json.loads(rows[f"created{key}"][0]["detail"])["request"]
        if stored != terms.request:
            raise Conflict(
                "debt_number_used",
                f"there is another debt under the number {terms.number}",
                field="number",
            )
        return terms.number, []
    owner = _owner(rows[f"account{key}"], terms, books)
    if terms.number is None:
        number, numbering = _next_number(rows[f"sequence{key}"], books)
    else:
        number, numbering = terms.number, []
    entry = Entry(
        utility_id=books.utility_id,
        kind="debt",
        at_us=now_us,
        currency=books.currency,
        postings=_postings(terms, number),
        reason=reason,
        principal_id=origin.principal_id,
    )
    booked = posting_steps(entry, rows[f"contra{key}"], new_id)
    debt_id = new_id()
    row = _debt_row(terms, number, booked) | {
        "id": debt_id,
        "utility_id": books.utility_id,
        "account_id": owner["id"],
        "created_us": now_us,
    }
    detail = {"request": terms.request, "reason": reason}
    steps: list[Step] = [
        *numbering,
        *booked,
        Insert("debt", row),
        log_step(new_id, debt_id, books, origin, now_us, "created", detail),
        debt_act(
            new_id, origin, books, now_us, "debt.add", number, reason, changed(None, terms.request)
        ),
    ]
    return number, steps


def _debt_row(terms: DebtTerms, number: str, booked: Sequence[Step]) -> dict[str, Any]:
    code = debt_account(number)
    ledger_account_id = next(
        step.row["id"]
        for step in booked
        if isinstance(step, Insert) and step.table == "ledger_account" and step.row["code"] == code
    )
    interest = None if terms.interest is None else compact_json(terms.interest.to_dict())
    return {
        "number": number,
        "kind": terms.kind,
        "label": terms.label,
        "priority": terms.priority,
        "plan": compact_json(DebtPlan((terms.phase,)).to_dict()),
        "amount_minor": terms.amount_minor,
        "tax_percent": terms.tax_percent,
        "interest": interest,
        "state": "open",
        "starts_us": terms.phase.from_us,
        "ledger_account_id": ledger_account_id,
    }


def _owner(found: Sequence[Row], terms: DebtTerms, books: Books) -> Row:
    if not found:
        raise unknown_account(terms.account)
    owner = found[0]
    if owner["currency"] != books.currency:
        raise Refused(
            "currency_mismatch",
            f"account {terms.account} is in {owner['currency']}, debts are in {books.currency}",
            field="account",
        )
    if terms.source == "credit" and not owner["platform_meters"]:
        raise Refused(
            "no_platform_balance",
            f"account {terms.account} has no meter whose credit the platform holds",
            field="source",
        )
    if terms.kind == EMERGENCY_CREDIT and owner["emergency_credits"]:
        raise Refused(
            "emergency_credit_open",
            f"account {terms.account} has emergency credit that is not repaid",
            field="kind",
        )
    return owner


def _contra(terms: DebtTerms) -> str:
    return contra_account(terms.source, {"kind": terms.kind, "account": terms.account})


def _other_accounts(terms: DebtTerms) -> list[str]:
    """Return the accounts that a debt's amount comes from."""
    return [_contra(terms)] if terms.tax is None else [_contra(terms), tax_account(terms.tax)]


def _postings(terms: DebtTerms, number: str) -> tuple[Posting, ...]:
    """Return what a new debt moves; the tax within it is owed from now on."""
    amount = terms.amount_minor
    owed = Posting(debt_account(number), amount)
    if terms.tax is None or terms.tax_percent is None:
        return owed, Posting(_contra(terms), -amount)
    tax = tax_within(amount, terms.tax_percent)
    return merge(
        [owed, Posting(_contra(terms), tax - amount), Posting(tax_account(terms.tax), -tax)]
    )


def contra_account(source: str, debt: Mapping[str, Any]) -> str:
    """Return the account that a debt's amount came from."""
    if source == "taken_over":
        return OPENING
    if source == "credit":
        return customer_account(debt["account"])
    return debt_income_account(debt["kind"])


def _next_number(found: Sequence[Row], books: Books) -> tuple[str, list[Step]]:
    if not found:
        row: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "name": "debt",
            "next_value": 2,
        }
        return "D00000001", [Insert("sequence", row)]
    value = found[0]["next_value"]
    params = {"of_utility_id": books.utility_id, "of_name": "debt", "expected": value}
    return f"D{value:08d}", [Update("sequence_next", params)]


def log_step(
    new_id: NewId,
    debt_id: int,
    books: Books,
    origin: Origin,
    at_us: int,
    what: str,
    detail: Mapping[str, object],
) -> Insert:
    """Return a line of a debt's log."""
    row: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": books.utility_id,
        "debt_id": debt_id,
        "at_us": at_us,
        "what": what,
        "detail": compact_json(detail),
        "principal_id": origin.principal_id,
    }
    return Insert("debt_log", row)


def debt_act(
    new_id: NewId,
    origin: Origin,
    books: Books,
    at_us: int,
    what: str,
    number: str,
    reason: str,
    data: Mapping[str, object],
) -> Insert:
    """Return the act of a change of a debt."""
    return act_row(
        new_id,
        origin,
        books.utility_id,
        at_us,
        what=what,
        subject=number,
        reason=reason,
        data=data,
    )


def debt_read(books: Books, number: str, key: str = "") -> Read:
    """Return the read of one debt."""
    return Read("debt_by_number", {"utility_id": books.utility_id, "number": number}, key)


def account_read(books: Books, number: str, key: str = "") -> Read:
    """Return the read of an account that may owe."""
    return Read("debt_account", {"utility_id": books.utility_id, "number": number}, key)


def unknown_account(number: str) -> NotFound:
    """Return the error for an account that is not there."""
    return NotFound("account_unknown", f"there is no account {number[:32]!r} here", field="account")

"""From postings to rows: the one place that writes to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slotmeter.ports import From, Insert, NewId, Read, Row, Rows, SqlValue, Step, Update
from slotmeter.units import iso_utc
from slotmeter.vending.ledger import Posting, account_kind, balanced

__all__ = [
    "CODES_MAX",
    "Entry",
    "accounts_found",
    "accounts_read",
    "accounts_reads",
    "posting_steps",
]

CODES_MAX = 8
"""One read finds at most this many ledger accounts."""

_ACCOUNTS = "accounts_from_"


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal entry before it is written.

    Args:
        utility_id: whose ledger.
        kind: what happened, such as ``sale`` or ``consumption``.
        at_us: when, UTC epoch microseconds.
        currency: of every posting.
        postings: at least two, summing to zero.
        reason: a sentence for the auditor.
        sale_row_id: the sale it belongs to.
        frame_id: the frame that caused it.
        principal_id: who acted.
    """

    utility_id: int
    kind: str
    at_us: int
    currency: str
    postings: tuple[Posting, ...]
    reason: str
    sale_row_id: int | None = None
    frame_id: int | None = None
    principal_id: int | None = None


def accounts_read(
    utility_id: int | From, codes: Sequence[str], key: str = "ledger_accounts"
) -> Read:
    """Return the read that :func:`posting_steps` needs for these account codes."""
    if len(codes) > CODES_MAX:
        raise AssertionError(f"one read finds at most {CODES_MAX} accounts, got {len(codes)}")
    params: dict[str, SqlValue | From] = {"utility_id": utility_id}
    for at in range(CODES_MAX):
        params[f"code{at}"] = codes[at] if at < len(codes) else None
    return Read("ledger_accounts", params, key)


def accounts_reads(utility_id: int, codes: Sequence[str]) -> list[Read]:
    """Return the reads for any number of account codes; :func:`accounts_found` joins their rows."""
    return [
        accounts_read(utility_id, codes[at : at + CODES_MAX], f"{_ACCOUNTS}{at}")
        for at in range(0, len(codes), CODES_MAX)
    ]


def accounts_found(rows: Rows) -> list[Row]:
    """Return the accounts that :func:`accounts_reads` found."""
    return [row for key, found in rows.items() if key.startswith(_ACCOUNTS) for row in found]


def posting_steps(entry: Entry, accounts: Sequence[Row], new_id: NewId) -> list[Step]:
    """Return what writes an entry: the journal, its postings and the balances.

    Accounts that do not exist yet are opened.

    Args:
        entry: what to book.
        accounts: rows of :func:`accounts_read` for the entry's codes, read in the same unit.
        new_id: the unit's source of ids.
    """
    known: Mapping[str, Row] = {row["code"]: row for row in accounts}
    journal_id = new_id()
    at_us, reason = _open_instant(entry, accounts)
    steps: list[Step] = [
        Insert(
            "journal",
            {
                "id": journal_id,
                "utility_id": entry.utility_id,
                "kind": entry.kind,
                "at_us": at_us,
                "sale_row_id": entry.sale_row_id,
                "frame_id": entry.frame_id,
                "principal_id": entry.principal_id,
                "reason": reason,
            },
        )
    ]
    # Like steps stand together: a back end may make a run of them at once.
    opened: list[Step] = []
    moved: list[Step] = []
    posted: list[Step] = []
    for posting in balanced(entry.postings):
        row = known.get(posting.account)
        if row is not None:
            account_id = row["id"]
            moved.append(
                Update(
                    "ledger_add",
                    {"ledger_account_id": account_id, "amount": posting.amount_minor},
                )
            )
        else:
            account_id = new_id()
            opened.append(open_account(entry, posting, account_id))
        posted.append(
            Insert(
                "posting",
                {
                    "id": new_id(),
                    "utility_id": entry.utility_id,
                    "journal_id": journal_id,
                    "ledger_account_id": account_id,
                    "amount_minor": posting.amount_minor,
                    "currency": entry.currency,
                },
            )
        )
    return [*steps, *opened, *moved, *posted]


def _open_instant(entry: Entry, accounts: Sequence[Row]) -> tuple[int, str]:
    """Return when an entry is booked, and why: what comes late goes to the period that is open."""
    closed_until_us = max((row.get("closed_until_us") or 0 for row in accounts), default=0)
    if entry.at_us >= closed_until_us:
        return entry.at_us, entry.reason
    late = f"late: the books of {iso_utc(entry.at_us)} were closed"
    return closed_until_us, f"{entry.reason} ({late})"


def open_account(entry: Entry, posting: Posting, account_id: int) -> Insert:
    """Return the row of a ledger account that starts with this posting."""
    return Insert(
        "ledger_account",
        {
            "id": account_id,
            "utility_id": entry.utility_id,
            "code": posting.account,
            "kind": account_kind(posting.account),
            "currency": entry.currency,
            "balance_minor": posting.amount_minor,
            "reserved_minor": 0,
            "limit_minor": None,
        },
    )

"""Double entry: which accounts a business event moves, summing to zero.

Debits are positive, credits negative. Account codes:

=========================  =========  =====================================================
``till:<branch>``          asset      what the seller took in and owes to the utility
``income:<commodity>``     income     energy, water and gas without tax
``income:charge:<code>``   income     fixed charges without tax
``tax:<name>``             liability  owed to the tax office
``rounding``               income     what rounding to whole token units gained or lost
``customer:<account>``     liability  credit that the platform holds for a customer
=========================  =========  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "Posting",
    "account_kind",
    "balanced",
    "customer_account",
    "income_account",
    "merge",
    "tax_account",
    "till_account",
]

_KINDS = {
    "till": "asset",
    "income": "income",
    "tax": "liability",
    "rounding": "income",
    "customer": "liability",
}


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of an entry: an account code and minor units, debit positive."""

    account: str
    amount_minor: int


def till_account(branch_code: str) -> str:
    """Return the account of a branch's till."""
    return f"till:{branch_code}"


def income_account(commodity: str) -> str:
    """Return the account of what a commodity earns."""
    return f"income:{commodity}"


def tax_account(name: str) -> str:
    """Return the account of a tax."""
    return f"tax:{name}"


def customer_account(number: str) -> str:
    """Return the account of the credit held for a customer account."""
    return f"customer:{number}"


def account_kind(code: str) -> str:
    """Return asset, liability or income for an account code."""
    return _KINDS[code.partition(":")[0]]


def merge(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """Join postings to one account into one and leave out zeros, in order of first appearance."""
    sums: dict[str, int] = {}
    for posting in postings:
        sums[posting.account] = sums.get(posting.account, 0) + posting.amount_minor
    return tuple(Posting(account, amount) for account, amount in sums.items() if amount)


def balanced(postings: Sequence[Posting]) -> tuple[Posting, ...]:
    """Return the postings if they sum to zero.

    Raises:
        AssertionError: they do not; a broken invariant, never an input error.
    """
    total = sum(posting.amount_minor for posting in postings)
    if total:
        raise AssertionError(f"postings sum to {total} minor units instead of zero")
    return tuple(postings)

"""Double entry: which accounts a business event moves, summing to zero.

Debits are positive, credits negative. Account codes:

=========================  =========  =====================================================
``till:<branch>``          asset      what the seller took in and owes to the utility
``debt:<number>``          asset      what is left of a debt; never below zero
``receivable:<account>``   asset      owed by an account that pays afterwards
``income:<commodity>``     income     energy, water and gas without tax
``income:charge:<code>``   income     fixed charges without tax
``income:debt:<kind>``     income     debts that were billed here: loans, fines and so on
``income:interest``        income     interest on debts
``tax:<name>``             liability  owed to the tax office
``levy:<code>``            liability  collected for others
``advance:<account>``      liability  kept from a purchase for the next one
``rounding``               income     what rounding to whole token units gained or lost
``customer:<account>``     liability  credit that the platform holds for a customer
``opening``                equity     what debts taken over from before were worth
``write_off``              expense    debts that nobody will collect
``bank``                   asset      what sellers paid in, less what was paid back by transfer
``commission:<branch>``    expense    what a seller earned by selling
=========================  =========  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

__all__ = [
    "BANK",
    "INTEREST",
    "NUMBERED",
    "OPENING",
    "WRITE_OFF",
    "Posting",
    "account_kind",
    "account_title",
    "advance_account",
    "balanced",
    "commission_account",
    "control_code",
    "customer_account",
    "debt_account",
    "debt_income_account",
    "income_account",
    "levy_account",
    "merge",
    "receivable_account",
    "tax_account",
    "till_account",
]

_KINDS = {
    "till": "asset",
    "debt": "asset",
    "receivable": "asset",
    "income": "income",
    "tax": "liability",
    "levy": "liability",
    "advance": "liability",
    "rounding": "income",
    "customer": "liability",
    "opening": "equity",
    "write_off": "expense",
    "bank": "asset",
    "commission": "expense",
}

_TITLES = {
    "till": "Till of",
    "debt": "Debts of customers",
    "receivable": "Customers who pay afterwards",
    "income": "Sales of",
    "income:charge": "Fixed charge",
    "income:debt": "Billed to customers:",
    "income:interest": "Interest on debts",
    "tax": "Tax",
    "levy": "Levy",
    "advance": "Kept for the next purchase",
    "rounding": "Rounding to token units",
    "customer": "Credit held for customers",
    "opening": "Taken over from before",
    "write_off": "Debts written off",
    "bank": "Bank",
    "commission": "Commission of",
}

NUMBERED = ("advance", "customer", "debt", "receivable")
"""Accounts of which every customer has one: a balance sheet shows each kind as one sum."""

BANK = "bank"

INTEREST = "income:interest"
OPENING = "opening"
WRITE_OFF = "write_off"


class Posting(msgspec.Struct, frozen=True):
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


def levy_account(code: str) -> str:
    """Return the account of a levy."""
    return f"levy:{code}"


def advance_account(number: str) -> str:
    """Return the account of what is kept for the next purchase of a customer account."""
    return f"advance:{number}"


def customer_account(number: str) -> str:
    """Return the account of the credit held for a customer account."""
    return f"customer:{number}"


def receivable_account(number: str) -> str:
    """Return the account of what a customer account owes that pays afterwards."""
    return f"receivable:{number}"


def debt_account(number: str) -> str:
    """Return the account of a debt, whose balance is what is left of it."""
    return f"debt:{number}"


def debt_income_account(kind: str) -> str:
    """Return the account of what debts of a kind earned when they were billed."""
    return f"income:debt:{kind}"


def commission_account(branch_code: str) -> str:
    """Return the account of what a branch earns by selling."""
    return f"commission:{branch_code}"


def control_code(code: str) -> str:
    """Return under which code a balance sheet shows an account."""
    family = code.partition(":")[0]
    return family if family in NUMBERED else code


def account_title(code: str) -> str:
    """Return the name of an account, or of a kind that is shown as one, for people."""
    family, _, rest = code.partition(":")
    if code in _TITLES or not rest:
        return _TITLES[code]
    group, _, name = rest.partition(":")
    if name:
        return f"{_TITLES[f'{family}:{group}']} {name}"
    return f"{_TITLES[family]} {rest}"


def account_kind(code: str) -> str:
    """Return asset, liability, income, expense or equity for an account code."""
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

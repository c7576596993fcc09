"""What is settled when an account begins to pay afterwards, or in advance again; pure.

Going over to pay afterwards, the customer gets back what is left: credit that the platform holds,
and the units left on a meter at what they cost by the last purchases, the newest first. It stands
to their good on ``receivable:<account>``, where the bills come. Coming back, what was used since is
owed on the same account, and what stands to their good there buys again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from slotmeter.errors import Refused
from slotmeter.units import Rounding, round_to_int
from slotmeter.vending.ledger import (
    Posting,
    advance_account,
    balanced,
    customer_account,
    merge,
    receivable_account,
)

__all__ = [
    "Balances",
    "Bought",
    "Settled",
    "Valued",
    "settle_to_postpaid",
    "settle_to_prepaid",
    "value_of_credit",
]


@dataclass(frozen=True, slots=True)
class Bought:
    """One purchase, as far as credit of it may be left on the meter.

    Args:
        receipt_number: for people.
        carried: what its paid token carried: Wh or mL, or minor units of money.
        free: free units that came with it, Wh or mL; they cost nothing.
        cost: what the carried amount cost, by the ledger account that earned it; minor units.
    """

    receipt_number: str
    carried: int
    free: int
    cost: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Valued:
    """So much of a purchase is left on the meter, and what it cost by account."""

    receipt_number: str
    left: int
    free: int
    cost: Mapping[str, int]

    @property
    def minor(self) -> int:
        """What it cost."""
        return sum(self.cost.values())


def value_of_credit(left: int, purchases: Sequence[Bought]) -> tuple[Valued, ...]:
    """Value credit left on a meter by the purchases it came from.

    Args:
        left: Wh or mL, or minor units of money for a meter that counts money.
        purchases: since the last settlement, the newest first.

    Raises:
        Refused: ``credit_exceeds_purchases``: more is left than was bought.
    """
    parts: list[Valued] = []
    rest = left
    for bought in purchases:
        if rest <= 0:
            break
        paid = min(rest, bought.carried)
        free = min(rest - paid, bought.free)
        rest -= paid + free
        parts.append(Valued(bought.receipt_number, paid, free, _share(bought, paid)))
    if rest > 0:
        raise Refused(
            "credit_exceeds_purchases",
            f"the purchases since the last settlement explain {left - rest} of the {left} said to "
            "be left on the meter",
            field="credit_left",
            details={"explained": left - rest, "left": left},
        )
    return tuple(parts)


def _share(bought: Bought, paid: int) -> dict[str, int]:
    if paid == bought.carried:
        return {account: minor for account, minor in bought.cost.items() if minor}
    shares = {
        account: round_to_int(Decimal(minor * paid) / bought.carried, Rounding.HALF_UP)
        for account, minor in bought.cost.items()
    }
    return {account: minor for account, minor in shares.items() if minor}


@dataclass(frozen=True, slots=True)
class Balances:
    """What an account's ledger accounts hold, debit positive, minor units."""

    customer: int = 0
    advance: int = 0
    receivable: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement moves.

    Args:
        postings: its entry; empty when nothing moves.
        owed_minor: what the account owes on ``receivable`` afterwards; negative is to its good.
        credit_minor: what it may buy with afterwards, from ``customer`` and ``advance``.
    """

    postings: tuple[Posting, ...]
    owed_minor: int
    credit_minor: int


def settle_to_postpaid(
    account: str, balances: Balances, given_back: Sequence[Mapping[str, int]]
) -> Settled:
    """Return what moves when an account begins to pay afterwards.

    Args:
        account: its number.
        balances: after use was charged up to the register of the settlement.
        given_back: what units left on meters had cost, by the account that earned it.
    """
    receivable = receivable_account(account)
    postings = [
        Posting(customer_account(account), -balances.customer),
        Posting(receivable, balances.customer),
        Posting(advance_account(account), -balances.advance),
        Posting(receivable, balances.advance),
    ]
    for cost in given_back:
        postings += [Posting(earned, minor) for earned, minor in cost.items()]
        postings.append(Posting(receivable, -sum(cost.values())))
    given = sum(sum(cost.values()) for cost in given_back)
    owed = balances.receivable + balances.customer + balances.advance - given
    return Settled(balanced(merge(postings)), owed, 0)


def settle_to_prepaid(
    account: str, balances: Balances, used: Sequence[Mapping[str, int]], *, to_customer: bool
) -> Settled:
    """Return what moves when an account begins to pay in advance again.

    Args:
        account: its number.
        balances: after use was charged up to the register of the settlement.
        used: what meters that hold their own credit used since, by the account that earns it.
        to_customer: money to its good becomes credit that the platform holds; else it is kept for
            the next purchase.
    """
    receivable = receivable_account(account)
    postings = [
        Posting(customer_account(account), -balances.customer),
        Posting(receivable, balances.customer),
    ]
    for cost in used:
        postings += [Posting(earns, -minor) for earns, minor in cost.items()]
        postings.append(Posting(receivable, sum(cost.values())))
    owed = balances.receivable + balances.customer
    owed += sum(sum(cost.values()) for cost in used)
    credit = max(0, -owed)
    target = customer_account(account) if to_customer else advance_account(account)
    postings += [Posting(receivable, credit), Posting(target, -credit)]
    return Settled(balanced(merge(postings)), max(0, owed), credit - balances.advance)

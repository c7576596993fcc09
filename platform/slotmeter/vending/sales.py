"""What a priced purchase moves: its entry in the ledger, and what its tokens carry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from slotmeter.units import Commodity, commodity_quantity
from slotmeter.vending.ledger import Posting, balanced, till_account
from slotmeter.vending.sts import TokenRequest

__all__ = [
    "TOKEN_UNITS_PER_SOLD_UNIT",
    "credit_subclass",
    "currency_credit",
    "sale_postings",
    "units_credit",
]

TOKEN_UNITS_PER_SOLD_UNIT: Final = 10
"""An STS credit token counts 0.1 kWh or 0.1 m³ (IEC 62055-41, transfer amount)."""

_CREDIT_SUBCLASS: Final = {"electricity": 0, "water": 1, "gas": 2}
_CURRENCY_SUBCLASS_OFFSET: Final = 4


def credit_subclass(commodity: str) -> int:
    """Return the subclass of a credit token in units (IEC 62055-41, class 0)."""
    return _CREDIT_SUBCLASS[commodity]


def units_credit(commodity: str, amount: int, *, tid: int, rnd: int) -> TokenRequest:
    """Return the request for a token of units.

    Args:
        commodity: electricity, water or gas.
        amount: Wh or mL, a multiple of 0.1 kWh or 0.1 m³.
        tid: 24-bit token identifier.
        rnd: the 4 random bits.
    """
    kind = commodity_quantity(Commodity(commodity))
    step = kind.per_sold_unit // TOKEN_UNITS_PER_SOLD_UNIT
    if amount % step:
        raise AssertionError(f"a token carries multiples of {step}, got {amount}")
    return TokenRequest.credit(credit_subclass(commodity), units=amount // step, tid=tid, rnd=rnd)


def currency_credit(commodity: str, amount_e5: int, *, tid: int) -> TokenRequest:
    """Return the request for a token of money (IEC 62055-41, subclasses 4 to 6).

    Args:
        commodity: electricity, water or gas.
        amount_e5: in 0.00001 of the currency, on the grid of the token.
        tid: 24-bit token identifier.
    """
    subclass = _CURRENCY_SUBCLASS_OFFSET + credit_subclass(commodity)
    return TokenRequest.currency_credit(subclass, amount_e5=amount_e5, tid=tid)


def sale_postings(
    branch_code: str, tender_minor: int, lines: Iterable[tuple[str, int]]
) -> tuple[Posting, ...]:
    """Return the entry of a sale: the till is debited, each line's account credited.

    Args:
        branch_code: whose till it is.
        tender_minor: the sum of the lines.
        lines: account and amount of each.
    """
    sums = {till_account(branch_code): tender_minor}
    for account, amount_minor in lines:
        sums[account] = sums.get(account, 0) - amount_minor
    return balanced([Posting(account, amount) for account, amount in sums.items() if amount])

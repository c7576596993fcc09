"""Fixed charges: what is due in a period, and that it is taken once.

A charge item has the key (supply point, code, period). It may be taken in parts and is never taken
twice, also when two tills sell at the same instant: the item is a row with a unique key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from slotmeter.units import Money

__all__ = ["ChargeDue", "period_of", "still_due"]


@dataclass(frozen=True, slots=True)
class ChargeDue:
    """What is left to take of one charge in one period, with its tax."""

    code: str
    label: str
    period: str
    net: Money
    tax: Money

    @property
    def gross(self) -> Money:
        """What the customer pays for it."""
        return self.net + self.tax


def period_of(at: datetime, time_zone: str) -> str:
    """Return the calendar month of an instant in the utility's time zone, as ``2026-11``."""
    local = at.astimezone(ZoneInfo(time_zone))
    return f"{local.year:04d}-{local.month:02d}"


def still_due(
    *,
    code: str,
    label: str,
    period: str,
    amount: Money,
    taken_minor: int,
    tax_on: Callable[[Money], Money],
) -> ChargeDue | None:
    """Return what is left of a monthly charge, or None when the month is settled.

    Args:
        code: the charge's code in the tariff.
        label: for the receipt.
        period: from :func:`period_of`.
        amount: due for the whole period, without tax.
        taken_minor: taken so far in this period, without tax.
        tax_on: tax of an amount; returns zero for an untaxed charge.
    """
    left = Money(amount.minor - taken_minor, amount.currency)
    if left.minor <= 0:
        return None
    return ChargeDue(code, label, period, left, tax_on(left))

"""How large one purchase may be, by rule, and what one token can carry."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Final

from slotmeter.errors import Refused
from slotmeter.vending.pricing.chosen import holds, holds_for_tender
from slotmeter.vending.pricing.plan import Plan
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.sts.amounts import (
    UNITS_MAX,
    decode_currency,
    decode_units,
    encode_currency,
    encode_units,
)
from slotmeter.vending.tariff.model import Tariff

__all__ = [
    "TOKEN_EXACT_MAX",
    "TOKEN_MONEY_STEPS",
    "TOKEN_STEPS",
    "carried_above",
    "carried_below",
    "check_currency",
    "check_tender",
    "money_carried_e5",
]

TOKEN_STEPS: Final = 10
"""An STS credit token counts 0.1 kWh or 0.1 m³ (IEC 62055-41, transfer amount)."""

TOKEN_EXACT_MAX: Final = (1 << 14) - 1
"""Up to so many steps a token carries what was asked of it; above, the next value it can hold."""


TOKEN_MONEY_STEPS: Final = 100_000
"""An STS currency token counts 0.00001 of the currency (IEC 62055-41, transfer amount)."""


def check_currency(tariff: Tariff, currency: str) -> None:
    """Refuse money of another currency than the tariff's.

    Raises:
        Refused: ``currency_mismatch``.
    """
    if currency != tariff.currency:
        raise Refused(
            "currency_mismatch",
            f"tariff {tariff.code} sells for {tariff.currency}, got {currency}",
            field="currency",
        )


def check_tender(plan: Plan, situation: Situation, day: date, tender_minor: int) -> None:
    """Refuse an amount outside what the tariff and the meter allow.

    Raises:
        Refused: ``amount_not_positive``, ``below_minimum`` or ``above_maximum``.
    """
    if tender_minor <= 0:
        raise Refused(
            "amount_not_positive",
            f"expected more than zero, got {plan.major(tender_minor)}",
            field="tendered",
        )
    low: Decimal | None = None
    high: Decimal | None = None
    if situation.meter_max_minor is not None:
        high = Decimal(situation.meter_max_minor) / plan.scale
    for rule in plan.tariff.purchase:
        if holds(rule.when, situation, day) and holds_for_tender(rule.when, tender_minor):
            if rule.minimum is not None and (low is None or rule.minimum > low):
                low = rule.minimum
            if rule.maximum is not None and (high is None or rule.maximum < high):
                high = rule.maximum
    currency = plan.tariff.currency
    if low is not None and tender_minor < low * plan.scale:
        smallest = plan.major(int(low * plan.scale))
        raise Refused(
            "below_minimum",
            f"the smallest purchase is {smallest} {currency}, got {plan.major(tender_minor)}",
            field="tendered",
            details={"minimum": smallest},
        )
    if high is not None and tender_minor > high * plan.scale:
        largest = plan.major(int(high * plan.scale))
        raise Refused(
            "above_maximum",
            f"the largest purchase for this meter is {largest} {currency}, "
            f"got {plan.major(tender_minor)}",
            field="tendered",
            details={"maximum": largest},
        )


def carried_above(token_units: int, symbol: str) -> int:
    """Return what a token for so many tenths really carries: the next value it can hold.

    Raises:
        Refused: ``too_much_for_one_token``.
    """
    if token_units > UNITS_MAX:
        raise Refused(
            "too_much_for_one_token",
            f"one token carries at most {UNITS_MAX // TOKEN_STEPS} {symbol}; sell it in parts",
            field="tendered",
        )
    return decode_units(encode_units(token_units))


def carried_below(token_units: int) -> int:
    """Return the largest number of tenths not above the given one that a token can hold."""
    field = encode_units(min(token_units, UNITS_MAX))
    return decode_units(field) if decode_units(field) <= token_units else decode_units(field - 1)


def money_carried_e5(minor: int, scale: int, *, has_grid: bool = True) -> int:
    """Return the most that a token of money can carry of an amount, in 0.00001 of the currency.

    Never more than was paid for: a debit, which is coded towards zero, has the same grid.

    Args:
        minor: paid for energy, not negative.
        scale: minor units of one of the currency.
        has_grid: the credit goes by an STS token.
    """
    exact = minor * (TOKEN_MONEY_STEPS // scale)
    return -decode_currency(encode_currency(-exact)) if has_grid else exact

"""What the town's tariffs cost, from the language itself: pure, for those who buy and who check."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from functools import cache
from typing import Final

from slotmeter.testing.town import CURRENCY, DEBT_PERCENT, TARIFFS, TIME_ZONE
from slotmeter.units import Commodity, Money, commodity_quantity
from slotmeter.vending.pricing.engine import price_units, use_cost
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import parse_tariff

__all__ = ["debt_share", "money_for", "tariff_of", "use_price"]

TENTHS: Final = 10
"""A token carries tenths of a kWh or m³."""
_HUNDRED: Final = Decimal(100)
_COIN: Final = Decimal("0.01")


@cache
def tariff_of(commodity: Commodity) -> Tariff:
    """Return the town's tariff of a commodity."""
    return next(parse_tariff(each) for each in TARIFFS if each["commodity"] == commodity.value)


def money_for(commodity: Commodity, used: int, *, at_us: int, before: int, owes: bool) -> Decimal:
    """Return what must be tendered to get enough for a use, in major units, not rounded up.

    Args:
        commodity: what is bought.
        used: Wh or mL.
        at_us: when, UTC epoch microseconds.
        before: bought in this month already, Wh or mL; the first purchase pays its charges.
        owes: whether a share goes to an old bill.
    """
    tariff = tariff_of(commodity)
    step = commodity_quantity(commodity).per_sold_unit // TENTHS
    charges = () if before else tuple(ChargeState(item.code, "") for item in tariff.fixed_items)
    situation = Situation(at_us, TIME_ZONE, prior_units=before, charges=charges, sts_grid=False)
    priced = price_units(tariff, situation, -(-used // step) * step)
    money = Decimal(str(Money(priced.tender_minor, CURRENCY)))
    return money / (1 - DEBT_PERCENT / _HUNDRED) if owes else money


def debt_share(tendered: Decimal) -> Decimal:
    """Return what a purchase repays of a debt that is large enough, in major units."""
    return (tendered * DEBT_PERCENT / _HUNDRED).quantize(_COIN, ROUND_DOWN)


def use_price(commodity: Commodity, used: int) -> Decimal:
    """Return what a use of Wh or mL since the month began costs with its taxes, in major units."""
    situation = Situation(0, TIME_ZONE, is_meter_credit=False)
    return Decimal(str(Money(sum(use_cost(tariff_of(commodity), situation, used)), CURRENCY)))

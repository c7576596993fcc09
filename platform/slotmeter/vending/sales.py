"""A purchase, priced: how the tender becomes charges, taxes and units, line by line.

Order (domain rules): fixed charges due, taxes on each base, and what is left buys energy. The lines
always add up to the tender, to the smallest coin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from slotmeter.errors import Refused
from slotmeter.units import (
    Money,
    Quantity,
    Rounding,
    commodity_quantity,
    round_to_int,
)
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.charges import ChargeDue
from slotmeter.vending.ledger import (
    Posting,
    balanced,
    customer_account,
    income_account,
    merge,
    tax_account,
    till_account,
)
from slotmeter.vending.receipts import ReceiptLine
from slotmeter.vending.sts.amounts import UNITS_MAX, decode_units, encode_units
from slotmeter.vending.tariffs import Tariff

__all__ = [
    "TOKEN_UNITS_PER_SOLD_UNIT",
    "PricedSale",
    "check_tender",
    "credit_subclass",
    "price_sale",
    "sale_postings",
]

TOKEN_UNITS_PER_SOLD_UNIT = 10
"""An STS credit token counts 0.1 kWh or 0.1 m³ (IEC 62055-41, transfer amount)."""

_CREDIT_SUBCLASS = {"electricity": 0, "water": 1, "gas": 2}


def credit_subclass(commodity: str) -> int:
    """Return the subclass of a credit token in units (IEC 62055-41, class 0)."""
    return _CREDIT_SUBCLASS[commodity]


@dataclass(frozen=True, slots=True)
class PricedSale:
    """A purchase before it is booked.

    Args:
        tender: what the buyer pays; the sum of the lines.
        lines: in the order of the receipt.
        token_units: tenths of a kWh or m³ that the token carries; 0 for platform-held credit.
        quantity: the same in Wh or mL.
        charge: the monthly charge taken, if any.
    """

    tender: Money
    lines: tuple[ReceiptLine, ...]
    token_units: int
    quantity: Quantity
    charge: ChargeDue | None


def check_tender(tender: Money, tariff: Tariff, meter_max: Money | None) -> None:
    """Refuse an amount outside what the tariff and the meter allow.

    Raises:
        Refused: ``amount_not_positive``, ``below_minimum`` or ``above_maximum``.
    """
    if tender.minor <= 0:
        raise Refused(
            "amount_not_positive", f"expected more than zero, got {tender}", field="tendered"
        )
    low = tariff.purchase_min
    if low is not None and tender < low:
        raise Refused(
            "below_minimum",
            f"the smallest purchase is {low} {low.currency}, got {tender}",
            field="tendered",
        )
    limits = [limit for limit in (tariff.purchase_max, meter_max) if limit is not None]
    if limits and tender > (high := min(limits, key=lambda limit: limit.minor)):
        raise Refused(
            "above_maximum",
            f"the largest purchase for this meter is {high} {high.currency}, got {tender}",
            field="tendered",
        )


def _percent_text(percent: Decimal) -> str:
    return f"{percent.normalize():f} %"


def _charge_lines(charge: ChargeDue, tariff: Tariff) -> list[ReceiptLine]:
    lines = [
        ReceiptLine(
            "charge",
            f"{charge.label} {charge.period}",
            income_account(f"charge:{charge.code}"),
            charge.net.minor,
        )
    ]
    if tariff.tax is not None and charge.tax:
        lines.append(
            ReceiptLine(
                "tax",
                f"{tariff.tax.name} on {charge.net}",
                tax_account(tariff.tax.name),
                charge.tax.minor,
                rate=_percent_text(tariff.tax.percent),
            )
        )
    return lines


def _too_small(left: Money, charge: ChargeDue | None, tariff: Tariff) -> Refused:
    kind = commodity_quantity(tariff.commodity)
    smallest = kind(kind.per_sold_unit // TOKEN_UNITS_PER_SOLD_UNIT)
    cost = tariff.price.minor_for(smallest)
    if tariff.tax is not None:
        cost = cost * (100 + tariff.tax.percent) / 100
    needed = Money(round_to_int(cost, Rounding.CEILING), left.currency)
    if charge is not None:
        needed = needed + charge.gross
    return Refused(
        "tender_too_small",
        f"at least {needed} {needed.currency} is needed now: the charges due and the smallest "
        f"amount of {tariff.commodity.value}",
        field="tendered",
        details={"needed": str(needed)},
    )


def _whole_token_units(net: Money, tariff: Tariff) -> int:
    kind = commodity_quantity(tariff.commodity)
    amount = tariff.price.amount_for(net.minor, kind)
    tenths = amount * TOKEN_UNITS_PER_SOLD_UNIT / kind.per_sold_unit
    units = round_to_int(tenths, Rounding.DOWN)
    if units > UNITS_MAX:
        raise Refused(
            "too_much_for_one_token",
            f"one token carries at most {UNITS_MAX // TOKEN_UNITS_PER_SOLD_UNIT} "
            f"{kind.sold_symbol}; sell it in parts",
            field="tendered",
        )
    # What the token can really carry: large amounts have a coarser grid, rounded up.
    return decode_units(encode_units(units))


def _energy_lines(left: Money, tariff: Tariff) -> tuple[list[ReceiptLine], int, Quantity]:
    net, tax = tariff.tax.split(left) if tariff.tax is not None else (left, left - left)
    units = _whole_token_units(net, tariff)
    kind = commodity_quantity(tariff.commodity)
    quantity = kind(units * (kind.per_sold_unit // TOKEN_UNITS_PER_SOLD_UNIT))
    cost = round_to_int(tariff.price.minor_for(quantity), Rounding.HALF_UP)
    lines = [
        ReceiptLine(
            "energy",
            tariff.title,
            income_account(tariff.commodity.value),
            cost,
            quantity=quantity.amount,
            rate=f"{tariff.price.per_unit:f}",
        )
    ]
    if net.minor != cost:
        lines.append(ReceiptLine("rounding", "Rounding", "rounding", net.minor - cost))
    if tariff.tax is not None:
        # The tax lies on energy and rounding together; naming its base lets anybody check it.
        rate = _percent_text(tariff.tax.percent)
        label = f"{tariff.tax.name} on {net}"
        lines.append(ReceiptLine("tax", label, tax_account(tariff.tax.name), tax.minor, rate=rate))
    return lines, units, quantity


def price_sale(
    tender: Money,
    tariff: Tariff,
    *,
    credit_mode: CreditMode,
    account_number: str,
    charge: ChargeDue | None,
) -> PricedSale:
    """Split a tender into lines.

    Args:
        tender: a positive amount, checked by :func:`check_tender`.
        tariff: the version in force.
        credit_mode: meter-held credit becomes units; platform-held credit stays money.
        account_number: the customer account that platform-held credit goes to.
        charge: what is due this month, or None.

    Raises:
        Refused: ``tender_too_small`` (with ``needed``) or ``too_much_for_one_token``.
    """
    lines = _charge_lines(charge, tariff) if charge is not None else []
    left = tender - charge.gross if charge is not None else tender
    kind = commodity_quantity(tariff.commodity)
    if left.minor <= 0:
        raise _too_small(left, charge, tariff)
    if credit_mode is CreditMode.PLATFORM:
        label = "Credit to your account"
        lines.append(ReceiptLine("credit", label, customer_account(account_number), left.minor))
        return PricedSale(tender, tuple(lines), 0, kind(0), charge)
    energy, units, quantity = _energy_lines(left, tariff)
    if units == 0:
        raise _too_small(left, charge, tariff)
    return PricedSale(tender, (*lines, *energy), units, quantity, charge)


def sale_postings(
    branch_code: str, tender_minor: int, lines: Sequence[ReceiptLine]
) -> tuple[Posting, ...]:
    """Return the entry of a sale: the till is debited, each line's account credited."""
    credits = (Posting(line.account, -line.amount_minor) for line in lines)
    return balanced(merge((Posting(till_account(branch_code), tender_minor), *credits)))

"""From a priced purchase to what its receipt says of it, as it is stored with the sale.

Plain mappings, because a sale stores them and most are never read again; ``Receipt.from_dict``
makes values of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slotmeter.vending.pricing.lines import tax_within
from slotmeter.vending.pricing.priced import Priced, PricedLine
from slotmeter.vending.pricing.situation import DebtState, Situation
from slotmeter.vending.receipts.document import FORMAT, ReceiptLine

__all__ = ["line_dicts", "particulars_of", "receipt_lines"]


def line_dicts(lines: Iterable[PricedLine]) -> list[dict[str, Any]]:
    """Return lines as they are stored with a sale and printed on its receipt.

    What lines had from the first release on is always there; the rest is left out where it says
    nothing.
    """
    written = []
    for line in lines:
        # By hand, as each sale does this for each of its lines.
        body: dict[str, Any] = {
            "kind": line.kind,
            "code": line.code,
            "label": line.label,
            "account": line.account,
            "amount_minor": line.amount_minor,
            "quantity": line.quantity,
            "rate": line.rate,
        }
        if line.base_minor is not None:
            body["base_minor"] = line.base_minor
        if line.period is not None:
            body["period"] = line.period
        if line.left_minor is not None:
            body["left_minor"] = line.left_minor
        if line.gross_minor is not None:
            body["gross_minor"] = line.gross_minor
        if line.gross_rate is not None:
            body["gross_rate"] = line.gross_rate
        if line.tax_minor is not None:
            body["tax_minor"] = line.tax_minor
        if line.cost_minor is not None:
            body["cost_minor"] = line.cost_minor
        written.append(body)
    return written


def receipt_lines(lines: Iterable[PricedLine]) -> tuple[ReceiptLine, ...]:
    """Return lines as a receipt has them."""
    return tuple(ReceiptLine(**line) for line in line_dicts(lines))


def _debt(debt: DebtState, taken_minor: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        "kind": debt.kind,
        "label": debt.label,
        "taken_minor": taken_minor,
        "left_minor": debt.balance_minor - taken_minor,
    }
    if debt.tax_percent is not None:
        said["tax_minor"] = tax_within(taken_minor, debt.tax_percent)
    return said


def particulars_of(priced: Priced, situation: Situation) -> dict[str, Any]:
    """Return what a receipt of today's format says of the price, beyond its lines."""
    outlook = priced.outlook
    said: dict[str, Any] = {
        "format": FORMAT,
        "prior_units": situation.prior_units,
        "outlook": {
            "block": outlook.block,
            "left_in_block": outlook.left_in_block,
            "next_price": outlook.next_price,
            "first_of_month_units": outlook.first_of_month_units,
        },
    }
    if priced.free:
        said["free"] = [
            {
                "code": free.code,
                "label": free.label,
                "period": free.period,
                "quantity": free.units,
            }
            for free in priced.free
        ]
    if situation.debts:
        taken = {each.debt_id: each.minor for each in priced.debts}
        said["debts"] = [_debt(debt, taken.get(debt.debt_id, 0)) for debt in situation.debts]
    if priced.kept_minor:
        said["kept_minor"] = priced.kept_minor
    if priced.transfer_minor is not None:
        said |= {"transfer": situation.transfer.value, "transfer_minor": priced.transfer_minor}
    if priced.calorific_value is not None:
        said["calorific_value"] = priced.calorific_value
    return said

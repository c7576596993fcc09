"""From a priced purchase to what its receipt says of it."""

from __future__ import annotations

from typing import Any

from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.receipts.document import FORMAT, ReceiptLine

__all__ = ["lines_of", "particulars_of"]


def lines_of(priced: Priced) -> tuple[ReceiptLine, ...]:
    """Return the lines of the receipt; stored by the first commit, with ``to_dict``."""
    return tuple(
        ReceiptLine(
            kind=line.kind,
            label=line.label,
            account=line.account,
            amount_minor=line.amount_minor,
            quantity=line.quantity,
            rate=line.rate,
            code=line.code,
            base_minor=line.base_minor,
            period=line.period,
            left_minor=line.left_minor,
            gross_minor=line.gross_minor,
            gross_rate=line.gross_rate,
            tax_minor=line.tax_minor,
        )
        for line in priced.lines
    )


def particulars_of(priced: Priced, situation: Situation) -> dict[str, Any]:
    """Return the fields of the receipt that the price decides, JSON-able.

    They belong to the particulars that the first commit stores; ``Receipt.from_dict`` takes them
    together with the rest. The tokens come with the second commit.
    """
    taken = {debt.debt_id: debt.minor for debt in priced.debts}
    outlook = priced.outlook
    body: dict[str, Any] = {
        "format": FORMAT,
        "kept_minor": priced.kept_minor,
        "transfer": situation.transfer.value,
        "transfer_minor": priced.transfer_minor,
        "prior_units": situation.prior_units,
        "calorific_value": priced.calorific_value,
        "outlook": {
            "block": outlook.block,
            "left_in_block": outlook.left_in_block,
            "next_price": outlook.next_price,
            "first_of_month_units": outlook.first_of_month_units,
        },
        "free": [
            {
                "code": free.code,
                "label": free.label,
                "period": free.period,
                "quantity": free.units,
            }
            for free in priced.free
        ],
        "debts": [
            {
                "kind": debt.kind,
                "label": debt.label,
                "taken_minor": taken.get(debt.debt_id, 0),
                "left_minor": debt.balance_minor - taken.get(debt.debt_id, 0),
            }
            for debt in situation.debts
        ],
    }
    return body

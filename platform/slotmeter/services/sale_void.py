"""The end of a sale whose token can never be made, purely: all that commit 1 took, given back.

The digits never existed, so nothing was sold. The token identifier stays used, the receipt number
stays a gap with its reason, and the same request is refused again with that reason. What was taken
of debts and of what an earlier purchase kept counts for no voided sale, so that nothing needs to be
written for these.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from slotmeter.errors import Refused
from slotmeter.ports import Changes, NewId, Read, Row, Rows, Step, Update
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.vending.pricing.chosen import local_day
from slotmeter.vending.pricing.windows import month_of

__all__ = ["refusal_of", "void_reads", "void_sale"]

_CHARGE = "income:charge:"


def refusal_of(why: str) -> Refused:
    """Return the error that a voided sale was refused with."""
    return Refused(**json.loads(why))


def void_reads(sale: Row) -> list[Read]:
    """Return what :func:`void_sale` needs to know."""
    return [Read("till_of_branch", {"branch_id": sale["branch_id"]}, "till")]


def void_sale(
    sale: Row,
    tokens: Sequence[Row],
    error: Refused,
    rows: Rows,
    new_id: NewId,
    *,
    now_us: int,
) -> Changes[None]:
    """Decide how a pending sale ends when a token of it was refused for good."""
    why = {"code": error.code, "message": error.message, "details": dict(error.details)}
    steps: list[Step] = [
        Update("sale_void", {"sale_row_id": sale["id"], "why": compact_json(why)}),
        *(Update("token_void", {"token_id": token["id"]}) for token in tokens),
        Update("free_unclaim", {"of_sale_row": sale["id"]}, rows=None),
        *_charges_given_back(sale),
    ]
    if sale["tender_minor"]:
        params = {"ledger_account_id": rows["till"][0]["id"], "amount": -sale["tender_minor"]}
        steps.append(Update("ledger_reserve", params))
    event = Event(
        utility_id=sale["utility_id"],
        at_us=now_us,
        kind="sale_voided",
        severity="warning",
        text=f"Sale {sale['receipt_number']} was voided: {error.message}",
        meter_id=sale["meter_id"],
        principal_id=sale["principal_id"],
        data={"receipt_number": sale["receipt_number"], "code": error.code},
    )
    steps.append(event_step(event, new_id))
    return Changes(None, steps)


def _charges_given_back(sale: Row) -> list[Step]:
    zone = json.loads(sale["particulars"])["time_zone"]
    return [
        Update(
            "charge_return",
            {
                "of_supply_point": sale["supply_point_id"],
                "of_code": line["account"].removeprefix(_CHARGE),
                # Lines of the first release do not say it: it was the month of the sale.
                "of_period": line.get("period") or month_of(local_day(sale["sold_us"], zone)),
                "amount": line["amount_minor"],
            },
            # A charge with every purchase has no period and no item to give back to.
            rows=None,
        )
        for line in json.loads(sale["priced"])
        if line["kind"] == "charge" and line["account"].startswith(_CHARGE)
    ]

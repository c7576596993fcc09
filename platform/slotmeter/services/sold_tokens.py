"""The tokens of a sale: what is reserved with its first commit, in the order of typing.

Free units come first, each month by a token of its own, then what was paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slotmeter.ports import NewId, Row
from slotmeter.services.events import compact_json
from slotmeter.services.pricing import Purchase
from slotmeter.services.tid_allocator import TidAllocator, stored_parameters
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.pricing.situation import Transfer
from slotmeter.vending.sales import currency_credit, units_credit
from slotmeter.vending.sts import KEPT_TIDS, TokenRequest, check_issuable

__all__ = ["CREDIT", "FREE", "has_tokens", "paid_token", "token_rows"]

CREDIT = "credit"
FREE = "free"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One token: Wh or mL, or the money of a token of currency in 0.00001 of it."""

    purpose: str
    amount: int
    money_e5: int | None = None

    def request(self, purchase: Purchase, tid: int, rnd: int) -> TokenRequest:
        commodity = purchase.row["commodity"]
        if self.money_e5 is not None:
            return currency_credit(commodity, self.money_e5, tid=tid)
        return units_credit(commodity, self.amount, tid=tid, rnd=rnd)


def _wanted(purchase: Purchase) -> list[_Wanted]:
    if purchase.row["credit_mode"] != CreditMode.METER:
        return []
    priced = purchase.priced
    wanted = [_Wanted(FREE, free.units) for free in priced.free]
    if purchase.situation.transfer is Transfer.CURRENCY:
        if priced.transfer_e5:
            wanted.append(_Wanted(CREDIT, priced.units, priced.transfer_e5))
    elif priced.units:
        wanted.append(_Wanted(CREDIT, priced.units))
    return wanted


def has_tokens(purchase: Purchase) -> bool:
    """Say whether a purchase gives any token of credit."""
    return bool(_wanted(purchase))


def token_rows(
    purchase: Purchase,
    sale: Row,
    kept: Sequence[Row],
    new_id: NewId,
    *,
    tids: TidAllocator,
    rnd: int,
) -> list[dict[str, Any]]:
    """Return the rows of the tokens that a sale reserves.

    Raises:
        Refused: the key's base date or expiry does not allow a token now.
    """
    wanted = _wanted(purchase)
    if not wanted:
        return []
    parameters = stored_parameters(purchase.row["parameters"])
    minutes = [row["tid_minute"] for row in kept]
    tokens = []
    for each in wanted:
        tid = tids.next(sale["sold_us"], minutes, parameters)
        minutes = sorted((tid.minute, *minutes), reverse=True)[:KEPT_TIDS]
        request = each.request(purchase, tid.tid, rnd)
        check_issuable(parameters, request)
        tokens.append(
            {
                "id": new_id(),
                "utility_id": sale["utility_id"],
                "meter_id": sale["meter_id"],
                "sale_row_id": sale["id"],
                "purpose": each.purpose,
                "key_id": purchase.row["key_id"],
                "parameters": purchase.row["parameters"],
                "request": compact_json(request.to_dict()),
                "tid_minute": tid.minute,
                "tid": tid.tid,
                "amount": each.amount,
                "digits": None,
                "state": "reserved",
                "accepted_by": None,
                "created_us": sale["sold_us"],
                "issued_us": None,
                "accepted_us": None,
            }
        )
    return tokens


def paid_token(tokens: Sequence[Row]) -> Row | None:
    """Return the token of what was paid for, if there is one."""
    return next((token for token in tokens if token["purpose"] == CREDIT), None)

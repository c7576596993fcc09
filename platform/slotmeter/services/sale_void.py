"""The end of a sale whose token can never be made, purely: all that commit 1 took, given back.

The digits never existed, so nothing was sold. The token identifier stays used, the receipt number
stays a gap with its reason, and the same request is refused again with that reason. What was taken
of debts and of what an earlier purchase kept counts for no voided sale, so that nothing needs to be
written for these.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from slotmeter.errors import Refused
from slotmeter.ports import Changes, NewId, Read, Row, Rows, SqlValue, Step, Update
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.services.sale_issue import Begun
from slotmeter.vending.pricing.chosen import local_day
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.pricing.windows import month_of
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["charges_given_back", "refusal_of", "resting_on", "void_reads", "void_sale"]

_CHARGE = "income:charge:"


def refusal_of(why: str) -> Refused:
    """Return the error that a voided sale was refused with."""
    return Refused(**json.loads(why))


def void_reads(begun: Begun) -> list[Read]:
    """Return what :func:`void_sale` needs to know."""
    sale = begun.sale
    later: dict[str, SqlValue] = {
        "supply_point_id": sale["supply_point_id"],
        "after_id": sale["id"],
    }
    reads = [
        Read("till_of_branch", {"branch_id": sale["branch_id"]}, "till"),
        Read("correction_later", later, "later"),
    ]
    if begun.sale["situation"] is not None:
        version = {"tariff_version_id": begun.sale["tariff_version_id"]}
        reads.append(Read("tariff_body", version, "tariff"))
    return reads


def void_sale(
    begun: Begun, error: Refused, rows: Rows, new_id: NewId, *, now_us: int
) -> Changes[None]:
    """Decide how a pending sale ends when a token of it was refused for good."""
    sale = begun.sale
    why = {"code": error.code, "message": error.message, "details": dict(error.details)}
    steps: list[Step] = [
        Update("sale_void", {"sale_row_id": sale["id"], "why": compact_json(why)}),
        *(Update("token_void", {"token_id": token["id"]}) for token in begun.tokens),
        Update("free_unclaim", {"of_sale_row": sale["id"]}, rows=None),
        *charges_given_back(begun, rows),
    ]
    if sale["tender_minor"]:
        params = {"ledger_account_id": rows["till"][0]["id"], "amount": -sale["tender_minor"]}
        steps.append(Update("ledger_reserve", params))
    steps.append(event_step(_voided_event(begun, error, rows["later"], now_us), new_id))
    return Changes(None, steps)


def resting_on(sale: Row, later: Iterable[Row]) -> tuple[str, str] | None:
    """Return the receipt of a later sale that paid for units of this one, and how; None if none.

    Args:
        sale: that is taken back.
        later: rows of ``correction_later``.
    """
    for row in later:
        if sale["lifeline_units"] and row["lifeline_units"] < 0:
            return row["receipt_number"], "took the cheap units of this one back"
        if sale["id"] in json.loads(row["situation"] or "{}").get("repriced_sales", ()):
            return row["receipt_number"], "corrected the price of this one"
    return None


def _voided_event(begun: Begun, error: Refused, later: Iterable[Row], now_us: int) -> Event:
    """Tell of the end of a sale, and of money that a later one took for units it never had.

    The later sale is complete and its token may be in the meter: a person takes it back, or gives
    the customer what its lines of correction say.
    """
    sale = begun.sale
    text = f"Sale {sale['receipt_number']} was voided: {error.message}"
    data = {"receipt_number": sale["receipt_number"], "code": error.code}
    found = resting_on(sale, later)
    if found is not None:
        receipt_number, how = found
        text += f". Sale {receipt_number} {how}: look at its corrections and give them back"
        data["corrected_by"] = receipt_number
    return Event(
        utility_id=sale["utility_id"],
        at_us=now_us,
        kind="sale_voided",
        severity="warning" if found is None else "alarm",
        text=text,
        meter_id=sale["meter_id"],
        principal_id=sale["principal_id"],
        data=data,
    )


def charges_given_back(begun: Begun, rows: Rows) -> list[Step]:
    """Return what gives back all that a sale took of charges; ``rows`` of :func:`void_reads`."""
    return [
        Update(
            "charge_return",
            {
                "of_supply_point": begun.sale["supply_point_id"],
                "of_code": code,
                "of_period": period,
                "amount": minor,
            },
            rows=None,
        )
        for code, period, minor in _charges_of(begun, rows)
    ]


def _charges_of(begun: Begun, rows: Rows) -> Iterator[tuple[str, str, int]]:
    """Yield code, period and minor units of what a sale took of each period's charge.

    A line may hold many days whose amounts differ by a coin. Pricing the sale again says what each
    day took; it gives what it gave then.
    """
    sale = begun.sale
    if sale["situation"] is None:
        # Lines of the first release do not say their period: it was the month of the sale.
        month = month_of(local_day(sale["sold_us"], begun.said["time_zone"]))
        for line in begun.lines:
            if line["kind"] == "charge" and line["account"].startswith(_CHARGE):
                yield line["account"].removeprefix(_CHARGE), month, line["amount_minor"]
        return
    if not any(line["kind"] == "charge" for line in begun.lines):
        return
    tariff = stored_tariff(rows["tariff"][0]["body"])
    situation = Situation.from_dict(json.loads(sale["situation"]))
    priced = price_tender(tariff, situation, sale["tender_minor"], with_outlook=False)
    for charge in priced.charges:
        yield charge.code, charge.period, charge.net_minor

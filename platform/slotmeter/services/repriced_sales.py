"""Earlier sales that a purchase corrects, because prices count from before it: what is read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from slotmeter.ports import Read, Row, Rows, SqlValue
from slotmeter.units import epoch_us
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.pricing.price_changes import PriceVersion, SoldBefore, price_changes
from slotmeter.vending.pricing.situation import Situation, Transfer
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["sales_read", "versions_read", "with_price_changes", "without_price_changes"]


def versions_read(meter: Row, now_us: int) -> list[Read]:
    """Return the read of the versions of the tariff of a meter.

    None where units are not counted when they are sold: the price of money on a meter, or in the
    ledger, is that of the instant at which it is used.
    """
    if meter["credit_mode"] != CreditMode.METER or meter["transfer"] != Transfer.UNITS:
        return []
    params: dict[str, SqlValue] = {"tariff_id": meter["tariff_id"], "now_us": now_us}
    return [Read("tariff_versions_until", params, "price_versions")]


def sales_read(rows: Rows, time_zone: str) -> list[Read]:
    """Return the read of what was sold since the first day that prices of a version count from."""
    days = [each.tariff.prices_since for each in _versions(rows)]
    since = min((day for day in days if day is not None), default=None)
    if since is None:
        return []
    begins = datetime(since.year, since.month, since.day, tzinfo=ZoneInfo(time_zone))
    params: dict[str, SqlValue] = {
        "supply_point_id": rows["meter"][0]["supply_point_id"],
        "from_us": epoch_us(begins),
    }
    return [Read("sold_since", params, "sold_before")]


def with_price_changes(rows: Rows, situation: Situation) -> Situation:
    """Add what earlier sales cost more, or less, by prices that count from before them.

    Raises:
        Refused: the new prices have none for units that were sold.
    """
    sold = [
        SoldBefore(
            id=row["id"],
            version_id=row["tariff_version_id"],
            situation=Situation.from_dict(json.loads(row["situation"])),
            units=row["units"],
            is_purchase=row["tender_minor"] > 0,
        )
        for row in rows.get("sold_before", ())
    ]
    return price_changes(_versions(rows), sold, situation) if sold else situation


def without_price_changes(situation: Situation) -> Situation:
    """Return a situation in which no earlier sale is corrected."""
    if not situation.repriced_sales:
        return situation
    lifeline = situation.prior_lifeline_units - situation.repriced_lifeline_units
    return replace(
        situation,
        price_changes=(),
        repriced_sales=(),
        repriced_lifeline_units=0,
        prior_lifeline_units=max(0, lifeline),
    )


def _versions(rows: Rows) -> list[PriceVersion]:
    return [
        PriceVersion(row["tariff_version_id"], row["valid_from_us"], stored_tariff(row["body"]))
        for row in rows.get("price_versions", ())
    ]

"""Who is charged for use, and how long one list of prices holds for them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

from slotmeter.errors import Refused
from slotmeter.ports import Row, Rows
from slotmeter.services.buyer import tariff_and_needs
from slotmeter.units import DAY_US
from slotmeter.vending.pricing.chosen import in_force, local_day
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.plan import Plan
from slotmeter.vending.pricing.refusals import no_price_in_advance
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.pricing.windows import window_start_us
from slotmeter.vending.tariff.model import BlockWindow, Counter, Tariff
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["begins_us", "buyer_now", "buyer_of", "is_expired", "is_over", "with_more_used"]


@lru_cache(maxsize=4_096)
def _stored_situation(text: str) -> Situation:
    return Situation.from_dict(json.loads(text))


def buyer_of(segment: Row) -> Situation:
    """Return who a segment is for, as of its start."""
    if segment["situation"] is not None:
        return _stored_situation(segment["situation"])
    # Before there were blocks and classes nothing else made a difference.
    return Situation(segment["from_us"], segment["time_zone"], is_meter_credit=False)


def begins_us(rows: Rows, now_us: int) -> int | None:
    """Return when the window began that blocks count in now; None where nothing counts."""
    if not rows["supply"] or not rows["tariff"]:
        return None
    tariff, needs = tariff_and_needs(rows["tariff"][0]["body"])
    if not needs.window:
        return None
    zone = tariff.time_zone or rows["supply"][0]["time_zone"]
    return window_start_us(tariff.energy.counter, now_us, zone)


def buyer_now(rows: Rows, now_us: int) -> Situation | None:
    """Return who would be charged from now on; None for a meter that hangs nowhere.

    Raises:
        Refused: ``no_price_in_force`` or ``no_price_in_advance``.
    """
    if not rows["supply"]:
        return None
    supply = rows["supply"][0]
    if not rows["tariff"]:
        raise Refused("no_price_in_force", "no tariff is in force for this supply point")
    tariff = stored_tariff(rows["tariff"][0]["body"])
    used_before = rows.get("used_before")  # read for tariffs with blocks only
    buyer = Situation(
        at_us=now_us,
        time_zone=tariff.time_zone or supply["time_zone"],
        prior_units=used_before[0]["used"] if used_before else 0,
        customer_class=supply["class_code"],
        connection=supply["connection"],
        load_w=supply["load_w"],
        is_meter_credit=False,
        account_number=supply["account_number"],
    )
    if not _plan(tariff, buyer).regimes:
        raise no_price_in_advance(tariff)
    return buyer


def with_more_used(buyer: Situation, segment: Row, rows: Rows, rise: int) -> Situation:
    """Return the buyer with what the segment before used just now, if it counts in the window."""
    begins = begins_us(rows, buyer.at_us)
    if begins is None or segment["from_us"] < begins:
        return buyer
    if segment["account_id"] != rows["supply"][0]["account_id"]:
        return buyer
    return replace(buyer, prior_units=buyer.prior_units + rise)


def is_over(segment: Row, rows: Rows, buyer: Situation | None) -> bool:
    """Say whether what comes next goes by other prices than a segment's.

    Args:
        segment: that is open.
        rows: with its supply and tariff of now.
        buyer: of now; see :func:`buyer_now`.
    """
    if buyer is None:
        return True
    if (
        rows["supply"][0]["account_id"] != segment["account_id"]
        or rows["tariff"][0]["tariff_version_id"] != segment["tariff_version_id"]
    ):
        return True
    tariff, needs = tariff_and_needs(segment["body"])
    began = buyer_of(segment)
    if needs.window and _has_ended(tariff.energy.counter, began, buyer):
        return True
    return _plan(tariff, began) is not _plan(tariff, buyer)


def is_expired(segment: Row, now_us: int) -> bool:
    """Say whether a segment's own tariff has ended, so that it has no price for use since then."""
    tariff = stored_tariff(segment["body"])
    try:
        in_force(tariff, local_day(now_us, tariff.time_zone or segment["time_zone"]))
    except Refused:
        return True
    return False


def _has_ended(counter: Counter, began: Situation, now: Situation) -> bool:
    if counter.window is BlockWindow.ROLLING:
        return now.at_us - began.at_us >= counter.days * DAY_US
    zone = now.time_zone
    return window_start_us(counter, began.at_us, zone) != window_start_us(counter, now.at_us, zone)


def _plan(tariff: Tariff, buyer: Situation) -> Plan:
    day = local_day(buyer.at_us, buyer.time_zone)
    in_force(tariff, day)
    return compiled(tariff).plan(buyer, day)

"""Which parts of a tariff apply to a buyer on a local day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from slotmeter.errors import Refused
from slotmeter.units import SECOND_US
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.model import ALWAYS, Condition, DebtCap, Table, Tariff

__all__ = [
    "cap_percent",
    "holds",
    "holds_for_tender",
    "in_force",
    "local_day",
    "table_for",
    "tender_limits",
]


@lru_cache(maxsize=1_000)
def local_day(at_us: int, time_zone: str) -> date:
    """Return the local date of an instant, UTC epoch microseconds."""
    return datetime.fromtimestamp(at_us // SECOND_US, ZoneInfo(time_zone)).date()


def holds(when: Condition, situation: Situation, day: date) -> bool:
    """Say whether a condition holds; what is not known of a buyer fulfils no condition on it.

    What is tendered is looked at by :func:`holds_for_tender`.
    """
    if when is ALWAYS:
        return True
    return _holds_for_day(when, day) and _holds_for_buyer(when, situation)


def holds_for_tender(when: Condition, tender_minor: int | None) -> bool:
    """Say whether what is tendered is within a condition; None for nothing that is tendered."""
    return _is_within(tender_minor, when.tender_above, when.tender_up_to)


def tender_limits(tariff: Tariff) -> tuple[int, ...]:
    """Return the amounts up to which, and above which, something differs, in order."""
    parts = (tariff.unit_items, tariff.percent_items, tariff.fixed_items, tariff.debt_caps)
    limits = {
        limit
        for part in parts
        for item in part
        for limit in (item.when.tender_above, item.when.tender_up_to)
    }
    return tuple(sorted(limit for limit in limits if limit is not None and limit >= 0))


def _holds_for_day(when: Condition, day: date) -> bool:
    return (
        (when.from_date is None or day >= when.from_date)
        and (when.until_date is None or day < when.until_date)
        and (when.months is None or day.month in when.months)
    )


def _holds_for_buyer(when: Condition, situation: Situation) -> bool:
    return (
        _is_one_of(situation.customer_class, when.classes)
        and (when.not_classes is None or situation.customer_class not in when.not_classes)
        and _is_within(situation.average_units, when.average_above, when.average_up_to)
        and _is_one_of(situation.connection, when.connections)
        and _is_within(situation.load_w, when.load_above_w, when.load_up_to_w)
        and _is_one_of(situation.channel, when.channels)
        and _is_one_of(situation.vendor, when.vendors)
    )


def _is_one_of(value: str | None, allowed: frozenset[str] | None) -> bool:
    return allowed is None or value in allowed


def _is_within(value: int | None, above: int | None, up_to: int | None) -> bool:
    if above is None and up_to is None:
        return True
    return (
        value is not None and (above is None or value > above) and (up_to is None or value <= up_to)
    )


def in_force(tariff: Tariff, day: date) -> None:
    """Refuse a day on which the tariff has no price any more.

    Raises:
        Refused: ``no_price_in_force``.
    """
    if tariff.valid_until is not None and day >= tariff.valid_until:
        raise Refused(
            "no_price_in_force",
            f"tariff {tariff.code} ended before {tariff.valid_until}; there is no price on {day}",
            field="tariff",
        )


def table_for(tariff: Tariff, situation: Situation, day: date) -> Table:
    """Return the prices that apply: those of the first rule whose condition holds.

    Raises:
        Refused: ``no_price_in_force``.
    """
    for rule in tariff.energy.rules:
        if holds(rule.when, situation, day):
            table = tariff.energy.tables.get(rule.table)
            if table is not None:
                return table
            break
    raise Refused(
        "no_price_in_force",
        f"tariff {tariff.code} has no price for this customer on {day}",
        field="tariff",
    )


def cap_percent(
    caps: Iterable[DebtCap], situation: Situation, day: date, tender_minor: int | None = None
) -> Decimal | None:
    """Return the percentage of the first cap on debts whose condition holds; None for no cap."""
    for cap in caps:
        if holds(cap.when, situation, day) and holds_for_tender(cap.when, tender_minor):
            return cap.percent
    return None

"""What a tariff asks about a buyer, so that a sale reads no more than it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from slotmeter.vending.pricing.earlier import has_prices_to_correct
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Collection,
    Condition,
    FixedItem,
    Measure,
    Missed,
    Tariff,
)
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["Needs", "is_by_class", "tariff_and_needs"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a tariff asks about a buyer.

    Args:
        window: what was bought in the block window.
        corrects: what was paid for it, as tables may change within the window.
        split: what was tendered in the month of charges.
        last: when something was bought last.
        before_window: when something was bought last before the block window.
        average: average use.
        adds_up: since when the buyer is under charges of which missed periods add up.
        by_class: some of these are for some classes only.
        charges_months: fixed charges of so many months back; None for no charge with periods.
        free_months: free units of so many months back; None for none.
        by_use: what was used in it, for charges, where the ledger holds the credit.
        monthly: codes of the charges, where they are simply due once a month to everybody.
        price_changes: what was sold since its prices count, before it took effect.
        is_plain: none of these.
    """

    window: bool
    split: bool
    last: bool
    before_window: bool
    average: bool
    adds_up: bool
    by_class: bool
    charges_months: int | None
    free_months: int | None
    monthly: tuple[str, ...] | None = None
    is_plain: bool = False
    corrects: bool = False
    by_use: bool = False
    price_changes: bool = False


@lru_cache(maxsize=1_000)
def tariff_and_needs(body: str) -> tuple[Tariff, Needs]:
    """Return a stored tariff with what it asks about a buyer."""
    tariff = stored_tariff(body)
    periodic = [item for item in tariff.fixed_items if item.collect is not Collection.PURCHASE]
    adds_up = [item for item in periodic if item.missed is Missed.ACCUMULATE]
    by_use = any(item.is_by_use for item in tariff.fixed_items)
    needs = Needs(
        window=_has_window(tariff) or by_use,
        split=any(item.split is not None for item in tariff.fixed_items),
        last=bool(adds_up) or any(each.collect is Collection.DAY for each in periodic),
        before_window=tariff.energy.counter.missed is Missed.ACCUMULATE,
        average=any(
            when.average_above is not None or when.average_up_to is not None
            for when in _conditions(tariff)
        ),
        adds_up=bool(adds_up),
        by_class=any(is_by_class(item) for item in adds_up),
        charges_months=max((item.months_max for item in adds_up), default=0) if periodic else None,
        free_months=max(
            (item.months_max if item.accumulates else 0 for item in tariff.free_units),
            default=None,
        ),
        by_use=by_use,
        price_changes=tariff.prices_since is not None,
    )
    plain = Needs(
        window=False,
        split=False,
        last=False,
        before_window=False,
        average=False,
        adds_up=False,
        by_class=False,
        charges_months=None,
        free_months=None,
    )
    monthly = None
    if periodic and all(_is_simple(item) for item in periodic):
        monthly = tuple(item.code for item in periodic)
    corrects = needs.window and has_prices_to_correct(tariff)
    return tariff, replace(needs, is_plain=needs == plain, monthly=monthly, corrects=corrects)


def _is_simple(item: FixedItem) -> bool:
    return (
        item.collect is Collection.MONTH
        and item.missed is Missed.LAPSE
        and item.measure is not Measure.DEMAND_KW
        and item.split is None
        and item.when == ALWAYS
    )


def is_by_class(item: FixedItem) -> bool:
    """Say whether a charge is for some classes only."""
    return item.when.classes is not None or item.when.not_classes is not None


def _has_window(tariff: Tariff) -> bool:
    return any(
        len(table.blocks) > 1
        or table.whole
        or table.lifeline is not None
        or any(block.up_to is not None for block in table.blocks)
        for table in tariff.energy.tables.values()
    )


def _conditions(tariff: Tariff) -> Iterator[Condition]:
    for rule in tariff.energy.rules:
        yield rule.when
    for part in (
        tariff.unit_items,
        tariff.percent_items,
        tariff.fixed_items,
        tariff.free_units,
        tariff.purchase,
        tariff.debt_caps,
    ):
        for item in part:
            yield item.when

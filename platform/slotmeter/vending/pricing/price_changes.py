"""What units sold before cost more, or less, under prices that count from an earlier day.

A version of a tariff may say since when its prices count (``Tariff.prices_since``). What was sold
from that day until the version took effect was sold at older prices; the account's next purchase
pays the difference, or gets it back. Nothing else of the earlier sales changes: their units, fixed
charges and debts stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from slotmeter.vending.ledger import income_account, levy_account, tax_account
from slotmeter.vending.pricing.chosen import local_day
from slotmeter.vending.pricing.engine import use_of_sale
from slotmeter.vending.pricing.situation import PriceChange, Situation
from slotmeter.vending.pricing.windows import window_start_us
from slotmeter.vending.tariff.model import Tariff

__all__ = ["PriceVersion", "SoldBefore", "price_changes"]


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """A version of the buyer's tariff.

    Args:
        id: of its row.
        from_us: when it took effect.
        tariff: what it says.
    """

    id: int
    from_us: int
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class SoldBefore:
    """An earlier sale of units.

    Args:
        id: of its row.
        version_id: of the tariff it was sold under.
        situation: that it was priced for.
        units: what its paid token carries, Wh or mL.
        is_purchase: money was paid, so that it corrected what was to be corrected then.
    """

    id: int
    version_id: int
    situation: Situation
    units: int
    is_purchase: bool = True


def price_changes(
    versions: Sequence[PriceVersion], sales: Sequence[SoldBefore], situation: Situation
) -> Situation:
    """Return the situation of a buyer with what is to be corrected of earlier sales.

    Args:
        versions: of the tariff until now, in the order in which they took effect.
        sales: since the first day that prices of one of them count from, in order.
        situation: the buyer now.

    Raises:
        Refused: the new prices have none for units that were sold.
    """
    last_us = max((each.situation.at_us for each in sales if each.is_purchase), default=0)
    known = {each.id: each for each in versions}
    before: list[tuple[SoldBefore, PriceVersion]] = []
    after: list[tuple[SoldBefore, PriceVersion]] = []
    for sale in sales:
        own = known.get(sale.version_id)
        if own is None or not sale.units:
            continue  # sold by another tariff, or free units only
        before.append((sale, _counting(versions, own, sale, last_us)))
        after.append((sale, _counting(versions, own, sale, situation.at_us)))
    changed = {
        sale.id: sale.units
        for (sale, old), (_, new) in zip(before, after, strict=True)
        if old is not new
    }
    if not changed:
        return situation
    return _with_changes(versions[-1], before, after, changed, situation)


def _with_changes(
    version: PriceVersion,
    before: Sequence[tuple[SoldBefore, PriceVersion]],
    after: Sequence[tuple[SoldBefore, PriceVersion]],
    changed: Mapping[int, int],
    situation: Situation,
) -> Situation:
    paid, costs = _costs(before), _costs(after)
    old = _sum(paid[sale].by_account for sale in changed)
    new = _sum(costs[sale].by_account for sale in changed)
    tariff = version.tariff
    window_us = window_start_us(tariff.energy.counter, situation.at_us, situation.time_zone)
    moved = sum(
        costs[sale.id].correctable
        for sale, by in after
        if sale.id in changed and by is version and sale.situation.at_us >= window_us
    )
    labels = _labels(tariff)
    changes = tuple(
        PriceChange(
            account=account,
            label=labels.get(account, ""),
            since=f"{tariff.prices_since or ''}",
            units=sum(changed.values()),
            cost_minor=old.get(account, 0),
            minor=new.get(account, 0) - old.get(account, 0),
        )
        for account in dict.fromkeys((*labels, *new, *old))
        if new.get(account, 0) != old.get(account, 0)
    )
    return replace(
        situation,
        price_changes=changes,
        repriced_sales=tuple(changed),
        repriced_lifeline_units=moved,
        prior_lifeline_units=max(0, situation.prior_lifeline_units + moved),
    )


def _counting(
    versions: Sequence[PriceVersion], own: PriceVersion, sale: SoldBefore, until_us: int
) -> PriceVersion:
    """Return the version whose prices count for a sale, as things stood at an instant.

    Of several versions that count from one day, it is the one that said so first: the later ones go
    on correcting for those who have bought nothing meanwhile.
    """
    counting = own
    first: dict[date, PriceVersion] = {}
    for version in versions:
        since = version.tariff.prices_since
        if since is None or not sale.situation.at_us < version.from_us <= until_us:
            continue
        zone = version.tariff.time_zone or sale.situation.time_zone
        if local_day(sale.situation.at_us, zone) >= since:
            counting = first.setdefault(since, version)
    return counting


# --- what they cost -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cost:
    by_account: Mapping[str, int]
    correctable: int


def _costs(sales: Sequence[tuple[SoldBefore, PriceVersion]]) -> dict[int, _Cost]:
    """Return what each sale costs by a version, each with what the ones before it left."""
    found: dict[int, _Cost] = {}
    for at, (sale, version) in enumerate(sales):
        situation = sale.situation
        if version.id != sale.version_id:
            start_us = window_start_us(
                version.tariff.energy.counter, situation.at_us, situation.time_zone
            )
            lifeline = sum(
                found[each.id].correctable
                for each, by in sales[:at]
                if by is version and each.situation.at_us >= start_us
            )
            situation = replace(situation, prior_lifeline_units=max(0, lifeline), priced_before=())
        found[sale.id] = _Cost(*use_of_sale(version.tariff, situation, sale.units))
    return found


def _sum(each_by_account: Iterator[Mapping[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for by_account in each_by_account:
        for account, minor in by_account.items():
            sums[account] = sums.get(account, 0) + minor
    return sums


def _labels(tariff: Tariff) -> dict[str, str]:
    """Return what accounts are called, in the order of the lines of a receipt."""
    labels = {income_account(tariff.commodity.value): tariff.energy.label}
    labels |= {levy_account(item.code): item.label for item in tariff.unit_items}
    for is_tax, account in ((False, levy_account), (True, tax_account)):
        items = [item for item in tariff.percent_items if item.is_tax is is_tax]
        labels |= {account(item.code): item.label for item in items}
    return labels

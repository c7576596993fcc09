"""Stored sales priced again: does every line follow from the tariff it was sold under? Pure.

A sale keeps all that pricing knew (its situation), so that with its tariff version and its tender
the lines are determined completely. Sales come in order per supply point; what the block counter of
each started from is held against the sales before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any, Final

from slotmeter.errors import Refused
from slotmeter.services.sale_particulars import line_dicts
from slotmeter.units import HOUR_US, parse_money
from slotmeter.vending.pricing.engine import free_given, price_tender, window_start_us
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.model import Tariff

__all__ = [
    "DIFFERENCES_MAX",
    "Difference",
    "Repriced",
    "Repricer",
    "SoldUnder",
    "StoredSale",
    "merged",
    "price_again",
    "situation_of",
]

_NO_LINE: Final[Mapping[str, Any]] = {}

CLOCKS_APART_US_MAX: Final = HOUR_US
"""The clocks of two servers that sell for one meter are at most this far apart."""

DIFFERENCES_MAX: Final = 20
"""At most this many differences are listed; all are counted."""

_CHARGE: Final = "income:charge:"

Line = Mapping[str, Any]
Differing = tuple[str, object, object]


@dataclass(frozen=True, slots=True)
class StoredSale:
    """A sale as the database keeps it, with what is needed to price it again.

    Args:
        id: the row.
        receipt_number: for people.
        supply_point_id: the block counter is this point's.
        tariff_version_id: sold under this.
        tender_minor: what was paid.
        sold_us: when.
        units: what the paid token carries, Wh or mL.
        counted_units: the block counter moved by this.
        lifeline_units: of these, at a price that a later purchase corrects.
        kept_minor: what is kept for the next purchase rose by this.
        transfer_minor: what a currency token carries.
        priced: JSON of the lines.
        situation: JSON of what pricing knew; None for sales of the first release.
        particulars: JSON of the receipt's particulars; only sales of the first release need it.
        credit_mode: who holds the credit; of use for sales of the first release.
        state: issued, pending or voided.
    """

    id: int
    receipt_number: str
    supply_point_id: int
    tariff_version_id: int
    tender_minor: int
    sold_us: int
    units: int
    counted_units: int
    lifeline_units: int
    kept_minor: int
    transfer_minor: int | None
    priced: str
    situation: str | None
    particulars: str | None
    credit_mode: str
    state: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One sale that does not follow from its tariff."""

    receipt_number: str
    what: str
    stored: str
    computed: str


@dataclass(slots=True)
class Repriced:
    """What came of pricing sales again.

    Args:
        sales: how many were priced.
        first_release: of these, sales that kept no situation.
        voided: passed over; nothing was sold.
        tender_minor: of the sales priced.
        different: sales with at least one difference.
        differences: the first of them.
    """

    sales: int = 0
    first_release: int = 0
    voided: int = 0
    tender_minor: int = 0
    different: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: Repriced) -> None:
        """Add what came of further sales."""
        self.sales += other.sales
        self.first_release += other.first_release
        self.voided += other.voided
        self.tender_minor += other.tender_minor
        self.different += other.different
        room = DIFFERENCES_MAX - len(self.differences)
        self.differences += other.differences[: max(0, room)]


def merged(parts: Iterable[Repriced]) -> Repriced:
    """Add up what came of parts."""
    total = Repriced()
    for part in parts:
        total.add(part)
    return total


@dataclass(frozen=True, slots=True)
class SoldUnder:
    """A tariff version, and whether what was bought before counts under it."""

    tariff: Tariff
    has_window: bool


class Repricer:
    """Prices sales again, one supply point after the other.

    Args:
        under: returns the tariff of a version.
        from_us: sales before this instant are not given; what they counted is not known.
    """

    def __init__(self, under: Callable[[int], SoldUnder], from_us: int = 0) -> None:
        """Start with nothing priced."""
        self._under = under
        self._from_us = from_us
        self.result = Repriced()

    def add_point(self, sales: Sequence[StoredSale]) -> None:
        """Price the sales of one supply point again, in the order in which they were made."""
        counter = _Counter(self._from_us)
        # Ids are given in the order of the commits; clocks of two tills may be a moment apart.
        for sale in sorted(sales, key=_id_of):
            if sale.state == "voided":
                self.result.voided += 1
            else:
                self._add(sale, counter)
            counter.add(sale)

    def _add(self, sale: StoredSale, counter: _Counter) -> None:
        result = self.result
        result.sales += 1
        result.tender_minor += sale.tender_minor
        result.first_release += sale.situation is None
        under = self._under(sale.tariff_version_id)
        situation = situation_of(sale, under.tariff)
        try:
            priced = price_again(under.tariff, situation, sale.tender_minor)
        except Refused as error:
            things: Iterable[Differing] = (("price", "sold", f"refused: {error.code}"),)
        else:
            things = _things_that_differ(sale, situation, priced)
        if under.has_window and sale.situation is not None:
            things = chain(things, counter.differs(sale, situation, under.tariff))
        found = [Difference(sale.receipt_number, *map(str, each)) for each in things]
        if found:
            result.different += 1
            room = DIFFERENCES_MAX - len(result.differences)
            result.differences += found[: max(0, room)]


def _id_of(sale: StoredSale) -> int:
    return sale.id


_TAKEN_BACK: Final = ("voided", "reversed")


class _Counter:
    """What the sales of a supply point have counted so far."""

    def __init__(self, from_us: int) -> None:
        self._from_us = from_us
        self._counted: list[tuple[int, int, bool]] = []

    def add(self, sale: StoredSale) -> None:
        if sale.counted_units:
            self._counted.append((sale.sold_us, sale.counted_units, sale.state in _TAKEN_BACK))

    def differs(
        self, sale: StoredSale, situation: Situation, tariff: Tariff
    ) -> Iterator[Differing]:
        """Say if a sale began from another block counter than the sales before it make.

        A sale that was voided later counted until then, so that it may count or not.
        """
        start_us = window_start_us(tariff.energy.counter, situation.at_us, situation.time_zone)
        if start_us < self._from_us:
            return
        low = high = 0
        for sold_us, units, is_voided in reversed(self._counted):
            if sold_us < start_us - CLOCKS_APART_US_MAX:
                break  # all before it are older still
            if sold_us >= start_us:
                high += units
                low += 0 if is_voided else units
        if not low <= situation.prior_units <= high:
            yield "block counter before it", situation.prior_units, low


def price_again(tariff: Tariff, situation: Situation, tender_minor: int) -> Priced:
    """Price a sale as it was priced; one without money claimed free units.

    Raises:
        Refused: it would not be sold.
    """
    if tender_minor:
        return price_tender(tariff, situation, tender_minor, with_outlook=False)
    free = free_given(tariff, situation)
    counted = sum(each.units for each in free) if tariff.energy.counter.counts_free else 0
    return Priced(0, (), 0, counted_units=counted, free=free, kept_minor=situation.advance_minor)


def situation_of(sale: StoredSale, tariff: Tariff) -> Situation:
    """Return what pricing knew of a sale.

    Sales of the first release kept no situation; theirs follows from the sale itself: a charge that
    was taken was what was left of the month's.
    """
    if sale.situation is not None:
        return Situation.from_dict(json.loads(sale.situation))
    particulars = json.loads(sale.particulars or "{}")
    return Situation(
        at_us=sale.sold_us,
        time_zone=particulars["time_zone"],
        is_meter_credit=sale.credit_mode == "meter",
        account_number=particulars["account_number"],
        charges=tuple(_charges_taken(sale, tariff)),
    )


def _charges_taken(sale: StoredSale, tariff: Tariff) -> Iterator[ChargeState]:
    due = {item.code: item.amount for item in tariff.fixed_items}
    for line in json.loads(sale.priced):
        account: str = line["account"]
        if not account.startswith(_CHARGE):
            continue
        code = account.removeprefix(_CHARGE)
        # The label of such a line ends with the month that it is for.
        period = line["label"].rpartition(" ")[2]
        whole = parse_money(f"{due[code]:f}", tariff.currency).minor
        yield ChargeState(code, period, whole - line["amount_minor"])


def _things_that_differ(
    sale: StoredSale, situation: Situation, priced: Priced
) -> Iterable[Differing]:
    """Return what differs, each with what is stored and what comes out now."""
    stored: list[Line] = json.loads(sale.priced)
    if sale.situation is None:
        return _amounts_that_differ(sale, stored, priced)
    counts = _unequal(
        (
            ("units", sale.units, priced.units),
            ("counted units", sale.counted_units, priced.counted_units),
            ("lifeline units", sale.lifeline_units, priced.lifeline_units),
            ("kept", sale.kept_minor, priced.kept_minor - situation.advance_minor),
            ("transfer", sale.transfer_minor, priced.transfer_minor),
        )
    )
    if _same_lines(stored, priced):
        return counts
    return chain(counts, _lines_that_differ(stored, line_dicts(priced.lines)))


def _same_lines(stored: Sequence[Line], priced: Priced) -> bool:
    """Say whether all that a sale kept of its lines comes out again."""
    if len(stored) != len(priced.lines):
        return False
    for line, old in zip(priced.lines, stored, strict=True):
        for name, value in old.items():
            if getattr(line, name) != value:
                return False
    return True


def _amounts_that_differ(
    sale: StoredSale, stored: Sequence[Line], priced: Priced
) -> Iterator[Differing]:
    """Compare by account: the first release wrote the same amounts in another order."""
    old = _by_account((line["account"], line["amount_minor"]) for line in stored)
    new = _by_account((line.account, line.amount_minor) for line in priced.lines)
    yield from _unequal((("units", sale.units, priced.units),))
    yield from _unequal((code, old.get(code), new.get(code)) for code in sorted({*old, *new}))


def _lines_that_differ(stored: Sequence[Line], computed: Sequence[Line]) -> Iterator[Differing]:
    """Compare what a sale kept of each line; a later release may know more of it."""
    for at, (old, new) in enumerate(zip_longest(stored, computed, fillvalue=_NO_LINE), start=1):
        names = old or new
        one = {name: old.get(name) for name in names}
        two = {name: new.get(name) for name in names}
        if one != two:
            yield f"line {at}", one, two


def _unequal(things: Iterable[Differing]) -> list[Differing]:
    return [each for each in things if each[1] != each[2]]


def _by_account(amounts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for account, minor in amounts:
        sums[account] = sums.get(account, 0) + minor
    return {account: minor for account, minor in sums.items() if minor}

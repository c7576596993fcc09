"""Stored sales priced again: does every line follow from the tariff it was sold under? Pure.

A sale keeps all that pricing knew (its situation), so that with its tariff version and its tender
the lines are determined completely. Sales come in order per supply point; what the block counter of
each started from is held against the sales before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final

from slotmeter.errors import Refused
from slotmeter.units import parse_money
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.model import Tariff

__all__ = [
    "DIFFERENCES_MAX",
    "Difference",
    "Repriced",
    "Repricer",
    "StoredSale",
    "merged",
    "situation_of",
]

DIFFERENCES_MAX: Final = 20
"""At most this many differences are listed; all are counted."""

_LINE: Final = ("kind", "code", "account", "amount_minor", "quantity", "rate", "base_minor")
_LINE_MORE: Final = ("period", "left_minor")
_CHARGE: Final = "income:charge:"

Line = tuple[Any, ...]
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
        kept_minor: kept for the next purchase.
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


class Repricer:
    """Prices sales again, one after the other.

    Args:
        tariff_of: returns the tariff of a version.
    """

    def __init__(self, tariff_of: Callable[[int], Tariff]) -> None:
        """Start with nothing priced."""
        self._tariff_of = tariff_of
        self.result = Repriced()

    def add(self, sale: StoredSale) -> None:
        """Price one sale again and remember what differs."""
        result = self.result
        if sale.state == "voided":
            result.voided += 1
            return
        result.sales += 1
        result.tender_minor += sale.tender_minor
        tariff = self._tariff_of(sale.tariff_version_id)
        if sale.situation is None:
            result.first_release += 1
        try:
            priced = price_tender(
                tariff, situation_of(sale, tariff), sale.tender_minor, with_outlook=False
            )
        except Refused as error:
            found = [Difference(sale.receipt_number, "price", "sold", f"refused: {error.code}")]
        else:
            if _same(sale, priced):
                return
            found = list(_differences(sale, priced))
        result.different += 1
        room = DIFFERENCES_MAX - len(result.differences)
        result.differences += found[: max(0, room)]


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


def _same(sale: StoredSale, priced: Priced) -> bool:
    if (
        priced.units != sale.units
        or priced.tender_minor != sale.tender_minor
        or (sale.situation is not None and not _same_counts(sale, priced))
    ):
        return False
    stored = json.loads(sale.priced)
    if sale.situation is None:
        return _by_account(stored) == _priced_by_account(priced)
    lines = priced.lines
    if len(stored) != len(lines):
        return False
    for line, old in zip(lines, stored, strict=True):
        get = old.get
        if (
            line.amount_minor != old["amount_minor"]
            or line.account != old["account"]
            or line.kind != old["kind"]
            or line.quantity != get("quantity")
            or line.rate != get("rate")
            or line.code != get("code")
            or line.base_minor != get("base_minor")
            or line.period != get("period")
            or line.left_minor != get("left_minor")
        ):
            return False
    return True


def _same_counts(sale: StoredSale, priced: Priced) -> bool:
    return (
        priced.counted_units == sale.counted_units
        and priced.kept_minor == sale.kept_minor
        and priced.transfer_minor == sale.transfer_minor
    )


def _differences(sale: StoredSale, priced: Priced) -> Iterator[Difference]:
    """Say how a sale differs, one sentence for each thing."""
    if sale.situation is None:
        things = _amounts_that_differ(sale, priced)
    else:
        things = chain(_counts_that_differ(sale, priced), _lines_that_differ(sale, priced))
    for what, stored, computed in things:
        yield Difference(sale.receipt_number, what, str(stored), str(computed))


def _amounts_that_differ(sale: StoredSale, priced: Priced) -> Iterator[Differing]:
    old, new = _by_account(json.loads(sale.priced)), _priced_by_account(priced)
    yield from _unequal((("units", sale.units, priced.units),))
    yield from _unequal((code, old.get(code), new.get(code)) for code in sorted({*old, *new}))


def _counts_that_differ(sale: StoredSale, priced: Priced) -> Iterator[Differing]:
    return _unequal(
        (
            ("units", sale.units, priced.units),
            ("counted units", sale.counted_units, priced.counted_units),
            ("kept", sale.kept_minor, priced.kept_minor),
            ("transfer", sale.transfer_minor, priced.transfer_minor),
        )
    )


def _lines_that_differ(sale: StoredSale, priced: Priced) -> Iterator[Differing]:
    stored = [_line(line.get) for line in json.loads(sale.priced)]
    computed = [_line(partial(getattr, line)) for line in priced.lines]
    pairs = enumerate(zip_longest(stored, computed), start=1)
    return _unequal((f"line {at}", one, two) for at, (one, two) in pairs)


def _unequal(things: Iterable[Differing]) -> Iterator[Differing]:
    return (each for each in things if each[1] != each[2])


def _line(get: Callable[[str], Any]) -> Line:
    return tuple(get(name) for name in (*_LINE, *_LINE_MORE))


def _by_account(stored: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in stored:
        sums[line["account"]] = sums.get(line["account"], 0) + line["amount_minor"]
    return {account: minor for account, minor in sums.items() if minor}


def _priced_by_account(priced: Priced) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in priced.lines:
        sums[line.account] = sums.get(line.account, 0) + line.amount_minor
    return {account: minor for account, minor in sums.items() if minor}

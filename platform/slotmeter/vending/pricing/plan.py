"""A tariff made ready for one kind of buyer: exact integer prices over one denominator.

Everything that lies on a unit is resolved once into what the next unit costs in each part of the
block counter, so that pricing a sale is a few integer operations. A *segment* is a stretch of the
counter with one price. A *regime* is a range of the window's total within which one list of
segments holds; most tables have one, a lifeline or a price for the whole window has several, and
passing from one to the next takes back what was sold at the other's price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Final

from slotmeter.vending.ledger import levy_account
from slotmeter.vending.pricing.chosen import tender_limits
from slotmeter.vending.pricing.integers import Division
from slotmeter.vending.tariff.model import Collection, FixedItem, Tariff, UnitItem

__all__ = ["ENDLESS", "LIFELINE", "Fixed", "Percentage", "Plan", "Regime", "Segment", "regime_of"]

ENDLESS: Final = 1 << 80
"""A limit of the block counter that no purchase reaches."""
LIFELINE: Final = "lifeline"
"""Code of a segment at the price of a lifeline."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the block counter with one price.

    Prices are minor units per priced base unit (Wh or mL), over ``Plan.denominator``.

    Args:
        end: the counter's value at which it ends.
        block: number of the block, 1 is the first.
        code: of its line: ``block1``, or ``lifeline``.
        rate: published price per sold unit, as text; None if that is not the price without tax.
        net: price without what is included in it.
        gross: with what is included in it; the same where nothing is.
        levies: per-unit items, in the order of ``Plan.levies``; 0 where one does not lie on it.
        gross_levies: per-unit items with what is included in them.
        percents: percentages, in the order of ``Plan.percents``.
        all_in: with everything, rounded to the tariff's price step if there is one.
        price: ``all_in`` in major units per sold unit, as text.
        shown: price that ``gross_minor`` of its line is computed from: rounded with everything, or
            published with what is included; 0 where the line names the price without tax only.
        gross_rate: the same in major units per sold unit, as text; None for none.
    """

    end: int
    block: int
    code: str
    rate: str | None
    net: int
    gross: int
    levies: tuple[int, ...]
    gross_levies: tuple[int, ...]
    percents: tuple[int, ...]
    all_in: int
    price: str
    shown: int
    gross_rate: str | None

    def bears(self, item: Percentage | UnitItem) -> bool:
        """Say whether an item lies on the units of this segment."""
        is_in = item.blocks is None or self.block in item.blocks
        return is_in and (item.lifeline or self.code != LIFELINE)


@dataclass(frozen=True, slots=True)
class Regime:
    """Segments that hold while the window's total is above ``low`` and at most ``high``."""

    low: int
    high: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Percentage:
    """A percentage with its bases as positions.

    Args:
        code: of its line.
        label: of its line.
        kind: ``tax`` or ``levy``.
        account: of the ledger.
        rate: percent as text.
        numerator: of the percentage as a fraction of one; of the gross, as one of its bases
            without all percentages of the gross.
        denominator: of that.
        on_tender: its base is the tender, and nothing else.
        on_energy: its bases include energy.
        levies: positions of per-unit items in its bases.
        percents: positions of percentages in its bases.
        fixed: codes of fixed items in its bases.
        blocks: narrows energy and per-unit items; None for all.
        lifeline: of energy and per-unit items, those at the price of a lifeline count too.
        is_included: prices of its bases are published with it.
        gross: the gross of one unit of money of its bases; 1 for what is not of the gross.
        least: of a percentage of the tender, minor units: it comes to at least this.
        most: ... and at most this; None for no end.
    """

    code: str
    label: str
    kind: str
    account: str
    rate: str
    numerator: int
    denominator: int
    on_tender: bool
    on_energy: bool
    levies: tuple[int, ...]
    percents: tuple[int, ...]
    fixed: frozenset[str]
    blocks: frozenset[int] | None
    lifeline: bool
    is_included: bool
    gross: Fraction = Fraction(1)
    least: int = 0
    most: int | None = None

    def base_minor(self, numerator: int, denominator: int = 1) -> int:
        """Return the base as it is printed, to the nearest: of the gross, with what is in it."""
        numerator *= self.gross.numerator
        denominator *= self.gross.denominator
        if denominator < 0:
            numerator, denominator = -numerator, -denominator
        return (2 * numerator + denominator) // (2 * denominator)


@dataclass(frozen=True, slots=True)
class Fixed:
    """What percentages lie on a fixed item.

    Args:
        weights: each percentage of one unit of money without tax, over ``Plan.denominator``.
        all_in: one unit without tax with everything, likewise.
        inside: what is included in the published amount, of one unit without tax, likewise.
        with_included: an amount with what is included in its published amount, per amount without.
        with_all: the same with everything.
    """

    weights: tuple[int, ...]
    all_in: int
    inside: int
    with_included: Fraction
    with_all: Fraction


@dataclass(frozen=True, eq=False)
class Plan:
    """Prices of one table with the items that apply.

    Args:
        tariff: what it was made of.
        scale: minor units in a major unit of the currency.
        sold_unit: base units that prices are for: Wh to the kWh, mL to the m³.
        denominator: of every price and weight.
        regimes: in order; empty when the table has no price in advance.
        levies: per-unit items that apply.
        percents: percentages that apply, each base before its percentage.
        fixed: by code of the tariff's fixed items.
        tender_weights: what percentages lie on each percentage of the tender, by its position.
        divide: rounds a line of money.
        spares_lifeline: some percentage is not taken of units at the price of a lifeline, so that
            corrections say what these units had cost.
        earlier: regimes of the tables, by code, that units to be corrected were sold by; empty
            where these were sold at this plan's own prices.
    """

    tariff: Tariff
    scale: int
    sold_unit: int
    denominator: int
    regimes: tuple[Regime, ...]
    levies: tuple[UnitItem, ...]
    percents: tuple[Percentage, ...]
    fixed: Mapping[str, Fixed]
    tender_weights: Mapping[int, tuple[int, ...]]
    divide: Division
    spares_lifeline: bool = False
    earlier: Mapping[str, tuple[Regime, ...]] = field(default_factory=dict)

    @cached_property
    def is_stepped(self) -> bool:
        """Prices with everything are rounded before they are multiplied."""
        rules = self.tariff.rounding
        return rules.price_step is not None or rules.fixed_step is not None

    @cached_property
    def included(self) -> tuple[int, ...]:
        """Positions of percentages that published prices include."""
        return tuple(at for at, each in enumerate(self.percents) if each.is_included)

    @cached_property
    def taxes(self) -> tuple[int, ...]:
        """Positions of taxes that are not on the tender."""
        return tuple(
            at for at, each in enumerate(self.percents) if each.kind == "tax" and not each.on_tender
        )

    @cached_property
    def has_gross(self) -> bool:
        """Lines of energy name a price with what lies on it."""
        return any(segment.gross_rate for regime in self.regimes for segment in regime.segments)

    @cached_property
    def lines_max(self) -> int:
        """The most lines that a purchase of units has."""
        segments = max((len(regime.segments) for regime in self.regimes), default=0)
        return 2 * (segments + len(self.levies) + len(self.percents))

    @cached_property
    def on_tender(self) -> tuple[int, ...]:
        """Positions of percentages of the tender."""
        return tuple(at for at, each in enumerate(self.percents) if each.on_tender)

    @cached_property
    def levy_lines(self) -> tuple[tuple[UnitItem, str, str, bool], ...]:
        """The per-unit items: account, published price, whether they lie on units of all kinds."""
        return tuple(
            (
                item,
                levy_account(item.code),
                f"{item.price:f}",
                item.blocks is None and item.lifeline,
            )
            for item in self.levies
        )

    @cached_property
    def levy_accounts(self) -> tuple[str, ...]:
        """Ledger accounts of the per-unit items."""
        return tuple(levy_account(item.code) for item in self.levies)

    @cached_property
    def fixed_items(self) -> Mapping[str, FixedItem]:
        """Fixed items that are due by period, by code."""
        return {
            item.code: item
            for item in self.tariff.fixed_items
            if item.collect is not Collection.PURCHASE
        }

    @cached_property
    def tender_limits(self) -> tuple[int, ...]:
        """Tenders at which something else than limits of a purchase changes, minor units."""
        return tender_limits(self.tariff)

    @cached_property
    def by_use(self) -> frozenset[str]:
        """Codes of fixed items that depend on the window's total."""
        return frozenset(item.code for item in self.tariff.fixed_items if item.is_by_use)

    @cached_property
    def lifeline_up_to(self) -> int | None:
        """The limit of the lifeline; None without one."""
        first = self.regimes[0] if self.regimes else None
        is_lifeline = first is not None and first.segments[0].code == LIFELINE
        return first.high if first is not None and is_lifeline else None

    @cached_property
    def has_split(self) -> bool:
        """Small purchases pay a part of some fixed items."""
        return any(item.split is not None for item in self.tariff.fixed_items)

    @cached_property
    def per_purchase(self) -> tuple[FixedItem, ...]:
        """Fixed items that come with every purchase."""
        return tuple(
            item for item in self.tariff.fixed_items if item.collect is Collection.PURCHASE
        )

    def major(self, minor: int) -> str:
        """Write minor units in major units with all decimals of the currency."""
        decimals = len(str(self.scale)) - 1
        return f"{Decimal(minor).scaleb(-decimals):.{decimals}f}"

    def regime_of(self, total: int) -> int:
        """Return the position of the regime that a total of the window is in; the last if none."""
        return regime_of(self.regimes, total)


def regime_of(regimes: Sequence[Regime], total: int) -> int:
    """Return the position of the regime that a total of the window is in; the last if none."""
    for at, regime in enumerate(regimes):
        if total <= regime.high:
            return at
    return len(regimes) - 1

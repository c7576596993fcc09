"""A tariff as values: what a unit costs, what is added, who gets what, where it is rounded.

The reader (:mod:`slotmeter.vending.tariff.reader`) makes one from a YAML or JSON document and has
checked everything that can be checked without a sale; the engine (``vending.pricing``) prices by
it. Prices are ``Decimal`` major units of the currency per sold unit (kWh, m³); limits of blocks are
base units (Wh, mL); amounts of money are ``Decimal`` major units, exact as published. Percentages
are percent (``Decimal("16")`` is 16 %). Codes of items are unique in a tariff.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from slotmeter.units import Commodity, Rounding
from slotmeter.vending.tariff.measured import Calendar, DayPlan, EnergyContent, Holidays, Season

__all__ = [
    "ALWAYS",
    "Block",
    "BlockWindow",
    "Calendar",
    "Collection",
    "Condition",
    "Counter",
    "DayPlan",
    "DebtCap",
    "Energy",
    "EnergyContent",
    "FixedItem",
    "FreeUnits",
    "Holidays",
    "Lifeline",
    "Measure",
    "Missed",
    "PercentItem",
    "PercentOf",
    "PurchaseRule",
    "RoundingRules",
    "Season",
    "Split",
    "SplitBy",
    "Table",
    "TableRule",
    "Tariff",
    "TooSmall",
    "UnitItem",
    "UseBand",
]


@dataclass(frozen=True, slots=True)
class Condition:
    """When a part of a tariff applies: all that is given must hold.

    Args:
        classes: the customer class is one of these; None for any, also for no class.
        from_date: on and after this local date.
        until_date: before this local date.
        months: the local month is one of these, 1 to 12.
        average_above: average monthly use over ``Tariff.average_months`` is above this, Wh or mL.
        average_up_to: ... is at most this.
        connections: the connection size (as ``"15 mm"``, ``"1 phase"``) is one of these.
        load_above_w: the sanctioned load is above this, W.
        load_up_to_w: ... is at most this.
        channels: the channel of the purchase is one of these.
        vendors: the seller's branch code is one of these.
        not_classes: the customer class is none of these; holds without a class.
        tender_above: what is tendered is above this, coins of the currency.
        tender_up_to: ... is at most this. Where nothing is tendered, as on a bill, neither holds.
    """

    classes: frozenset[str] | None = None
    from_date: date | None = None
    until_date: date | None = None
    months: frozenset[int] | None = None
    average_above: int | None = None
    average_up_to: int | None = None
    connections: frozenset[str] | None = None
    load_above_w: int | None = None
    load_up_to_w: int | None = None
    channels: frozenset[str] | None = None
    vendors: frozenset[str] | None = None
    not_classes: frozenset[str] | None = None
    tender_above: int | None = None
    tender_up_to: int | None = None

    @property
    def is_by_tender(self) -> bool:
        """It looks at what is tendered."""
        return self.tender_above is not None or self.tender_up_to is not None


ALWAYS = Condition()


# --- energy -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Units from the block before up to ``up_to`` (Wh or mL, included; None is no limit).

    Units beyond the last block's limit have no price: such a purchase is refused. If ``whole``,
    its price is that of all units of the window up to its limit as soon as it is reached.
    """

    up_to: int | None
    price: Decimal
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Lifeline:
    """A price for the whole account while the window's total stays at or below a limit.

    The purchase that crosses the limit pays the difference for what was bought at this price
    before (the *correction*), as the receipt says in a line of its own.

    Args:
        up_to: the limit, Wh or mL.
        price: of each unit; with blocks, that of the first.
        blocks: prices up to the limit, in place of one; empty for one.
    """

    up_to: int
    price: Decimal
    blocks: tuple[Block, ...] = ()

    @property
    def steps(self) -> tuple[tuple[int, Decimal], ...]:
        """Up to which value of the counter it has which price, in order."""
        steps = [(each.up_to or self.up_to, each.price) for each in self.blocks]
        return tuple(steps) or ((self.up_to, self.price),)


@dataclass(frozen=True, slots=True)
class Table:
    """One set of prices; either ``blocks`` (at least one) or ``periods`` (time of use).

    Args:
        code: its name in the tariff; ``standard`` when there is only one.
        blocks: in order; one block without limit is a flat price.
        whole: the price of the block that the total falls into applies to all units of the window
            (with a correction line when a limit is crossed), not only to those of the block.
        lifeline: instead of the blocks while the total is small.
        periods: price by period of the calendar; purchases in advance use ``advance_price``.
        period_blocks: blocks of a period, which count the period's own units of the window; a
            period that is not there has one price. ``periods`` has the price of the first.
        advance_price: what a unit costs when it is bought before it is used; None when purchases
            in advance are not possible under this table.
    """

    code: str
    blocks: tuple[Block, ...] = ()
    whole: bool = False
    lifeline: Lifeline | None = None
    periods: Mapping[str, Decimal] | None = None
    advance_price: Decimal | None = None
    period_blocks: Mapping[str, tuple[Block, ...]] = field(default_factory=dict)

    @property
    def corrects(self) -> bool:
        """A purchase may change the price of units that were bought before."""
        is_whole = self.whole or any(block.whole for block in self.blocks)
        return is_whole or self.lifeline is not None


@dataclass(frozen=True, slots=True)
class TableRule:
    """The first rule whose condition holds says which table prices."""

    when: Condition
    table: str


class BlockWindow(StrEnum):
    """What the block counter counts within."""

    CALENDAR_MONTH = "calendar_month"
    BILLING_PERIOD = "billing_period"  # months that begin on ``Counter.start_day``
    ROLLING = "rolling"  # the last ``Counter.days`` days up to the instant of the purchase


class Missed(StrEnum):
    """What becomes of periods without a purchase."""

    ACCUMULATE = "accumulate"
    LAPSE = "lapse"


@dataclass(frozen=True, slots=True)
class Counter:
    """The block counter: units issued in the window; free units only if said so.

    ``months`` is the length of a calendar or billing window: 2 are January and February, March
    and April, and so on. ``missed`` says what becomes of the first block of windows without
    a purchase: if it accumulates, the counter of the next window starts below zero, by the size of
    the first block for each window missed (at most ``months_max``), so that it is longer once.
    """

    window: BlockWindow = BlockWindow.CALENDAR_MONTH
    start_day: int = 1  # 1 to 28
    days: int = 30
    counts_free: bool = False
    missed: Missed = Missed.LAPSE
    months_max: int = 12
    months: int = 1  # 1, 2, 3, 4, 6 or 12


@dataclass(frozen=True, slots=True)
class Energy:
    """The price of what is sold, before levies and taxes."""

    label: str
    tables: Mapping[str, Table]
    rules: tuple[TableRule, ...]
    counter: Counter


# --- what is added ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UnitItem:
    """A levy or surcharge per unit.

    ``blocks`` (1 is the first) narrows it to some blocks; without ``lifeline`` it is not taken of
    units at the price of a lifeline.
    """

    code: str
    label: str
    price: Decimal
    blocks: frozenset[int] | None = None
    when: Condition = ALWAYS
    lifeline: bool = True


@dataclass(frozen=True, slots=True)
class PercentItem:
    """A percentage of named bases.

    Args:
        code: unique.
        label: for people.
        percent: may be negative (a rebate).
        on: codes of other items, or the groups ``energy``, ``levies`` (all per-unit items),
            ``fixed`` (all fixed items), ``tender`` (alone only). Never cyclic: the reader has put
            the items in an order in which each base comes before its percentage.
        is_tax: shown and posted as a tax (``tax:<code>``), else as a levy.
        blocks: narrows the base ``energy`` and per-unit items to some blocks.
        included: the prices of the bases are published with it; the engine takes it out of them,
            as the remainder, in place of adding it.
        lifeline: False narrows the base ``energy`` and per-unit items to units that are not at the
            price of a lifeline.
        of_gross: it is taken of its bases with itself in them, and with all others of the gross
            that share its bases.
        minimum: of a percentage of the tender: it is at least this, major units; None for any.
        maximum: ... and at most this.
    """

    code: str
    label: str
    percent: Decimal
    on: tuple[str, ...]
    is_tax: bool = False
    blocks: frozenset[int] | None = None
    included: bool = False
    when: Condition = ALWAYS
    lifeline: bool = True
    of_gross: bool = False
    minimum: Decimal | None = None
    maximum: Decimal | None = None

    @property
    def shares(self) -> object:
        """Percentages of the gross for which this is equal have one gross."""
        return frozenset(self.on), self.blocks, self.lifeline, self.included


class Measure(StrEnum):
    """What a fixed amount is multiplied with, per period."""

    FLAT = "flat"
    LOAD_KW = "load_kw"  # sanctioned load
    DEMAND_KW = "demand_kw"  # highest measured demand of the period before


class Collection(StrEnum):
    """When a fixed charge is due."""

    MONTH = "month"  # once for each period of the block counter's calendar, at the first purchase
    DAY = "day"  # for each local day since the purchase before, that of today included
    PURCHASE = "purchase"  # with every purchase


@dataclass(frozen=True, slots=True)
class Split:
    """Small purchases pay in proportion: of a purchase below ``below`` the share ``due / below``.

    So the customer gets some energy from every purchase, until ``below`` has been tendered within
    the period. ``below`` is money, with tax.
    """

    below: Decimal


@dataclass(frozen=True, slots=True)
class UseBand:
    """What a charge is while the window's total is at most ``up_to``, Wh or mL; None for no limit.

    It begins above the limit of the band before.
    """

    up_to: int | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class FixedItem:
    """A charge that does not depend on units.

    Args:
        code: unique.
        label: for people.
        amount: per period (and per measure); without tax unless a percentage on it is ``included``
            in it (``includes_tax``).
        includes_tax: the amount is published with the taxes that lie on it.
        amounts: by connection size, in place of ``amount``.
        collect: when it is due.
        missed: what becomes of periods without a purchase; ``months_max`` bounds what adds up.
        measure: what it is multiplied with.
        split: how small purchases pay.
        by_use: amounts by the window's total with the purchase in it, in place of ``amount``;
            a purchase that takes it into the next band pays the difference.
        lifeline: False takes nothing while the window's total is at the price of a lifeline.
    """

    code: str
    label: str
    amount: Decimal
    includes_tax: bool = False
    amounts: Mapping[str, Decimal] | None = None
    collect: Collection = Collection.MONTH
    missed: Missed = Missed.LAPSE
    months_max: int = 120
    measure: Measure = Measure.FLAT
    split: Split | None = None
    when: Condition = ALWAYS
    by_use: tuple[UseBand, ...] = ()
    lifeline: bool = True

    @property
    def is_by_use(self) -> bool:
        """What it comes to depends on the window's total."""
        return bool(self.by_use) or not self.lifeline


@dataclass(frozen=True, slots=True)
class FreeUnits:
    """Units given each calendar month, by a separate token of zero amount, from the first day on.

    Args:
        code: unique.
        label: for people.
        units: per month, Wh or mL.
        accumulates: months not claimed are kept (at most ``months_max``), else lost.
        needs_registration: only accounts registered for ``code`` get them.
    """

    code: str
    label: str
    units: int
    accumulates: bool = False
    months_max: int = 12
    needs_registration: bool = True
    when: Condition = ALWAYS


# --- rules of a purchase ------------------------------------------------------------------------


class TooSmall(StrEnum):
    """What becomes of a tender that cannot buy the smallest amount after the charges."""

    REFUSE = "refuse"
    PAY_CHARGES = "pay_charges"  # all of it is taken towards the charges; no units


@dataclass(frozen=True, slots=True)
class PurchaseRule:
    """Limits of one purchase, money with tax; every rule whose condition holds binds."""

    minimum: Decimal | None = None
    maximum: Decimal | None = None
    when: Condition = ALWAYS


@dataclass(frozen=True, slots=True)
class DebtCap:
    """At most this percentage of a tender goes to debts; the first rule that holds counts."""

    percent: Decimal
    when: Condition = ALWAYS


class PercentOf(StrEnum):
    """What percentages are computed from."""

    EXACT = "exact"  # the unrounded bases
    ROUNDED = "rounded"  # the base lines as they are printed, added up


class SplitBy(StrEnum):
    """How the money that buys energy becomes lines."""

    UNITS = "units"  # lines are computed from the rounded units; the rest is a rounding line
    TENDER = "tender"  # lines without tax are divided out of the tender; the tax is the remainder


@dataclass(frozen=True, slots=True)
class RoundingRules:
    """Where it is rounded.

    Args:
        unit_step: units are a multiple of this, in sold units; at least 0.1 for STS tokens in
            practice, finer steps are for currencies of units without tokens and for bills.
        units: direction of that.
        lines: direction of every money line, at the smallest coin.
        percent_of: see :class:`PercentOf`.
        price_step: the price with all its taxes is rounded half up to a multiple of this (major
            units per sold unit) before anything is multiplied; None to never do so.
        fixed_step: the same for fixed amounts with their taxes.
        split_by: see :class:`SplitBy`.
    """

    unit_step: Decimal = Decimal("0.1")
    units: Rounding = Rounding.DOWN
    lines: Rounding = Rounding.HALF_UP
    percent_of: PercentOf = PercentOf.ROUNDED
    price_step: Decimal | None = None
    fixed_step: Decimal | None = None
    split_by: SplitBy = SplitBy.UNITS


# --- the whole ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tariff:
    """One version of a tariff for one commodity."""

    code: str
    title: str
    commodity: Commodity
    currency: str
    energy: Energy
    unit_items: tuple[UnitItem, ...] = ()
    fixed_items: tuple[FixedItem, ...] = ()
    percent_items: tuple[PercentItem, ...] = ()  # each base before its percentage
    free_units: tuple[FreeUnits, ...] = ()
    purchase: tuple[PurchaseRule, ...] = ()
    too_small: TooSmall = TooSmall.REFUSE
    debt_caps: tuple[DebtCap, ...] = ()
    rounding: RoundingRules = RoundingRules()
    energy_content: EnergyContent | None = None
    calendar: Calendar | None = None
    average_months: int = 12
    time_zone: str | None = None  # None is the utility's
    valid_until: date | None = None  # local; after it there is no price, whatever comes
    prices_since: date | None = None  # local; units sold since, before this version, are corrected
    source: str = ""

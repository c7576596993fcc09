"""What measured intervals of consumption cost: time of use, blocks in order of time, demand.

A bill has *sections*: stretches of time with one set of prices within one window of the block
counter. In a section the units of each period or block are added up and each line is rounded once,
as on a receipt. Prices, seasons and classes change at local midnight, to the instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from types import MappingProxyType
from typing import Final

from slotmeter.errors import Refused
from slotmeter.units import HOUR_US, Commodity, Rounding, round_to_int
from slotmeter.vending.pricing.bills import Section, section_lines
from slotmeter.vending.pricing.chosen import in_force, table_for
from slotmeter.vending.pricing.compiled import COMPILED_MAX, Compiled, compiled
from slotmeter.vending.pricing.cuts import Interval, Piece, cut, in_order
from slotmeter.vending.pricing.gas import energy_of_volume
from slotmeter.vending.pricing.integers import DIVIDE
from slotmeter.vending.pricing.plan import Plan
from slotmeter.vending.pricing.priced import PricedLine
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.pricing.windows import month_of, window_start_day
from slotmeter.vending.tariff.calendar import local_date
from slotmeter.vending.tariff.model import Block, BlockWindow, Counter, Table, Tariff

__all__ = ["Bill", "BillSection", "Interval", "PartTotal", "highest_demand_w", "price_intervals"]

ENDLESS_UNITS: Final = 1 << 70
"""No bill has so many; periods have no end of their own."""
MONTH_CHARS: Final = len("2026-11")
_half_up = DIVIDE[Rounding.HALF_UP]


@dataclass(frozen=True, slots=True)
class PartTotal:
    """What a period or block comes to, over the whole bill.

    Args:
        code: name of the period, ``block1`` and so on, or ``lifeline``.
        units: Wh or mL; Wh for gas priced by energy.
        net_minor: without levies and taxes.
    """

    code: str
    units: int
    net_minor: int


@dataclass(frozen=True, slots=True)
class BillSection:
    """One stretch of time with one set of prices.

    Args:
        first_day: local.
        last_day: local, included.
        table: code of the price table.
        units: priced.
        lines: with what lies on them; fixed charges are in the section of their month.
    """

    first_day: date
    last_day: date
    table: str
    units: int
    lines: tuple[PricedLine, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """What intervals cost; the amounts of all lines add up to the total.

    Args:
        sections: in order of time.
        units: priced: Wh or mL; Wh for gas priced by energy.
        total_minor: all that is to be paid.
        demand_w: the highest average power of an interval; None for what is measured by volume.
    """

    sections: tuple[BillSection, ...]
    units: int
    total_minor: int
    demand_w: int | None

    @property
    def lines(self) -> tuple[PricedLine, ...]:
        """All lines, in order of time."""
        return tuple(line for section in self.sections for line in section.lines)

    @property
    def parts(self) -> Mapping[str, PartTotal]:
        """What each period or block comes to, in order of appearance."""
        totals: dict[str, PartTotal] = {}
        for line in self.lines:
            if line.kind == "energy":
                before = totals.get(line.code, PartTotal(line.code, 0, 0))
                totals[line.code] = PartTotal(
                    line.code,
                    before.units + (line.quantity or 0),
                    before.net_minor + line.amount_minor,
                )
        return MappingProxyType(totals)

    def sum_of(self, kind: str) -> int:
        """Return what lines of a kind come to: energy, charge, levy, tax, correction, rounding."""
        return sum(line.amount_minor for line in self.lines if line.kind == kind)


def price_intervals(tariff: Tariff, intervals: Iterable[Interval], situation: Situation) -> Bill:
    """Price what was used, interval by interval in order of time.

    Intervals are cut where periods and days change (:mod:`~slotmeter.vending.pricing.cuts`). Block
    counters begin with ``situation.prior_units`` in the window of the first interval and at zero in
    each later one; a rolling window counts, for each day, what was used in the days before it.
    Charges per kW of demand are for the highest average power of an interval in their month.

    Args:
        tariff: the prices; with its calendar for time of use.
        intervals: Wh or mL, in any order, not overlapping.
        situation: whose; ``charges`` are the fixed charges to be billed. Debts, free units and what
            was kept play no part.

    Raises:
        Refused: ``no_intervals``, ``interval_invalid``, ``intervals_overlap``,
            ``no_price_in_force``, ``holiday_calendar_ends``, ``no_price_for_units``,
            ``load_unknown``, ``bill_not_possible``: a lifeline in a rolling window.
    """
    ordered = in_order(intervals)
    if not ordered:
        raise Refused("no_intervals", "expected at least one interval", field="intervals")
    by_period = any(table.periods is not None for table in tariff.energy.tables.values())
    calendar = tariff.calendar if by_period else None
    pieces = cut(_as_priced(tariff, ordered, situation), calendar, situation.time_zone)
    sections = list(_sections(tariff, pieces, situation))
    used = {section.window: section.prior + section.units for section in sections}
    for section in sections:
        section.used = used[section.window]
    demand = _Demand(tariff, ordered, situation)
    billed = tuple(
        BillSection(
            first_day=section.first_day,
            last_day=section.last_day,
            table=section.table,
            units=section.units,
            lines=section_lines(section, demand.by_month(charges), situation),
        )
        for section, charges in zip(sections, _shared(sections, situation.charges), strict=True)
    )
    return Bill(
        sections=billed,
        units=sum(section.units for section in billed),
        total_minor=sum(line.amount_minor for section in billed for line in section.lines),
        demand_w=demand.highest_w,
    )


def highest_demand_w(intervals: Iterable[Interval]) -> int:
    """Return the highest average power of intervals of energy, W, rounded half up."""
    return max(
        (
            _half_up(each.units * HOUR_US, each.end_us - each.start_us)
            for each in in_order(intervals)
        ),
        default=0,
    )


# --- gas and demand -------------------------------------------------------------------------------


def _as_priced(
    tariff: Tariff, ordered: Sequence[Interval], situation: Situation
) -> Sequence[Interval]:
    """Return intervals in priced units; the energy of gas is shared so that its sum is kept."""
    content = tariff.energy_content
    if content is None:
        return ordered
    given = situation.calorific_value
    value = None if given is None else Decimal(given)
    volume = sum(each.units for each in ordered)
    energy = round_to_int(energy_of_volume(content, volume, value), Rounding.HALF_UP)
    shared: list[Interval] = []
    volume_before = energy_before = 0
    for each in ordered:
        volume_before += each.units
        until = energy * volume_before // volume if volume else 0
        shared.append(Interval(each.start_us, each.end_us, until - energy_before))
        energy_before = until
    return shared


class _Demand:
    """The highest demand of each month of a bill."""

    def __init__(self, tariff: Tariff, ordered: Sequence[Interval], situation: Situation) -> None:
        self._situation = situation
        self.highest_w: int | None = None
        self._by_month: dict[str, int] = {}
        if tariff.commodity is not Commodity.ELECTRICITY:
            return
        self.highest_w = highest_demand_w(ordered)
        for each in ordered:
            month = month_of(local_date(each.start_us, situation.time_zone))
            power_w = _half_up(each.units * HOUR_US, each.end_us - each.start_us)
            self._by_month[month] = max(self._by_month.get(month, 0), power_w)

    def by_month(self, charges: Sequence[ChargeState]) -> Iterator[Situation]:
        """Yield the buyer with the charges of one month each, and the demand of that month."""
        for month, group in groupby(charges, lambda each: each.period[:MONTH_CHARS]):
            demand_w = self._by_month.get(month, self.highest_w)
            yield replace(self._situation, charges=tuple(group), demand_w=demand_w)


# --- sections -------------------------------------------------------------------------------------


def _sections(tariff: Tariff, pieces: Iterable[Piece], situation: Situation) -> Iterator[Section]:
    """Add pieces up, section by section, in order of time."""
    counted = _Counted(tariff.energy.counter, situation)
    current: Section | None = None
    window: date | None = None
    for day, of_day in groupby(pieces, lambda piece: piece.day):
        plan, table, periods = _plan_of(tariff, situation, day)
        opened = counted.window_of(day)
        if current is None or opened != window or plan is not current.plan:
            if current is not None:
                yield current
                counted.close(current, is_over=opened != window)
            prior, correctable = counted.before(day)
            by_period = dict(counted.by_period)
            current = Section(
                *(plan, table, periods, day, day, prior, correctable),
                window=opened,
                before=by_period,
            )
            window = opened
        for piece in of_day:
            current.add(day, piece.period, piece.units)
    if current is not None:
        yield current


class _Counted:
    """Where the block counter stands when a section begins."""

    def __init__(self, counter: Counter, situation: Situation) -> None:
        self._counter = counter
        self._prior = situation.prior_units
        self._correctable = situation.prior_lifeline_units
        self.by_period: dict[str, int] = {}
        self._first_day: date | None = None
        self._used: list[tuple[date, int]] = []

    def window_of(self, day: date) -> date:
        """Return the first day of the window; a rolling one is another each day."""
        if self._counter.window is BlockWindow.ROLLING:
            return day
        return window_start_day(self._counter, day)

    def close(self, section: Section, *, is_over: bool) -> None:
        """Take over what a section has counted; nothing when its window is over."""
        if self._counter.window is BlockWindow.ROLLING:
            self._used.append((section.first_day, section.units))
        elif is_over:
            self._prior = self._correctable = 0
            self.by_period = {}
        else:
            self._prior += section.units
            for name, units in section.by_period.items():
                self.by_period[name] = self.by_period.get(name, 0) + units
            self._correctable = section.correctable_after

    def before(self, day: date) -> tuple[int, int]:
        """Return the counter on a day, and how much of it a correction takes back."""
        if self._counter.window is not BlockWindow.ROLLING:
            return self._prior, self._correctable
        self._first_day = self._first_day or day
        since = day - timedelta(days=self._counter.days)
        own = sum(units for used_on, units in self._used if used_on > since)
        return own + (self._prior if self._first_day > since else 0), 0


def _shared(sections: Sequence[Section], charges: Sequence[ChargeState]) -> list[list[ChargeState]]:
    """Give each charge to the first section in its month, or to the first of all."""
    shared: list[list[ChargeState]] = [[] for _ in sections]
    for charge in charges:
        month = charge.period[:MONTH_CHARS]
        fitting = (
            at
            for at, section in enumerate(sections)
            if month_of(section.first_day) <= month <= month_of(section.last_day)
        )
        shared[next(fitting, 0)].append(charge)
    return shared


# --- prices by period -----------------------------------------------------------------------------

_by_period: dict[int, tuple[Tariff, Compiled]] = {}


def _plan_of(
    tariff: Tariff, situation: Situation, day: date
) -> tuple[Plan, str, tuple[tuple[str, int], ...]]:
    """Return the prices of a day, the code of their table, and its periods.

    Raises:
        Refused: ``no_price_in_force``.
    """
    in_force(tariff, day)
    table = table_for(tariff, situation, day)
    if table.periods is not None:
        plan = _compiled_by_period(tariff).plan(situation, day)
        ends = tuple(
            (name, ENDLESS_UNITS if block.up_to is None else block.up_to)
            for name, block in _blocks_by_period(table)
        )
        return plan, table.code, ends
    plan = compiled(tariff).plan(situation, day)
    if not plan.regimes:
        raise Refused(
            "no_price_in_force", f"tariff {tariff.code} has a formula and no price", field="tariff"
        )
    if len(plan.regimes) > 1 and tariff.energy.counter.window is BlockWindow.ROLLING:
        raise Refused(
            "bill_not_possible",
            f"tariff {tariff.code}: a price for all units of a window needs a window that begins "
            "once; this one rolls",
            field="energy.counter",
        )
    return plan, table.code, ()


def _blocks_by_period(table: Table) -> Iterator[tuple[str, Block]]:
    """Yield the blocks of each period, in order."""
    for name, price in (table.periods or {}).items():
        for block in table.period_blocks.get(name, (Block(None, price),)):
            yield name, block


def _compiled_by_period(tariff: Tariff) -> Compiled:
    """Return a tariff whose periods are made ready as the segments of its tables."""
    found = _by_period.get(id(tariff))
    if found is None or found[0] is not tariff:
        while len(_by_period) >= COMPILED_MAX:
            _by_period.pop(next(iter(_by_period)), None)
        # The entry holds its tariff, so that the identity is not given to another one meanwhile.
        found = _by_period[id(tariff)] = tariff, Compiled(_with_periods(tariff))
    return found[1]


def _with_periods(tariff: Tariff) -> Tariff:
    """Return a tariff that has a block for each period; what lies on block 1 lies on each."""

    def table(each: Table) -> Table:
        if each.periods is None:
            return each
        blocks = enumerate((block for _, block in _blocks_by_period(each)), start=1)
        # Limits only keep the blocks apart: parts are taken by period and not by a counter.
        return Table(
            each.code, tuple(Block(ENDLESS_UNITS * at, block.price) for at, block in blocks)
        )

    tables = {code: table(each) for code, each in tariff.energy.tables.items()}
    return replace(
        tariff,
        energy=replace(tariff.energy, tables=tables),
        unit_items=tuple(
            replace(item, blocks=None)
            for item in tariff.unit_items
            if item.blocks is None or 1 in item.blocks
        ),
        percent_items=tuple(
            replace(item, blocks=None)
            for item in tariff.percent_items
            if item.blocks is None or 1 in item.blocks
        ),
    )
